# %% [markdown]
# # 04 · The losses
#
# The spatial token of [03 · Build SQA](03_build_sqa.ipynb) draws a map, and only the name of the
# class supervises it. The paper calls this supervision *sparse and unbalanced*, and adds two terms
# that need no more labels:
#
# $$\mathcal L = \mathcal L_{cls} + \mathcal L_{ba} + \mathcal L_{norm} \tag{Eq. 9}$$
#
# ## What you will learn
#
# - to compute each term by hand on maps of four patches;
# - why the *batch* area is constrained and not the area of each image;
# - in which direction each loss pushes a patch, and why $\mathcal L_w$ of ORNet stops pushing early;
# - what the kernel that is called σ = 6 really does;
# - what each loss makes of a map, alone and together, and how a map collapses.
#
# **Before you start:** [01 · Localization and its metrics](01_localization_and_metrics.ipynb),
# [03 · Build SQA](03_build_sqa.ipynb); PyTorch's autograd. **Time:** 35 minutes to work through,
# 30 seconds to run.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (the lesson as meant) or paper (more images)
seed = 0  # seed of the drawings and of everything random
images = 0  # how many birds to look at; 0: as the profile says
runs_dir = "runs"  # folder of result files, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "04_losses", profile=profile, seed=seed, images=images, runs_dir=runs_dir
)

# %% [markdown]
# ## 1 · By hand, on maps of four patches
#
# Two maps of 2 × 2 patches: a large object and a small one.

# %%
import torch

from satkit import figures, losses

M = torch.tensor([[[0.9, 0.1], [0.5, 0.1]], [[0.0, 0.2], [0.0, 0.2]]])  # [B, h, w]
names = ("large object", "small object")
figures.show(figures.map_sheet(dict(zip(names, M, strict=True)), numbers=True))

# %% [markdown]
# ### Batch area (Eq. 7)
#
# $$\mathcal L_{ba} = \Big|\, \frac{1}{Bhw} \sum_{b,i,j} M_b(i,j) \;-\; \lambda \Big|$$
#
# λ is the share of the image that objects are expected to cover: in the paper 0.25 for CUB-200
# and 0.35 for ImageNet.
#
# **Before you run the next cell:** compute both areas, and the loss at λ = 0.25, in your head.

# %%
areas = M.mean(dim=(1, 2))  # (0.9 + 0.1 + 0.5 + 0.1) / 4 = 0.4 and (0 + 0.2 + 0 + 0.2) / 4 = 0.1
assert torch.allclose(areas, torch.tensor([0.4, 0.1]))
assert torch.isclose(losses.batch_area_loss(M, 0.25), torch.tensor(0.0), atol=1e-6)

