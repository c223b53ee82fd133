"""A photograph of one's own: upload it, move the threshold, see map and box."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from satkit.data import read_image
from satkit.figures import Illustration, photo_panels
from satkit.lab.shell import panel, slider
from satkit.predict import Heat, heat_of
from satkit.results import Run


def localize_photo(run: Run, photo: str | Path, threshold: float = 0.0) -> Any:
    """Upload a photograph, move the threshold, see map and box: no code needed.

    First comes a static picture of ``photo``, so that an exported notebook loses nothing. An
    uploaded photograph stays in the memory of this Python; it is neither stored nor sent anywhere.

    Args:
        run: Finished run.
        photo: Image file for the static picture, which the widget starts with.
        threshold: On the map, 0-1; the run's where 0.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.

    Raises:
        FileNotFoundError, ValueError: The photograph is missing or cannot be read.
    """
    import ipywidgets as widgets

    chosen = threshold or float(run.metrics["threshold"])
    model, classes = run.model(), run.provenance["classes"]
    shown: dict[Any, tuple[Heat, str]] = {
        (): (heat_of(model, run, read_image(photo)), Path(photo).name)
    }

    def draw(upload: tuple[Any, ...], threshold: float) -> Illustration:
        key = tuple((file["name"], bytes(file["content"])) for file in upload)
        if key not in shown:
            ((name, content),) = key
            photograph = read_image(io.BytesIO(content), name)
            shown.clear()  # only the last one is kept
            shown[key] = (heat_of(model, run, photograph), name)
        heat, name = shown[key]
        return localization(heat, threshold, classes, name)

    controls = {
        "upload": widgets.FileUpload(accept="image/*", multiple=False, description="Photograph"),
        "threshold": slider("threshold", chosen, 0.01, 0.99, 0.01),
    }
    return panel(draw, controls)


def localization(heat: Heat, threshold: float, classes: list[str], name: str) -> Illustration:
    """A photograph, its map, and its box, with what it shows in words.

    Args:
        heat: Of :func:`satkit.predict.heat_of`.
        threshold: On the map, 0-1.
        classes: Names of the run's classes.
        name: Of the photograph.

    Returns:
        Three panels.
    """
    box = heat.box(threshold)
    share = 100 * float((box[2:] - box[:2]).prod()) / heat.map.size
    best = int(heat.scores.argmax())
    drawn = photo_panels(heat.picture, heat.map, box)
    alt = (
        f"{name}: photograph, map, and the box above the threshold {threshold:.2f}, which takes "
        f"{share:.0f} % of the picture; class {classes[best]} ({100 * heat.scores[best]:.0f} %)."
    )
    return Illustration(drawn, alt)
