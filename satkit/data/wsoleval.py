"""Metadata of the WSOL evaluation (Choe et al., CVPR 2020; clovaai/wsolevaluation, `metadata/`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from satkit.data.files import Listing, Record, exists, parse_box, parse_int, read_text

METADATA_SOURCE = "https://github.com/clovaai/wsolevaluation/tree/master/metadata"


def read_labels(root: Path, path: str) -> dict[str, int]:
    """Read class_labels.txt, lines of "photograph,label".

    Returns:
        Label of every photograph, in the order of the file.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: a line says something else.
    """
    words = _read_lines(root, path, 2)
    return {
        image: parse_int({"label": label}, "label", f"{path}, {image}") for image, label in words
    }


def read_masks(root: Path, path: str) -> dict[str, tuple[list[str], str | None]]:
    """Read localization.txt with lines of "photograph,mask of an object,ignored region".

    A photograph has a line for each object; the ignored region stands in one of them.

    Returns:
        The masks and the ignored region of every photograph.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: a line says something else, or a second ignored region.
    """
    masks: dict[str, list[str]] = defaultdict(list)
    ignored: dict[str, str] = {}
    for image, mask, ignore in _read_lines(root, path, 3):
        masks[image].append(mask)
        if ignore and ignored.setdefault(image, ignore) != ignore:
            raise ValueError(f"{root / path}: {image} has two ignored regions")
    return {image: (files, ignored.get(image)) for image, files in masks.items()}


def find_metadata(root: Path, folders: Sequence[str]) -> str | None:
    """Find the first folder below the root that holds class_labels.txt; None where none does."""
    return next((folder for folder in folders if exists(root, f"{folder}/class_labels.txt")), None)


def list_boxes(root: Path, metadata: str, photographs: str, classes: list[str]) -> Listing:
    """List held-out photographs with boxes: CUBV2, ImageNetV2.

    Args:
        root: of the data set.
        metadata: folder with class_labels.txt and localization.txt ("photograph,x0,y0,x1,y1", a
            line for each object; the numbers are taken as they stand).
        photographs: folder from which the photographs are named; "" is the root.
        classes: of the training photographs.

    Raises:
        FileNotFoundError: a file of the metadata is missing.
        ValueError: a line says something else, or names a class that is not there.
    """
    boxes = defaultdict(list)
    for image, *corners in _read_lines(root, f"{metadata}/localization.txt", 5):
        boxes[image].append(parse_box(corners, f"{metadata}/localization.txt, {image}"))
    records = []
    for image, label in read_labels(root, f"{metadata}/class_labels.txt").items():
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{root / metadata}/class_labels.txt: {image} is of class {label}, but the "
                f"training photographs are of {len(classes)} classes (the first is 0)"
            )
        path = f"{photographs}/{image}" if photographs else image
        records.append(Record(path, label, tuple(boxes[image])))
    return Listing(root, classes, records, exif=False)


def _read_lines(root: Path, path: str, count: int) -> list[list[str]]:
    lines = [line.split(",") for line in read_text(root, path).splitlines() if line]
    if wrong := [line for line in lines if len(line) != count]:
        raise ValueError(
            f"{root / path}: a line is {count} values with commas between, not {wrong[0]}; get "
            f"the file from {METADATA_SOURCE}"
        )
    return lines
