# %% [markdown]
# # 08 · Ablations: which part of SAT does the work?
#
# A method has many parts, and a good result does not say which of them it needs. An *ablation*
# takes one away, or puts another in its place, and leaves all else as it was. This notebook goes
# through the paper's ablations (Tables 2 and 9–13, Figs. 4 and 10), measured beside printed, and
# looks into a trained model to see why.
#
# ## What you will learn
#
# - what each loss adds, and whether a difference is more than the chance of a training run;
# - what it does to a row of attention when the gate comes before the softmax;
# - what the maps of the single blocks are worth, alone and fused;
# - why an area loss without a target destroys the map, and why the batch has to be large;
# - to state a rule before you look, and to live with its verdict.
#
# **Before you start:** [03 · Build SQA](03_build_sqa.ipynb), [04 · The losses](04_losses.ipynb) and
# [05 · Train SAT](05_train_cub.ipynb). **Time:** 40 minutes to read, 1 minute to run once 05 has
# run (it shares that training), some more if it has not.

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
images = 0  # test images whose maps are looked at; 0: as the profile says
experiment = "course"  # folder under runs_dir; 02, 05 and this notebook share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "08_ablations", profile=profile, dataset=dataset, data_root=data_root, backbone=backbone,
    checkpoint=checkpoint, epochs=epochs, train_images=train_images, eval_images=eval_images,
    rows=rows, seeds=seeds, seed=seed, images=images, experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## The rule, before any number
#
# Each claim of the paper is a difference between two rows. It is measured over training runs with
# several seeds, paired where both rows have the same seeds, and gets a 95 % interval. The verdict:
#
# - **reproduced**: the whole interval lies on the claim's side of the bound;
# - **same direction**: the mean does, but not the whole interval, or there is only one seed;
# - **undecided**: the mean lies on the other side, but not the whole interval, or there is one seed;
# - **contradicts**: the whole interval lies on the other side;
# - **not run**: a row is missing.
#
# Where a claim names several rivals, the one counts against which it holds least.

# %%
from satkit import paper
from satkit.lessons import show_table

CLAIMS = [
    "batch_area_helps", "normalization_helps", "filter_helps", "baseline_over_scm",
    "after_softmax_best", "after_softmax_best_cls", "three_blocks_best",
    "separate_random_token_best", "separate_random_token_best_cls",
    "normalization_over_weighted_entropy", "batch_area_over_area", "area_insensitive",
    "batch_insensitive",
]  # fmt: skip
show_table(paper.claims().set_index("id").loc[CLAIMS, ["says", "location", "rule"]])

# %% [markdown]
# ## Runs, trained here or elsewhere
#
# `rows` says which rows are trained here; all others come from result files that were measured
# elsewhere. A line below each table says which is which. Finished runs are only opened.

# %%
from satkit.lessons import show_experiment, train_rows

ALL = ("top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known")  # the columns of Tables 11 to 13
TABLES = [
    "table2_losses", "table9_blocks", "table10_gate", "table11_token", "table12_pixel_term",
    "table13_area_term", "fig4_area", "fig4_batch_size",
]  # fmt: skip
PROPOSED = "(d) cls + ba + norm + filter"
train_rows(TABLES, settings.train, settings.rows, settings.seeds)
run = train_rows("table2_losses", settings.train, PROPOSED)[PROPOSED][0]  # SAT as proposed
print(run.banner())

# %% [markdown]
# From this run come the maps that we look into:

# %%
from satkit.evaluation import collect
from satkit.training import limit, load_datasets

sets = load_datasets(settings.train)
some = limit(sets["test"], min(settings.images, len(sets["test"])))
model = run.model()
outputs = collect(model, some, workers=settings.train.workers, label="maps of the test images")
measured = paper.measured(settings.runs_dir)
looked_at = f"{settings.train.dataset}, {len(some)} test images"
where = {"runs_dir": settings.runs_dir, "data": looked_at}

# %% [markdown]
# ## 1 · What does each loss add? (Table 2)
#
# SAT needs no loss on its map: the gate alone teaches the token something (03). Then come
# $\mathcal L_{ba}$, $\mathcal L_{norm}$, and the filter inside it.
#
# **Predict, then run:** which of the three steps gains most, in points of GT-known Loc? Does any of
# them cost classification?

# %%
show_experiment(
    "table2_losses", settings.train, measured, ("top1_cls", "top1_loc", "top5_loc", "gt_known"),
    claims=CLAIMS[:4],
)  # fmt: skip

