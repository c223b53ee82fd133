"""Exercises that check themselves and say which idea a wrong answer has missed.

An exercise has a reference, a way to draw inputs, and the misconceptions that teachers meet. A
check calls the answer on drawn inputs; where its outputs are those of a misconception, the message
names it and says the right idea.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

Arguments = tuple[Any, ...]
LARGEST_PRINT = 200
LARGEST_ARRAY = 12  # numbers that a message prints
#: Slips that no exercise has to name: what all numbers have to be multiplied by, to be right
SLIPS = {
    100: "All numbers are 100 times too small: percent are asked for, not shares.",
    0.01: "All numbers are 100 times too large: shares are asked for, not percent.",
    -1: "All numbers have the wrong sign.",
}


class CheckFailed(AssertionError):
    """An answer is not right yet; the message says why. Notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints for it (and so nbclient, Colab and VS Code)."""
        return [f"✗ {self}"]


@dataclass(frozen=True)
class Trial:
    """One call of an answer.

    Attributes:
        arguments: Of the call.
        expected: What the reference gives.
        given: What the answer gave.
    """

    arguments: Arguments
    expected: Any
    given: Any


@dataclass(frozen=True)
class Misconception:
    """A wrong idea that teachers meet, and how it shows.

    Attributes:
        name: A few words, unique within its exercise.
        idea: The right idea, in one or two sentences to the student.
        wrong: Takes the place of the reference for one who believes it; None where only its
            ``symptom`` tells.
        symptom: Tells from all trials whether the answer suffers from it.
        also: Further answers that the same idea leads to.
        seen: Says in a sentence what a trial shows, for the message.
    """

    name: str
    idea: str
    wrong: Any = None
    symptom: Callable[[list[Trial]], bool] | None = None
    also: tuple[Any, ...] = ()
    seen: Callable[[Trial], str] | None = None


def call(answer: Callable[..., Any], *arguments: Any) -> Any:
    """Use an answer that is a function."""
    return answer(*arguments)


def value(answer: Any) -> Any:
    """Use an answer that is a number, a letter, a set of letters or an array."""
    return answer


@dataclass(frozen=True)
class Exercise:
    """One task with its check.

    Attributes:
        name: Unique in the course, as a Python name; by convention that of what is to be written.
        title: As in the heading of the notebook.
        difficulty: 1 (follow the lesson) to 3 (think).
        importance: 1 (for the curious) to 3 (all later lessons build on it).
        minutes: That a student needs.
        points: For the grade.
        reference: A right answer.
        idea: The right idea, for wrong answers that no misconception explains.
        misconceptions: Most likely first.
        cases: Draws the arguments of several calls; must tell all misconceptions from the
            reference. For a value: none.
        run: How an answer is used, :func:`call` or :func:`value` or ``(answer, *arguments) ->
            output``, for instance building a module and calling it.
        tolerance: Largest deviation of a number, relative to the largest of its array (or to 1).
        noted: Keys of an output that messages show and that are not compared.
        afterword: What to say once it is right: the answer to a question that the task leaves open.
    """

    name: str
    title: str
    difficulty: int
    importance: int
    minutes: int
    points: int
    reference: Any
    idea: str
    misconceptions: tuple[Misconception, ...]
    cases: Callable[[np.random.Generator], Iterable[Arguments]] = lambda rng: [()]
    run: Callable[..., Any] = call
    tolerance: float = 1e-5
    noted: tuple[str, ...] = ()
    afterword: str = ""


def check_answer(exercise: Exercise, answer: Any, seed: int = 0) -> str:
    """Compare an answer with the reference on drawn inputs.

    Args:
        exercise: What was asked.
        answer: A function, class or value, as the exercise asks for.
        seed: Of the drawn inputs.

    Returns:
        What to say: that it is right, on how many inputs.

    Raises:
        CheckFailed: It is not right; the message names the misconception where one explains it.
    """
    return judge(exercise, outputs_of(exercise, answer, seed), seed)


def outputs_of(exercise: Exercise, answer: Any, seed: int = 0) -> list[Any]:
    """What an answer gives on drawn inputs.

    Args:
        exercise: What was asked.
        answer: A function, class or value, as the exercise asks for.
        seed: Of the drawn inputs.

    Returns:
        One output an input.

    Raises:
        CheckFailed: It is not written yet, stops with an error, gives nothing or changes inputs.
    """
    cases = exercise.cases(np.random.default_rng(seed))
    return [_use(exercise, answer, arguments) for arguments in cases]


def judge(exercise: Exercise, outputs: list[Any], seed: int = 0) -> str:
    """Compare the outputs of an answer with those of the reference.

    Args:
        exercise: What was asked.
        outputs: Of :func:`outputs_of` with the same seed.
        seed: Of the drawn inputs.

    Returns:
        What to say: that it is right, on how many inputs.

    Raises:
        CheckFailed: It is not right; the message names the misconception where one explains it.
        ValueError: The number of outputs is not that of the inputs.
    """
    trials = []
    cases = exercise.cases(np.random.default_rng(seed))
    for arguments, given in zip(cases, outputs, strict=True):
        expected = exercise.run(exercise.reference, *copy.deepcopy(arguments))
        trials.append(Trial(arguments, expected, given))
    wrong = [trial for trial in trials if not _alike(exercise, trial.given, trial.expected)]
    if wrong:
        raise CheckFailed(_diagnose(exercise, trials, wrong[0]))
    inputs = f" on {len(trials)} inputs" if len(trials) > 1 else ""
    afterword = f"\n  {exercise.afterword}" if exercise.afterword else ""
    return f"✓ {exercise.name} is right{inputs}{afterword}"


def _alike(exercise: Exercise, given: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether two outputs are alike in all that is compared."""

    def compared(output: Any) -> Any:
        if not isinstance(output, Mapping):
            return output
        return {key: one for key, one in output.items() if key not in exercise.noted}

    return same(compared(given), compared(expected), max(tolerance, exercise.tolerance))


