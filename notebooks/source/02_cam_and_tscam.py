# %% [markdown]
# # 02 · CAM and TS-CAM: what a classifier points at
#
# A network that names birds must look at them. So its insides should tell *where* the bird is: that
# is the idea of CAM, and of weakly supervised localization. It works on CNNs, and fails in a typical
# way: the map shows the part that gives the bird away, not the bird. On a transformer, whose patches
# exchange what they know, it may fail in another way, and you will see which. This lesson builds CAM
# and TS-CAM, measures the failure part by part, and asks whether classification and localization
# want the same thing at all.
#
# ## What you will learn
#
# - why the mean of a class map *is* the class score, and what follows from it;
# - to measure which parts of a bird a map covers, and which parts the classifier needs;
# - what the class token's attention adds (TS-CAM), and what it does not;
# - to measure whether two losses pull the same parameters in the same direction.
#
# **Before you start:** [01 · Localization and its metrics](01_localization_and_metrics.ipynb).
# **Time:** 45 minutes to work through, 5 minutes to run on two cores the first time, one after
# that, since finished runs are kept.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # aviary (with all parts of the lesson), or another data set; "": the profile's
data_root = ""  # folder of the data set; Aviary needs none
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
epochs = 0  # passes over the training images; 0: as the profile says
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
selection = ""  # where the threshold is chosen: held_out, or test as in the official code
images = 0  # test images whose parts are measured; 0: as the profile says
seed = 0  # seed of everything random
experiment = "course"  # folder under runs_dir; 02 and 05 share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "02_cam_and_tscam", profile=profile, dataset=dataset, data_root=data_root, backbone=backbone,
    checkpoint=checkpoint, epochs=epochs, train_images=train_images, eval_images=eval_images,
    selection=selection, images=images, seed=seed, experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## 1 · From a mean to a map
#
# The last layer's patch tokens form a feature map $F \in \mathbb R^{D \times h \times w}$. A
# classifier averages it over the patches (*global average pooling*, GAP) and multiplies by weights
# $W$. Both are linear, so their order does not matter:
#
# $$\text{logit}_c = \sum_d W_{cd} \, \frac1{hw} \sum_{i,j} F_d(i,j)
#    = \frac1{hw} \sum_{i,j} \underbrace{\sum_d W_{cd}\, F_d(i,j)}_{S_c(i,j)}$$
#
# $S_c$ is the **class activation map** (CAM) of class $c$: it says how much each patch adds to the
# score of the class.

# %%
import torch

torch.manual_seed(settings.seed)
F = torch.randn(1, 128, 12, 12)  # features [B, D, h, w]
W = torch.randn(20, 128)  # weights [C, D]

pooled_first = F.mean(dim=(2, 3)) @ W.T  # [B, C]
class_maps = torch.einsum("cd,bdij->bcij", W, F)  # S [B, C, h, w]
mapped_first = class_maps.mean(dim=(2, 3))  # [B, C]
assert torch.allclose(pooled_first, mapped_first, atol=1e-5)

# %% [markdown]
# The score is the map's *mean*. **Predict:** two maps of four patches, (4, 0, 0, 0) and (1, 1, 1, 1),
# belong to birds that fill all four patches. Which has the higher score? Which makes the better box?
#
# <details><summary>Answer</summary>
#
# The score is 1 for both: the classifier does not care *where* the evidence is. For the box it is
# everything. Nothing in the loss prefers the second map, and if one part is the surest sign, the
# first is the easier one to learn.
#
# </details>
#
# ## 2 · Train CAM and TS-CAM
#
# Here the head is a 3×3 convolution on a vision transformer's patch tokens, as in TS-CAM; its mean
# is still the score. TS-CAM is trained in the same way; only its map differs. (SAT and a map made
# of attention are trained as well, for section 6.)

# %%
METHODS = {"CAM": "cam", "TS-CAM": "tscam", "attention map": "attention_map", "SAT": "sat"}
base = settings.train.model_dump(exclude={"method", "area_term", "pixel_term", "options"})
runs = {
    name: satkit.train(satkit.TrainSettings.for_profile(**{**base, "method": method}))
    for name, method in METHODS.items()
}
for name, run in runs.items():
    print(f"{name}: {run.banner()}")

