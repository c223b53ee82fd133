"""Wrong answers to the exercises of lesson 03."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="block_map",
        misconception="the sigmoid is left out",
        code="""
def block_map(q, k):
    similarity = (q[:, :, -1:] * k).sum(dim=-1).mean(dim=1) / q.shape[-1] ** 0.5
    n = int((k.shape[2] - 2) ** 0.5)
    return similarity[:, 1:-1].reshape(-1, n, n)
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the gate is made a mask of yes and no",
        code="""
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    mask = (gate > 0.4)[:, None, None, :]
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)
""",
    ),
    Wrong(
        exercise="block_map",
        misconception="the sigmoid comes before the mean over heads",
        code="""
import torch


def block_map(q, k):
    d = q.shape[-1]
    n = int(round((q.shape[2] - 2) ** 0.5))
    scores = (q[:, :, -1:] @ k.transpose(-1, -2))[:, :, 0] / d**0.5
    gate = torch.sigmoid(scores).mean(dim=1)
    return gate[:, 1:-1].reshape(-1, n, n)
""",
    ),
    Wrong(
        exercise="block_map",
        misconception="the similarity is scaled by the full width",
        code="""
import math

import torch


def block_map(q, k):
    B, H, T, d = q.shape
    n = math.isqrt(T - 2)
    D = H * d
    s = torch.einsum("bhd,bhtd->bht", q[:, :, -1], k) / math.sqrt(D)
    return s.mean(1)[:, 1:-1].sigmoid().view(B, n, n)
""",
    ),
    Wrong(
        exercise="block_map",
        misconception="a softmax takes the place of the sigmoid",
        code="""
import torch


def block_map(q, k):
    b, heads, tokens, d = q.shape
    n = int((tokens - 2) ** 0.5 + 0.5)
    sim = (q[:, :, -1, None, :] * k).sum(-1) / d**0.5
    sim = sim.mean(dim=1)
    m = torch.softmax(sim, dim=-1)
    return m[:, 1:-1].reshape(b, n, n)
""",
    ),
    Wrong(
        exercise="closed_patch",
        misconception="the closed gate is thought to work before the softmax, too",
        code="""
closed_patch = (0, 0, 2 / 8, 2 / 4)
""",
    ),
    Wrong(
        exercise="closed_patch",
        misconception="the row is renormalised after the gate",
        code="""
closed_patch = (0.0, 0.2, 0.5, 0.4)
""",
    ),
    Wrong(
        exercise="closed_patch",
        misconception="the others are thought to stay as they were before the softmax",
        code="""
closed_patch = (0, 1 / 5, 1 / 4, 1 / 4)
""",
    ),
    Wrong(
        exercise="why_after_softmax",
        misconception="negative logits are overlooked",
        code="""
why_after_softmax = "A"
""",
    ),
    Wrong(
        exercise="why_after_softmax",
        misconception="the gate before the softmax is thought not to fuse",
        code="""
why_after_softmax = "ACF"
""",
    ),
    Wrong(
        exercise="why_after_softmax",
        misconception="rows are thought to sum to 1 after the gate",
        code="""
why_after_softmax = "ABC"
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the matrix is written down",
        code="""
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    d = q.shape[-1]
    att = (q @ k.transpose(-2, -1) / d**0.5).softmax(dim=-1)
    att = att * gate[:, None, None, :]
    return att @ v
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the rows are renormalised",
        code="""
import torch
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    bias = torch.log(gate.clamp(min=1e-12))
    bias = bias.unsqueeze(1).unsqueeze(1)
    return scaled_dot_product_attention(q, k, v, attn_mask=bias)
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the gate is on the output",
        code="""
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    out = scaled_dot_product_attention(q, k, v)
    return out * gate[:, None, :, None]
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the axes of the gate do not fit those of the values",
        code="""
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    return scaled_dot_product_attention(q, k, v * gate)
""",
    ),
    Wrong(
        exercise="fused_sqa",
        misconception="the axes of the gate do not fit those of the values",
        code="""
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    v = v * gate.unsqueeze(-1)
    return scaled_dot_product_attention(q, k, v)
""",
    ),
    Wrong(
        exercise="closed_patch",
        misconception="the sum before the softmax is thought to stay 8",
        code="""
closed_patch = (0, 1 / 8, 2 / 8, 2 / 8)
""",
    ),
    Wrong(
        exercise="closed_patch",
        misconception="the gate is thought to do the same before the softmax as after it",
        code="""
closed_patch = (0, 0, 1 / 4, 1 / 4)
""",
    ),
]
