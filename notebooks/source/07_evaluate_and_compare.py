# %% [markdown]
# # 07 · Evaluate and compare: who is ahead, by how much, and how sure?
#
# The paper's main tables compare SAT with its peers in four ways: are the boxes right (Table 1, and
# with more methods Table 18), are they tight (Table 3), do the maps fit the objects (Table 4), and
# does it hang on the threshold (Fig. 7)? This lesson puts measured numbers beside the printed ones.
# Then it asks what a number is worth: the same maps are scored by three protocols, with thresholds
# from test and from held-out images, and the difference of two methods gets three kinds of error
# bars.
#
# ## What you will learn
#
# - to read a comparison of methods: right boxes, tight boxes, masks, and curves over thresholds;
# - to state a rule *before* looking at a result, and to keep to it;
# - how far protocol, IoU and threshold move a score, with the maps left as they are;
# - what seeds tell you, what images tell you, and how many seeds a claim needs.
#
# **Before you start:** [01 · Localization and its metrics](01_localization_and_metrics.ipynb) and
# [05 · Train SAT](05_train_cub.ipynb), whose runs are used here. **Time:** 45 minutes to read,
# 2 minutes to run on two cores once 05 has run (it trains two runs more, about four minutes each, if
# it has not).

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder of the data set; Aviary needs none
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
epochs = 0  # passes over the training images; 0: as the profile says
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
selection = ""  # where epoch and threshold are chosen: held_out, or test as in the official code
rows = ""  # rows of Table 1 trained here beside SAT and TS-CAM: all, none, or labels; "": profile's
seeds = 0  # runs of each of those rows; 0: as the profile says
seed = 0  # first seed
experiment = "course"  # folder under runs_dir; shared with 02 and 05
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "07_evaluate_and_compare", profile=profile, dataset=dataset, data_root=data_root,
    backbone=backbone, checkpoint=checkpoint, epochs=epochs, train_images=train_images,
    eval_images=eval_images, selection=selection, rows=rows, seeds=seeds, seed=seed,
    experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## The rule, before any result
#
# Every claim of the paper below is judged by one rule. The *effect* is SAT's metric minus that of
# the other method; against several others, the weakest counts. It gets a 95 % interval over
# training seeds:
#
# | verdict | when |
# |---|---|
# | reproduced | the whole interval lies on the claim's side of the bound |
# | same direction | the mean does, but not the whole interval, or there is one seed only |
# | undecided | the mean lies on the other side, but not the whole interval, or there is one seed only |
# | contradicts | the whole interval lies on the other side |
# | not run | runs are missing; runs of the smoke profile do not count |

# %%
import pandas as pd

from satkit import paper

pd.set_option("display.max_colwidth", None)
CLAIMS = {
    "Table 1": ["sat_over_tscam", "sat_over_tscam_top1", "sat_over_scm", "sat_over_lctr"],
    "Table 3": ["tight_boxes", "higher_median_iou"],
    "Table 4": ["higher_piou", "higher_pxap"],
    "Fig. 7": ["curves_dominate"],
}
ALL = [claim for claims in CLAIMS.values() for claim in claims]
paper.claims().set_index("id").loc[ALL, ["says", "location", "rule"]]

# %% [markdown]
# ## The runs
#
# SAT and TS-CAM with the same backbone, images, epochs and seed; finished runs are only opened. All
# other rows are what runs of this project or the kit's result files hold, and below each table
# stands which.

# %%
from satkit.lessons import require_boxes, train_rows
from satkit.training import load_datasets

sets = load_datasets(settings.train)
require_boxes(sets["test"])
runs = {
    name: many[0]
    for name, many in train_rows("table1_methods", settings.train, "SAT; TS-CAM").items()
}
train_rows("table1_methods", settings.train, settings.rows, settings.seeds)
measured = paper.measured(settings.runs_dir)
for name, run in runs.items():
    print(f"{name}: {run.banner()}")

# %%
from satkit.evaluation import collect

workers = settings.train.workers
outputs = {
    name: collect(run.model(), sets["test"], workers=workers, label=f"test images, {name}")
    for name, run in runs.items()
}

