# %% [markdown]
# # Exercises 02 · CAM and TS-CAM
#
# For lesson [02](../02_cam_and_tscam.ipynb). Write what is missing, run the cell below it, and read
# what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex02_cam_and_tscam", seed=seed)

# %% [markdown]
# ## The map of the right class
#
# {{class_map}}
#
# The lesson computes the maps of all classes. With 1,000 classes that is a waste, since only one map
# of each image is wanted. Write
#
# $$S_b(i,j) = \sum_d W_{c_b d}\, F_{bd}(i,j)$$
#
# where $c_b$ is the label of image $b$, without computing the other maps (the check cannot see
# this).

# %%
import torch


def class_map(features, weights, labels):
    """Maps of the labels; features [B, D, h, w], weights [C, D], labels int [B] -> [B, h, w]."""
    ### BEGIN SOLUTION
    return torch.einsum("bd,bdij->bij", weights[labels], features)
    ### END SOLUTION


# %%
check("class_map", class_map)
### BEGIN HIDDEN TESTS
check("class_map", class_map, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `weights[labels]` has the shape `[B, D]`: one row for each image. In `torch.einsum`, an index that
# stands on both sides is kept, and one that stands only on the left is added up.
#
# </details>

# %% [markdown]
# ## Scale each map by itself
#
# {{scale_maps}}
#
# One threshold serves all images, so each map is scaled to the same range first:
#
# $$\hat M_b = \frac{M_b - \min M_b}{\max M_b - \min M_b + 10^{-5}}$$
#
# Write it for a batch. What does the $10^{-5}$ do to a map that is constant?


# %%
def scale_maps(maps):
    """Each map scaled to 0-1; maps [B, h, w] -> [B, h, w]."""
    ### BEGIN SOLUTION
    low = maps.amin(dim=(1, 2), keepdim=True)  # [B, 1, 1]
    high = maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low + 1e-5)
    ### END SOLUTION


# %%
check("scale_maps", scale_maps)
### BEGIN HIDDEN TESTS
check("scale_maps", scale_maps, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `maps.min()` is one number for the whole batch. `maps.amin(dim=…, keepdim=True)` can give one
# number for each map, in a shape that fits back onto `maps`.
#
# </details>

# %% [markdown]
# ## Couple the attention with the class map
#
# {{tscam_map}}
#
# You get the attention matrices of all blocks of one image, after the softmax:
# `attention[l, m, i, j]` is how much token $i$ takes from token $j$ in head $m$ of block $l$. Token 0
# is the class token, and the others are the patches, row by row. Return TS-CAM's map
#
# $$M = \Big(\sum_l A_l\Big) \odot S$$
#
# where $A_l$ is the class token's attention to the patches in block $l$, averaged over heads.


# %%
def tscam_map(attention, class_map):
    """TS-CAM's map; attention [L, H, 1 + h·w, 1 + h·w] and class_map [h, w] -> [h, w]."""
    ### BEGIN SOLUTION
    looked_at = attention.mean(dim=1).sum(dim=0)[0, 1:]  # [h·w]
    return looked_at.view_as(class_map) * class_map
    ### END SOLUTION


# %%
check("tscam_map", tscam_map)
### BEGIN HIDDEN TESTS
check("tscam_map", tscam_map, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Do it in three steps: get rid of the heads, get rid of the blocks, then take the one row that says
# what the class token looks at. One entry of that row is no patch.
#
# </details>
