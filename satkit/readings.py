"""One localizer under every reading of the evaluation, and what each reading is worth.

The paper, its authors' code and the standard evaluation leave room for readings
(``docs/discrepancies.md``). Here each is a switch: all maps are scored as the authors' code does,
then once more with that one thing otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from satkit.boxes import best_ious, prepare_maps
from satkit.choices import check_choice
from satkit.evaluation import Outputs, collect, score
from satkit.metrics import DEFAULT_THRESHOLDS, DELTAS, BoxLocalization
from satkit.paper.measured import rows_of, spread
from satkit.results import Run
from satkit.settings import FINE_THRESHOLDS, TrainSettings
from satkit.stats import bootstrap_difference, paired_interval
from satkit.training import load_datasets

#: What :func:`evaluate_readings` can be given, by name
VIEWS = ("test", "held_out", "whole_image")
METRICS = {"gt_known": "GT-known Loc", "top1_loc": "Top-1 Loc", "max_box_acc_v2": "mean of δ"}


@dataclass(frozen=True)
class Reading:
    """How maps become scores; the defaults are the authors' code.

    Attributes:
        maps: Protocol whose way of enlarging and scaling maps is taken.
        rule: Protocol whose rule for the largest region is taken.
        select: ``largest`` region, or the best of ``all``.
        convention: Of IoU, see :func:`satkit.boxes.iou`.
        thresholds: Candidates, 0–1.
        chosen_on: View on which the threshold is chosen: ``test`` or ``held_out``.
        own_thresholds: Each δ has its own best threshold.
        view: View that is scored: ``test`` or ``whole_image``.
        protocol: All of one protocol; the other attributes but ``view`` then play no part.
    """

    maps: str = "sat"
    rule: str = "sat"
    select: str = "largest"
    convention: str = "official"
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS["sat"]
    chosen_on: str = "test"
    own_thresholds: bool = False
    view: str = "test"
    protocol: str = ""

    @property
    def needs(self) -> set[str]:
        """Views that it is computed from."""
        return {self.view} if self.protocol else {self.view, self.chosen_on}


AUTHORS = Reading()
_FINE = replace(AUTHORS, thresholds=FINE_THRESHOLDS)
#: Switch -> what the authors' code does, and the other readings
SWITCHES: dict[str, tuple[str, dict[str, Reading]]] = {
    "candidate thresholds": (
        "0.30, 0.35, 0.40, 0.45",
        {
            "35 from 0.01 to 0.99 (our lab profile)": _FINE,
            "0 to 0.999 in steps of 0.001": replace(
                AUTHORS, thresholds=DEFAULT_THRESHOLDS["wsoleval"]
            ),
        },
    ),
    "threshold chosen on": (
        "the test images",
        {
            "held-out images": replace(AUTHORS, chosen_on="held_out"),
            "held-out images, of 35 (our lab profile)": replace(_FINE, chosen_on="held_out"),
        },
    ),
    "δ = 0.3, 0.5 and 0.7": (
        "all at one threshold",
        {
            "each at its own best of the four": replace(AUTHORS, own_thresholds=True),
            "each at its own best of 35": replace(_FINE, own_thresholds=True),
        },
    ),
    "IoU": (
        "one pixel added to each side",
        {"half open, nothing added": replace(AUTHORS, convention="half_open")},
    ),
    "the map's way to the image": (
        "scaled to 0–1, then enlarged (bilinear)",
        {
            "enlarged (bilinear), then scaled": replace(AUTHORS, maps="tscam"),
            "enlarged (bicubic), then scaled": replace(AUTHORS, maps="wsoleval"),
        },
    ),
    "box": (
        "around the region with the most pixels",
        {
            "around the largest contour": replace(AUTHORS, rule="tscam"),
            "the best of all regions": replace(AUTHORS, select="all"),
        },
    ),
    "test image": (
        "enlarged, centre cut out",
        {"whole": replace(AUTHORS, view="whole_image")},
    ),
    "protocol": (
        "sat",
        {
            "wsoleval, on the same maps": replace(AUTHORS, protocol="wsoleval"),
            "wsoleval, on whole images": replace(
                AUTHORS, protocol="wsoleval", view="whole_image"
            ),
            "tscam, on the same maps": replace(AUTHORS, protocol="tscam"),
            "tscam, on whole images": replace(AUTHORS, protocol="tscam", view="whole_image"),
        },
    ),
}  # fmt: skip


class Scored(NamedTuple):
    """What one reading gives.

    Attributes:
        numbers: ``gt_known``, ``top1_loc``, ``max_box_acc@δ``, ``max_box_acc_v2`` (percent) and
            ``threshold``.
        hits: By path, whether the IoU is at least 0.5; of the images that have boxes.
    """

    numbers: dict[str, float]
    hits: pd.Series


def collect_views(run: Run, names: Sequence[str] = VIEWS) -> dict[str, Outputs]:
    """Run a finished localizer over what the readings need.

    Args:
        run: Finished.
        names: Of ``VIEWS``. ``held_out`` is left out where the run was trained on all images, and
            ``whole_image`` where the run's own test images are whole.

    Returns:
        Outputs by name.
    """
    settings = run.settings
    sets = load_datasets(settings)
    asked = {"test": sets["test"], "held_out": sets.get("val")}
    if "whole_image" in names and settings.protocol == "sat":
        whole = load_datasets(settings.model_copy(update={"protocol": "wsoleval"}))
        asked["whole_image"] = whole["test"]
    model = run.model()
    return {
        name: collect(model, images, workers=settings.workers, label=name.replace("_", " "))
        for name, images in asked.items()
        if images is not None and name in names
    }


def apply(reading: Reading, views: Mapping[str, Outputs]) -> Scored:
    """Score maps under one reading.

    Args:
        reading: Which.
        views: Outputs of one localizer, by the names in ``VIEWS``; those that the reading needs.

    Returns:
        Numbers and hits.

    Raises:
        ValueError: A view is missing.
    """
    for name in sorted(reading.needs):
        check_choice("view", name, views)
    outputs = _boxed(views[reading.view])
    if reading.protocol:
        return _whole_protocol(outputs, reading.protocol)
    ious, right = _ious(outputs, reading)
    basis, basis_right = ious, right
    if reading.chosen_on == "held_out":
        basis, basis_right = _ious(_boxed(views["held_out"]), reading)
    found = basis >= 0.5  # [N, T]
    chosen = int((found.mean(0) + (found & basis_right[:, None]).mean(0)).argmax())
    numbers = {"gt_known": _percent(ious[:, chosen] >= 0.5)}
    numbers["top1_loc"] = _percent((ious[:, chosen] >= 0.5) & right)
    for delta in DELTAS:
        own = int((basis >= delta).mean(0).argmax()) if reading.own_thresholds else chosen
        numbers[f"max_box_acc@{delta}"] = _percent(ious[:, own] >= delta)
    numbers["max_box_acc_v2"] = float(np.mean([numbers[f"max_box_acc@{d}"] for d in DELTAS]))
    numbers["threshold"] = float(reading.thresholds[chosen])
    return Scored(numbers, pd.Series(ious[:, chosen] >= 0.5, outputs.paths))


def _boxed(outputs: Outputs) -> Outputs:
    """The images that have boxes."""
    kept = [index for index, boxes in enumerate(outputs.boxes) if len(boxes)]
    if not kept:
        raise ValueError("no image has a box: expected outputs of images with boxes")
    return replace(
        outputs,
        maps=outputs.maps[kept],
        logits=outputs.logits[kept],
        labels=outputs.labels[kept],
        boxes=[outputs.boxes[index] for index in kept],
        paths=[outputs.paths[index] for index in kept],
    )


def _ious(outputs: Outputs, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """IoU at every threshold [N, T], and whether the class is right [N]."""
    maps = prepare_maps(outputs.maps, outputs.image_size, reading.maps)
    ious = best_ious(
        maps, reading.thresholds, outputs.boxes, (reading.select,), reading.rule, reading.convention
    )[0]
    return ious, (outputs.logits.argmax(dim=1) == outputs.labels).numpy()


def _whole_protocol(outputs: Outputs, protocol: str) -> Scored:
    numbers = score(outputs, protocol=protocol)
    metric = BoxLocalization(
        protocol, [numbers["threshold"]], outputs.image_size, keep_ious=True, sync_on_compute=False
    )
    metric.update(outputs.maps, outputs.boxes)
    names = ["gt_known", "top1_loc", *(f"max_box_acc@{d}" for d in DELTAS), "max_box_acc_v2"]
    kept = {name: float(numbers[name]) for name in [*names, "threshold"]}
    hits = metric.ious(numbers["threshold"]).numpy() >= 0.5
    return Scored(kept, pd.Series(hits, outputs.paths))


def _percent(hits: np.ndarray) -> float:
    return 100 * float(hits.mean())


def evaluate_readings(views: Mapping[str, Outputs], switches: tuple[str, ...] = ()) -> pd.DataFrame:
    """Score one localizer's maps under every reading, each switch alone.

    Args:
        views: Outputs by the names in ``VIEWS``; readings that need a view that is not there are
            left out.
        switches: Only these of ``SWITCHES``; all where empty.

    Returns:
        The authors' reading first (``switch`` is "authors' code"), then one row a reading:
        ``switch``, ``authors`` and ``reading`` (words), the numbers of :class:`Scored`, ``gain``
        (GT-known Loc minus that of the authors' reading, points) and its 95 % bootstrap interval
        over images, ``low`` and ``high``.

    Raises:
        ValueError: Unknown switch, or no outputs of the test images.
    """
    for name in switches:
        check_choice("switch", name, SWITCHES)
    reference = apply(AUTHORS, views)
    about = {"switch": "authors' code", "authors": "", "reading": ""}
    rows: list[dict[str, Any]] = [{**about, **reference.numbers}]
    for switch in switches or SWITCHES:
        words, others = SWITCHES[switch]
        for name, reading in others.items():
            if not reading.needs <= set(views):
                continue
            found = apply(reading, views)
            both = found.hits.index.intersection(reference.hits.index)
            gain = bootstrap_difference(found.hits[both], reference.hits[both])
            about = {"switch": switch, "authors": words, "reading": name}
            interval = {"gain": gain.mean, "low": gain.low, "high": gain.high}
            rows.append({**about, **found.numbers, **interval})
    return pd.DataFrame(rows)


def show_readings(table: pd.DataFrame) -> pd.DataFrame:
    """Measured readings as texts.

    Args:
        table: From :func:`evaluate_readings`, or a file that holds it.

    Returns:
        One row a reading, with the metrics and the difference it makes in GT-known Loc.
    """
    lines = []
    for row in table.to_dict("records"):
        change = "" if pd.isna(row["gain"]) else interval_text(*(row[k] for k in _ENDS))
        numbers = {title: f"{row[name]:.1f}" for name, title in METRICS.items()}
        line = {"switch": row["switch"], "authors' code": row["authors"]}
        line |= {"other reading": row["reading"], **numbers}
        threshold = f"{row['threshold']:.3f}".removesuffix("0")
        lines.append({**line, "threshold": threshold, "GT-known, change [95 %]": change})
    return pd.DataFrame(lines)


def readings_banner(table: pd.DataFrame) -> str:
    """Say where readings of the evaluation come from.

    Args:
        table: From :func:`cached_readings`.

    Returns:
        Run, commits, date, device and data.
    """
    row = table.iloc[0]
    return (
        f"cached: run {row['run']} (commit {row['run_commit'][:8]}), scored at commit "
        f"{row['commit'][:8]}, {row['date'][:10]}, {row['device']}, data {row['data'][:8]}; one "
        "run, intervals over its test images"
    )


_ENDS = ("gain", "low", "high")


def interval_text(mean: float, low: float, high: float) -> str:
    """``+1.2 [+0.3, +2.1]``; without ends where there are none, "" where there is nothing."""
    if np.isnan(mean):
        return ""
    return f"{mean:+.1f}" + ("" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]")


def training_readings(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What the readings of model, losses and schedule change, each alone.

    Args:
        base: Settings that all rows share.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        One row for each of ``EXPERIMENTS["discrepancies"]``: its label, the metrics as mean ±
        standard deviation over seeds, how many seeds, where from, and the change of GT-known Loc
        against the authors' code with its 95 % interval over the seeds that both have. "not run"
        where there is none.
    """
    found = rows_of("discrepancies", base, rows)
    authors = next(iter(found.values()))
    lines = []
    for label, runs in found.items():
        line = {"reading": label, **{t: spread(runs.get(n)) or "–" for n, t in METRICS.items()}}
        line["seeds"] = str(len(runs)) if len(runs) else "not run"
        line["from"] = ", ".join(sorted(set(runs["source"]))) if len(runs) else "–"
        line["GT-known, change [95 %]"] = "" if runs is authors else _change(runs, authors)
        lines.append(line)
    return pd.DataFrame(lines)


def _change(runs: pd.DataFrame, authors: pd.DataFrame) -> str:
    both = runs.merge(authors, on="seed", suffixes=("", "_authors"))
    if both.empty:
        return ""
    interval = paired_interval(both["gt_known"].to_numpy(), both["gt_known_authors"].to_numpy())
    return interval_text(interval.mean, interval.low, interval.high)


def cached_readings(dataset: str, folder: str | Path = "benchmarks/results") -> pd.DataFrame | None:
    """The evaluation's readings as the authors of this kit measured them on one run.

    Args:
        dataset: Its data set.
        folder: Folder of the result files, from the project's root if relative.

    Returns:
        The table of :func:`evaluate_readings` with provenance; None where there is no such file.
    """
    from satkit.notebooks import in_project

    path = in_project(folder) / f"discrepancies_{dataset}.csv"
    if not path.is_file():
        return None
    return pd.read_csv(path).fillna({"authors": "", "reading": ""})
