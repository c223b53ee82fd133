"""ImageNet-1k (ILSVRC 2012) and Tiny-ImageNet, whose validation photographs serve for testing."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from satkit.data.annotations import read_voc
from satkit.data.files import IMAGE_SUFFIXES, Box, Listing, Record, find_root, parse_box, read_text
from satkit.data.wsoleval import find_folder, list_held_out

IMAGENET_SOURCE = (
    "ImageNet's photographs need a registration at https://www.image-net.org/ (ILSVRC 2012): "
    "wanted are train/<class>/, val/, and the boxes of the validation photographs."
)
TINY_SOURCE = (
    "Tiny-ImageNet comes from http://cs231n.stanford.edu/tiny-imagenet-200.zip; "
    "the .zip itself may be the root, there is no need to unpack it."
)
#: where boxes of the validation photographs are looked for; the last two fit Kaggle's archive,
#: whose photographs are in ILSVRC/Data/CLS-LOC
BOX_FILES = (
    "LOC_val_solution.csv",
    "Annotations/CLS-LOC/val",
    "val_boxes",
    "../../../LOC_val_solution.csv",
    "../../Annotations/CLS-LOC/val",
)
#: where ImageNetV2 is looked for, which the WSOL evaluation's metadata call val2
IMAGENETV2 = ("val2", "../../../val2")


def list_imagenet(root: Path, split: str, boxes: str = "") -> Listing:
    """List ImageNet-1k: train/<class>/ without boxes, or val/ (flat or by class) with boxes.

    Held-out photographs are ImageNetV2's, ten of each class (10,000), with the boxes of the WSOL
    evaluation: val2/<number of the class>/, and metadata/val/ with class_labels.txt and
    localization.txt of its metadata/ILSVRC/val, both beside train/ or above Kaggle's ILSVRC/. EXIF
    orientation is ignored, as the official code does.

    Args:
        root: folder with train/ and val/.
        split: "train", "val" where `has_imagenetv2`, or "test" for the validation photographs.
        boxes: of the validation photographs: a .csv as Kaggle's LOC_val_solution.csv, or a folder
            with VOC .xml files; where empty, one of `BOX_FILES` below the root.
    """
    marker = "val" if split == "test" else "train"
    root = find_root(root, "imagenet", marker, "ILSVRC/Data/CLS-LOC", IMAGENET_SOURCE)
    if split == "val":
        above = (find_folder(root, IMAGENETV2) or "val2").removesuffix("val2").rstrip("/")
        return list_held_out("imagenet", root, above, _folders(root / "train"))
    if split == "train":
        classes = _folders(root / "train")
        records = [
            Record(path, label)
            for label, name in enumerate(classes)
            for path in _images(root, f"train/{name}")
        ]
        return Listing(root, classes, records, exif=False)
    return _list_imagenet_val(root, _read_boxes(root, boxes))


def has_imagenetv2(root: Path) -> bool:
    """Say whether the held-out photographs of the WSOL evaluation are there."""
    root = find_root(root, "imagenet", "train", "ILSVRC/Data/CLS-LOC", IMAGENET_SOURCE)
    return find_folder(root, IMAGENETV2) is not None


def _list_imagenet_val(root: Path, annotations: dict[str, tuple[str, tuple[Box, ...]]]) -> Listing:
    classes = _folders(root / "train") or sorted({name for name, _ in annotations.values()})
    numbers = {name: label for label, name in enumerate(classes)}
    folders = ["val", *(f"val/{name}" for name in _folders(root / "val"))]
    paths = [path for folder in folders for path in _images(root, folder)]
    records = []
    for path in paths:
        name, image_boxes = annotations.get(Path(path).stem, ("", ()))
        if name not in numbers:
            known = "has no box" if not name else f"is of class {name!r}, which train/ lacks"
            raise ValueError(f"imagenet: {root / path} {known}; are the annotations complete?")
        records.append(Record(path, numbers[name], image_boxes))
    return Listing(root, classes, records, exif=False)


def list_tiny_imagenet(root: Path, split: str) -> Listing:
    """List Tiny-ImageNet, unpacked or in its .zip; "test" are the 64×64 validation photographs.

    The official corners are the first and last pixel of an object, so 1 is added to the last.
    """
    root = find_root(root, "tiny_imagenet", "wnids.txt", "tiny-imagenet-200", TINY_SOURCE)
    ids = sorted(read_text(root, "wnids.txt").split())
    words = dict(line.split("\t", 1) for line in read_text(root, "words.txt").splitlines())
    classes = [words.get(name, name).split(",")[0] for name in ids]
    numbers = {name: label for label, name in enumerate(ids)}
    if split == "train":
        records = [
            _tiny_record(f"train/{name}/images", line.split("\t"), label)
            for name, label in numbers.items()
            for line in read_text(root, f"train/{name}/{name}_boxes.txt").splitlines()
        ]
        return Listing(root, classes, records, exif=False)
    records = []
    for line in read_text(root, "val/val_annotations.txt").splitlines():
        file, name, *box = line.split("\t")
        if name not in numbers:
            raise ValueError(f"val_annotations.txt: {file} is of class {name!r}, not in wnids.txt")
        records.append(_tiny_record("val/images", [file, *box], numbers[name]))
    return Listing(root, classes, records, exif=False)


def _tiny_record(folder: str, words: list[str], label: int) -> Record:
    file, *corners = words
    box = parse_box(corners, f"the boxes of {folder}, {file}", "xyxy_inclusive")
    return Record(f"{folder}/{file}", label, (box,))


def _read_boxes(root: Path, given: str) -> dict[str, tuple[str, tuple[Box, ...]]]:
    """Read photograph -> (class, boxes)."""
    choices = [Path(given).expanduser()] if given else [root / name for name in BOX_FILES]
    found = next((path for path in choices if path.exists()), None)
    if found is None:
        raise FileNotFoundError(
            f"imagenet: no boxes of the validation photographs; looked for "
            f"{[str(path) for path in choices]}. Give a LOC_val_solution.csv or a folder of .xml "
            "files as the option boxes."
        )
    if found.is_file():
        with found.open(newline="", encoding="utf-8") as file:
            pairs = {row["ImageId"]: row["PredictionString"] for row in csv.DictReader(file)}
        return {image: _parse_prediction(text, image) for image, text in pairs.items()}
    read = {path.stem: read_voc(path.parent, path.name) for path in sorted(found.rglob("*.xml"))}
    return {image: (said.name, said.boxes) for image, said in read.items()}


def _parse_prediction(text: str, image: str) -> tuple[str, tuple[Box, ...]]:
    """Parse "class x0 y0 x1 y1 class x0 …"."""
    words = text.split()
    boxes = tuple(parse_box(words[i : i + 4], image) for i in range(1, len(words), 5))
    return words[0], boxes


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _images(root: Path, folder: str) -> list[str]:
    entries = os.scandir(root / folder)
    names = sorted(e.name for e in entries if Path(e.name).suffix.lower() in IMAGE_SUFFIXES)
    return [f"{folder}/{name}" for name in names]
