"""Preparing a set: every photograph is decoded and resized once, so that epochs need not."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from satkit.data import LAYOUTS, check_listing, layout_options, list_splits
from satkit.data.fetch import locked, require_space, write_whole
from satkit.data.photographs import Photographs
from satkit.data.prepared import ANNOTATIONS, META, VERSION, prepared_folder, stored_name
from satkit.data.transforms import Transform
from satkit.data.workers import in_parallel
from satkit.progress import Progress

CHUNK = 100  # photographs that are written, or written again, together
SHARD = 2000  # photographs of a shard: about 75 MB at 256²
#: options by format and number of dimensions; a PNG file that is not compressed is larger, but read
#: twice as fast
ENCODING: dict[tuple[str, int], dict[str, int]] = {
    ("jpeg", 3): {"quality": 95, "subsampling": 0},
    ("png", 3): {"compress_level": 0},
}
#: bytes of a pixel on disk, measured on photographs; for the space check alone
BYTES_PER_PIXEL = {"png": 3.02, "jpeg": 0.54}
PARTS = ".parts"  # folder of what is known about chunks that are written
SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "index": pa.int64(),
        "path": pa.string(),
        "class": pa.string(),
        "label": pa.int64(),
        "boxes": pa.list_(pa.list_(pa.float64())),
        "mask": pa.string(),
        "masks": pa.list_(pa.string()),
        "ignore": pa.string(),
        "height": pa.int64(),
        "width": pa.int64(),
        "stated": pa.bool_(),
        "bytes": pa.list_(pa.int64()),
        "maps": pa.list_(pa.string()),
        "shard": pa.string(),
        "offset": pa.list_(pa.int64()),
        "length": pa.list_(pa.int64()),
    }
)


class Chunk(NamedTuple):
    """Photographs that are written together: a shard, or some files."""

    split: str
    number: int
    indices: list[int]

    @property
    def name(self) -> str:
        """Name without ending."""
        return f"{self.split}-{self.number:06d}"


class Job(NamedTuple):
    """What the processes that write need to know."""

    folder: Path
    sets: dict[str, Photographs]
    about: dict[str, Any]


_job: Job  # set before the processes are forked


def prepare(
    name: str,
    root: str | Path,
    side: int = 256,
    *,
    shards: bool = False,
    splits: Iterable[str] = (),
    out: str | Path | None = None,
    workers: int = 0,
    **options: Any,
) -> Path:
    """Write the photographs of a set, resized, and its annotations in one format.

    It can be stopped at any time, also by kill -9, and goes on where it was when called again:
    what was whole is kept. The annotations are written last, and without them nothing is loaded.
    Photographs are resized as `Transform` does, without regard to their aspect.

    Args:
        name: of the set, see `satkit.data.LAYOUTS`.
        root: its folder or .zip.
        side: of the resized photographs, pixels: the transform's resize_size (256), or under the
            protocols "wsoleval" and "tscam" its image_size (224).
        shards: write JPEG photographs (quality 95) into WebDataset shards, for sets of millions;
            else each becomes a PNG file, without loss.
        splits: only these; all that the set has where empty.
        out: root of the prepared set; `root` where None.
        workers: number of processes; 0 is one for each core.
        options: of the set's layout.

    Returns:
        The folder <out>/prepared/<side>.

    Raises:
        FileNotFoundError, ValueError: as `satkit.data.load`; or a photograph cannot be read.
        NoSpaceError: it does not fit on the disk.
    """
    root = Path(root).expanduser()
    folder = Path(prepared_folder(root if out is None else out, side).url)
    wanted = list(splits) or list_splits(name, root)
    sets = {split: _open_raw(name, split, root, side, options) for split in wanted}
    about = _describe(name, root, side, "jpeg" if shards else "png", sets, options)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if _is_done(folder, about):
            print(f"{folder} is prepared already")
            return folder
        _begin(folder, about)
        chunks = [chunk for split in wanted for chunk in _divide(split, len(sets[split]), shards)]
        left = [chunk for chunk in chunks if not _part(folder, chunk).exists()]
        count = sum(len(chunk.indices) for chunk in left)
        need = int(count * side * side * BYTES_PER_PIXEL[about["format"]])
        require_space(folder, need, f"{count:,} prepared photographs (an estimate)")
        global _job
        _job = Job(folder, sets, about)
        written = in_parallel(_write_chunk, left, workers)
        label = f"prepare {name} at {side}²"
        for chunk, rows in Progress(written, len(chunks), label, len(chunks) - len(left)):
            write_whole(_part(folder, chunk), json.dumps(rows).encode())
        _finish(folder, chunks, about)
    return folder


def _open_raw(name: str, split: str, root: Path, side: int, options: dict[str, Any]) -> Photographs:
    listing = LAYOUTS[name](root, split, **options)
    check_listing(name, split, listing)
    return Photographs(name, split, listing, Transform(image_size=side, resize_size=side))


def _describe(
    name: str,
    root: Path,
    side: int,
    format: str,
    sets: dict[str, Photographs],
    options: dict[str, Any],
) -> dict[str, Any]:
    inner = {split: own.root.relative_to(root).as_posix() for split, own in sets.items()}
    return {
        "version": VERSION,
        "name": name,
        "side": side,
        "format": format,
        "options": layout_options(name, options),
        "splits": list_splits(name, root),
        "inner": {split: "" if path == "." else path for split, path in inner.items()},
        "exif": all(own.exif for own in sets.values()),
        "counts": {split: len(own) for split, own in sets.items()},
        "classes": {split: own.classes for split, own in sets.items()},
        "source": {split: own.fingerprint() for split, own in sets.items()},
    }


def _is_done(folder: Path, about: dict[str, Any]) -> bool:
    path = folder / ANNOTATIONS
    if not path.exists():
        return False
    known = (pq.read_schema(path).metadata or {}).get(META, b"{}")
    return bool(json.loads(known) == about)


def _begin(folder: Path, about: dict[str, Any]) -> None:
    """Keep what an earlier call of the same plan has written, remove anything else."""
    plan = folder / PARTS / "plan.json"
    if not plan.exists() or json.loads(plan.read_text()) != about:
        (folder / ANNOTATIONS).unlink(missing_ok=True)  # first, as it vouches for the others
        if folder.exists():
            shutil.rmtree(folder)
        plan.parent.mkdir(parents=True)
        write_whole(plan, json.dumps(about).encode())


def _divide(split: str, count: int, shards: bool) -> list[Chunk]:
    """Divide a split; shards for training hold a random mix, since files are sorted by class."""
    mix = shards and split == "train"
    order = np.random.default_rng(0).permutation(count) if mix else np.arange(count)
    size = SHARD if shards else CHUNK
    return [
        Chunk(split, number, order[start : start + size].tolist())
        for number, start in enumerate(range(0, count, size))
    ]


def _part(folder: Path, chunk: Chunk) -> Path:
    return folder / PARTS / f"{chunk.name}.json"


def _write_chunk(chunk: Chunk) -> tuple[Chunk, list[dict[str, Any]]]:
    """Write the photographs of a chunk; return it with the rows of the annotations."""
    if _job.about["format"] == "png":
        return chunk, [_write_files(chunk.split, index) for index in chunk.indices]
    name = f"{chunk.name}.tar"
    partial = _job.folder / f"{name}.partial"
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        rows = [_write_sample(tar, name, chunk.split, index) for index in chunk.indices]
    partial.replace(_job.folder / name)
    return chunk, rows


def _write_files(split: str, index: int) -> dict[str, Any]:
    row, arrays = _read(split, index)
    for map_name, array in arrays.items():
        path = _job.folder / stored_name(row["path"], map_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, encode(array, "png"))
    return row


def _write_sample(tar: tarfile.TarFile, shard: str, split: str, index: int) -> dict[str, Any]:
    """Add <index>.jpg, <index>.<map>.png and <index>.cls to a shard."""
    row, arrays = _read(split, index)
    offsets, lengths = [], []
    for map_name, array in arrays.items():
        data = encode(array, "png" if map_name else "jpeg")
        ending = f"{map_name}.png" if map_name else "jpg"
        offsets.append(_add(tar, f"{index:09d}.{ending}", data))
        lengths.append(len(data))
    _add(tar, f"{index:09d}.cls", str(row["label"]).encode())
    return row | {"shard": shard, "offset": offsets, "length": lengths}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a file to a shard; return where its bytes begin, behind the header of one block."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    start = tar.offset
    tar.addfile(info, io.BytesIO(data))
    return start + tarfile.BLOCKSIZE


def _read(split: str, index: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read one photograph: its row, and its pixels ("") and maps."""
    photographs = _job.sets[split]
    record = photographs.records[index]
    resized = photographs.read_resized(index)
    height, width = resized.size
    row = {
        "split": split,
        "index": index,
        "path": record.path,
        "class": photographs.classes[record.label],
        "label": record.label,
        "boxes": record.boxes,
        "mask": record.mask if isinstance(record.mask, str) else None,
        "masks": record.mask if isinstance(record.mask, tuple) else None,
        "ignore": record.ignore,
        "height": height,
        "width": width,
        "stated": record.size is not None,
        "bytes": photographs.file_sizes(index),
        "maps": list(resized.masks),
    }
    return row, {"": resized.image, **resized.masks}


def encode(array: npt.NDArray[Any], format: str) -> bytes:
    """Write an image file into memory.

    Args:
        array: uint8 [H, W, 3], or bool [H, W].
        format: "png" or "jpeg".

    Returns:
        The file.
    """
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **ENCODING.get((format, pixels.ndim), {}))
    return file.getvalue()


def _finish(folder: Path, chunks: list[Chunk], about: dict[str, Any]) -> None:
    """Write the annotations in the order of the raw set, and remove what was needed for them."""
    tables = []
    for split in about["counts"]:
        parts = [_part(folder, chunk) for chunk in chunks if chunk.split == split]
        rows = [pa.Table.from_pylist(json.loads(part.read_bytes()), SCHEMA) for part in parts]
        tables.append(pa.concat_tables(rows).sort_by("index"))
    metadata = {META: json.dumps(about).encode()}
    table = pa.concat_tables(tables).combine_chunks().replace_schema_metadata(metadata)
    partial = folder / f"{ANNOTATIONS}.partial"
    pq.write_table(table, partial)
    partial.replace(folder / ANNOTATIONS)
    shutil.rmtree(folder / PARTS)