per_image = (areas - 0.25).abs().mean()
print(f"batch area loss {losses.batch_area_loss(M, 0.25):.2f}; the same per image {per_image:.2f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# (0.4 + 0.1) / 2 = 0.25: the batch pays nothing, though no image has the area 0.25. Image by image
# it would pay 0.15 each: the large object for being large, the small one for being small.
#
# </details>
#
# (In Eq. 7 as printed, λ stands inside the sum; that would be $|Bhw\lambda - \overline{M}|$, where
# $\overline M$ is the mean over all patches of the batch. The authors' code computes the formula
# above, and so do we.)

# %%
printed = (torch.full_like(M, 0.25) - M / M.numel()).sum().abs()
print(f"Eq. 7 as printed, for the same maps: {printed:.2f}")

# %% [markdown]
# ### Normalization (Eq. 8), here without its filter
#
# $$\mathcal L_{norm} = \frac{1}{hw} \sum_{i,j} M^*(i,j)\,\big(1 - M^*(i,j)\big)$$
#
# $M^*$ is the smoothed map of section 5; until then $M^* = M$. A patch pays nothing at 0 or 1, and at
# most ¼ where it is undecided.

# %%
by_hand = (0.09 + 0.09 + 0.25 + 0.09 + 0 + 0.16 + 0 + 0.16) / 8
assert torch.isclose(losses.normalization_loss(M, smoothing=None), torch.tensor(by_hand))
print(f"L_norm = {by_hand:.3f}")

# %% [markdown]
# ### Cross-entropy, and the sum
#
# Two classes with logits 0 and ln 3 have probabilities ¼ and ¾; no weights balance the terms.

# %%
logits = torch.tensor([[0.0, 3.0]]).clamp(min=1).log().repeat(2, 1)  # [[0, ln 3], [0, ln 3]]
labels = torch.tensor([1, 1])
terms = losses.total_loss(logits, M, labels, target_area=0.25, smoothing=None)
print({name: round(float(value), 4) for name, value in terms.items()})

expected = -torch.tensor(0.75).log() + 0.0 + by_hand
assert torch.isclose(terms["total"], expected, atol=1e-6)

# %% [markdown]
# ## 2 · Why the batch
#
# How large are birds? Aviary knows the mask of each.

# %%
import numpy as np

from satkit.data.aviary import Aviary

aviary = Aviary("test", size=96, seed=settings.seed)
if settings.images < 16:
    raise ValueError(f"images is {settings.images}; this lesson needs at least 16 birds")
drawings = [aviary.drawing(i) for i in range(settings.images)]
area = np.array([drawing.mask.mean() for drawing in drawings])  # [N]
expected_area = float(area.mean())  # the best λ there is
print(f"areas from {area.min():.3f} to {area.max():.3f}, mean {expected_area:.3f}")

# %% [markdown]
# Suppose that all maps are already **perfect**: each map is the mask. Whatever a loss asks for now
# is wrong.
#
# **Before you run the next cell:** with λ = the mean area, what does the loss per image still ask
# for, and what the loss over batches of 2, 4, 8, … images?

# %%
rng = np.random.default_rng(settings.seed)
SIZES = [size for size in (1, 2, 4, 8, 16, 32, 64) if size <= len(area)]


def unjust_loss(size, repeats=2000):
    """Mean batch area loss of perfect maps, over random batches of a size."""
    batches = rng.choice(area, (repeats, size))
    return float(np.abs(batches.mean(axis=1) - expected_area).mean())


asked = {size: unjust_loss(size) for size in SIZES}
assert asked[SIZES[-1]] < asked[1] / 2

# %%
from satkit.lessons import record

common = {"profile": settings.profile, "seed": settings.seed}
batch = record(
    "04_losses", "batch_area",
    common | {"images": len(area), "mean_area": expected_area, "loss_by_batch_size": asked},
    runs_dir=settings.runs_dir, data=f"Aviary test, seed {settings.seed}, {len(area)} masks",
)  # fmt: skip
shown = batch["numbers"]["loss_by_batch_size"]
figures.show(
    figures.line_chart(
        [int(size) for size in shown], {"perfect maps": [*shown.values()]},
        xlabel="images in the batch", ylabel="batch area loss",
    )
)  # fmt: skip

# %% [markdown]
# <details><summary>Answer</summary>
#
# Image by image (a batch of one) a perfect map is punished for the size of its bird. The mean of
# $B$ areas scatters less, about as $1/\sqrt B$. So large batches tolerate objects of all sizes. The
# paper finds little effect above 64 images (Fig. 4b). With several processes, the mean must run
# over *all* of them; `batch_area_loss` does that.
#
# </details>
#
# ## 3 · In which direction does each loss push?
#
# Gradient descent moves a patch by $-\partial\mathcal L / \partial M$. Four losses, one patch at a
# time; for the area terms the batch is too large (above λ). The second area term,
#
# $$\mathcal L_{area} = \frac{1}{Bhw} \sum_{b,i,j} M_b(i,j),$$
#
# is the plain mean, without a target.

# %%
values = torch.linspace(0, 1, 11)


def push(loss):
    """Negative gradient of a loss at each value, [11]; every map is a single patch."""
    patch = values[:, None, None].clone().requires_grad_()  # [11, 1, 1]
    (gradient,) = torch.autograd.grad(loss(patch), patch)
    return -gradient.flatten() * len(values)


pushes = {
    "L_ba, batch too large": push(lambda m: losses.batch_area_loss(m, 0.25)),
    "L_area": push(losses.area_loss),
    "L_norm": push(lambda m: losses.normalization_loss(m, smoothing=None)),
    "L_w": push(losses.weighted_entropy_loss),
}

# %% [markdown]
# **Before you run the next cell:** which losses know a direction for a patch of 0.5? Which ones
# still push a patch of 0.2?

# %%
figures.show(figures.push_arrows(values, pushes))
assert torch.allclose(pushes["L_ba, batch too large"], torch.tensor(-1.0))
assert torch.allclose(pushes["L_norm"], 2 * values - 1, atol=1e-6)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The area losses push every patch alike, object or not; $\mathcal L_{ba}$ turns round when the
# batch is too small, $\mathcal L_{area}$ never does. $\mathcal L_{norm}$ pushes away from 0.5,
# hardest near 0 and 1, and not at all at 0.5. $\mathcal L_w$ pushes only where a patch is undecided,
# and hardly at 0.2. None of them knows *where* the object is: only $\mathcal L_{cls}$ does.
#
# </details>
#
# ## 4 · $\mathcal L_{norm}$ against $\mathcal L_w$ (Fig. 10c)
#
# ORNet's weighted entropy has the same aim,
#
# $$\mathcal L_w = -\frac{1}{hw}\sum \big[M\log M + (1-M)\log(1-M)\big]\;
#   e^{-(M - 0.5)^2 / 2\sigma^2}, \qquad \sigma = 0.1.$$

# %%
values = torch.linspace(0, 1, 201)
patches = values[:, None, None]  # 201 maps of one patch
curves = {
    "L_norm": torch.stack([losses.normalization_loss(p, smoothing=None) for p in patches[:, None]]),
    "L_w": torch.stack([losses.weighted_entropy_loss(p) for p in patches[:, None]]),
}
figures.show(figures.loss_against_value(values, curves))

# %% [markdown]
# The paper's words: $\mathcal L_w$ «is already close to zero at input values of 0.2 or 0.8».

# %%
at = {name: [float(curve[i]) for i in (40, 160)] for name, curve in curves.items()}  # at 0.2, 0.8
assert max(at["L_w"]) < 0.006 and np.allclose(at["L_norm"], 0.16)
print({name: [round(value, 4) for value in pair] for name, pair in at.items()})

# %% [markdown]
# So under $\mathcal L_w$ a background of 0.2 costs nothing and stays; under $\mathcal L_{norm}$ it
# costs two thirds of the maximum.
#
# ## 5 · The kernel that is called σ = 6
#
# Before Eq. 8, the map is smoothed: «a gaussian filter with a kernel size of 3 × 3», «the standard
# deviation … is set to 6» (Sec. 3.2).
#
# **Before you run the next cell:** how different are centre and corner of a 3 × 3 Gaussian with
# σ = 6 patches?

# %%
kernels = {
    "authors' code": losses.smoothing_kernel("official"),
    "Gaussian, σ = 6": losses.smoothing_kernel("gaussian"),
}
figures.show(figures.kernel_heatmap(kernels))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Hardly: a true σ = 6 is nearly the plain mean of nine patches. The authors' kernel leaves 81 % in
# the centre. In their code, 6 is the range over which the normal distribution is cut into three
# pieces, not its width in patches.
#
# </details>
#
# Which σ is it really? For a Gaussian, edge / centre $= e^{-1/2\sigma^2}$:

# %%
kernel = kernels["authors' code"]
ratio = kernel[0, 1] / kernel[1, 1]
sigma = (-1 / (2 * ratio.log())).sqrt()
print(f"edge / centre = {ratio:.4f}, so σ = {sigma:.3f} patches")
assert abs(sigma - 0.418) < 1e-3

# %% [markdown]
# ### The border
#
# The authors' filter pads with zeros. **Before you run the next cell:** what does it make of a map
# that is 1 everywhere, and is its loss 0?

# %%
ones = torch.ones(1, 5, 5)
padded = {"zeros (official)": "zeros", "replicate": "replicate"}
figures.show(
    figures.map_sheet(
        {name: losses.smooth(ones, padding=rule)[0] for name, rule in padded.items()}, numbers=True
    )
)

# %%
paid = {rule: float(losses.normalization_loss(ones, padding=rule)) for rule in padded.values()}
print(paid)
assert paid["zeros"] > 0.01 and abs(paid["replicate"]) < 1e-6
assert losses.normalization_loss(torch.zeros(1, 5, 5)) == 0

# %% [markdown]
# <details><summary>Answer</summary>
#
# An edge keeps 0.95 and a corner 0.90, so even a decided map pays a little where an object touches
# the border, while a map of zeros pays nothing.
#
# </details>
#
# ## 6 · What each loss makes of a map
#
# Now we let the losses act. No network: the *map itself* is the parameter, started at random around
# ½, one for each of a few birds.

# %%
count = min(16, len(drawings))
some, boxes = drawings[:count], [drawing.boxes for drawing in drawings[:count]]
target = float(area[:count].mean())  # λ
start = 0.5 * torch.randn(count, 12, 12, generator=torch.Generator().manual_seed(settings.seed))


def descend(loss, steps=300, rate=0.2):
    """Maps [B, 12, 12] after gradient descent on their logits; each patch on a like footing."""
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=rate * logits.numel())
    for _ in range(steps):
        optimizer.zero_grad()
        loss(logits.sigmoid()).backward()
        optimizer.step()
    return logits.detach().sigmoid()


