"""From a folder of one's own photographs to a small report; nothing leaves the machine."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import ExifTags, Image

from satkit.boxes import iou
from satkit.data import read_image
from satkit.data.aviary import draw_bird
from satkit.data.files import CORNERS, parse_box, read_rows
from satkit.predict import Predictions, find_images
from satkit.results import Run, write_atomically

#: EXIF orientation -> how a camera that is held so stores the upright picture
_STORED = {1: None, 6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180,
           8: Image.Transpose.ROTATE_270}  # fmt: skip


def sample_photos(folder: str | Path, count: int = 6, seed: int = 0, size: int = 320) -> Path:
    """Make stand-ins for photographs: Aviary's drawings as JPEG files, as a phone would save them.

    They are stored turned, with an EXIF orientation that sets them right, and with a made-up place
    (GPS 0, 0). ``boxes.csv`` holds the true boxes, in the upright frame.

    Args:
        folder: Where to; made if need be.
        count: How many.
        seed: Of the drawings.
        size: Their side, pixels.

    Returns:
        The folder.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        drawing = draw_bird([seed, number], size, label=3 * number % 20)
        turn = list(_STORED)[number % len(_STORED)]
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = turn
        exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (0.0, 0.0, 0.0), 3: "E"})
        stored = Image.fromarray(drawing.image)
        if (how := _STORED[turn]) is not None:
            stored = stored.transpose(how)
        name = f"photo_{number}.jpg"
        stored.save(place / name, quality=92, exif=exif)
        rows.append({"file": name, **dict(zip(CORNERS, drawing.boxes[0].tolist(), strict=True))})
    write_atomically(place / "boxes.csv", pd.DataFrame(rows).to_csv(index=False))
    return place


def sort_out(folder: str | Path) -> tuple[list[Path], dict[Path, str]]:
    """Tell the photographs that can be read from those that cannot.

    Args:
        folder: Whose images, at any depth, are read.

    Returns:
        Those that can be read, and the others with the reason.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image in it, or none that can be read.
    """
    files = find_images([folder])
    reasons: dict[Path, str] = {}
    for file in files:
        try:
            read_image(file)
        except ValueError as error:
            reasons[file] = str(error)
    readable = [file for file in files if file not in reasons]
    if not readable:
        first = next(iter(reasons.values()))
        raise ValueError(f"none of the {len(files)} images in {str(folder)!r} can be read: {first}")
    return readable, reasons


def read_boxes(folder: str | Path) -> dict[str, npt.NDArray[np.float64]]:
    """Read the boxes that somebody drew: ``boxes.csv`` in the folder of photographs.

    Args:
        folder: Its ``boxes.csv`` has columns ``file x0 y0 x1 y1``: pixels of the photograph as it
            is displayed; a row for each box.

    Returns:
        Photograph's path below the folder -> boxes [n, 4]; empty where there is no ``boxes.csv``.

    Raises:
        ValueError: A missing column, no four numbers, or a name that is no file of the folder.
    """
    root = Path(folder)
    if not (root / "boxes.csv").is_file():
        return {}
    found = defaultdict(list)
    for row in read_rows(root, "boxes.csv", ("file", *CORNERS)):
        if not (root / row["file"]).is_file():
            raise ValueError(f"{root / 'boxes.csv'} names {row['file']!r}, which is not in {root}")
        corners = (row[corner] for corner in CORNERS)
        found[row["file"]].append(parse_box(corners, f"boxes.csv, {row['file']}"))
    return {name: np.array(boxes, float) for name, boxes in found.items()}


def with_iou(table: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Add the IoU with the nearest box that somebody drew.

    Args:
        table: ``boxes`` of :func:`satkit.predict.predict`.
        folder: Of the photographs, with ``boxes.csv`` or without.

    Returns:
        The table with a column ``iou``, NaN where a photograph has no box.
    """
    boxes = read_boxes(folder)
    values = []
    for row in table.to_dict("records"):
        true = boxes.get(Path(row["file"]).relative_to(folder).as_posix())
        own = np.array([[row[corner] for corner in CORNERS]], float)
        values.append(float("nan") if true is None else float(iou(own, true).max()))
    return table.assign(iou=values)


def describe(row: pd.Series) -> str:
    """Say in a sentence what an overlay shows, for those who do not see it.

    Args:
        row: Of :func:`with_iou`.

    Returns:
        The sentence.
    """
    share = (row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) / (row["width"] * row["height"])
    across, down = (
        ("left", "middle", "right")[_third((row["x0"] + row["x1"]) / 2, row["width"])],
        ("top", "middle", "bottom")[_third((row["y0"] + row["y1"]) / 2, row["height"])],
    )
    where = "middle" if across == down else f"{down} {across}"
    measured = "" if np.isnan(row["iou"]) else f"; IoU with the drawn box {row['iou']:.2f}"
    return (
        f"Heat map and box over {Path(row['file']).name}: the box lies at the {where} and takes "
        f"{100 * share:.0f} % of the picture; class {row['class']} ({100 * row['score']:.0f} %)"
        f"{measured}."
    )


def write_report(found: Predictions, table: pd.DataFrame, run: Run, out: str | Path) -> Path:
    """Write what was found as a page to read, ``report.html``, beside the overlays.

    It holds no EXIF data (no place, no time, no camera), no path, and loads nothing from a network.

    Args:
        found: What :func:`satkit.predict.predict` gave.
        table: Of :func:`with_iou`.
        run: That localized.
        out: Folder that ``predict`` wrote to.

    Returns:
        The page.
    """
    parts = []
    for _, row in table.iterrows():
        text = escape(describe(row))
        picture = quote(row["overlay"])
        parts.append(
            f'<figure><img src="{picture}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        )
    skipped = "".join(f"<li>{escape(Path(name).name)}</li>" for name in found.unreadable)
    page = _PAGE.format(
        count=len(table),
        figures="\n".join(parts),
        skipped=f"<h2>Not readable</h2><ul>{skipped}</ul>" if skipped else "",
        origin=escape(run.banner()),
    )
    write_atomically(Path(out) / "report.html", page)
    return Path(out) / "report.html"


def _third(value: float, whole: float) -> int:
    return min(2, int(3 * value / whole))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Where is the object?</title>
<style>body {{ font: 1rem sans-serif; max-width: 44rem; margin: auto; padding: 1rem }}
img {{ max-width: 100% }} figure {{ margin: 1.5rem 0 }}</style>
<h1>Where is the object?</h1>
<p>{count} photographs. Yellow is where the localizer sees the object, dark where it does not; the
white box is drawn around the largest bright part. Nobody told it where the objects are.</p>
{figures}
{skipped}
<p><small>{origin}</small></p>
</html>
"""
