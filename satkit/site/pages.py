"""What a lesson and a sheet of exercises get before they become pages of the site."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from html import escape
from pathlib import Path
from typing import Any

from satkit.course.sheets import student_source, without_notice, without_solutions
from satkit.notebooks import parameters_of, stated_minutes
from satkit.site.reference import names_used

WIDGET = "application/vnd.jupyter.widget-view+json"
#: Folder of the site with the sheets that can be downloaded
SHEETS = "_static/sheets"


def repository_of(pyproject: Path) -> str:
    """Where the project is published on GitHub, from which Colab and Binder open notebooks.

    Args:
        pyproject: the project's pyproject.toml, whose `[project.urls]` may have a `Repository`.

    Returns:
        "OWNER/NAME", or "" where no address is set, or one that is not on GitHub.
    """
    if not pyproject.is_file():
        return ""
    urls = tomllib.loads(pyproject.read_text())["project"].get("urls", {})
    found = re.fullmatch(
        r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", urls.get("Repository", "")
    )
    return found[1] if found else ""


def lesson_page(notebook: Any, name: str, repository: str, executed: bool) -> Any:
    """Add to a lesson what a reader on the web needs.

    Args:
        notebook: the lesson as nbformat reads it.
        name: its name, such as "05_train_cub".
        repository: "OWNER/NAME" on GitHub, "" if unknown.
        executed: whether it holds outputs.

    Returns:
        A copy: below the title its minutes, how to open it elsewhere, and the set-up that this
        needs; at the end the names of the library that it uses; tables for screen readers, too.
    """
    import nbformat

    page = copy.deepcopy(notebook)
    facts = [time_fact(page), run_fact(page, name, executed), *open_facts(name, repository)]
    items = "\n".join(f"<li>{fact}</li>" for fact in facts if fact)
    title, _, rest = page.cells[0].source.partition("\n")
    page.cells[0].source = "\n\n".join(
        [title, f'<ul class="facts">\n{items}\n</ul>', set_up(repository), rest]
    )
    code = [c.source for c in page.cells if c.cell_type == "code"]
    if used := sorted(names_used(code), key=str.lower):
        links = "\n".join(f"- {{py:obj}}`{used_name}`" for used_name in used)
        text = f"## Names used here\n\nIn the [reference](../api/index.md):\n\n{links}"
        page.cells.append(nbformat.v4.new_markdown_cell(text))
    for cell in page.cells:
        if "outputs" in cell:  # controls do not work here; the static picture before them stays
            cell.outputs = [one for one in cell.outputs if WIDGET not in one.get("data", {})]
        for output in cell.get("outputs", []):
            if html := output.get("data", {}).get("text/html"):
                output["data"]["text/html"] = readable_tables("".join(html))
                output["data"].pop("image/png", None)  # the picture is in the HTML, with its text
    return page


def time_fact(notebook: Any) -> str:
    """How long the lesson takes a reader, as it says itself; "" if it does not say."""
    minutes = stated_minutes(notebook)
    return f"Time: {minutes} minutes (estimated)" if minutes else ""


def run_fact(notebook: Any, name: str, executed: bool) -> str:
    """How long the lesson took to run, where, when and at which profile; or that it did not run."""
    if not executed:
        command = f"python -m satkit run {name.split('_')[0]}"
        return (
            f"Not executed when this site was built, so no results are shown: "
            f"<code>{command}</code> executes it"
        )
    ran = notebook.metadata.get("satkit", {})
    if "seconds" not in ran:
        return "How long it ran was not measured"
    given = json.loads(ran["fingerprint"]["parameters"])
    profile = given.get("profile") or parameters_of(notebook).get("profile", "lab")
    where = [f"profile {profile}", ran.get("date"), ran.get("device")]
    where += [f"{ran['cores']} cores"] if ran.get("cores") else []
    minutes = f"{ran['seconds'] / 60:.1f}"
    return f"Run: {minutes} minutes (measured: {escape(', '.join(filter(None, where)))})"


def open_facts(name: str, repository: str) -> list[str]:
    """Links that open a lesson in Colab and on Binder; a word on what is missing for them."""
    if not repository:
        return [
            'Colab and Binder: <a href="../site.html#colab-and-binder">the address of the '
            "repository is not set</a>"
        ]
    colab = (
        f"https://colab.research.google.com/github/{repository}/blob/HEAD/notebooks/{name}.ipynb"
    )
    binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/notebooks/{name}.ipynb"
    return [
        f'<a class="badge" href="{colab}">Open in Colab</a> '
        f'<a class="badge" href="{binder}">Open in Binder</a>'
    ]


def set_up(repository: str) -> str:
    """The cell that Colab needs in front of a lesson, folded; "" where there is no address."""
    if not repository:
        return ""
    folder = repository.split("/")[1]
    return f"""<details class="set-up"><summary>Set-up for Colab</summary>