# %% [markdown]
# First each term alone. **Before you run the next cell:** sketch the end of each.

# %%
alone = {
    "start": start.sigmoid(),
    "L_ba": descend(lambda m: losses.batch_area_loss(m, target)),
    "L_area": descend(losses.area_loss),
    "L_norm": descend(losses.normalization_loss),
    "L_norm, σ = 6": descend(lambda m: losses.normalization_loss(m, "gaussian")),
    "L_w": descend(losses.weighted_entropy_loss),
}
figures.show(figures.map_sheet({name: maps[0] for name, maps in alone.items()}))


# %%
def describe(maps):
    """Mean area, share of undecided patches, and roughness (mean step to the right neighbour)."""
    undecided = ((maps > 0.1) & (maps < 0.9)).float().mean()
    rough = maps.diff(dim=2).abs().mean()
    return {"area": float(maps.mean()), "undecided": float(undecided), "roughness": float(rough)}


import pandas as pd

work = f"Aviary test, seed {settings.seed}, {count} drawings, maps optimised directly"
single = record("04_losses", "alone", common | {"maps": {n: describe(m) for n, m in alone.items()}},
                runs_dir=settings.runs_dir, data=work)  # fmt: skip
table = pd.DataFrame(single["numbers"]["maps"]).T
table.round(3)