def _use(exercise: Exercise, answer: Any, arguments: Arguments) -> Any:
    """Output of an answer for one input; its faults as messages."""
    name, own = exercise.name, copy.deepcopy(arguments)
    if answer is None or answer is ...:
        raise CheckFailed(f"{name} is not written yet")
    try:
        given = exercise.run(answer, *own)
    except NotImplementedError:
        raise CheckFailed(f"{name} is not written yet") from None
    except CheckFailed:
        raise
    except Exception as error:
        for misconception in exercise.misconceptions:
            if _stops_alike(exercise, misconception, arguments, error):
                raise CheckFailed(_named(exercise, misconception)) from error
        raise CheckFailed(
            f"{name} stops with {type(error).__name__}: {error}\n  for {_describe(arguments)}"
        ) from error
    if given is None:
        raise CheckFailed(f"{name} gives None; does a `return` miss?")
    if not same(own, arguments, 0.0):
        raise CheckFailed(
            f"{name} changes the arrays that it is given, which whoever calls it needs later; "
            "work on a copy, or use operations that make a new array (x = x * 2, not x *= 2)"
        )
    return given


def _stops_alike(
    exercise: Exercise, misconception: Misconception, arguments: Arguments, error: Exception
) -> bool:
    """Whether whoever believes a misconception stops with the same error on the same input."""
    for form in (misconception.wrong, *misconception.also):
        try:
            if form is not None:
                exercise.run(form, *copy.deepcopy(arguments))
        except Exception as own:
            if type(own) is type(error) and str(own) == str(error):
                return True
    return False


def _named(exercise: Exercise, misconception: Misconception, trial: Trial | None = None) -> str:
    seen = f"{misconception.seen(trial)} " if trial and misconception.seen else ""
    return f"{exercise.name}: {misconception.name}.\n  {seen}{misconception.idea}"


