# %% [markdown]
# # 06 · Train at ImageNet's size: one process or many, and what it costs
#
# CUB-200 has 5,994 training images, ImageNet has 1.28 million. SAT is the same model on both. What
# changes is everything around it: the settings, the price, the way the images reach the processor,
# and the number of processors. This notebook goes through these, on a laptop and on real
# code paths: by default on Aviary, in the role that ImageNet plays in the paper. The paper's run is
#
# ```sh
# python data_scripts/imagenet.py prepare …   # photographs in shards, see docs/data.md
# papermill notebooks/06_train_imagenet.ipynb out.ipynb -p profile paper -p dataset imagenet \
#     -p data_root … -p processes 4
# ```
#
# and the laptop's ImageNet is `-p dataset tiny_imagenet -p data_root …`.
#
# ## What you will learn
#
# - which settings the authors change from CUB-200 to ImageNet;
# - to say what a run will cost, in operations, hours, memory and disk, before it starts;
# - why the batch area loss must see the batch of *all* processes, and what it does if it does not;
# - how images are shuffled that lie in large files, and still come in an order that can be repeated;
# - that two processes learn what one learns, and that pulling the plug loses nothing.
#
# **Before you start:** [05 · Train SAT](05_train_cub.ipynb). **Time:** 25 minutes to read, 3 minutes
# to run on two cores.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
dataset = ""  # any that `python -m satkit data` lists; "": as the profile says
data_root = ""  # folder or address of the data set; Aviary needs none
method = "sat"  # localizer: any of satkit.list_methods()
backbone = ""  # ViT by its timm name; "": as the profile says
checkpoint = ""  # file of backbone weights; "": the shipped ones, or timm's hub
pretrained = True  # start from pretrained weights
target_area = 0.0  # λ, share of foreground in the batch area loss; 0: as the profile says
epochs = 0  # passes over the training images; 0: as the profile says
batch_size = 0  # images a step, over all processes; 0: as the profile says
accumulation = 0  # batches whose gradients make one step of the optimizer; 0: as the profile says
lr = 0.0  # learning rate of AdamW; 0: as the profile says
precision = ""  # auto, fp32, bf16 or fp16; "": as the profile says
compile = False  # translate the model with torch.compile
activation_checkpointing = False  # compute activations twice instead of storing them
workers = 0  # processes that load images, for each process that trains; 0: as the profile says
selection = ""  # where epoch and threshold are chosen: held_out, or test as in the official code
train_images = 0  # use so many training images; 0: as the profile says
eval_images = 0  # use so many test images; 0: as the profile says
seed = 0  # seed of everything random
processes = 1  # processes that train together, one for each GPU
compare = True  # also train on two processes that are killed, and compare
experiment = "course"  # folder under runs_dir; shared with 02 and 05
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "06_train_imagenet", profile=profile, dataset=dataset, data_root=data_root, method=method,
    backbone=backbone, checkpoint=checkpoint, pretrained=pretrained, target_area=target_area,
    epochs=epochs, batch_size=batch_size, accumulation=accumulation, lr=lr, precision=precision,
    compile=compile, activation_checkpointing=activation_checkpointing, workers=workers,
    selection=selection, train_images=train_images, eval_images=eval_images, seed=seed,
    processes=processes, compare=compare, experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## What changes from CUB-200 to ImageNet
#
# **Predict, then run:** the object fills more of the image in ImageNet, and there are two hundred
# times as many images. Which of these will be larger, which smaller: λ, the learning rate, the
# epochs, the batch?

# %%
import pandas as pd

changed = ["target_area", "lr", "epochs", "batch_size", "drop_last", "evaluate_from"]
paper = {
    name: satkit.TrainSettings.for_profile("paper", dataset=name) for name in ("cub", "imagenet")
}
pd.DataFrame({name: {key: getattr(of, key) for key in changed} for name, of in paper.items()})

# %% [markdown]
# These are the values of the authors' code (the paper itself gives λ, epochs and batch size). Two
# traps lie there. The code's ImageNet loop says `break` after the first epoch, though the
# paper says five. And its cosine schedule is computed but never applied, so the learning rate is
# constant. `docs/discrepancies.md` has them all.
#
# ## What it will cost, before it starts
#
# A forward pass of one image takes a number of multiply-adds that can be counted exactly. The
# backward pass takes about twice as many. So one image of training is three forward passes, and
# a multiply-add is two operations. The rest is division.
#
# **Predict, then run:** how long will this run take on this machine? And how long would the paper's
# ImageNet run take here? Minutes, days, or years?

# %%
from satkit.training import load_datasets

sets = load_datasets(settings.train)
for split, images_of in sets.items():
    print(f"{split:<5} {len(images_of):>8} images of {images_of.num_classes} classes")

# %%
from satkit.cost import estimate
from satkit.lessons import record

asked = {
    "this run": (settings.train, len(sets["train"]), sets["train"].num_classes),
    "the paper's run": (paper["imagenet"], 1_281_167, 1000),
}
costs = {
    name: estimate(one, images=images, num_classes=classes, processes=settings.processes)
    for name, (one, images, classes) in asked.items()
}

