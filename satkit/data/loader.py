"""From a data set to batches on the device, with the next ones in the making."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from satkit.data.splits import raw_item
from satkit.data.transforms import to_images
from satkit.data.workers import leave_interrupts

T = TypeVar("T")
#: Batches that each worker makes ahead, and that are uploaded ahead
AHEAD = 2
#: More workers than this do not help one device
MOST_WORKERS = 16


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of items, finished or raw, for a DataLoader.

    Returns:
        image (or pixels and window) and, where every item has them, mask, ignore, parts and crops
        stacked to [B, …]; label and index int [B]; boxes, path and size as lists, since their
        lengths differ.
    """
    batch: dict[str, Any] = {
        key: torch.stack([item[key] for item in items])
        for key in ("image", "mask", "ignore", "parts", "crops")
        if all(key in item for item in items)
    }
    if all("pixels" in item for item in items):
        batch["pixels"] = torch.from_numpy(np.stack([item["pixels"] for item in items]))
        batch["window"] = torch.tensor([item["window"] for item in items])
    for key in ("label", "index"):
        batch[key] = torch.tensor([item[key] for item in items])
    for key in ("boxes", "path", "size"):
        batch[key] = [item[key] for item in items]
    return batch


def in_order(count: int, size: int) -> list[list[int]]:
    """Divide indices 0 … count - 1 into batches of a size; the last one may be smaller."""
    return [list(range(at, min(at + size, count))) for at in range(0, count, size)]


def auto_workers(device: torch.device) -> int:
    """How many processes load images: none on a CPU, which the model itself keeps busy.

    Beside a GPU it is one for each core that is left to this process, at most `MOST_WORKERS`.
    """
    if device.type == "cpu":
        return 0
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that train on this machine
    return min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) // beside - 1))


class Loader:
    """Gives batches of a data set, with their images on the device.

    Pixels travel as bytes and are cut, mirrored and normalised on the device
    (`satkit.data.transforms.to_images`); a data set without a method `raw` hands over finished
    images. Workers are forked at the first batch and stay. Beside a GPU the next batches are
    uploaded while a step runs. The order is the one asked for, with any number of workers.

    Args:
        dataset: Of :func:`satkit.data.load`, or any of dicts like its own.
        device: Where the images are wanted.
        workers: Processes that load images; -1 is :func:`auto_workers`.

    Attributes:
        waited: Seconds that were spent waiting for batches so far.

    Raises:
        ValueError: ``workers`` is below -1.
    """

    def __init__(self, dataset: Any, device: torch.device, workers: int = -1) -> None:
        if workers < -1:
            raise ValueError(f"workers is {workers}; expected a number, 0 (none) or -1 (automatic)")
        count = auto_workers(device) if workers == -1 else workers
        self.device, self.waited = device, 0.0
        self._batches: list[list[int]] = []  # of the present pass, which a DataLoader goes through
        self._loader = DataLoader(
            _Raw(dataset),
            batch_sampler=self._batches,
            num_workers=count,
            collate_fn=_pack,
            worker_init_fn=leave_interrupts,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else it draws from the model's, and resuming shifts it
            persistent_workers=count > 0,
            prefetch_factor=AHEAD if count else None,
            multiprocessing_context="fork" if count else None,  # they share what is in memory
        )

    def __call__(self, batches: Iterable[Sequence[int]]) -> Iterator[dict[str, Any]]:
        """Load these batches, one after the other.

        Args:
            batches: Indices of each batch's items.

        Yields:
            As :func:`collate`, with image float [B, 3, S, S] on the device. Where the data set
            gives them, pixels uint8 [B, R, R, 3] are there too.
        """
        self._batches[:] = [list(batch) for batch in batches]
        ready: Iterator[dict[str, Any]] = iter(self._loader)
        if self.device.type == "cuda":
            ready = _uploaded(ready, self.device)
        for _ in self._batches:
            start = time.perf_counter()
            batch = next(ready)
            batch["boxes"] = list(batch["boxes"].split(batch.pop("counts")))
            if "pixels" in batch:
                batch["image"] = to_images(batch["pixels"], batch["window"])
            self.waited += time.perf_counter() - start
            yield batch


def _pack(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch with all boxes in one tensor: each one that leaves a worker takes its time."""
    batch = collate(items)
    counts = [len(boxes) for boxes in batch["boxes"]]
    return {**batch, "boxes": torch.cat(batch["boxes"]), "counts": counts}


class _Raw(Dataset[dict[str, Any]]):
    """A data set's raw items."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> dict[str, Any]:
        return raw_item(self.dataset, index)


def _uploaded(batches: Iterator[dict[str, Any]], device: torch.device) -> Iterator[dict[str, Any]]:
    """Copy the images of batches to a GPU, the next ones while a step runs."""
    copies = torch.cuda.Stream(device)

    def upload() -> Iterator[tuple[dict[str, Any], str, torch.cuda.Event]]:
        for batch in batches:
            name = "pixels" if "pixels" in batch else "image"
            with torch.cuda.stream(copies):
                batch[name] = batch[name].to(device, non_blocking=True)
            yield batch, name, copies.record_event()

    for batch, name, done in ahead(upload(), AHEAD):
        steps = torch.cuda.current_stream(device)
        steps.wait_event(done)
        batch[name].record_stream(steps)  # its memory is not given away while steps use it
        yield batch


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Iterate in a thread of its own, up to ``count`` items ahead of who takes them.

    Args:
        items: To iterate over; what they raise is raised here.
        count: At least 1.

    Yields:
        The items, in their order.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(count)
    stopped = threading.Event()

    def give(item: T | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                pass

    def work() -> None:
        try:
            for item in items:
                give(item, None)
                if stopped.is_set():
                    return
            give(None, StopIteration())
        except BaseException as error:
            give(None, error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
