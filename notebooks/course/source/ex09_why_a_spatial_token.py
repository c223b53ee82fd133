# %% [markdown]
# # Exercises 09 · Why a spatial token?
#
# For lesson [09](../09_why_a_spatial_token.ipynb). Write what is missing, run the cell below it, and
# read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex09_why_a_spatial_token", seed=seed)

# %% [markdown]
# ## Do two losses fight?
#
# {{gradient_cosine}}
#
# The lesson used a function for the cosine of two gradients. Write it. `first` and `second` are what
# `torch.autograd.grad(loss, parameters, allow_unused=True)` gives for two losses: one tensor for each
# parameter, in the same order, or `None` where a loss does not touch the parameter. The result is
# *one* cosine over all parameters that both losses touch.

# %%
import torch


def gradient_cosine(first, second):
    """Cosine of two gradients; lists of tensors or None, of equal length -> float in -1..1."""
    ### BEGIN SOLUTION
    shared = [(a, b) for a, b in zip(first, second) if a is not None and b is not None]
    ours = torch.cat([a.flatten() for a, _ in shared])
    theirs = torch.cat([b.flatten() for _, b in shared])
    return float(ours @ theirs / (ours.norm() * theirs.norm()))
    ### END SOLUTION


# %%
check("gradient_cosine", gradient_cosine)
### BEGIN HIDDEN TESTS
check("gradient_cosine", gradient_cosine, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `zip(first, second)` pairs the gradients of each parameter. `torch.cat` lays flattened tensors end to
# end.
#
# </details>

# %% [markdown]
# ## One token for two wishes
#
# {{price_of_sharing}}
#
# A toy of the paper's story. Classification would like the token to be the vector $c$, localization
# would like it to be $l$. Each pays by the squared distance, with its weight:
#
# $$L(t) = a \, \lVert t - c \rVert^2 + b \, \lVert t - l \rVert^2 .$$
#
# With a token for each, both are at zero. With one token for both, how small can $L$ become?

# %%
import numpy as np


def price_of_sharing(c, l, a, b):  # noqa: E741
    """Smallest L(t) over all tokens t; c, l float [D], a and b > 0 -> float."""
    ### BEGIN SOLUTION
    token = (a * c + b * l) / (a + b)  # where 2 a (t - c) + 2 b (t - l) = 0
    return a * np.sum((token - c) ** 2) + b * np.sum((token - l) ** 2)
    ### END SOLUTION


# %%
check("price_of_sharing", price_of_sharing)
### BEGIN HIDDEN TESTS
check("price_of_sharing", price_of_sharing, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The gradient of $L$ is $2a(t - c) + 2b(t - l)$. For which $t$ is it zero? When is the price small,
# although one token has to do: when do the two wishes *agree*?
#
# </details>

# %% [markdown]
# ## Take the conflict out of a gradient
#
# {{without_conflict}}
#
# Another way out than a second token is *gradient surgery* (Yu et al., 2020). Where the gradient $g$
# of one task and $h$ of the other fight, that is $g^\top h < 0$, take away from $g$ its part along
# $h$. Where they do not fight, $g$ stays as it is.


# %%
def without_conflict(g, h):
    """Gradient g without what works against h; tensors [P] -> tensor [P]."""
    ### BEGIN SOLUTION
    dot = g @ h
    return g - dot / (h @ h) * h if dot < 0 else g
    ### END SOLUTION


# %%
check("without_conflict", without_conflict)
### BEGIN HIDDEN TESTS
check("without_conflict", without_conflict, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The part of $g$ along $h$ is a multiple $s\,h$. Choose $s$ so that $g - s\,h$ is orthogonal to $h$.
#
# </details>
