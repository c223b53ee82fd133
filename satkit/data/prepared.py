"""Reading prepared sets: photographs that were resized once, in a folder or at a remote address.

A prepared set is one folder, ``<root>/prepared/<side>``, with ``annotations.parquet`` (one row a
photograph, see docs/data.md) and the photographs at side x side pixels: a PNG file each, or inside
of WebDataset shards, whose bytes the Parquet file points at.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib import error, request

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from satkit.data.fetch import download, locked, require_space
from satkit.data.files import Box, Listing, Record
from satkit.data.images import read_image, read_jpeg, read_mask
from satkit.data.transforms import Resized

ANNOTATIONS = "annotations.parquet"
META = b"satkit"  # key of what holds for the whole file, as JSON
VERSION = 1
HTTP = ("http://", "https://")
#: columns that make a `Record`, and those that say where the pixels are
RECORD = ["path", "label", "boxes", "mask", "masks", "ignore", "stated", "height", "width"]
STORED = ["path", "height", "width", "bytes", "maps", "shard", "offset", "length"]


class Address(NamedTuple):
    """A folder or a remote folder (an fsspec URL)."""

    url: str  # s3://…, https://…, memory://…, or a path

    @classmethod
    def of(cls, root: str | Path) -> Address:
        """Take a path or URL as the user wrote it."""
        text = str(root).removeprefix("file://")
        return cls(text.rstrip("/") if "://" in text else str(Path(text).expanduser()))

    @property
    def remote(self) -> bool:
        """Whether it is no folder of this machine."""
        return "://" in self.url

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.url}/{name}") if name else self

    def read_bytes(self) -> bytes:
        """Read a small file.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.url.startswith(HTTP):
            try:
                with request.urlopen(self.url, timeout=60) as answer:
                    return bytes(answer.read())
            except error.HTTPError as refused:
                refused.close()
                if refused.code not in (403, 404, 410):
                    raise
                raise FileNotFoundError(f"{self.url}: {refused}") from refused
        with fsspec.open(self.url, "rb") as file:
            content: bytes = file.read()
        return content

    def local(self, cache: str) -> Path:
        """Path of a copy on this machine: of the file itself, or in a folder of the cache."""
        return _fetch_once(self.url, cache) if self.remote else Path(self.url)


