"""Slides: what their files say, what they take from lessons, and that they fit and load nothing."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from latex2mathml.converter import convert
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from satkit import notebooks
from satkit.__main__ import main as command_line
from satkit.course import slides
from satkit.course.formulas import to_html

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks" / "course" / "lectures"
LECTURES = [path.stem for path in sorted(FOLDER.glob("lecture*.md"))]


def picture(width=60, height=20):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="a picture">'


def shows(html=None, printed=None):
    if printed is not None:
        return new_output("stream", name="stdout", text=printed)
    return new_output("display_data", data={"text/html": html})


OUTPUTS = (
    shows(picture()),
    shows("<div><table><tr><th>a</th></tr><tr><td>1</td></tr></table></div>"),
    shows(printed="07_x/y.json: commit abc, 2026, cpu, data d\nscore: 1 < 2\n"),
)


def lesson(*cells, parameters=None):
    tagged = new_code_cell('profile = "lab"', metadata={"tags": ["parameters"]})
    made = {"fingerprint": {"parameters": json.dumps(parameters or {})}}
    return new_notebook(cells=[tagged, *cells], metadata={"satkit": made})


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The lessons as they are, each code cell with a picture, a table and a line of text."""
    folder = tmp_path_factory.mktemp("executed")
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = list(OUTPUTS)
        notebook.metadata["satkit"] = lesson(parameters={"profile": "smoke"}).metadata["satkit"]
        nbformat.write(notebook, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def pages(executed, tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    return slides.build(out, executed, folder=FOLDER)


# --------------------------------------------------------------------------------------------------
# The six lectures
# --------------------------------------------------------------------------------------------------


def test_there_are_six_lectures_of_12_to_18_slides_and_together_they_show_every_lesson():
    found = slides.lectures(FOLDER)
    assert len(found) == 6
    assert all(12 <= len(one.slides) <= 18 for one in found)
    lessons = sorted(number for one in found for number in one.lessons)
    assert lessons == [name[:2] for name in notebooks.list_notebooks(ROOT / "notebooks")]


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_quotes_cells_that_its_lessons_have(name):
    lecture = slides.read_lecture(FOLDER / f"{name}.md")
    for slide in lecture.slides:
        for kind, number, text in slide.references:
            (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
            slides.find_cell(nbformat.read(path, as_version=4), kind, text)
    assert set(lecture.lessons) - {"14", "13"} <= lecture.quoted


def test_every_slide_says_what_to_say_and_what_to_ask():
    for lecture in slides.lectures(FOLDER):
        for slide in lecture.slides[1:-1]:
            assert "Ask" in slide.notes and "Expect" in slide.notes, slide.title


class Page(HTMLParser):
    """What a page loads, and how many slides and notes it has."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.slides, self.notes = [], 0, 0
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.slides += "page" in given.get("class", "").split()
        self.notes += tag == "aside" and given.get("class") == "notes"
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link":
            self.loads.append(given["href"])


@pytest.mark.parametrize("index", range(6), ids=LECTURES)
def test_a_page_loads_only_what_lies_beside_it_and_every_slide_has_notes(pages, index):
    page = Page(pages[index])
    files = [one for one in page.loads if not one.startswith("data:")]
    assert files and all((pages[index].parent / one).is_file() for one in files)
    assert not re.search(r"url\(\s*['\"]?http", page.text)
    assert "require" not in page.text and "MathJax" not in page.text
    written = slides.read_lecture(FOLDER / f"{LECTURES[index]}.md").slides
    assert page.slides == page.notes == len(written)


@pytest.mark.parametrize("index", range(6), ids=LECTURES)
def test_no_reference_and_no_formula_is_left_as_it_was_written(pages, index):
    text = pages[index].read_text(encoding="utf-8")
    body = text.partition("<body>")[2].partition("<script")[0]
    assert "{{" not in body and "$" not in body and "merror" not in body


def test_the_files_of_reveal_load_nothing_from_elsewhere(pages):
    for name in slides.REVEAL:
        text = (pages[0].parent / "reveal" / name).read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\(|src=|href=)\s*['\"]?https?:", text), name


# --------------------------------------------------------------------------------------------------
# What a slide takes from a lesson
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("figure", picture()),
        ("table", "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>"),
        ("print", "<pre>score: 1 &lt; 2</pre>"),  # the line about the stored file is left out
        ("code", "```python\nscore(maps)\n```"),
    ],
)
def test_a_reference_becomes_what_the_cell_shows(kind, expected):
    executed = lesson(new_code_cell("score(maps)", outputs=list(OUTPUTS)))
    assert slides.shown(executed, kind, "score(") == expected


def test_a_reference_to_text_becomes_the_paragraph_that_holds_it():
    executed = lesson(new_markdown_cell("Before.\n\n$$\na = b\n$$\n\nAfter."))
    assert slides.shown(executed, "text", "a = b") == "$$\na = b\n$$"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("figure", "scor(", "0 code cells of the lesson hold 'scor('"),
        ("figure", "score", "2 code cells of the lesson hold 'score'"),
        ("text", "score(maps)", "0 markdown cells"),
        ("figure", "score(maps)", "shows no figure"),
        ("print", "score(maps)", "shows no print"),
    ],
)
def test_a_reference_that_fits_no_single_cell_is_refused(kind, text, message):
    executed = lesson(new_code_cell("score(maps)"), new_code_cell("scores"))
    with pytest.raises(ValueError, match=re.escape(message)):
        slides.shown(executed, kind, text)


def test_a_slide_says_the_profile_and_that_smoke_is_not_for_teaching():
    assert slides.provenance(lesson()) == "profile lab"
    assert slides.provenance(lesson(parameters={"profile": "paper"})) == "profile paper"
    assert "not for teaching" in slides.provenance(lesson(parameters={"profile": "smoke"}))


def test_a_changed_lesson_stops_the_build_with_the_slide_and_the_lost_text(executed, tmp_path):
    for path in executed.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace("figures.map_sheet(steps", "figures.new("))
    with pytest.raises(ValueError, match=r"lecture1, slide 'From a map.*map_sheet\(steps"):
        slides.build(tmp_path / "out", tmp_path, folder=FOLDER)
    assert not (tmp_path / "out").exists()


def test_a_lesson_that_was_not_executed_is_named_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="satkit run 00"):
        slides.build(tmp_path / "out", tmp_path, folder=FOLDER)


def test_formulas_are_drawn_without_a_script_and_what_is_none_stays():
    assert "<msup>" in to_html("so $a^2$ is") and 'display="block"' in to_html("$$a$$")
    assert "<code>\\left(</code>" in to_html("a $\\left($ b")
    data = {"p.png": {"image/png": "AAAA"}}
    assert "data:image/png;base64,AAAA" in to_html("![p](attachment:p.png)", data)


@pytest.mark.parametrize("lecture", LECTURES)
def test_every_formula_of_a_lecture_is_one(lecture):
    text = (FOLDER / f"{lecture}.md").read_text(encoding="utf-8")
    for formula in re.findall(r"\$+([^$]+)\$+", text):
        assert convert(formula).startswith("<math")


def test_layouts_follow_the_shape_of_the_picture():
    def layout(body, *size):
        executed = {"01": lesson(new_code_cell("draw()", outputs=[shows(picture(*size))]))}
        return slides._fill(slides.Slide("t", body, "n", 1), executed)[2]

    reference = "{{ figure 01 | draw() }}"
    assert layout("words", 1, 1) == "plain"
    assert layout(reference, 40, 30) == "alone"
    assert layout(f"words\n\n{reference}", 40, 30) == "beside"
    assert layout(f"words\n\n{reference}", 90, 30) == "below"
    assert layout(f"$$a$$\n\n{reference}", 40, 30) == "below"
    assert layout(f"> How many?\n\n. . .\n\n{reference}", 40, 30) == "below"


def test_what_comes_after_the_pause_appears_together_at_one_key():
    cells = [
        new_code_cell("draw()", outputs=[shows(picture(40, 30))]),
        new_code_cell("say()", outputs=[new_output("stream", text="**four**")]),
    ]
    question, answer = "> How many?", "{{ print 01 | say() }}\n\n{{ figure 01 | draw() }}"

    def fill(body):
        text, (figure,), _ = slides._fill(slides.Slide("t", body, "n", 1), {"01": lesson(*cells)})
        return to_html(text), figure

    later = 'fragment" data-fragment-index="0">'
    text, figure = fill(f"{question}\n\n. . .\n\n{answer}")
    assert text.index("How many?") < text.index(later) < text.index("**four**")
    assert figure.startswith(f'<div class="figure {later}')
    assert not any(later in part for part in fill(f"{question}\n\n{answer}"))


def test_the_lectures_ask_before_they_show():
    paused = [
        one for talk in slides.lectures(FOLDER) for one in talk.slides if slides.PAUSE in one.body
    ]
    assert len(paused) >= 30
    for slide in paused:
        first, then = slide.body.split(slides.PAUSE)  # one pause a slide
        assert "> " in first and then.strip()


# --------------------------------------------------------------------------------------------------
# What a lecture's file may not do
# --------------------------------------------------------------------------------------------------

HEAD = '+++\ntitle = "T"\nlessons = ["01"]\n+++\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A\n\nNotes: 44 min\nSay.", "take 44 minutes; make it 45"),
        ("# A\n\nbody", "'# A' has no speaker notes"),
        ("# A\n\nNotes: 45 min\n", "'# A' has no speaker notes"),
        ("A\n\nNotes: 45 min\nSay.", "begins with 'A'"),
        ("# A\n\n{{ image 01 | x }}\n\nNotes: 45 min\nSay.", "cannot be read"),
    ],
)
def test_a_lecture_that_breaks_the_format_is_refused(tmp_path, text, message):
    path = tmp_path / "lecture1.md"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        slides.read_lecture(path)


# --------------------------------------------------------------------------------------------------
# The command, and the browser
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def lessons_run(monkeypatch, executed):
    """Lessons count as executed; the command finds them in the folder of the fake ones."""
    asked, failing = {}, set()
    asked["failing"] = failing

    def run(names, profile, out_dir):
        asked.setdefault("names", []).append(names)
        asked.update(profile=profile, out_dir=out_dir)
        return [
            SimpleNamespace(name=f"{n}_x", status="failed" if n in failing else "current",
                            path=executed / f"{n}_x.ipynb") for n in names
        ]  # fmt: skip

    monkeypatch.setattr(notebooks, "run", run)
    monkeypatch.chdir(ROOT)
    return asked


def test_the_command_runs_lessons_writes_six_pages_and_says_that_a_pdf_needs_a_browser(
    lessons_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(slides, "find_browser", lambda: None)
    with pytest.raises(
        RuntimeError, match=r"no PDF: none of chromium, .* open it with \?print-pdf"
    ):
        slides.slides(tmp_path, pdf=True, profile="lab")
    assert lessons_run["profile"] == "lab" and lessons_run["out_dir"] == "build/notebooks"
    assert len(lessons_run["names"]) == 6 and len(set().union(*lessons_run["names"])) == 16
    assert [path.stem for path in sorted(tmp_path.glob("*.html"))] == LECTURES
    assert capsys.readouterr().out.count("slides: ") == 6


def test_where_a_lesson_failed_the_other_lectures_are_written(lessons_run, tmp_path):
    lessons_run["failing"].update({"00", "03"})
    with pytest.raises(RuntimeError, match=r"no slides of: lecture1 \(00_x\), lecture3 \(03_x"):
        slides.slides(tmp_path)
    written = {path.stem for path in tmp_path.glob("*.html")}
    assert "lecture2" in written and not {"lecture1", "lecture3"} & written


def test_one_lecture_runs_its_own_lessons_only(lessons_run, tmp_path):
    with pytest.raises(SystemExit) as done:
        command_line(["course", "slides", str(tmp_path), "--lecture", "1"])
    assert done.value.code == 0
    assert lessons_run["names"] == [["00", "01"]]
    assert [path.name for path in tmp_path.glob("*.html")] == ["lecture1.html"]


def test_lectures_that_are_not_there_are_refused_before_lessons_run(lessons_run, tmp_path):
    with pytest.raises(ValueError, match="the lecture is '7'; expected one of 1, 2, 3, 4, 5, 6"):
        slides.slides(tmp_path, numbers=["1", "7"])
    assert "names" not in lessons_run


@pytest.mark.parametrize(
    ("profile", "given", "folder"),
    [
        ("lab", "", "build/notebooks"),
        ("smoke", "", "build/notebooks-smoke"),
        ("smoke", "mine", "mine"),
    ],
)
def test_slides_of_another_profile_replace_no_lessons(
    lessons_run, tmp_path, profile, given, folder
):
    slides.slides(tmp_path, profile=profile, numbers=["1"], executed=given)
    assert lessons_run["out_dir"] == folder


@pytest.fixture
def browser():
    pytest.importorskip("playwright", reason="Playwright is not installed")
    found = slides.find_browser()
    if found is None:
        pytest.skip("neither Chromium nor Chrome is installed")
    return found


@pytest.mark.slow
def test_a_pdf_has_a_page_for_each_slide(pages, browser):
    target = slides.to_pdf(pages[2], browser)
    written = slides.read_lecture(FOLDER / "lecture3.md").slides
    assert len(re.findall(rb"/Type /Page\b(?!s)", target.read_bytes())) == len(written)


FITS = """() => [...document.querySelectorAll('.page')].filter(page => {
  const text = page.querySelector('.text');
  return page.scrollHeight > 720 || page.scrollWidth > 1280
    || (text && text.scrollWidth > text.clientWidth + 1);
}).map(page => page.querySelector('h1, h2').textContent)"""


@pytest.mark.slow
def test_the_text_of_every_slide_fits_and_nothing_fails_in_the_browser(pages, browser):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, chromium_sandbox=False)
        tab = chromium.new_page(viewport={"width": 1280, "height": 720})
        said = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda one: said.append(one.url) if one.url.startswith("http") else None)
        for page in pages:
            tab.goto(f"{page.as_uri()}?print-pdf")
            tab.wait_for_selector(".pdf-page", state="attached")
            assert tab.evaluate(FITS) == [], page.name
        chromium.close()
    assert said == []


@pytest.mark.slow
def test_axe_finds_nothing_serious_on_a_lecture(pages, browser):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, chromium_sandbox=False)
        tab = chromium.new_page(viewport={"width": 1280, "height": 720})
        tab.goto(f"{pages[1].as_uri()}?print-pdf")  # all slides at once
        tab.wait_for_selector(".pdf-page", state="attached")
        violations = axe.Axe().run(tab).response["violations"]
        chromium.close()
    assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []
