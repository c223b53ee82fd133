# %% [markdown]
# # Exercises 15 · Your own images
#
# For lesson [15](../15_your_own_images.ipynb). Write what is missing, run the cell below it, and read
# what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex15_your_own_images", seed=seed)

# %% [markdown]
# ## Turn a box as the photograph is turned
#
# {{upright_box}}
#
# A program found a box in a photograph *as it is stored*, `width` × `height` pixels. The EXIF
# orientation says how people see it: 1 as stored, 3 turned by half a turn, 6 turned by a quarter
# clockwise, 8 by a quarter counter-clockwise. Give the box in the picture that people see. Boxes are
# half-open, $(x_0, y_0, x_1, y_1)$ with $x_0 < x_1$ and $y_0 < y_1$; y grows downwards.


# %%
def upright_box(box, orientation, width, height):
    """Box in the upright frame; box of 4 ints, orientation 1, 3, 6 or 8 -> 4 ints."""
    ### BEGIN SOLUTION
    x0, y0, x1, y1 = box
    if orientation == 3:
        return width - x1, height - y1, width - x0, height - y0
    if orientation == 6:  # what was at the bottom is now on the left
        return height - y1, x0, height - y0, x1
    if orientation == 8:  # what was on the right is now on top
        return y0, width - x1, y1, width - x0
    return x0, y0, x1, y1
    ### END SOLUTION


# %%
check("upright_box", upright_box)
### BEGIN HIDDEN TESTS
check("upright_box", upright_box, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Take a sheet of paper, draw a box near its left upper corner, and turn the sheet. From which edge of
# the sheet do you now measure what was x?
#
# </details>

# %% [markdown]
# ## From the crop back to the photograph
#
# {{box_in_photograph}}
#
# For training, a photograph of `width` × `height` pixels was resized to a square of `resize` pixels,
# and of that the middle `crop` pixels were cut out. A box was found in the crop. Where does it lie in
# the photograph?


# %%
def box_in_photograph(box, width, height, resize, crop):
    """Box in the photograph; box of 4 numbers, the rest ints in pixels -> 4 floats."""
    ### BEGIN SOLUTION
    margin = (resize - crop) / 2
    x0, y0, x1, y1 = (corner + margin for corner in box)  # in the resized square
    across, down = width / resize, height / resize
    return x0 * across, y0 * down, x1 * across, y1 * down
    ### END SOLUTION


# %%
check("box_in_photograph", box_in_photograph)
### BEGIN HIDDEN TESTS
check("box_in_photograph", box_in_photograph, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Where does the corner $(0, 0)$ of the crop lie in the resized square? And where does that lie in the
# photograph?
#
# </details>

# %% [markdown]
# ## Sure of the class, wrong about the box
#
# {{confident_misses}}
#
# A report says: «The network was 97 % sure, so the box can be trusted.» Test that. Call an image
# *confident* if its largest softmax probability is 0.9 or more, and *missed* if the IoU of its box is
# below 0.5. Of the confident images, how many percent are missed?

# %%
import numpy as np


def confident_misses(logits, ious):
    """Share of confident images that are missed; logits [N, C], ious [N] -> float in percent."""
    ### BEGIN SOLUTION
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    confident = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1) >= 0.9
    return 100 * np.mean(ious[confident] < 0.5)
    ### END SOLUTION


# %%
check("confident_misses", confident_misses)
### BEGIN HIDDEN TESTS
check("confident_misses", confident_misses, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Which images form the whole of which you take percent? And over which axis does a softmax share out
# its one?
#
# </details>
