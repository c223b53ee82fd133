"""What was measured, here or elsewhere, beside what the paper prints.

Rows come from two places. Runs that are finished in this project's ``runs`` folder are *computed
here*. The result files in ``benchmarks/results`` hold runs that the authors of this kit made; they
are *cached*, with commit, date and device. A run of this project replaces the cached row of the
same settings and seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from satkit.choices import check_choice
from satkit.paper.cells import list_tables, table
from satkit.paper.claims import IRRELEVANT
from satkit.paper.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from satkit.results import Run
    from satkit.settings import TrainSettings

HERE, CACHED = "computed here", "cached"
#: Columns of every row beside its metrics
ORIGIN = ("dataset", "seed", "profile", "given", "commit", "date", "device", "data", "source")
#: Settings that the rows of a paper's table leave out
DEFAULTS = {"freeze": "a", "shots": 0}
#: What tables show of a metric
TITLES = {
    "top1_cls": "Top-1 Cls",
    "top5_cls": "Top-5 Cls",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "gt_known": "GT-known Loc",
    "max_box_acc@0.3": "δ = 0.3",
    "max_box_acc@0.5": "δ = 0.5",
    "max_box_acc@0.7": "δ = 0.7",
    "max_box_acc_v2": "mean of δ",
    "piou": "pIoU",
    "pxap": "PxAP",
}
DATASET_TITLES = {
    "cub": "CUB-200",
    "imagenet": "ImageNet",
    "openimages": "OpenImages",
    "stanford_dogs": "Stanford Dogs",
    "fgvc_aircraft": "FGVC-Aircraft",
    "stanford_cars": "Stanford Cars",
}


def measured(runs_dir: str | Path = "runs", files: str | Path | None = None) -> pd.DataFrame:
    """Every finished run that is at hand.

    Args:
        runs_dir: Folder of the runs that were computed here, from the project's root if relative.
        files: Folder of the result files; the project's ``benchmarks/results`` where None.

    Returns:
        One row a run: metrics (percent), the columns of ``ORIGIN``, ``run`` and, for runs of this
        project, ``dir``. ``given`` is JSON of what differs from the profile.
    """
    from satkit.notebooks import in_project

    folder = in_project("benchmarks/results") if files is None else Path(files)
    parts = [_cached(path) for path in sorted(folder.glob("*.csv"))] + [_here(in_project(runs_dir))]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(ORIGIN))
    rows = pd.concat(parts, ignore_index=True)
    rows["_key"] = [key(settings_of(row)) for row in rows.to_dict("records")]
    rows["_here"] = rows["source"] == HERE
    rows["_metrics"] = rows.notna().sum(axis=1)  # one run in two files: the fuller row
    rows = rows.sort_values(["_here", "date", "_metrics"])
    same = [rows[name].fillna("") for name in ("_key", "seed", "commit", "date")]
    rows = rows.fillna(rows.groupby(same).ffill())
    rows = rows.drop_duplicates(["_key", "seed"], keep="last").sort_index()
    return rows.drop(columns=["_key", "_here", "_metrics"]).reset_index(drop=True)


def _cached(path: Path) -> pd.DataFrame:
    """A committed result file, if its rows are runs."""
    rows = pd.read_csv(path)
    if not {"dataset", "seed", "given", "commit"} <= set(rows):
        return rows.head(0)
    return rows.assign(profile=rows.get("profile", "lab"), source=CACHED)


def _here(runs_dir: Path) -> pd.DataFrame:
    """The finished runs of this project."""
    from satkit.results import Run

    rows = []
    for path in sorted(runs_dir.glob("*/*/metrics.json")):
        run = Run(path.parent)
        settings = _as_asked_or_none(run)
        if settings is None:
            continue
        origin = run.provenance
        numbers = {k: v for k, v in run.metrics.items() if isinstance(v, int | float | str)}
        about: dict[str, Any] = {
            "seed": settings.seed, "dataset": settings.dataset, "profile": settings.profile,
        }  # fmt: skip
        about |= {name: origin[name] for name in ("commit", "date", "device", "data")}
        about |= {"given": json.dumps(_portable(settings)), "run": run.dir.name}
        rows.append({**numbers, **run.curve_points(), **about, "source": HERE, "dir": str(run.dir)})
    return pd.DataFrame(rows)


def _as_asked_or_none(run: Run) -> TrainSettings | None:
    """What was asked for a run; says so and gives None where this version does not know it."""
    try:
        return as_asked(run)
    except ValueError:
        print(f"left out: {run.dir}, whose settings are of another version of satkit")
        return None


def as_asked(run: Run) -> TrainSettings:
    """What was asked for a run: ``two_stage`` where the run is the second stage of it.

    Args:
        run: Finished; the first stage is looked for beside it.

    Returns:
        Its settings; a second stage (Table 13) is itself a run from the first one's weights.
    """
    settings = run.settings
    weights = Path(settings.checkpoint)
    if settings.freeze != "all_but_token" or weights.name != "model.safetensors":
        return settings
    first = run.dir.parent / weights.parent.name / "settings.json"
    checkpoint = json.loads(first.read_text())["checkpoint"] if first.is_file() else ""
    changes = {"two_stage": True, "freeze": "a", "checkpoint": checkpoint}
    return settings.model_copy(update=changes)


def _portable(settings: TrainSettings) -> dict[str, Any]:
    """What differs from the profile and changes numbers, without folders of this machine."""
    given = {k: v for k, v in settings.given().items() if k not in IRRELEVANT}
    if "checkpoint" in given:
        given["checkpoint"] = Path(given["checkpoint"]).name
    return given


def settings_of(row: Mapping[Any, Any]) -> TrainSettings:
    """Settings of a measured row.

    Args:
        row: ``dataset``, ``seed``, ``profile`` and ``given`` (JSON).

    Returns:
        The settings; folders and files of other machines are left out.
    """
    from satkit.settings import TrainSettings

    given = {k: v for k, v in json.loads(row["given"]).items() if k not in IRRELEVANT}
    given |= {"dataset": row["dataset"], "seed": int(row["seed"])}
    return TrainSettings.for_profile(row["profile"], **given)


def key(settings: TrainSettings) -> str:
    """A text that two runs share when they differ by nothing but the seed.

    Args:
        settings: Of a run.

    Returns:
        JSON of the data set and of all settings and options that change numbers.
    """
    from satkit.methods import METHODS

    values = settings.model_dump(mode="json")
    options = {**METHODS[settings.method].options, **values.pop("options")}
    kept = {k: v for k, v in values.items() if k not in IRRELEVANT | {"profile"}}
    kept["checkpoint"] = Path(settings.checkpoint).name
    return json.dumps({**kept, **options, "dataset": settings.dataset}, sort_keys=True)


def bases(rows: pd.DataFrame, profile: str = "lab") -> dict[str, TrainSettings]:
    """Data sets on which SAT was measured as a profile has it, and the settings there.

    Args:
        rows: From :func:`measured`.
        profile: Of the runs.

    Returns:
        By data set, settings that :func:`rows_of` and :func:`beside` take; where epoch and
        threshold were chosen (``selection``) is that of the runs.
    """
    from satkit.settings import TrainSettings

    found: dict[str, TrainSettings] = {}
    for row in rows.to_dict("records"):
        asked = settings_of(row)
        given = {"dataset": asked.dataset, "selection": asked.selection}
        plain = TrainSettings.for_profile(profile, **given)
        if row["profile"] == profile and key(asked) == key(plain):
            found.setdefault(asked.dataset, plain)
    return found


def rows_of(experiment: str, base: TrainSettings, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The measured runs of each row of an experiment.

    Args:
        experiment: Key of ``EXPERIMENTS``.
        base: Settings that all rows share: data set, backbone, epochs, …
        rows: From :func:`measured`.

    Returns:
        Runs by row label; empty tables where there are none.

    Raises:
        ValueError: Unknown experiment, or settings that do not fit the data set.
    """
    check_choice("experiment", experiment, EXPERIMENTS)
    keys = [key(settings_of(row)) for row in rows.to_dict("records")]
    found = {}
    for label, changes in EXPERIMENTS[experiment].items():
        wanted = key(row_settings(base, changes))
        found[label] = rows.loc[[one == wanted for one in keys]]
    return found


