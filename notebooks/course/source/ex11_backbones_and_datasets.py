# %% [markdown]
# # Exercises 11 · Backbones and data sets
#
# For lesson [11](../11_backbones_and_datasets.ipynb). Write what is missing, run the cell below it,
# and read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex11_backbones_and_datasets", seed=seed)

# %% [markdown]
# ## Positions for another image size
#
# {{resize_positions}}
#
# A backbone has learned a position for each prefix token (class token, registers) and for each patch
# of an old grid of $h \times w$ patches, row by row. Fit them to a new grid: resize the grid like an
# image, bilinearly (`torch.nn.functional.interpolate`), and leave the prefix as it is. (timm does the
# same with a bicubic filter.)

# %%
import torch
from torch.nn.functional import interpolate


def resize_positions(positions, prefix, old, new):
    """Positions for another grid.

    positions: [1, prefix + h w, D]; prefix: how many prefix tokens; old: (h, w); new: (H, W)
    -> [1, prefix + H W, D]
    """
    ### BEGIN SOLUTION
    kept, patches = positions[:, :prefix], positions[:, prefix:]
    grid = patches.transpose(1, 2).unflatten(2, old)  # [1, D, h, w]
    resized = interpolate(grid, size=new, mode="bilinear")  # [1, D, H, W]
    return torch.cat([kept, resized.flatten(2).transpose(1, 2)], dim=1)
    ### END SOLUTION


# %%
check("resize_positions", resize_positions)
### BEGIN HIDDEN TESTS
check("resize_positions", resize_positions, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `interpolate` takes an image [B, channels, h, w]. Which axis of the sequence holds the channels?
# `x.unflatten(2, (h, w))` cuts axis 2 into two, `x.flatten(2)` undoes it.
#
# </details>

# %% [markdown]
# ## The box that needs no model
#
# {{full_image_accuracy}}
#
# Before you believe a score on a new data set, compute what the box of the *whole image* would get.
# Boxes are half-open, $(x_0, y_0, x_1, y_1)$ in pixels of square images of `size` pixels. An image may
# have several boxes; it is hit if the IoU with at least one of them is $\delta$ or more.

# %%
import numpy as np


def full_image_accuracy(boxes, size, delta):
    """GT-known Loc of the whole image's box; boxes: list of arrays [n_i, 4] -> float, percent."""
    ### BEGIN SOLUTION
    hits = []
    for own in boxes:
        areas = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
        hits.append(areas.max() / size**2 >= delta)
    return 100 * np.mean(hits)
    ### END SOLUTION


# %%
check("full_image_accuracy", full_image_accuracy)
### BEGIN HIDDEN TESTS
check("full_image_accuracy", full_image_accuracy, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# What is the common area of a true box and the whole image? And what do the two cover together?
#
# </details>

# %% [markdown]
# ## What follows from numbers of different data sets?
#
# {{elsewhere}}
#
# GT-known Loc from the paper's Table 15, in percent:
#
# | | Stanford Dogs | FGVC-Aircraft | Stanford Cars |
# |---|---|---|---|
# | TS-CAM | 78.67 | 96.73 | 95.62 |
# | SAT | 96.14 | 98.80 | 99.76 |
#
# Which of these statements follow from the table, or hold whatever it says?
#
# - **A** SAT localizes cars better than dogs, so its maps of cars are the better maps.
# - **B** On each of the three sets, SAT's one run hit more of the images than TS-CAM's.
# - **C** The gap of 17.47 points shows that SAT is especially good at dogs.
# - **D** To judge how much 98.80 is worth, one should know what the box of the whole image scores.

# %%
elsewhere = None  # your answer, letters such as "AC"
### BEGIN SOLUTION
elsewhere = "BD"
### END SOLUTION

# %%
check("elsewhere", elsewhere)
### BEGIN HIDDEN TESTS
check("elsewhere", elsewhere, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# For each statement, try to invent three data sets for which the table is the same and the statement
# is wrong.
#
# </details>
