"""Pages are read by everybody: axe-core, a phone, 200 % zoom, the keyboard alone."""

import pytest

from .conftest import LESSONS, ROOT

PAGES = {
    "index": "index.html",
    "lesson": f"notebooks/{LESSONS[0]}.html",
    "exercise": "notebooks/course/ex01_toy.html",
    "reference": "api/index.html",
    "names": "api/satkit.boxes.html",
    "tables": "results.html",
    "slides": "slides.html",
    "search": "search.html?q=box",
}
for folder in ("course", "teaching", "course/quizzes"):
    found = sorted((ROOT / "docs" / folder).glob("*.md"))
    found = found[:1] if folder == "course/quizzes" else found  # they are all of one kind
    PAGES |= {f"{folder}/{path.stem}": f"{folder}/{path.stem}.html" for path in found}
SCROLLERS = ".table-wrapper, .highlight pre, .output pre, div.math"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    page = visit(PAGES[name], scheme=scheme)
    if name == "search":
        page.wait_for_selector("ul.search li")
    found = [
        (problem["id"], problem["nodes"][0]["html"][:200])
        for problem in axe.Axe().run(page).response["violations"]
        if problem["impact"] in ("serious", "critical")
    ]
    assert found == []


def test_axe_finds_what_is_wrong(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    page = visit("site.html")
    page.evaluate("document.querySelector('article').innerHTML += '<img src=\"data:,\">'")
    found = {problem["id"] for problem in axe.Axe().run(page).response["violations"]}
    assert "image-alt" in found


@pytest.mark.parametrize("width", [390, 640], ids=["phone", "zoom200"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_but_boxes_of_their_own_scrolls_sideways(visit, name, width):
    page = visit(PAGES[name], width=width)
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(over) <= 0


def test_what_scrolls_can_be_reached_with_the_keyboard(visit):
    page = visit(PAGES["lesson"], width=390)
    script = f"""Array.from(document.querySelectorAll("{SCROLLERS}"))
        .filter(box => box.scrollWidth > box.clientWidth).map(box => box.tabIndex)"""
    reached = page.evaluate(script)
    assert len(reached) > 2 and set(reached) == {0}


def test_the_first_tab_leads_to_the_content_and_focus_is_seen(visit):
    page = visit(PAGES["lesson"])
    page.keyboard.press("Tab")
    focus = "document.activeElement"
    assert page.evaluate(f"{focus}.textContent").strip().startswith("Skip to content")
    target = page.evaluate(f"{focus}.getAttribute('href')")
    assert page.evaluate(f"document.querySelector('{target}') !== null")
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(f"getComputedStyle({focus}).outlineStyle") == "solid"


def test_pages_name_their_language(visit):
    assert visit("index.html").evaluate("document.documentElement.lang") == "en"


def test_figures_keep_their_white_in_the_dark(visit):
    page = visit(PAGES["lesson"], scheme="dark")
    color = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert page.evaluate(color.format("article img")) == "rgb(255, 255, 255)"
    assert page.evaluate(color.format("body")) != "rgb(255, 255, 255)"


def test_the_browser_loads_nothing_from_elsewhere(visit, address):
    for name in ("lesson", "search", "exercise"):
        loaded = visit(PAGES[name]).loaded
        assert len(loaded) > 5
        assert [url for url in loaded if not url.startswith((address, "data:"))] == []


def test_search_finds_a_lesson(visit):
    page = visit("search.html?q=TS-CAM")
    page.wait_for_selector("ul.search li")
    assert LESSONS[1] in page.inner_html("ul.search")


def test_print_leaves_out_menus(visit):
    page = visit(PAGES["lesson"])
    page.emulate_media(media="print")
    for part in (".sidebar-tree", ".copybtn", ".related-pages", ".back-to-top"):
        assert not page.is_visible(part)
    assert page.is_visible("article h1")
