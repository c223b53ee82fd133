"""Wrong answers to the exercises of lesson 02."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="scale_maps",
        misconception="only the maximum is scaled",
        code="""
def scale_maps(maps):
    return torch.stack([m / m.max() for m in maps])
""",
    ),
    Wrong(
        exercise="tscam_map",
        misconception="the heads are added up",
        code="""
def tscam_map(attention, class_map):
    return attention.sum(dim=(0, 1))[0, 1:].reshape(class_map.shape) * class_map
""",
    ),
    Wrong(
        exercise="class_map",
        misconception="the first image's class is used for all",
        code="""
import torch


def class_map(features, weights, labels):
    w = weights[labels[0]]
    return torch.einsum("d,bdhw->bhw", w, features)
""",
    ),
    Wrong(
        exercise="class_map",
        misconception="the predicted class is drawn",
        code="""
import torch


def class_map(features, weights, labels):
    logits = features.mean(dim=(2, 3)) @ weights.T  # [B, C]
    best = logits.argmax(dim=1)
    return (weights[best][:, :, None, None] * features).sum(dim=1)
""",
    ),
    Wrong(
        exercise="class_map",
        misconception="negative evidence is cut off",
        code="""
import torch


def class_map(features, weights, labels):
    out = []
    for f, c in zip(features, labels):
        cam = torch.tensordot(weights[c], f, dims=1)
        out.append(torch.relu(cam))
    return torch.stack(out)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="one scale serves the whole batch",
        code="""
def scale_maps(maps):
    low, high = maps.min(), maps.max()
    return (maps - low) / (high - low + 1e-5)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="a map that is constant becomes NaN",
        code="""
def scale_maps(maps):
    flat = maps.flatten(1)
    lo = flat.min(dim=1).values[:, None, None]
    hi = flat.max(dim=1).values[:, None, None]
    return (maps - lo) / (hi - lo)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="the minimum is not subtracted",
        code="""
def scale_maps(maps):
    mn = maps.amin(dim=(1, 2), keepdim=True)
    mx = maps.amax(dim=(1, 2), keepdim=True)
    return maps / (mx - mn + 1e-5)
""",
    ),
    Wrong(
        exercise="tscam_map",
        misconception="rows and columns are exchanged",
        code="""
def tscam_map(attention, class_map):
    a = attention.mean(1).sum(0)
    cls = a[1:, 0]
    return cls.reshape(class_map.shape) * class_map
""",
    ),
    Wrong(
        exercise="tscam_map",
        misconception="only the last block is used",
        code="""
def tscam_map(attention, class_map):
    h, w = class_map.shape
    last = attention[-1].mean(dim=0)
    return last[0, 1:].reshape(h, w) * class_map
""",
    ),
    Wrong(
        exercise="tscam_map",
        misconception="the blocks are multiplied",
        code="""
def tscam_map(attention, class_map):
    mats = attention.mean(dim=1)
    rollout = mats[0]
    for m in mats[1:]:
        rollout = m @ rollout
    return rollout[0, 1:].reshape(class_map.shape) * class_map
""",
    ),
    Wrong(
        exercise="class_map",
        misconception="every label is taken for every image",
        code="""
def class_map(features, weights, labels):
    maps = (features.permute(0, 2, 3, 1) @ weights.T).permute(0, 3, 1, 2)
    return maps[:, labels]
""",
    ),
    Wrong(
        exercise="class_map",
        misconception="the channels are averaged",
        code="""
def class_map(features, weights, labels):
    return (weights[labels][:, :, None, None] * features).mean(dim=1)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="the range is not max − min",
        code="""
def scale_maps(maps):
    lo = maps.flatten(1).min(1).values[:, None, None]
    hi = maps.flatten(1).max(1).values[:, None, None]
    return (maps - lo) / (hi + 1e-5)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="one number a map does not line up with the maps",
        code="""
def scale_maps(maps):
    flat = maps.flatten(1)
    low, high = flat.min(dim=1).values, flat.max(dim=1).values
    return (maps - low) / (high - low + 1e-5)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="the brackets around maps − min are missing",
        code="""
def scale_maps(maps):
    low = maps.amin(dim=(1, 2), keepdim=True)
    high = maps.amax(dim=(1, 2), keepdim=True)
    return maps - low / (high - low + 1e-5)
""",
    ),
    Wrong(
        exercise="scale_maps",
        misconception="the 1e-5 is taken for the smallest range",
        code="""
def scale_maps(maps):
    flat = maps.flatten(1)
    low = flat.min(dim=1).values[:, None, None]
    high = flat.max(dim=1).values[:, None, None]
    return (maps - low) / (high - low).clamp(min=1e-5)
""",
    ),
    Wrong(
        exercise="tscam_map",
        misconception="the largest head is taken instead of the mean",
        code="""
def tscam_map(attention, class_map):
    strongest = attention.max(dim=1).values.sum(dim=0)
    return strongest[0, 1:].reshape(class_map.shape) * class_map
""",
    ),
]
