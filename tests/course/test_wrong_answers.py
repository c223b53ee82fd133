"""A bank of wrong answers: all are refused, and at least 95 % are told the right idea."""

from functools import cache

import pytest

from satkit.course.checks import CheckFailed, check_answer
from satkit.course.registry import find_exercise
from tests.course import editions
from tests.course.wrong_answers import Wrong, bank

BANK = bank()
TOLD_SHARE = 0.95


@cache
def message_of(sheet: str, wrong: Wrong) -> str:
    """What the check says; the other cells of the sheet are the teacher's."""
    namespace = dict(editions.teacher_namespace(sheet))
    editions.run(wrong.code, namespace)
    call = next(call for call in editions.calls(sheet) if call.exercise == wrong.exercise)
    right, message = editions.verdict(sheet, call, namespace)
    assert not right, f"{sheet}: this answer to {wrong.exercise} is not refused:\n{wrong.code}"
    with pytest.raises(CheckFailed) as refused:
        answer = eval(call.answer, namespace)
        check_answer(find_exercise(wrong.exercise, sheet), answer, call.seed)
    assert message == str(refused.value), "grading must say what the check says"
    return message


def is_told(sheet: str, wrong: Wrong) -> bool:
    """Whether the message names the misconception, or its idea."""
    known = {one.name: one for one in find_exercise(wrong.exercise, sheet).misconceptions}
    assert wrong.misconception in known, (
        f"{wrong.exercise} has no such misconception: {list(known)}"
    )
    message = message_of(sheet, wrong)
    return wrong.misconception in message or known[wrong.misconception].idea in message


@pytest.mark.parametrize(("sheet", "wrong"), BANK, ids=lambda one: getattr(one, "exercise", None))
def test_a_wrong_answer_is_refused(sheet, wrong):
    assert message_of(sheet, wrong)


def test_almost_all_wrong_answers_are_told_the_right_idea():
    untold = [one for sheet, one in BANK if not is_told(sheet, one)]
    assert len(untold) <= (1 - TOLD_SHARE) * len(BANK), "\n\n".join(map(str, untold))
