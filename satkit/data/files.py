"""Finding and reading the files of a data set, in a folder or straight from a .zip."""

from __future__ import annotations

import csv
import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from satkit.data.prepared import Stored

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)


CORNERS = ("x0", "y0", "x1", "y1")
Box = tuple[float, float, float, float]  # xyxy, pixels, half-open


class Record(NamedTuple):
    """One photograph, as the files of its data set describe it."""

    path: str  # below the root of the set
    label: int
    boxes: tuple[Box, ...] = ()
    #: the foreground mask, below the root, as large as the photograph; or masks of its objects,
    #: of any size, which are stretched over the photograph and united
    mask: str | tuple[str, ...] | None = None
    size: tuple[int, int] | None = None  # (h, w) that the boxes were drawn for, where stated
    ignore: str | None = None  # mask of pixels that do not count where no object is; of any size

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files of the photograph, itself first."""
        masks = (self.mask,) if isinstance(self.mask, str) else self.mask or ()
        return (self.path, *masks, *((self.ignore,) if self.ignore else ()))


class Listing(NamedTuple):
    """One split of a data set."""

    root: Path  # folder, or .zip file
    classes: list[str]
    records: list[Record]
    exif: bool = True  # boxes are in the frame that people see; False: in the stored one
    stored: Stored | None = None  # where resized photographs are, of a prepared set


def default_root(name: str) -> Path:
    """Where a data set is looked for when no root is given: $SATKIT_DATA/name or data/name.

    The second is the folder `data` beside the package, in a checkout of the project.
    """
    project = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("SATKIT_DATA") or project / "data") / name


def find_root(root: Path, name: str, marker: str, inner: str, source: str) -> Path:
    """Find the folder (or .zip) that holds a data set, at `root` or one level below it.

    Args:
        root: what the user gave.
        name: the set.
        marker: a file or folder that every copy of the set has at its top.
        inner: the set's own name of its top folder.
        source: where to get the set, for the message.

    Returns:
        The root: a folder, or a .zip followed by the top folder's name inside of it.

    Raises:
        FileNotFoundError: it is not there; says what was looked for, what is there, and the fix.
    """
    for folder in (root, root / inner, root / name):
        if exists(folder, marker):
            return folder
    raise FileNotFoundError(
        f"{name}: looked for {marker!r} in {root} (also in its folders {inner!r} and {name!r}), "
        f"but {_what_is_there(root)}. {source} Then pass its folder as root "
        f"(data_root in settings and notebooks), or set SATKIT_DATA to the folder above {name!r}."
    )


def open_file(root: Path, path: str) -> IO[bytes]:
    """Open a file of a data set for reading.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, in a .zip.
    """
    archive, inside = _split(root)
    if archive is None:
        return (root / path).open("rb")
    try:
        return io.BytesIO(_archive(archive, os.getpid()).read(f"{inside}{path}"))
    except KeyError as error:
        raise FileNotFoundError(f"no such file in {archive}: {inside}{path}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{inside}{path} in {archive} is damaged: download it again") from error


def exists(root: Path, path: str) -> bool:
    """Say whether a data set has this file or folder."""
    archive, inside = _split(root)
    if archive is None:
        return (root / path).exists()
    return archive.is_file() and f"{inside}{path}" in _sizes(archive)


def file_size(root: Path, path: str) -> int:
    """Size of a file, bytes."""
    archive, inside = _split(root)
    if archive is None:
        return (root / path).stat().st_size
    return _sizes(archive)[f"{inside}{path}"]


def read_rows(root: Path, path: str, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a .csv file with a header line.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it lacks a column, or a line has too few values.
    """
    text = read_text(root, path)
    reader = csv.DictReader(text.splitlines())
    if missing := set(columns) - set(reader.fieldnames or ()):
        raise ValueError(
            f"{root / path} lacks the columns {sorted(missing)}; it has {reader.fieldnames}"
        )
    rows = list(reader)
    for row in rows:
        if any(row[column] is None for column in columns):
            raise ValueError(f"{root / path}: this line has too few values: {row}")
    return rows


