"""Names that a user may mistype: one way to refuse them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def check_choice(what: str, given: str, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        what: What is chosen, for the message.
        given: The value.
        choices: What it may be.

    Raises:
        ValueError: It is something else; the message suggests the nearest and lists them all.
    """
    choices = list(choices)
    if given not in choices:
        raise ValueError(
            f"{what} is {given!r}; expected one of {', '.join(choices)}."
            + did_you_mean(given, choices)
        )


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """Suggest the nearest choice, to be put behind a sentence.

    Args:
        given: What was asked for.
        choices: What there is.

    Returns:
        `` Did you mean '…'?`` with a space in front, or nothing where none is near.
    """
    near = get_close_matches(str(given), list(choices), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
