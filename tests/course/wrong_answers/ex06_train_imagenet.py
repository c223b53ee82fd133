"""Wrong answers to the exercises of lesson 06."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="attention_macs",
        misconception="the heads are counted twice",
        code="""
def attention_macs(tokens, width, heads):
    proj = 4 * tokens * width**2
    products = 2 * heads * tokens**2 * width
    return proj + products, tokens * width
""",
    ),
    Wrong(
        exercise="attention_macs",
        misconception="a projection is missing",
        code="""
def attention_macs(tokens, width, heads):
    T, D = tokens, width
    qkv = T * D * 3 * D
    qk = T * T * D
    av = T * T * D
    sqa = T * D
    return qkv + qk + av, sqa
""",
    ),
    Wrong(
        exercise="attention_macs",
        misconception="SQA is taken for a second attention",
        code="""
def attention_macs(tokens, width, heads):
    d = width // heads
    macs = 0
    for _ in range(4):
        macs += tokens * width * width
    for _ in range(heads):
        macs += 2 * tokens * tokens * d
    return macs, tokens * tokens * width
""",
    ),
    Wrong(
        exercise="training_plan",
        misconception="an epoch's rest is carried into the next",
        code="""
import math


def training_plan(images, epochs, own, processes, base_lr, base_batch):
    batch = own * processes
    steps = math.ceil(images * epochs / batch)
    return steps, base_lr * batch / base_batch
""",
    ),
    Wrong(
        exercise="training_plan",
        misconception="only one process is counted",
        code="""
import math


def training_plan(images, epochs, own, processes, base_lr, base_batch):
    per_epoch = math.ceil(images / own)
    lr = base_lr * own / base_batch
    return per_epoch * epochs, lr
""",
    ),
    Wrong(
        exercise="training_plan",
        misconception="the last, smaller batch is left out",
        code="""
import math


def training_plan(images, epochs, own, processes, base_lr, base_batch):
    total = own * processes
    return epochs * (images // total), base_lr * (total / base_batch)
""",
    ),
    Wrong(
        exercise="shared_area_loss",
        misconception="processes count alike, however few images they have",
        code="""
import torch


def shared_area_loss(parts, target):
    areas = torch.stack([p.mean() for p in parts])
    return (areas.mean() - target).abs()
""",
    ),
    Wrong(
        exercise="shared_area_loss",
        misconception="the gradient is lost on the way",
        code="""
import torch


def shared_area_loss(parts, target):
    total, count = 0.0, 0
    for part in parts:
        total = total + part.detach().sum()
        count += part.numel()
    return torch.abs(total / count - target)
""",
    ),
    Wrong(
        exercise="shared_area_loss",
        misconception="every process has its own area",
        code="""
import torch


def shared_area_loss(parts, target):
    n = sum(len(p) for p in parts)
    loss = 0
    for p in parts:
        loss = loss + len(p) / n * (p.mean() - target).abs()
    return loss
""",
    ),
    Wrong(
        exercise="gradient_factor",
        misconception="the gradient is believed to be right",
        code="""
gradient_factor = 1
""",
    ),
    Wrong(
        exercise="gradient_factor",
        misconception="the number of processes is counted twice",
        code="""
gradient_factor = 1 / 16
""",
    ),
    Wrong(
        exercise="gradient_factor",
        misconception="the gradients are believed to be added up",
        code="""
gradient_factor = 4
""",
    ),
]
