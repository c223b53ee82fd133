"""Exercises on figures: colours that all can tell apart, words for them, and honest axes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# told_apart
# --------------------------------------------------------------------------------------------------

#: What linear RGB becomes for people without green receptors (Machado, Oliveira, Fernandes 2009)
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def _distances(colors: np.ndarray) -> list[float]:
    return [float(np.linalg.norm(a - b)) for a, b in combinations(colors, 2)]


def _told_apart(colors: np.ndarray, sight: np.ndarray) -> float:
    return min(_distances((colors @ sight.T).clip(0, 1)))


def _told_by_all(colors: np.ndarray, sight: np.ndarray) -> float:
    return min(_distances(colors))


def _told_transposed(colors: np.ndarray, sight: np.ndarray) -> float:
    return min(_distances((colors @ sight).clip(0, 1)))


def _told_on_average(colors: np.ndarray, sight: np.ndarray) -> float:
    return float(np.mean(_distances((colors @ sight.T).clip(0, 1))))


def _told_from_itself(colors: np.ndarray, sight: np.ndarray) -> float:
    return 0.0


def _told_from_next(colors: np.ndarray, sight: np.ndarray) -> float:
    seen = (colors @ sight.T).clip(0, 1)
    return float(np.linalg.norm(np.diff(seen, axis=0), axis=1).min())


def _palettes(rng: np.random.Generator) -> Iterator[Arguments]:
    for count in (4, 5, 6):
        colors = rng.uniform(0.1, 0.9, (count, 3))
        mixed = colors[0] * [0.5, 1.0, 1.0] + [
            0.35,
            -0.05,
            0.02,
        ]  # far in red, near in what is seen
        yield np.vstack([colors, mixed.clip(0, 1)]), DEUTERANOPIA


# --------------------------------------------------------------------------------------------------
# alt_text
# --------------------------------------------------------------------------------------------------

Lines = Mapping[str, Sequence[float]]
LONGEST = 60  # words


def _alt_text(title: str, xs: Sequence[float], lines: Lines) -> str:
    said = []
    for name, values in lines.items():
        best = int(np.argmax(values))
        said.append(f"{name} is highest at {xs[best]:g}, with {values[best]:.1f}")
    return f"{title}. {'; '.join(said)}."


def _alt_of_looks(title: str, xs: Sequence[float], lines: Lines) -> str:
    return f"{title}: a blue and an orange line for {' and '.join(lines)}, which rise and fall."


def _alt_of_winner(title: str, xs: Sequence[float], lines: Lines) -> str:
    winner = max(lines, key=lambda name: max(lines[name]))
    return _alt_text(title, xs, {winner: lines[winner]})


def _alt_without_place(title: str, xs: Sequence[float], lines: Lines) -> str:
    said = [f"{name} reaches {max(values):.1f}" for name, values in lines.items()]
    return f"{title}. {'; '.join(said)}."


def _alt_of_all_points(title: str, xs: Sequence[float], lines: Lines) -> str:
    said = [
        f"{name}: " + ", ".join(f"{y:.1f} at {x:g}" for x, y in zip(xs, values, strict=True))
        for name, values in lines.items()
    ]
    return f"{title}. {'; '.join(said)}."


def _alt_of_image(title: str, xs: Sequence[float], lines: Lines) -> str:
    return "Image of " + _alt_text(title, xs, lines)


def _facts_of_text(
    answer: Callable[[str, Sequence[float], Lines], str],
    title: str,
    xs: Sequence[float],
    lines: Lines,
) -> dict[str, bool]:
    text = answer(title, xs, lines)
    if not isinstance(text, str):
        raise CheckFailed(f"alt_text gives a {type(text).__name__}; it should give a text")
    best = {name: int(np.argmax(values)) for name, values in lines.items()}
    return {
        "every line has its name": all(name in text for name in lines),
        "every highest value": all(_says(text, f"{lines[n][i]:.1f}") for n, i in best.items()),
        "where it is highest": all(_says(text, f"{xs[i]:g}") for i in best.values()),
        f"at most {LONGEST} words": len(text.split()) <= LONGEST,
        "no «image of»": not re.match(r"(an? )?(image|picture|graphic|screenshot)\b", text.lower()),
    }


def _says(text: str, number: str) -> bool:
    """Whether a number stands there by itself."""
    return re.search(rf"(?<![\d.]){re.escape(number)}(?!\.?\d)", text) is not None


def _lacks(fact: str, trials: list[Trial]) -> bool:
    return any(not trial.given[fact] for trial in trials)


def _charts(rng: np.random.Generator) -> Iterator[Arguments]:
    xs = [round(0.05 * step, 2) for step in range(1, 20)]
    for names in (("SAT", "TS-CAM"), ("SCM", "LCTR", "SAT")):
        lines = {}
        for name in names:
            centre, height = rng.uniform(0.2, 0.8), rng.uniform(50, 90)
            values = height - 40 * (np.array(xs) - centre) ** 2 + rng.normal(0, 0.2, len(xs))
            lines[name] = [float(value) for value in values]
        yield "GT-known Loc over the threshold", xs, lines


# --------------------------------------------------------------------------------------------------
# bar_exaggeration
# --------------------------------------------------------------------------------------------------


def _bar_exaggeration(small: float, large: float, start: float) -> float:
    return (large - start) / (small - start) / (large / small)


def _drawn_ratio(small: float, large: float, start: float) -> float:
    return (large - start) / (small - start)


def _exaggeration_inverted(small: float, large: float, start: float) -> float:
    return 1 / _bar_exaggeration(small, large, start)


def _drawn_difference(small: float, large: float, start: float) -> float:
    return (large - small) / (small - start)


def _start_ignored(small: float, large: float, start: float) -> float:
    return large / small


def _bars(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 72.78, 73.13, 72.5
    for _ in range(3):
        start = float(rng.uniform(10, 60))
        small = start + float(rng.uniform(2, 8))
        yield small, small + float(rng.uniform(1, 12)), start


EXERCISES = (
    Exercise(
        name="told_apart",
        title="Can everybody tell these colours apart?",
        difficulty=2,
        importance=2,
        minutes=20,
        points=3,
        reference=_told_apart,
        idea="First turn every colour into what is seen, then look for the two that are nearest "
        "to each other.",
        misconceptions=(
            Misconception(
                "the colours are compared as others see them",
                "Two colours can lie far apart for some eyes and fall together for others. Apply "
                "the matrix before you measure.",
                _told_by_all,
            ),
            Misconception(
                "the matrix is applied the wrong way round",
                "The matrix acts on a colour as a column, and your colours are rows: transpose "
                "one of the two.",
                _told_transposed,
            ),
            Misconception(
                "the mean of the distances is taken",
                "A palette fails as soon as *one* pair falls together, however far apart the "
                "others are.",
                _told_on_average,
            ),
            Misconception(
                "a colour is compared with itself",
                "Every colour has distance 0 to itself; only pairs of different entries count.",
                _told_from_itself,
            ),
            Misconception(
                "only neighbours in the list are compared",
                "Any two lines may meet in a figure: compare all pairs.",
                _told_from_next,
            ),
        ),
        cases=_palettes,
    ),
    Exercise(
        name="alt_text",
        title="Say in words what the chart shows",
        difficulty=2,
        importance=3,
        minutes=20,
        points=3,
        reference=_alt_text,
        idea="Who cannot see the chart wants to know what a reader takes from it: for each line "
        "its highest value, and where it lies.",
        misconceptions=(
            Misconception(
                "a line has no name",
                "A line that is not named does not exist for who cannot see it. Name them all.",
                _alt_of_winner,
                partial(_lacks, "every line has its name"),
            ),
            Misconception(
                "the looks are described, not the data",
                "Colours and «rises, then falls» do not say how good a method is. Give each "
                "line's highest value as a number, with one decimal.",
                _alt_of_looks,
                partial(_lacks, "every highest value"),
            ),
            Misconception(
                "nobody hears where the lines are highest",
                "The chart is about the threshold: say at which one each line is highest.",
                _alt_without_place,
                partial(_lacks, "where it is highest"),
            ),
            Misconception(
                "every point is read out",
                "A screen reader reads all of it aloud. Who wants every number needs a table; a "
                "text says what the chart is for.",
                _alt_of_all_points,
                partial(_lacks, f"at most {LONGEST} words"),
            ),
            Misconception(
                "the text begins with «image of»",
                "The screen reader says by itself that this is an image. Begin with what it shows.",
                _alt_of_image,
                partial(_lacks, "no «image of»"),
            ),
        ),
        cases=_charts,
        run=_facts_of_text,
    ),
    Exercise(
        name="bar_exaggeration",
        title="How much does a cut axis exaggerate?",
        difficulty=1,
        importance=2,
        minutes=10,
        points=2,
        reference=_bar_exaggeration,
        idea="The eye compares the lengths of the bars. How many times as long is one as the "
        "other, and how many times as large is the number?",
        misconceptions=(
            Misconception(
                "the ratio of the bars is not compared with that of the numbers",
                "Bars whose numbers differ are meant to differ. Exaggeration is what the drawing "
                "adds to that.",
                _drawn_ratio,
            ),
            Misconception(
                "the ratio is upside down",
                "A cut axis makes the larger bar look larger still, so the result is above 1.",
                _exaggeration_inverted,
            ),
            Misconception(
                "differences are compared",
                "Asked is how many *times* as long a bar looks, in relation to how many times as "
                "large the number is.",
                _drawn_difference,
            ),
            Misconception(
                "the start of the axis is ignored",
                "The bars begin where the axis begins: their lengths are what lies above that.",
                _start_ignored,
            ),
        ),
        cases=_bars,
    ),
)
