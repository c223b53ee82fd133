# %% [markdown]
# # 13 · Every figure of the paper
#
# A figure is a claim, and it is believed faster than a table. Here every figure of the paper is
# drawn from runs: the same axes, our data. Each goes into a folder as PDF, SVG and PNG, and beside
# it stands a file that says which runs it was drawn from. What was not run is not drawn; a list says
# what is missing, and which command would run it.
#
# ## What you will learn
#
# - to read each figure of the paper: what its axes are, and what it can show;
# - to ask a figure where its numbers come from, and to check that it shows them;
# - what a figure owes its readers: spread, number of seeds, colours and marks that all can tell
#   apart, and words for those who do not see it.
#
# **Before you start:** [01 · Localization and its metrics](01_localization_and_metrics.ipynb), and
# [05](05_train_cub.ipynb), whose runs are used here. **Time:** 20 minutes to read, 6 minutes to run
# on two cores the first time, one after that, since finished runs are kept.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder of the data set; Aviary needs none
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
epochs = 0  # passes over the training images; 0: as the profile says
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
selection = ""  # where the threshold is chosen: held_out, or test as in the official code
images = 500  # test images whose maps are scored for Figs. 6 and 9; fewer where there are fewer
seed = 0  # seed of everything random
experiment = "course"  # folder under runs_dir; 02, 05 and this one share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative
out = ""  # folder of the figures; "": build/figures/ and the names of data set and profile

# %%
import satkit

settings = satkit.configure(
    "13_figures", profile=profile, dataset=dataset, data_root=data_root, backbone=backbone,
    checkpoint=checkpoint, epochs=epochs, train_images=train_images, eval_images=eval_images,
    selection=selection, images=images, seed=seed, experiment=experiment, runs_dir=runs_dir,
    out=out,
)  # fmt: skip
base = settings.train

# %% [markdown]
# ## The runs
#
# Figures with maps need the models themselves: SAT, TS-CAM and CAM, the runs of lessons 02 and 05
# (trained now if they are not there). All others need numbers only: finished runs of this project,
# or the result files that come with it.

# %%
from satkit import paper
from satkit.lessons import require_boxes, train_rows
from satkit.training import limit, load_datasets

test = load_datasets(base)["test"]
require_boxes(test)
trained = train_rows("table1_methods", base, "SAT; TS-CAM; CAM")
runs = {method: one for method, (one,) in trained.items()}
rows = paper.measured(settings.runs_dir)
print(paper.banner(rows[(rows["dataset"] == base.dataset) & (rows["profile"] == base.profile)]))

# %% [markdown]
# Every figure goes the same way: save it with its provenance, show it, remember it for the contact
# sheet. If there is nothing to draw, remember why.

# %%
from satkit.figures import save_figure, show, sources
from satkit.lessons import commands
from satkit.notebooks import in_project

folder = in_project(settings.out or f"build/figures/{base.dataset}_{base.profile}")
drawn, missing = {}, {}


def add(name, illustration, points):
    """Save and show a figure that was drawn from these rows."""
    save_figure(illustration, name, folder, sources(points))
    drawn[name] = illustration
    show(illustration)


def draw(name, figure, points, *experiments):
    """Draw a figure from its table, or say why not; and which of its rows are missing."""
    try:
        add(name, figure(points), points)
    except ValueError as error:
        missing[name] = str(error)
        print(f"{name}: not drawn, {error}")
    for one in experiments:
        lacking = [label for label, found in paper.rows_of(one, base, rows).items() if found.empty]
        if lacking:
            print("\n".join(commands(one, base, lacking, most=1)))


def rows_from(*methods):
    """Rows of the runs whose maps a figure shows."""
    return rows[rows["run"].isin([runs[method].dir.name for method in methods])]


def without(points):
    """Name the methods whose runs are there, but not with what this figure needs."""
    found = paper.rows_of("table1_methods", base, rows)
    for method, part in found.items():
        if len(part) and method not in set(points["line"]):
            print(f"not drawn: {method}; its runs are cached or older and hold no such file")


# %% [markdown]
# ## Fig. 1: little to tune, little to learn from
#
# On the left each mark is a part of SAT that stays frozen, from all of the backbone tuned (right) to
# a small share (left, note the logarithmic axis); on the right training sees 1, 3, 5, 10 or all
# images of a class. **Hollow marks are the paper's numbers on ImageNet**: other data and another
# backbone, so compare the *form* of the curves, never their height.
#
# **Predict, then run:** does tuning less cost accuracy? Is that different with one image a class?