# %%
from satkit.figures import results_table

results_table([{"method": name, **run.metrics} for name, run in runs.items()])

# %% [markdown]
# ## 3 · Look at the maps
#
# TS-CAM's map of a class is a product. $A_l$ is the class token's attention to the patches in block
# $l$, averaged over the heads:
#
# $$M_c = \Big(\sum_l A_l\Big) \odot S_c$$
#
# $S_c$ knows the class; the attention knows what the network looked at. **Predict, then run:** which
# of the three maps will cover the most area above half its maximum, and which will be the noisiest?

# %%
import numpy as np

from satkit.boxes import prepare_maps
from satkit.training import limit, load_datasets

sets = load_datasets(runs["TS-CAM"].settings)
test = limit(sets["test"], min(settings.images, len(sets["test"])))
items = [test[i] for i in range(len(test))]
pixels = torch.stack([item["image"] for item in items])  # [N, 3, S, S]
labels = torch.tensor([item["label"] for item in items])  # [N]
model = runs["TS-CAM"].model()
with torch.inference_mode():
    output = model(pixels, labels)  # the maps of the true classes
attention = output.layer_maps.sum(dim=1)  # ΣA [N, h, w]
factors = {
    "class map S": output.maps / attention,
    "attention ΣA": attention,
    "product M": output.maps,
}
size = pixels.shape[-1]
scaled = {name: prepare_maps(m, size, "sat") for name, m in factors.items()}  # each [N, S, S], 0-1

# %%
from satkit.data import denormalize
from satkit.figures import image_sheet, map_sheet, show

few = np.linspace(0, len(items) - 1, 3).round().astype(int)
show(image_sheet([denormalize(pixels[i]) for i in few], columns=3))
for i in few:
    show(map_sheet({name: maps[i] for name, maps in scaled.items()}))

# %%
for name, maps in scaled.items():
    share, step = 100 * (maps > 0.5).mean(), np.abs(np.diff(maps, axis=2)).mean()
    print(f"{name}: {share:.0f} % above half its maximum, {step:.4f} from pixel to pixel")

# %% [markdown]
# <details><summary>What to look for</summary>
#
# The printed shares say which map covers most, over all images. Noise makes neighbours differ, and
# so the steps from pixel to pixel large; outlines do the same, so look at the background, too.
#
# Is $S_c$ bright beside the bird and dark on it? Nothing is broken: in a transformer, patches of
# background have heard of the bird (section 5). And a frame around it comes from the head, whose
# 3 × 3 windows reach over the border, where there are zeros.
#
# In a product both factors have a say: where one of them is 0, so is the product, however large the
# other. The attention is the same whatever class is asked for; only $S_c$ depends on it. Each map is
# scaled by itself, so compare shapes, not brightness: a single bright patch makes all others of its
# map look dark.
#
# </details>
#
# ### All methods on one image
#
# Each trained run with its own map and its own threshold, the one that it chose. **Predict, then
# tick:** who loses most when all must share one threshold?

# %%
from satkit.lab import compare_methods

several = np.linspace(0, len(items) - 1, min(12, len(items))).round().astype(int)
compare_methods(runs, pixels[several], labels[several], [items[i]["boxes"] for i in several])

# %% [markdown]
# <details><summary>Answer</summary>
#
# As a rule the one whose own threshold is farthest from the shared one; compare the IoU below its
# map before and after. That says nothing about its map. So a comparison lets each method choose its
# threshold, by the same rule and on images that do not count.
#
# </details>
#
# Now a bird of your choice. The networks have not seen it, and no label is given: each draws the map
# of the class that it takes the bird for. Again each has its own threshold, until you tick the box.

# %%
from satkit.lab import draw_own_bird

drawn = "aviary" in settings.train.dataset
asked = {name: runs[name] for name in ("CAM", "TS-CAM", "SAT")}
draw_own_bird(asked, seed=settings.seed) if drawn else "for runs on Aviary only"

