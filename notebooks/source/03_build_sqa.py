# %% [markdown]
# # 03 · Build spatial-query attention: naive, compact, fused
#
# SAT adds one token to a vision transformer. In the last blocks this *spatial token* asks every
# patch "are you object?", and its answers (a) are the localization map and (b) gate the attention,
# so that the classifier only sees what the map lets through. The module that does both is called
# *spatial-query attention* (SQA), and you build it here from nothing but matrix products.
#
# ## What you will learn
#
# - how queries and keys, which attention has anyway, become a localization map;
# - how the map gates the attention, and why image labels can train it through that gate;
# - three ways to write the same computation, naive, compact and fused, and what each one costs;
# - why the gate comes *after* the softmax, and what else could go wrong unnoticed.
#
# **Before you start:** you know softmax attention, $\text{softmax}(QK^\top/\sqrt d)\,V$, and have
# used PyTorch tensors. **Time:** 40 minutes with the questions, 30 seconds to run.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper
seed = 0  # seed of the random tokens and weights
images = 0  # images that each form handles when its time is taken; 0: as the profile says
runs_dir = "runs"  # folder that result files go to

# %%
import satkit

settings = satkit.configure(
    "03_build_sqa", profile=profile, seed=seed, images=images, runs_dir=runs_dir
)

# %% [markdown]
# ## The sequence
#
# Small numbers, so that you can print everything: 2 images of $4 \times 4$ patches, 3 heads of
# width $d = 8$, so $D = 24$ channels. In front stands the class token, at the end the spatial
# token: $T = 1 + 16 + 1 = 18$ tokens an image.

# %%
import torch

batch, heads, width, side = 2, 3, 8, 4
channels, tokens = heads * width, side * side + 2
generator = torch.Generator().manual_seed(settings.seed)
x = torch.randn(batch, tokens, channels, generator=generator)  # [B, T, D]
weights = torch.randn(3, channels, channels, generator=generator) / channels**0.5

# %% [markdown]
# Each token is projected to a query, a key and a value, and each of these is cut into heads.


# %%
def split_heads(tensor):
    """Cut the channels into heads: [B, T, D] -> [B, H, T, d]."""
    return tensor.unflatten(-1, (heads, width)).transpose(1, 2)


q, k, v = (split_heads(x @ weight.T) for weight in weights)  # each [B, H, T, d]
q.shape

# %% [markdown]
# ## Naive, step 1: the spatial token draws a map
#
# The spatial token's query $q_{spa}$ is compared with the key of every token, and a sigmoid turns
# the similarity into a probability of being foreground (Eq. 4 and 5; heads as in the official
# code):
#
# $$S_j = \frac{1}{H} \sum_{h=1}^{H} \frac{q_{spa}^{h} \cdot k_j^{h}}{\sqrt d}, \qquad
# M_j = \frac{1}{1 + e^{-S_j}}$$
#
# In loops, for one image:


# %%
def naive_gate(q, k):
    """Foreground probability of each token; q, k [H, T, d] -> [T]."""
    similarity = torch.zeros(tokens)
    for h in range(heads):
        for j in range(tokens):
            similarity[j] += q[h, -1] @ k[h, j] / width**0.5 / heads
    return 1 / (1 + torch.exp(-similarity))


gate = naive_gate(q[0], k[0])  # [T]
gate

# %% [markdown]
# **Predict, then run:** a softmax over the 18 tokens would sum to 1. What does the sigmoid's sum
# tell, and can two halves of a bird both get 0.9?

