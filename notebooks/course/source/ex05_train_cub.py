# %% [markdown]
# # Exercises 05 · Train SAT
#
# For lesson [05](../05_train_cub.ipynb): two details of the optimizer that the lesson leaves out, and
# five logs. Nothing is trained here. Write what is missing, run the cell below it, and read what the
# check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
import numpy as np

from satkit.course import start

check = start("ex05_train_cub", seed=seed)

# %% [markdown]
# ## What does weight decay act on?
#
# {{decayed}}
#
# AdamW pulls parameters towards 0, but not all of them: there are two *parameter groups*, with and
# without weight decay. The rule of this library, which gives the groups of the authors' runs:
#
# - frozen parameters are in no group;
# - vectors (one dimension) and whatever is named `….bias` are not decayed;
# - all others are: matrices, kernels, tokens and position embeddings.
#
# Given the parameters of a model, return the names of those that are decayed.


# %%
def decayed(parameters):
    """Names that are decayed; parameters: list of (name, shape, trainable) -> set of names."""
    ### BEGIN SOLUTION
    return {
        name
        for name, shape, trainable in parameters
        if trainable and len(shape) > 1 and not name.endswith(".bias")
    }
    ### END SOLUTION


# %%
check("decayed", decayed)
### BEGIN HIDDEN TESTS
check("decayed", decayed, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `shape` is a tuple, and `len(shape)` is the number of dimensions. Where does `norm1.weight`, of
# shape `(D,)`, belong?
#
# </details>

# %% [markdown]
# ## A cosine schedule
#
# {{cosine_lr}}
#
# SAT trains with a constant learning rate. Many other recipes let it fall along half a cosine wave
# (`schedule="cosine"` in this library): from `lr` at step 0 to `min_lr` at step `steps`, slowly at
# both ends and fastest in the middle. Write the rate of one step.

# %%
import math


def cosine_lr(step, steps, lr, min_lr):
    """Learning rate of a step; step int 0 … steps, lr and min_lr float -> float."""
    ### BEGIN SOLUTION
    wave = (1 + math.cos(math.pi * step / steps)) / 2  # from 1 to 0
    return min_lr + (lr - min_lr) * wave
    ### END SOLUTION


# %%
check("cosine_lr", cosine_lr)
### BEGIN HIDDEN TESTS
check("cosine_lr", cosine_lr, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Build a wave that goes from 1 to 0 first. Then stretch it to the height `lr - min_lr`, and lift it.
#
# </details>

# %% [markdown]
# ## Five logs
#
# {{read_logs}}
#
# Five trainings of SAT on 20 classes with λ = 0.35, each with its own cause of trouble, or none. The
# numbers are **made up for this exercise**; each line is the mean of an epoch. All three terms are
# *logged*, but a fault may be that one of them is missing in the sum that is trained.
#
# | epoch | loss | log 1 | log 2 | log 3 | log 4 | log 5 |
# |---|---|---|---|---|---|---|
# | 1 | $\mathcal L_{cls}$ | 2.81 | 3.01 | 2.80 | 2.83 | 4.72 |
# | 1 | $\mathcal L_{ba}$ | 0.21 | 0.09 | 0.33 | 0.15 | 0.31 |
# | 1 | $\mathcal L_{norm}$ | 0.13 | 0.16 | 0.12 | 0.25 | 0.20 |
# | 2 | $\mathcal L_{cls}$ | 1.66 | 3.00 | 1.58 | 1.71 | 27.9 |
# | 2 | $\mathcal L_{ba}$ | 0.34 | 0.02 | 0.64 | 0.15 | 0.35 |
# | 2 | $\mathcal L_{norm}$ | 0.01 | 0.05 | 0.02 | 0.25 | 0.08 |
# | 3 | $\mathcal L_{cls}$ | 0.92 | 3.00 | 0.79 | 0.95 | nan |
# | 3 | $\mathcal L_{ba}$ | 0.35 | 0.01 | 0.65 | 0.15 | nan |
# | 3 | $\mathcal L_{norm}$ | 0.00 | 0.03 | 0.01 | 0.25 | nan |
#
# Give each log its letter. Not every letter need occur. No training ends at an area of 0.70.
#
# - **A** the classifier learns nothing (are the labels mixed up?);
# - **B** the map stays as it was at the start (is the spatial token frozen?);
# - **C** the learning rate is far too high;
# - **D** the maps have become empty;
# - **E** the maps are open everywhere;
# - **F** nothing is wrong.

# %%
read_logs = None  # your answer: {"log 1": "…", "log 2": "…", …}, a letter for each of the five
### BEGIN SOLUTION
# area 0 pays λ = 0.35, area 1 pays 1 - λ = 0.65, a map of 0.5 pays 0.15 and 0.25; ln 20 = 3.00
read_logs = {"log 1": "D", "log 2": "A", "log 3": "E", "log 4": "B", "log 5": "C"}
### END SOLUTION

# %%
check("read_logs", read_logs)
### BEGIN HIDDEN TESTS
check("read_logs", read_logs, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Make a small table first: which values have $\mathcal L_{ba}$ and $\mathcal L_{norm}$ for maps of 0,
# of 0.5 and of 1? And which value has $\mathcal L_{cls}$ if all 20 classes get the same probability?
#
# </details>
