# %% [markdown]
# # Exercises 01 · Localization and its metrics
#
# For lesson [01](../01_localization_and_metrics.ipynb). Write what is missing, run the cell below
# it, and read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

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
# right edges. What does it mean if it ends before it begins? (In one direction, and in both?)
#
# </details>

# %% [markdown]
# ## A pair that two programs judge differently
#
# {{convention_flip}}
#
# Half-open boxes have the width $x_1 - x_0$. The programs of SAT, TS-CAM and wsolevaluation count
# $x_1 - x_0 + 1$, as the lesson shows. On large boxes that is nearly the same. Find a pair of boxes
# whose IoU is **below 0.5 half-open, but at least 0.5 with the + 1**: wrong for one program, right
# for the other. Use whole numbers.

# %%
convention_flip = None  # your answer: ((x0, y0, x1, y1), (x0, y0, x1, y1))
### BEGIN SOLUTION
convention_flip = ((0, 0, 3, 3), (0, 0, 2, 2))  # 4 / 9 half-open, 9 / 16 with the + 1
### END SOLUTION

# %%
check("convention_flip", convention_flip)
### BEGIN HIDDEN TESTS
check("convention_flip", convention_flip, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Put one box into a corner of the other. Then the IoU is the ratio of their areas. Where does one
# pixel more make the largest difference to an area? To see both numbers, call your `iou` (on
# arrays): once on the pair, and once on the pair with 1 added to each $x_1$ and $y_1$.
#
# </details>

# %% [markdown]
# ## GT-known Loc without looking
#
# {{gt_known}}
#
# Two tables hold the IoU of each image (row) at each threshold (column): one of held-out images, one
# of test images. Score the test images honestly: choose the threshold on the held-out images, the
# first one where several are best, and return the percentage of test images that are right there
# (δ = 0.5).
#
# In wsolevaluation's issue 36, somebody measured 85 instead of 76. To learn how: when the check is
# content, replace your last line by `return 100 * (test.max(axis=1) >= 0.5).mean()`, run the check
# again, and read its message. Then put your own line back, and check once more: the sheet is graded
# as you hand it in.


# %%
def gt_known(held_out, test):
    """GT-known Loc, percent; held_out float [M, T] and test float [N, T] -> float."""
    ### BEGIN SOLUTION
    chosen = (held_out >= 0.5).mean(axis=0).argmax()  # argmax takes the first of equals
    return 100 * (test[:, chosen] >= 0.5).mean()
    ### END SOLUTION


# %%
check("gt_known", gt_known)
### BEGIN HIDDEN TESTS
check("gt_known", gt_known, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `held_out >= 0.5` is a table of hits. Its mean over one axis says how many images each threshold
# gets right. Which axis?
#
# </details>

# %% [markdown]
# ## MaxBoxAccV2 from a table of IoUs
#
# {{max_box_acc_v2}}
#
# $$\text{MaxBoxAccV2} = \frac13 \sum_{\delta \in \{.3, .5, .7\}} \max_\tau \text{BoxAcc}(\tau, \delta)$$
#
# $\text{BoxAcc}(\tau, \delta)$ is the percentage of images whose IoU at threshold τ is at least δ.
# Write it for a table of IoUs. (So the maxima look at the scored images, mistake 2 of the lesson:
# that is how the measure is defined.) The lesson has the formula; write it here without
# looking.


# %%
def max_box_acc_v2(ious):
    """MaxBoxAccV2, percent; ious float [N images, T thresholds] -> float."""
    ### BEGIN SOLUTION
    best = [100 * (ious >= delta).mean(axis=0).max() for delta in (0.3, 0.5, 0.7)]
    return np.mean(best)
    ### END SOLUTION


# %%
check("max_box_acc_v2", max_box_acc_v2)
### BEGIN HIDDEN TESTS
check("max_box_acc_v2", max_box_acc_v2, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write the accuracy of all thresholds for one δ first: `[N, T]` becomes `[T]`. Read the formula from
# the inside out: what comes first, the maximum or the sum?
#
# </details>

# %% [markdown]
# ## PxAP in four lines
#
# {{pxap}}
#
# With masks, every pixel is a decision: it is *claimed* at a level τ if the map there is at least τ.
# Pool the pixels of all images and write
#
# $$\text{PxAP} = \sum_i \text{precision}(\tau_i)\,
#   \big(\text{recall}(\tau_i) - \text{recall}(\tau_{i+1})\big), \qquad
#   \text{precision} = \frac{\text{hits}}{\text{claimed}}, \quad
#   \text{recall} = \frac{\text{hits}}{\text{object pixels}}$$
#
# in percent. The levels rise from 0 to 1. At every level given, at least one pixel is claimed; beyond
# the last one nothing is, so recall is 0. The lesson has the formula; write it here without looking.


# %%
def pxap(maps, masks, levels):
    """PxAP, percent; maps float [N, S, S] in 0-1, masks bool [N, S, S], levels [T] -> float."""
    ### BEGIN SOLUTION
    hits = np.array([(masks & (maps >= level)).sum() for level in levels])
    claimed = np.array([(maps >= level).sum() for level in levels])
    precision, recall = hits / claimed, hits / masks.sum()
    return 100 * (precision * -np.diff(recall, append=0)).sum()
    ### END SOLUTION


# %%
check("pxap", pxap)
### BEGIN HIDDEN TESTS
check("pxap", pxap, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `(masks & (maps >= level)).sum()` counts the hits of all images at one level. `np.diff(recall)` has
# one number less than `recall`, and `np.diff(recall, append=0)` as many.
#
# </details>