# %%
print(f"sum of the gate: {gate.sum():.2f} of {tokens}; largest value: {gate.max():.2f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The sum is a soft *count of tokens* that are called foreground: an area. Nothing forces tokens to
# compete, so all parts of a bird can be 0.9 at once. In a softmax each part's share would shrink as
# the bird grows. That is one of the paper's reasons for a map of its own (Sec. 1).
#
# </details>
#
# ## Naive, step 2: the map gates the attention
#
# Every row of the attention matrix (every token that asks) is multiplied with the gate of the token
# that answers (Eq. 6). The rows then no longer sum to 1, and nobody renormalises them:
#
# $$\text{SQA}(X) = \left(\text{softmax}\left(\frac{QK^\top}{\sqrt d}\right) * M\right) V$$


# %%
def naive_attention(q, k, v, gate):
    """Gated attention of one image; q, k, v [H, T, d] and gate [T] -> [H, T, d]."""
    out = torch.zeros(heads, tokens, width)
    for h in range(heads):
        for i in range(tokens):  # token i asks
            row = torch.exp(q[h, i] @ k[h].T / width**0.5)  # [T]
            row = row / row.sum()  # softmax
            row = row * gate  # what token j answers counts M_j times
            for j in range(tokens):
                out[h, i] += row[j] * v[h, j]
    return out


naive = naive_attention(q[0], k[0], v[0], gate)

# %% [markdown]
# **Predict, then run:** what comes out where the gate is 1 everywhere? And where it is 0?

# %%
from torch.nn.functional import scaled_dot_product_attention

ordinary = scaled_dot_product_attention(q[0], k[0], v[0])
opened = naive_attention(q[0], k[0], v[0], torch.ones(tokens))
closed = naive_attention(q[0], k[0], v[0], torch.zeros(tokens))
assert torch.allclose(opened, ordinary, atol=1e-5)
assert torch.equal(closed, torch.zeros_like(closed))

# %% [markdown]
# <details><summary>Answer</summary>
#
# All ones: ordinary attention. All zeros: nothing, so after such an attention each token is what the
# skip connection hands on, up to a bias; the MLP still follows. A closed gate hides a token from the
# *others*; it does not erase it.
#
# </details>
#
# ## Compact: one einsum instead of loops
#
# The same for all images and heads at once. Write the indices down and the code follows: $b$ image,
# $h$ head, $i$ who asks, $j$ who answers, $d$ channel.


# %%
def compact_gate(q, k):
    """q, k [B, H, T, d] -> gate [B, T]."""
    similarity = torch.einsum("bhd,bhjd->bhj", q[:, :, -1], k) * q.shape[-1] ** -0.5  # [B, H, T]
    return similarity.mean(dim=1).sigmoid()


def compact_attention(q, k, v, gate):
    """q, k, v [B, H, T, d] and gate [B, T] -> [B, H, T, d]."""
    logits = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5  # [B, H, T, T]
    attention = logits.softmax(dim=-1) * gate[:, None, None, :]  # gate over j, the keys
    return torch.einsum("bhij,bhjd->bhid", attention, v)


# %% [markdown]
# Two ways to write a thing are two chances to be wrong, so we compare. The two add up in different
# orders, so we ask for equality to $10^{-5}$, not for equal bits.

# %%
gates = compact_gate(q, k)  # [B, T]
compact = compact_attention(q, k, v, gates)
for b in range(batch):
    assert torch.allclose(gates[b], naive_gate(q[b], k[b]), atol=1e-5)
    assert torch.allclose(compact[b], naive_attention(q[b], k[b], v[b], gates[b]), atol=1e-5)

# %% [markdown]
# ## Fused: move the gate onto the values
#
# Fast attention kernels never write the $T \times T$ matrix down. But the gate multiplies exactly
# that matrix, between softmax and values; must we give the kernel up? Write the gate as a diagonal
# matrix:
#
# $$\big(A \,\text{diag}(M)\big)\, V = A\, \big(\text{diag}(M)\, V\big)$$
#
# Scaling *columns of A* is scaling *rows of V*. So the gate goes onto the values, and the rest is
# ordinary attention. Only one row of similarities, the spatial token's, is computed apart.


# %%
def fused_attention(q, k, v, gate):
    """q, k, v [B, H, T, d] and gate [B, T] -> [B, H, T, d]."""
    return scaled_dot_product_attention(q, k, v * gate[:, None, :, None])


fused = fused_attention(q, k, v, gates)
assert torch.allclose(fused, compact, atol=1e-5)

# %% [markdown]
# **Question:** the gate could instead be *renormalised*, so that each row sums to 1 again. Could
# that be fused as easily?
#
# <details><summary>Answer</summary>
#
# Nearly: each row would have to be divided by $\sum_j A_{ij} M_j$. Attend to one extra channel of
# "values" that holds $M_j$ itself, and that channel of the result *is* this sum. But it would be
# another model: with it, a block whose gate is 0.1 everywhere would do what a block with gate 1
# does, and the map could not be learnt from how *much* comes through.
#
# </details>
#
# ## The library does the same
#
# `satkit.model.SpatialQueryAttention` takes over the projections of a block of a real ViT. We feed
# it random tokens, project them ourselves, and compare each stage with the three forms above.

# %%
model = satkit.create_model("sat", "vit_pico_convstem8_96", num_classes=20, image_size=96).eval()
attention = model.backbone.blocks[-1].attn
block_x = torch.randn(2, 1 + 12 * 12 + 1, 128, generator=generator)  # [B, T, D]
with torch.no_grad():
    from_library, library_gate = attention(block_x)  # [B, T, D], [B, T]
type(attention).__name__, library_gate.shape

# %%
with torch.no_grad():
    qkv = attention.qkv(block_x).unflatten(-1, (3, attention.num_heads, attention.head_dim))
    block_q, block_k, block_v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, T, d]
    own_gate = compact_gate(block_q, block_k)
    for form in (compact_attention, fused_attention):
        merged = form(block_q, block_k, block_v, own_gate).transpose(1, 2).flatten(2)  # [B, T, D]
        assert torch.allclose(attention.proj(merged), from_library, atol=1e-5), form
