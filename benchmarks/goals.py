"""What the benchmarks aim at, how they say whether they reached it, and docs/speed.md.

    python benchmarks/goals.py             # write the tables of docs/speed.md from the result files
    python benchmarks/goals.py --regress   # `make bench`: fail where a ratio fell by 20 %

A benchmark writes a JSON file with its provenance and ``goals``: name -> value, target, whether
more is better, and whether it is reached; ``notes``, if any, stand below them. Only ratios and
shares of one run are compared with an earlier measurement, since seconds depend on the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "speed.md"
START, END = "<!-- {} -->\n", "<!-- /{} -->"
#: A ratio may be so much worse than the committed one: timings are never the same twice
TOLERANCE = 0.2
#: Scripts that take --out, and whose goals are ratios
SCRIPTS = ("boxes", "model", "data")


def goal(value: float, target: float, *, more: bool = True, unit: str = "x") -> dict[str, Any]:
    """One goal of a benchmark, for its result file.

    Args:
        value: Measured.
        target: What is aimed at.
        more: Whether more is better.
        unit: Behind the number; ``x`` is a ratio, ``%`` a share.

    Returns:
        Plain data; ``reached`` says whether the value is as good as the target.
    """
    reached = value >= target if more else value <= target
    return {"value": value, "target": target, "more": more, "unit": unit, "reached": bool(reached)}


def say(goals: dict[str, dict[str, Any]]) -> None:
    """Print goals, a line each."""
    for name, row in goals.items():
        word = "reached" if row["reached"] else "NOT reached"
        print(f"{name}: {row['value']:.3g} {row['unit']} ({_target(row)}): {word}")


def _target(row: dict[str, Any]) -> str:
    return f"target {'≥' if row['more'] else '≤'} {row['target']:g} {row['unit']}"


def fallen(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What got worse by more than the tolerance.

    Args:
        old: Goals of the committed result file.
        new: Goals as just measured.

    Returns:
        A line each; ratios and shares only. A goal that is gone counts as fallen.
    """
    lines = []
    for name, before in old.items():
        if before["unit"] not in ("x", "%"):
            continue
        if name not in new:
            lines.append(f"{name}: is no longer measured")
            continue
        was, now = before["value"], new[name]["value"]
        worse = was / now if before["more"] else now / was
        if worse > 1 / (1 - TOLERANCE):
            lines.append(f"{name}: {now:.3g} {before['unit']}, was {was:.3g}")
    return lines


def regress(folder: Path) -> list[str]:
    """Run the benchmarks into a folder and compare them with the committed files of this device."""
    lines = []
    for script in SCRIPTS:
        command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--out", str(folder)]
        subprocess.run(command, check=True, cwd=ROOT)
    for path in sorted(folder.glob("*.json")):
        committed = RESULTS / path.name
        if not committed.exists():
            print(f"{path.name}: no committed result of this device to compare with")
            continue
        old, new = (json.loads(file.read_text())["goals"] for file in (committed, path))
        lines += [f"{path.stem}: {line}" for line in fallen(old, new)]
    return lines


def table(path: Path) -> str:
    """Goals of a result file as Markdown, with where they come from."""
    content = json.loads(path.read_text())
    about = content["provenance"]
    head = f"**{path.stem}**, measured {about['date'][:10]} on {about['device']}"
    lines = [f"{head}, commit {about['commit'][:10]}{' and changes' if about['dirty'] else ''}", ""]
    lines += ["| | measured | target | |", "|---|---|---|---|"]
    for name, row in content["goals"].items():
        measured = f"{row['value']:.3g} {row['unit']}"
        word = "reached" if row["reached"] else "**not reached**"
        lines.append(f"| {name} | {measured} | {_target(row)[7:]} | {word} |")
    if content.get("notes"):
        lines += ["", " ".join(content["notes"])]
    return "\n".join(lines) + "\n"


def write_page() -> None:
    """Put the tables of all result files with goals into docs/speed.md, between their markers."""
    text = PAGE.read_text()
    for part in ("model", "boxes", "data", "notebooks", "end_to_end"):
        files = sorted(RESULTS.glob(f"{part}*.json"))
        tables = [table(path) for path in files if "goals" in json.loads(path.read_text())]
        text = replace_part(text, part, "\n".join(tables) or "Not measured yet.\n")
    PAGE.write_text(text)


def replace_part(text: str, part: str, content: str) -> str:
    """Replace what stands between the markers of a part of the page."""
    start, end = START.format(part), END.format(part)
    before, found, rest = text.partition(start)
    if not found or end not in rest:
        raise ValueError(f"the page has no markers {start.strip()} and {end}")
    return before + start + content + end + rest.partition(end)[2]


def main(
    again: Annotated[bool, typer.Option("--regress", help="Measure and compare.")] = False,
) -> None:
    if not again:
        write_page()
        return
    with tempfile.TemporaryDirectory() as name:
        lines = regress(Path(name))
    print("\n".join(lines) or "no ratio fell by more than 20 %")
    raise typer.Exit(1 if lines else 0)


if __name__ == "__main__":
    typer.run(main)
