# %% [markdown]
# # Exercises 14 · The ledger
#
# For lesson [14](../14_ledger.ipynb). Write what is missing, run the cell below it, and read what the
# check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
import numpy as np

from satkit.course import start

check = start("ex14_ledger", seed=seed)

# %% [markdown]
# ## From an interval to a verdict
#
# {{verdict}}
#
# Write the lesson's rule. An effect has a mean and the ends of its 95 % interval, which are NaN where
# there is only one seed. The claim says that the effect lies above `bound`, or below it where
# `below` is true. Return `"reproduced"`, `"same direction"`, `"undecided"` or `"contradicts"`; the
# lesson's table says which is which. A mean that lies exactly on the bound is not on the claim's
# side, and a claim without an interval is never decided for certain.

# %%


def verdict(mean, low, high, bound, below):
    """Verdict on a claim; four floats and a bool -> str."""
    ### BEGIN SOLUTION
    if below:  # mirror all, so that the claim's side is above
        mean, low, high, bound = -mean, -high, -low, -bound
    if mean > bound:
        return "reproduced" if low > bound else "same direction"
    return "contradicts" if high < bound else "undecided"  # comparing with NaN gives False
    ### END SOLUTION


# %%
check("verdict", verdict)
### BEGIN HIDDEN TESTS
check("verdict", verdict, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Begin with claims that lie above the bound. What do you have to do to the numbers of the others so
# that the same lines serve for them? (What does `float("nan") > 0` give?)
#
# </details>

# %% [markdown]
# ## How many seeds would it take?
#
# {{seeds_for}}
#
# The differences of two methods, one a seed, have mean `effect` and standard deviation `deviation`.
# If both stay what they are, how many seeds does a 95 % *t* interval need to exclude 0? Give the
# smallest number, 2 or more.

# %%
from scipy.stats import t


def seeds_for(effect, deviation):
    """Number of seeds; effect > 0 and deviation > 0 in points -> int."""
    ### BEGIN SOLUTION
    n = 2
    while t.ppf(0.975, n - 1) * deviation / n**0.5 >= effect:
        n += 1
    return n
    ### END SOLUTION


# %%
check("seeds_for", seeds_for)
### BEGIN HIDDEN TESTS
check("seeds_for", seeds_for, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The interval reaches $t \cdot s / \sqrt n$ to each side of the mean. `t.ppf(share, degrees)` is the
# value that a share of the t distribution lies below. Which share leaves out 5 % in all, on both
# sides?
#
# </details>

# %% [markdown]
# ## What does «undecided» mean?
#
# {{undecided}}
#
# A claim says that method P is better than Q (bound 0). Three seeds give the effect
# −0.4 [−1.9, +1.1], so the ledger says *undecided*. Which statements are right?
#
# - **A** With more seeds, each of the four verdicts may still come out.
# - **B** The interval holds 0, so the two methods are equally good.
# - **C** The claim is refuted on this data set.
# - **D** Had the effect been +0.4 [−1.1, +1.9], the verdict would be *same direction*.

# %%
undecided = None  # your answer, letters such as "BC"
### BEGIN SOLUTION
undecided = "AD"
### END SOLUTION

# %%
check("undecided", undecided)
### BEGIN HIDDEN TESTS
check("undecided", undecided, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Which true effects are compatible with the interval? Is 0 one of them? Is +1? Is −1.5?
#
# </details>
