"""What the pages of the site hold."""

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from satkit.course.sheets import with_notice
from satkit.notebooks import list_notebooks, stated_minutes
from satkit.site import broken_links, build, external_links, pages, reference, render

from .conftest import ADDRESS, LESSONS, PICTURE, ROOT, SHEET, TABLE, executed, sheet

SHEET_NAME = "ex01_toy"
REPOSITORY = ADDRESS.removeprefix("https://github.com/")


def text(path: Path) -> str:
    return re.sub(r"<[^>]+>", "", path.read_text())


def lesson(site: Path, number: int = 0) -> Path:
    return site / "notebooks" / f"{LESSONS[number]}.html"


# ---- lessons -------------------------------------------------------------------------------------


def test_lessons_show_formulas_pictures_and_tables(site):
    html = lesson(site).read_text()
    assert "<math" in html and 'alt="a grey square"' in html
    assert '<th scope="col">column 29</th>' in html and '<th scope="row">row</th>' in html


def test_lessons_say_estimated_and_measured_minutes(site):
    said = text(lesson(site))
    assert "Time: 45 minutes (estimated)" in said
    assert "Run: 1.5 minutes (measured: profile smoke, 2026-01-31, cpu, 2 cores)" in said


@pytest.mark.parametrize("name", list_notebooks())
def test_every_lesson_estimates_its_minutes(name):
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert 5 <= stated_minutes(notebook) <= 90


def test_a_lesson_that_does_not_estimate_its_minutes_has_none():
    assert pages.time_fact(sheet()) == ""


def test_a_lesson_that_was_not_executed_says_so(site):
    assert "Not executed when this site was built" in text(lesson(site, 1))
    assert "python -m satkit run 02" in text(lesson(site, 1))
    assert "Not executed" not in text(lesson(site))


def test_lessons_open_in_colab_and_binder_with_their_set_up(site):
    html = lesson(site).read_text()
    name = f"notebooks/{LESSONS[0]}.ipynb"
    assert f"https://colab.research.google.com/github/{REPOSITORY}/blob/HEAD/{name}" in html
    assert f"https://mybinder.org/v2/gh/{REPOSITORY}/HEAD?urlpath=lab/tree/{name}" in html
    assert f"git clone --depth 1 {ADDRESS}" in text(lesson(site))
    assert (ROOT / name).is_file()


def test_controls_are_left_out_and_pictures_stay():
    notebook = executed(LESSONS[0])
    cell = next(cell for cell in notebook.cells if cell.get("outputs"))
    control = {pages.WIDGET: {"model_id": "0"}, "text/plain": "VBox()"}
    kept = len(cell.outputs)
    cell.outputs.append(nbformat.v4.new_output("display_data", data=control))
    shown = pages.lesson_page(notebook, LESSONS[0], "", True)
    assert len(shown.cells[notebook.cells.index(cell)].outputs) == kept


def test_a_picture_is_on_a_page_once():
    notebook = executed(LESSONS[0])
    cell = next(cell for cell in notebook.cells if cell.get("outputs"))
    data = {"text/html": PICTURE, "image/png": "iVBORw0KGgo=", "text/plain": "."}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    page = pages.lesson_page(notebook, LESSONS[0], "", True)
    (shown,) = page.cells[notebook.cells.index(cell)].outputs
    assert "image/png" not in shown.data and shown.data["text/html"] == PICTURE


def test_without_an_address_a_lesson_says_where_to_set_it():
    source = pages.lesson_page(executed(LESSONS[0]), LESSONS[0], "", True).cells[0].source
    assert "colab.research" not in source and "mybinder" not in source and "git clone" not in source
    assert "site.html#colab-and-binder" in source


@pytest.mark.parametrize(
    ("address", "repository"),
    [
        (ADDRESS, REPOSITORY),
        (f"{ADDRESS}.git", REPOSITORY),
        (f"{ADDRESS}/", REPOSITORY),
        ("https://example.org/made-up/address", ""),
        ("", ""),
    ],
)
def test_the_repository_comes_from_pyproject(tmp_path, address, repository):
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[project]\n[project.urls]\nRepository = "{address}"\n')
    assert pages.repository_of(project) == repository
    assert pages.repository_of(tmp_path / "missing.toml") == ""


