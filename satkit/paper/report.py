"""The ledger as pages: counted, with the runs that it still needs, and written to files."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from satkit.paper.claims import NOT_RUN, VERDICTS, claims, needed, sides_of
from satkit.paper.measured import banner, key, settings_of

if TYPE_CHECKING:
    from satkit.settings import TrainSettings


def count_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims got which verdict on each data set.

    Args:
        table: Of :func:`satkit.paper.ledger`.

    Returns:
        One row a data set, one column a verdict from ``reproduced`` to ``not run``. A claim that
        was judged under several conditions counts for each.
    """
    columns = [*reversed(VERDICTS), NOT_RUN]
    counts = pd.crosstab(table["dataset"], table["verdict"]).reindex(columns=columns, fill_value=0)
    return counts.rename(index={"": "none of its data sets"})


def paper_effects() -> pd.DataFrame:
    """The paper's own effects, judged by the bound of each claim.

    Returns:
        ``claim``, ``dataset``, ``effect``, ``bound`` and ``meets``: whether the paper's effect lies
        on the claim's side of the bound.
    """
    rows = []
    for claim in claims().to_dict("records"):
        for dataset, effect in claim["paper"].items():
            below = claim["statistic"] == "range"
            meets = effect < claim["bound"] if below else effect > claim["bound"]
            rows.append((claim["id"], dataset, effect, claim["bound"], meets))
    return pd.DataFrame(rows, columns=["claim", "dataset", "effect", "bound", "meets"])


def to_run(rows: pd.DataFrame, base: TrainSettings, seeds: int) -> pd.DataFrame:
    """Runs that the claims still need on one data set.

    Args:
        rows: Of :func:`satkit.paper.measured`.
        base: Profile and data set; other settings are the profile's.
        seeds: How many seeds each side of a claim shall have, from 0 on.

    Returns:
        One row for each different setting that lacks a seed: ``claims`` that need it, ``missing``
        (seeds), ``command`` of the first missing seed, and ``hours`` of all missing ones, from the
        median training time of measured runs of the same data set, profile and backbone (NaN where
        there is none).

    Raises:
        ValueError: No seeds are asked for.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; expected 1 or more")
    asked = [settings_of(row) for row in rows.to_dict("records")]
    done = {(key(one), one.seed) for one in asked}
    seconds = _seconds(rows, asked)
    found: dict[str, dict[str, Any]] = {}
    for claim in claims().to_dict("records"):
        if claim["datasets"] and base.dataset not in claim["datasets"]:
            continue
        for side in sides_of(claim):
            one = base.for_profile(base.profile, **{**side, "dataset": base.dataset})
            missing = [seed for seed in range(seeds) if (key(one), seed) not in done]
            if not missing:
                continue
            first = one.model_copy(update={"seed": missing[0]})
            command = shlex.join(["python", "-m", "satkit", "train", *first.arguments()])
            each = seconds.get((one.dataset, one.profile, one.backbone), math.nan)
            hours = round(len(missing) * each / 3600, 2)
            row = {"claims": [], "missing": missing, "command": command, "hours": hours}
            found.setdefault(key(one), row)["claims"].append(claim["id"])
    table = pd.DataFrame(found.values(), columns=["claims", "missing", "command", "hours"])
    table["claims"] = [", ".join(dict.fromkeys(names)) for names in table["claims"]]
    return table


def _seconds(
    rows: pd.DataFrame, settings: list[TrainSettings]
) -> dict[tuple[str, str, str], float]:
    """Median training time by data set, profile and backbone."""
    if "train_seconds" not in rows:
        return {}
    kinds = [(one.dataset, one.profile, one.backbone) for one in settings]
    median = rows["train_seconds"].groupby(pd.Series(kinds, index=rows.index)).median()
    return dict(median.items())  # type: ignore[arg-type]


def write_ledger(table: pd.DataFrame, rows: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Write the ledger as ``ledger.csv`` (whole) and ``ledger.md`` (to be read).

    Args:
        table: Of :func:`satkit.paper.ledger`.
        rows: The measured rows that it judges, for their provenance.
        folder: Where to; made if need be.

    Returns:
        Both files.
    """
    from satkit.results import write_atomically

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / "ledger.csv", table.to_csv(index=False))
    head = (
        "| claim | where | data set | conditions | the paper's | measured | seeds | needed "
        "| verdict |"
    )
    lines = [
        "# The paper's claims, as far as they were run",
        "",
        *(f"- {line}" for line in banner(rows).splitlines()),
        "- Verdicts follow the rule of `satkit.paper.claims`; effects are points, with the 95 % "
        "interval over seeds. Needed: so many seeds would carry the interval clear of the bound.",
        "",
        head,
        "|" + "---|" * (head.count("|") - 1),
        *map(_line, table.to_dict("records")),
    ]
    write_atomically(place / "ledger.md", "\n".join(lines) + "\n")
    return [place / "ledger.csv", place / "ledger.md"]


def _line(row: Mapping[Any, Any]) -> str:
    effect = "" if math.isnan(row["effect"]) else f"{row['effect']:+.2f}"
    ends = "" if math.isnan(row["low"]) else f" [{row['low']:+.2f}, {row['high']:+.2f}]"
    conditions = row["conditions"] if row["conditions"] != "{}" else ""
    cells = (
        row["says"], row["location"], row["dataset"], conditions, row["paper"], effect + ends,
        row["seeds"], needed(row["seeds_needed"]), row["verdict"],
    )  # fmt: skip
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
