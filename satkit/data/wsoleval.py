"""Metadata of the WSOL evaluation (Choe et al., CVPR 2020; clovaai/wsolevaluation, `metadata/`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from satkit.data.fetch import download
from satkit.data.files import Listing, Record, exists, parse_box, parse_int, read_text

METADATA_SOURCE = "https://github.com/clovaai/wsolevaluation/tree/master/metadata"
METADATA_URLS = (
    "https://raw.githubusercontent.com/clovaai/wsolevaluation/master/metadata",
    "https://raw.githubusercontent.com/naver-ai/wsolevaluation/master/metadata",
)
#: where the metadata of held-out photographs are: in the root, beside CUB's own folder, or above
#: that of Kaggle's ImageNet
HELD_OUT = ("metadata/val", "../metadata/val", "../../../metadata/val")


def fetch_metadata(root: Path, dataset: str, split: str) -> None:
    """Fetch the metadata of a split to <root>/metadata/<split>/, where they are not there.

    Args:
        root: where the metadata are wanted.
        dataset: "CUB", "ILSVRC" or "OpenImages".
        split: "train" (labels alone), "val" or "test".

    Raises:
        OSError: no address gave them.
    """
    names = ("class_labels.txt", *(() if split == "train" else ("localization.txt",)))
    for name in names:
        urls = [f"{base}/{dataset}/{split}/{name}" for base in METADATA_URLS]
        download(urls, root / "metadata" / split / name)


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


def find_folder(root: Path, folders: Sequence[str]) -> str | None:
    """Find the first of several folders (or files) that is there below the root."""
    return next((folder for folder in folders if exists(root, folder)), None)


def list_held_out(name: str, root: Path, photographs: str, classes: list[str]) -> Listing:
    """List held-out photographs with boxes: CUBV2, ImageNetV2.

    Their names, labels and boxes ("photograph,x0,y0,x1,y1", a line for each object, numbers as
    they stand) are read from the first of `HELD_OUT`.

    Args:
        name: of the data set.
        root: of the data set.
        photographs: folder from which the metadata name them; "" is the root.
        classes: of the training photographs.

    Raises:
        FileNotFoundError: the metadata are missing; the message says where they are.
        ValueError: a line says something else, or names a class that is not there.
    """
    folder = find_folder(root, HELD_OUT)
    if folder is None:
        raise FileNotFoundError(
            f"{name}: its held-out photographs are there, but not {root}/{HELD_OUT[0]}. Copy "
            f"class_labels.txt and localization.txt from {METADATA_SOURCE}, the folder 'val' of "
            "the set, to there."
        )
    boxes = defaultdict(list)
    for image, *corners in _read_lines(root, f"{folder}/localization.txt", 5):
        boxes[image].append(parse_box(corners, f"{folder}/localization.txt, {image}"))
    records = []
    for image, label in read_labels(root, f"{folder}/class_labels.txt").items():
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{name}: {folder}/class_labels.txt says that {image} is of class {label}, but "
                f"the training photographs are of {len(classes)} classes (the first is 0)"
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