# %% [markdown]
# ## Look first (Fig. 3)
#
# Before any table: the maps of both methods on the same test images. **Predict, then run:** where
# will TS-CAM's boxes go wrong, and will SAT's go wrong on the same images?

# %%
import numpy as np

from satkit.boxes import prepare_maps
from satkit.data import denormalize
from satkit.figures import figure3, show

shown = np.linspace(0, len(sets["test"]) - 1, 6).round().astype(int)
maps = {
    name: prepare_maps(output.maps[shown], output.image_size, settings.train.protocol)
    for name, output in outputs.items()
}
corners = ["x0", "y0", "x1", "y1"]
boxes = {name: run.predictions.loc[shown, corners].to_numpy() for name, run in runs.items()}
pictures = [denormalize(sets["test"][int(i)]["image"]) for i in shown]
show(figure3(pictures, maps, boxes, [outputs["SAT"].boxes[i] for i in shown]))

# %% [markdown]
# ## Right boxes (Tables 1 and 18)
#
# **Predict, then run:** Top-1 Loc asks for class and box, GT-known Loc for the box alone. In which of
# the two will SAT and TS-CAM lie further apart? The paper's CUB-200 and ImageNet answer differently
# from each other: look at its columns.

# %%
from satkit.lessons import show_experiment

show_experiment(
    "table1_methods", settings.train, measured, ["top1_loc", "top5_loc", "gt_known"],
    claims=CLAIMS["Table 1"],
)  # fmt: skip

# %% [markdown]
# Measured and printed numbers stand side by side, but they are of *different data*, unless you chose
# the paper's. What can be compared is the order and the sign of a difference, and that is what the
# claims are about. CAM on a transformer is not in the paper; its CAM rows have CNN backbones:

# %%
cam = paper.wide("table18")
cam[[name.startswith(("CAM,", "TS-CAM", "SAT")) for name in cam.index]]

# %% [markdown]
# Table 18 repeats Table 1 and adds older methods on CNNs. As the paper prints it (nothing here is
# measured):

# %%
paper.wide("table18")

# %% [markdown]
# ## Tight boxes (Table 3, Fig. 5)
#
# A box with an IoU of 0.5 may be half as long again as the bird. So Table 3 also asks for 0.7.
# **Predict, then run:** at which δ will the methods differ most?

# %%
DELTAS = [f"max_box_acc@{delta}" for delta in (0.3, 0.5, 0.7)]
show_experiment(
    "table1_methods", settings.train, measured, [*DELTAS, "max_box_acc_v2"],
    claims=CLAIMS["Table 3"], printed="table3",
)  # fmt: skip

# %% [markdown]
# <details><summary>What to look for</summary>
#
# At 0.3 almost any box on the object is right, so all are close to the ceiling. The stricter δ, the
# more a missing tail costs. The paper's own gaps to the best other method say the same; on one of its
# data sets SAT is behind at 0.3.
#
# </details>

# %%
paper.wide("table3")

# %% [markdown]
# Fig. 5 looks at the IoU of the *correct* boxes only, and at their median.

# %%
from satkit.figures import figure5, figure5_points
from satkit.stats import median_iou

correct = figure5_points(settings.train, measured)
if len(correct):
    show(figure5(correct))
medians = {name: median_iou(run.predictions) for name, run in runs.items()}
pd.Series(medians, name="median IoU of the correct boxes, %").round(1).to_frame()

# %%
paper.wide("figure5")

# %% [markdown]
# The median is taken over *different* images for each method: those that it gets right. A method
# that also gets the hard ones right is not rewarded for it.
#
# ## Maps against masks (Table 4, Fig. 6)
#
# A box can be right although the map misses half of the bird. Masks show it: PxAP counts pixels over
# all thresholds, pIoU at the best one.

# %%
show_experiment(
    "table1_methods", settings.train, measured, ["piou", "pxap"],
    claims=CLAIMS["Table 4"], printed="table4",
)  # fmt: skip

# %% [markdown]
# Fig. 6 draws this image by image: IoU of the thresholded map with the mask, against the object's
# size. We cut each method's maps at its own best pIoU threshold. **Predict, then run:** a map has
# few patches. On which objects will that hurt?

