"""A course folder for a teacher: sources, the student edition, a gradebook and a README."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from satkit.course import gradebook, sheets
from satkit.notebooks import list_notebooks, project_root

CONFIG = '''\
"""Settings for nbgrader, which looks for this file in the current folder."""

from satkit.course.gradebook import configure

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "satkit"
configure(c)
'''

README = """\
# This course in three commands

1. `python -m satkit course release {folder}` made this folder. Give your students what is in
   `student_edition.zip`: the exercise notebooks without solutions and hidden tests, the lessons,
   and a README that says how to install satkit, to check answers and to hand them in. Tell your
   students the address of the repository (`pip install satkit` fetches a different project).
2. `python -m satkit course grade SUBMISSIONS --course {folder}` grades what they hand in: a folder
   or a zip file as your LMS exports it. Run it again when more comes in; what was graded and has
   not changed is not graded again.
3. `nbgrader formgrader` (in this folder: `jupyter lab`, then *Nbgrader › Formgrader*) is for those
   who want to change points or write comments by hand. It is optional.

What is here:

- `source/`: the notebooks with solutions. Keep them to yourself.
- `release/`: the same without solutions, which `student_edition.zip` holds beside the lessons.
- `gradebook.db`: nbgrader's database.
- `grades.csv`, `summary.csv`: the result of grading, by exercise and by student.
- `feedback/STUDENT/SHEET/SHEET.html`: one page for each submission, to be given back.
- `submitted/`, `executed/`, `autograded/`, `graded/`: what grading keeps for itself.

Do not run `nbgrader autograde` on submissions of people that you do not trust: it runs them without
any isolation. `python -m satkit course grade` isolates them.
"""

STUDENT_README = """\
# Exercises

The notebooks `exNN_….ipynb` beside this file are the exercises. Each belongs to the lesson of the
same number in `lessons/`. Read the lesson first.

## Install, once

You need Linux, Python 3.11 or newer, git and make. On Windows use WSL; a Mac was not tried. Your
teacher tells you the ADDRESS.

```sh
git clone ADDRESS satkit
cd satkit
make setup                    # takes some minutes and 7 GB of disk
source .venv/bin/activate     # in every new terminal
python -m satkit doctor       # its last line should be: ready for the lessons: yes
```

Do not use `pip install satkit`: it fetches a different project.

## Open

In a terminal where you activated satkit, go to the folder of this file and start Jupyter:

```sh
jupyter lab
```

Then open an exercise or a lesson from the list on the left. VS Code opens them too: choose the
Python in `.venv` of your clone as the kernel.

In Colab you install nothing on your own machine: choose *File › Upload notebook* there, upload an
exercise, and run these lines in a new first cell. Download the notebook before you leave
(*File › Download*), since Colab forgets files.

```
!git clone --depth 1 ADDRESS satkit
%cd satkit
%pip install --quiet --editable ".[notebooks]"
```

## Answer and check

1. Run the cells at the top of the exercise.
2. Write your answer. In a function, replace `# YOUR CODE HERE` and the `raise` line below it. In
   `answer = None`, replace only `None`.
3. Run your cell and then the cell below it, `check(…)`. It says whether the answer is right, and
   otherwise what is probably wrong. Check as often as you like.

Each lesson has a quiz, too: run `from satkit.course import quiz` and `quiz("01")` in a cell.

Leave the cells with `check(…)` as they are. You may add cells of your own; import in them what your
answers need.

## Hand in

1. Choose *Kernel › Restart Kernel and Run All Cells*: answers must work in a fresh start.
   If an exercise stays unsolved, *Run All* stops at its check. Run the cells after it one by one,
   and hand in all the same.
2. Save, and hand in the notebook. Keep the number, `ex01`, in its name. Nothing else is needed.

Grading uses further inputs than the check that you see. Answers must not start programs, use the
network, or take more than some seconds.
"""


def release(
    out: str | Path, asked: list[str] | None = None, say: Callable[[str], None] = print
) -> list[str]:
    """Make or renew a course folder.

    Args:
        out: The folder.
        asked: Sheets to release, ``ex01`` or full names; all where None or empty.
        say: Takes progress lines.

    Returns:
        Full names of the sheets that were released.

    Raises:
        ValueError: There is no such sheet, or the folder holds something else.
        RuntimeError: nbgrader refuses.
    """
    root, names = Path(out), sheets.sheet_names(asked)
    if root.exists() and any(root.iterdir()) and not (root / "nbgrader_config.py").exists():
        raise ValueError(f"{str(root)!r} holds other things; name a new or an empty folder")
    sources = {name: sheets.source_path(name).read_text() for name in names}
    root.mkdir(parents=True, exist_ok=True)
    (root / "nbgrader_config.py").write_text(CONFIG)
    (root / "README.md").write_text(README.format(folder=out))
    for number, (name, text) in enumerate(sources.items(), 1):
        _write_source(root, name, text)
        gradebook.make_release(root, name)
        say(f"[{number}/{len(names)}] {name}")
    _zip_student_edition(root)
    say(f"for you: {root}/README.md; for your students: {root}/student_edition.zip")
    return names


def _write_source(root: Path, name: str, text: str) -> None:
    import nbformat

    path = root / "source" / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the student edition, lessons lie below the exercises and not above them.
    nbformat.write(sheets.teacher_notebook(name, text.replace("](../", "](lessons/")), path)


def _zip_student_edition(root: Path) -> None:
    """All released notebooks in one folder, the lessons below it, and a README, as a zip file."""
    flat = root / "student_edition"
    shutil.rmtree(flat, ignore_errors=True)
    flat.mkdir()
    for path in sorted((root / "release").glob("*/*.ipynb")):
        shutil.copy(path, flat)
    released = {path.stem for path in flat.glob("*.ipynb")}
    (flat / "lessons").mkdir()
    for name in list_notebooks():
        text = (project_root() / "notebooks" / f"{name}.ipynb").read_text()
        (flat / "lessons" / f"{name}.ipynb").write_text(_link_sheets(text, released))
    (flat / "README.md").write_text(STUDENT_README)
    shutil.make_archive(str(flat), "zip", flat)
    shutil.rmtree(flat)


def _link_sheets(lesson: str, released: set[str]) -> str:
    """A lesson's text with a link to its sheet above it; only its number if it is not released."""

    def link(sheet: re.Match[str]) -> str:
        name, number = sheet.groups()
        return f"[{number}](../{name}.ipynb)" if name in released else number

    return re.sub(r"`course/((ex\d\d)_\w+)\.ipynb`", link, lesson)
