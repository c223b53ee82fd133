"""What each reading of paper, authors' code and standard evaluation is worth, on a finished run.

    python benchmarks/discrepancies.py runs/sweep/RUN
    python benchmarks/discrepancies.py --show

The first scores the run's maps under every reading of the evaluation and writes
``results/discrepancies_<dataset>.csv``. Readings of model, losses and training are runs of their
own (rows of the experiment ``discrepancies``), whose result files lie in the same folder.
docs/discrepancies.md shows both; ``--show`` only writes that page anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.goals import replace_part
from satkit import paper
from satkit.paper.claims import IRRELEVANT
from satkit.paper.measured import rows_of
from satkit.readings import (
    cached_readings,
    collect_views,
    evaluate_readings,
    readings_banner,
    show_readings,
    training_readings,
)
from satkit.results import Run, device_name, open_run, provenance
from satkit.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
PAGE = RESULTS.parents[1] / "docs" / "discrepancies.md"
#: Data sets whose readings the page shows
TITLES = {
    "aviary": "Aviary, 1,000 training and 1,000 test drawings, the shipped backbone",
    "butterflies": "Leeds Butterfly photographs",
    "birds": "A part of CUB-200-2011",
}


def main(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")] = "",
    show: Annotated[bool, typer.Option("--show", help="Only write the page.")] = False,
) -> None:
    if not show and not run:
        raise typer.BadParameter("give the folder of a finished run, or --show")
    if run:
        store(open_run(run))
    write_page()


def store(run: Run) -> None:
    """Score a run's maps under every reading, and write the file."""
    table = evaluate_readings(collect_views(run))
    given = {k: v for k, v in run.settings.given().items() if k not in IRRELEVANT}
    own = provenance(device_name(), run.provenance["data"])
    about = {
        "dataset": run.settings.dataset,
        "run": run.dir.name,
        "run_given": json.dumps({**given, "seed": run.settings.seed}),  # one run, many rows
        "run_commit": run.provenance["commit"],
        **{name: own[name] for name in ("commit", "dirty", "date", "device", "data")},
    }
    path = RESULTS / f"discrepancies_{run.settings.dataset}.csv"
    table.assign(**about).to_csv(path, index=False)


def blocks() -> dict[str, str]:
    """What the page shows between its marks."""
    evaluation, training = [], []
    rows = paper.measured(RESULTS / "none")  # result files only
    for dataset, title in TITLES.items():
        if (table := cached_readings(dataset, RESULTS)) is not None:
            evaluation += [f"**{title}**", markdown(show_readings(table))]
            evaluation += [f"Measured: {readings_banner(table)}."]
        base = TrainSettings.for_profile("lab", dataset=dataset)
        trained = training_readings(base, rows)
        if (trained["seeds"] != "not run").sum() > 1 or dataset == "aviary":
            training += [f"**{title}**", markdown(trained), "Measured: " + banner(base, rows)]
    return {"training": "\n\n".join(training), "evaluation": "\n\n".join(evaluation)}


def banner(base: TrainSettings, rows: pd.DataFrame) -> str:
    """Where the rows of the experiment come from."""
    found = pd.concat(rows_of("discrepancies", base, rows).values())
    return paper.banner(found) + "."


def markdown(table: pd.DataFrame) -> str:
    """A table of texts."""
    lines = ["| " + " | ".join(table) + " |", "|---" * table.shape[1] + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in table.astype(str).to_numpy()]
    return "\n".join(lines)


def write_page() -> None:
    """Put the tables between the marks of the page."""
    text = PAGE.read_text()
    for name, block in blocks().items():
        text = replace_part(text, f"measured: {name}", block + "\n")
    PAGE.write_text(text)


if __name__ == "__main__":
    typer.run(main)