# %% [markdown]
# The paper trained on ImageNet. The steps need not be alike elsewhere: a loss can only add what is
# still missing. Where the gate alone leaves the map blurred, $\mathcal L_{norm}$ has much to do.
#
# ## 2 · Before or after the softmax? (Table 10)
#
# The gate $M$ can multiply the similarities *before* the softmax or the weights *after* it. 03 did
# this with invented numbers; now we take the last block of the trained model and the row of its
# class token.

# %%
import torch

batch = torch.stack([some[i]["image"] for i in range(min(16, len(some)))])
attention = model.backbone.blocks[model.spatial[-1]].attn
seen = {}
hook = attention.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
with torch.inference_mode():
    model(batch)
    hook.remove()
    q, k, _ = attention.project(seen["x"])  # each [B, heads, T, d]
    gate = attention(seen["x"])[1][:, None]  # [B, 1, T]

# %%
row = (q[:, :, :1] @ k.transpose(-2, -1))[:, :, 0] * attention.scale  # class token's: [B, heads, T]
weights = {
    "no gate": row.softmax(-1),
    "before the softmax": (row * gate).softmax(-1),
    "after the softmax": row.softmax(-1) * gate,
}

# %% [markdown]
# Call a patch *background* where $M < 0.5$. **Predict, then run:** how much of the class token's
# attention still goes to the background, in each of the three?

# %%
import pandas as pd

from satkit.lessons import record

inner = slice(1, 1 + outputs.maps[0].numel())  # the patches, without class and spatial token
background = (gate < 0.5).float()[..., inner]  # [B, 1, patches]
shares = {
    name: {
        "on background": 100 * float((weight[..., inner] * background).sum(-1).mean()),
        "on foreground": 100 * float((weight[..., inner] * (1 - background)).sum(-1).mean()),
        "whole row": 100 * float(weight.sum(-1).mean()),
    }
    for name, weight in weights.items()
}
stored = record("08_ablations", "attention_row", {"percent": shares, "run": run.dir.name}, **where)
pd.DataFrame(stored["numbers"]["percent"]).T.round(1)

# %% [markdown]
# <details><summary>What to look for</summary>
#
# After the softmax, what the gate closes is gone, and the row sums to less than 100 %. Before the
# softmax the row always sums to 100 %: a closed gate turns a similarity into 0, not into
# $-\infty$, and a patch with similarity 0 still gets its part. So the rejected background goes on
# talking to the classifier, and the classifier has less reason to teach the gate. (This model was
# trained with the gate after the softmax; the other rows ask what its gate would do elsewhere.)
#
# </details>

# %%
show_experiment("table10_gate", settings.train, measured, claims=CLAIMS[4:6])

# %% [markdown]
# ## 3 · How many blocks draw a map? (Table 9)
#
# SAT fuses the maps of its last three blocks by their mean. **Predict, then run:** is the mean
# better than the best of the three, or does it only average?
#
# **The rule:** GT-known Loc of each block's own map and of the mean, on the same images, each at
# its own best threshold *of these images* (which flatters all of them alike). The fusion is
# *ahead* where the 95 % bootstrap interval of the difference to the best single block lies above
# zero.

# %%
from dataclasses import replace

from satkit.figures import show

pictures = [some[i]["image"] for i in range(len(some))]
with torch.inference_mode():
    chunks = [model(torch.stack(pictures[i : i + 64])) for i in range(0, len(pictures), 64)]
layers = torch.cat([chunk.layer_maps for chunk in chunks])  # [N, L, h, w]
blocks = {f"block {index + 1}": layers[:, i] for i, index in enumerate(model.spatial)}
blocks["mean"] = layers.mean(dim=1)

# %%
from satkit.lessons import at_best_threshold
from satkit.stats import bootstrap_difference, paired_hits

protocol = run.settings.protocol
scored = {n: at_best_threshold(replace(outputs, maps=m), protocol) for n, m in blocks.items()}
single = max((name for name in blocks if name != "mean"), key=lambda name: scored[name][0])
gain = bootstrap_difference(*paired_hits(scored["mean"][1], scored[single][1]))
alone = {
    name: {
        "GT-known Loc": scored[name][0],
        "mean area": float(maps.mean()),
        "undecided patches, %": 100 * float(((maps > 0.2) & (maps < 0.8)).float().mean()),
    }
    for name, maps in blocks.items()
}

# %%
fused = record(
    "08_ablations", "single_blocks",
    {"maps": alone, "best": single, "gain": gain._asdict(), "run": run.dir.name}, **where,
)["numbers"]  # fmt: skip
word = "ahead" if fused["gain"]["low"] > 0 else "not ahead"
print(
    f"mean - {fused['best']}: {fused['gain']['mean']:+.1f} points "
    f"[{fused['gain']['low']:+.1f}, {fused['gain']['high']:+.1f}]: the fusion is {word}"
)
pd.DataFrame(fused["maps"]).T.round(2)