# %%
stored = record(
    "06_train_imagenet", "cost", {"costs": costs, "processes": settings.processes},
    runs_dir=settings.runs_dir, data="random pixels",
)["numbers"]  # fmt: skip
pd.DataFrame(stored["costs"]).map("{:,.4g}".format)

# %%
hours = stored["costs"]["the paper's run"]["hours"]
print(f"The paper's ImageNet run would take {hours:,.0f} hours ({hours / 24:,.1f} days) here.")

# %% [markdown]
# Speed and memory were measured on a few small batches of random pixels; memory at the whole batch
# is read off a straight line. Loading and evaluation come on top, and so does waiting for others.
# If the memory does not fit: `activation_checkpointing` computes activations twice instead of storing
# them, and `accumulation` adds up the gradients of several smaller batches. The second changes the
# loss: λ then holds for each of the smaller batches. `docs/scale.md` works out 1, 4 and 64
# devices.
#
# ## Train
#
# `processes` processes train together, one for each GPU. Each takes its part of every batch, and
# their gradients are averaged.

# %%
if settings.processes > 1:
    from accelerate import notebook_launcher

    notebook_launcher(satkit.train, (settings.train,), num_processes=settings.processes)
run = satkit.train(settings.train)  # trains, or opens what was trained
print(run.banner())

# %%
from satkit.figures import loss_curves, show

show(loss_curves(run.steps))

# %% [markdown]
# ## Whose area is it?
#
# Eq. 7 wants the mean area of the foreground *over the batch* to be λ. Single images may differ: some
# objects are large, some small. Now let the batch be spread over processes.
#
# - **Together:** the processes add up their areas, and the loss is
#   $\left|\frac1n\sum_r a_r - \lambda\right|$ with $a_r$ the mean area of process $r$.
# - **Each its own:** $\frac1n\sum_r \left|a_r - \lambda\right|$. This is what the authors' ImageNet code
#   computes, since each of its processes sees its own images only.
#
# **Predict, then run:** which is larger? What does the second become with one image a process?

# %%
import numpy as np

from satkit.evaluation import collect

