# %% [markdown]
# # Exercises 04 · The losses
#
# For lesson [04](../04_losses.ipynb). Write what is missing, run the cell below it, and read what the
# check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex04_losses", seed=seed)

# %% [markdown]
# ## The batch area loss, and its gradient
#
# {{batch_area_loss}}
#
# Write Eq. 7 as the authors' code computes it,
#
# $$\mathcal L_{ba} = \Big|\, \frac{1}{Bhw} \sum_{b,i,j} M_b(i,j) \;-\; \lambda \Big|,$$
#
# so that PyTorch can differentiate it: the check compares the gradient, too. Before you run it, say
# what the gradient of one patch is. Does it depend on the patch?

# %%
import torch


def batch_area_loss(maps, target):
    """Distance of the batch's mean area from the target; maps [B, h, w], target float -> scalar."""
    ### BEGIN SOLUTION
    return (maps.mean() - target).abs()  # gradient of each patch: ± 1 / (B h w)
    ### END SOLUTION


# %%
check("batch_area_loss", batch_area_loss)
### BEGIN HIDDEN TESTS
check("batch_area_loss", batch_area_loss, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The mean of the whole tensor is the mean over images *and* patches. What stays inside the absolute
# value is a single number.
#
# </details>

# %% [markdown]
# ## Batch or image: who is pushed where?
#
# {{area_pushes}}
#
# A batch of two maps: a large bird, of area 0.5, and a small one, of area 0.2. λ is 0.25. Two losses:
#
# - `batch`: $\big|\,\text{mean of both areas} - \lambda\,\big|$
# - `image`: the mean of $\big|\,\text{area} - \lambda\,\big|$ of the two images
#
# In which direction does a step of gradient descent move the patches of each map: up (1), down (−1),
# or not at all (0)?

# %%
area_pushes = None  # your answer: {"batch": (large, small), "image": (large, small)}
### BEGIN SOLUTION
# batch: the mean is 0.35, too large, for all alike; image: 0.5 is too large, 0.2 too small
area_pushes = {"batch": (-1, -1), "image": (-1, 1)}
### END SOLUTION

# %%
check("area_pushes", area_pushes)
### BEGIN HIDDEN TESTS
check("area_pushes", area_pushes, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# For each loss write down the numbers that are compared with λ. There is one for `batch` and there
# are two for `image`.
#
# </details>

# %% [markdown]
# ## The normalization loss, with its filter
#
# {{normalization_loss}}
#
# In the lesson, you have computed Eq. 8 by hand without its filter. Write it with the filter: smooth
# each map with a 3 × 3 kernel, zeros around the map, and call the result $M^*$. Then
#
# $$\mathcal L_{norm} = \text{mean of } M^*(1 - M^*) \text{ over all patches of all images.}$$

# %%
from torch.nn.functional import conv2d


def normalization_loss(maps, kernel):
    """Normalization loss; maps [B, h, w] and kernel [3, 3] -> scalar."""
    ### BEGIN SOLUTION
    smoothed = conv2d(maps[:, None], kernel[None, None], padding=1)  # [B, 1, h, w]
    return (smoothed * (1 - smoothed)).mean()
    ### END SOLUTION


# %%
check("normalization_loss", normalization_loss)
### BEGIN HIDDEN TESTS
check("normalization_loss", normalization_loss, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `conv2d` wants images with a channel, `[B, 1, h, w]`, and kernels `[1, 1, 3, 3]`; indexing with
# `None` adds an axis. Its argument `padding` adds zeros.
#
# </details>

# %% [markdown]
# ## Make the area collapse
#
# {{collapsing_loss}}
#
# A toy like the lesson's: maps without a network are optimised directly, and a skip connection
# carries the evidence around the map. Two things are simpler here: the evidence for the class is 1
# on the object and 0 elsewhere, without a brighter head and noise; and a loss is a function of
# `(maps, evidence, target)`, which `descend(loss, evidence, target)` follows for 100 steps. With the
# class loss alone, the object's patches open a little, and nothing ever closes:

# %%
from satkit import figures
from satkit.course.toy import cls_loss, descend, draw_evidence

evidence = draw_evidence()  # [B, 12, 12]
target = float(evidence.mean())  # λ: how much the objects cover
maps = descend(lambda maps, evidence, target: cls_loss(maps, evidence), evidence, target)
figures.show(figures.map_sheet({"evidence": evidence[0], "L_cls alone": maps[0]}))

# %% [markdown]
# Write a loss with which the maps **become dark, on the object as well, although `cls_loss` is part
# of the sum**: after `descend`, the mean of all patches is below 0.05. The lesson has the formula; write it here without looking. `cls_loss` is the lesson's
# $\log(1 + e^{-s})$; see `help(cls_loss)`. To look at your result:
# `figures.show(figures.map_sheet({"mine": descend(collapsing_loss, evidence, target)[0]}))`.


# %%
def collapsing_loss(maps, evidence, target):
    """Loss under which maps become dark; maps and evidence [B, h, w], target float -> scalar."""
    ### BEGIN SOLUTION
    return cls_loss(maps, evidence) + maps.mean()  # the area loss of the paper's Table 13
    ### END SOLUTION


# %%
check("collapsing_loss", collapsing_loss)
### BEGIN HIDDEN TESTS
check("collapsing_loss", collapsing_loss, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two area terms stand in the lesson's figure of pushes. One of them turns round, the other never does.
#
# </details>

# %% [markdown]
# ## Explain the collapse
#
# {{why_it_collapses}}
#
# $\mathcal L_{cls} + \mathcal L_{area}$ empties the maps, $\mathcal L_{cls} + \mathcal L_{ba}$ does
# not. Here $\mathcal L_{area} = \frac1{Bhw} \sum_{b,i,j} M_b(i,j)$ is the plain mean, without a
# target. Choose **all** statements that are true of the toy.
#
# - **A** The gradient of $\mathcal L_{area}$ is the same for each patch and at every area.
# - **B** $\mathcal L_{area}$ wins because its value is larger than that of $\mathcal L_{cls}$.
# - **C** With the skip connection, the class can be named with an empty map, so the gradient of
#   $\mathcal L_{cls}$ fades.
# - **D** $\mathcal L_{cls}$ itself prefers small maps, because they classify better.
# - **E** As long as the area is above λ, $\mathcal L_{ba}$ has the same gradient as
#   $\mathcal L_{area}$.
# - **F** $\mathcal L_{area}$ has no gradient on the object, only on the background.

# %%
why_it_collapses = None  # your answer: letters, such as "BD"
### BEGIN SOLUTION
why_it_collapses = "ACE"
### END SOLUTION

# %%
check("why_it_collapses", why_it_collapses)
### BEGIN HIDDEN TESTS
check("why_it_collapses", why_it_collapses, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Switch the skip connection off: with `cls_loss(maps, evidence, skip=0.0)` in your loss, do the maps
# still become dark? And write down the derivative of the mean of all patches with respect to one of them.
#
# </details>
