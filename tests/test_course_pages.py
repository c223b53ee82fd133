"""Pages of the course: they link to what exists, and nothing in them is stale."""

import html
import importlib
import re
import sys
from pathlib import Path

import pytest

import satkit
from satkit.course import exercises_of, load_quiz, quiz_lessons
from satkit.course.registry import sheets

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "course"
SOURCES = {path.stem: path.read_text() for path in (ROOT / "notebooks" / "source").glob("*.py")}
LESSONS = {name[:2]: " ".join(re.sub(r"^# ?", "", text, flags=re.M).split())
           for name, text in SOURCES.items()}  # fmt: skip


@pytest.fixture(scope="module")
def extension():
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    yield pytest.importorskip("course_pages")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def site(tmp_path_factory, extension):
    """The course's pages alone, with a stand-in for one lesson and none for the others."""
    from sphinx.testing.util import SphinxTestApp
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    folder = tmp_path_factory.mktemp("site")
    for name in ("glossary", "notation", "reading", "misconceptions"):
        (folder / "course").mkdir(exist_ok=True)
        text = (PAGES / f"{name}.md").read_text()
        (folder / "course" / f"{name}.md").write_text(
            re.sub(r"\[([^]]*)\]\((?!#)[^)]*\.md\)", r"\1", text)
        )
    (folder / "course" / "quizzes").mkdir()
    for lesson in ("01_localization_and_metrics", "05_train_cub"):
        page = (PAGES / "quizzes" / f"{lesson}.md").read_text()
        (folder / "course" / "quizzes" / f"{lesson}.md").write_text(page)
    (folder / "notebooks").mkdir()
    headings = re.findall(r"^# (#+ .*)$", SOURCES["05_train_cub"], re.MULTILINE)
    (folder / "notebooks" / "05_train_cub.md").write_text("\n\n".join(headings))
    (folder / "index.md").write_text("# Site\n\n```{toctree}\n:glob:\n*/*\ncourse/quizzes/*\n```\n")
    (folder / "conf.py").write_text(
        'extensions = ["myst_parser", "course_pages"]\n'
        'myst_enable_extensions = ["dollarmath", "deflist"]\nmyst_heading_anchors = 3\n'
        'html_theme = "basic"\nhtml_math_renderer = "mathjax"\n'
    )
    with patch_docutils(), docutils_namespace():
        app = SphinxTestApp(buildername="html", srcdir=folder)
        app.build()
        warnings = app.warning.getvalue()
        app.cleanup()
    return folder / "_build" / "html", warnings


def words(page: Path) -> str:
    """Text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page.read_text())).split())


# ---- glossary ------------------------------------------------------------------------------------


def test_the_glossary_explains_many_terms_and_each_once(extension):
    entries = extension.entries((PAGES / "glossary.md").read_text())
    names = [name for names, _ in entries for name in names]
    assert len(entries) >= 50
    assert len({name.lower() for name in names}) == len(names)
    order = [names[0].lower() for names, _ in entries]
    assert order == sorted(order, key=lambda name: {"δ": "delta", "λ": "lambda"}.get(name, name))


def test_a_term_occurs_in_the_lessons_that_explain_it(extension):
    for names, explained in extension.entries((PAGES / "glossary.md").read_text()):
        for number in re.findall(r"\{lesson\}`(\d\d)`", explained):
            text = LESSONS[number].lower()
            assert any(name.lower() in text for name in names), f"{names[0]} is not in {number}"


def test_a_lesson_has_terms(extension):
    terms = extension.terms_by_lesson((PAGES / "glossary.md").read_text())
    assert set(terms) == set(LESSONS)
    assert "IoU" in terms["01"]


# ---- notation, reading ---------------------------------------------------------------------------


def test_every_name_in_the_notation_exists():
    table = (PAGES / "notation.md").read_text().partition("## Symbols and names")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for _, name, *_, lesson in rows:
        assert exists(f"satkit.{name.strip('`')}"), name
        assert re.match(r"\{lesson\}`\d\d` \|", lesson), name


def exists(name: str) -> bool:
    """Whether a dotted name can be imported; a setting counts, and a parameter of SAT's."""
    owner, attribute = name.rsplit(".", 1)
    if owner == "satkit.TrainSettings":
        return attribute in satkit.TrainSettings.model_fields
    if owner == "satkit.model.SAT":
        model = satkit.create_model("sat", "vit_pico_convstem8_96", 2, image_size=96)
        return hasattr(model, attribute)
    try:
        return bool(importlib.import_module(name))
    except ImportError:
        outer, _, inner = owner.rpartition(".")
        try:
            return hasattr(importlib.import_module(owner), attribute)
        except ImportError:
            return hasattr(getattr(importlib.import_module(outer), inner), attribute)


