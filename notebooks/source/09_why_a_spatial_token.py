# %% [markdown]
# # 09 · Why a spatial token?
#
# The class token already looks at patches: its attention is a map, and it costs nothing. SAT's
# losses could be put on that map. The paper says that this is a bad idea: one token would then serve
# two masters, and their wishes conflict. This notebook asks whether they do, on loss curves and on
# gradients, and puts SAT beside the other ways to a map of its own: generators (Table 7) and
# separate networks (Table 16).
#
# ## What you will learn
#
# - what the paper claims about a *conflict of optimization*, and what would show one;
# - to compare loss curves of two runs that saw the same batches in the same order;
# - to measure a conflict as the cosine between two gradients, before and after training;
# - what other methods pay for a map that is not the classifier's.
#
# **Before you start:** [02 · CAM and TS-CAM](02_cam_and_tscam.ipynb),
# [03 · Build SQA](03_build_sqa.ipynb) and [04 · The losses](04_losses.ipynb). **Time:** 30 minutes
# to read, 1 minute to run once 02 and 05 have run (it shares their training), some more if they have
# not.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder of the data set; Aviary needs none
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
epochs = 0  # passes over the training images; 0: as the profile says
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
rows = ""  # rows trained here: all, none, first or labels, parted by ";"; "": the profile's
seeds = 0  # runs of each trained row, from `seed` on; 0: as the profile says
seed = 0  # seed of everything random
images = 0  # training images whose gradients are compared (up to 128); 0: as the profile says
experiment = "course"  # folder under runs_dir; 02, 05 and this notebook share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "09_why_a_spatial_token", profile=profile, dataset=dataset, data_root=data_root,
    backbone=backbone, checkpoint=checkpoint, epochs=epochs, train_images=train_images,
    eval_images=eval_images, rows=rows, seeds=seeds, seed=seed, images=images,
    experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## What the paper claims
#
# - A spatial token localizes *and* classifies better than the class token's attention map with the
#   same losses (Table 5), because the latter converges poorly.
# - It localizes better than methods that draw their map with a generator (Table 7), and better than
#   methods that separate the two tasks into two networks (Table 16).
#
# **The rule of the tables, before any number:** the difference of two rows over seeds, with a 95 %
# interval. *Reproduced* where the whole interval lies on the claim's side, *same direction* where
# only the mean does or there is one seed, *undecided* and *contradicts* the same on the other side.

# %%
from satkit import paper
from satkit.lessons import show_experiment, show_table, train_rows

CLAIMS = [
    "token_over_attention_map", "token_over_attention_map_cls", "sat_over_fpm",
    "sat_over_psol_spol",
]  # fmt: skip
TABLES = ["table5_structure", "table7_foreground_maps", "table16_cnn_methods"]
show_table(paper.claims().set_index("id").loc[CLAIMS, ["says", "location", "rule"]])

# %%
train_rows(TABLES, settings.train, settings.rows, settings.seeds)
shared = train_rows(TABLES[0], settings.train) | train_rows(
    "table1_methods", settings.train, "TS-CAM"
)
runs = {
    "attention map": shared["attention map"][0],
    "SAT": shared["spatial token"][0],
    "TS-CAM": shared["TS-CAM"][0],
}
measured = paper.measured(settings.runs_dir)
for name, run in runs.items():
    print(f"{name}: {run.banner()}")

# %% [markdown]
# ## 1 · Three maps of one image
#
# Same backbone, same images, same seed. **Predict, then run:** TS-CAM's map is a product with
# attention *after* the softmax, whose weights share out one whole. What must its values look like
# beside those of the two others?

# %%
import torch

from satkit.figures import map_sheet, show
from satkit.training import load_datasets

