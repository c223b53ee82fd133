# %% [markdown]
# # 00 · Start here
#
# A photograph comes with one word, "wren", and with nothing that says where the wren is. Can a
# model that has seen only such words draw a box around the bird? This task is called *weakly
# supervised object localization* (WSOL), and this series builds, trains and measures one answer to
# it: SAT, the Spatial-Aware Token (Wu et al., ICCV 2023).
#
# ## What you will learn
#
# - whether your machine is ready for the series, and what will be slow on it;
# - what the embedded data set, Aviary, looks like, and what is known about each of its pictures;
# - why a model that names birds well may still box them badly, and what SAT does about it;
# - which notebook to open next.
#
# **Before you start:** nothing; no network and no data to fetch. **Time:** 10 minutes to read,
# 20 seconds to run. Nothing is trained here.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
seed = 0  # seed of the drawings; another one draws other birds

# %%
import satkit

settings = satkit.configure("00_start_here", profile=profile, seed=seed)

# %% [markdown]
# That cell checks the parameters above and shows what they resolve to; every notebook has one. A
# mistyped name or a bad value stops there, before any work.
#
# ## Who this is for
#
# | you are | you want | go |
# |---|---|---|
# | **a student** | to understand WSOL and SAT from the ground up | 01 to 05 in order; answer each *predict, then run* before you run it |
# | **a researcher** | numbers that you can trust and compare | 01 for the two evaluation protocols, then 05 with `-p dataset …` on your data; every run is a folder with settings, provenance and metrics |
# | **a teacher** | lessons that run on any laptop, offline | read `docs/teaching/guide.md`, the instructor's guide; `make demo` once, in the folder of your clone; a lesson is 30–60 minutes; `seed` gives every group birds of its own |
#
# ## Is this machine ready?
#
# The same report comes from `python -m satkit doctor`.

# %%
from satkit import doctor

print(doctor.report())

# %% [markdown]
# ## Aviary: birds that are known exactly
#
# Aviary draws its birds, at any size and in any number, so nothing has to be fetched, and the mask,
# the box and even the parts of each bird are known to the pixel. Eight of its twenty species:

# %%
from satkit.data.aviary import SPECIES, Aviary
from satkit.figures import image_sheet, localization_grid, show

birds = Aviary("test", size=160, seed=settings.seed)
drawings = [birds.drawing(index) for index in range(8)]
names = [SPECIES[drawing.label].name for drawing in drawings]
images = [drawing.image for drawing in drawings]
titles = [name.replace(" ", "\n", 1) for name in names]
show(image_sheet(images, titles=titles), alt="Sheet of eight birds: " + ", ".join(names))

# %% [markdown]
# **Predict, then run:** which part of these birds would *you* look at to tell the species? Now one
# species, eight times:

# %%
index_of_species = range(0, 8 * len(SPECIES), len(SPECIES))  # every 20th drawing is of one species
same = [birds.drawing(index) for index in index_of_species]
show(
    image_sheet(
        [drawing.image for drawing in same],
        boxes=[drawing.boxes for drawing in same],
        parts=[drawing.parts for drawing in same],
        what=f"drawings of the {names[0]}",
    )
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The head. As in real birds, each part says something about the species, but the head says most:
# body, wings and tail are shared by several species and vary. Pose, size, place and scene tell
# nothing.
#
# </details>
#
# ## The problem: naming is not boxing
#
# A model that learns from names looks where names can be read off: at the head. Below, the same
# birds with two maps. *Neither comes from a network*; we made them from the true parts, to show what
# a map would look like that knows the whole bird, and one that knows only its head.
#
# **Predict, then run:** how large is the IoU (overlap divided by union) of a head's box with the
# bird's box? From 0.5 on, a box counts as right.

# %%
import numpy as np

from satkit.boxes import component_boxes, prepare_maps
from satkit.lessons import simulate_map

rng = np.random.default_rng(settings.seed)
shown = [0, 0, 2, 2, 3, 3]  # three birds, each twice
rest = [1.0, 0.0] * 3  # the map's value on wing, body and tail
maps = [simulate_map(drawings[i], rng, rest=r) for i, r in zip(shown, rest, strict=True)]
boxes = component_boxes(prepare_maps(np.stack(maps), 160), [0.5])[:, 0]  # above half the maximum

# %%
show(
    localization_grid(
        [images[i] for i in shown],
        maps,
        boxes,
        [drawings[i].boxes for i in shown],
        titles=["whole bird", "head only"] * 3,
    )
)

# %% [markdown]
# A classifier loses nothing by looking at heads. That conflict between *what tells the class* and
# *where the object is* is what WSOL is about.
#
# ### Draw your own bird
#
# Choose a species, a posture and what makes it hard, and watch both maps and their boxes. (The
# controls work in Jupyter: by mouse, or Tab to one of them and type its number or press Enter; an
# exported page shows the first picture.) Still *no network is asked*: the two maps are made up from the bird's true parts.
#
# **Predict, then choose:** which difficulty costs the whole-bird map its good box?

# %%
from satkit.lab import draw_own_bird

draw_own_bird(seed=settings.seed)

# %% [markdown]
# <details><summary>Answer</summary>
#
# *occlusion*: where something stands before the bird, its map has a gap, and the largest piece is
# only a part of the bird. *partial* costs some boxes, too: where the image's edge leaves little but
# a thin tail, few patches are full of bird, and much of the map falls below half its maximum. Two
# birds (*multiple*) cost little, since the nearer of the two true boxes counts. *context* costs this
# map nothing, as it was made from the truth; a network has no such luck.
#
# </details>
#
# ## What SAT does
#
# 1. A vision transformer cuts the image into patches, one *token* each. SAT adds one more token,
#    the **spatial token** (384 numbers on DeiT-S and 384 for its position,
#    0.003 % of the network).
# 2. In the last three blocks the spatial token asks every patch: *are you object?* The answers, 0 to
#    1, are the **localization map**: the grids in the middle row above are the kind of thing it
#    draws.
# 3. The map **gates** the attention: what it closes, the classifier cannot use. So the names train
#    the map, and no box is ever needed.
# 4. Two **losses** say what a map should look like: the batch's maps should cover a given share of
#    the images on average, and each patch should be clearly in or clearly out.
# 5. Everything above a threshold, largest connected piece, box around it: the prediction.
#
# What the paper reports for it and for three other transformers (Table 1: percent of boxes that are
# right; the paper's numbers, not ours):

# %%
from satkit import paper

transformers = paper.wide("table1").filter(like="Deit-S", axis="index")
transformers[["CUB-200 GT-known", "ImageNet GT-known"]]

# %% [markdown]
# What *your* machine reaches on Aviary, notebook 05 measures.
#
# ## Where to go next
#
# | notebook | question |
# |---|---|
# | [01 · Localization and its metrics](01_localization_and_metrics.ipynb) | When is a box right, and how can one cheat without noticing? |
# | [02 · CAM and TS-CAM](02_cam_and_tscam.ipynb) | What does a classifier point at, and what does it leave out? |
# | [03 · Build SQA](03_build_sqa.ipynb) | How does one extra token learn to point at the object? |
# | [04 · The losses](04_losses.ipynb) | What tells the token how large an object is? |
# | [05 · Train SAT](05_train_cub.ipynb) | From images and words to boxes and a table |
#
# ## Running without looking
#
# Every notebook is also a program. From the repository's folder:
#
# ```sh
# python -m satkit run --all                  # all of them, what is up to date is skipped
# python -m satkit run 05 -p seed 1           # one, with another parameter
# ```
#
# or with plain papermill, from any folder:
#
# ```sh
# papermill notebooks/05_train_cub.ipynb out.ipynb -p dataset butterflies -p data_root ~/butterflies
# ```
#
# The parameters of a notebook are the lines of its first code cell.
#
# ## Take-away
#
# Labels teach a model what to name, not what to box; SAT gives the box a token of its own. Every
# number that this series shows comes from a file that a run on your machine wrote, and every number
# of the paper is labelled as the paper's.
#
# **Exercises:** sheet `course/ex00_start_here.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("00")`
#
# In a clone of the repository, the sheets in `course/` hold the solutions. Those to work in are made by
# `python -m satkit course release my-course`: they are in `my-course/student_edition.zip`.
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023.
# - B. Zhou et al. *Learning Deep Features for Discriminative Localization.* CVPR 2016: class
#   activation maps, where WSOL started.
# - J. Choe et al. *Evaluating Weakly Supervised Object Localization Methods Right.* CVPR 2020.