# %%
from satkit.lessons import mask_ious

by_size = {}
if "mask" in sets["test"][0]:
    masks = [sets["test"][i]["mask"].numpy() for i in range(len(sets["test"]))]
    for name, run in runs.items():
        output = outputs[name]
        maps = prepare_maps(output.maps, output.image_size, run.settings.protocol)
        by_size[name] = mask_ious(maps, masks, run.metrics["piou_threshold"])

# %%
from satkit.figures import figure6

if by_size:
    show(figure6(by_size))
else:
    print(f"{settings.train.dataset} has no masks; Aviary has")

# %%
from IPython.display import display

if by_size:
    quarter = pd.qcut(by_size["SAT"]["size"], 4, labels=["smallest", "small", "large", "largest"])
    ious = pd.DataFrame({name: found["iou"] for name, found in by_size.items()})
    display((100 * ious.groupby(quarter.rename("objects"), observed=True).mean()).round(1))

# %% [markdown]
# The paper says of its Fig. 6 that SAT is better for objects of any size, and that small and large
# ones still differ.
#
# ## Does it hang on the threshold? (Fig. 7)
#
# One threshold turns all maps into boxes. A method whose curve is high over a wide range forgives a
# badly chosen one. The claim is that SAT's curve lies above the others *everywhere*.

# %%
from satkit.evaluation import threshold_curve
from satkit.figures import threshold_curves

curves = {name: threshold_curve(output) for name, output in outputs.items()}
grid = curves["SAT"]["threshold"]
lines = {name: curve["gt_known"].to_numpy() for name, curve in curves.items()}
show(threshold_curves(grid, lines, label="GT-known Loc,"))

# %%
above = lines["SAT"] > lines["TS-CAM"]
print(f"SAT is above TS-CAM at {above.sum()} of {len(above)} thresholds in this pair of runs")
top = {name: line.max() for name, line in lines.items()}
wide = {name: (line > line.max() - 5).sum() / 100 for name, line in lines.items()}
pd.DataFrame({"best, %": top, "within 5 points of it over": wide}).round(2)

# %% [markdown]
# The same for all methods of Table 1 whose runs kept their curve:

# %%
from satkit.figures import figure7, figure7_points

kept = figure7_points(settings.train, measured)
if len(kept):
    show(figure7(kept))

# %%
from satkit.lessons import of_base

paper.verdicts(of_base(settings.train, measured), CLAIMS["Fig. 7"])

# %% [markdown]
# ## One set of maps, three protocols
#
# From here on no method is trained or run again: only the *scoring* changes. Three protocols are in
# use (`docs/metrics.md`): that of SAT's authors, that of Choe et al. (`wsoleval`), and that of
# TS-CAM's authors. **Predict, then run:** which of them will be kindest to SAT, and will any of them
# turn the order of the two methods?
#
# **The rule, before we look:** a protocol turns the order if the difference of the two methods
# changes its sign.

# %%
from satkit.lessons import record
from satkit.readings import Reading, apply

protocols = pd.DataFrame({
    (name, protocol): apply(Reading(protocol=protocol), {"test": output}).numbers
    for name, output in outputs.items()
    for protocol in ("sat", "wsoleval", "tscam")
}).T  # fmt: skip
of = {name: run.dir.name for name, run in runs.items()}
record(
    "07_evaluate_and_compare", "protocols", {"runs": of, "rows": protocols.to_dict("split")},
    runs_dir=settings.runs_dir, data=settings.train.dataset,
)  # fmt: skip
protocols[["gt_known", "top1_loc", *DELTAS, "max_box_acc_v2", "threshold"]].round(2)

# %%
gaps = protocols.loc["SAT"] - protocols.loc["TS-CAM"]
turned = [name for name in gaps.index if gaps.loc[name, "gt_known"] < 0]
said = ", ".join(f"{name} {gap:+.1f}" for name, gap in gaps["gt_known"].items())
print(f"SAT minus TS-CAM in GT-known Loc, points by protocol: {said}")
print(f"protocols under which SAT is behind: {', '.join(turned) or 'none'}")

