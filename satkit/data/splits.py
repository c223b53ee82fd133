"""Seeded, stratified choices of photographs: the held-out split and few-shot subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

#: Shards whose photographs are shuffled among each other
WINDOW = 8


def stratified_cut(labels: Sequence[int], fraction: float, seed: int) -> list[bool]:
    """Choose about this fraction of every class.

    Of n photographs of a class, n · fraction rounded up or down at random are chosen, so that
    rare classes are represented together; a class never loses its last photograph.

    Args:
        labels: class of each photograph.
        fraction: 0..0.5.
        seed: of the choice.

    Returns:
        For each photograph, whether it is chosen.

    Raises:
        ValueError: the fraction is not in 0..0.5.
    """
    if not 0 <= fraction <= 0.5:
        raise ValueError(f"the fraction to cut out is {fraction}; it must be between 0 and 0.5")
    chosen, numbers = np.zeros(len(labels), dtype=bool), np.asarray(labels)
    for label in sorted(set(labels)):
        rng = np.random.default_rng([seed, label])
        members = rng.permutation(np.flatnonzero(numbers == label))
        ranks = (np.arange(len(members)) + rng.random()) / len(members)  # systematic sampling
        if len(members) > 1:
            chosen[members[ranks < fraction]] = True
    return [bool(value) for value in chosen]


def shuffle(
    count: int, shards: npt.NDArray[np.int64] | None, rng: np.random.Generator
) -> list[int]:
    """Shuffle items so that neighbours in the order are near each other on disk.

    Shards are shuffled, then the items of every `WINDOW` shards among each other; a set that is
    not in shards is shuffled as a whole. Each item comes exactly once.

    Args:
        count: of items.
        shards: number of the shard of each item, [count], or None.
        rng: decides.

    Returns:
        The items' numbers, a permutation of 0 … count - 1.
    """
    if shards is None:
        return [int(index) for index in rng.permutation(count)]
    numbers = rng.permutation(np.unique(shards))
    order: list[int] = []
    for start in range(0, len(numbers), WINDOW):
        members = np.flatnonzero(np.isin(shards, numbers[start : start + WINDOW]))
        order += rng.permutation(members).tolist()
    return order


class Selection(Dataset[dict[str, Any]]):
    """Some items of a data set, which keep their index (and so their random crops) in it."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, list(indices)
        self.classes: list[str] = dataset.classes
        self.num_classes: int = dataset.num_classes

    @property
    def labels(self) -> list[int]:
        """Label of every item."""
        labels = self.dataset.labels
        return [labels[index] for index in self.indices]

    @property
    def shards(self) -> npt.NDArray[np.int64] | None:
        """Number of the shard that each item is in; None where they are not in shards."""
        shards = getattr(self.dataset, "shards", None)
        return None if shards is None else shards[self.indices]

    def epoch_order(self, rng: np.random.Generator) -> list[int]:
        """Shuffle the positions for one epoch, see `shuffle`."""
        return shuffle(len(self), self.shards, rng)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of this epoch."""
        self.dataset.set_epoch(epoch)

    def fingerprint(self) -> str:
        """Short hash of the data set and of the choice."""
        text = f"{self.dataset.fingerprint()} {self.indices}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item: dict[str, Any] = self.dataset[self.indices[index]]
        return item

    def raw(self, index: int) -> dict[str, Any]:
        """The item before its image is made, see `raw_item`."""
        return raw_item(self.dataset, self.indices[index])


def raw_item(dataset: Any, index: int) -> dict[str, Any]:
    """An item with pixels and window in place of its image, see `Transform.aim`.

    Returns:
        What the data set's method `raw` gives; the finished item where it has no such method.
    """
    make = getattr(dataset, "raw", dataset.__getitem__)
    item: dict[str, Any] = make(index)
    return item


def few_shot(dataset: Any, shots: int, seed: int) -> Selection:
    """Choose the same number of items of every class (Fig. 8 of the paper).

    With one seed, fewer shots are a part of more shots.

    Args:
        dataset: with `labels` and `classes`.
        shots: items of each class.
        seed: of the choice.

    Returns:
        The chosen items, class by class.

    Raises:
        ValueError: shots < 1, or a class has fewer items; the message names it.
    """
    if shots < 1:
        raise ValueError(f"shots is {shots}; it must be at least 1")
    labels = np.asarray(dataset.labels)
    indices: list[int] = []
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(labels == label)
        if len(members) < shots:
            raise ValueError(
                f"shots is {shots}, but the class {name!r} has only {len(members)} items"
            )
        chosen = np.random.default_rng([seed, label]).permutation(members)[:shots]
        indices += sorted(int(index) for index in chosen)
    return Selection(dataset, indices)
