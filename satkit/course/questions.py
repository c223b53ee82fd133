"""Quizzes on the lessons: a few questions each, and feedback for every option.

They lie in ``satkit/course/quizzes``, a TOML file a lesson. In Jupyter each question is static text
(with its answers folded away) and then buttons; the site's pages are made of the same files.

>>> from satkit.course import quiz
>>> quiz("01_localization_and_metrics")  # doctest: +SKIP
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validator

from satkit.choices import check_choice

FOLDER = Path(__file__).parent / "quizzes"
LETTERS = "ABCDEF"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Part(BaseModel):
    """A part of a quiz: no other fields than its own, and no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Option(Part):
    """One of the answers to choose from.

    Attributes:
        text: What it says, in Markdown's inline marks.
        right: Whether it is right.
        feedback: Why it is right or wrong, to one who has chosen it.
    """

    text: Text
    right: bool
    feedback: Text

    @property
    def verdict(self) -> str:
        """The word before the feedback."""
        return "Right." if self.right else "Not right."


class Question(Part):
    """A question with two to six options, at least one of them right and one wrong.

    Attributes:
        id: Unique in the course, as a Python name.
        objective: What one can do who answers it, from a verb on.
        section: Heading of the lesson that it is about.
        text: The question, in Markdown's inline marks.
        options: In the order in which they are shown, as A, B, C …
    """

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    objective: Text
    section: Text
    text: Text
    options: tuple[Option, ...] = Field(min_length=2, max_length=len(LETTERS))

    @validator(mode="after")
    def _has_right_and_wrong(self) -> Question:
        if len({option.right for option in self.options}) < 2:
            raise ValueError("needs at least one right and one wrong option")
        return self

    @property
    def lettered(self) -> dict[str, Option]:
        """The options by their letters."""
        return dict(zip(LETTERS, self.options, strict=False))


class Quiz(Part):
    """The questions on a lesson.

    Attributes:
        lesson: Its name, ``01_localization_and_metrics``.
        title: Its heading, without the number.
        questions: In the order of the lesson's sections.
    """

    lesson: str
    title: Text
    questions: tuple[Question, ...] = Field(min_length=1)

    @validator(mode="after")
    def _has_unique_ids(self) -> Quiz:
        seen = Counter(question.id for question in self.questions)
        if twice := [name for name, count in seen.items() if count > 1]:
            raise ValueError(f"question ids are used twice: {', '.join(twice)}")
        return self

    @property
    def number(self) -> str:
        """Of the lesson, ``01``."""
        return self.lesson.split("_")[0]


def quiz_lessons() -> list[str]:
    """Names of the lessons with a quiz, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_quiz(lesson: str | int) -> Quiz:
    """Read the quiz of a lesson.

    Args:
        lesson: Its name, ``01_localization_and_metrics``, or its number, ``01``, ``"1"`` or ``1``.

    Raises:
        ValueError: There is no such lesson (the message names the nearest), or its file does not
            hold what a quiz needs (the message says where and what).
    """
    names = quiz_lessons()
    asked = str(lesson)
    number = asked.zfill(2) if asked.isdecimal() else asked
    name = {known.split("_")[0]: known for known in names}.get(number, asked)
    check_choice("lesson", name, names)
    return read_quiz(FOLDER / f"{name}.toml")


def read_quiz(path: Path) -> Quiz:
    """Read a file of questions; its name is that of the lesson.

    Raises:
        ValueError: It does not hold what a quiz needs.
    """
    try:
        return Quiz(lesson=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name} is not a quiz: {error}") from error


def quiz(lesson: str | int) -> None:
    """Show the quiz of a lesson: each question as text, its answers folded away, then buttons.

    Args:
        lesson: Its name, ``01_localization_and_metrics``, or its number, ``01``, ``"1"`` or ``1``.

    Raises:
        ValueError: There is no such lesson.
    """
    from IPython.display import Markdown, display

    asked = load_quiz(lesson)
    for number, question in enumerate(asked.questions, 1):
        display(Markdown(static_text(question, number, asked.number)))
        bundle = answer_buttons(question, asked.number)._repr_mimebundle_()
        note = {"text/plain": "(Buttons for an answer: in a running notebook.)"}
        display(bundle | note, raw=True)


def static_text(question: Question, number: int, lesson: str) -> str:
    """A question in Markdown with its answers folded away: all there is to know without a widget.

    Args:
        question: To be shown.
        number: In its quiz.
        lesson: The lesson's number, ``01``.
    """
    options = [f"- **{letter}** · {option.text}" for letter, option in question.lettered.items()]
    answers = [
        f"- **{letter}** · **{option.verdict}** {option.feedback}"
        for letter, option in question.lettered.items()
    ]
    lines = [
        f"**Question {number}.** {question.text}\n", *options,
        f"\n<details><summary>All answers to question {number}, with reasons</summary>\n",
        *answers, f"\n{pointer(question, lesson)}\n\n</details>",
    ]  # fmt: skip
    return "\n".join(lines)


def pointer(question: Question, lesson: str) -> str:
    """Where to read again, in words."""
    return f"Read again: «{question.section}» in lesson {lesson}."


def answer_buttons(question: Question, lesson: str) -> Any:
    """Buttons for the letters of a question, and below them the feedback on the one chosen.

    Args:
        question: To be answered.
        lesson: The lesson's number, ``01``.

    Returns:
        Widget whose children are the buttons and the feedback.
    """
    import ipywidgets as widgets

    buttons = widgets.ToggleButtons(
        options=list(question.lettered), value=None, tooltips=[o.text for o in question.options],
        style={"button_width": "3em"},
    )  # fmt: skip
    feedback = widgets.HTMLMath()

    def answer(change: dict[str, Any]) -> None:
        option = question.lettered[change["new"]]
        again = "" if option.right else f" {pointer(question, lesson)}"
        text = f"{change['new']}: **{option.verdict}** {option.feedback}{again}"
        feedback.value = inline_html(text)

    buttons.observe(answer, names="value")
    return widgets.VBox([buttons, feedback])


def inline_html(text: str) -> str:
    """Markdown's inline marks as HTML; anything else is escaped."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).renderInline(text)
