# %% [markdown]
# # 05 · Train SAT: from images and words to boxes and a table
#
# This is the whole way of the paper in one notebook: a pretrained vision transformer, images with
# one word each, three losses; then maps, boxes, and the columns of the paper's Table 1, beside what
# the same backbone reaches without SAT. By default it runs on Aviary, on a laptop. With the real
# CUB-200-2011 and a GPU, the same cells are the paper's run:
#
# ```sh
# papermill notebooks/05_train_cub.ipynb out.ipynb -p profile paper -p dataset cub -p data_root …
# ```
#
# ## What you will learn
#
# - what a training run of SAT consists of, and what it will cost, before you pay;
# - to read its loss curves and its maps, good and bad ones;
# - where the threshold comes from, and how honest that is;
# - how much of the result is due to the spatial token, and how much to the two extra losses;
# - which parts of a bird each method covers.
#
# **Before you start:** [01 · Localization and its metrics](01_localization_and_metrics.ipynb); 03
# and 04 help. **Time:** 30 minutes to read, 5 minutes to run on two cores the first time, one after
# that, since finished runs are kept.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder of the data set; Aviary needs none
labels = ""  # classes of `birds`: species or family; "": as the profile says
variant = ""  # Aviary: every_part or head_only (only the head tells the species)
method = "sat"  # localizer of the first half: any of satkit.list_methods()
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
pretrained = True  # start from pretrained weights; False shows what they are worth
target_area = 0.0  # λ, share of foreground in the batch area loss; 0: as the profile says
epochs = 0  # passes over the training images; 0: as the profile says
batch_size = 0  # images a step; 0: as the profile says
lr = 0.0  # learning rate of AdamW; 0: as the profile says
selection = ""  # where epoch and threshold are chosen: held_out, or test as in the official code
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
seed = 0  # seed of everything random
compare = True  # also train SAT with cross-entropy only, TS-CAM and CAM
seeds = 1  # runs of each method in the comparison, from `seed` on; 0: as the profile says
images = 0  # test images whose part coverage is measured; 0: as the profile says
experiment = "course"  # folder under runs_dir; 02 and 05 share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "05_train_cub", profile=profile, dataset=dataset, data_root=data_root, labels=labels,
    variant=variant, method=method, backbone=backbone, checkpoint=checkpoint,
    pretrained=pretrained, target_area=target_area, epochs=epochs, batch_size=batch_size, lr=lr,
    selection=selection, train_images=train_images, eval_images=eval_images, seed=seed,
    compare=compare, seeds=seeds, images=images, experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## What will be run, and what it will cost
#
# The training images come with a label each; boxes and masks are only used for scoring. Epoch and
# threshold are chosen on *held-out* images unless `selection` says otherwise.

# %%
from satkit.lessons import require_boxes
from satkit.training import load_datasets

sets = load_datasets(settings.train)
require_boxes(sets["test"])
for split, images_of in sets.items():
    print(f"{split:<5} {len(images_of):>6} images of {images_of.num_classes} classes")

# %%
import numpy as np

from satkit.data import denormalize
from satkit.figures import image_sheet, show

drawn = np.random.default_rng(settings.seed).choice(len(sets["train"]), 8, replace=False)
items = [sets["train"][int(i)] for i in drawn]
names = [sets["train"].classes[item["label"]] for item in items]
show(
    image_sheet([denormalize(item["image"]) for item in items]),
    alt=f"Eight training images, cropped and perhaps mirrored: {', '.join(names)}.",
)

# %% [markdown]
# **Predict, then run:** a step takes `batch_size` images, and an epoch ends with whatever is left.
# How many steps will this run take? And about how long?

# %%
import pandas as pd

from satkit.cost import training_speed
from satkit.lessons import record

