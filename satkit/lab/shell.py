"""The shell of all interactive parts: a static picture, controls, and a picture that follows.

JupyterLab takes the arrow keys for itself, unless something is typed in. So there are buttons and
number fields where lists would be usual, and sliders, which also know Page Up, Page Down, Home and
End, and whose number can be typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from satkit.figures import Illustration, show, to_html

#: Hides the static picture where the live one stands right below it
_ONE_PICTURE = (
    "<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child .satkit-live) {display: none}</style>"
)

#: Style of controls that do not cut their description off
LABEL = {"description_width": "initial"}
NARROW = {"button_width": "auto"}


def panel(
    draw: Callable[..., Illustration], controls: Mapping[str, Any], beside: Any = None
) -> Any:
    """Show a picture that follows controls.

    First comes a static picture of how the controls stand, with its text, for all who only read the
    notebook. A `ValueError` of ``draw`` is said in the place of the text; the picture stays.

    Args:
        draw: Takes the value of each control by the control's name.
        controls: Widgets with a description, by name.
        beside: Widget that stands behind the picture.

    Returns:
        The widget, which a notebook shows when it is the cell's last value: a box of controls, the
        picture, and its text.
    """
    import ipywidgets as widgets

    def values() -> dict[str, Any]:
        return {name: control.value for name, control in controls.items()}

    last = values()
    view, said = widgets.HTML(), widgets.HTML()

    def display(one: Illustration) -> None:
        view.value, said.value = to_html(*one), escape(one.alt, quote=False)

    def redraw(*_: Any) -> None:
        nonlocal last
        now = values()
        if now == last:  # two controls were moved at once: it is drawn already
            return
        last = now
        try:
            display(draw(**now))
        except ValueError as error:
            said.value = escape(str(error), quote=False)

    first = draw(**last)
    show(first)
    display(first)
    for control in controls.values():
        control.observe(redraw, names="value")
    row = widgets.HBox([*controls.values()], layout=widgets.Layout(flex_flow="row wrap"))
    behind = [widgets.HTML(_ONE_PICTURE)] + ([beside] if beside else [])
    whole = widgets.VBox([row, view, said, *behind])
    whole.add_class("satkit-live")
    return whole


def slider(
    description: str, value: float, low: float, high: float, step: float, unit: str = ".2f"
) -> Any:
    """A slider that answers when it is let go, so that pictures do not queue up.

    Args:
        description: What it is, for eyes and screen readers.
        value: Where it starts.
        low: Its smallest value.
        high: Its largest value.
        step: What one press of an arrow key adds; with a step of 1 the values are whole numbers.
        unit: Format of the value that is shown.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    whole = isinstance(step, int)
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    return kind(
        value=value, min=low, max=high, step=step, description=description,
        continuous_update=False, readout_format="d" if whole else unit, style=LABEL,
    )  # fmt: skip


def choice(description: str, options: Mapping[str, Any] | Sequence[str], chosen: Any = None) -> Any:
    """A row of buttons of which one is pressed.

    Args:
        description: What is chosen.
        options: A few texts, or texts with the values that they stand for.
        chosen: The value that is pressed at the start; the first one where None.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    given = list(options.items()) if isinstance(options, Mapping) else list(options)
    row = widgets.ToggleButtons(options=given, description=description, style=LABEL | NARROW)
    row.value = row.value if chosen is None else chosen
    return row


def number(description: str, highest: int) -> Any:
    """A field for a whole number from 1 on; it starts with 1.

    Args:
        description: What is numbered.
        highest: The last number.

    Returns:
        The widget.
    """
    import ipywidgets as widgets

    return widgets.BoundedIntText(
        value=1, min=1, max=highest, description=f"{description} (1–{highest})", style=LABEL,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def tick(description: str) -> Any:
    """A box to tick.

    Args:
        description: What is then so.

    Returns:
        The widget, not ticked.
    """
    import ipywidgets as widgets

    return widgets.Checkbox(False, description=description, indent=False)