def cache_folder() -> Path:
    """Where remote files are kept while they are in use: $SATKIT_CACHE or ~/.cache/satkit.

    It grows to the size of the sets that are read, and can be deleted when nothing runs.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SATKIT_CACHE") or home / "satkit")


def prepared_folder(root: str | Path, side: int) -> Address:
    """Folder of a prepared set: <root>/prepared/<side>; of x.zip it is x/prepared/<side>."""
    return Address.of(str(root).removesuffix(".zip")) / f"prepared/{side}"


def prepared_sides(root: str | Path) -> list[int]:
    """Sides for which a set in a folder of this machine was prepared, pixels."""
    base = Path(prepared_folder(root, 0).url).parent
    return sorted(int(path.parent.name) for path in base.glob(f"[0-9]*/{ANNOTATIONS}"))


def find_prepared(root: str | Path, side: int) -> Prepared | None:
    """Open what was prepared at this side, None where nothing was.

    Raises:
        ValueError: it was written by a later version of satkit.
    """
    try:
        return Prepared.open(prepared_folder(root, side), Address.of(root).url)
    except FileNotFoundError:
        return None


class Prepared(NamedTuple):
    """All splits of a prepared set.

    Attributes:
        folder: where it is.
        root: of the set, as the user gave it.
        about: name, side, format, options, splits of the whole set, classes and counts of those
            that were prepared, and how the photographs were read.
        table: its annotations.
        digest: of its annotations; names the copies of remote files.
    """

    folder: Address
    root: str
    about: dict[str, Any]
    table: pa.Table
    digest: str

    @classmethod
    def open(cls, folder: Address, root: str) -> Prepared:
        """Read the annotations."""
        content = (folder / ANNOTATIONS).read_bytes()
        table = pq.read_table(io.BytesIO(content))
        about = json.loads((table.schema.metadata or {}).get(META, b"{}"))
        if about.get("version") != VERSION:
            raise ValueError(
                f"{folder.url}/{ANNOTATIONS} has the version {about.get('version')}, this satkit "
                f"reads {VERSION}: prepare the set again"
            )
        return cls(folder, root, about, table, hashlib.sha256(content).hexdigest()[:16])

    @property
    def splits(self) -> list[str]:
        """Names of the splits that were prepared."""
        return list(self.about["counts"])

    def list_split(self, split: str) -> Listing:
        """List a split as its raw layout would, together with where its pixels are."""
        rows = self.table.filter(pc.field("split") == split)
        stored = Stored(
            self.folder,
            self.digest,
            self.about["side"],
            f"{self.root}/{self.about['inner'][split]}".rstrip("/"),
            self.about["format"],
            rows.select(STORED).combine_chunks(),
        )
        columns = (rows[name].to_pylist() for name in RECORD)
        records = [_record(*values) for values in zip(*columns, strict=True)]
        return Listing(
            Path(stored.root), self.about["classes"][split], records, self.about["exif"], stored
        )


class Stored(NamedTuple):
    """Where the resized pixels of a split's photographs are, one row each.

    Attributes:
        folder: of the prepared set.
        digest: of its annotations.
        side: of the resized photographs, pixels.
        root: of the photographs before.
        format: "png" or "jpeg".
        rows: columns `STORED`.
    """

    folder: Address
    digest: str
    side: int
    root: str
    format: str
    rows: pa.Table

    def take(self, indices: list[int]) -> Stored:
        """Keep some of the photographs."""
        return self._replace(rows=self.rows.take(indices).combine_chunks())

    @property
    def shards(self) -> npt.NDArray[np.int64] | None:
        """Number of the shard of each photograph; None where each is a file of its own."""
        if self.format == "png":
            return None
        names = self.rows["shard"].combine_chunks().dictionary_encode()
        numbers: npt.NDArray[np.int64] = names.indices.to_numpy().astype(np.int64)
        return numbers

    def sizes(self, index: int) -> list[int]:
        """Bytes of the photograph and its masks before they were resized."""
        sizes: list[int] = self.rows["bytes"][index].as_py()
        return sizes

    def read(self, index: int) -> Resized:
        """Read one photograph with its masks.

        Raises:
            FileNotFoundError: its file or shard is missing.
            ValueError: it is damaged.
        """
        row = self.rows.slice(index, 1).to_pylist()[0]
        files = [self._read(row, number, name) for number, name in enumerate(["", *row["maps"]])]
        image = (read_jpeg if self.format == "jpeg" else _read_png)(*files[0])
        maps = {
            name: read_mask(io.BytesIO(data), file)
            for name, (data, file) in zip(row["maps"], files[1:], strict=True)
        }
        for array, (_, name) in zip([image, *maps.values()], files, strict=True):
            if array.shape[:2] != (self.side, self.side):
                raise ValueError(f"{name} is {array.shape[:2]} (h, w), not {self.side} squared")
        return Resized(image, maps, (row["height"], row["width"]))

    def read_bytes(self, index: int) -> bytes:
        """Read the file of one photograph."""
        return self._read(self.rows.slice(index, 1).to_pylist()[0], 0, "")[0]

    def _read(self, row: dict[str, Any], number: int, map_name: str) -> tuple[bytes, str]:
        """Read a photograph (number 0) or a map that belongs to it; also say what it is called."""
        if row["shard"] is None:
            address = self.folder / stored_name(row["path"], map_name)
            return address.local(self.digest).read_bytes(), address.url
        address = self.folder / row["shard"]
        name = f"{stored_name(row['path'], map_name)} in {address.url}"
        shard = _open_shard(address.local(self.digest), self.digest)
        # no file position is used, so processes can share what they inherit
        return os.pread(shard.fileno(), row["length"][number], row["offset"][number]), name


def _read_png(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    return np.asarray(read_image(io.BytesIO(data), name))


def stored_name(path: str, map_name: str = "") -> str:
    """Name of the PNG file of a photograph, or of one of its masks, in a prepared folder."""
    path = path.replace("../", "")  # held-out photographs may lie beside the others
    return f"{path}.{map_name}.png" if map_name else f"{path}.png"


def _record(
    path: str,
    label: int,
    boxes: list[list[float]],
    mask: str | None,
    masks: list[str] | None,
    ignore: str | None,
    stated: bool,
    height: int,
    width: int,
) -> Record:
    size = (height, width) if stated else None
    several = mask if masks is None else tuple(masks)
    return Record(path, label, tuple(_box(box) for box in boxes), several, size, ignore)


def _box(values: list[float]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1


@lru_cache(maxsize=32)
def _open_shard(path: Path, digest: str) -> IO[bytes]:
    return path.open("rb", buffering=0)


def _fetch_once(url: str, cache: str) -> Path:
    """Copy a remote file into the cache; whole or not at all, once for all processes.

    fsspec's own caches write under the final name, so that a killed process leaves half a file
    that looks whole; and its http needs one more library.
    """
    path = cache_folder() / cache / hashlib.sha256(url.encode()).hexdigest()[:32]
    if path.exists():
        return path
    if url.startswith(HTTP):
        return download([url], path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if not path.exists():
            filesystem, inside = fsspec.core.url_to_fs(url)
            require_space(path.parent, filesystem.size(inside) or 0, url)
            partial = path.with_name(path.name + ".partial")
            filesystem.get_file(inside, str(partial))
            partial.replace(path)
    return path