# %%
from satkit.figures import map_sheet

example = len(some) // 2
show(map_sheet({name: maps[example] for name, maps in blocks.items()}))

# %% [markdown]
# So much for one model with three blocks. Models that were *trained* with another number of them:
# (N = 1 is block 10 of 12 alone, N = 2 are blocks 10 and 11, as the caption of Table 9 says.)
#
# **Predict, then run:** does more always help?

# %%
show_experiment("table9_blocks", settings.train, measured, claims=["three_blocks_best"])

# %% [markdown]
# ## 4 · A token of its own? (Table 11)
#
# (a) The class token draws the maps itself. (b) A second token does, started from the class token's
# weights. (c) A second token, started at random. **Predict, then run:** which of the two tasks
# should (a) hurt, if the paper's story of conflicting tasks is right?

# %%
show_experiment("table11_token", settings.train, measured, ALL, claims=CLAIMS[7:9])

# %% [markdown]
# <details><summary>Answer</summary>
#
# Both: the one token would have to gather what tells the species *and* ask where the bird is. The
# two needs are not opposite on every data set. Where the class can be read from the whole object,
# they may even agree. [09](09_why_a_spatial_token.ipynb) measures that on gradients.
#
# </details>
#
# ## 5 · Which loss makes a map decide? (Table 12, Fig. 10)
#
# $\mathcal L_{norm}$ and the weighted entropy $\mathcal L_w$ of ORNet both punish values near 0.5.
# **Predict, then run:** which of the two still punishes a background patch with the value 0.2?

# %%
from satkit import losses
from satkit.figures import figure10
from satkit.results import open_run

values = torch.linspace(0, 1, 101)
one_patch = values[:, None, None, None]  # 101 batches of one map of one patch
curves = {
    "norm": [float(losses.normalization_loss(m, None)) for m in one_patch],
    "weighted entropy": [float(losses.weighted_entropy_loss(m)) for m in one_patch],
}

# %% [markdown]
# Beside the curves stand maps of models that were trained with the one and the other, where both
# runs are in this project (their result files alone hold no maps); below each map the share of
# patches between 0.2 and 0.8.

# %%
found = paper.rows_of("table12_pixel_term", settings.train, measured)
folders = {name: part.get("dir", pd.Series()).dropna() for name, part in found.items()}
few, drawn = [some[i]["image"] for i in range(3)], {}
if all(len(folder) for folder in folders.values()):
    with torch.inference_mode():
        drawn = {n: open_run(of.iloc[0]).model()(torch.stack(few)).maps
                 for n, of in folders.items()}  # fmt: skip
else:
    print("only the curves: a run of Table 12 is not in this project")
show(figure10(values, curves, few, drawn))

# %% [markdown]
# A patch that hesitates at 0.2 costs $\mathcal L_w$ next to nothing, so nobody tells it to make up
# its mind; that is the paper's Fig. 10c. How many patches of the trained map lie there?

# %%
maps = outputs.maps
hesitant = (maps > 0.1) & (maps < 0.35)
doubt = {
    "patches between 0.1 and 0.35, %": 100 * float(hesitant.float().mean()),
    "normalization loss": float(losses.normalization_loss(maps)),
    "weighted entropy loss": float(losses.weighted_entropy_loss(maps)),
}
stored = record("08_ablations", "doubt", {**doubt, "run": run.dir.name}, **where)["numbers"]
pd.Series({k: v for k, v in stored.items() if k in doubt}, name=run.dir.name).to_frame().round(4)

# %%
show_experiment(
    "table12_pixel_term", settings.train, measured, ALL,
    claims=["normalization_over_weighted_entropy"],
)  # fmt: skip

# %% [markdown]
# ## 6 · Area with a target, or without? (Table 13)
#
# The area loss of earlier methods is the mean of the map: *make it small*. The batch area loss is
# the distance from a target: *make it this large*. On one batch of our maps, as a function of the
# target λ. **Predict, then run:** where is each of them smallest?

# %%
import numpy as np

from satkit.figures import line_chart

one_batch = maps[: min(settings.train.batch_size, len(maps))]
targets = np.linspace(0, 1, 41)
area = {
    "batch area loss": [float(losses.batch_area_loss(one_batch, t)) for t in targets],
    "area loss": [float(losses.area_loss(one_batch))] * len(targets),
}
show(line_chart(targets, area, xlabel="λ", ylabel="loss of one batch"))

# %% [markdown]
# And the push on a patch: the slope of each loss, for maps that are too small and too large.