assert torch.allclose(own_gate, library_gate, atol=1e-6)

# %% [markdown]
# ## Which columns are the map, and which blocks draw one?
#
# The gate has one value for *every* token, class and spatial token included, and all of them gate
# the attention. Only the values of the patches, cropped and reshaped, are the map of the block; the
# mean over the spatial-aware blocks is the final map.

# %%
block_map = library_gate[:, 1:-1].unflatten(1, (12, 12))  # [B, h, w]: without first and last token
images_in = torch.randn(2, 3, 96, 96, generator=generator)
with torch.no_grad():
    output = model(images_in)
assert torch.allclose(output.layer_maps.mean(dim=1), output.maps, atol=1e-6)
print("map of one block", tuple(block_map.shape), "| all blocks", tuple(output.layer_maps.shape))

# %% [markdown]
# The spatial token is in the sequence from the first block on, with a position of its own; in the
# early blocks it is a token like any other. Only the last blocks are *spatial-aware*: they draw a map
# and are gated by it. In the paper's Table 9, $N$ counts them; three of twelve are best (the paper's
# numbers, percent):

# %%
from satkit import paper

paper.wide("table9").filter(like="GT-k. Loc")

# %% [markdown]
# Its caption says which blocks they are: $N = 1$ means block 10 and not 12, $N = 2$ blocks 10 and
# 11. From $N = 3$ on, they are the last $N$:

# %%
from satkit.model import spatial_block_indices

for count in range(1, 6):
    blocks = [index + 1 for index in spatial_block_indices(depth=12, count=count)]
    print(f"N = {count}: blocks {blocks} of 12")

# %% [markdown]
# ## How does a word teach a map?
#
# Nobody shows the token a box. But the class scores depend on the gate, so the classification loss
# has a gradient with respect to it: where opening the gate helps to name the bird, it opens.
#
# **Predict, then run:** if the map were computed beside the attention but did not gate it, what
# would its gradient be?

# %%
pushed = gates.clone().requires_grad_()  # [B, T]
fused_attention(q, k, v, pushed).square().mean().backward()
assert (pushed.grad != 0).all()
print(f"gated: a gradient for every token, mean size {pushed.grad.abs().mean():.1e}")

beside = gates.clone().requires_grad_()  # computed, but not used in:
loss = scaled_dot_product_attention(q, k, v).square().mean()
print("beside the attention:", "a gradient" if loss.requires_grad else "no gradient at all")

# %% [markdown]
# ## Why the gate comes after the softmax
#
# Table 10 of the paper compares two places for the gate. *Before* the softmax the gate multiplies
# the logits, $\text{softmax}(QK^\top/\sqrt d * M)$. Say a background patch has logit $\ell$ and
# shares the row with 16 other patches of logit 0. As its gate $m$ goes from 1 to 0, its share is
#
# $$\text{after: } \frac{m\, e^{\ell}}{e^{\ell} + 16}, \qquad
# \text{before: } \frac{e^{m\ell}}{e^{m\ell} + 16}$$
#
# **Predict, then run:** what is left of the background patch in each case when its gate is closed
# ($m = 0$)? And if its logit was negative?


# %%
def share_after(m, logit):
    """Share of the patch, its gate after the softmax."""
    return m * torch.exp(logit) / (torch.exp(logit) + 16)