test = collect(run.model(), sets["test"], workers=settings.train.workers, label="test images")
areas = test.maps.mean(dim=(1, 2))  # [N]: share of foreground of each image
batch = 2 ** int(np.log2(min(64, len(areas))))
areas = areas[: len(areas) // batch * batch].view(-1, batch)  # batches x images
target = settings.train.target_area

# %%
counts = [2**power for power in range(int(np.log2(batch)) + 1)]
own = [
    float((areas.view(len(areas), count, -1).mean(dim=2) - target).abs().mean()) for count in counts
]  # each process its own area
together = [float((areas.mean(dim=1) - target).abs().mean())] * len(counts)
stored = record(
    "06_train_imagenet", "area",
    {"processes": counts, "each its own": own, "together": together, "batch": batch, "run": run.dir.name},
    runs_dir=settings.runs_dir, data=settings.train.dataset,
)["numbers"]  # fmt: skip

# %%
from satkit.figures import line_chart

lines = {name: stored[name] for name in ("together", "each its own")}
show(line_chart(stored["processes"], lines, xlabel=f"processes that share {batch} images",
                ylabel="batch area loss"))  # fmt: skip

# %% [markdown]
# <details><summary>Answer</summary>
#
# Each its own is never smaller: the absolute value of a mean is at most the mean of the absolute
# values. With one image a process, every single image is pushed towards λ, the small birds as well as
# the large ones, which is a different loss. So the number of processes would be a hidden setting. Here the
# sum goes over all processes, and the gradient goes back through it.
#
# </details>
#
# ## In which order?
#
# A million small files are slow to read, on a disk as well as over a network. So they are packed into
# *shards*, here of 25 images, in real sets of 2,000. Reading is fast along a shard and slow across shards, and
# a good shuffle goes across. The compromise: shuffle the shards, take a few of them as a window, and
# shuffle the images of that window.
#
# **Predict, then run:** the picture shows in which order an epoch reads 40 shards. How does a full
# shuffle look? And how does the compromise?

# %%
from matplotlib.figure import Figure

from satkit.data.splits import WINDOW, shuffle

shards = np.repeat(np.arange(40), 25)  # shard of each of 1,000 images
orders = {
    "files": np.arange(1000),
    "full shuffle": shuffle(1000, None, np.random.default_rng(settings.seed)),
    f"windows of {WINDOW} shards": shuffle(1000, shards, np.random.default_rng(settings.seed)),
}

# %%
figure = Figure(figsize=(9, 3), layout="constrained")
for axis, (name, order) in zip(figure.subplots(1, 3, sharey=True), orders.items(), strict=True):
    axis.scatter(range(1000), shards[order], s=2)
    axis.set(title=name, xlabel="place in the epoch")
figure.axes[0].set_ylabel("shard")
rows = {name: shards[order].reshape(10, 100) for name, order in orders.items()}
most = {name: max(len(np.unique(row)) for row in hundreds) for name, hundreds in rows.items()}
said = "; ".join(f"{name}: {count}" for name, count in most.items())
show(
    figure,
    f"Shard against place in the epoch for three orders. Shards in a hundred images: {said}.",
)
print(f"different shards among a hundred images in a row, at most: {said}")

# %% [markdown]
# The order is a function of seed and epoch. So a run that was stopped in the middle of an epoch knows
# which images it has seen without having written them down, and any number of processes can cut the
# same batches into parts.
#
# ## Pull the plug
#
# Now a short training three times: here, in one process; then in two processes, which are killed
# (`kill -9`, no time to say goodbye) as soon as a state was saved; then in two processes again, which go
# on from there. (Without stochastic depth, which every process draws for itself.)
#
# **Predict, then run:** which digits of the losses will differ? Which of the metrics?

# %%
short = {"epochs": 2, "batch_size": 8, "train_images": 48, "eval_images": 32, "drop_path": 0.0,
         "accumulation": 1, "evaluate_from": 0}  # fmt: skip
one = settings.train.model_copy(update={**short, "experiment": "06_one_process"})
two = one.model_copy(update={"experiment": "06_two_processes"})
if settings.compare:
    from satkit.lessons import train_and_kill, train_processes

    alone = satkit.train(one)
    train_and_kill(two, processes=2)

# %%
if settings.compare:
    pair = train_processes(two, processes=2)
    print(pair.banner())

# %%
if settings.compare:
    losses = [column for column in alone.steps if column not in ("epoch", "step", "lr")]
    gap = (alone.steps[losses] - pair.steps[losses]).abs().max()
    same = {name: alone.metrics[name] == pair.metrics[name] for name in ("top1_cls", "gt_known")}
    compared = record(
        "06_train_imagenet", "two_processes", {"largest difference of a loss": gap.to_dict(),
        "steps": len(pair.steps), "equal": same, "runs": [alone.dir.name, pair.dir.name]},
        runs_dir=settings.runs_dir, data=settings.train.dataset,
    )["numbers"]  # fmt: skip
    print(pd.Series(compared["largest difference of a loss"], name="largest difference").to_frame())
    print(f"over {compared['steps']} steps; equal: {compared['equal']}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The losses differ in their last digits only: two processes add the same numbers up in another order.
# The metrics count images, so they are equal unless an image lies exactly on the border. And of the kill
# nothing is left: no step is missing and none is there twice.
#
# </details>
#
# ## The result
#
# Beside it the box that needs no model. In Tiny-ImageNet and ImageNet that box is strong, since
# objects fill much of the image, so a number alone says little. Where the run is the paper's, the
# paper's own numbers (DeiT-S, Table 11) stand in columns of their own.

# %%
from satkit.figures import RESULT_COLUMNS, results_table
from satkit.paper import published

of_paper = published(table="table11", row="(c) Pre-trained, Random initial")
of_paper = {"SAT": {name: of_paper[name] for name in RESULT_COLUMNS}}
full = {"method": "full-image box", **dict.fromkeys(RESULT_COLUMNS, np.nan)}
full["gt_known"] = run.metrics.get("full_image@0.5", np.nan)
rows = [{"method": settings.method.upper(), **run.metrics}, full]
results_table(rows, paper=of_paper if settings.train.dataset == "imagenet" else None)

# %% [markdown]
# ## Try it
#
# - `-p processes 2` on a machine with two GPUs, or two cores.
# - `-p dataset tiny_imagenet -p data_root …`: 64 × 64 photographs of 200 classes.
# - `-p activation_checkpointing True`: what do time and memory do?
# - `-p accumulation 4`: the same batch in four parts. What happens to the batch area loss?
#
# ## Take-away
#
# What this run says, computed from its files:

# %%
print(f"{settings.train.dataset}: GT-known Loc {run.metrics.get('gt_known', float('nan')):.1f} %, "
      f"full-image box {full['gt_known']:.1f} %.")  # fmt: skip
ratio = stored["each its own"][-1] / max(stored["together"][-1], 1e-9)
print(f"One image a process: the batch area loss is {ratio:.1f} times as large.")
if settings.compare:
    largest = max(compared["largest difference of a loss"].values())
    print(f"One process against two that were killed: losses differ by at most {largest:.1e}.")

# %% [markdown]
# **Exercises:** sheet `course/ex06_train_imagenet.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("06")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Eq. 7, Sec. 4.1, Table 1.
# - O. Russakovsky et al. *ImageNet Large Scale Visual Recognition Challenge.* IJCV 2015.
# - A. Aizman, G. Maltby, T. Breuel. *High Performance I/O For Large Scale Deep Learning.* 2019:
#   WebDataset's shards.
# - T. Chen, B. Xu, C. Zhang, C. Guestrin. *Training Deep Nets with Sublinear Memory Cost.* 2016:
#   activation checkpointing.
