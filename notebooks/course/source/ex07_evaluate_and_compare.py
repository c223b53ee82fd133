# %% [markdown]
# # Exercises 07 · Evaluate and compare
#
# For lesson [07](../07_evaluate_and_compare.ipynb). Write what is missing, run the cell below it,
# and read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex07_evaluate_and_compare", seed=seed)

# %% [markdown]
# ## An interval for two methods on the same images
#
# {{bootstrap_interval}}
#
# Two methods were tested on the same $N$ images: `first` and `second` say which of them each has hit.
# Each row of `draws` holds the numbers of $N$ images that were drawn anew, with repetition. Write
# the 95 % bootstrap interval of the difference of their hit rates, first minus second, in points.

# %%
import numpy as np


def bootstrap_interval(first, second, draws):
    """Ends of the interval; first, second bool [N]; draws int [R, N] -> two floats."""
    ### BEGIN SOLUTION
    differences = 100 * (first[draws].mean(axis=1) - second[draws].mean(axis=1))
    low, high = np.quantile(differences, [0.025, 0.975])
    return low, high
    ### END SOLUTION


# %%
check("bootstrap_interval", bootstrap_interval)
### BEGIN HIDDEN TESTS
check("bootstrap_interval", bootstrap_interval, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `first[draws]` has the shape of `draws`: each row holds the hits on one draw of the images. You need
# one difference for each row, and then `np.quantile`.
#
# </details>

# %% [markdown]
# ## Who chose the threshold?
#
# {{three_scores}}
#
# The tables say which images are hit at each of $T$ thresholds. Give the hit rate of the **test**
# images, in percent, in three ways:
#
# 1. at the threshold with the best rate on the held-out images (the first of equal ones);
# 2. at the one threshold that is best for the test images;
# 3. with a threshold of its own for every test image.
#
# The third is a mistake that people made in earnest. How much does it flatter?


# %%
def three_scores(held_out, test):
    """The three rates; held_out bool [M, T], test bool [N, T] -> three floats in percent."""
    ### BEGIN SOLUTION
    rates = 100 * test.mean(axis=0)  # [T]
    chosen = held_out.mean(axis=0).argmax()
    return rates[chosen], rates.max(), 100 * test.any(axis=1).mean()
    ### END SOLUTION


# %%
check("three_scores", three_scores)
### BEGIN HIDDEN TESTS
check("three_scores", three_scores, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The mean over images (axis 0) gives a curve over thresholds. Whose curve chooses, and from whose
# curve is the score read?
#
# </details>

# %% [markdown]
# ## What a row of Table 1 says about the classifier
#
# {{class_bounds}}
#
# Table 1 prints Top-1 Loc and GT-known Loc, but no Top-1 Cls. Both use the same box here. Between
# which bounds must Top-1 Cls lie? SAT's row of CUB-200 is 80.96 and 98.45, and elsewhere the paper
# gives its Top-1 Cls as 82.05. Does that fit?


# %%
def class_bounds(top1_loc, gt_known):
    """Least and largest Top-1 Cls that fit; percent -> two floats in percent."""
    ### BEGIN SOLUTION
    wrong_class_right_box = gt_known - top1_loc
    return top1_loc, 100 - wrong_class_right_box
    ### END SOLUTION


# %%
check("class_bounds", class_bounds)
### BEGIN HIDDEN TESTS
check("class_bounds", class_bounds, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Draw a table of two rows and two columns: class right or wrong, box right or wrong. Which cells do
# the two printed numbers fill? Which can you choose freely?
#
# </details>
