# %% [markdown]
# # Exercises 00 · What is a box worth?
#
# For lesson [00](../00_start_here.ipynb). Pen and paper are enough. Write your number into the cell,
# run the cell below it, and read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
import numpy as np

from satkit.course import start

check = start("ex00_start_here", seed=seed)

# %% [markdown]
# ## IoU by hand
#
# {{iou_by_hand}}
#
# The bird's box is $(2, 1, 10, 5)$, a model's box is $(4, 2, 12, 8)$. A box is written as
# $(x_0, y_0, x_1, y_1)$, left, top, right and bottom; its width is $x_1 - x_0$.
#
# Sketch the two boxes. Then compute their IoU, the common area divided by the area that at least one
# of them covers. Would the model's box count as right?

# %%
iou_by_hand = None  # your answer: a number from 0 to 1, with three decimals
### BEGIN SOLUTION
# common: from x = 4 to 10 and from y = 2 to 5, so 6 · 3 = 18
# union: 8 · 4 + 8 · 6 - 18 = 62; below 0.5, so the box is wrong
iou_by_hand = 18 / 62
### END SOLUTION

# %%
check("iou_by_hand", iou_by_hand)
### BEGIN HIDDEN TESTS
check("iou_by_hand", iou_by_hand, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The common part begins at the larger of the two left edges and ends at the smaller of the two
# right edges; the same for top and bottom. It belongs to both boxes. Would the
# model's box count as right? Not with an IoU below 0.5.
#
# </details>

# %% [markdown]
# ## How small may a box be?
#
# {{smallest_side}}
#
# In the lesson, a head's box lies inside the bird's box. Suppose that a model's box lies inside the
# bird's box and has the same shape, but each side is only $s$ times as long. It counts as right if
# the IoU is at least 0.5. What is the smallest $s$?

# %%
smallest_side = None  # your answer: a number, with three decimals
### BEGIN SOLUTION
# the inner box is the common part, the outer one the union: IoU = s², and s² = 0.5
smallest_side = 0.5**0.5
### END SOLUTION

# %%
check("smallest_side", smallest_side)
### BEGIN HIDDEN TESTS
check("smallest_side", smallest_side, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Let the bird's box have the area 1. Which area has the inner box? Which of the two boxes is the
# common part, and which is the union?
#
# </details>
