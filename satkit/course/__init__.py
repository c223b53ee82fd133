"""The course: exercises that check themselves, and what a teacher needs to release and grade them.

>>> from satkit.course import start
>>> check = start("ex01_localization_and_metrics")  # doctest: +SKIP
>>> check("iou", iou)  # doctest: +SKIP
"""

from satkit.course.checks import CheckFailed, Exercise, Misconception, Trial, check_answer
from satkit.course.questions import load_quiz, quiz, quiz_lessons
from satkit.course.registry import exercises_of, find_exercise, start

__all__ = [
    "CheckFailed",
    "Exercise",
    "Misconception",
    "Trial",
    "check_answer",
    "exercises_of",
    "find_exercise",
    "load_quiz",
    "quiz",
    "quiz_lessons",
    "start",
]
