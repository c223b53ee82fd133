"""Exercises on the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from satkit.course.answers import chooses, gradient, leaves_out, letters
from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial
from satkit.course.toy import cls_loss, descend, draw_evidence
from satkit.losses import area_loss, smoothing_kernel
from satkit.losses import batch_area_loss as reference_batch_area


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


# --------------------------------------------------------------------------------------------------
# batch_area_loss
# --------------------------------------------------------------------------------------------------


def _batch_area(maps: Tensor, target: float) -> Tensor:
    return (maps.mean() - target).abs()


def _image_area(maps: Tensor, target: float) -> Tensor:
    return (maps.mean(dim=(1, 2)) - target).abs().mean()


def _image_area_summed(maps: Tensor, target: float) -> Tensor:
    return _image_area(maps, target) * len(maps)


def _pixel_area(maps: Tensor, target: float) -> Tensor:
    return (maps - target).abs().mean()


def _pixel_area_summed(maps: Tensor, target: float) -> Tensor:
    return _pixel_area(maps, target) * maps.numel()


def _squared_area(maps: Tensor, target: float) -> Tensor:
    return (maps.mean() - target).square()


def _signed_area(maps: Tensor, target: float) -> Tensor:
    return maps.mean() - target


def _signed_area_reversed(maps: Tensor, target: float) -> Tensor:
    return target - maps.mean()


def _printed_area(maps: Tensor, target: float) -> Tensor:
    return (torch.full_like(maps, target) - maps / maps.numel()).sum().abs()


def _summed_distances(maps: Tensor, target: float) -> Tensor:
    return (maps - target).sum().abs()


def _thresholded_area(maps: Tensor, target: float) -> Tensor:
    return ((maps > 0.5).float().mean() - target).abs()


def _counts_patches(trials: list[Trial]) -> bool:
    """Symptom: no gradient, and λ is off by whole patches, whichever the threshold."""
    for trial in trials:
        maps, target = trial.arguments
        off = abs(float(torch.as_tensor(trial.given["loss"]).detach()))
        counts = [(target + sign * off) * maps.numel() for sign in (-1, 1)]
        whole = any(abs(count - round(count)) < 1e-3 for count in counts)
        if trial.given["gradient"] is not None or off == 0 or not whole:
            return False
    return True


def _detached_area(maps: Tensor, target: float) -> Tensor:
    return torch.tensor(abs(float(maps.detach().mean()) - target))


def _loss_and_gradient(answer: Any, maps: Tensor, target: float) -> dict[str, Any] | None:
    """Loss of an answer, and its gradient with respect to the maps; None where it has none."""
    leaf = maps.clone().requires_grad_()
    loss = answer(leaf, target)
    if loss is None:
        return None
    return {"loss": loss, "gradient": gradient(loss, leaf)}


def _maps_and_target(rng: np.random.Generator) -> Iterator[Arguments]:
    for target in (0.25, 0.35, 0.6):
        generator = _generator(rng)
        maps = torch.rand(4, 5, 5, generator=generator)
        yield maps * torch.tensor([0.2, 0.5, 1.0, 1.0])[:, None, None], target


# --------------------------------------------------------------------------------------------------
# area_pushes
# --------------------------------------------------------------------------------------------------


def _pushes(answer: Any) -> dict[str, list[int]]:
    """Directions that an answer gives to the large and the small map, by loss."""
    try:
        given = {loss: [int(one) for one in answer[loss]] for loss in ("batch", "image")}
        fits = len(answer) == 2 and all(
            len(signs) == 2 and signs == list(answer[loss]) and set(signs) <= {-1, 0, 1}
            for loss, signs in given.items()
        )
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        fits = False
    if not fits:
        raise CheckFailed(
            f"area_pushes is {answer!r}; "
            'expected {"batch": (large, small), "image": (large, small)}, each 1, −1 or 0'
        )
    return given


# --------------------------------------------------------------------------------------------------
# normalization_loss
# --------------------------------------------------------------------------------------------------


def _smooth(maps: Tensor, kernel: Tensor, mode: str = "constant") -> Tensor:
    return conv2d(pad(maps[:, None], (1, 1, 1, 1), mode=mode), kernel[None, None])[:, 0]


def _spread(maps: Tensor) -> Tensor:
    return (maps * (1 - maps)).mean()


def _norm_loss(maps: Tensor, kernel: Tensor) -> Tensor:
    return _spread(_smooth(maps, kernel))


def _norm_without_filter(maps: Tensor, kernel: Tensor) -> Tensor:
    return _spread(maps)


def _norm_filtered_after(maps: Tensor, kernel: Tensor) -> Tensor:
    return _smooth(maps * (1 - maps), kernel).mean()


def _norm_half_filtered(maps: Tensor, kernel: Tensor) -> Tensor:
    return (maps * (1 - _smooth(maps, kernel))).mean()


def _norm_other_half_filtered(maps: Tensor, kernel: Tensor) -> Tensor:
    return (_smooth(maps, kernel) * (1 - maps)).mean()


def _norm_replicated(maps: Tensor, kernel: Tensor) -> Tensor:
    return _spread(_smooth(maps, kernel, "replicate"))


def _norm_reflected(maps: Tensor, kernel: Tensor) -> Tensor:
    return _spread(_smooth(maps, kernel, "reflect"))


def _norm_unpadded(maps: Tensor, kernel: Tensor) -> Tensor:
    return _spread(conv2d(maps[:, None], kernel[None, None])[:, 0])


def _norm_summed(maps: Tensor, kernel: Tensor) -> Tensor:
    return _norm_loss(maps, kernel) * maps.numel()


def _norm_of_image(maps: Tensor, kernel: Tensor) -> Tensor:
    return _norm_loss(maps, kernel) * len(maps)


def _maps_and_kernel(rng: np.random.Generator) -> Iterator[Arguments]:
    for kind in ("official", "gaussian"):
        yield torch.rand(3, 5, 5, generator=_generator(rng)), smoothing_kernel(kind)


# --------------------------------------------------------------------------------------------------
# collapsing_loss
# --------------------------------------------------------------------------------------------------

END, CLASS = "the maps end", "the evidence asks for"
OPENED, CLOSED, NOTHING = "an open object", "a closed object", "nothing"
MEANS = ("mean on the object", "mean on the background")
DARK, OPEN = 0.05, 0.4  # mean of dark maps, and of open ones
FAINT = 0.2  # times the evidence leaves the class uncertain, so its loss pushes hard


def _collapsing(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence) + area_loss(maps)


def _held(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence) + reference_batch_area(maps, target)


def _object_spared(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence) + (maps * (1 - evidence)).mean()


def _background_spared(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence) + (maps * evidence).mean()


def _squares(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence) + maps.square().mean()


def _class_alone(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return cls_loss(maps, evidence)


def _area_alone(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return area_loss(maps)


def _class_reversed(maps: Tensor, evidence: Tensor, target: float) -> Tensor:
    return area_loss(maps) - cls_loss(maps, evidence)


def _slope(answer: Any, level: float, evidence: Tensor, target: float) -> Tensor | None:
    """Gradient of an answer's loss at maps of one value; None where it gives no loss."""
    maps = torch.full_like(evidence, level).requires_grad_()
    loss = answer(maps, evidence, target)
    if loss is None:
        return None
    slope = gradient(loss, maps)
    if slope is None:
        raise CheckFailed(
            "collapsing_loss has no gradient with respect to the maps, so nothing moves; "
            "compute it from `maps` with PyTorch alone, without float() or .item()"
        )
    return slope