steps = -(-len(sets["train"]) // settings.train.batch_size) * settings.train.epochs
runs_asked = 4 * settings.seeds if settings.compare else 1
speed = training_speed(settings.train, sets["train"])
cost = {
    "steps": steps,
    "images": len(sets["train"]) * settings.train.epochs,
    "images a second": round(speed, 1),
    "minutes of training a run": round(
        len(sets["train"]) * settings.train.epochs / speed / 60, 2
    ),
    "runs": runs_asked,
}  # fmt: skip
data_name = f"{settings.train.dataset}, measured on a few steps"
stored = record("05_train_cub", "cost", cost, runs_dir=settings.runs_dir, data=data_name)
pd.Series(stored["numbers"], dtype=object, name="").to_frame()

# %% [markdown]
# ## Train
#
# The total loss (Eq. 9) has no weights to tune: $\mathcal L = \mathcal L_{cls} + \mathcal L_{ba} +
# \mathcal L_{norm}$. The optimizer is AdamW with a constant learning rate, as in the official code.
# Interrupt it if you like: called again, it goes on where it was. A run that is finished is only
# opened.
#
# λ is set as if the true area were unknown. On Aviary the profile takes the paper's value for
# CUB-200, although notebook 04 found its birds to be smaller; what that costs, *Try it* asks.

# %%
run = satkit.train(settings.train)
print(run.banner())

# %% [markdown]
# **Predict, then run:** $\mathcal L_{ba}$ is the distance of the batch's mean area from $\lambda$,
# and $\mathcal L_{norm}$ is at most $0.25$. Say that at the start the spatial token has no opinion:
# its similarity with each patch is 0, so the map is 0.5 everywhere. What are the two losses then?
# Which will fall first?

# %%
from satkit.figures import loss_curves

show(loss_curves(run.steps))

# %%
run.steps.drop(columns="lr").head(3).round(3)  # what the first steps logged

# %% [markdown]
# <details><summary>Answer</summary>
#
# A map of 0.5 everywhere has area 0.5, so $\mathcal L_{ba} = 0.5 - \lambda$, and
# $\mathcal L_{norm} = 0.5 \cdot 0.5 = 0.25$ (a little less at the border, where the kernel sees
# zeros). The table holds the real start: both a bit lower, since real similarities are not 0. Some
# patches are nearer to yes or no already, and on the whole more of them say no. The area should fall
# first: lowering all patches alike will do. A clear yes or no for each patch needs patches to be told
# apart, and the class needs most of all.
#
# Later $\mathcal L_{ba}$ bounces, which is usual: its push has the same size however near λ is, each
# batch has other birds, and the class opens the maps again.
#
# </details>
#
# ### Replay the training
#
# The run's file holds the losses of each step. λ and weights can be moved over them; nothing is
# trained anew. Of the maps the file holds only the area's *distance* from λ, not its side, so for
# another λ the sum lies in a band.

# %%
from satkit.lab import replay_losses

replay_losses(run)

# %% [markdown]
# The result, as the run's own `metrics.json` holds it (percent, but for threshold, epoch and
# speed):

# %%
shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in run.metrics.items()}
pd.Series(shown, dtype=object, name=run.dir.name).to_frame()

# %% [markdown]
# ## Look at it
#
# Numbers without pictures have fooled many. Images of the test set, all over it; below, the map and
# the box above the threshold.

# %%
from satkit.boxes import prepare_maps
from satkit.evaluation import collect
from satkit.figures import localization_grid

test = collect(run.model(), sets["test"], workers=settings.train.workers, label="test images")
maps = prepare_maps(test.maps, test.image_size, settings.train.protocol)  # [N, S, S], 0-1
predicted = run.predictions[["x0", "y0", "x1", "y1"]].to_numpy()  # [N, 4]


def show_grid(indices):
    """Show test images with their maps and boxes."""
    pictures = [denormalize(sets["test"][int(i)]["image"]) for i in indices]
    show(localization_grid(pictures, maps[indices], predicted[indices],
                           [test.boxes[i] for i in indices]))  # fmt: skip


# %%
show_grid(np.linspace(0, len(maps) - 1, 6).round().astype(int))

# %% [markdown]
# Six typical images say little about failures, so look at the worst ones, too. **Predict:** will
# their boxes be too small, too large, or somewhere else?

# %%
show_grid(run.predictions["iou"].argsort()[:6].to_numpy())

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Compare each predicted box with the true one. *Too large*: background lies above the threshold;
# small objects suffer first where λ asks for more area than they have. *Too small*: only a part is
# above it, or the largest piece is not the whole object. *Elsewhere*: the map answers to something
# that goes with the class, or the box is around the wrong piece.
#
# </details>
#
# ## The maps of the single blocks
#
# SAT's map is the mean of the maps of three blocks. **Predict, then run:** they are supervised only
# through that mean (the two extra losses) and through the class. Will they look alike?

# %%
import torch
from matplotlib.figure import Figure

from satkit.figures import picture