def share_before(m, logit):
    """Share of the patch, its gate before the softmax."""
    return torch.exp(m * logit) / (torch.exp(m * logit) + 16)


m = torch.linspace(0, 1, 50)
for logit in torch.tensor([-2.0, 2.0]):
    after, before = share_after(m, logit), share_before(m, logit)
    print(f"logit {logit:+.0f}: open {after[-1]:.3f}; closed after the softmax {after[0]:.3f}, "
          f"before it {before[0]:.3f}")  # fmt: skip

# %%
import matplotlib.pyplot as plt

from satkit.figures import show

figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharex=True, layout="constrained")
for axis, logit in zip(axes, torch.tensor([-2.0, 2.0]), strict=True):
    axis.plot(m, share_after(m, logit), label="gate after softmax")
    axis.plot(m, share_before(m, logit), "--", label="gate before softmax")
    axis.set(title=f"logit {logit:+.0f}", xlabel="gate of the patch", ylabel="its share")
    axis.legend()
show(
    figure,
    "Share of a background patch in a row of attention against its gate, for a logit of -2 and of "
    "+2. After the softmax the share is a straight line to zero. Before the softmax it ends at "
    "1/17 with the gate closed: it rises as the gate closes where the logit is negative.",
)

# %% [markdown]
# Closed *before* the softmax, the patch keeps $e^0 / (e^0 + 16) = 1/17$: the share of a patch that
# nobody has an opinion about, not zero. With a negative logit closing the gate even *adds* to its
# share. So background that the map has rejected still reaches the classifier, and the map gets
# little gradient for rejecting it. In the paper the effect on the final result is small, though
# (Table 10; the paper's numbers, percent):

# %%
paper.wide("table10").filter(like="GT-k. Loc")

# %% [markdown]
# The extremes of the curves above:

# %%
opened, closed, logit = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(-2.0)
assert share_after(closed, logit) == 0, "after the softmax nothing is left"
assert torch.isclose(share_before(closed, logit), torch.tensor(1 / 17))
assert share_before(closed, logit) > share_before(opened, logit), "closed: more than open"

# %% [markdown]
# ### Click a patch
#
# The attention of a real block: the shipped backbone has been trained, on drawings. A spatial token
# has not, so the gate here is a *simulated* map, the share of bird in each patch; class and spatial
# token stay open. Choose a patch by a button of the grid or by row and column, and move the gate.
#
# **Predict, then click:** first a patch of the bird asks. How much of its row is left after the
# softmax? Then choose a patch of background. Will more be left of its row, or less?

# %%
import numpy as np

from satkit.data import Transform
from satkit.data.aviary import Aviary
from satkit.lab import explore_attention
from satkit.lessons import simulate_map

unchanged = Transform(image_size=96, resize_size=96)
birds = Aviary("test", size=96, length=3, transform=unchanged, drawing_seed=settings.seed)
rng = np.random.default_rng(settings.seed)
shares = np.stack([simulate_map(birds.drawing(i), rng) for i in range(len(birds))])  # [3, 12, 12]
trained = satkit.create_model(
    "sat", "vit_pico_convstem8_96", num_classes=20, image_size=96, pretrained=True
).eval()
bird_images = torch.stack([birds[i]["image"] for i in range(len(birds))])
explore_attention(trained, bird_images, maps=torch.tensor(shares))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only what a patch gives to the bird and to class and spatial token: its row shrinks to their share.
# The gate belongs to who *answers*: no row is cut because the patch that asks is background. Less is
# left where more of the attention lay on background. *Before* the softmax the row still sums to 1,
# and closed patches keep a part of it.
#
# </details>
#
# ## One head or many: where the paper and its code part
#
# Eq. 4 is printed without heads: $q_{spa} k_j^\top / \sqrt D$ over the full width. The official code
# divides by $\sqrt d$ in each head and takes the mean. With $D = Hd$,
#
# $$\frac{1}{\sqrt D} \sum_h q^h \cdot k^h = \frac{1}{\sqrt H \sqrt d} \sum_h q^h \cdot k^h
# = \sqrt H \cdot \frac1H \sum_h \frac{q^h \cdot k^h}{\sqrt d}$$
#
# so the printed form is the same map with similarities $\sqrt H$ times as large: sharper. A third
# reading, a sigmoid in each head and then the mean, is something else again. The library takes all
# three (`similarity="official"`, `"paper"`, `"mean_of_sigmoids"`).

