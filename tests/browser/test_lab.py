"""The interactive parts in a real browser: each control is moved, and the picture must change.

With SATKIT_SCREENSHOTS=FOLDER, pictures of every part are written there, to be looked at.
"""

from __future__ import annotations

import io
import os
import re
import secrets
from pathlib import Path

import nbformat
import numpy as np
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from PIL import Image

from satkit.notebooks import from_source
from tests.browser.conftest import ROOT, SECONDS, free_port, server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SOURCE = Path(__file__).with_name("parts.py")
PARTS = ("threshold", "attention", "losses", "bird", "compare", "photo")
#: Lessons with such a part that train nothing for it
LESSONS = ("00_start_here", "01_localization_and_metrics", "04_losses", "15_your_own_images")
#: Errors of Voilà's page that are not ours: its template takes icons from another host, and it
#: loads JupyterLab's extensions, among them nbgrader's, without all that these want
VOILAS_OWN = ("npm/@fortawesome/", "shared module", "Shared module @jupyterlab/")
SOME = re.compile(r"\S")
RUN_ALL = """async () => {
    const notebook = jupyterapp.shell.currentWidget;
    await notebook.context.ready;
    await notebook.sessionContext.ready;
    jupyterapp.commands.execute('notebook:run-all-cells');  // not awaited: the test looks on
}"""
#: Errors of the cells, once all have run; until then nothing
ERRORS = """() => {
    const cells = jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model)
        .filter(cell => cell.type === 'code' && cell.sharedModel.getSource().trim());
    const outputs = cells.flatMap(cell => cell.outputs.toJSON());
    const errors = outputs.filter(one => one.output_type === 'error').map(one => one.evalue);
    return errors.length || cells.every(cell => cell.executionCount) ? errors : null;
}"""