# %% [markdown]
# ## 4 · Which parts does a map cover?
#
# Aviary knows each bird's head, wing, body and tail. The share of a part that lies above the
# threshold says whether the map found it; the threshold of each map is the one with the best
# GT-known Loc on these images, so that none is handicapped. (For scoring methods that would be
# cheating, see 01. Here we compare the factors of *one* method.)
#
# **Predict, then run:** which part will each map cover best?

# %%
import pandas as pd

from satkit.lessons import part_coverage, record
from satkit.metrics import BoxLocalization

grid = np.linspace(0.02, 0.98, 49)
boxes = [item["boxes"].numpy() for item in items]
found = {}
for name, maps in scaled.items():
    metric = BoxLocalization("sat", grid, size)
    metric.update(torch.as_tensor(maps), boxes)
    gt_known = metric.curves()["gt_known"]
    best = int(gt_known.argmax())
    found[name] = {"GT-known Loc": float(gt_known[best]), "threshold": float(grid[best])}

# %%
has_parts = "parts" in items[0]
if has_parts:
    parts = [item["parts"].numpy() for item in items]
    for name, maps in scaled.items():
        found[name] |= part_coverage(maps, parts, found[name]["threshold"])
stored = record(
    "02_cam_and_tscam", "coverage", {"percent": found, "run": runs["TS-CAM"].dir.name},
    runs_dir=settings.runs_dir, data=f"{settings.train.dataset}, {len(items)} test images",
)["numbers"]["percent"]  # fmt: skip
pd.DataFrame(stored).T.round(2)

# %%
from satkit.figures import bar_chart

if has_parts:
    shares = pd.DataFrame(stored).drop(["GT-known Loc", "threshold"])  # parts x maps
    show(bar_chart(shares, ylabel="% of its pixels covered"))

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Compare the bars *within* one map: where they differ much, the map prefers a part, and a box around
# it leaves out the others. A high bar alone says little, since a map that is open everywhere covers
# all parts: that is why the table shows GT-known Loc, and the share of the background, too.
#
# </details>
#
# ## 5 · Which parts does the classifier need?
#
# Now from the other side: paint one part over with the colour of the background, and see what is
# left of Top-1 Cls. **Predict, then run:** which part is missed most? (The parts are not equally
# large: the last row says how much of the image each covers.)

# %%
from satkit.lessons import accuracy_without_parts

if has_parts:
    needed = {name: accuracy_without_parts(run.model(), test) for name, run in runs.items()}
    counts = np.bincount(np.stack(parts).ravel(), minlength=5) / np.stack(parts).size
    needed["% of the image"] = dict(
        zip(["head", "wing", "body", "tail"], 100 * counts[1:], strict=True)
    )
    stored = record(
        "02_cam_and_tscam", "painted_over", {"percent": needed},
        runs_dir=settings.runs_dir, data=f"{settings.train.dataset}, {len(items)} test images",
    )["numbers"]["percent"]  # fmt: skip

# %%
if has_parts:
    painted = pd.DataFrame(stored).T
    show(bar_chart(painted.drop(index="% of the image"), ylabel="Top-1 Cls, %, without"))

# %%
painted.round(1).astype(object).where(painted.notna(), "–") if has_parts else "no part masks"

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Where painting a part over costs much, the classifier lives off it; where the map covers that part
# and little else, you see the *part-only failure*. Where the map covers more of the background than
# of the bird, you see the transformer's: a patch beside the bird has heard of it through the
# attention, and for the mean it is as good as any. In Aviary a species differs in every part, the
# head most, so there is something to be found everywhere. With `-p variant head_only` in 05 there is
# not.
#
# </details>
#
# ## 6 · Do the two tasks want the same?
#
# SAT puts two losses on a localization map: $\mathcal L_{ba}$ and $\mathcal L_{norm}$ (see 04). One
# could put them on a map of the *class token's* attention just as well (the baseline of the paper's
# Table 5, `attention_map` here); the paper says that the tasks then get into each other's way, and
# gives the map to a token of its own.
#
# A conflict can be measured: the cosine between the gradient of $\mathcal L_{cls}$ and that of
# $\mathcal L_{ba} + \mathcal L_{norm}$, on the same parameters. Below zero, a step for one undoes a
# step for the other. **Predict, then run:** where will the cosine be lowest, and for which model?

