"""Batches of bytes: equal to finished items, in any order of work, and errors that come through."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import satkit
from satkit.data import (
    Loader,
    Selection,
    Transform,
    collate,
    few_shot,
    in_order,
    load,
    ten_views,
    transforms,
)
from satkit.data.aviary import Aviary
from satkit.data.loader import ahead, auto_workers
from satkit.data.prepare import prepare
from satkit.evaluation import collect

CPU = torch.device("cpu")
TRAIN = Transform(48, 55, train=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with masks, some larger than others."""
    folder = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(12):
            path = folder / split / "ab"[number % 2] / f"{number}.png"
            mask = folder / "masks" / split / "ab"[number % 2] / f"{number}.png"
            for file in (path, mask):
                file.parent.mkdir(parents=True, exist_ok=True)
            shape = (60 + number, 70)
            Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
            Image.fromarray(rng.random(shape) > 0.5).save(mask)
    return folder


def datasets(root: Path, transform: Transform) -> list[Any]:
    photographs = load("folder", "train", root, transform)
    drawings = Aviary(size=55, length=40, transform=transform)
    other_side = Aviary(size=64, length=12, transform=transform)
    some = Selection(drawings, [3, 1, 7, 8, 20])
    shots = few_shot(load("folder", "train", root, transform, cache=True), 2, seed=0)
    return [photographs, drawings, other_side, some, shots]


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == b[key].dtype and torch.equal(value, b[key]), key
        elif key == "boxes":
            assert all(map(torch.equal, value, b[key]))
        else:
            assert value == b[key], key


def without_pixels(batch: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in batch.items() if k not in ("pixels", "window")}


def plain_batches(dataset: Any, order: list[list[int]]) -> list[dict[str, Any]]:
    return list(DataLoader(dataset, batch_sampler=order, collate_fn=collate))


# --- equality with items -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform", [TRAIN, Transform(48, 55), Transform(48, 48, protocol="wsoleval")]
)
def test_batches_equal_collated_items_bit_for_bit(root, transform):
    for dataset in datasets(root, transform):
        order = [[4, 0, 2], [1], [3, 3]] if len(dataset) > 4 else [[3, 0], [1]]
        loader = Loader(dataset, CPU)
        for epoch in (0, 1):
            dataset.set_epoch(epoch)
            for ours, plain in zip(loader(order), plain_batches(dataset, order), strict=True):
                assert ours["pixels"].dtype == torch.uint8
                assert_same(without_pixels(ours), plain)


def test_crops_are_mirrored_somewhere(root):
    """Else the equality above says nothing about mirrored ones."""
    raw = [load("folder", "train", root, TRAIN).raw(index) for index in range(12)]
    assert {item["window"].flip for item in raw} == {True, False}


def test_a_gpu_cuts_the_same(root):
    dataset = load("folder", "train", root, TRAIN)
    batch = collate([dataset.raw(index) for index in range(12)])
    given = batch["pixels"], batch["window"]
    assert torch.equal(transforms._gather_windows(*given), transforms._cut_slices(*given))


@pytest.mark.parametrize("sides", [(48, 55), (48, 56), (48, 48)])
def test_ten_views_equal_the_ten_crops(root, sides):
    dataset = load("folder", "test", root, Transform(*sides, ten_crop=True))
    batch = next(Loader(dataset, CPU)([[0, 5, 7]]))
    views = torch.stack(list(ten_views(batch["pixels"], sides[0])), dim=1)
    assert torch.equal(views, torch.stack([dataset[index]["crops"] for index in (0, 5, 7)]))
    assert torch.equal(views[:, 4], batch["image"])