sets = load_datasets(settings.train)
item = sets["test"][len(sets["test"]) // 2]
with torch.inference_mode():
    image, label = item["image"][None], torch.tensor([item["label"]])
    drawn = {name: run.model()(image, label).maps[0] for name, run in runs.items()}
drawn["TS-CAM"] = (scaled := drawn["TS-CAM"] - drawn["TS-CAM"].min()) / scaled.max()
show(map_sheet(drawn, image=item["image"]))

# %% [markdown]
# <details><summary>Answer</summary>
#
# A softmax makes patches rivals: where one gets more, others get less, so attention has peaks. A
# sigmoid asks each patch for itself, and a whole bird can be at 1. (TS-CAM's map has no scale of its
# own; here it is stretched to 0–1, as the evaluation does.)
#
# </details>
#
# ## 2 · Attention map against spatial token (Table 5)
#
# **Predict, then run:** in which column do you expect the larger difference, Top-1 Cls or GT-known
# Loc?

# %%
show_experiment(
    TABLES[0], settings.train, measured, ("top1_cls", "top5_cls", "top1_loc", "gt_known"),
    claims=CLAIMS[:2],
)  # fmt: skip

# %% [markdown]
# ## 3 · The loss curves
#
# Beside its Table 5 the paper draws the two spatial losses over training: those of the attention map
# converge poorly. Both runs saw the same batches in the same order, so their steps can be compared
# in pairs.
#
# **The rule:** over the last half of the steps, the 95 % interval of the mean difference (attention
# map minus SAT). Above zero: *the attention map converges worse*. Below: *better*. Else *alike*.
# (Steps of one run hang together, so the interval is too narrow; and it is one seed. Take a narrow
# verdict for none.)

# %%
from satkit.figures import line_chart

steps = {name: run.steps for name, run in runs.items()}
TERMS = ("batch_area", "normalization")
for term in TERMS:
    lines = {n: steps[n][term].rolling(5, min_periods=1).mean() for n in ("attention map", "SAT")}
    count = range(1, len(steps["SAT"]) + 1)
    title = f"{term.replace('_', ' ')} loss"
    show(line_chart(count, lines, xlabel="step (mean of five)", ylabel=title))

# %%
import pandas as pd

from satkit.stats import paired_interval


def convergence(term, other):
    """By how much another method's loss lies above SAT's in the last half of the steps."""
    half = len(steps["SAT"]) // 2
    gap = paired_interval(steps[other][term][half:], steps["SAT"][term][half:])
    word = "worse" if gap.low > 0 else "better" if gap.high < 0 else "alike"
    interval = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
    return {"loss": term, "method": other, "difference to SAT": interval, "converges": word}


converged = pd.DataFrame([convergence(term, "attention map") for term in TERMS])
converged

# %% [markdown]
# And the classifier's own loss, where TS-CAM stands for «no loss on the map at all». **Predict, then
# run:** if the losses on the map disturb the classifier, where is TS-CAM's curve?

# %%
lines = {name: frame["cls"].rolling(5, min_periods=1).mean() for name, frame in steps.items()}
show(line_chart(count, lines, xlabel="step (mean of five)", ylabel="cross-entropy"))
pd.DataFrame([convergence("cls", name) for name in ("attention map", "TS-CAM")])

# %% [markdown]
# ## 4 · Do the gradients fight?
#
# A loss curve shows that something is slow, not why. *Conflict* has a plain meaning: on shared
# parameters the gradient of $\mathcal L_{cls}$ and that of $\mathcal L_{ba} + \mathcal L_{norm}$
# point against each other, so their cosine is negative. A token of its own cannot end that in the
# blocks, which both tasks share; it can end it in the *query*.
#
# **Predict, then run:** at the start of training and at its end, in which block is the cosine lowest?
#
# **The rule:** cosines of several batches. A group of parameters is *in conflict* where the 95 %
# interval of the mean lies below zero. The paper's story is supported if the attention map has more
# groups in conflict than SAT has.

# %%
import numpy as np

from satkit.data import collate
from satkit.results import build_model

BATCHES = 8
SIZE = max(2, min(16, settings.images // BATCHES))  # images a batch
rng = np.random.default_rng(settings.seed)
chosen = [rng.permutation(len(sets["train"]))[:SIZE] for _ in range(BATCHES)]
batches = [collate([sets["train"][int(i)] for i in few]) for few in chosen]
models = {}
for name in ("attention map", "SAT"):
    torch.manual_seed(settings.seed)  # the head and the token start at random
    models[name, "start"] = build_model(runs[name].settings, sets["train"].num_classes).eval()
    models[name, "end"] = runs[name].model()

# %%
from satkit.lessons import gradient_agreement, record
from satkit.stats import t_interval


def cosines(model):
    """Mean cosine and its interval by group of parameters."""
    area = settings.train.target_area
    each = pd.DataFrame([gradient_agreement(model, b["image"], b["label"], area) for b in batches])
    return {group: t_interval(each[group])._asdict() for group in each}


stored = record(
    "09_why_a_spatial_token", "gradient_cosines",
    {"cosine": {" · ".join(of): cosines(model) for of, model in models.items()},
     "runs": {name: run.dir.name for name, run in runs.items()}, "batches": BATCHES},
    runs_dir=settings.runs_dir, data=f"{settings.train.dataset}, {BATCHES} batches of {SIZE}",
)["numbers"]["cosine"]  # fmt: skip

# %%
from satkit.figures import bar_chart

means = pd.DataFrame({n: {g: v["mean"] for g, v in of.items()} for n, of in stored.items()})
for when in ("start", "end"):
    both = means[[name for name in means if name.endswith(when)]].dropna()
    show(bar_chart(both, ylabel=f"cosine at the {when}"))

# %% [markdown]
# With intervals, and with the spatial token, which only SAT has:

# %%
told = {name: {group: f"{v['mean']:+.2f} [{v['low']:+.2f}, {v['high']:+.2f}]"
               for group, v in of.items()} for name, of in stored.items()}  # fmt: skip
pd.DataFrame(told).fillna("–")

# %%
fights = {name: [group for group, v in of.items() if v["high"] < 0] for name, of in stored.items()}
for name, groups in fights.items():
    print(f"{name}: in conflict in {len(groups)} of {len(stored[name])} groups: "
          f"{', '.join(groups) or 'none'}")  # fmt: skip

# %% [markdown]
# <details><summary>How to read it</summary>
#
# A cosine near 0 is no conflict: in a space of
# thousands of parameters two random directions are nearly orthogonal. And a cosine says nothing
# about lengths: a tiny gradient that points the wrong way does no harm. On Aviary a species shows in
# every part of the bird, so a map of the whole bird is a good map for the classifier, too.
#
# </details>
#
# ## 5 · A generator instead (Table 7)
#
# ORNet and BAS draw a *foreground prediction map* with a generator on features of the classifier.
# BAS\* is BAS with SAT's two losses. And PSOL and SPOL (Table 16) learn the box or the mask in a
# network of its own, from labels that a classifier made up.
#
# **Predict, then run:** how many parameters does each of them add to the plain classifier CAM?

# %%
from satkit.cost import parameter_count

METHODS = ("cam", "sat", "attention_map", "bas", "ornet", "psol", "spol")
size = {
    name: parameter_count(
        satkit.create_model(name, settings.train.backbone, sets["train"].num_classes,
                            image_size=settings.train.image_size)
    )
    for name in METHODS
}  # fmt: skip
sizes = record(
    "09_why_a_spatial_token", "parameters", size, runs_dir=settings.runs_dir,
    data=f"{settings.train.backbone}, {sets['train'].num_classes} classes",
)["numbers"]  # fmt: skip
table = pd.DataFrame({"parameters": sizes})
table["beyond CAM"] = table["parameters"] - table.loc["cam", "parameters"]
table["beyond CAM, %"] = (100 * table["beyond CAM"] / table.loc["cam", "parameters"]).round(2)
table

# %%
show_experiment(
    TABLES[1], settings.train, measured, ("top1_cls", "top1_loc", "top5_loc", "gt_known"),
    claims=CLAIMS[2:3],
)  # fmt: skip

# %% [markdown]
# The paper gives no settings for ORNet and BAS on a transformer; ours are guesses
# (`docs/methods` says which). A poor row may blame the guess and not the method.
#
# ## 6 · A network for each task (Table 16)
#
# **Predict, then run:** two networks cannot be in conflict. Are PSOL and SPOL then ahead?

# %%
show_experiment(
    TABLES[2], settings.train, measured, ("top1_loc", "top5_loc", "gt_known"), claims=CLAIMS[3:]
)

# %% [markdown]
# In the paper's rows the boxes of PSOL and SPOL come from ResNet-50 and only the class from DeiT-S;
# ours learn on the ViT. They are no better than the pseudo labels that they learn from, however free
# of conflict.
#
# ## Try it
#
# - `-p epochs 6`: does the attention map catch up, or stay behind?
# - In §4, take `satkit.create_model("sat", …, token_init="shared")`: the class token draws the maps
#   *and* they gate (Table 11a). Where do its gradients fight?
# - Aviary with `variant="head_only"` lets only the head tell the species. What should that do to the
#   conflict? (`python -m satkit train -p method attention_map -p variant head_only`)
# - With a GPU and real data, `-p profile paper` trains every row.
#
# ## Take-away
#
# Computed from the runs and the measured rows:

# %%
from satkit.lessons import of_base

for line in converged.itertuples():
    print(f"{line.loss} loss: the attention map converges {line.converges}")
for when in ("start", "end"):
    attention, token = (len(fights[f"{name} · {when}"]) for name in ("attention map", "SAT"))
    word = "supports" if attention > token else "does not support"
    print(f"groups in conflict at the {when}: attention map {attention}, SAT {token}, which {word} "
          "the story")  # fmt: skip
final = paper.verdicts(of_base(settings.train, measured), CLAIMS)
show_table(final[["says", "measured [95 %]", "against", "seeds", "verdict"]])

# %% [markdown]
# A claim about *why* a method works needs a measurement of its own: a better score in a table would
# look the same if the reason were another one.
#
# **Exercises:** sheet `course/ex09_why_a_spatial_token.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("09")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Sec. 4.4, Tables 5, 7 and 16.
# - T. Yu et al. *Gradient Surgery for Multi-Task Learning.* NeurIPS 2020: conflict as a negative
#   cosine of gradients.
# - P. Wu, W. Zhai, Y. Cao. *Background Activation Suppression for Weakly Supervised Object
#   Localization.* CVPR 2022: BAS.
# - J. Xie et al. *Online Refinement of Low-level Feature Based Activation Map for Weakly Supervised
#   Object Localization.* ICCV 2021: ORNet.
# - C.-L. Zhang, Y.-H. Cao, J. Wu. *Rethinking the Route Towards Weakly Supervised Object
#   Localization.* CVPR 2020: PSOL.
# - J. Wei et al. *Shallow Feature Matters for Weakly Supervised Object Localization.* CVPR 2021:
#   SPOL.
