# %% [markdown]
# # Exercises 01 · Localization and its metrics
#
# For lesson [01](../01_localization_and_metrics.ipynb). Write what is missing, run the cell below
# it, and read what the check says: it knows the usual mistakes.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex01_localization_and_metrics", seed=seed)

# %% [markdown]
# ## Intersection over union
#
# {{iou}}
#
# Two boxes are given by their corners $(x_0, y_0, x_1, y_1)$, with $x_1 > x_0$ and $y_1 > y_0$.
# Write their IoU, a number from 0 to 1.

# %%
import numpy as np


def iou(a, b):
    """IoU of two boxes; a, b float [4] -> float."""
    ### BEGIN SOLUTION
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = sides.prod()
    return common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common)
    ### END SOLUTION


# %%
check("iou", iou)
### BEGIN HIDDEN TESTS
check("iou", iou, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The common part begins at the larger of the two left edges and ends at the smaller of the two
# right edges. What does it mean if it ends before it begins?
#
# </details>
