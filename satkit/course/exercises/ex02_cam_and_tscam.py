"""Exercises on class activation maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from satkit.course.checks import Arguments, Exercise, Misconception

EPSILON = 1e-5


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


# --------------------------------------------------------------------------------------------------
# class_map
# --------------------------------------------------------------------------------------------------


def _class_map(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return torch.einsum("bd,bdij->bij", weights[labels], features)


def _class_map_first(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return torch.einsum("d,bdij->bij", weights[labels[0]], features)


def _class_map_predicted(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return _class_map(features, weights, (features.mean(dim=(2, 3)) @ weights.T).argmax(dim=1))


def _class_map_unweighted(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return features.mean(dim=1)


def _class_map_shares(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return _class_map(features, weights, labels) / features[0, 0].numel()


def _class_map_all_labels(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return torch.einsum("cd,bdij->bcij", weights, features)[:, labels]


def _class_map_mean(features: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    return _class_map(features, weights, labels) / features.shape[1]


def _features(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(3):
        generator = _generator(rng)
        labels = torch.randperm(6, generator=generator)[:4]  # no two alike
        yield (
            torch.randn(4, 5, 3, 3, generator=generator),
            torch.randn(6, 5, generator=generator),
            labels,
        )


# --------------------------------------------------------------------------------------------------
# scale_maps
# --------------------------------------------------------------------------------------------------


def _scale_maps(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low + EPSILON)


def _scale_batch(maps: Tensor) -> Tensor:
    return (maps - maps.min()) / (maps.max() - maps.min() + EPSILON)


def _scale_by_maximum(maps: Tensor) -> Tensor:
    return maps / (maps.amax(dim=(1, 2), keepdim=True) + EPSILON)


def _scale_by_bare_maximum(maps: Tensor) -> Tensor:
    return maps / maps.amax(dim=(1, 2), keepdim=True)


def _scale_without_epsilon(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def _scale_forgotten_shift(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return maps / (high - low + EPSILON)


def _scale_shifted_by_maximum(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high + EPSILON)


def _scale_shifted_without_epsilon(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / high


def _scale_without_axes(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    return (maps - low) / (high - low + EPSILON)


def _scale_without_brackets(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return maps - low / (high - low + EPSILON)


def _scale_with_floor(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=EPSILON)


def _scale_by_sigmoid(maps: Tensor) -> Tensor:
    return maps.sigmoid()


def _raw_maps(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(3):
        generator = _generator(rng)
        maps = torch.randn(4, 6, 6, generator=generator)
        maps = maps * torch.tensor([0.1, 1.0, 5.0, 1.0])[:, None, None]
        maps = maps + torch.tensor([0.0, 3.0, -1.0, 0.5])[:, None, None]
        maps[3] = 0.5  # nothing in sight: the same value everywhere
        yield (maps,)


# --------------------------------------------------------------------------------------------------
# tscam_map
# --------------------------------------------------------------------------------------------------


def _tscam_map(attention: Tensor, class_map: Tensor) -> Tensor:
    row = attention.mean(dim=1).sum(dim=0)[0, 1:]  # [h·w]
    return row.view_as(class_map) * class_map


def _tscam_column(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.mean(dim=1).sum(dim=0)[1:, 0].view_as(class_map) * class_map


def _tscam_last_block(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.mean(dim=1)[-1, 0, 1:].view_as(class_map) * class_map


def _tscam_rollout(attention: Tensor, class_map: Tensor) -> Tensor:
    product = torch.linalg.multi_dot(list(attention.mean(dim=1).flip(0)))
    return product[0, 1:].view_as(class_map) * class_map


def _tscam_sum(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.mean(dim=1).sum(dim=0)[0, 1:].view_as(class_map) + class_map


def _tscam_crop_end(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.mean(dim=1).sum(dim=0)[0, :-1].view_as(class_map) * class_map


def _tscam_mean_of_blocks(attention: Tensor, class_map: Tensor) -> Tensor:
    return _tscam_map(attention, class_map) / len(attention)


def _tscam_sum_of_heads(attention: Tensor, class_map: Tensor) -> Tensor:
    return _tscam_map(attention, class_map) * attention.shape[1]


def _tscam_largest_head(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.amax(dim=1).sum(dim=0)[0, 1:].view_as(class_map) * class_map


def _tscam_attention_only(attention: Tensor, class_map: Tensor) -> Tensor:
    return attention.mean(dim=1).sum(dim=0)[0, 1:].view_as(class_map)


def _attentions(rng: np.random.Generator) -> Iterator[Arguments]:
    for side in (3, 4):
        generator, tokens = _generator(rng), side * side + 1
        logits = 2 * torch.randn(4, 3, tokens, tokens, generator=generator)
        yield logits.softmax(dim=-1), torch.randn(side, side, generator=generator)


EXERCISES = (
    Exercise(
        name="class_map",
        title="The map of the right class",
        difficulty=1,
        importance=3,
        minutes=10,
        points=2,
        reference=_class_map,
        idea="Each image has its own class: weigh its channels with that class's weights and add "
        "them up, patch by patch.",
        misconceptions=(
            Misconception(
                "the first image's class is used for all",
                "Every image has a class of its own. Index the weights with all labels at once: "
                "one row of weights for each image.",
                _class_map_first,
            ),
            Misconception(
                "the predicted class is drawn",
                "The class is given (GT-known). A wrong guess of the classifier must not change "
                "the map here; the argmax is what one takes where no label is known.",
                _class_map_predicted,
            ),
            Misconception(
                "the channels are not weighted",
                "The mean of the channels is the same for every class. It is the class's weights "
                "that make it a *class* activation map.",
                _class_map_unweighted,
            ),
            Misconception(
                "negative evidence is cut off",
                "The ReLU belongs to Grad-CAM. CAM keeps negative values, patches that speak "
                "against the class: only with them is the map's mean the class score.",
                lambda features, weights, labels: _class_map(features, weights, labels).relu(),
            ),
            Misconception(
                "the map is divided by the number of patches",
                "The score is the *mean* of the map, so the division comes when you average. "
                "The map itself is the weighted sum of the channels.",
                _class_map_shares,
            ),
            Misconception(
                "every label is taken for every image",
                "`[:, labels]` picks all B labels for each of the B images: [B, B, h, w]. Take the "
                "weights of the labels first: one row for each image.",
                _class_map_all_labels,
            ),
            Misconception(
                "the channels are averaged",
                "The map is the weighted *sum* over the channels. With their mean, the map's mean "
                "is no longer the class score.",
                _class_map_mean,
            ),
        ),
        cases=_features,
    ),
    Exercise(
        name="scale_maps",
        title="Scale each map by itself",
        difficulty=1,
        importance=3,
        minutes=10,
        points=2,
        reference=_scale_maps,
        idea="Smallest and largest value are those of one map: [B, h, w] has B of each.",
        misconceptions=(
            Misconception(
                "one scale serves the whole batch",
                "Then a map depends on which images happen to be beside it, and a faint one stays "
                "below every threshold. Take minimum and maximum of each map by itself.",
                _scale_batch,
            ),
            Misconception(
                "one number a map does not line up with the maps",
                "The minima are [B] and the maps [B, h, w], and axes are matched from the last: B "
                "meets w. Keep the axes (keepdim=True), so that there are [B, 1, 1] of each.",
                _scale_without_axes,
            ),
            Misconception(
                "a map that is constant becomes NaN",
                "Where max and min are equal, the range is 0 and 0 / 0 is NaN, which silently "
                "spoils all that follows. Add 1e-5 to the range, as the formula says.",
                _scale_without_epsilon,
            ),
            Misconception(
                "only the maximum is scaled",
                "Divided by its maximum alone, a map does not begin at 0, and a threshold means "
                "something else in each image. Subtract the minimum first.",
                _scale_by_maximum,
                also=(_scale_by_bare_maximum,),
            ),
            Misconception(
                "the minimum is not subtracted",
                "The range is right, but the values still begin at min / range. Subtract the "
                "minimum before you divide.",
                _scale_forgotten_shift,
            ),
            Misconception(
                "the range is not max − min",
                "After the minimum is taken away, the largest value is max − min, not max: divide "
                "by max − min + 1e-5.",
                _scale_shifted_by_maximum,
                also=(_scale_shifted_without_epsilon,),
            ),
            Misconception(
                "the brackets around maps − min are missing",
                "`maps - low / range` divides only the minimum, since / comes before −: write "
                "`(maps - low) / range`.",
                _scale_without_brackets,
            ),
            Misconception(
                "the 1e-5 is taken for the smallest range",
                "A floor acts only where the range is below it. The formula adds 1e-5 to *every* "
                "range: max − min + 1e-5. It is a small difference, but results should be equal.",
                _scale_with_floor,
            ),
            Misconception(
                "a sigmoid takes the place of the scaling",
                "A sigmoid gives values between 0 and 1, but no map reaches 0 or 1, and the same "
                "threshold means something else in each. Scale by the map's own range.",
                _scale_by_sigmoid,
            ),
        ),
        cases=_raw_maps,
        afterword="A constant map becomes 0 everywhere, 0 / 1e-5; without the 1e-5 it would be "
        "0 / 0, which is NaN.",
    ),
    Exercise(
        name="tscam_map",
        title="Couple the attention with the class map",
        difficulty=2,
        importance=2,
        minutes=15,
        points=3,
        reference=_tscam_map,
        idea="Take what the class token looks at: its row, without itself; the mean over heads and "
        "the sum over blocks; and multiply the class map with it.",
        misconceptions=(
            Misconception(
                "rows and columns are exchanged",
                "attention[l, m, i, j] says how much token i takes from token j. What the *class "
                "token* looks at is its row, i = 0; the column says who looks at it.",
                _tscam_column,
            ),
            Misconception(
                "only the last block is used",
                "TS-CAM adds up the attention of all blocks, not that of the last alone.",
                _tscam_last_block,
            ),
            Misconception(
                "the blocks are multiplied",
                "The product of the attention matrices is attention rollout. TS-CAM adds up the "
                "class token's rows of the blocks.",
                _tscam_rollout,
            ),
            Misconception(
                "the two maps are added",
                "Coupled means multiplied: a patch has to speak for the class *and* be looked at. "
                "In a sum, either would do.",
                _tscam_sum,
            ),
            Misconception(
                "the wrong token is left out",
                "The class token comes first. Its own entry is number 0, and the patches are all "
                "that follow; leaving out the last one shifts the map by one patch.",
                _tscam_crop_end,
            ),
            Misconception(
                "the mean over the blocks is taken",
                "After min-max scaling that would draw the same box, but the formula has a sum "
                "over the blocks: the mean is taken over heads only.",
                _tscam_mean_of_blocks,
            ),
            Misconception(
                "the heads are added up",
                "After min-max scaling that would draw the same box, but the formula averages over "
                "the heads: the sum is over blocks only.",
                _tscam_sum_of_heads,
            ),
            Misconception(
                "the largest head is taken instead of the mean",
                "The formula averages over the heads. With the maximum, one head that looks "
                "somewhere is enough, and rows of attention no longer sum to 1.",
                _tscam_largest_head,
            ),
            Misconception(
                "the class map is left out",
                "The attention alone is the same for every class. The class map has to say which "
                "of the patches looked at speak for the class.",
                _tscam_attention_only,
            ),
        ),
        cases=_attentions,
    ),
)