def test_code_has_copy_buttons_and_pages_have_neighbours(site):
    html = lesson(site).read_text()
    assert "copybutton.js" in html
    assert LESSONS[1] in re.search(r'<a class="next-page" href="([^"]+)"', html)[1]


def test_tables_keep_scopes_that_they_have():
    html = pages.readable_tables(
        '<table><thead><tr><th scope="colgroup">a</th></tr></thead></table>'
    )
    assert html.count("scope") == 1
    assert "<th></th>" in TABLE and "<th></th>" not in pages.readable_tables(TABLE)


# ---- exercises -----------------------------------------------------------------------------------


def test_exercises_fold_solutions_and_hide_tests(site):
    html = (site / "notebooks" / "course" / "ex01_toy.html").read_text()
    stub, folded = html.rsplit("<details", 1)
    assert "NotImplementedError" in stub and "reference_answer" not in stub
    assert "reference_answer" in folded and "Solution" in folded
    assert "20_231" not in html and "### " not in text(site / "notebooks/course/ex01_toy.html")


def test_solutions_can_be_left_out():
    page = pages.exercise_page(sheet(), SHEET_NAME, "", solutions=False)
    code = "\n".join(cell.source for cell in page.cells if cell.cell_type == "code")
    assert "reference_answer" in SHEET and "reference_answer" not in code
    ast.parse(code)  # what is left is code still


def test_the_notice_of_the_edition_with_solutions_is_left_out():
    first, same = (
        pages.exercise_page(one, SHEET_NAME, "", solutions=True).cells[0].source
        for one in (with_notice(sheet()), sheet())
    )
    assert first == same and "student_edition" not in first


def test_a_stub_before_the_solution_is_kept():
    source = "answer = None\n### BEGIN SOLUTION\nanswer = 3\n### END SOLUTION"
    cells = [nbformat.v4.new_markdown_cell("# Sheet"), nbformat.v4.new_code_cell(source)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    _, stub, solution = pages.exercise_page(notebook, SHEET_NAME, "", solutions=True).cells
    assert stub.source == "answer = None"
    assert solution.source == "answer = None\nanswer = 3"


def test_a_sheet_can_be_downloaded_without_solutions_and_opened_in_colab(site):
    page = site / "notebooks" / "course" / f"{SHEET_NAME}.html"
    href = re.search(r'<a href="([^"]+)" download', page.read_text())[1]
    given = nbformat.read((page.parent / href).resolve(), as_version=4)
    code = "\n".join(cell.source for cell in given.cells if cell.cell_type == "code")
    assert "NotImplementedError" in code and 'check("iou", iou)' in code
    assert "reference_answer" not in code and "20_231" not in code
    assert f"git clone --depth 1 {ADDRESS}" in text(page) and "Upload notebook" in text(page)
    assert "colab.research" not in page.read_text()  # that file holds the solutions


def test_without_an_address_a_sheet_says_nothing_of_colab():
    first = pages.exercise_page(sheet(), SHEET_NAME, "", solutions=True).cells[0].source
    assert "download" in first and "Colab" not in first and "git clone" not in first


# ---- reference -----------------------------------------------------------------------------------


def test_names_lead_to_lessons_and_lessons_to_names(site):
    boxes = site / "api" / "satkit.boxes.html"
    assert "Explained in lesson 01 · Localization and its metrics. Also used in 02" in text(boxes)
    assert f'href="../notebooks/{LESSONS[0]}.html"' in boxes.read_text()
    assert 'href="../api/satkit.boxes.html#satkit.boxes.prepare_maps"' in lesson(site).read_text()


def test_a_package_links_to_where_its_names_are_defined(site):
    html = (site / "api" / "satkit.figures.html").read_text()
    assert 'href="satkit.figures.base.html#satkit.figures.base.show"' in html


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import satkit\nsatkit.boxes.iou(a, b)", {"satkit.boxes.iou"}),
        ("import satkit as s\ns.train(x)", {"satkit.training.train"}),
        ("from satkit.figures import show as look, COLORS", {"satkit.figures.base.show"}),
        (
            "from satkit import metrics\nmetrics.MaskLocalization()",
            {"satkit.metrics.MaskLocalization"},
        ),
        (
            "import satkit\nsatkit.TrainSettings.for_profile('lab')",
            {"satkit.settings.TrainSettings"},
        ),
        ("import numpy\nnumpy.mean(satkit)", set()),
    ],
)
def test_names_are_read_from_code(code, names):
    assert reference.names_used([code]) == names


