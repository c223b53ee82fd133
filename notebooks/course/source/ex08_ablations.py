# %% [markdown]
# # Exercises 08 · Ablations
#
# For lesson [08](../08_ablations.ipynb). Write what is missing, run the cell below it, and read what
# the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex08_ablations", seed=seed)

# %% [markdown]
# ## One run each: how often does the worse method win?
#
# {{reversal_chance}}
#
# Method A is truly better than method B by `gap` points. A single training run of either scatters
# around its own mean with the same standard deviation (normal, and independent of the other).
# Somebody trains each *once*. With which probability does B come out ahead?
#
# The last step of the paper's Table 2 is worth 0.35 points. What if runs scatter by 2 points?

# %%
from scipy.stats import norm


def reversal_chance(gap, deviation):
    """Probability (0-1) of the wrong order; gap > 0 and deviation > 0 in points -> float."""
    ### BEGIN SOLUTION
    return norm.cdf(-gap / (deviation * 2**0.5))  # variances add up: the difference scatters by √2
    ### END SOLUTION


# %%
check("reversal_chance", reversal_chance)
### BEGIN HIDDEN TESTS
check("reversal_chance", reversal_chance, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `norm.cdf(z)` is the probability that a standard normal number is below `z`. What is the variance of
# the difference of two independent numbers?
#
# </details>

# %% [markdown]
# ## Which rows may be compared?
#
# {{clean_pairs}}
#
# Each row of an ablation table is a dictionary of settings, all with the same keys. Find the pairs
# of rows whose difference has *one* cause: `{(0, 1), (1, 4)}` would be rows 0 and 1, and rows 1 and
# 4. The smaller number comes first.

# %%
from itertools import combinations


def clean_pairs(rows):
    """Pairs of rows that differ in exactly one setting; list of dicts -> set of (int, int)."""
    ### BEGIN SOLUTION
    pairs = set()
    for i, j in combinations(range(len(rows)), 2):
        changed = [name for name in rows[i] if rows[i][name] != rows[j][name]]
        if len(changed) == 1:
            pairs.add((i, j))
    return pairs
    ### END SOLUTION


# %%
check("clean_pairs", clean_pairs)
### BEGIN HIDDEN TESTS
check("clean_pairs", clean_pairs, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Rows may also be equal: then nothing was compared at all. `combinations(range(5), 2)` gives all
# pairs with the smaller number first.
#
# </details>

# %% [markdown]
# ## Over which range is λ harmless?
#
# {{insensitive_range}}
#
# A sweep gives a score for each λ, in rising order of λ. Give the widest *unbroken* range around the
# best λ in which every tried value scores at most `points` below the best score.

# %%
import numpy as np


def insensitive_range(targets, scores, points):
    """Ends of the range; targets float [n] rising, scores float [n] in percent -> two floats."""
    ### BEGIN SOLUTION
    good = scores >= scores.max() - points
    low = high = np.argmax(scores)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(scores) - 1 and good[high + 1]:
        high += 1
    return targets[low], targets[high]
    ### END SOLUTION


# %%
check("insensitive_range", insensitive_range)
### BEGIN HIDDEN TESTS
check("insensitive_range", insensitive_range, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# First say of each λ whether it is good enough. Then begin at the best one and walk, to the left and
# to the right, until you meet one that is not.
#
# </details>