# %% [markdown]
# <details><summary>Why can a score fall so deep, or a curve rise again at its end?</summary>
#
# A map that is one sharp peak has nothing left above 0.3 but the peak, so its box is tiny. And where
# *nothing* is left, `sat` takes the box of the whole image, which is right for some: that is the
# rise at the end of a curve.
#
# </details>
#
# Under `sat` and `tscam` the four or two candidate thresholds are part of the protocol. They suit
# the maps that their authors had; on other maps they may miss the peak of the curve above. Under
# `wsoleval` there are a thousand candidates.
#
# ## One thing at a time
#
# A protocol bundles many choices. Here each is changed alone, with the same maps of SAT: first the
# authors' reading, then the others. Intervals are over test images (bootstrap), since there is one
# run.

# %%
from satkit.readings import evaluate_readings, show_readings

views = {"test": outputs["SAT"]}
if "val" in sets:
    views["held_out"] = collect(runs["SAT"].model(), sets["val"], workers=workers, label="held out")
one_by_one = ("IoU", "the map's way to the image", "box", "δ = 0.3, 0.5 and 0.7",
              "candidate thresholds", "threshold chosen on")  # fmt: skip
own = evaluate_readings(views, one_by_one)
whole = own.astype(object).where(own.notna(), None)  # JSON has no NaN
record(
    "07_evaluate_and_compare", "readings", {"run": of["SAT"], "rows": whole.to_dict("records")},
    runs_dir=settings.runs_dir, data=settings.train.dataset,
)  # fmt: skip
show_readings(own)

# %%
largest = own.loc[own["gain"].abs().idxmax()]
print(f"largest change of GT-known Loc: {largest['gain']:+.1f} points, {largest['switch']}: "
      f"{largest['reading']}")  # fmt: skip

# %% [markdown]
# ## Test-set against held-out selection
#
# The authors' code picks epoch and threshold on the test images. By how much does that flatter? For
# each method: GT-known Loc at the threshold that its run used (chosen on held-out images, unless
# `selection` says otherwise), and at the one that is best for the test images.

# %%
found = paper.rows_of("table1_methods", settings.train, measured)
flattery = pd.DataFrame({
    name: {
        "runs": len(part),
        "as selected": paper.spread(part["gt_known"]),
        "test set's own threshold": paper.spread(part["gt_known_test_threshold"]),
        "points more": paper.spread(part["gt_known_test_threshold"] - part["gt_known"]),
    }
    for name, part in found.items() if len(part)
}).T  # fmt: skip
print(paper.banner(pd.concat(found.values())))
flattery

# %% [markdown]
# With a thousand test images and one number to choose, little can be gained by luck; with few
# images, many epochs, and thresholds that differ from the held-out ones, more. The honest number
# costs nothing, so there is no reason to report the other.
#
# ## How sure is it? Seeds
#
# A training run is a draw: other seeds give other numbers. The interval below is Student's *t* over
# the differences of runs that share a seed. `seeds_needed` says how many seeds it would take to
# exclude the bound, if effect and spread stay as they are.

# %%
ledger = paper.ledger(of_base(settings.train, measured))
ledger = ledger[ledger["claim"].isin(ALL)]
columns = ["claim", "against", "effect", "low", "high", "seeds", "seeds_needed", "verdict"]
ledger[columns].round(2).astype(object).fillna("–")

# %% [markdown]
# <details><summary>Why are three seeds so few?</summary>
#
# With three seeds the *t* interval is 4.3 standard errors wide to each side, with ten 2.3. An effect
# must be about 2.5 times the spread of its differences for three seeds to show it, but only 0.7
# times for ten. Two seeds ask for nine times.
#
# </details>
#
# ## How sure is it? Images
#
# The test images are a draw, too. Both methods saw the same ones, so compare them *image by image*:
# images that both hit, or both miss, say nothing. McNemar's test looks at those that one hits and
# the other misses; the bootstrap draws the images anew. **Predict, then run:** how many of the test
# images will TS-CAM hit and SAT miss?
#
# **The rule, before we look:** these two runs differ on these images if McNemar's p is below 0.05
# (two-sided). That is a statement about *two runs*, not about the methods: for those, see seeds.