Colab opens the notebook without the kit. Put this into a new first cell and run it once; a GPU is
not needed. Binder needs no set-up.

```python
!git clone --depth 1 https://github.com/{repository}
%cd {folder}
%pip install --quiet --editable ".[notebooks]"
```

</details>"""


def sheet_without_solutions(notebook: Any) -> Any:
    """Make of a sheet what is to be filled in.

    Args:
        notebook: the sheet as nbformat reads it, with nbgrader's marks.

    Returns:
        A copy: stubs instead of solutions, no hidden tests.
    """
    page = copy.deepcopy(notebook)
    for cell in page.cells:
        cell.source = without_notice(cell.source)
        if cell.cell_type == "code":
            cell.source = student_source(cell.source)
    return page


def exercise_page(notebook: Any, name: str, repository: str, solutions: bool) -> Any:
    """Turn a sheet with its solutions into what somebody who learns alone should see.

    Args:
        notebook: the sheet as nbformat reads it, with nbgrader's marks.
        name: its name, such as "ex05_train_cub".
        repository: "OWNER/NAME" on GitHub, "" if unknown.
        solutions: put each solution, folded, below its exercise; else leave it out.

    Returns:
        A copy: stubs instead of solutions, no hidden tests; below the title a link to the sheet
        without solutions, and what Colab needs to open that. There are no buttons that open it in
        Colab or on Binder, since the notebook in the repository holds the solutions.
    """
    import nbformat

    page = sheet_without_solutions(notebook)
    cells = []
    for cell, own in zip(page.cells, notebook.cells, strict=True):
        cells.append(cell)
        if solutions and cell.cell_type == "code" and without_solutions(own.source) != own.source:
            answer = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", own.source, flags=re.M)
            folded = nbformat.v4.new_code_cell(answer.rstrip("\n"))
            folded.metadata = nbformat.from_dict(
                {"tags": ["hide-input"], "mystnb": {"code_prompt_show": "Solution"}}
            )
            cells.append(folded)
    page.cells = cells
    title, _, rest = page.cells[0].source.partition("\n")
    page.cells[0].source = "\n\n".join([title, sheet_facts(name, repository), rest])
    return page


def sheet_facts(name: str, repository: str) -> str:
    """Where a sheet without solutions is downloaded, and how Colab opens it."""
    link = f'<a href="../../{SHEETS}/{name}.ipynb" download>Download this sheet</a>'
    facts = [f"{link}, a notebook to be filled in"]
    if repository:
        facts.append("Colab: <em>File › Upload notebook</em> opens the file; then the set-up below")
    items = "\n".join(f"<li>{fact}</li>" for fact in facts)
    return f'<ul class="facts">\n{items}\n</ul>\n\n{set_up(repository)}'


def readable_tables(html: str) -> str:
    """Give tables of an output a frame of their own that scrolls, and headers that name a scope.

    Args:
        html: the output.

    Returns:
        The same, with `scope` at each header, and none that is empty.
    """
    return re.sub(r"<table\b.*?</table>", lambda found: _readable_table(found[0]), html, flags=re.S)


def _readable_table(table: str) -> str:
    head, closed, body = table.partition("</thead>")
    if not closed:
        head, body = "", table
    table = _scoped(head, "col") + closed + _scoped(body, "row")
    return f'<div class="table-wrapper">{table}</div>'


def _scoped(html: str, scope: str) -> str:
    html = re.sub(r"<th\b([^>]*)>(\s|&nbsp;)*</th>", r"<td\1></td>", html)
    return re.sub(r"<th\b(?![^>]*\bscope=)", f'<th scope="{scope}"', html)
