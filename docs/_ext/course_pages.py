"""What the course's pages take from the kit's own files, so that no page goes stale.

- ``{lesson}`01` `` links to a lesson's page, or names it where the site was built without it;
- ``{quiz}`` is the quiz of a lesson, each option a fold with its feedback: no script is needed;
- ``{misconceptions}`` are those of all exercises;
- the page of a lesson ends with links to its quiz and to its terms in the glossary.
"""

from __future__ import annotations

import re

from docutils import nodes
from myst_parser.slugs import github_slugify
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from satkit.course import exercises_of, load_quiz, quiz_lessons
from satkit.course.checks import Exercise
from satkit.course.questions import Option, Question, inline_html, pointer
from satkit.course.registry import sheets

GLOSSARY = "course/glossary"


class LessonRole(SphinxRole):
    """``{lesson}`01` ``: the page of a lesson."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Link to the page if the site has it."""
        try:
            page = f"notebooks/{load_quiz(self.text).lesson}"
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [nodes.Text(self.text)], [message]
        return [link(self.env, page, f"lesson {self.text}")], []


class QuizDirective(SphinxDirective):
    """The quiz of a lesson, named by its number."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the questions in Markdown and parse them."""
        asked = load_quiz(self.arguments[0])
        parts = [
            question_page(question, number, self.read_again(question, asked.lesson))
            for number, question in enumerate(asked.questions, 1)
        ]
        parts += ["## What these questions are for", ""]
        parts += [f"{n}. {one.objective}" for n, one in enumerate(asked.questions, 1)]
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)

    def read_again(self, question: Question, lesson: str) -> str:
        """Link to the section of the lesson, if the site has it."""
        page, words = f"notebooks/{lesson}", pointer(question, lesson.split("_")[0])
        if page not in self.env.found_docs:
            return words
        anchor = github_slugify(re.sub(r"\$[^$]*\$", "", question.section))  # MyST leaves math out
        return f"[{words}](/{self.env.doc2path(page, base=False)}#{anchor})"


class MisconceptionsDirective(SphinxDirective):
    """The misconceptions of all exercises, a section a lesson."""

    def run(self) -> list[nodes.Node]:
        """Write them in Markdown and parse it."""
        parts = []
        for sheet in sheets():
            found = (doc for doc in self.env.found_docs if doc.split("/")[-1] == sheet)
            file = next((str(self.env.doc2path(doc, base=False)) for doc in found), "")
            parts += [f"## {sheet_title(sheet)}", ""]
            listed = [misconceptions_of(exercise, file) for exercise in exercises_of(sheet)]
            parts += [folded("Show the answers to these exercises", "\n".join(listed))]
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def question_page(question: Question, number: int, read_again: str) -> str:
    """A question in Markdown; each option unfolds to its feedback."""
    options = [
        option_page(letter, option, read_again) for letter, option in question.lettered.items()
    ]
    head = [f"(quiz-{question.id})=", f"## Question {number}", "", question.text, ""]
    return "\n".join([*head, *options])


def option_page(letter: str, option: Option, read_again: str) -> str:
    """An option in Markdown, its feedback folded below it."""
    again = "" if option.right else f" {read_again}"
    summary = f"<strong>{letter}</strong> {inline_html(option.text)}"
    return folded(summary, f"**{option.verdict}** {option.feedback}{again}")


def folded(summary: str, text: str) -> str:
    """Markdown that unfolds below a summary in HTML."""
    return f'<details class="option"><summary>{summary}</summary>\n\n{text}\n\n</details>\n'


def sheet_title(sheet: str) -> str:
    """Heading of an exercise sheet: that of its lesson, if there is one."""
    number, _, words = sheet.removeprefix("ex").partition("_")
    titles = {lesson.split("_")[0]: load_quiz(lesson).title for lesson in quiz_lessons()}
    return f"{number} · {titles.get(number, words.replace('_', ' ').capitalize())}"