def test_a_name_that_does_not_exist_would_be_noticed():
    assert not exists("satkit.losses.area_los")
    assert not exists("satkit.model.SAT.token")
    assert not exists("satkit.metrics.BoxLocalization.curve")


def test_a_work_is_cited_by_the_lesson_that_the_reading_list_names():
    items = re.split(r"^- ", (PAGES / "reading.md").read_text(), flags=re.MULTILINE)[1:]
    assert 20 <= len(items) <= 35
    for item in items:
        family = re.match(r"(?:[\w-]+\.(?: |-))+([\w-]+)", item)
        assert family and re.search(r"\b(19|20)\d\d\. \*\*For\*\*", " ".join(item.split())), item
        for number in re.findall(r"\{lesson\}`(\d\d)`", item):
            assert family[1] in LESSONS[number], f"{family[1]} is not in lesson {number}"


@pytest.mark.parametrize("page", sorted(PAGES.rglob("*.md")), ids=lambda page: page.stem)
def test_links_to_lessons_and_pages_exist(page):
    text = page.read_text()
    assert set(re.findall(r"\{lesson\}`([^`]*)`", text)) <= set(LESSONS)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target


# ---- pages as they are built ---------------------------------------------------------------------


def test_every_lesson_has_a_quiz_page():
    for lesson in quiz_lessons():
        page = (PAGES / "quizzes" / f"{lesson}.md").read_text()
        assert page.startswith(f"# Quiz {lesson[:2]} · {load_quiz(lesson).title}\n")
        assert f"```{{quiz}} {lesson[:2]}\n" in page


def test_the_pages_build_without_warnings(site):
    assert site[1] == ""


@pytest.mark.parametrize("lesson", ["01_localization_and_metrics", "05_train_cub"])
def test_the_page_of_a_quiz_holds_all_feedback_each_behind_its_option(site, lesson):
    page = site[0] / "course" / "quizzes" / f"{lesson}.html"
    text, folds = words(page), re.findall(r"<details.*?</details>", page.read_text(), re.DOTALL)
    options = [one for question in load_quiz(lesson).questions for one in question.options]
    assert len(folds) == len(options)
    for fold, option in zip(folds, options, strict=True):
        summary = fold.partition("</summary>")[0]
        assert option.feedback.split(".")[0][:40] not in summary
        plain = " ".join(html.unescape(re.sub(r"<[^>]*>", "", fold)).split())
        assert option.text.replace("*", "") in plain
        assert straight(option.feedback) in straight(plain) and option.verdict in plain
        assert option.right or "Read again" in plain
    for question in load_quiz(lesson).questions:
        assert straight(question.text) in straight(text)


def straight(text: str) -> str:
    """Text without Markdown's marks and with plain quotation marks."""
    return re.sub("[“”]", '"', re.sub("’", "'", text.replace("*", "").replace("`", "")))


def test_a_quiz_links_to_the_section_of_a_lesson_that_the_site_has(site):
    page = (site[0] / "course" / "quizzes" / "05_train_cub.html").read_text()
    lesson = (site[0] / "notebooks" / "05_train_cub.html").read_text()
    anchors = set(re.findall(r'05_train_cub\.html#([^"]+)"', page))
    assert anchors and all(f'id="{anchor}"' in lesson for anchor in anchors)
    without = (site[0] / "course" / "quizzes" / "01_localization_and_metrics.html").read_text()
    assert "Read again" in without and "notebooks/01" not in without


def test_a_lesson_links_back_to_its_quiz_and_its_terms(site):
    foot = (site[0] / "notebooks" / "05_train_cub.html").read_text().partition("lesson-foot")[2]
    assert "course/quizzes/05_train_cub.html" in foot
    assert "course/glossary.html#term-backbone" in foot


def test_the_misconceptions_are_those_of_the_exercises(site):
    text = words(site[0] / "course" / "misconceptions.html")
    for sheet in sheets():
        for exercise in exercises_of(sheet):
            for one in exercise.misconceptions:
                assert straight(one.name).lower() in straight(text).lower()
                assert straight(one.idea) in straight(text)


def test_misconceptions_are_folded_below_a_warning_and_their_emphasis_shows(site):
    page = (site[0] / "course" / "misconceptions.html").read_text()
    assert page.index("This page tells answers") < page.index("<details")
    folds = re.findall(r"<details.*?</details>", page, re.DOTALL)
    assert len(folds) == len(sheets())
    assert "root of 0.5" in folds[0] and "root of 0.5" not in "".join(
        re.split(r"<details.*?</details>", page, flags=re.DOTALL)
    )
    assert "<em>class token</em>" in page and "*class token*" not in page
    assert "M*(1 − M*)" in html.unescape(page)