# %%
assert abs(table.loc["L_ba", "area"] - target) < 0.02  # the area is right …
assert table.loc["L_ba", "undecided"] > 0.4  # … and little is decided
assert table.loc["L_area", "area"] < 0.05  # collapse
assert table.loc["L_norm", "undecided"] < table.loc["L_w", "undecided"]
assert table.loc["L_norm, σ = 6", "roughness"] < table.loc["L_norm", "roughness"]

# %% [markdown]
# <details><summary>Answer</summary>
#
# $\mathcal L_{ba}$ dims everything until the mean is λ. $\mathcal L_{area}$ dims everything to
# nothing. $\mathcal L_{norm}$ decides every patch, but by the noise of the start. The wide kernel
# makes large connected regions of it, most of them dark: of the nine patches that it averages at the
# border, three or more are zeros from outside. So the border starts below ½, is pushed down, and
# pulls the next patches down. The authors' narrow kernel smooths a little, and dims little but the
# border. $\mathcal L_w$ leaves patches half decided. **No term alone finds a bird: none has been told
# about one.**
#
# </details>
#
# Is it the border? The wide kernel again, with the border repeated instead of zeros:

# %%
repeated = descend(lambda m: losses.normalization_loss(m, "gaussian", padding="replicate"))
print(f"mean area {repeated.mean():.3f}; with zeros {table.loc['L_norm, σ = 6', 'area']:.3f}")
assert repeated.mean() > 2 * table.loc["L_norm, σ = 6", "area"]