def _outcome(answer: Any, evidence: Tensor, target: float) -> dict[str, Any] | None:
    """How maps end under a loss, and what the evidence asks for in it."""
    slope = _slope(answer, 0.5, FAINT * evidence, target)
    below = _slope(answer, target / 2, evidence, target)
    if slope is None or below is None:
        return None
    turns = bool(below[evidence == 0].mean() < 0)
    maps = descend(answer, evidence, target)
    on_object, on_background = (float(maps[evidence == kind].mean()) for kind in (1, 0))
    end = _end(float(maps.mean()), on_object, on_background, turns)
    return {END: end, CLASS: _asks(slope, evidence), MEANS[0]: on_object, MEANS[1]: on_background}


def _asks(slope: Tensor, evidence: Tensor) -> str:
    """What the evidence asks for, from the gradient at even maps with faint evidence."""
    pull = float(slope[evidence == 0].mean() - slope[evidence == 1].mean()) * slope.numel()
    if abs(pull) < 1e-3:
        return NOTHING
    return OPENED if pull > 0 else CLOSED


def _end(area: float, on_object: float, on_background: float, turns: bool) -> str:
    """How maps end, in words; `turns` says whether the loss opens maps of a small area."""
    if area < DARK:
        return "dark"
    if min(on_object, on_background) > OPEN:
        return "open"
    if turns:
        return "held at a target"
    if on_object > OPEN:
        return "open on the object"
    return "open on the background" if on_background > OPEN else "half dark"


def _both_means(trial: Trial) -> str:
    on_object, on_background = (trial.given[key] for key in MEANS)
    return (
        f"The maps end at {on_object:.2f} on the object and {on_background:.2f} on the background."
    )


def _ends(end: str) -> Callable[[list[Trial]], bool]:
    """Symptom: the maps end so."""
    return lambda trials: all(trial.given[END] == end for trial in trials)


def _evidence_and_target(rng: np.random.Generator) -> Iterator[Arguments]:
    evidence = draw_evidence(int(rng.integers(2**31)))
    yield evidence, float(evidence.mean())


TRUE = "ACE"  # of the statements in the notebook

EXERCISES = (
    Exercise(
        name="batch_area_loss",
        title="The batch area loss, and its gradient",
        difficulty=1,
        importance=3,
        minutes=15,
        points=3,
        reference=_batch_area,
        idea="Take the mean over the whole batch first, then the distance from λ.",
        misconceptions=(
            Misconception(
                "the area is counted above a threshold",
                "A comparison has no gradient. The soft area, the mean of the values, can be "
                "pushed.",
                _thresholded_area,
                _counts_patches,
            ),
            Misconception(
                "the loss has no gradient",
                "float(), .item(), .numpy() and torch.tensor() cut the loss off from the maps, so "
                "nothing is learned and no error says so. Stay within PyTorch's operations.",
                _detached_area,
                lambda trials: all(trial.given["gradient"] is None for trial in trials),
            ),
            Misconception(
                "each image is held to λ",
                "The mean runs over the *batch*: one bird may be large and another small, as long "
                "as they are λ on average. Take the distance after the mean over all images.",
                _image_area,
                also=(_image_area_summed,),
            ),
            Misconception(
                "each patch is held to λ",
                "That asks for a map that is λ everywhere, the most undecided one. Take the mean "
                "of all patches first, then its distance from λ.",
                _pixel_area,
                also=(_pixel_area_summed,),
            ),
            Misconception(
                "the distance is squared",
                "Eq. 7 takes the absolute value, so the push is as strong near λ as far from it. "
                "A square would fade just where the maps compete for the last bit of area.",
                _squared_area,
            ),
            Misconception(
                "the distance has a sign",
                "Without the absolute value, smaller is always better (or larger, with the other "
                "sign), and the area leaves λ for 0 or 1. The push has to turn round at λ.",
                _signed_area,
                also=(_signed_area_reversed,),
            ),
            Misconception(
                "λ stands inside the sum",
                "So Eq. 7 is printed, but then λ counts once for each patch. The authors' code "
                "takes the mean of the maps first and subtracts λ once.",
                _printed_area,
                also=(_summed_distances,),
            ),
        ),
        cases=_maps_and_target,
        afterword="The gradient of each patch is 1 / (B h w) above λ and −1 / (B h w) below it: "
        "it does not depend on the patch.",
        run=_loss_and_gradient,
    ),
    Exercise(
        name="area_pushes",
        title="Batch or image: who is pushed where?",
        difficulty=2,
        importance=3,
        minutes=10,
        points=3,
        reference={"batch": (-1, -1), "image": (-1, 1)},
        idea="Compare with λ what each loss compares with λ: one mean of all, or each map's own. "
        "Descent goes against the gradient.",
        misconceptions=(
            Misconception(
                "the batch loss is thought to see single images",
                "It knows only the mean of the batch, 0.35, which is above λ. So all patches of "
                "both maps get the same push down, that of the small bird, too.",
                {"batch": (-1, 1), "image": (-1, 1)},
                also=({"batch": (-1, 0), "image": (-1, 1)},),
            ),
            Misconception(
                "the loss per image is thought to see the batch",
                "Image by image each map is compared with λ by itself: 0.2 is below 0.25, so the "
                "small bird's map is pushed up, until it covers background.",
                {"batch": (-1, -1), "image": (-1, -1)},
            ),
            Misconception(
                "the gradient is given, not the push",
                "Descent goes *against* the gradient: where the area is too large, the gradient is "
                "positive and the map is pushed down.",
                {"batch": (1, 1), "image": (1, -1)},
            ),
            Misconception(
                "batch and image are exchanged",
                "`batch` compares one mean of all maps with λ; `image` compares each map's own.",
                {"batch": (-1, 1), "image": (-1, -1)},
            ),
            Misconception(
                "a batch near λ is thought to leave its maps alone",
                "The absolute value pushes as hard near λ as far from it; only at λ itself it "
                "rests. The mean is 0.35 here, and λ is 0.25.",
                {"batch": (0, 0), "image": (-1, 1)},
            ),
        ),
        run=_pushes,
    ),
    Exercise(
        name="normalization_loss",
        title="The normalization loss, with its filter",
        difficulty=2,
        importance=2,
        minutes=15,
        points=3,
        reference=_norm_loss,
        idea="Filter the maps first, with zeros around them; then take the mean of M*(1 − M*).",
        misconceptions=(
            Misconception(
                "the filter is left out",
                "Eq. 8 is about M*, the *smoothed* map. Without the filter each patch decides "
                "alone, by its noise.",
                _norm_without_filter,
            ),
            Misconception(
                "the filter comes after the product",
                "The order matters: the product is not linear. Smooth the map first; then a patch "
                "is drawn to the side of its neighbours.",
                _norm_filtered_after,
            ),
            Misconception(
                "only one factor is smoothed",
                "M* is the smoothed map in both factors: M*(1 − M*).",
                _norm_half_filtered,
                also=(_norm_other_half_filtered,),
            ),
            Misconception(
                "the border is repeated",
                "The authors' filter puts zeros around the map, so a border patch is a little "
                "darker. With repeated or reflected borders the loss is another number.",
                _norm_replicated,
                also=(_norm_reflected,),
            ),
            Misconception(
                "the border is cut off",
                "Without padding, a 3 × 3 filter makes a map two patches smaller, and patches at "
                "the border hardly count. Pad with one zero at each side.",
                _norm_unpadded,
            ),
            Misconception(
                "patches are added up, not averaged",
                "A sum would weigh more for larger maps and batches, and there are no weights that "
                "balance the terms. Take the mean over all patches of all images.",
                _norm_summed,
            ),
            Misconception(
                "images are added up, not averaged",
                "A sum over the images would weigh more for larger batches. Take the mean over "
                "all patches of all images.",
                _norm_of_image,
            ),
        ),
        cases=_maps_and_kernel,
    ),
    Exercise(
        name="collapsing_loss",
        title="Make the area collapse",
        difficulty=2,
        importance=2,
        minutes=10,
        points=3,
        reference=_collapsing,
        idea="Add an area term to cls_loss that never stops to push down, at full weight.",
        misconceptions=(
            Misconception(
                "the class has no say",
                "An area term alone darkens everything, which is no surprise. Keep cls_loss in the "
                "sum: the maps should collapse although the class is asked for.",
                _area_alone,
                lambda trials: all(trial.given[CLASS] == NOTHING for trial in trials),
            ),
            Misconception(
                "the class is pushed away",
                "Your loss is smaller where the class is named worse, so the class helps to close "
                "the object. Add cls_loss with a plus: the maps should collapse against it.",
                _class_reversed,
                lambda trials: all(trial.given[CLASS] == CLOSED for trial in trials),
            ),
            Misconception(
                "nothing asks for a dark background, or too weakly",
                "That is as open as they began, or more. The class loss only ever adds; the "
                "area has to be pushed down. If your loss does that, try a larger weight.",
                _class_alone,
                _ends("open"),
                seen=_both_means,
            ),
            Misconception(
                "a target holds the maps",
                "Your loss turns round at a target: below it, it opens the maps again. Which area "
                "term of the lesson knows no target?",
                _held,
                _ends("held at a target"),
                seen=_both_means,
            ),
            Misconception(
                "the object stays open",
                "There the class pushes up harder than your area term pushes down. The term has to "
                "act on all patches, and `cls_loss` has to keep its skip connection (skip=1): "
                "without it the class needs the map.",
                _object_spared,
                _ends("open on the object"),
                seen=_both_means,
            ),
            Misconception(
                "the background stays open",
                "Your loss pushes the object down, and little else. The area term has to act on "
                "all patches.",
                _background_spared,
                _ends("open on the background"),
                seen=_both_means,
            ),
            Misconception(
                "the maps fall too slowly",
                "Your loss pushes them down everywhere, but too weakly for 100 steps: its weight "
                "is small, or its push fades near 0, as that of a square does. Take a push that is "
                "as strong at every area, at full weight.",
                _squares,
                _ends("half dark"),
                seen=_both_means,
            ),
        ),
        cases=_evidence_and_target,
        run=_outcome,
        noted=MEANS,
    ),
    Exercise(
        name="why_it_collapses",
        title="Explain the collapse",
        difficulty=2,
        importance=3,
        minutes=15,
        points=3,
        reference=TRUE,
        idea="Compare the gradients of the terms, at the beginning and when the class is certain.",
        misconceptions=(
            chooses(
                "B",
                TRUE,
                "the values of the losses are compared",
                "Descent follows gradients, not values: adding 100 to a loss changes nothing. Ask "
                "which term still pushes, not which one is larger.",
            ),
            chooses(
                "D",
                TRUE,
                "the class is thought to like small maps",
                "Evidence only adds to the score here, so the class loss never pushes a patch of "
                "the object down. It just stops pushing up.",
            ),
            chooses(
                "F",
                TRUE,
                "the area loss is thought to spare the object",
                "The area loss pushes every patch down with the same strength. What it lacks is "
                "not a direction, but a size at which to stop.",
            ),
            leaves_out(
                "A",
                TRUE,
                "that the area loss never stops is overlooked",
                "Its gradient is 1 / (B·h·w) for each patch at every area, on the object and "
                "beside it: nothing in it says when the map is small enough.",
            ),
            leaves_out(
                "C",
                TRUE,
                "the skip connection is overlooked",
                "With it, evidence reaches the classifier around the map. So the class is named "
                "even with the map at 0, the loss is content, and its gradient fades.",
            ),
            leaves_out(
                "E",
                TRUE,
                "that both area losses push alike above λ is overlooked",
                "Above λ the batch area loss has the very same gradient. It holds the map only "
                "because it turns round below λ.",
            ),
        ),
        run=letters,
    ),
)
