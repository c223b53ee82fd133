"""A user's own photographs: one folder a class, boxes and masks where there are any."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from satkit.data.annotations import Annotation, read_coco, read_voc
from satkit.data.files import CORNERS, IMAGE_SUFFIXES, Box, Listing, Record, parse_box, read_rows
from satkit.data.images import read_size
from satkit.data.splits import stratified_cut

SPLITS = ("train", "val", "test")
_SUFFIXES = sorted(IMAGE_SUFFIXES | {suffix.upper() for suffix in IMAGE_SUFFIXES})
SOURCE = (
    "Put your photographs into one folder a class: <root>/<class>/*.jpg, or "
    "<root>/train/<class>/*.jpg and <root>/test/<class>/*.jpg. Optional are "
    "<root>/masks/<the same path>.png, and boxes in one of three forms: <root>/boxes.csv with the "
    "columns file,x0,y0,x1,y1 (pixels, a line for each object, file as the path below the root); "
    "<root>/boxes.json in COCO's format (file_name as the path below the root); or VOC's "
    "<root>/annotations/<the same path>.xml, or .xml beside the photographs."
)


def list_folder(root: Path, split: str, test_fraction: float = 0.2, split_seed: int = 0) -> Listing:
    """List photographs in class folders; boxes and masks are in the frame that people see.

    Boxes may be in boxes.csv, boxes.json (COCO) or .xml files (VOC), see `SOURCE`; corners are
    taken as they stand, half-open. The class of a photograph is its folder, whatever these say.

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


def _record(root: Path, path: Path, label: int, boxes: dict[str, Annotation]) -> Record:
    name = path.relative_to(root)
    mask = Path("masks") / name.with_suffix(".png")
    own = boxes.get(name.with_suffix("").as_posix(), Annotation(()))
    return Record(
        name.as_posix(),
        label,
        own.boxes,
        mask.as_posix() if (root / mask).exists() else None,
        # where unstated, so that a box outside is found before training
        (own.size or read_size(path)) if own.boxes else None,
    )


def _read_boxes(root: Path) -> dict[str, Annotation]:
    """Read photograph (its path without the ending) -> boxes, from the one form that is there."""
    forms: dict[str, Callable[[Path], dict[str, Annotation]]] = {}
    if (root / "boxes.csv").exists():
        forms["boxes.csv"] = _read_csv
    if (root / "boxes.json").exists():
        forms["boxes.json"] = _read_json
    if _xml_files(root):
        forms["*.xml"] = _read_xml
    if len(forms) > 1:
        raise ValueError(
            f"folder: boxes are in {' and in '.join(forms)} of {root}: keep one of them, so that "
            "it is clear which ones count"
        )
    return {key: value for read in forms.values() for key, value in read(root).items()}


def _read_csv(root: Path) -> dict[str, Annotation]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in read_rows(root, "boxes.csv", ("file", *CORNERS)):
        corners = (row[corner] for corner in CORNERS)
        name = _photograph(root, row["file"], "boxes.csv")
        boxes[name].append(parse_box(corners, f"{root}/boxes.csv, {row['file']}"))
    return {name: Annotation(tuple(found)) for name, found in boxes.items()}


def _read_json(root: Path) -> dict[str, Annotation]:
    read = read_coco(root, "boxes.json")
    return {_photograph(root, file, "boxes.json"): found for file, found in read.items()}


def _photograph(root: Path, file: str, source: str) -> str:
    """Path of a photograph without its ending; it must be there."""
    if not (root / file).is_file():
        raise FileNotFoundError(
            f"folder: {root}/{source} names {file!r}, which is not below {root}; "
            "write paths as <class>/<name>, or <split>/<class>/<name>"
        )
    return Path(file).with_suffix("").as_posix()


def _read_xml(root: Path) -> dict[str, Annotation]:
    boxes: dict[str, Annotation] = {}
    for file in _xml_files(root):
        parts = file.parts[1:] if file.parts[0] == "annotations" else file.parts
        name = Path(*parts).with_suffix("").as_posix()
        if not any((root / f"{name}{suffix}").is_file() for suffix in _SUFFIXES):
            raise FileNotFoundError(
                f"folder: there is no photograph for {root / file}; looked for {root / name}.jpg "
                "(or another ending), as the .xml mirrors the path of its photograph"
            )
        if name in boxes:
            raise ValueError(f"folder: {root / name} has two .xml files, one of them {file}")
        boxes[name] = read_voc(root, file.as_posix())
    return boxes


def _xml_files(root: Path) -> list[Path]:
    files = sorted(path.relative_to(root) for path in root.rglob("*.xml"))
    return [file for file in files if not any(part.startswith(".") for part in file.parts)]


def _folders(root: Path) -> list[str]:
    names = (entry.name for entry in root.iterdir() if entry.is_dir())
    reserved = ("masks", "annotations", "prepared")
    return sorted(name for name in names if name not in reserved and not name.startswith("."))


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
