"""Boxes in the two formats that annotation tools write: VOC XML and COCO JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from satkit.data.files import Box, open_file, parse_box, read_text


class Annotation(NamedTuple):
    """What a file says about one photograph."""

    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None  # (h, w), where stated
    name: str = ""  # class of the first object, where stated


def read_voc(root: Path, path: str) -> Annotation:
    """Read a VOC .xml file: an `object` with `bndbox` for each object. Corners stay as they are.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is not whole XML, or a box is not four numbers.
    """
    where = str(root / path)
    try:
        with open_file(root, path) as file:
            tree = ElementTree.parse(file)
    except ElementTree.ParseError as error:
        raise ValueError(f"{where} is not whole XML: {error}") from error
    objects = list(tree.iter("object"))
    corners = ("xmin", "ymin", "xmax", "ymax")
    boxes = tuple(
        parse_box((found.findtext(f"bndbox/{c}") for c in corners), where) for found in objects
    )
    height, width = (tree.findtext(f"size/{side}") or "" for side in ("height", "width"))
    # some tools write 0 where they do not know
    known = height.isdecimal() and width.isdecimal() and int(height) * int(width) > 0
    size = (int(height), int(width)) if known else None
    return Annotation(boxes, size, (objects[0].findtext("name") or "") if objects else "")


def read_coco(root: Path, path: str) -> dict[str, Annotation]:
    """Read a COCO .json file: `images` with file_name, `annotations` with bbox (x, y, w, h).

    Returns:
        Annotation of every photograph that the file names.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is not whole JSON, not COCO's, or a box is not four numbers.
    """
    where = str(root / path)
    try:
        content = json.loads(read_text(root, path))
        images = {image["id"]: image for image in content["images"]}
        names = {key: str(image["file_name"]) for key, image in images.items()}
        boxes: dict[str, list[Box]] = defaultdict(list)
        for found in content["annotations"]:
            name = names[found["image_id"]]
            boxes[name].append(parse_box(map(str, found["bbox"]), f"{where}, {name}", "xywh"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not whole JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{where} is not in COCO's format ({error!r}): wanted are images with id and "
            "file_name, and annotations with image_id (of one of the images) and bbox"
        ) from error
    sizes = {names[key]: _coco_size(image) for key, image in images.items()}
    return {name: Annotation(tuple(boxes[name]), sizes[name]) for name in sizes}


def _coco_size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