# %% [markdown]
# ## 7 · With a class signal
#
# A *toy* of $\mathcal L_{cls}$: the evidence for the class is strongest on the head, weaker on the
# rest of the bird, and noise elsewhere. The score is what the map lets through,
#
# $$s = 20 \cdot \text{mean}\big((M + r)\, e\big), \qquad \mathcal L_{cls} = \log(1 + e^{-s}),$$
#
# and $r$ is the *skip connection* of a transformer: with $r = 1$ the evidence reaches the
# classifier even where the map is 0.

# %%
from satkit.lessons import simulate_map

noise = np.random.default_rng(settings.seed)
evidence = torch.tensor(
    np.stack([simulate_map(d, noise, head=1, rest=0.35, noise=0.1, blur=0.5) for d in some])
)  # [B, 12, 12]


def cls_loss(maps, skip=1.0):
    """Cross-entropy of a two-class toy whose evidence passes the map, and a skip connection."""
    scores = 20 * ((maps + skip) * evidence).mean(dim=(1, 2))  # [B]
    return torch.nn.functional.softplus(-scores).mean()


# %%
def ba(m):
    return losses.batch_area_loss(m, target)


def norm(m):
    return losses.normalization_loss(m)


recipes = {
    "L_cls": cls_loss,
    "L_cls + L_ba": lambda m: cls_loss(m) + ba(m),
    "all three": lambda m: cls_loss(m) + ba(m) + norm(m),
    "L_ba + L_norm": lambda m: ba(m) + norm(m),
    "L_cls + L_area": lambda m: cls_loss(m) + losses.area_loss(m),
}
together = {name: descend(loss) for name, loss in recipes.items()}

# %% [markdown]
# **Before you run the next cell:** which of the five recipes hold the bird? Which collapses, which
# misses the bird with just the right area?

# %%
picks = [0, 1]
sheet = {f"{name}\n(bird {i + 1})": together[name][i] for i in picks for name in recipes}
figures.show(figures.map_sheet(sheet, columns=len(recipes)))
figures.show(figures.image_sheet([some[i].image for i in picks], what="birds of these maps"))


# %%
def localize(maps):
    """Mean area of the maps and mean IoU of their boxes at τ = 0.5."""
    ready = satkit.boxes.prepare_maps(maps, 96)
    ious = satkit.boxes.best_ious(ready, [0.5], boxes)[0, :, 0]
    return {"mean area": float(maps.mean()), "mean IoU": float(ious.mean())}


mixed = record(
    "04_losses", "together",
    common | {"target_area": target, "recipes": {n: localize(m) for n, m in together.items()}},
    runs_dir=settings.runs_dir, data=work,
)  # fmt: skip
table = pd.DataFrame(mixed["numbers"]["recipes"]).T
figures.show(figures.bar_chart(table, ylabel="share"))

# %%
assert table["mean IoU"].idxmax() in ("all three", "L_cls + L_ba")
assert table.loc["L_cls", "mean area"] > 3 * target  # nothing holds it back
assert table.loc["L_cls + L_area", "mean area"] < 0.6 * target  # Table 13: collapse
assert table.loc["L_ba + L_norm", "mean IoU"] < 0.2  # no class, no place

# %% [markdown]
# <details><summary>Answer</summary>
#
# $\mathcal L_{cls}$ alone only ever adds: nothing asks for a dark background.
# $\mathcal L_{ba} + \mathcal L_{norm}$ without the class have the right area in the wrong place.
# With all three, the area is a **budget**: the patches compete for it, and those with evidence win.
# $\mathcal L_{area}$ goes on dimming when the classifier is content, and with the skip connection
# it is soon content: the map shrinks to the best evidence, the head. That is the paper's own
# explanation for its Table 13, which follows.
#
# </details>
#
# The paper's numbers on CUB-200, percent. *One-stage* trains classifier and maps together, *two-stage*
# first the classifier and then the maps:

# %%
from satkit import paper

paper.wide("table13").filter(like="Loc Acc.")

# %% [markdown]
# Does it hang on the skip connection? The same two recipes without it ($r = 0$):

# %%
without = {
    "L_cls + L_ba": descend(lambda m: cls_loss(m, skip=0.0) + ba(m)),
    "L_cls + L_area": descend(lambda m: cls_loss(m, skip=0.0) + losses.area_loss(m)),
}
compared = record(
    "04_losses", "skip_connection",
    common | {
        "mean IoU": {
            "with skip": {n: localize(together[n])["mean IoU"] for n in without},
            "without skip": {n: localize(m)["mean IoU"] for n, m in without.items()},
        }
    },
    runs_dir=settings.runs_dir, data=work,
)  # fmt: skip

# %%
table = pd.DataFrame(compared["numbers"]["mean IoU"])
figures.show(figures.bar_chart(table, ylabel="mean IoU"))
assert table.loc["L_cls + L_area", "without skip"] > 2 * table.loc["L_cls + L_area", "with skip"]
assert table.loc["L_cls + L_ba", "without skip"] > table.loc["L_cls + L_ba", "with skip"]

# %% [markdown]
# Where the evidence *must* pass the map, as in the convolutional networks that $\mathcal L_{area}$
# was made for, it does no harm: as long as the area exceeds λ, both losses have the same gradient,
# and the class signal is strong enough to stop it there. $\mathcal L_{ba}$ ends better without the
# skip connection, too: a classifier that gets evidence only through the map is not content so soon,
# and pushes longer for the bird. It is a toy, but it shows the mechanism; a network is trained so by
# `python -m satkit train -p area_term area`.
#
# ### Replay the descent
#
# The recipe *all three* once more, and this time every step's losses and maps are kept. Then move λ
# and the weights. **What you move is recomputed from the kept maps; the maps themselves stay as they
# were drawn with the old λ.** Another λ in training would have drawn others.
#
# **Predict, then slide:** for which λ does $\mathcal L_{ba}$ ask for a *larger* area at the last step?

# %%
from satkit.lab import Replay, replay_losses

terms, kept = [], []


def watched(m):
    """All three losses, written down together with the maps."""
    now = {"cls": cls_loss(m), "batch_area": ba(m), "normalization": norm(m)}
    terms.append({name: value.item() for name, value in now.items()})
    kept.append(m.detach().numpy().copy())
    return sum(now.values())


descend(watched, steps=150)
replay_losses(Replay(pd.DataFrame(terms), target, "the descent of this lesson", np.stack(kept)))

# %% [markdown]
# <details><summary>Answer</summary>
#
# For every λ above the area that the maps have then, which is close to the λ that they were drawn
# with. The two forces meet there.
#
# </details>
#
# ## Take-away
#
# - $\mathcal L_{ba}$ gives a budget to the *batch* and so lets single objects be large or small;
#   $\mathcal L_{norm}$ makes patches decide; only $\mathcal L_{cls}$ knows what the object is.
# - $\mathcal L_w$ stops caring at 0.2 and 0.8, $\mathcal L_{norm}$ does not.
# - The «σ = 6» of the paper is 0.42 patches in the authors' code, and its zero padding taxes the
#   border. Read the code beside the paper.
# - A loss on the area alone, without a target, collapses as soon as the class is certain.
#
# **Exercises:** sheet `course/ex04_losses.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("04")`
#
# ## References
#
# - P. Wu et al. *Spatial-Aware Token for Weakly Supervised Object Localization.* ICCV 2023:
#   Eq. 7–9 (Sec. 3.2–3.3), Fig. 4, Tables 12 and 13, Fig. 10, and the authors' code for the kernel.
# - J. Xie et al. *Online Refinement of Low-level Feature Based Activation Map for Weakly Supervised
#   Object Localization* (ORNet). ICCV 2021: $\mathcal L_w$ and $\mathcal L_{area}$.