def read_text(root: Path, path: str) -> str:
    """Read a text file of a data set, in UTF-8.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is not UTF-8.
    """
    with open_file(root, path) as file:
        data = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{root / path} is not text in UTF-8: save it as UTF-8") from error


def parse_int(row: Mapping[str, str], column: str, where: str) -> int:
    """Read a whole number.

    Raises:
        ValueError: it is none; the message names the place and the column.
    """
    try:
        return int(row[column])
    except ValueError as error:
        raise ValueError(
            f"{where}: {column} must be a whole number, not {row[column]!r}"
        ) from error


def parse_row(row: Mapping[str, str], where: str) -> tuple[Box, tuple[int, int]]:
    """Read the box x0, y0, x1, y1 and the photograph's size (h, w) from a line of boxes.csv.

    Raises:
        ValueError: a value is no number.
    """
    size = parse_int(row, "height", where), parse_int(row, "width", where)
    return parse_box((row[corner] for corner in CORNERS), where), size


def parse_box(
    values: Iterable[str | None],
    where: str,
    style: Literal["xyxy", "xyxy_inclusive", "xywh"] = "xyxy",
) -> Box:
    """Read a box.

    Args:
        values: four numbers as text.
        where: how errors call the place.
        style: x0, y0, x1, y1; the same with the object's last pixel as x1, y1; or corner and size.

    Returns:
        Half-open x0, y0, x1, y1.

    Raises:
        ValueError: not four finite numbers.
    """
    texts = list(values)
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError as error:
        raise ValueError(f"{where}: a box is four numbers ({style}), not {texts}") from error
    if style == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    elif style == "xyxy_inclusive":
        x1, y1 = x1 + 1, y1 + 1
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError(f"{where}: a box is four finite numbers ({style}), not {texts}")
    return x0, y0, x1, y1


def check(listing: Listing, name: str) -> None:
    """Check that the files of a listing are there, and that its boxes have something to hold.

    Raises:
        FileNotFoundError: files are missing; the message names the first ones.
        ValueError: a box has no area, or lies outside of its photograph.
    """
    named = [path for record in listing.records for path in record.files]
    missing = [path for path in named if not exists(listing.root, path)]
    if missing:
        raise FileNotFoundError(
            f"{name}: {len(missing)} of {len(named)} files are missing in {listing.root}, "
            f"first {missing[:3]}. The copy is incomplete: get the data set again."
        )
    for record in listing.records:
        height, width = record.size or (math.inf, math.inf)
        for box in record.boxes:
            x0, y0, x1, y1 = box
            if not (x0 < x1 and y0 < y1):
                raise ValueError(
                    f"{name}: the box {box} of {record.path} has no area: x0 < x1, y0 < y1?"
                )
            if not (x0 < width and y0 < height and x1 > 0 and y1 > 0):
                raise ValueError(
                    f"{name}: the box {box} (x0, y0, x1, y1) of {record.path} lies outside of its "
                    f"{record.size} pixels (h, w)"
                )


def _split(root: Path) -> tuple[Path | None, str]:
    """Split data.zip/top into the archive and "top/"; (None, "") for a plain folder."""
    for parent in (root, root.parent):
        if parent.suffix == ".zip" and not parent.is_dir():
            inside = root.relative_to(parent).as_posix()
            return parent, "" if inside == "." else f"{inside}/"
    return None, ""


@lru_cache(maxsize=4)
def _archive(archive: Path, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)  # one for each process: they must not share a file position


@lru_cache(maxsize=4)
def _sizes(archive: Path) -> dict[str, int]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return {info.filename: info.file_size for info in opened.infolist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is not a whole .zip file: download it again") from error


def _what_is_there(root: Path) -> str:
    if not root.exists():
        return "there is nothing at that path"
    if root.is_file():
        return "it is a file without that"
    names = sorted(entry.name for entry in root.iterdir())
    return f"it has only {names[:8]}{' …' if len(names) > 8 else ''}" if names else "it is empty"
