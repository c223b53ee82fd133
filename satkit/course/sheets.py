"""The exercise notebooks: from their sources to what teachers and students open.

A cell's part is told by its marks, so sources carry no metadata: ``{{name}}`` in the task,
``### BEGIN SOLUTION`` in the answer, ``### BEGIN HIDDEN TESTS`` in the check, ``<details>`` in the
hint. nbgrader's metadata is added here. Needs the extra ``notebooks``, and not nbgrader.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from satkit.choices import check_choice
from satkit.course import registry
from satkit.notebooks import from_source, project_root

Role = Literal["parameters", "start", "task", "answer", "check", "hint", "given", "text"]
FACTS = re.compile(r"^\{\{(.*?)\}\}$", re.MULTILINE)
SOLUTION = re.compile(r"\n?([ \t]*)### BEGIN SOLUTION\n.*?### END SOLUTION[^\n]*", re.DOTALL)
HIDDEN = re.compile(r"\n?### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS[^\n]*", re.DOTALL)
STUB = "# YOUR CODE HERE"
NOTICE = (
    "**This edition holds the solutions.** The one to work in is made by "
    "`python -m satkit course release my-course`: it is in `student_edition.zip` in that folder."
)
LOCKED: tuple[Role, ...] = ("start", "task", "check", "given")


@dataclass(frozen=True)
class Part:
    """What a cell is in its sheet.

    Attributes:
        role: Of the cell.
        exercise: Name of the exercise that it belongs to; "" before the first.
        cell: As nbformat has it.
    """

    role: Role
    exercise: str
    cell: Any


@dataclass(frozen=True)
class Call:
    """One ``check("iou", iou, seed=3)`` of a check cell.

    Attributes:
        exercise: Its first argument.
        answer: Code of its second argument.
        seed: Of the inputs; that of the sheet where it gives none.
    """

    exercise: str
    answer: str
    seed: int = 0


def sheet_names(asked: list[str] | None = None) -> list[str]:
    """Full names of sheets.

    Args:
        asked: Names or their beginnings, ``ex01``; all sheets where None or empty.

    Raises:
        ValueError: There is no such sheet.
    """
    known = registry.sheets()
    short = {name.split("_")[0]: name for name in known}
    for name in asked or []:
        check_choice("exercise notebook", name, [*short, *known])
    return [short.get(name, name) for name in asked or known]


def parts_of(notebook: Any) -> list[Part]:
    """Tell what each cell of a source is.

    Args:
        notebook: As `satkit.notebooks.from_source` makes it, facts not yet filled in.
    """
    found, exercise = [], ""
    for cell in notebook.cells:
        if names := FACTS.findall(cell.source):
            exercise = names[0]
        found.append(Part(_role(cell), exercise, cell))
    return found


def _role(cell: Any) -> Role:
    source = cell.source
    if cell.cell_type == "markdown":
        if FACTS.search(source):
            return "task"
        return "hint" if is_hint(cell) else "text"
    if "parameters" in cell.metadata.get("tags", []):
        return "parameters"
    if "### BEGIN SOLUTION" in source:
        return "answer"
    if re.search(r"^check\(", source, re.MULTILINE):
        return "check"
    return "start" if re.search(r"^check = start\(", source, re.MULTILINE) else "given"


def is_hint(cell: Any) -> bool:
    """Whether a cell holds the hint of an exercise."""
    return bool(cell.source.startswith("<details><summary>Hint"))


def calls_of(source: str) -> list[Call]:
    """The calls of ``check`` in a check cell.

    Args:
        source: Code of the cell.

    Raises:
        ValueError: There is something else in it.
    """
    calls = []
    for node in ast.parse(source).body:
        match node:
            case ast.Expr(ast.Call(ast.Name("check"), [ast.Constant(str(name)), answer], words)):
                seed = {word.arg: ast.literal_eval(word.value) for word in words}.get("seed", 0)
                calls.append(Call(name, ast.unparse(answer), seed))
            case _:
                raise ValueError(
                    f"a check cell holds {ast.unparse(node)!r}; it may hold only "
                    'check("name", answer) and check("name", answer, seed=3)'
                )
    return calls


# --------------------------------------------------------------------------------------------------
# From the source
# --------------------------------------------------------------------------------------------------


def source_path(sheet: str, folder: Path | None = None) -> Path:
    """Source of a sheet.

    Args:
        sheet: Full name.
        folder: That holds `source/`; the project's `notebooks/course` where None.
    """
    return (folder or project_root() / "notebooks" / "course") / "source" / f"{sheet}.py"


def teacher_notebook(sheet: str, text: str) -> Any:
    """Make the notebook of a sheet, with solutions, hidden tests and nbgrader's metadata.

    Args:
        sheet: Full name, ``ex01_localization_and_metrics``.
        text: Its source, py:percent.

    Returns:
        As nbformat has it; the same one every time.

    Raises:
        ValueError: A ``{{name}}`` is no exercise of the sheet.
    """
    notebook = _read(text)
    counts: dict[str, int] = {}
    for part in parts_of(notebook):
        part.cell.source = FACTS.sub(lambda found: _facts(found[1], sheet), part.cell.source)
        kind = part.role if part.role != "check" else ""
        key = "-".join(word for word in (part.exercise, kind) if word)
        counts[key] = counts.get(key, 0) + 1
        own = key if counts[key] == 1 else f"{key}-{counts[key]}"
        if part.role in (*LOCKED, "answer"):
            part.cell.metadata["nbgrader"] = _metadata(part, own, sheet)
    return notebook


def _read(text: str) -> Any:
    """Notebook of a source; a hint and the next task are cells of their own."""
    import nbformat

    apart = text.replace("\n# </details>\n#\n# ## ", "\n# </details>\n\n# %% [markdown]\n# ## ")
    return nbformat.reads(from_source(apart), as_version=4)


def _facts(name: str, sheet: str) -> str:
    return registry.facts_line(registry.find_exercise(name.strip(), sheet))


def _metadata(part: Part, grade_id: str, sheet: str) -> dict[str, Any]:
    """What nbgrader 0.9 wants to know of a cell."""
    is_check = part.role == "check"
    found: dict[str, Any] = {
        "schema_version": 3,
        "grade_id": grade_id,
        "grade": is_check,
        "solution": part.role == "answer",
        "locked": part.role in LOCKED,
        "task": False,
        "cell_type": part.cell.cell_type,
    }
    if is_check and not part.exercise:
        raise ValueError(f"{part.cell.source!r} stands before the first {{{{name}}}} line")
    if is_check:
        found["points"] = registry.find_exercise(part.exercise, sheet).points
    return found


def student_source(source: str) -> str:
    """Code of a cell as students get it: no solution, no hidden tests.

    Args:
        source: Code of the teacher's cell.
    """
    return HIDDEN.sub("", without_solutions(source))


def without_solutions(source: str) -> str:
    """Code of a cell without its solution.

    Args:
        source: Code of the teacher's cell.

    Returns:
        ``raise NotImplementedError()`` stands for the body of a function; a value keeps the line
        that the source gives before its solution.
    """
    return SOLUTION.sub(lambda found: _stub(found[1]), source)


def _stub(indent: str) -> str:
    return f"\n{indent}{STUB}\n{indent}raise NotImplementedError()" if indent else ""


def with_notice(notebook: Any) -> Any:
    """Say at the top of a notebook with solutions that it holds them; also returns it."""
    notebook.cells[0].source += f"\n\n{NOTICE}"
    return notebook


def without_notice(source: str) -> str:
    """Text of a cell without the notice that the notebook holds the solutions.

    Args:
        source: Of any cell.
    """
    return source.removesuffix(f"\n\n{NOTICE}")


def pair(folder: Path | None = None) -> list[str]:
    """Write every `exNN_….ipynb` from `source/exNN_….py`.

    Args:
        folder: Of the .ipynb files; the project's `notebooks/course` where None.

    Returns:
        Names of those that changed.

    Raises:
        ValueError: A source names an exercise that there is not.
    """
    folder = folder or project_root() / "notebooks" / "course"
    changed = []
    for source in sorted((folder / "source").glob("*.py")):
        target, text = folder / f"{source.stem}.ipynb", _text(source)
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
            changed.append(source.stem)
    return changed


def _text(source: Path) -> str:
    import nbformat

    notebook = with_notice(teacher_notebook(source.stem, source.read_text()))
    return str(nbformat.writes(notebook)) + "\n"


# --------------------------------------------------------------------------------------------------
# Looking for what is wrong
# --------------------------------------------------------------------------------------------------


def check(folder: Path | None = None) -> list[str]:
    """Look for what is wrong with the sheets, without running them.

    Args:
        folder: Of the .ipynb files; the project's `notebooks/course` where None.

    Returns:
        One line a problem; empty if all is well.
    """
    folder = folder or project_root() / "notebooks" / "course"
    known = set(registry.sheets())
    sources = {path.stem for path in (folder / "source").glob("*.py")}
    found = {path.stem for path in folder.glob("*.ipynb")}
    problems = [f"{name}: no source/{name}.py beside it" for name in sorted(found - sources)]
    problems += [f"{name}: no source for these exercises" for name in sorted(known - sources)]
    problems += [
        f"{name}: no satkit/course/exercises/{name}.py for it" for name in sorted(sources - known)
    ]
    for name in sorted(sources & known):
        problems += [f"{name}: {problem}" for problem in _check_one(name, folder)]
    return problems


def _check_one(sheet: str, folder: Path) -> Iterator[str]:
    import nbformat

    source, path = folder / "source" / f"{sheet}.py", folder / f"{sheet}.ipynb"
    try:
        text = _text(source)
    except ValueError as error:
        yield str(error)
        return
    if not path.exists() or path.read_text() != text:
        yield f"not what source/{sheet}.py gives; run `make notebooks`"
    elif any(cell.get("outputs") for cell in nbformat.reads(text, as_version=4).cells):
        yield "outputs are not stripped"
    yield from check_source(sheet, source.read_text())


def check_source(sheet: str, text: str) -> Iterator[str]:
    """Look for what is wrong with the source of a sheet.

    Args:
        sheet: Full name.
        text: Its source, py:percent.

    Yields:
        One line a problem.
    """
    parts = parts_of(_read(text))
    roles = [part.role for part in parts if part.cell.cell_type == "code"]
    if roles.count("parameters") != 1:
        yield f"{roles.count('parameters')} cells are tagged `parameters`; there must be one"
    if roles[:2] != ["parameters", "start"] or roles.count("start") != 1:
        yield "the first two code cells must be that of parameters and `check = start(…)`"
    elif f'start("{sheet}", seed=seed)' not in text:
        yield f'the start cell must call start("{sheet}", seed=seed)'
    asked = [part.exercise for part in parts if part.role == "task"]
    expected = [exercise.name for exercise in registry.exercises_of(sheet)]
    if asked != expected:
        yield f"the exercises are {asked}, but those of the registry are {expected}"
    for exercise in registry.exercises_of(sheet):
        own = [part for part in parts if part.exercise == exercise.name]
        yield from (f"{exercise.name}: {problem}" for problem in _check_exercise(exercise, own))


def _check_exercise(exercise: Any, own: list[Part]) -> Iterator[str]:
    by_role = {role: [one for one in own if one.role == role] for role in Role.__args__}  # type: ignore[attr-defined]
    for role, what in (
        ("task", "{{name}} line"),
        ("answer", "cell with ### BEGIN SOLUTION"),
        ("check", "cell with check(…)"),
        ("hint", "<details><summary>Hint"),
    ):
        if len(by_role[role]) != 1:
            yield f"has {len(by_role[role])} times a {what}; there must be one"
            return
    order = [part.role for part in own if part.role in ("task", "answer", "check", "hint")]
    if order != ["task", "answer", "check", "hint"]:
        yield f"its cells are in the order {order}"
    if f"## {exercise.title}\n" not in by_role["task"][0].cell.source:
        yield f"no heading `## {exercise.title}` above its task"
    answer, verdict = by_role["answer"][0].cell.source, by_role["check"][0].cell.source
    if not SOLUTION.search(answer):
        yield "### BEGIN SOLUTION has no ### END SOLUTION after it"
    if not HIDDEN.search(verdict):
        yield "the check has no hidden tests"
    try:
        names = {call.exercise for call in calls_of(verdict)}
        ast.parse(student_source(answer))
    except (ValueError, SyntaxError) as error:
        yield str(error)
        return
    if names != {exercise.name}:
        yield f"its check names {sorted(names)}"
