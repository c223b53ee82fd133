# %% [markdown]
# # 11 · Backbones and data sets: does it hold elsewhere?
#
# A method that works for one backbone on one data set may be a method, or luck. The paper tries four
# backbones (Table 6), three more fine-grained data sets (Table 15), and OpenImages (a part of
# Table 4). This lesson shows what was measured here, on which backbone and which data, beside what
# the paper prints; how one adapter serves many families of transformers; and what each backbone
# costs.
#
# ## What you will learn
#
# - how tokens become a grid, whatever comes before them, and how positions fit another image size;
# - what each backbone of Table 6 costs, before you pay;
# - to read results on *different* data sets without comparing what cannot be compared;
# - whether a localizer still works where the clues it was trained on are gone.
#
# **Before you start:** [05 · Train SAT](05_train_cub.ipynb), whose runs are used here, and
# [07 · Evaluate and compare](07_evaluate_and_compare.ipynb). **Time:** 30 minutes to read,
# 1 minute to run on two cores once 05 has run.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder of the data set; Aviary needs none
selection = ""  # where epoch and threshold are chosen: held_out, or test as in the official code
images = 0  # drawings of the other variant that are tested; 0: as the profile says
rows = ""  # rows of Tables 1 and 6 that are trained: all, none, first, or labels; "": profile's
seeds = 0  # runs of each of those rows; 0: as the profile says
seed = 0  # first seed
experiment = "course"  # folder under runs_dir; shared with 02, 05 and 07
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "11_backbones_and_datasets", profile=profile, dataset=dataset, data_root=data_root,
    selection=selection, images=images, rows=rows, seeds=seeds, seed=seed, experiment=experiment,
    runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## One adapter, many families
#
# SAT needs three things of a backbone: patch tokens on a grid, a place for one more token, and the
# attention of the last blocks. Plain vision transformers differ in what stands *before* the patches
# (a class token, registers, or nothing), in patch size, and in where positions are added.
#
# **Predict, then run:** an image of 112 pixels, patches of 16 or 14. How many tokens enter the first
# block, with SAT's own?

# %%
import pandas as pd
import torch
from IPython.display import display

from satkit.backbones import grid_size

pd.set_option("display.max_colwidth", None)
FAMILIES = {
    "DeiT": "deit_tiny_patch16_224",
    "DeiT III": "deit3_small_patch16_224",
    "augreg ViT": "vit_tiny_patch16_224",
    "DINOv2, registers": "vit_small_patch14_reg4_dinov2",
    "CLIP's image tower": "vit_xsmall_patch16_clip_224",
    "Conformer-S": "conformer_small_patch16",
    "the shipped one": "vit_pico_convstem8_96",
}


def describe(name, image_size=112):
    """Say which tokens SAT has on a backbone with random weights, and what comes out."""
    torch.manual_seed(settings.seed)
    model = satkit.create_model("sat", name, 20, image_size=image_size).eval()
    with torch.inference_mode():
        output = model(torch.zeros(1, 3, image_size, image_size))
    height, width = grid_size(model.backbone)
    before = int(model.backbone.num_prefix_tokens)
    return {
        "timm's name": name,
        "before the patches": before,
        "grid": f"{height} × {width}",
        "tokens with SAT's": before + height * width + 1,
        "map": " × ".join(map(str, output.maps.shape[1:])),
        "logits": output.logits.shape[1],
    }


pd.DataFrame({family: describe(name) for family, name in FAMILIES.items()}).T

# %% [markdown]
# <details><summary>Answer</summary>
#
# $112 / 16 = 7$, so $49$ patches, a class token and the spatial token: 51. With patches of 14 the
# grid is $8 \times 8$, and four registers make it 70.
#
# </details>
#
# Backbones that are no plain transformers are refused, with a reason, before any work:

# %%
for name in ("swin_tiny_patch4_window7_224", "resnet50"):
    try:
        satkit.create_model("sat", name, 20)
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Positions fit another image size
#
# A position is learned for each patch of the size that the backbone was trained at. For another size
# the grid of positions is resized like an image. Below, how much the position of one patch resembles
# (cosine) that of each other, for the shipped weights: trained at 96 pixels, asked for at three sizes.
# **Predict, then run:** what must the three pictures have in common?

