"""What the benchmarks aim at, how they say whether they reached it, and docs/speed.md.

    python benchmarks/goals.py             # write the tables of docs/speed.md from the result files
    python benchmarks/goals.py --regress   # `make bench`: fail where a ratio fell by 20 %, a share
                                           # by 5 points, or a new device misses a target

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
#: A share may be so much worse, as a difference, since a good one is nearly zero
MARGINS = {"share": 0.05, "% of the time": 5.0}
#: Scripts that take --out, and whose goals are ratios
SCRIPTS = ("boxes", "model", "data")


def goal(value: float, target: float, *, more: bool = True, unit: str = "x") -> dict[str, Any]:
    """One goal of a benchmark, for its result file.

    Args:
        value: Measured.
        target: What is aimed at.
        more: Whether more is better.
        unit: Behind the number; ``x`` is a ratio, those of `MARGINS` are shares.

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
        unit = before["unit"]
        if unit != "x" and unit not in MARGINS:
            continue
        if name not in new:
            lines.append(f"{name}: is no longer measured")
            continue
        was, now = before["value"], new[name]["value"]
        if is_worse(was, now, before["more"], unit):
            lines.append(f"{name}: {now:.3g} {unit}, was {was:.3g}")
    return lines


def is_worse(was: float, now: float, more: bool, unit: str) -> bool:
    """Whether a ratio or a share is worse by more than it may be."""
    if unit in MARGINS:
        return (was - now if more else now - was) > MARGINS[unit]
    return (was / now if more else now / was) > 1 / (1 - TOLERANCE)


def missed(goals: dict[str, dict[str, Any]]) -> list[str]:
    """Goals that are not reached, a line each."""
    return [
        f"{name}: {row['value']:.3g} {row['unit']}, {_target(row)}, and nothing to compare with"
        for name, row in goals.items()
        if not row["reached"]
    ]


def regress(folder: Path) -> list[str]:
    """Run the benchmarks into a folder and compare them with the committed files of this device.

    Args:
        folder: For the new result files.

    Returns:
        What got worse, a line each. Where a device has no committed file, what misses its target.
    """
    lines = []
    for script in SCRIPTS:
        command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--out", str(folder)]
        subprocess.run(command, check=True, cwd=ROOT)
    for path in sorted(folder.glob("*.json")):
        committed, new = RESULTS / path.name, json.loads(path.read_text())["goals"]
        if committed.exists():
            found = fallen(json.loads(committed.read_text())["goals"], new)
        else:
            found = missed(new)
        lines += [f"{path.stem}: {line}" for line in found]
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
    print("\n".join(lines) or "no ratio fell by more than 20 %, and no share by more than 5 points")
    raise typer.Exit(1 if lines else 0)


if __name__ == "__main__":
    typer.run(main)