# %%
from satkit.data import collate
from satkit.lessons import gradient_agreement

BATCHES, SIZE = 8, min(16, len(sets["train"]))
order = np.random.default_rng(settings.seed).permutation(len(sets["train"]))
chunks = [order[i * SIZE : (i + 1) * SIZE] for i in range(BATCHES)]
batches = [collate([sets["train"][int(i)] for i in chunk]) for chunk in chunks if len(chunk)]
cosines = {}
for name in ("attention map", "SAT"):
    model, area = runs[name].model(), runs[name].settings.target_area
    rows = [gradient_agreement(model, b["image"], b["label"], area) for b in batches]
    cosines[name] = pd.DataFrame(rows).agg(["mean", "std"]).to_dict()
stored = record(
    "02_cam_and_tscam", "gradient_cosines", {"cosine": cosines, "batches": len(batches)},
    runs_dir=settings.runs_dir, data=f"{settings.train.dataset}, training images",
)["numbers"]["cosine"]  # fmt: skip

# %%
means = pd.DataFrame({name: {g: v["mean"] for g, v in of.items()} for name, of in stored.items()})
show(bar_chart(means, ylabel="cosine of the two gradients"))

# %%
spread = {(name, group): f"{v['mean']:+.2f} ± {v['std']:.2f}"
          for name, of in stored.items() for group, v in of.items()}  # fmt: skip
pd.Series(spread).unstack(0).reindex(means.index).fillna("–")

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Only the sign says «conflict»: below 0, a small step for one loss alone raises the other. Near 0 the
# two losses do not care about each other, which is no conflict. Groups that only one of the models
# has, such as the spatial token, cannot be compared.
#
# </details>
#
# The spread is over batches of one trained model. A mean that is smaller than its spread says
# little; a verdict on the paper's claim needs several seeds and the paper's data.
#
# ## Try it
#
# - `-p epochs 6`: does longer training widen or narrow what the maps cover?
# - `satkit.create_model("cam", "resnet50", …)`: the same idea on a CNN, where it began. Its class
#   maps are coarser or finer? (Divide the image side by the stride.)
# - `-p regularizer adl` with `python -m satkit train -p method cam`: classic medicine against the
#   part-only failure. Does it help here?
#
# ## Take-away
#
# What this run says, computed from its files:

# %%
for name, run in runs.items():
    m = run.metrics
    print(f"{name}: Top-1 Cls {m['top1_cls']:.1f} %, GT-known Loc {m['gt_known']:.1f} %")
if has_parts:
    for name in scaled:
        covered = shares[name].drop("background")
        print(f"{name} covers {covered.idxmax()} most, {covered.idxmin()} least")
low = means.stack().idxmin()
print(f"lowest cosine of the gradients: {means.stack().min():+.2f}, {low[0]} of {low[1]}")

# %% [markdown]
# A cosine that is lowest, but within its spread of 0, is no conflict in this run; lesson 09 asks
# again, with seeds.
#
# A good classifier and a good localizer are two things: a score is a mean, and a mean does not say
# where. TS-CAM lends the class map the attention's reach; SAT, next, gives localization a token of
# its own.
#
# **Exercises:** sheet `course/ex02_cam_and_tscam.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("02")`
#
# ## References
#
# - B. Zhou et al. *Learning Deep Features for Discriminative Localization.* CVPR 2016: CAM.
# - W. Gao et al. *TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised Object
#   Localization.* ICCV 2021.
# - P. Wu et al. *Spatial-Aware Token for Weakly Supervised Object Localization.* ICCV 2023: Sec. 4.3
#   and Table 5, the attention-map baseline.
# - J. Choe, H. Shim. *Attention-based Dropout Layer for Weakly Supervised Object Localization.* CVPR
#   2019: why the most discriminative part dominates.
