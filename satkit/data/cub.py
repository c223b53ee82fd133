"""CUB-200-2011 in its official layout, and a folder with a sample of its photographs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from satkit.data.files import (
    CORNERS,
    Listing,
    Record,
    find_root,
    parse_box,
    parse_int,
    parse_row,
    read_rows,
    read_text,
)
from satkit.data.wsoleval import find_folder, list_held_out

SOURCE = (
    "CUB-200-2011 (Wah et al., 2011) comes from "
    "https://www.vision.caltech.edu/datasets/cub_200_2011/: unpack CUB_200_2011.tgz."
)
CUBV2 = ("CUBV2", "../CUBV2")
BIRDS_COLUMNS = ("file", "cub_path", "label", "family", "split", "width", "height", *CORNERS)


def list_cub(root: Path, split: str) -> Listing:
    """List CUB-200-2011: images.txt and the other tables.

    Masks are found in `segmentations/`, inside of the folder or beside it (the official archive
    of masks unpacks there); without that folder there are none. Held-out photographs are CUBV2's,
    five of each class (1,000): the folder `CUBV2` with <class>/, and `metadata/val` with
    class_labels.txt and localization.txt of the WSOL evaluation's metadata/CUB/val, inside or
    beside too. EXIF orientation is ignored, as the boxes were drawn without it.

    Args:
        root: folder with images/ and the tables.
        split: "train", "test", or "val" where `has_cubv2`.
    """
    root = find_root(root, "cub", "images.txt", "CUB_200_2011", SOURCE)
    names, labels, trains, boxes = (
        _read_table(root, f"{table}.txt")
        for table in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    )
    classes = [words[0] for words in _read_table(root, "classes.txt").values()]
    if split == "val":
        return list_held_out("cub", root, find_folder(root, CUBV2) or CUBV2[0], classes)
    numbers = {str(index + 1): index for index in range(len(classes))}
    masks = find_folder(root, ("segmentations", "../segmentations"))
    records = []
    for key, (name,) in names.items():
        (label,), (train,) = (
            _line(labels, key, "image_class_labels"),
            _line(trains, key, "train_test_split"),
        )
        if (train == "1") != (split == "train"):
            continue
        if label not in numbers:
            raise ValueError(
                f"cub: image_class_labels.txt gives {name} the class {label}, but classes.txt "
                f"has {len(classes)}"
            )
        box = parse_box(_line(boxes, key, "bounding_boxes"), f"cub, {name}", "xywh")
        mask = f"{masks}/{Path(name).with_suffix('.png')}" if masks else None
        records.append(Record(f"images/{name}", numbers[label], (box,), mask))
    return Listing(root, classes, records, exif=False)


def has_cubv2(root: Path) -> bool:
    """Say whether the held-out photographs of the WSOL evaluation are there."""
    root = find_root(root, "cub", "images.txt", "CUB_200_2011", SOURCE)
    return find_folder(root, CUBV2) is not None


def list_birds(
    root: Path, split: str, labels: str = "species", min_photographs: int = 30
) -> Listing:
    """List a folder with some of CUB's photographs and boxes.csv, in CUB's official split.

    Args:
        root: folder with images/ and boxes.csv.
        split: "train" or "test".
        labels: "species" are CUB's own 200 labels (some species may have no photograph here);
            "family" is the last word of the species' name.
        min_photographs: with "family", leave out families with fewer photographs in all.
    """
    if labels not in ("species", "family"):
        raise ValueError(f"labels is {labels!r}; choose 'species' or 'family'")
    source = "It is a folder with images/ and a boxes.csv; docs/data.md says its columns."
    root = find_root(root, "birds", "boxes.csv", "birds", source)
    rows = read_rows(root, "boxes.csv", BIRDS_COLUMNS)
    classes, names = _species(rows) if labels == "species" else _families(rows, min_photographs)
    records = []
    for row, name in zip(rows, names, strict=True):
        if row["split"] == split and name in classes:
            box, size = parse_row(row, f"birds, boxes.csv, {row['file']}")
            record = Record(f"images/{row['file']}", classes.index(name), (box,), size=size)
            records.append(record)
    return Listing(root, classes, records, exif=False)


def _species(rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """Names of CUB's 200 classes, and of each row's."""
    names = [row["cub_path"].split("/")[0] for row in rows]
    labels = [parse_int(row, "label", f"birds, boxes.csv, {row['file']}") for row in rows]
    known = dict(zip(labels, names, strict=True))
    if not all(0 <= label < 200 for label in known):
        raise ValueError(f"birds: labels of CUB are 0 to 199, not {min(known)} to {max(known)}")
    return [known.get(label, f"{label + 1:03d}.no_photograph") for label in range(200)], names


def _families(rows: list[dict[str, str]], least: int) -> tuple[list[str], list[str]]:
    """Names of the families with enough photographs, and of each row's."""
    names = [row["family"] for row in rows]
    counts = Counter(names)
    classes = sorted(name for name, count in counts.items() if count >= least)
    if len(classes) < 2:
        raise ValueError(
            f"birds: min_photographs={least} leaves the families {classes}; two or more are "
            f"needed, and the largest are {counts.most_common(3)}"
        )
    return classes, names


def _read_table(root: Path, name: str) -> dict[str, list[str]]:
    """Read lines of "number value …"."""
    try:
        lines = read_text(root, name).splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"cub: {name} is not in {root}, though images.txt is: the copy is incomplete"
        ) from error
    return {words[0]: words[1:] for words in (line.split() for line in lines) if words}


def _line(table: dict[str, list[str]], key: str, name: str) -> list[str]:
    if key not in table:
        raise ValueError(f"cub: {name}.txt has no line for image {key}, which images.txt names")
    return table[key]
