"""Drawings of Aviary in files, so that a machine makes each of them once.

A file holds the drawings of one kind, each in a slot of fixed size at its number, so that they may
come in any order and from any number of processes. A slot counts only if its checksum is right:
half a drawing, left by a process that was killed, is drawn again.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from satkit._cv2 import cv2
from satkit.data.prepared import cache_folder

#: Bytes of a file; what does not fit is drawn again by every process
FILE_BYTES = 512 * 2**20
#: Bytes of all files; the ones that were not opened for the longest time are deleted
FOLDER_BYTES = 2 * 2**30
#: Bytes for what is known about a drawing, as JSON
_ABOUT = 4096
Array = npt.NDArray[np.uint8]


class Shelf:
    """The drawings of one kind; where nothing can be written, it stays empty.

    Args:
        path: of the file; its folder is made.
        size: side of the drawings, pixels.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.slot = np.dtype(
            [("check", np.uint32), ("image", np.uint8, (size, size, 3)),
             ("parts", np.uint8, (size, size)), ("about", f"S{_ABOUT}")]
        )  # fmt: skip
        self.length = FILE_BYTES // self.slot.itemsize
        self.file: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _make_room(path.parent)
            self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.utime(path)  # it is in use
        except OSError:
            pass  # a home that cannot be written to: drawings are made anew

    def get(self, index: int) -> tuple[Array, Array, dict[str, Any]] | None:
        """Take out a drawing: image [S, S, 3], parts [S, S], and what is known about it."""
        if self.file is None or index >= self.length:
            return None
        # no file position is used, so processes can share what they inherit
        data = bytearray(self.slot.itemsize)
        if os.preadv(self.file, [data], index * self.slot.itemsize) < len(data):
            return None
        slot = np.frombuffer(data, self.slot)[0]
        if slot["check"] != _checksum(data) or not slot["about"]:
            return None
        return slot["image"], slot["parts"], json.loads(slot["about"])

    def put(self, index: int, image: Array, parts: Array, about: dict[str, Any]) -> None:
        """Put a drawing to its place."""
        text = json.dumps(about).encode()
        if self.file is None or index >= self.length or len(text) > _ABOUT:
            return
        data = bytearray(self.slot.itemsize)
        slot = np.frombuffer(data, self.slot)
        slot["image"], slot["parts"], slot["about"] = image, parts, text
        slot["check"] = _checksum(data)
        try:
            os.pwrite(self.file, data, index * self.slot.itemsize)
        except OSError:
            self.file = None  # the disk is full


def _checksum(slot: bytearray) -> int:
    return zlib.crc32(memoryview(slot)[4:])  # what follows the checksum itself


def shelf(what: str, size: int) -> Shelf:
    """The shelf of a kind of drawing, as this code draws it.

    Args:
        what: tells this kind from all others.
        size: side of the drawings, pixels.
    """
    name = hashlib.sha256(f"{what} {_code()}".encode()).hexdigest()[:20]
    return _open(cache_folder() / "aviary" / name, size)


@lru_cache(maxsize=64)
def _open(path: Path, size: int) -> Shelf:
    return Shelf(path, size)


@cache
def _code() -> str:
    """Version of what draws: other code or another library may draw other pixels."""
    digest = hashlib.sha256(f"{np.__version__} {cv2.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("aviary*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _make_room(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    total = FILE_BYTES  # of the new one, at most
    for path in files:
        total += path.stat().st_blocks * 512
        if total > FOLDER_BYTES:
            path.unlink()