# %%
from satkit.stats import bootstrap_difference, mcnemar, paired_hits

hits = paired_hits(runs["SAT"].predictions, runs["TS-CAM"].predictions)
test = mcnemar(*hits)
interval = bootstrap_difference(*hits, seed=settings.seed)
record(
    "07_evaluate_and_compare", "paired",
    {"runs": of, "mcnemar": test._asdict(), "bootstrap": interval._asdict()},
    runs_dir=settings.runs_dir, data=settings.train.dataset,
)  # fmt: skip
print(
    f"only SAT hits {test.only_first} images, only TS-CAM {test.only_second}; "
    f"McNemar's p = {test.p_value:.2g}: {'different' if test.p_value < 0.05 else 'not told apart'}"
)
print(f"SAT - TS-CAM: {interval.mean:+.1f} points, 95 % over images "
      f"[{interval.low:+.1f}, {interval.high:+.1f}]")  # fmt: skip

# %% [markdown]
# What if the images were *not* paired? The intervals of two separate rates would have to be added up.
# Compare:

# %%
alone = [bootstrap_difference(hit, np.zeros_like(hit)) for hit in hits]
unpaired = np.hypot(*[(one.high - one.low) / 2 for one in alone])
paired = (interval.high - interval.low) / 2
print(f"half-width: {paired:.1f} points paired, {unpaired:.1f} points unpaired")

# %% [markdown]
# ## The dossier: what each reading is worth
#
# `docs/discrepancies.md` lists where the paper, its authors' code and the standard evaluation
# differ. Each difference is a switch of this kit. The same result files as on that page: readings
# of the *evaluation*, all on one SAT run;

# %%
from satkit.readings import cached_readings, readings_banner, training_readings

dossier = cached_readings(settings.train.dataset)
if dossier is None:
    print(f"no file for {settings.train.dataset}: python benchmarks/discrepancies.py RUN makes it")
else:
    print(readings_banner(dossier))
    display(show_readings(dossier))

# %% [markdown]
# and readings of *model, losses and training*, each of which takes a run of its own:

# %%
print(paper.banner(pd.concat(paper.rows_of("discrepancies", settings.train, measured).values())))
training_readings(settings.train, measured)

# %% [markdown]
# ## Try it
#
# - `-p selection test`: train and choose as the authors' code does. What happens to the table of
#   test-set against held-out selection?
# - `-p seeds 3 -p rows "SAT; TS-CAM"`: your own three seeds, and a ledger of your own.
# - `-p seed 1`: does McNemar's test say the same of the next pair of runs?
# - `python benchmarks/discrepancies.py runs/course/RUN` writes the dossier of your own run.
#
# ## Take-away
#
# What the rows say, by the rule at the top:

# %%
final = paper.verdicts(of_base(settings.train, measured), ALL)
counts = final["verdict"].value_counts()
print("; ".join(f"{verdict}: {count}" for verdict, count in counts.items()))
gt_known = protocols["gt_known"].unstack(level=0)  # protocols x methods
for name in gt_known:
    low, high = gt_known[name].min(), gt_known[name].max()
    print(f"{name}: the same maps score {low:.1f} to {high:.1f} under the three protocols")
print(f"SAT - TS-CAM, each at its run's own threshold: {interval.mean:+.1f} points")
final[["says", "measured [95 %]", "seeds", "verdict"]]

# %% [markdown]
# A number of this field is a map, a protocol, a threshold and a seed. Compare two only where the
# other three are equal.
#
# **Exercises:** sheet `course/ex07_evaluate_and_compare.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("07")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Tables 1, 3, 4 and 18, Figs. 3, 5, 6 and 7.
# - J. Choe et al. *Evaluating Weakly Supervised Object Localization Methods Right.* CVPR 2020.
# - W. Gao et al. *TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised Object
#   Localization.* ICCV 2021.
# - Q. McNemar. *Note on the sampling error of the difference between correlated proportions or
#   percentages.* Psychometrika 1947.
# - B. Efron, R. Tibshirani. *An Introduction to the Bootstrap.* 1993.