class Finished(torch.utils.data.Dataset):
    """The items of a data set, without a way to their bytes."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[index]


def test_an_evaluation_is_the_same_on_any_data_set_of_items():
    torch.manual_seed(0)
    model = satkit.create_model("sat", "vit_pico_convstem8_96", 20, image_size=48)
    dataset = Aviary("test", size=55, length=5, transform=Transform(48, 55, ten_crop=True))
    ours, plain = (
        collect(model, given, ten_crop=True, batch_size=3) for given in (dataset, Finished(dataset))
    )
    assert torch.equal(ours.maps, plain.maps) and torch.equal(ours.logits, plain.logits)


def test_an_aviary_without_transform_gives_finished_items():
    dataset = Aviary(size=32, length=4)
    batch = next(Loader(dataset, CPU)([[0, 3]]))
    assert "pixels" not in batch
    assert torch.equal(batch["image"][1], dataset[3]["image"])


# --- workers -----------------------------------------------------------------------------------


def test_workers_give_the_same_in_every_epoch_and_stay(root):
    drawings = Aviary(size=55, length=12, transform=TRAIN)
    for dataset in (load("folder", "train", root, TRAIN, cache=True), drawings):
        order, stayed = in_order(12, 5), []
        with_workers, alone = Loader(dataset, CPU, 2), Loader(dataset, CPU, 0)
        for epoch in (0, 1):
            dataset.set_epoch(epoch)
            for ours, plain in zip(with_workers(order), alone(order), strict=True):
                assert_same(ours, plain)
            stayed.append(with_workers._loader._iterator)
        assert stayed[0] is stayed[1]


def test_an_epoch_may_be_left_and_the_next_begins_anew(root):
    dataset = load("folder", "train", root, TRAIN)
    loader = Loader(dataset, CPU, 2)
    for batch in loader(in_order(12, 2)):
        assert batch["index"].tolist() == [0, 1]
        break
    assert [b["index"].tolist() for b in loader([[7], [5, 6]])] == [[7], [5, 6]]


def test_workers_share_what_is_kept(root, monkeypatch):
    dataset = load("folder", "train", root, TRAIN, cache=True)
    plain = [load("folder", "train", root, TRAIN)[index] for index in range(12)]
    list(Loader(dataset, CPU, 2)(in_order(12, 3)))
    monkeypatch.setattr(type(dataset), "read_resized", None)  # nothing is read any more
    for index, item in enumerate(plain):
        assert_same(collate([dataset[index]]), collate([item]))


def test_an_error_in_a_worker_comes_through(root):
    dataset = load("folder", "train", root, TRAIN)
    dataset.records[3] = dataset.records[3]._replace(path="train/a/gone.png")
    for workers in (0, 2):
        loader = Loader(dataset, CPU, workers)
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            list(loader(in_order(12, 4)))
        loader._loader._iterator = None  # ends the workers now, not when garbage is collected


def test_waiting_is_counted():
    class Slow(Finished):
        def __getitem__(self, index: int) -> dict[str, Any]:
            time.sleep(0.05)
            return super().__getitem__(index)

    loader = Loader(Slow(Aviary(size=32, length=4)), CPU, 0)
    for _ in loader([[0], [1]]):
        pass
    assert loader.waited >= 0.1


def test_the_number_of_workers(monkeypatch):
    with pytest.raises(ValueError, match=r"workers is -2; expected a number, 0 .* or -1"):
        Loader(Aviary(size=32, length=4), CPU, -2)
    gpu = torch.device("cuda")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert auto_workers(CPU) == 0
    assert auto_workers(gpu) == 15
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert auto_workers(gpu) == 3


# --- ahead -------------------------------------------------------------------------------------


def test_ahead_keeps_the_order_and_runs_ahead():
    made = []

    def items():
        for number in range(6):
            made.append(number)
            yield number

    taken = ahead(items(), 2)
    assert next(taken) == 0
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(made) >= 3
    assert list(taken) == [1, 2, 3, 4, 5]


def test_ahead_raises_what_its_items_raise_and_can_be_left():
    def fails():
        yield 1
        raise KeyError("second")

    taken = ahead(fails(), 2)
    assert next(taken) == 1
    with pytest.raises(KeyError, match="second"):
        next(taken)

    left = ahead(iter(range(100)), 1)
    assert next(left) == 0
    left.close()  # ends the thread, else this would never return


# --- the decoder -------------------------------------------------------------------------------


def test_prepared_jpeg_has_the_pixels_that_pillow_reads(root, tmp_path):
    prepare("folder", root, 55, shards=True, out=tmp_path, workers=1)
    dataset = load("folder", "train", tmp_path, TRAIN)
    assert dataset.stored.format == "jpeg"
    for index in range(12):
        file = tmp_path / f"{index}.jpg"
        file.write_bytes(dataset.stored.read_bytes(index))
        assert np.array_equal(dataset.read_resized(index).image, np.asarray(Image.open(file)))