def row_settings(base: TrainSettings, changes: Mapping[str, Any]) -> TrainSettings:
    """Settings of one row of an experiment.

    Args:
        base: Settings that all rows share.
        changes: Of the row, as ``EXPERIMENTS`` has them.

    Returns:
        The base's settings with the row's; losses are the method's own unless the row names them.
    """
    from satkit.settings import TrainSettings

    own = ("method", "area_term", "pixel_term", "profile")
    given = {k: v for k, v in base.given().items() if k not in own}
    if base.method != changes.get("method", "sat"):
        given = {k: v for k, v in given.items() if k in TrainSettings.model_fields}
    return TrainSettings.for_profile(base.profile, **{**given, **changes})


def beside(
    experiment: str,
    base: TrainSettings,
    rows: pd.DataFrame,
    metrics: Sequence[str] = ("top1_cls", "top1_loc", "gt_known"),
    printed: str = "",
) -> pd.DataFrame:
    """One of the paper's tables, measured beside printed.

    Args:
        experiment: Key of ``EXPERIMENTS``.
        base: Settings that all rows share.
        rows: From :func:`measured`.
        metrics: Columns, percent.
        printed: The paper's table, for instance ``table3``; the experiment's own where empty.

    Returns:
        A row for each of the experiment: each metric as mean ± standard deviation over seeds, the
        number of seeds, where it was computed, and the paper's values in columns that say so. "–"
        where there is none.

    Raises:
        ValueError: Unknown experiment or table.
    """
    found = rows_of(experiment, base, rows)
    own = experiment.split("_")[0].replace("fig", "figure")
    paper = _printed(printed or (own if own in list_tables() else ""), metrics)
    lines = {}
    for label, runs in found.items():
        line = {TITLES.get(name, name): spread(runs.get(name)) for name in metrics}
        line["seeds"] = str(len(runs)) if len(runs) else "not run"
        line["from"] = ", ".join(sorted(set(runs["source"]))) if len(runs) else "–"
        changes = EXPERIMENTS[experiment][label]
        lines[label] = {**line, **paper(changes)}
    return pd.DataFrame.from_dict(lines, orient="index").fillna("–").replace("", "–")


