"""How long the notebooks take: first and second execution, and the set-up cells of each.

    python benchmarks/notebooks.py lab
    python benchmarks/notebooks.py lab --folder FOLDER    # goes on with what FOLDER holds

The first execution starts without any finished run. The second executes every cell anew and finds
the runs of the first; the third is the same command given again, which executes nothing. Set-up
is what a notebook does until its settings are checked (`import satkit`, `configure`), in the second
execution. Memory is the most that this command and all processes below it held at once in the
first execution, looked at each second; of one that goes on it is not known. Results go to
benchmarks/results/notebooks_<profile>.json, with the targets.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

import nbformat
import psutil
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.goals import goal, say
from satkit.notebooks import run
from satkit.results import provenance, write_json

RESULTS = Path(__file__).parent / "results"
#: Seconds: of the whole series by profile and execution, and of one notebook's set-up
TARGETS = {
    "smoke": {"first": 720.0},
    "lab": {"first": 1200.0, "second": 120.0, "unchanged": 120.0},
}
SETUP_TARGET = 3.0


def setup_seconds(path: Path) -> float:
    """Seconds of an executed notebook's cells until its settings were checked."""
    spent = 0.0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        about = cell.metadata.papermill
        start, end = map(datetime.fromisoformat, (about.start_time, about.end_time))
        spent += (end - start).total_seconds()
        if "configure(" in cell.source:
            return spent
    raise ValueError(f"{path} has no cell that calls configure")


def execute(folder: Path, profile: str, which: str) -> dict[str, float]:
    """Execute the series where it was not yet; return the seconds of each notebook."""
    outcomes = run(None, profile, {"runs_dir": str(folder / "runs")}, folder / which)
    failed = [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed:
        raise SystemExit("\n".join(failed))
    return {outcome.name: outcome.seconds for outcome in outcomes}


def held_bytes() -> int:
    """Memory of this process and all below it; what they share counts once."""
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):  # it ended in the meantime
            total += process.memory_full_info().pss
    return total


@contextmanager
def watched(every: float = 1.0) -> Iterator[list[int]]:
    """Look at the memory all the while.

    Args:
        every: Seconds between two looks.

    Yields:
        What was held at each look, bytes; it grows while the block runs.
    """
    found, done = [held_bytes()], Event()

    def look() -> None:
        while not done.wait(every):
            found.append(held_bytes())

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def unchanged(folder: Path, profile: str) -> dict[str, float]:
    """Seconds of the command where every notebook is up to date."""
    start = time.monotonic()
    execute(folder, profile, "second")
    return {"whole series": round(time.monotonic() - start, 1)}


def judge(seconds: dict[str, dict[str, float]], profile: str) -> dict[str, Any]:
    """Goals of the series; ``seconds`` holds ``first``, ``second`` and ``setup`` by notebook."""
    goals = {
        f"the series, {which}": goal(sum(seconds[which].values()), target, more=False, unit="s")
        for which, target in TARGETS[profile].items()
    }
    longest = max(seconds["setup"].values())
    return {**goals, "longest set-up": goal(longest, SETUP_TARGET, more=False, unit="s")}


def main(
    profile: Annotated[str, typer.Argument(help="smoke or lab.")] = "lab",
    folder: Annotated[Path | None, typer.Option(help="Of runs and executed notebooks.")] = None,
) -> None:
    if profile not in TARGETS:
        raise typer.BadParameter(f"{profile!r}; expected one of {', '.join(TARGETS)}")
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh = not any(folder.glob("first/*.ipynb"))
        with watched() as memory:
            seconds = {"first": execute(folder, profile, "first")}
        seconds["second"] = execute(folder, profile, "second")
        seconds["unchanged"] = unchanged(folder, profile)
        second = sorted(folder.glob("second/*.ipynb"))
        seconds["setup"] = {path.stem: round(setup_seconds(path), 2) for path in second}
    about = provenance("cpu", "embedded")
    about |= {"cores": len(os.sched_getaffinity(0)), "load_average": round(os.getloadavg()[1], 1)}
    goals = judge(seconds, profile)
    held = round(max(memory) / 1e9, 2) if fresh else None
    write_json(
        RESULTS / f"notebooks_{profile}.json",
        {"provenance": about, "profile": profile, "seconds": seconds, "memory_gb": held,
         "goals": goals},
    )  # fmt: skip
    say(goals)


if __name__ == "__main__":
    typer.run(main)
