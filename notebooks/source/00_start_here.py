# %% [markdown]
# # 00 · Start here
#
# A photograph comes with one word, "wren", and with nothing that says where the wren is. Can a
# model that has seen only such words draw a box around the bird? That task is called *weakly
# supervised object localization*, and this series builds, trains and measures one answer to it:
# SAT, the Spatial-Aware Token (Wu et al., ICCV 2023).
#
# ## What you will learn
#
# - whether your machine is ready for the series, and what will be slow on it;
# - what the embedded data set, Aviary, looks like, and what is known about each of its pictures;
# - which notebook to open next.
#
# **Before you start:** nothing; no network and no data to fetch. **Time:** 5 minutes to read, some
# seconds to run.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
seed = 0  # seed of the drawings; another one draws other birds

# %%
import satkit

settings = satkit.configure("00_start_here", profile=profile, seed=seed)

# %% [markdown]
# ## Is this machine ready?
#
# The same report comes from `python -m satkit doctor`.

# %%
from satkit import doctor

print(doctor.report())

# %% [markdown]
# ## Three birds
#
# Aviary draws its birds; so the mask, the box and even the parts of each are known exactly.
#
# **Predict, then run:** which part of a bird would you look at to tell its species? And if a model
# looked only there, what would its box look like?

# %%
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from satkit.data import aviary
from satkit.figures import show

drawings = [aviary.draw([settings.seed, i], size=192) for i in range(3)]
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, drawing in zip(axes, drawings, strict=True):
    axis.imshow(drawing.image)
    for x0, y0, x1, y1 in drawing.boxes:
        axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="C1", lw=2))
    axis.set_axis_off()
show(figure, alt="Three drawings from Aviary: a bird in each, with its true box drawn around it.")

# %% [markdown]
# A classifier may look at the head alone, since the head differs most between species. The box
# holds the whole bird. This gap between *what tells the class* and *where the object is* is what
# the series is about.
#
# ## Where to go next
#
# | notebook | question |
# |---|---|
# | [01 · Localization and its metrics](01_localization_and_metrics.ipynb) | When is a box right, and how can one cheat without noticing? |
# | [03 · Build SQA](03_build_sqa.ipynb) | How does one extra token learn to point at the object? |
# | [04 · The losses](04_losses.ipynb) | What tells the token how large an object is? |
# | [05 · Train SAT](05_train_cub.ipynb) | From images and words to boxes and a table |
#
# ## Take-away
#
# One command, `make demo`, runs all of this; every number that you will see comes from a file that
# a run on your machine wrote, and every number of the paper is labelled as the paper's.
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023.
