"""Numbers that the paper states in words or prints as differences, and what its cells give."""

from __future__ import annotations

import re

import pandas as pd

from satkit.paper.cells import FOLDER, read, value


def statements() -> pd.DataFrame:
    """What the paper says about its numbers, in our words.

    Returns:
        Columns ``id``, ``location``, ``says``, ``relation`` (``=``, ``<``, ``>``; empty where the
        paper gives no number), ``stated`` (text, with the printed digits), ``unit``, ``formula``
        over cells of the tables (empty where the paper prints none) and ``note``.
    """
    return read(FOLDER / "statements.csv")


def check_statements() -> pd.DataFrame:
    """Recompute every stated number from the cells of the tables.

    A number agrees when it is the stated one rounded, that is, when it differs by no more than half
    of the last printed digit.

    Returns:
        Columns ``id``, ``location``, ``says``, ``relation``, ``stated``, ``recomputed``,
        ``difference`` (recomputed - stated), ``agrees`` (True, False, or NA where the paper prints
        nothing to recompute it from) and ``note``.
    """
    frame = statements()
    frame["recomputed"] = [evaluate(text) if text else float("nan") for text in frame["formula"]]
    stated = pd.to_numeric(frame["stated"])
    frame["difference"] = frame["recomputed"] - stated
    rules = zip(frame["relation"], frame["stated"], frame["difference"], strict=True)
    agrees = pd.array([_agrees(*rule) for rule in rules], dtype="boolean")
    frame["agrees"] = agrees
    frame.loc[frame["formula"] == "", "agrees"] = pd.NA
    frame["stated"] = stated
    columns = "id location says relation stated recomputed difference agrees note"
    return frame[columns.split()]


def evaluate(formula: str) -> float:
    """Value of an arithmetic formula.

    Args:
        formula: Numbers, ``+ - * /``, brackets, and ``{table/row/column}`` for a cell.

    Returns:
        The number.

    Raises:
        ValueError: A cell that is not there.
    """
    text = re.sub(r"\{(.+?)\}", lambda cell: f"({value(cell[1])!r})", formula)
    return float(pd.eval(text, engine="python"))


def _agrees(relation: str, stated: str, difference: float) -> bool:
    if relation == "<":
        return difference < 0
    if relation == ">":
        return difference > 0
    digits = len(stated.partition(".")[2])
    return abs(difference) <= 0.5 * 10**-digits + 1e-9
