"""A small site, built once, and a browser."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from satkit.site import build, reference

ROOT = Path(__file__).parents[2]
ADDRESS = "https://github.com/made-up/address"
MODULES = ("satkit.boxes", "satkit.figures", "satkit.figures.base", "satkit.settings")
LESSONS = ("01_localization_and_metrics", "02_cam_and_tscam")
PAGES = ("index.md", "results.md", "site.md", "course", "teaching", "_ext", "_static", "conf.py")
PICTURE = (
    '<img alt="a grey square" style="width: 900px; max-width: 100%" '
    "src=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 3'%3E"
    "%3Crect width='9' height='3' fill='grey'/%3E%3C/svg%3E\">"
)
HEADERS = "".join(f"<th>column {number}</th>" for number in range(30))
CELLS = "".join(f"<td>{number}</td>" for number in range(30))
TABLE = (
    f'<div><table border="1" class="dataframe"><thead><tr><th></th>{HEADERS}</tr></thead>'
    f"<tbody><tr><th>row</th>{CELLS}</tr></tbody></table></div>"
)
SHEET = '''
def iou(a, b):
    """IoU of two boxes."""
    ### BEGIN SOLUTION
    return reference_answer(a, b)
    ### END SOLUTION
'''


def executed(name: str) -> nbformat.NotebookNode:
    """A lesson as if it had been executed, with a picture, a wide table and a long line."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[1].outputs = [new_output("stream", name="stdout", text="long " * 60)]
    code[2].outputs = [
        new_output("display_data", {"text/html": html, "text/plain": "."})
        for html in (PICTURE, TABLE)
    ]
    notebook.metadata["satkit"] = {
        "fingerprint": {"parameters": '{"profile": "smoke"}'},
        "seconds": 90.0, "date": "2026-01-31", "device": "cpu", "cores": 2,
    }  # fmt: skip
    return notebook


def sheet() -> nbformat.NotebookNode:
    """A sheet of one exercise, with its solution and a hidden test."""
    cells = [
        nbformat.v4.new_markdown_cell("# Exercises 01\n\n## Intersection over union"),
        nbformat.v4.new_code_cell(SHEET.strip()),
        nbformat.v4.new_code_cell(
            'check("iou", iou)\n### BEGIN HIDDEN TESTS\ncheck("iou", iou, seed=20_231)\n'
            "### END HIDDEN TESTS"
        ),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def project(root: Path) -> Path:
    """Write a small project: some pages, two lessons of which one was executed, and a sheet."""
    (root / "docs").mkdir(parents=True)
    for name in PAGES:
        if (ROOT / "docs" / name).is_dir():
            shutil.copytree(ROOT / "docs" / name, root / "docs" / name)
        elif (ROOT / "docs" / name).exists():
            shutil.copy(ROOT / "docs" / name, root / "docs" / name)
    urls = f'[project]\nname = "toy"\n[project.urls]\nRepository = "{ADDRESS}"\n'
    (root / "pyproject.toml").write_text(urls)
    for folder in ("notebooks/course", "build/notebooks", "build/slides"):
        (root / folder).mkdir(parents=True)
    for name in LESSONS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", root / "notebooks")
    nbformat.write(executed(LESSONS[0]), root / "build" / "notebooks" / f"{LESSONS[0]}.ipynb")
    nbformat.write(sheet(), root / "notebooks" / "course" / "ex01_toy.ipynb")
    (root / "build" / "slides" / "lecture1.html").write_text("<!doctype html><title>1</title>")
    return root


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of a small site; its reference holds some modules only, for speed."""
    root = project(tmp_path_factory.mktemp("site") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "public_modules", lambda: MODULES)
        return build.render(root=root).parent


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def visit(browser, address):
    """Open a page of the site: `visit(name, width=1280, scheme="light")`."""
    contexts = []

    def visit(name: str, width: int = 1280, scheme: str = "light"):
        size = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.loaded = []
        page.on("request", lambda request: page.loaded.append(request.url))
        page.goto(f"{address}/{name}", wait_until="load")
        return page

    yield visit
    for context in contexts:
        context.close()