# %%
from satkit.figures import map_sheet, show


def position_likeness(image_size):
    """Cosine of the position of the patch in the middle with all others, [h, w], 0-1."""
    model = satkit.create_model("sat", "vit_pico_convstem8_96", 20, pretrained=True,
                                image_size=image_size)  # fmt: skip
    height, width = grid_size(model.backbone)
    positions = model.backbone.pos_embed.detach()[0, -height * width :]  # [h w, D]
    middle = positions[height // 2 * width + width // 2]
    likeness = torch.cosine_similarity(positions, middle[None], dim=1)
    return likeness.clamp(0, 1).reshape(height, width)


show(map_sheet({f"{size} pixels": position_likeness(size) for size in (64, 96, 160)}))

# %% [markdown]
# ## What each backbone costs
#
# SAT and TS-CAM on the backbones of Table 6, for 200 classes at 224 pixels: parameters, and billions
# of multiply-adds for one image, those inside attention included. Shapes alone tell, so nothing is
# computed. **Predict, then run:** what does the spatial token add?

# %%
from satkit.cost import gmacs, parameter_count
from satkit.paper.experiments import BACKBONES


def cost(method, backbone):
    """Parameters (millions) and GMACs of a localizer, from its shapes."""
    with torch.device("meta"):
        model = satkit.create_model(method, backbone, 200)
        return {"parameters, M": parameter_count(model) / 1e6, "GMACs": gmacs(model, 224)}


costs = {
    (title, label): cost(method, name)
    for title, name in BACKBONES.items()
    for label, method in {"TS-CAM": "tscam", "SAT": "sat"}.items()
}
pd.DataFrame(costs).T.round(2)

# %% [markdown]
# ## What was measured, and on what
#
# **The rule, before any result:** a claim holds on a backbone or data set if the 95 % interval, over
# seeds, of SAT's GT-known Loc minus TS-CAM's lies above 0 (*reproduced*). One seed gives at most
# *same direction*. Numbers of different data sets are never subtracted from each other.
#
# At the profile `paper` the next cell trains all rows of Tables 1 and 6 on the data set that you
# give; at `lab` it trains none, and opens the runs of notebook 05 further below.

# %%
from satkit import paper
from satkit.lessons import train_rows

train_rows(["table1_methods", "table6_backbones"], settings.train, settings.rows, settings.seeds)
measured = paper.measured(settings.runs_dir)
bases = paper.bases(measured, settings.profile)

# %% [markdown]
# One line a data set; TS-CAM and SAT saw the same images and the same backbone. "Full image" is the
# box of the whole image, which needs no model. Where `selection` says *test*, the threshold was
# chosen on the test images, as in the authors' code; one seed has no spread.

# %%
from satkit.paper.measured import spread


def line(base):
    """What was measured on one data set."""
    found = paper.rows_of("table1_methods", base, measured)
    sat, tscam = found["SAT"], found["TS-CAM"]
    both = sat.merge(tscam, on="seed", suffixes=("", "_tscam"))
    return {
        "backbone": base.backbone,
        "selection": base.selection,
        "seeds": len(both),
        "full image": spread(sat["full_image@0.5"][:1]),
        "TS-CAM": spread(tscam["gt_known"]),
        "SAT": spread(sat["gt_known"]),
        "SAT - TS-CAM": spread(both["gt_known"] - both["gt_known_tscam"]),
        "from": ", ".join(sorted(set(sat["source"]))),
    }


print(
    f"GT-known Loc, %, profile {settings.profile}"
    + (": tiny runs, numbers that mean nothing" if settings.profile == "smoke" else "")
)
pd.DataFrame({name: line(base) for name, base in bases.items()}).T

# %%
used = [part for base in bases.values()
        for part in paper.rows_of("table1_methods", base, measured).values()]  # fmt: skip
print(paper.banner(pd.concat(used)) if used else "nothing was measured yet")

# %% [markdown]
# <details><summary>What to look for</summary>
#
# Look at the full-image box first. Where it is right for most images, objects fill the picture, all
# methods are close together, and a high number says little. `birds` are some 400 photographs of
# CUB-200 for training, not the 5,994 of the paper; `tiny_imagenet` are enlarged 64-pixel pictures;
# `butterflies` are ten species, some on plain ground.
#
# </details>
#
# ## Backbones (Table 6)
#
# The paper's Table 6 is on CUB-200. Measured here, on photographs: DeiT-T, on the data sets that fit
# this machine. The columns that say "the paper's" are the paper's, on its data.

# %%
METRICS = ["top1_cls", "gt_known"]
shown = settings.train if settings.profile == "paper" else bases.get("birds", settings.train)
print(f"measured on: {shown.dataset}")
paper.beside("table6_backbones", shown, measured, METRICS)

# %% [markdown]
# <details><summary>Two things in the paper's table</summary>
#
# DeiT-B has four times the parameters of DeiT-S, but TS-CAM localizes worse with it, and SAT no
# better: more backbone makes better classes, not better maps. And the smallest DeiT with SAT beats
# TS-CAM on any DeiT, at a fraction of the cost.
#
# </details>
#
# The paper's claims, one line a data set and backbone:

# %%
SETS = ["deit_tiny", "deit_small", "deit_base", "conformer"]
CLAIMS = [f"holds_on_{name}{of}" for name in SETS for of in ("", "_cls")] + [
    "holds_on_fine_grained"
]
own = measured[measured["profile"] == settings.profile]
paper.verdicts(own, CLAIMS)

# %% [markdown]
# ## Fine-grained sets (Table 15)
#
# The paper adds dogs, aircraft and cars; their classes differ in details, as those of Aviary, birds
# and butterflies do. **Predict, then run:** on which of the paper's three sets is TS-CAM furthest
# behind, and what of that set could be the reason?

# %%
paper.wide("table15")

# %% [markdown]
# Here, SAT and TS-CAM on the fine-grained sets that were measured, all of Table 15's columns. None of
# them is one of the paper's, so there is nothing to put beside.

# %%
COLUMNS = ["top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known"]
fine = [name for name in bases if name not in ("imagenet", "tiny_imagenet", "openimages")]
parts = {
    name: paper.beside("table1_methods", bases[name], measured, COLUMNS, "table15") for name in fine
}
if parts:
    both = pd.concat({name: part.loc[["TS-CAM", "SAT"]] for name, part in parts.items()})
    same = [f"the paper's on {paper.DATASET_TITLES.get(name)}" for name in fine]
    display(both[[c for c in both if "the paper's" not in c or c.endswith(tuple(same))]])

# %% [markdown]
# ## Masks on another data set (Table 4, OpenImages)
#
# Rows of the paper on OpenImages, whose masks are drawn by people. Its evaluation differs: images
# are not cropped, and pixels near other objects are ignored (`python -m satkit train --profile paper
# -p dataset openimages` does that).

# %%
masks = paper.wide("table4")
masks[[column for column in masks if column.startswith("OpenImages")]]

# %% [markdown]
# Measured here, on every data set with masks (not OpenImages, so compare signs, not numbers):

# %%
of_masks = {
    name: paper.beside("table1_methods", base, measured, ["piou", "pxap"], "table4")
    for name, base in bases.items()
}
of_masks = {name: part[["pIoU", "PxAP", "seeds", "from"]].loc[["TS-CAM", "SAT"]]
            for name, part in of_masks.items() if (part["pIoU"] != "–").any()}  # fmt: skip
pd.concat(of_masks) if of_masks else "no data set with masks was measured yet"

# %%
paper.verdicts(own, ["higher_piou", "higher_pxap"])

# %% [markdown]
# ## A second embedded data set: the clues are gone
#
# Aviary has a variant `head_only`: body, wings and tail are drawn at random, and only the head tells
# the species. It is another data set that ships with the kit. The models of notebook 05 learned on
# birds where every part helps. **Predict, then run:** they are now tested on such drawings, with the
# threshold that was chosen before. What will fall more: classes or boxes?

# %%
from satkit.evaluation import collect, score
from satkit.training import limit, load_datasets


def tested(run, variant):
    """Top-1 Cls and GT-known Loc of a finished run on drawings of a variant."""
    asked = run.settings.model_copy(update={"variant": variant})
    test = load_datasets(asked)["test"]
    some = limit(test, min(settings.images, len(test)))
    outputs = collect(run.model(), some, workers=asked.workers, label=variant)
    numbers = score(outputs, protocol=asked.protocol, threshold=run.metrics["threshold"])
    return {"Top-1 Cls": numbers["top1_cls"], "GT-known Loc": numbers["gt_known"]}


# %%
from satkit.lessons import commands, record

transfer = {}
if settings.train.dataset == "aviary":
    runs = train_rows("table1_methods", settings.train, "SAT; TS-CAM")
    transfer = {
        f"{name}, {variant}": {**tested(run, variant), "run": run.dir.name}
        for name, (run,) in runs.items()
        for variant in ("every_part", "head_only")
    }

# %%
if transfer:
    stored = record(
        "11_backbones_and_datasets", "transfer", transfer, runs_dir=settings.runs_dir,
        data=f"aviary, {settings.images} test drawings of each variant",
    )["numbers"]  # fmt: skip
    display(pd.DataFrame(stored).T)
else:
    print(f"{settings.train.dataset} has no variants; Aviary has")

# %% [markdown]
# And *trained* on that variant, where nothing but the head tells the species? That is the hardest
# case for a method that learns from names alone:

# %%
if settings.train.dataset == "aviary":
    head_only = settings.train.model_copy(update={"variant": "head_only"})
    table = paper.beside("table1_methods", head_only, measured, ["top1_cls", "gt_known"])
    table = table.loc[["SAT", "TS-CAM"], ["Top-1 Cls", "GT-known Loc", "seeds", "from"]]
    missing = table.index[table["seeds"] == "not run"].tolist()
    print("\n".join(commands("table1_methods", head_only, missing)))
    display(table)

# %% [markdown]
# ## Try it
#
# - Run the commands above, then this notebook again: their lines change to *computed here*.
# - Add a family to `FAMILIES`: `timm.list_models("vit_*")` has many. Which are refused, and why?
# - With a GPU: `papermill notebooks/11_backbones_and_datasets.ipynb out.ipynb -p profile paper
#   -p dataset stanford_dogs -p data_root …` trains the rows of Tables 1 and 6 on dogs.
#
# ## Take-away
#
# What the rows say:

# %%
final = paper.verdicts(own, ["sat_over_tscam", *CLAIMS])
for claim, row in final[final["verdict"] != "not run"].iterrows():
    print(f"{row['data set']}: {claim}: {row['measured [95 %]']} points, seeds: {row['seeds']}: "
          f"{row['verdict']}")  # fmt: skip
judged = set(final.index[final["verdict"] != "not run"])
missing = [claim for claim in CLAIMS if claim not in judged]
print(f"not run on any data set: {', '.join(missing) or 'nothing'}")

# %% [markdown]
# "It holds elsewhere" is a claim about *each* elsewhere: one backbone, one data set, several seeds.
# A table with one number a cell supports it only as far as the gaps are larger than the spread.
#
# **Exercises:** sheet `course/ex11_backbones_and_datasets.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("11")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Tables 4, 6 and 15.
# - H. Touvron et al. *Training Data-Efficient Image Transformers & Distillation through Attention.*
#   ICML 2021: DeiT.
# - Z. Peng et al. *Conformer: Local Features Coupling Global Representations for Visual Recognition.*
#   ICCV 2021.
# - T. Darcet et al. *Vision Transformers Need Registers.* ICLR 2024.
# - J. Choe et al. *Evaluating Weakly Supervised Object Localization Methods Right.* CVPR 2020:
#   OpenImages-30k and PxAP.