def misconceptions_of(exercise: Exercise, file: str) -> str:
    """Misconceptions of an exercise in Markdown: the wrong idea, and the right one."""
    if not exercise.misconceptions:
        return ""
    title = escaped(exercise.title)
    where = f"[{title}](/{file})" if file else title
    ideas = [
        f"**{escaped(one.name[:1].upper() + one.name[1:])}**\n: {escaped(one.idea)}\n"
        for one in exercise.misconceptions
    ]
    return "\n".join([f"Exercise {where} (`{exercise.name}`)", "", *ideas, ""])


def escaped(text: str) -> str:
    """Plain text as Markdown: only backticks and the asterisks of emphasis keep their meaning."""
    parts = " ".join(text.split()).split("`")
    plain = [re.sub(r"([\\*_<\[\]$#{}])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"(?<![\w*])\\\*(\w[^*]*?\w)\\\*(?!\w)", r"*\1*", one) for one in plain]
    return "`".join(parts)


def link(env: BuildEnvironment, page: str, words: str) -> nodes.Node:
    """Link to a page, or the words alone where the site was built without it."""
    if page not in env.found_docs:
        return nodes.inline("", words)
    return reference(env, "doc", f"/{page}", words)


def reference(env: BuildEnvironment, kind: str, target: str, words: str) -> nodes.Node:
    """Link that Sphinx resolves when all pages were read."""
    options = {"refdomain": "std", "reftype": kind, "reftarget": target, "refdoc": env.docname}
    return addnodes.pending_xref(
        "", nodes.inline("", words), refexplicit=True, refwarn=True, **options
    )


def terms_by_lesson(glossary: str) -> dict[str, list[str]]:
    """Terms of the glossary that a lesson explains, by its number."""
    terms: dict[str, list[str]] = {}
    for first, explained in entries(glossary):
        for number in re.findall(r"\{lesson\}`(\d\d)`", explained):
            terms.setdefault(number, []).append(first[0])
    return terms


def entries(glossary: str) -> list[tuple[list[str], str]]:
    """Entries of the glossary's Markdown: the names of each term, and its explanation."""
    (block,) = re.findall(r"^```\{glossary\}\n(.*?)^```", glossary, re.DOTALL | re.MULTILINE)
    found = re.findall(r"((?:^\S.*\n)+)((?:^(?: +.*)?\n)+)", block, re.MULTILINE)
    return [(names.splitlines(), explained) for names, explained in found]


def add_foot(app: Sphinx, doctree: nodes.document) -> None:
    """End a lesson's page with links to its quiz and its terms."""
    env, lesson = app.env, app.env.docname.removeprefix("notebooks/")
    if lesson not in quiz_lessons() or lesson == env.docname or not doctree.children:
        return
    foot = nodes.container(classes=["lesson-foot"])
    quiz = f"course/quizzes/{lesson}"
    if quiz in env.found_docs:
        foot += nodes.paragraph("", "Check yourself: ", link(env, quiz, "the quiz on this lesson"))
    if terms := app.satkit_terms.get(lesson.split("_")[0]):
        links = [reference(env, "term", term, term) for term in terms]
        commas = [nodes.Text(", ")] * (len(links) - 1) + [nodes.Text(".")]
        parts = [part for pair in zip(links, commas, strict=True) for part in pair]
        foot += nodes.paragraph("", "Terms of this lesson in the glossary: ", *parts)
    if foot.children:
        doctree.children[-1] += foot


def read_terms(app: Sphinx) -> None:
    """Read the glossary once, before the pages that link to it."""
    file = app.srcdir / f"{GLOSSARY}.md"
    app.satkit_terms = terms_by_lesson(file.read_text(encoding="utf-8")) if file.exists() else {}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register roles, directives and the foot of lessons."""
    app.add_role("lesson", LessonRole())
    app.add_directive("quiz", QuizDirective)
    app.add_directive("misconceptions", MisconceptionsDirective)
    app.connect("builder-inited", read_terms)
    app.connect("doctree-read", add_foot)
    app.add_css_file("course.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
