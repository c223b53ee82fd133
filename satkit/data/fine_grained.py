"""Stanford Dogs, FGVC-Aircraft and Stanford Cars: the fine-grained sets of the paper's Table 15.

The corners of their boxes are taken as they stand in the files, as the authors' code takes them.
Aircraft and Cars count pixels from 1 and include the last, so that the first corner lies one pixel
of the original photograph too far inside. EXIF orientation is ignored.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from satkit.data.annotations import read_voc
from satkit.data.files import (
    Listing,
    Record,
    exists,
    find_root,
    open_file,
    parse_box,
    read_text,
)

DOGS_SOURCE = (
    "Stanford Dogs (Khosla et al., 2011) comes from "
    "http://vision.stanford.edu/aditya86/ImageNetDogs/: unpack images.tar, annotation.tar and "
    "lists.tar into one folder."
)
AIRCRAFT_SOURCE = (
    "FGVC-Aircraft (Maji et al., 2013) comes from "
    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/: unpack fgvc-aircraft-2013b.tar.gz."
)
CARS_SOURCE = (
    "Stanford Cars (Krause et al., 2013) has no official address any more. Wanted are cars_train/, "
    "cars_test/, devkit/ and cars_test_annos_withlabels.mat, or car_ims/ and cars_annos.mat."
)

#: what SciPy raises on damaged files
_UNREADABLE = (OSError, ValueError, TypeError, NotImplementedError, zlib.error, MatReadError)


def list_stanford_dogs(root: Path, split: str) -> Listing:
    """List Stanford Dogs: 120 breeds, 12,000 / 8,580 photographs, a box for each dog.

    Args:
        root: folder with Images/, Annotation/ (VOC XML), and train_list.mat and test_list.mat,
            which may also be in lists/.
        split: "train" or "test".
    """
    root = find_root(root, "stanford_dogs", "Images", "stanford_dogs", DOGS_SOURCE)
    folder = "lists/" if exists(root, f"lists/{split}_list.mat") else ""
    files, labels = _read_mat(root, f"{folder}{split}_list.mat", "file_list", "labels")
    names = {
        int(label) - 1: str(file).split("/")[0] for file, label in zip(files, labels, strict=True)
    }
    if sorted(names) != list(range(len(names))):
        raise ValueError(
            f"stanford_dogs: labels must be 1, 2, … not {sorted(n + 1 for n in names)}"
        )
    records = [
        Record(f"Images/{file}", int(label) - 1, read_voc(root, _annotation(str(file))).boxes)
        for file, label in zip(files, labels, strict=True)
    ]
    return Listing(root, [names[label] for label in range(len(names))], records, exif=False)


def list_fgvc_aircraft(root: Path, split: str) -> Listing:
    """List FGVC-Aircraft by variant: 100 classes, 6,667 ("trainval") / 3,333 photographs, one box.

    The photographs keep their banner of 20 pixels at the bottom, as in the authors' code.

    Args:
        root: folder with data/images/, data/images_box.txt and the other lists.
        split: "train" or "test".
    """
    marker = "data/images_box.txt"
    root = find_root(root, "fgvc_aircraft", marker, "fgvc-aircraft-2013b", AIRCRAFT_SOURCE)
    classes = read_text(root, "data/variants.txt").split("\n")
    classes = [name.strip() for name in classes if name.strip()]
    numbers = {name: label for label, name in enumerate(classes)}
    boxes = dict(_pairs(root, marker))
    records = []
    for image, variant in _pairs(root, f"data/images_variant_{_TRAINVAL.get(split, split)}.txt"):
        if variant not in numbers:
            raise ValueError(f"fgvc_aircraft: {image} is a {variant!r}, which variants.txt lacks")
        if image not in boxes:
            raise ValueError(f"fgvc_aircraft: {marker} has no line for {image}")
        box = parse_box(boxes[image].split(), f"{marker}, {image}")
        records.append(Record(f"data/images/{image}.jpg", numbers[variant], (box,)))
    return Listing(root, classes, records, exif=False)


def list_stanford_cars(root: Path, split: str) -> Listing:
    """List Stanford Cars: 196 classes, 8,144 / 8,041 photographs, one box.

    Args:
        root: folder with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat
            (which may also be in devkit/); or with car_ims/ and cars_annos.mat, the second
            official form, where the photographs have other numbers. The authors' code reads the
            second, which also comes first here.
        split: "train" or "test".
    """
    for folder in (root, root / "stanford_cars"):
        if exists(folder, "cars_annos.mat"):
            return _list_car_ims(folder, split)
    meta = "devkit/cars_meta.mat"
    root = find_root(root, "stanford_cars", meta, "stanford_cars", CARS_SOURCE)
    (classes,) = _read_mat(root, meta, "class_names")
    labelled = "cars_test_annos_withlabels.mat"
    path = "devkit/cars_train_annos.mat"
    if split == "test":
        path = labelled if exists(root, labelled) else f"devkit/{labelled}"
    (rows,) = _read_mat(root, path, "annotations")
    records = [_car(row, f"cars_{split}/{_field(row, 'fname', path)}", path) for row in rows]
    return _with_classes(root, classes, records)


def _list_car_ims(root: Path, split: str) -> Listing:
    path = "cars_annos.mat"
    classes, rows = _read_mat(root, path, "class_names", "annotations")
    records = [
        _car(row, str(_field(row, "relative_im_path", path)), path)
        for row in rows
        if bool(_field(row, "test", path)) == (split == "test")
    ]
    return _with_classes(root, classes, records)


_TRAINVAL = {"train": "trainval"}


def _annotation(file: str) -> str:
    return f"Annotation/{Path(file).with_suffix('').as_posix()}"  # these .xml have no suffix


def _car(row: Any, image: str, path: str) -> Record:
    corners = [str(_field(row, f"bbox_{corner}", path)) for corner in ("x1", "y1", "x2", "y2")]
    return Record(image, int(_field(row, "class", path)) - 1, (parse_box(corners, image),))


def _field(row: Any, name: str, path: str) -> Any:
    if name not in (row.dtype.names or ()):
        raise ValueError(
            f"stanford_cars: the annotations in {path} lack {name!r}; they have {row.dtype.names}"
        )
    return row[name]


def _with_classes(root: Path, classes: Any, records: list[Record]) -> Listing:
    names = [str(name) for name in classes]
    for record in records:
        if not 0 <= record.label < len(names):
            raise ValueError(
                f"stanford_cars: {record.path} is of class {record.label + 1}, but there are "
                f"names of {len(names)}"
            )
    return Listing(root, names, records, exif=False)


def _pairs(root: Path, path: str) -> list[tuple[str, str]]:
    """Read lines of "image rest of the line"."""
    lines = [line.strip().split(" ", 1) for line in read_text(root, path).splitlines()]
    if wrong := [line for line in lines if len(line) != 2 and line != [""]]:
        raise ValueError(f"{root / path}: a line is a photograph and what is in it, not {wrong[0]}")
    return [(line[0], line[1]) for line in lines if len(line) == 2]


def _read_mat(root: Path, path: str, *names: str) -> list[Any]:
    """Read variables of a MATLAB file (version 5), each as an array with one axis."""
    with open_file(root, path) as file:
        try:
            content = loadmat(file, squeeze_me=True, variable_names=names)
        except _UNREADABLE as error:
            raise ValueError(f"{root / path} is not a whole .mat file: {error}") from error
    if missing := [name for name in names if name not in content]:
        raise ValueError(f"{root / path} lacks {missing}")
    return [np.atleast_1d(content[name]) for name in names]