def _printed(name: str, metrics: Sequence[str]) -> Any:
    """A function from a row's settings to the paper's values, with a column for each data set."""
    printed = table(name) if name else table("table1").head(0)
    printed = printed[printed["metric"].isin(metrics)]

    def values(changes: Mapping[str, Any]) -> dict[str, str]:
        rest = {k: v for k, v in changes.items() if DEFAULTS.get(k) != v}
        method, backbone = rest.pop("method", "sat"), rest.pop("backbone", "deit_small_patch16_224")
        same = printed[(printed["method"] == method) & (printed["backbone"] == backbone)]
        same = same[[setting == rest for setting in same["setting"]]]
        return {
            f"{TITLES.get(row.metric, row.metric)}, the paper's on "
            f"{DATASET_TITLES.get(row.dataset, row.dataset)}": row.printed
            for row in same.itertuples()
        }

    return values


def spread(values: pd.Series | None, digits: int = 1) -> str:
    """Mean ± standard deviation over seeds as text; without ± for one value, "" for none."""
    values = pd.Series(dtype=float) if values is None else values.dropna()
    if values.empty:
        return ""
    deviation = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"


def at_the_edge(rows: pd.DataFrame) -> pd.Series:
    """Whether the chosen threshold is the first or last candidate: a better one may lie outside.

    Args:
        rows: From :func:`measured`, or a part of it.

    Returns:
        A truth value for each row; False for PSOL, whose map is a box at every threshold.
    """

    def is_end(row: Mapping[Any, Any]) -> bool:
        candidates = settings_of(row).thresholds
        ends = (candidates[0], candidates[-1]) if candidates else ()
        return row.get("threshold") in ends and json.loads(row["given"]).get("method") != "psol"

    return pd.Series([is_end(row) for row in rows.to_dict("records")], rows.index, dtype=bool)


def banner(rows: pd.DataFrame) -> str:
    """Say where measured rows come from, a line for those computed here and one for cached ones.

    Args:
        rows: From :func:`measured`, or a part of it.

    Returns:
        Commits, dates and devices; and how many thresholds are :func:`at_the_edge`, if any.
    """
    lines = []
    for source, group in rows.groupby("source", sort=True):
        commits = ", ".join(sorted({str(value)[:8] for value in group["commit"]}))
        dates = sorted({str(value)[:10] for value in group["date"]})
        devices = ", ".join(sorted(set(map(str, group["device"]))))
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        runs = f"{len(group)} run{'s' if len(group) > 1 else ''}"
        lines.append(f"{source}: {runs}, commit {commits}, {when}, {devices}")
    if count := at_the_edge(rows).sum():
        lines.append(
            f"threshold at the end of its candidates, a better one may lie outside: {count} of "
            f"{len(rows)} runs"
        )
    return "\n".join(lines) or "nothing was measured yet"