# %%
target = settings.train.target_area
pushes = {}
for factor in (0.5, 1.5):
    flat = torch.full_like(one_batch, factor * target, requires_grad=True)
    terms = {"area": losses.area_loss(flat), "batch area": losses.batch_area_loss(flat, target)}
    slopes = {name: torch.autograd.grad(loss, flat)[0].sum() for name, loss in terms.items()}
    pushes[f"area {factor} λ"] = {n: "smaller" if s > 0 else "larger" for n, s in slopes.items()}
pd.DataFrame(pushes).T.rename_axis("push towards")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The batch area loss is zero where λ is the batch's mean area. The area loss does not know λ: it
# pulls every map down for ever, and only the classifier holds against it. In one stage the map may
# collapse to the few patches that the class needs; in two stages (first the classifier, then only
# the token) it cannot drag the classifier along.
#
# </details>

# %%
show_experiment("table13_area_term", settings.train, measured, ALL, claims=["batch_area_over_area"])

# %% [markdown]
# ## 7 · How sensitive is it? (Fig. 4)
#
# λ has to be guessed, and the batch has to be large enough that its mean area is a fair guess.
# **Predict, then run:** over which interval of λ does GT-known Loc stay within two points?

# %%
show_experiment("fig4_area", settings.train, measured, claims=["area_insensitive"])

# %% [markdown]
# Now the batch. The mean area of $B$ images scatters around that of all of them by $s / \sqrt B$,
# where $s$ is the spread of single images. **Predict, then run:** how large is that scatter for 8
# images, and for 64? (λ itself is only known to about 0.1.)

# %%
rng = np.random.default_rng(settings.seed)
of_image = maps.mean(dim=(1, 2)).numpy()  # [N]
sizes = [1, 2, 4, 8, 16, 32, 64, 128]
scatter = {
    "drawn batches": [float(rng.choice(of_image, (2000, b)).mean(axis=1).std()) for b in sizes],
    "s / √B": [float(of_image.std() / b**0.5) for b in sizes],
}
stored = record("08_ablations", "scatter", {"B": sizes, **scatter, "run": run.dir.name}, **where)
lines = {name: stored["numbers"][name] for name in scatter}
show(line_chart(sizes, lines, xlabel="images in the batch", ylabel="scatter of the mean area"))

# %%
show_experiment("fig4_batch_size", settings.train, measured, claims=["batch_insensitive"])

# %% [markdown]
# Both as the paper draws them, where at least two values were run:

# %%
from satkit.figures import figure4, figure4_points

points = figure4_points(settings.train, measured)
if points.groupby("panel")["x"].nunique().max() > 1:
    show(figure4(points))
else:
    print("Fig. 4: fewer than two values were run")

# %% [markdown]
# <details><summary>A trap in this table</summary>
#
# With the epochs fixed, twice the batch means half the steps. On a small data set the largest
# batches leave only a few steps, and what falls may be training, not the loss. ImageNet has 1.2
# million images, so there it hardly matters.
#
# </details>
#
# ## Try it
#
# - Train a row that was not run: copy its command from below a table, then run this notebook again.
#   Its line changes from *not run* to *computed here*.
# - `-p rows "before softmax" -p seeds 3`: is one seed enough to believe Table 10?
# - `-p dataset butterflies -p data_root …` shows photographs, once their rows are trained.
# - At the profile `paper`, with a GPU and real data, every row is trained:
#   `papermill notebooks/08_ablations.ipynb out.ipynb -p profile paper -p dataset cub -p data_root …`
#
# ## Take-away
#
# What the measured rows say of the paper's claims:

# %%
from satkit.lessons import of_base

final = paper.verdicts(of_base(settings.train, measured), CLAIMS)
counts = final["verdict"].value_counts()
print("; ".join(f"{verdict}: {count}" for verdict, count in counts.items()))
show_table(final[["says", "measured [95 %]", "seeds", "verdict"]])

# %% [markdown]
# One seed never gives more than *same direction*: a single training run cannot tell a part that
# helps from luck. The paper prints one number a row, without a spread; its smaller differences
# stand on the same ground.
#
# **Exercises:** sheet `course/ex08_ablations.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("08")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Tables 2 and 9–13, Figs. 4 and 10, App. A and B.
# - J. Xie et al. *Online Refinement of Low-level Feature Based Activation Map for Weakly Supervised
#   Object Localization.* ICCV 2021: ORNet, $\mathcal L_w$ and the area loss.
# - X. Bouthillier et al. *Accounting for Variance in Machine Learning Benchmarks.* MLSys 2021: why
#   one seed is not enough.