# %%
from satkit.figures import figure1, figure1_points

draw("figure1", figure1, figure1_points(base, rows), "table8_few_shot")

# %% [markdown]
# ## Fig. 2: the framework
#
# The only figure without data. The spatial token passes all blocks; in the last ones it queries the
# patches, and each answer is a map.

# %%
from satkit.figures import figure2

framework = figure2()
save_figure(framework, "figure2", folder, {"runs": [], "printed": [], "drawn from": "Sec. 3"})
drawn["figure2"] = framework
show(framework)

# %% [markdown]
# ## Fig. 3: maps and boxes
#
# Pictures persuade, and they are chosen. The paper does not say how; here the images lie evenly over
# the test set, whatever the methods make of them. The maps of some images of the test set, once for
# all figures:

# %%
import numpy as np

from satkit.boxes import prepare_maps
from satkit.evaluation import collect, predictions

some = limit(test, min(settings.images, len(test)))
outputs = {
    method: collect(run.model(), some, workers=base.workers, label=f"maps of {method}")
    for method, run in runs.items()
}
boxes, maps = {}, {}
for method, found in outputs.items():
    threshold = runs[method].metrics["threshold"]
    table = predictions(found, protocol=base.protocol, threshold=threshold)
    boxes[method] = table[["x0", "y0", "x1", "y1"]].to_numpy()  # [N, 4]
    maps[method] = prepare_maps(found.maps, found.image_size, base.protocol)  # [N, S, S], 0-1

# %%
from satkit.figures import figure3


def compare(indices, methods):
    """Figure of some of the images by some of the methods."""
    items = [some[int(index)] for index in indices]
    return figure3(
        [item["image"] for item in items],
        {method: maps[method][indices] for method in methods},
        {method: boxes[method][indices] for method in methods},
        [item["boxes"].numpy() for item in items],
        titles=[test.classes[item["label"]] for item in items],
    )


evenly = np.linspace(0, len(some) - 1, 9).round().astype(int)
add("figure3", compare(evenly[::2], list(runs)), rows_from(*runs))

# %% [markdown]
# Figs. 11 to 14 show more of the same on other data sets, TS-CAM and SAT beside each other:

# %%
more = {"openimages": "figure12", "cub": "figure13", "imagenet": "figure14"}
pair, own = ["TS-CAM", "SAT"], more.get(base.dataset, "figure11")
add(own, compare(evenly[1::2], pair), rows_from(*pair))
for name in sorted({"figure11", *more.values()} - {own}):
    missing[name] = "needs another data set"

# %% [markdown]
# ## Fig. 4: how much depends on λ and the batch size?
#
# The batch area loss asks for a mean area of λ *over the batch*; in a large batch single images may
# differ from it. The paper prints no numbers here, only that batches above 64 differ by less than
# half a point, and that λ matters little.

# %%
from satkit.figures import figure4, figure4_points

draw("figure4", figure4, figure4_points(base, rows), "fig4_area", "fig4_batch_size")

# %% [markdown]
# ## Fig. 5: how good are the boxes that count as correct?
#
# GT-known Loc counts a box with an IoU of 0.51 like one of 0.95. The distribution tells them apart.
# It needs the boxes of each image, so only runs whose folders are at hand are drawn.

# %%
from satkit.figures import figure5, figure5_points

draw("figure5", figure5, figure5_points(base, rows), "table1_methods")
without(figure5_points(base, rows))

# %% [markdown]
# ## Fig. 6: does the size of the object matter?
#
# The map above a threshold (each method's best for pIoU) against the mask, one image at a time.
# **Predict, then run:** a patch of the map covers many pixels. Which objects suffer most?

# %%
from satkit.figures import figure6
from satkit.lessons import mask_ious

if "mask" in some[0]:
    masks = [some[index]["mask"].numpy() for index in range(len(some))]
    quality = {
        method: mask_ious(maps[method], masks, runs[method].metrics["piou_threshold"])
        for method in pair
    }
    add("figure6", figure6(quality), rows_from(*pair))
else:
    missing["figure6"] = f"{base.dataset} has no masks"
    print(f"figure6: not drawn, {missing['figure6']}")

# %% [markdown]
# ## Fig. 7: the threshold
#
# A curve that is high and *wide* forgives a badly chosen threshold.

# %%
from satkit.figures import figure7, figure7_points

draw("figure7", figure7, figure7_points(base, rows), "table1_methods")
without(figure7_points(base, rows))