# %%
similarity = torch.einsum("bhd,bhjd->bhj", q[:, :, -1], k) * width**-0.5  # [B, H, T]
paper_gate = (q[:, :, -1, None] * k).sum(dim=(1, 3)).mul(channels**-0.5).sigmoid()  # [B, T]
assert torch.allclose(paper_gate, (similarity.mean(dim=1) * heads**0.5).sigmoid(), atol=1e-5)
sigmoids_gate = similarity.sigmoid().mean(dim=1)  # [B, T]

# %% [markdown]
# ## Wrong choices that nothing would tell you about
#
# None of the variants below crashes, and all of them train. Here is how far each moves the output
# of our small module. (The numbers are of random tokens and weights: they say that the choices
# *differ*, not which one localizes better.)

# %%
column = gates[:, None, :, None]  # [B, 1, T, 1]
patches_only = gates.clone()
patches_only[:, [0, -1]] = 1  # class and spatial token not gated
variants = {
    "similarity scaled by √D (Eq. 4 as printed)": fused_attention(q, k, v, paper_gate),
    "mean of the heads' sigmoids": fused_attention(q, k, v, sigmoids_gate),
    "rows renormalised": fused / fused_attention(q, k, torch.ones_like(v), gates),
    "gate before the softmax": scaled_dot_product_attention(q, k * column, v),
    "class and spatial token not gated": fused_attention(q, k, v, patches_only),
    "gate over who asks, not who answers": scaled_dot_product_attention(q, k, v) * column,
}

# %% [markdown]
# Every number that this series shows is read back from a file that names the commit, the date and
# the machine it came from. This is how such a file is written.

# %%
import pandas as pd

from satkit import lessons

origin = {"runs_dir": settings.runs_dir, "data": f"random tokens, seed {settings.seed}"}
differences = {name: float((out - fused).abs().max()) for name, out in variants.items()}
stored = lessons.record("03_build_sqa", "variants", differences, **origin)["numbers"]
assert all(difference > 1e-3 for difference in stored.values())
pd.Series(stored, name="largest change of the output").to_frame().round(3)

# %% [markdown]
# **Question:** only an equality check against a trusted reference tells such variants apart. Which
# of them would the check "gate of all ones gives ordinary attention" from above have caught?
#
# <details><summary>Answer</summary>
#
# None: with a gate of ones all of them that use the gate reduce to ordinary attention. A check has
# to be done where the alternatives differ. That is why we compared on random gates, and why the
# library's tests compare with arrays that the authors' own model produced.
#
# </details>
#
# ## What the token costs
#
# On DeiT-S with the 200 classes of CUB-200, as in the paper. Built without pretrained weights, since
# we only count. **Predict, then run:** how many parameters does SAT add to TS-CAM, the baseline with
# the same head?

# %%
counts = {}
for method in ("tscam", "sat"):
    counted = satkit.create_model(method, "deit_small_patch16_224", num_classes=200).eval()
    counts[method] = sum(parameter.numel() for parameter in counted.parameters())
added = counts["sat"] - counts["tscam"]
print(f"SAT {counts['sat']:,}; TS-CAM {counts['tscam']:,}; added {added} = 2 × 384")
assert added == counted.loc_token.numel() + counted.loc_embed.numel() == 768

# %% [markdown]
# The token (384 values) and its position (384 values), nothing else: the queries and keys are those
# of the pretrained block. And the computation? PyTorch counts the multiplications of one image.

