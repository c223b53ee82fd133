"""Wrong answers, one module a sheet, each with the misconception that it comes from."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A wrong answer as a student writes it.

    Attributes:
        exercise: Name of the exercise.
        misconception: Name of that of the exercise's misconceptions that it comes from.
        code: What stands in the cell of the answer.
    """

    exercise: str
    misconception: str
    code: str


def bank() -> list[tuple[str, Wrong]]:
    """All wrong answers with the names of their sheets."""
    sheets = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {sheet: importlib.import_module(f"{__name__}.{sheet}") for sheet in sheets}
    return [(sheet, wrong) for sheet, module in modules.items() for wrong in module.WRONG]
