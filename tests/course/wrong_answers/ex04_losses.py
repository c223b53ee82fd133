"""Wrong answers to the exercises of lesson 04."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="collapsing_loss",
        misconception="the maps fall too slowly",
        code="""
def collapsing_loss(maps, evidence, target):
    return cls_loss(maps, evidence) + (maps**2).mean()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="the object stays open",
        code="""
def collapsing_loss(maps, evidence, target):
    return cls_loss(maps, evidence, skip=0.0) + maps.mean()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="the background stays open",
        code="""
def collapsing_loss(maps, evidence, target):
    return cls_loss(maps, evidence) + (maps * evidence).sum() / maps.numel()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="a target holds the maps",
        code="""
def collapsing_loss(maps, evidence, target):
    return cls_loss(maps, evidence) + 3 * (maps.mean() - target).square()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="the class is pushed away",
        code="""
def collapsing_loss(maps, evidence, target):
    return maps.mean() - cls_loss(maps, evidence)
""",
    ),
    Wrong(
        exercise="batch_area_loss",
        misconception="the loss has no gradient",
        code="""
import torch


def batch_area_loss(maps, target):
    area = maps.mean().item()
    return torch.tensor(abs(area - target), requires_grad=True)
""",
    ),
    Wrong(
        exercise="batch_area_loss",
        misconception="each image is held to λ",
        code="""
import torch


def batch_area_loss(maps, target):
    losses = [torch.abs(m.mean() - target) for m in maps]
    return sum(losses) / len(losses)
""",
    ),
    Wrong(
        exercise="batch_area_loss",
        misconception="the distance is squared",
        code="""
import torch


def batch_area_loss(maps, target):
    B, h, w = maps.shape
    return (maps.sum() / (B * h * w) - target) ** 2
""",
    ),
    Wrong(
        exercise="area_pushes",
        misconception="the gradient is given, not the push",
        code="""
area_pushes = {"batch": (1, 1), "image": (1, -1)}
""",
    ),
    Wrong(
        exercise="area_pushes",
        misconception="the batch loss is thought to see single images",
        code="""
area_pushes = {"batch": (-1, 1), "image": (-1, 1)}
""",
    ),
    Wrong(
        exercise="normalization_loss",
        misconception="the border is cut off",
        code="""
from torch.nn.functional import conv2d


def normalization_loss(maps, kernel):
    m = conv2d(maps[:, None], kernel[None, None])
    return (m * (1 - m)).mean()
""",
    ),
    Wrong(
        exercise="normalization_loss",
        misconception="the filter comes after the product",
        code="""
from torch.nn.functional import conv2d


def normalization_loss(maps, kernel):
    prod = maps * (1 - maps)
    prod = conv2d(prod.unsqueeze(1), kernel.view(1, 1, 3, 3), padding=1)
    return prod.mean()
""",
    ),
    Wrong(
        exercise="normalization_loss",
        misconception="only one factor is smoothed",
        code="""
from torch.nn.functional import conv2d


def normalization_loss(maps, kernel):
    smooth = conv2d(maps[:, None], kernel[None, None], padding=1)[:, 0]
    return (smooth * (1 - maps)).mean()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="a target holds the maps",
        code="""
def collapsing_loss(maps, evidence, target):
    l_ba = (maps.mean() - target).abs()
    return cls_loss(maps, evidence) + l_ba
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="the class has no say",
        code="""
def collapsing_loss(maps, evidence, target):
    return maps.mean()
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="nothing asks for a dark background, or too weakly",
        code="""
def collapsing_loss(maps, evidence, target):
    # the skip connection lets the maps go out by itself
    return cls_loss(maps, evidence)
""",
    ),
    Wrong(
        exercise="why_it_collapses",
        misconception="the values of the losses are compared",
        code="""
why_it_collapses = "ABCE"
""",
    ),
    Wrong(
        exercise="why_it_collapses",
        misconception="that both area losses push alike above λ is overlooked",
        code="""
why_it_collapses = "AC"
""",
    ),
    Wrong(
        exercise="why_it_collapses",
        misconception="the class is thought to like small maps",
        code="""
why_it_collapses = "ACDE"
""",
    ),
    Wrong(
        exercise="area_pushes",
        misconception="the batch loss is thought to see single images",
        code="""
area_pushes = {"batch": (-1, 0), "image": (-1, 1)}
""",
    ),
    Wrong(
        exercise="collapsing_loss",
        misconception="the object stays open",
        code="""
def collapsing_loss(maps, evidence, target):
    return cls_loss(maps, evidence) + (maps * (1 - evidence)).mean()
""",
    ),
]