# %%
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model):
    """Multiply-adds of one 224 x 224 image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    return counter.get_total_flops() / 2


plain = satkit.create_model("cam", "deit_small_patch16_224", num_classes=200).eval()
cost = {"without the token": multiply_adds(plain), "SAT": multiply_adds(counted)}

# %%
stored = lessons.record("03_build_sqa", "cost", {"parameters": counts, "macs": cost}, **origin)
base, sat = stored["numbers"]["macs"].values()
print(f"multiply-adds of an image: {base / 1e9:.2f} G -> {sat / 1e9:.2f} G ({sat / base - 1:+.2%})")
print(f"parameters: {added / stored['numbers']['parameters']['tscam']:+.4%}")

# %% [markdown]
# ## What the three forms cost
#
# At the size of DeiT-S: 6 heads of width 64, 198 tokens. The naive form has explicit matrices for
# one image and one head at a time (the inner loops from above would take minutes). We take the time
# of forward and backward pass, and count the bytes that a form keeps for its backward pass.


# %%
def naive_batch(q, k, v, gate):
    """One image and one head at a time; q, k, v [B, H, T, d] and gate [B, T]."""
    images = []
    for b in range(len(q)):
        outs = []
        for h in range(q.shape[1]):
            attention = (q[b, h] @ k[b, h].T * q.shape[-1] ** -0.5).softmax(dim=-1)  # [T, T]
            outs.append((attention * gate[b]) @ v[b, h])  # [T, d]
        images.append(torch.stack(outs))
    return torch.stack(images)


# %%
def kept_bytes(form, *inputs):
    """Bytes that are kept for the backward pass, beside the inputs."""
    kept = {tensor.data_ptr(): 0 for tensor in inputs}

    def count(tensor):
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        result = form(*inputs)  # its graph keeps the tensors alive while we count
    del result
    return sum(kept.values())


# %%
import time

forms = {"naive": naive_batch, "compact": compact_attention, "fused": fused_attention}
inputs = [torch.randn(4, 6, 198, 64, generator=generator, requires_grad=True) for _ in range(3)]
inputs.append(torch.rand(4, 198, generator=generator, requires_grad=True))  # the gate
reference = compact_attention(*inputs)
for form in forms.values():
    assert torch.allclose(form(*inputs), reference, atol=1e-5)

# %%
rounds = max(settings.images // 4, 3)
seconds = {name: [] for name in forms}
for _ in range(rounds):  # in turns, so that a slow moment of the machine hits all of them
    for name, form in forms.items():
        start = time.perf_counter()
        form(*inputs).sum().backward()
        seconds[name].append(time.perf_counter() - start)
rows = {
    name: {"ms": 1000 * min(seconds[name]), "kept_mib": kept_bytes(form, *inputs) / 2**20}
    for name, form in forms.items()
}
stored = lessons.record("03_build_sqa", "forms", {"rounds": rounds, "forms": rows}, **origin)

# %%
table = pd.DataFrame(stored["numbers"]["forms"]).T
table["time / fused"] = table["ms"] / table.loc["fused", "ms"]
table["kept / fused"] = table["kept_mib"] / table.loc["fused", "kept_mib"]
table.round(2)

# %% [markdown]
# `ms` is the best of several rounds for 4 images. Times depend on the machine; the bytes hardly,
# and their ratio grows with the number of tokens: the compact form keeps $T \times T$ matrices for
# each head (the softmax, and its gated copy), the fused one keeps only what is as large as the
# values.

# %%
slower = table["time / fused"].drop("fused")
larger = table["kept / fused"].drop("fused")
fastest = "the fused form was the fastest" if (slower > 1).all() else "fused was not the fastest"
print(f"On this machine {fastest}: compact took {slower['compact']:.1f} times as long and kept")
print(f"{larger['compact']:.1f} times as many bytes for the backward pass.")

# %% [markdown]
# ## Take-away
#
# SQA is ordinary attention plus one idea: let a token of its own draw a map with the queries and
# keys that are there anyway, and let the map scale the values. That costs $2D$ parameters and one
# more row of similarities, and since a gate on columns of the attention is a gate on rows of the
# values, nothing of the fast kernels is lost. Its details (which columns, which side of the softmax,
# heads first or sigmoid first) are silent choices: only equality checks tell them apart.
#
# [05 · Train SAT](05_train_cub.ipynb) lets this module learn.
#
# **Exercises:** sheet `course/ex03_build_sqa.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("03")`
#
# ## References
#
# - P. Wu, W. Zhai, Y. Cao, J. Luo, Z.-J. Zha. *Spatial-Aware Token for Weakly Supervised Object
#   Localization.* ICCV 2023: Sec. 3.2 (Eq. 4–6), Tables 9 and 10.
# - A. Vaswani et al. *Attention Is All You Need.* NeurIPS 2017.
# - T. Dao et al. *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness.*
#   NeurIPS 2022: attention without writing down the matrix.
# - W. Gao et al. *TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised Object
#   Localization.* ICCV 2021: the baseline with the same head.