few = [sets["test"][i] for i in (0, len(sets["test"]) // 2, len(sets["test"]) - 1)]
with torch.inference_mode():
    layers = run.model()(torch.stack([item["image"] for item in few])).layer_maps  # [3, L, h, w]

# %%
if layers is not None:
    count = layers.shape[1]
    figure = Figure(figsize=(2 * (count + 1), 6), layout="constrained")
    for row, axes in enumerate(figure.subplots(3, count + 1)):
        axes[0].imshow(picture(few[row]["image"]))
        for block, axis in enumerate(axes[1:]):
            axis.imshow(layers[row, block], vmin=0, vmax=1)
            axis.set_title(f"block {block + 1} of {count}")
        for axis in axes:
            axis.set_axis_off()
    areas = ", ".join(f"{area:.2f}" for area in layers.mean(dim=(0, 2, 3)).tolist())
    show(figure, f"Three test images and the map of each block; mean areas by block: {areas}.")

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Nothing makes them alike. Each block has its own queries and keys, and $\mathcal L_{ba}$ and
# $\mathcal L_{norm}$ see the mean only: one block may be too bright if another is dark. So compare
# the brightness of the blocks, then their shapes. What they agree on, the mean shows clearly; what
# only one of them marks, it shows dimly.
#
# </details>
#
# ### Ask a block
#
# The attention of any patch in a spatial-aware block, and what the token's own map takes from it.
# **Predict, then click:** does a patch of the bird look at the bird?

# %%
from satkit.lab import explore_attention

asked = torch.stack([item["image"] for item in few])
is_sat = run.settings.method == "sat"
explore_attention(run.model(), asked) if is_sat else "only SAT has a spatial token"

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Look at its attention with the gate off: no loss asks a patch to look at its own object, so part of
# its row may well lie on background. The gate then takes away what the map closes, whoever asks. So
# what is left lies on the bird as far as the map does, and the row's sum says how much that is.
#
# </details>
#
# ## Where does the threshold come from?
#
# A map becomes a box at a threshold, and the threshold is chosen on images *with* boxes. The
# official code chooses it, and the epoch, on the test images themselves. We choose on held-out
# images (`selection="held_out"`), and look at what the other would have given.
#
# The curves have steps of 0.02; the run chose among candidates of its own, so its threshold may lie
# beside a peak. **Predict, then run:** by how much will the test set's own best threshold beat it?

# %%
from satkit.metrics import BoxLocalization

grid = np.linspace(0.02, 0.98, 49)


def gt_known_curve(outputs):
    """GT-known Loc at each threshold, percent."""
    metric = BoxLocalization(settings.train.protocol, grid, outputs.image_size)
    metric.update(outputs.maps, outputs.boxes)
    return metric.curves()["gt_known"].tolist()


# %%
curves = {"test": gt_known_curve(test)}
if "val" in sets:
    held_out = collect(run.model(), sets["val"], workers=settings.train.workers, label="held out")
    curves["held-out"] = gt_known_curve(held_out)
stored = record(
    "05_train_cub", "threshold_curves", {"threshold": grid.tolist(), **curves, "run": run.dir.name},
    runs_dir=settings.runs_dir, data=settings.train.dataset,
)["numbers"]  # fmt: skip

# %%
from satkit.figures import threshold_curves

lines = {name: stored[name] for name in curves}
chosen = run.metrics["threshold"]
show(threshold_curves(stored["threshold"], lines, chosen=chosen, label="GT-known Loc,"))

# %%
gain = run.metrics["gt_known_test_threshold"] - run.metrics["gt_known"]
print(f"GT-known Loc {run.metrics['gt_known']:.1f} % at {chosen:.2f} ({run.metrics['selection']})")
print(f"best threshold of the test images: {run.metrics['test_threshold']:.2f}, {gain:+.1f} points")

# %% [markdown]
# ## Is it the token, the losses, or the backbone?
#
# The same backbone, images, epochs and learning rate, four ways:
#
# - **SAT, all losses**;
# - **SAT, cross-entropy only**: the token alone, without $\mathcal L_{ba}$ and $\mathcal L_{norm}$
#   (row (a) of the paper's Table 2);
# - **TS-CAM**: class map times the class token's attention, summed over all blocks;
# - **CAM**: the class map alone.
#
# A fifth way, the attention map with both losses, was trained in lesson 02, and on Aviary it comes
# close to SAT. So what is ahead here may be the losses' doing: lesson 09 asks that with seeds.
#
# **Predict, then run:** bring them into an order of GT-known Loc. Then one of Top-1 Cls.
#
# **The rule, before we look:** two methods are scored on the same test images. Let $d_i$ be the
# difference of their hits (1 or 0; the mean where there are several seeds) on image $i$. We call one
# *ahead* if $\bar d$ is larger than two standard errors, $2\,s_d / \sqrt n$, and else say that this
# run cannot tell them apart. Here $n$ is the number of images, $\bar d$ the mean of the $d_i$, and
# $s_d$ their standard deviation. (This covers the chance of the test images. The chance of training
# is only covered by several `seeds`.)

# %%
base = settings.train.model_dump()
alone = {"area_term": "none", "pixel_term": "none"}
variants = {
    "SAT, all losses": {
        "method": "sat", "area_term": "batch_area", "pixel_term": "normalization",
    },
    "SAT, cross-entropy only": {"method": "sat", **alone},
    "TS-CAM": {"method": "tscam", **alone},
    "CAM": {"method": "cam", **alone},
}  # fmt: skip

# %%
runs = {} if settings.compare else {settings.method: [run]}
for offset in range(settings.seeds if settings.compare else 0):
    for name, changes in variants.items():
        asked = satkit.TrainSettings(**{**base, **changes, "seed": settings.seed + offset})
        runs.setdefault(name, []).append(satkit.train(asked))
rows = [{"method": name, **one.metrics} for name, many in runs.items() for one in many]
for name, many in runs.items():
    for one in many:
        print(f"{name}: {one.banner()}")

# %% [markdown]
# The columns of the paper's Table 1. A box as large as the image needs no model at all, so its score
# stands beside. On CUB-200 the paper's own numbers (DeiT-S, Tables 1 and 13) stand in columns of
# their own.

# %%
from satkit import paper
from satkit.figures import RESULT_COLUMNS, results_table

of_paper = pd.DataFrame({
    "SAT, all losses": paper.published(table="table13", row="(c) SAT w/ L_ba, one-stage"),
    "TS-CAM": paper.published(table="table1", method="tscam", dataset="cub"),
}).reindex(list(RESULT_COLUMNS))  # fmt: skip
full = {"method": "full-image box", **dict.fromkeys(RESULT_COLUMNS, np.nan)}
full["gt_known"] = run.metrics["full_image@0.5"]
table = results_table(
    [*rows, full], paper=of_paper.to_dict() if settings.train.dataset == "cub" else None
)
table["runs"] = [len(runs.get(name, ())) or "–" for name in table.index]
table

# %% [markdown]
# <details><summary>Answer</summary>
#
# GT-known Loc is decided by the maps. CAM and TS-CAM are trained alike, by the class alone, and differ
# in the map only, so their Top-1 Cls is the same by construction. Any other tie of Top-1 Cls is chance.
#
# </details>
#
# How *good* are the boxes, and the maps? Accuracy at an IoU of 0.3, 0.5 and 0.7 with their mean
# (the paper's Table 3), and, where there are masks, pIoU and PxAP (Table 4).

# %%
deltas = ["max_box_acc@0.3", "max_box_acc@0.5", "max_box_acc@0.7"]
frame = pd.DataFrame(rows)
columns = [c for c in [*deltas, "max_box_acc_v2", "piou", "pxap"] if c in frame]
quality = frame.groupby("method", sort=False)[columns].mean()
quality.loc["full-image box", deltas] = [run.metrics[f"full_image@{d}"] for d in (0.3, 0.5, 0.7)]
quality.loc["full-image box", "max_box_acc_v2"] = quality.loc["full-image box", deltas].mean()
quality = quality.rename(columns={"max_box_acc_v2": "MaxBoxAccV2", "piou": "pIoU", "pxap": "PxAP"})
quality.round(1).astype(object).where(quality.notna(), "–")

# %%
from satkit.figures import iou_histogram

ious = {name: np.mean([one.predictions["iou"] for one in many], axis=0)
        for name, many in runs.items()}  # fmt: skip
show(iou_histogram(ious))

# %% [markdown]
# Now the rule from above:


# %%
def verdict(name, other):
    """Say which of two methods is ahead, by the rule that was stated before."""
    hits = [
        np.mean([one.predictions["iou"] >= 0.5 for one in runs[which]], axis=0)
        for which in (name, other)
    ]  # each [N]: share of the seeds that hit the image
    gap = 100 * (hits[0] - hits[1])
    error = 2 * gap.std(ddof=1) / len(gap) ** 0.5
    word = "ahead of" if gap.mean() > error else "behind" if gap.mean() < -error else "level with"
    return f"{name} is {word} {other}: {gap.mean():+.1f} points (two standard errors: {error:.1f})"


first, *others = runs
verdicts = [verdict(first, other) for other in others]
print("\n".join(verdicts) or "nothing to compare with: compare is False")

# %% [markdown]
# ## Which parts of the bird does each map cover?
#
# Aviary knows the parts. The share of each part's pixels that lie above the method's own threshold,
# and, of the background, the share that does so wrongly. **Predict, then run:** where will CAM and
# SAT differ most?

# %%
from satkit.figures import COLORS
from satkit.lessons import part_coverage
from satkit.training import limit

some = limit(sets["test"], min(settings.images, len(sets["test"])))
coverage = {}
if "parts" in some[0]:
    parts = [some[i]["parts"].numpy() for i in range(len(some))]
    for name, (one, *_) in runs.items():
        outputs = collect(one.model(), some, label=f"parts, {name}")
        prepared = prepare_maps(outputs.maps, outputs.image_size, one.settings.protocol)
        coverage[name] = part_coverage(prepared, parts, one.metrics["threshold"])

# %%
if coverage:
    of = {name: one.dir.name for name, (one, *_) in runs.items()}
    stored = record(
        "05_train_cub", "part_coverage", {"percent": coverage, "runs": of},
        runs_dir=settings.runs_dir, data=f"{settings.train.dataset}, {len(some)} test images",
    )["numbers"]  # fmt: skip
    shares = pd.DataFrame(stored["percent"]).T  # methods x parts

# %%
if coverage:
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = shares.T.plot.bar(ax=figure.subplots(), rot=0, ylim=(0, 100), color=COLORS)
    axis.set(ylabel="% of its pixels covered")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    said = shares.round().astype(int).astype(str).to_dict("index")
    said = "; ".join(f"{n}: " + ", ".join(map(" ".join, r.items())) for n, r in said.items())
    show(figure, f"Percent of each part's pixels that lie above the threshold. {said}.")
else:
    print(f"{settings.train.dataset} has no part masks; Aviary has")

# %% [markdown]
# <details><summary>What to look for</summary>
#
# If a method lives off the head, its bar for the head is high and those for wing, body and tail are
# low: the classifier needs no more. A box needs the far ends, so *tail* and *head* decide about its
# length. A high bar for the background means a box that is too large. On a transformer it may be the
# other way round: if CAM's map lies beside the bird (lesson 02, section 5), its bar for the background
# is the highest, and that for the head low. Compare CAM and SAT in both.
#
# </details>
#
# ## Try it
#
# - `-p target_area 0.1` and `-p target_area 0.5`: what do the boxes do, and what GT-known?
# - `-p variant head_only`: now *only* the head tells the species. What should happen to SAT's map,
#   if it learns from names alone?
# - `-p selection test`: the official code's way. Compare with the curve above.
# - `-p dataset butterflies -p data_root …`: photographs. The backbone is then DeiT-Ti, whose weights
#   timm fetches, or `-p checkpoint` names.
#
# ## Take-away
#
# What this run says, computed from its files:

# %%
mean = {name: np.mean([one.metrics["gt_known"] for one in many]) for name, many in runs.items()}
best = " and ".join(name for name in mean if mean[name] == max(mean.values()))
print(f"On {settings.train.dataset}, highest GT-known Loc: {best}, {max(mean.values()):.1f} %.")
print("\n".join(verdicts))
trivial = run.metrics["full_image@0.5"]
print(f"The full-image box, which needs no model, has {trivial:.1f} %.")
print(
    "The paper, on CUB-200 with DeiT-S, threshold chosen on the test images: SAT has "
    f"{of_paper['SAT, all losses']['gt_known']:.2f} %."
)

# %% [markdown]
# Whatever the numbers are: a localization result is worth as much as what stands beside it. Here
# that is the same backbone without the losses, without the token, the box that needs no model, and
# a threshold that has not seen the test images.
#
# **Exercises:** sheet `course/ex05_train_cub.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("05")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Sec. 3.3 and 4, Tables 1–4.
# - W. Gao et al. *TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised Object
#   Localization.* ICCV 2021.
# - B. Zhou et al. *Learning Deep Features for Discriminative Localization.* CVPR 2016: CAM.
# - J. Choe et al. *Evaluating Weakly Supervised Object Localization Methods Right.* CVPR 2020: why
#   threshold and epoch belong on held-out images.
# - C. Wah et al. *The Caltech-UCSD Birds-200-2011 Dataset.* 2011.