def test_the_lesson_that_says_a_name_most_often_explains_it(tmp_path):
    code = "from satkit.boxes import iou\niou(a, b)"
    for name, more in (("00_a", ""), ("01_b", "\niou(b, a)"), ("02_c", "")):
        cells = [nbformat.v4.new_markdown_cell(f"# {name}"), nbformat.v4.new_code_cell(code + more)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    lessons = [("01_b", "01_b"), ("00_a", "00_a"), ("02_c", "02_c")]
    assert reference.users_of_names(tmp_path) == {"satkit.boxes.iou": lessons}


def test_every_public_name_of_satkit_has_a_page():
    written = reference.reference_pages()
    index = written["index"]
    for module in reference.public_modules():
        assert module in written and f"\n{module}\n" in index
    assert "satkit.boxes" in written and "satkit._engine" not in written


# ---- the whole -----------------------------------------------------------------------------------


def test_pages_load_nothing_from_elsewhere(site):
    found = list(site.rglob("*.html"))
    assert len(found) > 8
    for page in found:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"([^\"]+)\"", page.read_text()
        )
        assert [url for url in loaded if re.match(r"(https?:)?//", url)] == [], page.name


def test_every_picture_has_a_text(site):
    for page in site.rglob("*.html"):
        assert re.findall(r"<img(?![^>]*\balt=\"[^\"]+\")[^>]{0,80}", page.read_text()) == [], page


def test_slides_are_listed_and_copied(site):
    assert 'href="slides/lecture1.html"' in (site / "slides.html").read_text()
    assert (site / "slides" / "lecture1.html").is_file()


def test_pages_can_be_printed(site):
    assert "@media print" in (site / "_static" / "satkit.css").read_text()


def test_broken_links_are_found(tmp_path):
    (tmp_path / "b.html").write_text('<p id="there">')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="#nowhere">4</a><a href="https://example.org/x">5</a><a href="#">6</a>'
    )
    assert broken_links(tmp_path) == ["a.html: #nowhere", "a.html: b.html#gone", "a.html: c.html"]
    assert external_links(tmp_path) == {"https://example.org/x": ["a.html"]}


def test_render_needs_executed_notebooks(tmp_path):
    with pytest.raises(FileNotFoundError, match="no executed notebook"):
        render(root=tmp_path)


def test_strict_fails_on_a_warning(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "conf.py").write_text('project = "toy"\n')
    (tmp_path / "source" / "index.rst").write_text("A\n=\n\n:doc:`missing`\n")
    with pytest.raises(RuntimeError, match="unknown document"):
        build._sphinx(tmp_path / "source", tmp_path / "strict", strict=True)
    build._sphinx(tmp_path / "source", tmp_path / "lenient", strict=False)
    assert (tmp_path / "lenient" / "index.html").is_file()


@pytest.mark.slow
def test_the_whole_site_has_no_warnings_and_no_broken_links(tmp_path):
    done = tmp_path / "executed"
    done.mkdir()
    nbformat.write(executed(LESSONS[0]), done / f"{LESSONS[0]}.ipynb")
    page = render(done, tmp_path / "site", root=ROOT, strict=True)
    assert broken_links(page.parent) == []


# ---- Binder --------------------------------------------------------------------------------------


def test_binder_installs_what_the_lessons_need():
    binder = ROOT / ".binder"
    python, pip = yaml.safe_load((binder / "environment.yml").read_text())["dependencies"]
    assert python.startswith("python=3.") and pip == "pip"
    script = (binder / "postBuild").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.search(r"\.\[([\w,]+)\]", script)[1].split(",")) <= set(extras)
    assert "constraints.txt" in script
    for name in ("postBuild", "start"):
        assert os.access(binder / name, os.X_OK)
        assert subprocess.run(["bash", "-n", binder / name], check=False).returncode == 0


def test_binder_starts_what_it_is_given():
    start = ROOT / ".binder" / "start"
    command = [start, "bash", "-c", "echo $OMP_NUM_THREADS $0", "lab"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1 lab\n"
