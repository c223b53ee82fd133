# %% [markdown]
# # Exercises 10 · Few images, few parameters
#
# For lesson [10](../10_few_shot_and_freezing.ipynb). Write what is missing, run the cell below it,
# and read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex10_few_shot_and_freezing", seed=seed)

# %% [markdown]
# ## Draw the images of a few-shot experiment
#
# {{draw_shots}}
#
# Draw `shots` images of each class from the training images, as a few-shot experiment needs them:
#
# - no image of `held_out`, on which the threshold will be chosen;
# - the same seed gives the same images, another seed gives others;
# - with one seed, the images of one shot are among those of three.
#
# Any random numbers will do: the check looks at what holds of the draws, not at the draws.

# %%
import numpy as np


def draw_shots(labels, shots, seed, held_out):
    """Numbers of the drawn images; labels int [N], held_out a set of image numbers -> list."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        members = [i for i in np.flatnonzero(labels == label) if i not in held_out]
        drawn += list(rng.permutation(members)[:shots])  # the order does not depend on `shots`
    return drawn
    ### END SOLUTION


# %%
check("draw_shots", draw_shots)
### BEGIN HIDDEN TESTS
check("draw_shots", draw_shots, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Take one class at a time. If you put all its images in a random order first, what do you have to do
# for one shot, and for three?
#
# </details>

# %% [markdown]
# ## «6 % of the backbone»
#
# {{tuned_share}}
#
# The paper's text says that tuning 6 % of the *backbone* is enough; its Table 14 says that 81 % of all
# *parameters* are frozen. Both describe scheme (e), of different wholes. Compute the first: how many
# percent of the backbone's parameters are tuned? A model is given as a list of
# `(name, shape, tuned)`; names of the backbone begin with `backbone.`.

# %%
import math


def tuned_share(parameters):
    """Tuned parameters in percent of the backbone's; list of (str, tuple, bool) -> float."""
    ### BEGIN SOLUTION
    own = [one for one in parameters if one[0].startswith("backbone.")]
    whole = sum(math.prod(shape) for _, shape, _ in own)
    return 100 * sum(math.prod(shape) for _, shape, tuned in own if tuned) / whole
    ### END SOLUTION


# %%
check("tuned_share", tuned_share)
### BEGIN HIDDEN TESTS
check("tuned_share", tuned_share, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.prod((3, 4))` is 12. What belongs above the line, and what below it?
#
# </details>

# %% [markdown]
# ## How much of it was learned?
#
# {{share_learned}}
#
# GT-known Loc of three models: untrained (pretrained backbone, random token), trained on a few
# images, trained on all. Of what training on all images brings, how many percent do the few images
# bring? The share may be negative. What would that mean?


# %%
def share_learned(untrained, few, full):
    """Share of the gain, percent; three scores in percent, full > untrained -> float."""
    ### BEGIN SOLUTION
    return 100 * (few - untrained) / (full - untrained)
    ### END SOLUTION


# %%
check("share_learned", share_learned)
### BEGIN HIDDEN TESTS
check("share_learned", share_learned, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# With 50, 60 and 90 percent: training on all images brings 40 points. How many of these 40 do the few
# images bring?
#
# </details>