class Watched:
    """A page, and what went wrong on it or left this machine."""

    def __init__(self, browser, url):
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.page.set_default_timeout(1000 * SECONDS)
        self.errors, self.strangers = [], []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto(url)

    def _listen(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _note(self, request):
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:", "file:")):
            self.strangers.append(request.url)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("lab")
    (place / "parts.ipynb").write_text(from_source(SOURCE.read_text()))
    return place


@pytest.fixture(scope="module")
def jupyterlab(folder):
    """Where JupyterLab serves a notebook of the folder: a text with a place for its name."""
    port, token = free_port(), secrets.token_hex(16)
    url = f"http://127.0.0.1:{port}"
    command = [
        "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}", "--LabApp.extension_manager=readonly",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with server(command, folder, f"{url}/api"):
        yield f"{url}/doc/tree/{{}}.ipynb?token={token}"


@pytest.fixture(scope="module")
def lab(browser, jupyterlab):
    """The notebook in JupyterLab, all its cells run, and saved as it is then."""
    watched = Watched(browser, jupyterlab.format("parts"))
    page = watched.page
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.evaluate(RUN_ALL)
    wait_for_parts(page)
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    yield watched
    page.close()


def wait_for_parts(page):
    """Wait until every part is there with its picture, and stop where a cell failed."""
    last = page.locator(".satkit-live").nth(len(PARTS) - 1).locator("img")
    failed = page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
    last.or_(failed).first.wait_for()
    assert failed.count() == 0, failed.first.inner_text()
    assert page.locator(".satkit-live").count() == len(PARTS)


def part_of(page, name):
    return page.locator(".satkit-live").nth(PARTS.index(name))


def pixels(part):
    """The picture of a part as it is seen."""
    return np.asarray(Image.open(io.BytesIO(part.locator("img").screenshot())).convert("RGB"))


def move(control, folder):
    """Use a control by keyboard, as its kind is used."""
    kinds = {
        "slider": control.locator(".noUi-handle"),
        "number": control.locator("input[type=number]"),
        "tick": control.locator("input[type=checkbox]"),
        "choice": control.locator("button:not(.mod-active)"),
        "upload": control.locator("xpath=self::button"),
    }
    (kind,) = [name for name, found in kinds.items() if found.count()]
    target = kinds[kind].last
    target.focus()
    assert target.evaluate("node => node === document.activeElement"), "takes no focus"
    if kind == "upload":
        with control.page.expect_file_chooser() as chooser:
            target.press("Enter")
        chooser.value.set_files(folder / "upload.png")
    elif kind == "number":
        target.press("ArrowUp")
    elif kind == "tick":
        target.press("Space")
    elif kind == "choice":
        target.press("Enter")
    else:
        low = target.get_attribute("aria-valuenow") == target.get_attribute("aria-valuemin")
        target.press("PageUp" if low else "PageDown")


def require_change(part, action):
    """Do something, and require that the picture and its text are others then."""
    picture, before = part.locator("img"), pixels(part)
    source, text = picture.get_attribute("src"), picture.get_attribute("alt")
    action()
    part.page.wait_for_function(
        "([node, old]) => node.querySelector('img').src !== old",
        arg=[part.element_handle(), source], timeout=20_000,
    )  # fmt: skip
    after = pixels(part)
    assert before.shape != after.shape or (before != after).mean() > 1e-4
    assert picture.get_attribute("alt") != text
    assert picture.get_attribute("alt") in part.inner_text().replace("\n", " ")


@pytest.mark.parametrize("name", PARTS)
def test_each_control_changes_the_picture(lab, folder, name):
    require_obedience(part_of(lab.page, name), folder)


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_runs_and_obeys(browser, jupyterlab, folder, name):
    lesson = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
    nbformat.write(parameterize_notebook(lesson, {"profile": "smoke"}), folder / f"{name}.ipynb")
    Image.effect_noise((120, 120), 90).convert("RGB").save(folder / "upload.png")
    watched = Watched(browser, jupyterlab.format(name))
    page = watched.page
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.evaluate(RUN_ALL)
    assert page.wait_for_function(ERRORS).json_value() == []
    parts = page.locator(".satkit-live")
    assert parts.count() >= 1
    for number in range(parts.count()):
        require_obedience(parts.nth(number), folder)
    save(page, name)
    assert watched.errors == [] and watched.strangers == []
    page.close()


def require_obedience(part, folder):
    """Require that each control of a part has a description and changes the picture."""
    from playwright.sync_api import expect

    part.scroll_into_view_if_needed()
    controls = part.locator("> .widget-hbox > *")
    assert controls.count() >= 2
    for number in range(controls.count()):
        control = controls.nth(number)
        said = {"use_inner_text": True, "timeout": 20_000}  # seen only when JupyterLab shows it
        expect(control, f"control {number} has no description").to_have_text(SOME, **said)
        pressed = control.locator("button.mod-active")
        back = control.get_by_text(pressed.inner_text(), exact=True) if pressed.count() else None
        require_change(part, lambda control=control: move(control, folder))
        if back:  # a choice: and back again
            require_change(part, back.click)


def test_patch_is_chosen_by_a_button(lab):
    part = part_of(lab.page, "attention")
    button = part.get_by_title("patch in row 2, column 11")
    require_change(part, button.click)
    require_change(part, lambda: part.get_by_title("patch in row 9, column 4").press("Enter"))
    assert "row 9, column 4" in part.inner_text()


def test_static_picture_gives_way_to_the_live_one(lab):
    for name in PARTS:
        before = part_of(lab.page, name).locator(
            "xpath=ancestor::*[contains(@class, 'jp-OutputArea-child')]"
            "/preceding-sibling::*[contains(@class, 'jp-OutputArea-child')]"
        )
        assert before.locator("img").count() == 1 and not before.is_visible()


def test_no_console_errors_and_nothing_from_another_host(lab):
    assert lab.errors == []
    assert lab.strangers == []


def test_static_page_has_picture_and_text(lab, browser, folder):
    from nbconvert import HTMLExporter

    notebook = nbformat.read(folder / "parts.ipynb", as_version=4)
    html, _ = HTMLExporter().from_notebook_node(notebook)
    (folder / "parts.html").write_text(html)
    page = browser.new_page(java_script_enabled=False)
    page.goto((folder / "parts.html").as_uri())
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() == len(PARTS)
    for number in range(len(PARTS)):
        one = pictures.nth(number)
        assert one.is_visible() and len(one.get_attribute("alt")) > 50
        assert len(np.unique(pixels(one.locator("xpath=..")))) > 20
    save(page, "static")
    page.close()


def test_voila_renders_the_parts_and_obeys(browser, folder, tmp_path):
    pytest.importorskip("voila", reason="voila is not installed")
    port = free_port()
    command = [
        "voila", "parts.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1",
    ]  # fmt: skip
    (tmp_path / "parts.ipynb").write_text(from_source(SOURCE.read_text()))
    url = f"http://127.0.0.1:{port}/"
    with server(command, tmp_path, f"{url}voila/static/main.js"):
        watched = Watched(browser, url)
        wait_for_parts(watched.page)
        part = part_of(watched.page, "threshold")
        slider = part.locator(".noUi-handle")
        slider.focus()
        require_change(part, lambda: slider.press("PageUp"))
        save(watched.page, "voila")
        assert [e for e in watched.errors if not any(own in e for own in VOILAS_OWN)] == []
        watched.page.close()


def save(page, name):
    """Keep a picture of a page, where somebody wants to look."""
    if place := os.environ.get("SATKIT_SCREENSHOTS"):
        Path(place).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(place) / f"{name}.png", full_page=True)


@pytest.mark.skipif("SATKIT_SCREENSHOTS" not in os.environ, reason="SATKIT_SCREENSHOTS is not set")
@pytest.mark.parametrize("name", PARTS)
def test_screenshots_are_kept(lab, name):
    place = Path(os.environ["SATKIT_SCREENSHOTS"])
    place.mkdir(parents=True, exist_ok=True)
    part = part_of(lab.page, name)
    part.scroll_into_view_if_needed()
    part.screenshot(path=place / f"{name}.png")
    assert (place / f"{name}.png").stat().st_size > 5000
