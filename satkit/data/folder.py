"""A user's own photographs: one folder a class, boxes and masks where there are any."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from satkit.data.files import CORNERS, IMAGE_SUFFIXES, Box, Listing, Record, parse_box, read_rows
from satkit.data.images import read_size
from satkit.data.splits import stratified_cut

SPLITS = ("train", "val", "test")
SOURCE = (
    "Put your photographs into one folder a class: <root>/<class>/*.jpg, or "
    "<root>/train/<class>/*.jpg and <root>/test/<class>/*.jpg. Optional are <root>/boxes.csv with "
    "the columns file,x0,y0,x1,y1 (pixels, a line for each object, file as the path below the "
    "root) and <root>/masks/<the same path>.png."
)


def list_folder(root: Path, split: str, test_fraction: float = 0.2, split_seed: int = 0) -> Listing:
    """List photographs in class folders; boxes and masks are in the frame that people see.

    Args:
        root: folder with train/ and test/ (and perhaps val/), or with the classes themselves.
        split: "train", "test", or "val" where there is a folder val/.
        test_fraction: without train/ and test/, this part of every class is for testing, 0..0.5.
        split_seed: of that choice. It is not the training seed, so that the test photographs
            stay the same.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder: there is no folder {root}. {SOURCE}")
    divided = (root / "train").is_dir() or (root / "test").is_dir()
    classes = _classes(root, divided)
    top = root / split if divided else root
    paths = [(path, label) for label, name in enumerate(classes) for path in _images(top / name)]
    if not divided:
        for_test = stratified_cut([label for _, label in paths], test_fraction, split_seed)
        paths = [p for p, cut in zip(paths, for_test, strict=True) if cut == (split == "test")]
    if not paths:
        raise FileNotFoundError(f"folder: no photographs for {split!r} in {top}. {SOURCE}")
    boxes = _read_boxes(root)
    return Listing(root, classes, [_record(root, path, label, boxes) for path, label in paths])


def has_val(root: Path) -> bool:
    """Say whether the user's folder has a split of its own for choosing hyper-parameters."""
    return (root / "val").is_dir() and (root / "train").is_dir()


def _classes(root: Path, divided: bool) -> list[str]:
    """Names of the classes; a divided folder must not have others in test/ than in train/."""
    if not divided:
        classes = [name for name in _folders(root) if _images(root / name)]
    else:
        splits = {split: _folders(root / split) for split in SPLITS if (root / split).is_dir()}
        classes = splits.get("train") or splits["test"]
        for split, names in splits.items():
            if unknown := sorted(set(names) - set(classes)):
                raise ValueError(f"folder: {root / split} has classes that train/ lacks: {unknown}")
    if len(classes) < 2:
        found = f"found {classes or 'none'}"
        raise FileNotFoundError(f"folder: {root} needs two classes or more, {found}. {SOURCE}")
    return classes


def _record(root: Path, path: Path, label: int, boxes: dict[str, tuple[Box, ...]]) -> Record:
    name = path.relative_to(root)
    mask = Path("masks") / name.with_suffix(".png")
    own_boxes = boxes.get(name.as_posix(), ())
    return Record(
        name.as_posix(),
        label,
        own_boxes,
        mask.as_posix() if (root / mask).exists() else None,
        read_size(path) if own_boxes else None,  # so that a box outside is found before training
    )


def _read_boxes(root: Path) -> dict[str, tuple[Box, ...]]:
    if not (root / "boxes.csv").exists():
        return {}
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in read_rows(root, "boxes.csv", ("file", *CORNERS)):
        if not (root / row["file"]).is_file():
            raise FileNotFoundError(
                f"folder: {root}/boxes.csv names {row['file']!r}, which is not below {root}; "
                "write paths as <class>/<name>, or <split>/<class>/<name>"
            )
        corners = (row[corner] for corner in CORNERS)
        boxes[row["file"]].append(parse_box(corners, f"{root}/boxes.csv, {row['file']}"))
    return {file: tuple(found) for file, found in boxes.items()}


def _folders(root: Path) -> list[str]:
    names = (entry.name for entry in root.iterdir() if entry.is_dir())
    return sorted(name for name in names if name != "masks" and not name.startswith("."))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    _refuse_twins(paths)
    return sorted(paths)


def _refuse_twins(paths: list[Path]) -> None:
    """Two photographs a.jpg and a.png would share the mask a.png."""
    counts = Counter(path.with_suffix("") for path in paths)
    if twins := [path for path in paths if counts[path.with_suffix("")] > 1]:
        raise ValueError(f"folder: these differ only in their ending; rename: {sorted(twins)[:4]}")
