"""The data set of photographs: whatever the layout on disk, one class reads it."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from satkit.data.files import Listing, Record, file_size, open_file
from satkit.data.images import read_image, read_mask
from satkit.data.splits import shuffle
from satkit.data.transforms import Resized, Transform, resize_nearest

#: `cache=True` keeps resized photographs up to this many bytes
CACHE_BYTES = 2 * 1024**3

Mask = npt.NDArray[np.bool_]


class Kept:
    """Resized photographs in memory that a process shares with those it is forked into.

    Memory is taken when a photograph is put there, not before.

    Args:
        count: of photographs; beyond `CACHE_BYTES` the last ones are not kept.
        side: of the resized photographs, pixels.
        masks: names of the masks that a photograph may have.
    """

    def __init__(self, count: int, side: int, masks: Sequence[str]) -> None:
        self.masks = list(masks)
        slot = np.dtype(
            [("there", np.bool_), ("has", np.bool_, (len(masks),)), ("size", np.int64, 2),
             ("image", np.uint8, (side, side, 3)), ("masks", np.bool_, (len(masks), side, side))]
        )  # fmt: skip
        length = min(count, CACHE_BYTES // slot.itemsize)
        memory = mmap.mmap(-1, max(1, length * slot.itemsize))  # of no file
        self.slots = np.frombuffer(memory, slot, length)

    def get(self, index: int) -> Resized | None:
        """What was put there; its arrays are the kept ones, not copies."""
        if index >= len(self.slots) or not self.slots[index]["there"]:
            return None
        slot = self.slots[index]
        masks = {
            name: slot["masks"][number]
            for number, name in enumerate(self.masks)
            if slot["has"][number]
        }
        height, width = slot["size"].tolist()
        return Resized(slot["image"], masks, (height, width))

    def put(self, index: int, resized: Resized) -> None:
        """Keep a photograph with its masks, where there is room."""
        if index >= len(self.slots):
            return
        slot = self.slots[index]
        slot["image"], slot["size"] = resized.image, resized.size
        for name, mask in resized.masks.items():
            number = self.masks.index(name)
            slot["has"][number], slot["masks"][number] = True, mask
        slot["there"] = True  # last: a process that is killed before leaves nothing half made


class Photographs(Dataset[dict[str, Any]]):
    """Photographs with labels, boxes and, where the set has them, masks.

    Items are dicts: image float [3, H, W]; label int; boxes float [n, 4], xyxy pixels of the
    crop, n = 0 where the set has none; mask bool [H, W], absent where the set has none; ignore bool
    [H, W], pixels that do not count, beside each mask where the set has such regions; path str;
    size (h, w) of the photograph; index int. Random crops depend on (seed, epoch, index) alone,
    so a resumed run sees what an uninterrupted one sees, with any number of workers.

    Args:
        name: of the data set.
        split: of the data set.
        listing: its photographs.
        transform: what turns a photograph into an item.
        seed: of the random crops.
        cache: keep photographs in memory after they were decoded and resized (196 kB each at
            256², 262 kB with masks; up to `CACHE_BYTES`), shared with the workers of a DataLoader.
    """

    def __init__(
        self,
        name: str,
        split: str,
        listing: Listing,
        transform: Transform,
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        self.name, self.split, self.seed = name, split, seed
        self.root, self.classes, self.records, self.exif, self.stored = listing
        self._place = self.stored.root if self.stored else str(self.root)
        self.transform = transform
        self._ignores = any(record.ignore for record in self.records)
        # shared memory, so that persistent workers of a DataLoader see a new epoch too
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        masked = any(record.mask is not None for record in self.records)
        names = ["mask"] * masked + ["ignore"] * self._ignores
        self._cache = Kept(len(self.records), transform.side, names) if cache else None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def labels(self) -> list[int]:
        """Label of every photograph, without reading any."""
        return [record.label for record in self.records]

    @property
    def shards(self) -> npt.NDArray[np.int64] | None:
        """Number of the shard that each photograph is in; None where they are not in shards."""
        return self.stored.shards if self.stored else None

    def epoch_order(self, rng: np.random.Generator) -> list[int]:
        """Shuffle the indices for one epoch, see `satkit.data.splits.shuffle`."""
        return shuffle(len(self), self.shards, rng)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of this epoch."""
        self._epoch.fill_(epoch)

    def fingerprint(self) -> str:
        """Short hash of what this split holds: names, sizes of files, labels, boxes, masks."""
        digest = hashlib.sha256(repr((self.name, self.split, self.classes, self.exif)).encode())
        if self.stored and self.stored.format == "jpeg":  # not the pixels of the raw photographs
            digest.update(self.stored.digest.encode())
        for index, record in enumerate(self.records):
            sizes = self.file_sizes(index)
            fields = tuple(record) if record.ignore else tuple(record)[:-1]  # as before `ignore`
            digest.update(repr((fields, sizes)).encode())
        return digest.hexdigest()[:16]

    def file_sizes(self, index: int) -> list[int]:
        """Bytes of a photograph and its masks, as the set's authors pack them."""
        if self.stored:
            return self.stored.sizes(index)
        return [file_size(self.root, path) for path in self.records[index].files]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.transform.finish(self.raw(index))

    def raw(self, index: int) -> dict[str, Any]:
        """The item with pixels and window in place of its image, see `Transform.aim`."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set with {len(self)} photographs")
        record = self.records[index]
        resized = self._resized(index)
        train = self.transform.train
        rng = np.random.default_rng([self.seed, int(self._epoch), index]) if train else None
        item = self.transform.aim(resized, self._boxes(record, resized.size), rng)
        about = {
            "label": record.label,
            "path": f"{self._place}/{record.path}",
            "size": resized.size,
            "index": index,
        }
        return item | about

    def _resized(self, index: int) -> Resized:
        if self._cache is None:
            return self.read_resized(index)
        kept = self._cache.get(index)
        if kept is None:
            kept = self.read_resized(index)
            self._cache.put(index, kept)
        return kept

    def read_resized(self, index: int) -> Resized:
        """Read and resize one photograph with its masks: all that has no randomness.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or is not of the size that was stated.
        """
        if self.stored:
            return self.stored.read(index)
        record = self.records[index]
        name = str(self.root / record.path)
        with open_file(self.root, record.path) as file:
            image = read_image(file, name, self.exif)
        size = image.height, image.width
        if record.size not in (None, size):
            raise ValueError(
                f"the boxes of {name} were drawn for {record.size} pixels (h, w), but it has "
                f"{size}: scale the boxes with the photograph, and correct width and height"
            )
        return self.transform.resize(image, self._read_masks(record, *size))

    def _read_masks(self, record: Record, height: int, width: int) -> dict[str, Mask]:
        """Read the mask of a photograph, and what it ignores, as in the WSOL evaluation."""
        if record.mask is None:
            return {}
        if isinstance(record.mask, str):
            mask = self._read_mask(record.mask)
            if mask.shape != (height, width):
                raise ValueError(
                    f"the mask {self.root / record.mask} is {mask.shape} (h, w), but its "
                    f"photograph {self.root / record.path} is {(height, width)}"
                )
            masks = {"mask": mask}
        else:
            masks = {"mask": self._unite(record.mask)}
        if self._ignores:  # all items alike, so that they can be stacked
            masks["ignore"] = self._unite([record.ignore] if record.ignore else [])
            masks["ignore"] &= ~resize_nearest(masks["mask"], self.transform.side)
        return masks

    def _read_mask(self, path: str) -> Mask:
        with open_file(self.root, path) as file:
            return read_mask(file, str(self.root / path))

    def _unite(self, paths: Sequence[str]) -> Mask:
        """Unite masks of any size, [R, R]."""
        side = self.transform.side
        union = np.zeros((side, side), dtype=np.bool_)
        for path in paths:
            union |= resize_nearest(self._read_mask(path), side)
        return union

    def _boxes(self, record: Record, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Boxes of a photograph, [n, 4], clipped at its border."""
        height, width = size
        boxes = np.array(record.boxes, dtype=np.float64).reshape(-1, 4)
        return boxes.clip(0, [width, height, width, height])