def _diagnose(exercise: Exercise, trials: list[Trial], first: Trial) -> str:
    """Say what is wrong: the misconception that explains it, else the first deviation."""
    for misconception in exercise.misconceptions:
        if _suffers(exercise, misconception, trials):
            return _named(exercise, misconception, first)
    if kind := _wrong_kind(first.given, first.expected):
        return f"{exercise.name} is not right yet.\n  {kind}\n  {exercise.idea}"
    for factor, slip in SLIPS.items():
        if all(_alike(exercise, _scaled(one.given, factor), one.expected) for one in trials):
            return f"{exercise.name} is not right yet.\n  {slip}"
    if not first.arguments:  # the expected value would be the answer
        return f"{exercise.name} is not right yet.\n  {exercise.idea}"
    return (
        f"{exercise.name} is not right yet.\n  for {_describe(first.arguments)}\n"
        f"  {_contrasts(exercise, first)}\n  {exercise.idea}"
    )


def _scaled(output: Any, factor: float) -> Any:
    """An output with all its numbers multiplied."""
    if isinstance(output, list | tuple):
        return [_scaled(one, factor) for one in output]
    if isinstance(output, Mapping):
        return {key: _scaled(one, factor) for key, one in output.items()}
    return _array(output) * factor if _is_numeric(output) else output


def _wrong_kind(given: Any, expected: Any) -> str:
    """What was expected instead of another kind of output; "" where numbers stand for numbers."""
    if isinstance(expected, list | tuple):
        given = _row(given)
        if not isinstance(given, list | tuple):
            wanted = f"a {type(expected).__name__} of {len(expected)} values"
            return f"expected {wanted}, got {_kind(given)} {_describe_one(given)}"
        if len(given) != len(expected):
            return f"expected {len(expected)} values, got {len(given)}: {_describe_one(given)}"
        kinds = (_wrong_kind(one, other) for one, other in zip(given, expected, strict=True))
        return next((kind for kind in kinds if kind), "")
    if not _is_numeric(expected):
        return ""
    scalar = _array(expected).ndim == 0
    if _is_numeric(given) and not (scalar and _array(given).ndim):
        return ""
    wanted = "a number" if scalar else "an array of numbers"
    return f"expected {wanted}, got {_kind(given)} {_describe_one(given)}"


def _kind(given: Any) -> str:
    """The kind of an output, as it stands in a message before the output."""
    if isinstance(given, str):
        return "the text"
    if _is_numeric(given) and _array(given).ndim == 0:
        return "the number"
    return f"a {type(given).__name__},"


def _contrasts(exercise: Exercise, trial: Trial) -> str:
    """What an answer gives and should give; of several named values, those that differ."""
    given, expected = trial.given, trial.expected
    if not (isinstance(given, Mapping) and isinstance(expected, Mapping)):
        return _contrast(given, expected)
    if given.keys() != expected.keys():
        return _contrast(given, expected)
    pairs = {key: (given[key], expected[key]) for key in expected if key not in exercise.noted}
    return "\n  ".join(
        f"{key}: {_contrast(*pair)}"
        for key, pair in pairs.items()
        if not same(*pair, exercise.tolerance)
    )


def _contrast(given: Any, expected: Any) -> str:
    """What an answer gives and should give; of large arrays, where they differ most."""
    large = _is_numeric(given) and _is_numeric(expected) and _array(expected).size > LARGEST_ARRAY
    if not large or _array(given).shape != _array(expected).shape:
        return f"it gives {_describe((given,))}\n  and should give {_describe((expected,))}."
    x, y = _array(given), _array(expected)
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    gap = np.where(alike, 0, np.nan_to_num(np.abs(x - y), nan=np.inf))
    place = np.unravel_index(gap.argmax(), gap.shape)
    digits = 4 if f"{x[place]:.4g}" != f"{y[place]:.4g}" else 8
    return (
        f"the shape is right, but not the values: at {[int(one) for one in place]} "
        f"it gives {x[place]:.{digits}g} and should give {y[place]:.{digits}g}."
    )


