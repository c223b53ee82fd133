# %% [markdown]
# # Exercises 06 · What a run costs, and who sees which batch
#
# For lesson [06](../06_train_imagenet.ipynb). Write what is missing, run the cell below it, and
# read what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
import numpy as np

from satkit.course import start

check = start("ex06_train_imagenet", seed=seed)

# %% [markdown]
# ## Count the multiply-adds of attention
#
# {{attention_macs}}
#
# The lesson let a program count. Now do it by hand, for one attention layer with $T$ tokens of width
# $D$ and some heads: the projections to queries, keys and values; the two products inside
# attention; the projection behind it. Count matrix products only (no bias, no softmax).
#
# SQA then adds one thing: the similarity of one token's query, at full width $D$, with all keys.
# How many multiply-adds is that?


# %%
def attention_macs(tokens, width, heads):
    """Multiply-adds of one attention layer, and what SQA adds to them; three ints -> two ints."""
    ### BEGIN SOLUTION
    projections = 4 * tokens * width**2  # queries, keys, values, output
    products = 2 * tokens**2 * width  # QKᵀ and AV; the heads share the width
    return projections + products, tokens * width
    ### END SOLUTION


# %%
check("attention_macs", attention_macs)
### BEGIN HIDDEN TESTS
check("attention_macs", attention_macs, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `[T, D] @ [D, D]` takes $T D^2$ multiply-adds. In one head the keys are `[T, D / heads]`: what do
# all heads together cost?
#
# </details>

# %% [markdown]
# ## Steps and learning rate of a run
#
# {{training_plan}}
#
# Each process takes `own` images a step. Nothing is dropped: a smaller batch at the end of an epoch
# is a step, too. By the rule of *linear scaling*, the learning rate grows in proportion to the
# batch, from `base_lr` at a batch of `base_batch`. Return the steps of the whole run and the
# learning rate.

# %%
import math


def training_plan(images, epochs, own, processes, base_lr, base_batch):
    """Number of steps (int) and learning rate (float) of a run."""
    ### BEGIN SOLUTION
    batch = own * processes
    return math.ceil(images / batch) * epochs, base_lr * batch / base_batch
    ### END SOLUTION


# %%
check("training_plan", training_plan)
### BEGIN HIDDEN TESTS
check("training_plan", training_plan, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# First the batch: how many images do all processes take in one step? Then the steps of *one* epoch.
#
# </details>

# %% [markdown]
# ## One area for all processes
#
# {{shared_area_loss}}
#
# A batch is spread over processes, and the parts need not be of one size: the last batch of an
# epoch seldom divides evenly. Write the batch area loss $|a - \lambda|$ with $a$ the mean over *all*
# maps. It should be what one process with the whole batch computes, whatever the parts. The
# gradient has to reach every map.

# %%
import torch


def shared_area_loss(parts, target):
    """Batch area loss; parts: maps of each process, tensors [B_r, h, w]; target: λ -> scalar."""
    ### BEGIN SOLUTION
    total = sum(part.sum() for part in parts)
    count = sum(part.numel() for part in parts)
    return (total / count - target).abs()
    ### END SOLUTION


# %%
check("shared_area_loss", shared_area_loss)
### BEGIN HIDDEN TESTS
check("shared_area_loss", shared_area_loss, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Which two numbers does each process have to tell the others, so that everybody can compute the mean
# of all?
#
# </details>

# %% [markdown]
# ## What if the sum passes no gradient?
#
# {{gradient_factor}}
#
# Four processes hold equal parts of a batch. Each computes the batch area loss from the sum over all
# processes, so all have the right *value*. But the sum was made by a plain `all_reduce`, which passes
# no gradient: for each process the maps of the other three are constants. Data parallelism then
# averages the gradients of the weights over the four processes.
#
# The result is how many times the right gradient? (`1` would be: it is right.)

# %%
gradient_factor = None  # your answer, a number
### BEGIN SOLUTION
gradient_factor = 1 / 4  # the four parts add up to the gradient, but their mean is taken
### END SOLUTION

# %%
check("gradient_factor", gradient_factor)
### BEGIN HIDDEN TESTS
check("gradient_factor", gradient_factor, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Call $g_r$ the gradient through the maps of process $r$. The right gradient is
# $g_1 + g_2 + g_3 + g_4$. What does process $r$ hold? What is the mean of that over the processes?
#
# (`satkit.distributed.sum_with_gradient` mends it: the gradient passes through the sum, too.)
#
# </details>
