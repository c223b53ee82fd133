"""Quizzes: what their files hold, and what a student is shown."""

import html
import re
from pathlib import Path

import pytest

from satkit.course import load_quiz, quiz, quiz_lessons
from satkit.course.questions import answer_buttons, read_quiz, static_text

SOURCES = Path(__file__).parents[1] / "notebooks" / "source"
QUESTION = """[[questions]]
id = "one"
objective = "Do it."
section = "Train"
text = "Which one?"
[[questions.options]]
text = "this"
right = true
feedback = "Yes, since …"
[[questions.options]]
text = "that"
right = {second}
feedback = "{feedback}"
"""


def written(folder: Path, **changes: str):
    file = folder / "05_train_cub.toml"
    values = {"second": "false", "feedback": "No, since …", "more": "", **changes}
    file.write_text('title = "Train"\n' + QUESTION.format(**values) + values["more"])
    return file


def test_every_lesson_has_a_quiz_of_four_to_six_questions():
    assert quiz_lessons() == sorted(path.stem for path in SOURCES.glob("*.py"))
    assert {len(load_quiz(lesson).questions) for lesson in quiz_lessons()} <= {4, 5, 6}


def test_ids_and_texts_are_unique_in_the_course():
    questions = [one for lesson in quiz_lessons() for one in load_quiz(lesson).questions]
    for field in ("id", "text", "objective"):
        values = [getattr(one, field) for one in questions]
        assert len(set(values)) == len(values), field
    feedback = [option.feedback for one in questions for option in one.options]
    assert len(set(feedback)) == len(feedback)


def test_the_right_answer_is_no_matter_of_place_or_length():
    first = longest = total = 0
    for lesson in quiz_lessons():
        for one in load_quiz(lesson).questions:
            total += 1
            first += one.options[0].right
            longest += max(one.options, key=lambda option: len(option.text)).right
    assert first < total / 2
    assert longest < total / 2


@pytest.mark.parametrize("lesson", quiz_lessons())
def test_title_and_sections_are_headings_of_the_lesson(lesson):
    text = (SOURCES / f"{lesson}.py").read_text()
    assert text.splitlines()[1] == f"# # {lesson[:2]} · {load_quiz(lesson).title}"
    headings = set(re.findall(r"^# #+ (.*)$", text, re.MULTILINE))
    sections = {one.section for one in load_quiz(lesson).questions}
    assert sections <= headings, sections - headings


def test_a_quiz_is_found_by_number_and_the_nearest_name_is_said():
    for number in ("04", "4", 4):
        assert load_quiz(number) == load_quiz("04_losses")
    with pytest.raises(ValueError, match="04_losses"):
        load_quiz("04_looses")


def test_a_file_that_is_a_quiz_is_read(tmp_path):
    read = read_quiz(written(tmp_path))
    assert (read.number, [o.right for o in read.questions[0].options]) == ("05", [True, False])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"second": "true"}, "at least one right and one wrong"),
        ({"feedback": "  "}, r"options\.1\.feedback"),
        ({"more": QUESTION.format(second="false", feedback="No.")}, "used twice: one"),
        ({"more": 'hint = "x"'}, r"hint"),
        ({"more": "[["}, "05_train_cub.toml is not a quiz"),
    ],
)
def test_a_file_that_is_no_quiz_is_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        read_quiz(written(tmp_path, **change))


def test_the_static_text_holds_options_and_feedback_folded_away():
    (one, *_) = load_quiz("01").questions
    shown, folded = static_text(one, 1, "01").split("<details>")
    assert one.text in shown
    for option in one.options:
        assert option.text in shown
        assert option.feedback in folded and option.feedback not in shown
    assert folded.endswith("</details>") and one.section in folded


@pytest.mark.parametrize("lesson", ["01", "04"])
def test_a_button_gives_the_feedback_on_its_option(lesson):
    for one in load_quiz(lesson).questions:
        buttons, feedback = answer_buttons(one, lesson).children
        assert (buttons.value, feedback.value) == (None, "")
        for letter, option in one.lettered.items():
            buttons.value = letter
            words = html.unescape(re.sub(r"<[^>]*>", "", feedback.value))
            assert words.startswith(f"{letter}: {option.verdict}")
            assert option.feedback.replace("*", "").replace("`", "") in words
            assert ("Read again" in words) is not option.right


def test_a_notebook_shows_text_first_and_then_buttons(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *of, **_: shown.extend(of))
    quiz("00_start_here")
    texts, buttons = shown[::2], shown[1::2]
    assert len(texts) == len(buttons) == len(load_quiz("00").questions)
    assert all("<details>" in text.data for text in texts)
    assert all("application/vnd.jupyter.widget-view+json" in one for one in buttons)
    assert all(one["text/plain"].startswith("(Buttons") for one in buttons)