def _suffers(exercise: Exercise, misconception: Misconception, trials: list[Trial]) -> bool:
    """Whether a misconception explains all outputs of an answer."""
    if _shows(misconception, trials):
        return True
    forms = [misconception.wrong, *misconception.also]
    return any(_explains(exercise, form, trials) for form in forms if form is not None)


def _shows(misconception: Misconception, trials: list[Trial]) -> bool:
    """Whether the outputs have the misconception's symptom."""
    try:
        return misconception.symptom is not None and misconception.symptom(trials)
    except Exception:
        # An output of any kind may come in, which the code that looks for a symptom did not expect.
        return False


def _explains(exercise: Exercise, wrong: Any, trials: list[Trial]) -> bool:
    """Whether a wrong answer gives all outputs of an answer."""
    outputs = (exercise.run(wrong, *copy.deepcopy(trial.arguments)) for trial in trials)
    pairs = zip(trials, outputs, strict=True)
    try:
        return all(_alike(exercise, trial.given, output, 1e-5) for trial, output in pairs)
    except Exception:
        return False  # the wrong answer stops on some input, where the answer has given something


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two outputs are alike: numbers within a tolerance, all else equal.

    Args:
        a: Number, string, set, array, tensor, or tuples, lists and mappings of them.
        b: The same.
        tolerance: Relative to the largest number of ``b``, or to 1 where that is smaller.

    Returns:
        False too where shapes or kinds differ; an array may stand for a tuple or a list. NaN
        equals NaN.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in b)
    if isinstance(b, list | tuple) and isinstance(a := _row(a), list | tuple):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if _is_numeric(a) and _is_numeric(b):
        x, y = _array(a), _array(b)
        if x.shape != y.shape:
            return False
        finite = np.abs(y[np.isfinite(y)])
        scale = max(1.0, float(finite.max())) if finite.size else 1.0
        return bool(np.allclose(x, y, rtol=0, atol=tolerance * scale, equal_nan=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b))  # of strings
    try:
        return bool(a == b)
    except Exception:
        return False  # kinds that cannot be compared are not alike


def _row(x: Any) -> Any:
    """An array or a tensor as the list of its rows; all else as it is."""
    return list(x) if isinstance(x, np.ndarray | Tensor) and x.ndim else x


def _is_numeric(x: Any) -> bool:
    if isinstance(x, Tensor | bool | int | float | complex | Fraction | np.number | np.bool_):
        return True
    return isinstance(x, np.ndarray) and x.dtype.kind in "biufc"


def _array(x: Any) -> np.ndarray:
    if isinstance(x, Tensor):
        x = x.detach().to("cpu", torch.float64 if not x.is_complex() else torch.complex128).numpy()
    array = np.asarray(x)
    return array if array.dtype.kind == "c" else array.astype(np.float64)


def _describe(values: Arguments) -> str:
    """Values in a line; large arrays by their shape."""
    return ", ".join(_describe_one(one) for one in values) or "no arguments"


def _describe_one(one: Any) -> str:
    if isinstance(one, Tensor | np.ndarray) and np.prod(one.shape) > LARGEST_ARRAY:
        kind = "tensor" if isinstance(one, Tensor) else "array"
        return f"{kind} {list(one.shape)}"
    text = " ".join(repr(plain(one)).split())
    return text if len(text) <= LARGEST_PRINT else text[:LARGEST_PRINT] + " …"


def plain(one: Any) -> Any:
    """NumPy's numbers as Python's, also in containers: 0.5 rather than np.float64(0.5).

    Args:
        one: Of any kind; what is neither such a number nor a plain container comes back as it is.
    """
    if isinstance(one, np.generic):
        return one.item()
    if type(one) in (list, tuple, set, frozenset):
        return type(one)(map(plain, one))
    if type(one) is dict:
        return {plain(key): plain(each) for key, each in one.items()}
    return one
