"""Exercises on training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# decayed: names of the parameters that weight decay acts on
# --------------------------------------------------------------------------------------------------

Parameter = tuple[str, tuple[int, ...], bool]  # name, shape, trainable


def _decayed(parameters: list[Parameter]) -> set[str]:
    return {
        name
        for name, shape, trainable in parameters
        if trainable and len(shape) > 1 and not name.endswith(".bias")
    }


def _decayed_all(parameters: list[Parameter]) -> set[str]:
    return {name for name, _, trainable in parameters if trainable}


def _decayed_frozen(parameters: list[Parameter]) -> set[str]:
    return _decayed([(name, shape, True) for name, shape, _ in parameters])


def _decayed_but_tokens(parameters: list[Parameter]) -> set[str]:
    return {name for name in _decayed(parameters) if "token" not in name and "embed" not in name}


def _decayed_norms(parameters: list[Parameter]) -> set[str]:
    return {name for name in _decayed_all(parameters) if not name.endswith(".bias")}


def _decayed_matrices(parameters: list[Parameter]) -> set[str]:
    return {name for name, shape, trainable in parameters if trainable and len(shape) > 1}


def _decayed_by_name(parameters: list[Parameter]) -> set[str]:
    return {name for name in _decayed_all(parameters) if name.endswith(".weight")}


def _decayed_without_bias_in_name(parameters: list[Parameter]) -> set[str]:
    return {name for name in _decayed(parameters) if "bias" not in name}


def _not_decayed(parameters: list[Parameter]) -> set[str]:
    return _decayed_all(parameters) - _decayed(parameters)


def _names(answer: Any, parameters: list[Parameter]) -> set[str] | None:
    """Names that an answer returns, in any container."""
    given = answer(parameters)
    if given is None:
        return None
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise CheckFailed(f"decayed gives {given!r}; expected a set of names of parameters")
    return set(given)


def _networks(rng: np.random.Generator) -> Iterator[Arguments]:
    for width in rng.choice([8, 16, 32, 64], 3, replace=False):
        d = int(width)
        yield (
            [
                ("cls_token", (1, 1, d), True),
                ("loc_token", (1, 1, d), True),
                ("pos_embed", (1, 10, d), True),
                ("patch_embed.proj.weight", (d, 3, 8, 8), False),
                ("patch_embed.proj.bias", (d,), False),
                ("blocks.0.norm1.weight", (d,), True),
                ("blocks.0.norm1.bias", (d,), True),
                ("blocks.0.ls1.gamma", (d,), True),
                ("blocks.0.attn.qkv.weight", (3 * d, d), True),
                ("blocks.0.attn.qkv.bias", (3 * d,), True),
                ("blocks.0.attn.position.bias", (4, 49), True),
                ("blocks.0.attn.bias_mlp.weight", (4, d), True),
                ("head.weight", (20, d, 3, 3), True),
                ("head.bias", (20,), True),
            ],
        )


# --------------------------------------------------------------------------------------------------
# cosine_lr
# --------------------------------------------------------------------------------------------------


def _cosine_lr(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * step / steps)) / 2


def _cosine_on_top(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + lr * (1 + math.cos(math.pi * step / steps)) / 2


def _cosine_to_zero(step: int, steps: int, lr: float, min_lr: float) -> float:
    return lr * (1 + math.cos(math.pi * step / steps)) / 2


def _cosine_clipped(step: int, steps: int, lr: float, min_lr: float) -> float:
    return max(min_lr, _cosine_to_zero(step, steps, lr, min_lr))


def _cosine_whole_wave(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * (1 + math.cos(2 * math.pi * step / steps)) / 2


def _cosine_quarter(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * math.cos(math.pi / 2 * step / steps)


def _cosine_rising(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * (1 - math.cos(math.pi * step / steps)) / 2


def _linear(step: int, steps: int, lr: float, min_lr: float) -> float:
    return lr + (min_lr - lr) * step / steps


def _cosine_degrees(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * (1 + math.cos(180 * step / steps)) / 2


def _cosine_without_pi(step: int, steps: int, lr: float, min_lr: float) -> float:
    return min_lr + (lr - min_lr) * (1 + math.cos(step / steps)) / 2


def _steps(rng: np.random.Generator) -> Iterator[Arguments]:
    steps = int(rng.integers(50, 500))
    lr = float(rng.uniform(0.1, 0.5))
    for step in (0, steps // 5, steps // 2, steps - steps // 7, steps - 1):
        yield step, steps, lr, lr * 0.1


# --------------------------------------------------------------------------------------------------
# read_logs
# --------------------------------------------------------------------------------------------------

CAUSES = {"log 1": "D", "log 2": "A", "log 3": "E", "log 4": "B", "log 5": "C"}


def _diagnoses(answer: Any) -> dict[str, str]:
    """Letters that an answer gives to the logs, in capitals."""
    if not isinstance(answer, dict) or answer.keys() != CAUSES.keys():
        raise CheckFailed(
            f"read_logs is {answer!r}; expected a letter for each log: "
            '{"log 1": "…", "log 2": "…", "log 3": "…", "log 4": "…", "log 5": "…"}'
        )
    return {log: str(letter).strip().upper() for log, letter in answer.items()}


def _takes(log: str, letter: str) -> Callable[[list[Trial]], bool]:
    """Symptom: one log is put down to one cause."""
    return lambda trials: all(trial.given[log] == letter for trial in trials)


def _misreads(log: str, letter: str, name: str, idea: str) -> Misconception:
    return Misconception(name, idea, CAUSES | {log: letter}, _takes(log, letter))


def _fails(log: str, letter: str, idea: str) -> Misconception:
    """Any other wrong cause of one log, for instance this letter."""
    return Misconception(
        f"{log} has another cause",
        idea,
        CAUSES | {log: letter},
        lambda trials: all(trial.given[log] != CAUSES[log] for trial in trials),
    )


EXERCISES = (
    Exercise(
        name="decayed",
        title="What does weight decay act on?",
        difficulty=1,
        importance=2,
        minutes=15,
        points=2,
        reference=_decayed,
        idea="Keep what is trained, has at least two dimensions and is no bias.",
        misconceptions=(
            Misconception(
                "everything is decayed",
                "Biases and the scales of normalization layers have one number a channel: to pull "
                "them to 0 prevents no overfitting and disturbs the layer. Leave out vectors.",
                _decayed_all,
            ),
            Misconception(
                "frozen parameters are decayed, too",
                "A frozen parameter must not change, but decay would shrink it without a gradient. "
                "Leave out what is not trainable.",
                _decayed_frozen,
            ),
            Misconception(
                "the tokens are left out",
                "Many recipes spare tokens and positions, and the official code means to, but its "
                "list does not take effect, so they are decayed. The rule here is by shape.",
                _decayed_but_tokens,
            ),
            Misconception(
                "the scales of normalization layers are decayed",
                "`norm1.weight` is called weight, but it is a vector of scales. Judge by the "
                "number of dimensions, not by the end of the name alone.",
                _decayed_norms,
            ),
            Misconception(
                "biases of two dimensions are decayed",
                "Whatever is named `….bias` is spared, whatever its shape: attention may have a "
                "table of biases, one for each head and offset.",
                _decayed_matrices,
            ),
            Misconception(
                "only names that end in weight are looked at",
                "Tokens and positions are not called weight, but have more than one dimension; "
                "norm1.weight is called so, but has one. Judge by the number of dimensions.",
                _decayed_by_name,
            ),
            Misconception(
                "whatever has bias in its name is spared",
                "Only names that end in `.bias` are spared. `attn.bias_mlp.weight` is the matrix "
                "of a layer that computes biases.",
                _decayed_without_bias_in_name,
            ),
            Misconception(
                "the other group is returned",
                "These are the parameters that are *not* decayed.",
                _not_decayed,
            ),
        ),
        cases=_networks,
        run=_names,
    ),
    Exercise(
        name="cosine_lr",
        title="A cosine schedule",
        difficulty=1,
        importance=1,
        minutes=10,
        points=2,
        reference=_cosine_lr,
        idea="Half a wave, from lr at step 0 down to min_lr at the end.",
        misconceptions=(
            Misconception(
                "the floor is added on top",
                "At step 0 this gives lr + min_lr. The wave spans from lr to min_lr, so its height "
                "is lr − min_lr.",
                _cosine_on_top,
            ),
            Misconception(
                "the schedule ends at 0",
                "It should end at min_lr: scale the wave to lr − min_lr and lift it by min_lr.",
                _cosine_to_zero,
            ),
            Misconception(
                "the floor cuts the wave off",
                "The maximum with min_lr makes the curve flat at its end. Scale the whole wave to "
                "the range from lr to min_lr instead.",
                _cosine_clipped,
            ),
            Misconception(
                "the wave goes down and up again",
                "Over all steps the cosine should go through half a wave, from 1 to −1: its angle "
                "runs from 0 to π, not to 2π.",
                _cosine_whole_wave,
            ),
            Misconception(
                "only a quarter of the wave is used",
                "A quarter ends steeply. The schedule takes half a wave, (1 + cos) / 2, which is "
                "flat at both ends.",
                _cosine_quarter,
            ),
            Misconception(
                "the rate rises",
                "Training begins with lr and ends with min_lr; cos is 1 at the beginning.",
                _cosine_rising,
            ),
            Misconception(
                "the angle is in degrees",
                "math.cos takes radians: half a wave is π.",
                _cosine_degrees,
            ),
            Misconception(
                "the angle ends at 1 instead of π",
                "cos(step / steps) falls from 1 to 0.54 only. Half a wave takes the angle from 0 "
                "to π.",
                _cosine_without_pi,
            ),
            Misconception(
                "the rate falls along a line",
                "A line falls at the same speed all the time; the cosine begins and ends slowly.",
                _linear,
            ),
        ),
        cases=_steps,
        tolerance=1e-6,
    ),
    Exercise(
        name="read_logs",
        title="Five logs",
        difficulty=3,
        importance=3,
        minutes=20,
        points=5,
        reference=CAUSES,
        idea="Ask of each log which values the losses have for maps of 0, of 0.5 and of 1, and for "
        "a classifier that guesses.",
        run=_diagnoses,
        misconceptions=(
            _misreads(
                "log 1",
                "E",
                "log 1: empty and full maps are mixed up",
                "L_ba is |area − λ|. With λ = 0.35, an empty map pays 0.35 and a full one 0.65. "
                "Which of the two stands in the log?",
            ),
            _misreads(
                "log 3",
                "D",
                "log 3: empty and full maps are mixed up",
                "L_ba is |area − λ|. With λ = 0.35, an empty map pays 0.35 and a full one 0.65. "
                "Which of the two stands in the log?",
            ),
            _misreads(
                "log 2",
                "F",
                "log 2: the classifier is taken for a good one",
                "3.00 is ln 20: what a guess among 20 classes pays. Nice maps are no comfort if "
                "the class says nothing.",
            ),
            _misreads(
                "log 4",
                "F",
                "log 4: maps that stand still are taken for good ones",
                "L_norm of 0.25 is its maximum, a map of 0.5 everywhere, and it does not move: "
                "L_ba stays at 0.5 − λ = 0.15, too. The class learns, the map does not.",
            ),
            _misreads(
                "log 5",
                "A",
                "log 5: a loss that explodes is taken for one that does not learn",
                "It first rises far above ln 20, which is worse than guessing, then is no number: "
                "the steps are too large.",
            ),
            _fails(
                "log 1",
                "F",
                "L_norm near 0: each patch is decided. L_ba of 0.35 = λ: the area is 0 (or 0.70, "
                "which the text rules out). So all patches say no.",
            ),
            _fails(
                "log 2",
                "C",
                "The maps are fine: small L_ba and L_norm. But L_cls does not leave ln 20 = 3.00, "
                "what a guess among 20 classes pays.",
            ),
            _fails(
                "log 3",
                "F",
                "L_norm near 0: each patch is decided. L_ba of 0.65 = 1 − λ: the area is 1. So all "
                "patches say yes.",
            ),
            _fails(
                "log 4",
                "D",
                "L_norm of 0.25 and L_ba of 0.15 are what a map of 0.5 pays, at the start and at "
                "the end: nothing moves the map, though the class is learned.",
            ),
            _fails(
                "log 5",
                "F",
                "L_cls rises to many times ln 20 and becomes nan: each step overshoots.",
            ),
        ),
    ),
)