# %% [markdown]
# ## Fig. 8: few-shot learning
#
# The paper draws ten choices of images as a box plot. From five runs on a point is drawn as a box
# here, too; below that a box would feign more than is known. Hollow: the paper's Table 8 and 1.

# %%
from satkit.figures import figure8, figure8_points

draw("figure8", figure8, figure8_points(base, rows), "fig8_tscam")

# %% [markdown]
# ## Fig. 9: why boxes fail
#
# The paper's authors looked at all 90 misses on CUB-200. The causes here are *proposals* of a
# program for the misses among the images above, nobody has judged them; lesson 12 lets you do so,
# and measures how good the program is.

# %%
import pandas as pd

from satkit.errors import CAUSES, propose
from satkit.figures import figure9

misses = propose(outputs["SAT"], base.protocol, runs["SAT"].metrics["threshold"])
causes = misses["proposal"].value_counts().reindex(list(CAUSES), fill_value=0)
name = f"SAT on {base.dataset}, proposals"
draw("figure9", lambda _: figure9(pd.DataFrame({name: causes})), rows_from("SAT"))

# %% [markdown]
# ## Fig. 10: two losses on single patches
#
# The curves are the losses themselves; the maps need a run with $\mathcal L_w$ (Table 12), and are
# left out where there is none. A value between 0.2 and 0.8 is an undecided patch.

# %%
import torch

from satkit.data import Selection
from satkit.figures import figure10
from satkit.figures.points import with_files
from satkit.losses import normalization_loss, weighted_entropy_loss
from satkit.results import open_run

values = torch.linspace(0, 1, 101)
patches = [value.reshape(1, 1, 1) for value in values]  # each a map of one patch
losses = {
    "L_w": [float(weighted_entropy_loss(patch)) for patch in patches],
    "L_norm": [float(normalization_loss(patch, None)) for patch in patches],
}

# %%
entropy = with_files(paper.rows_of("table12_pixel_term", base, rows)["weighted entropy"])
three, pictures, of_losses = evenly[[1, 4, 7]], [], {}
if len(entropy):
    other = collect(open_run(entropy["dir"].iloc[0]).model(), Selection(some, three.tolist()))
    pictures = [some[int(index)]["image"] for index in three]
    of_losses = dict(zip(losses, [other.maps, outputs["SAT"].maps[three]], strict=True))
else:
    print("\n".join(commands("table12_pixel_term", base, ["weighted entropy"])))
used = pd.concat([entropy.head(1), rows_from("SAT")]) if len(entropy) else rows.head(0)
add("figure10", figure10(values, losses, pictures, of_losses), used)

# %% [markdown]
# ## Does the figure show what the runs say?
#
# Do not believe a figure, ask it. The lines of Fig. 7, read from the figure, beside the means of the
# rows:

# %%
if "figure7" in drawn:
    points, lines = figure7_points(base, rows), drawn["figure7"].figure.axes[0].lines
    for line in lines:
        means = points[points["line"] == line.get_label()].groupby("x")["gt_known"].mean()
        assert np.allclose(line.get_xydata(), np.column_stack([means.index, means]))
    print(f"Fig. 7: {len(lines)} lines are what the rows say, point by point")

# %% [markdown]
# And where a figure comes from, as the file beside it says:

# %%
import json

print(json.dumps(json.loads((folder / "figure3.json").read_text()), indent=1)[:1500])

# %% [markdown]
# ## Contact sheet

# %%
from satkit.figures import contact_sheet

sheet = contact_sheet(drawn)
save_figure(sheet, "contact_sheet", folder, {"figures": list(drawn), "not drawn": missing})
show(sheet)

# %% [markdown]
# ## Try it
#
# - Print the contact sheet in grey. Which figures can you still read, and by what?
# - `-p images 50`: which statements of Figs. 6 and 9 would you no longer make?
# - Run one of the commands above, and this notebook again: the figure has one mark more.
# - Draw `figure8` without the hollow marks (`points` is a table). Would you judge it otherwise?
#
# ## Take-away

# %%
print(f"{len(drawn)} figures are in {folder.name}: {', '.join(drawn)}.")
for name, why in missing.items():
    print(f"Not drawn: {name}, because {why}.")

# %% [markdown]
# A figure without its runs is a drawing. What it shows has to be readable from its file, its spread
# has to be in it, and numbers from other data must look like guests.
#
# **Exercises:** sheet `course/ex13_figures.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("13")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Figs. 1–14.
# - B. Wong. *Points of view: Color blindness.* Nature Methods 2011: the palette.
# - W3C. *Web Content Accessibility Guidelines 2.2*, 2023: text alternatives.
