"""Masks of several objects, and regions that do not count, from the files to PxAP and pIoU."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from satkit.data import Photographs, Transform, collate
from satkit.data.files import Listing, Record, check
from satkit.evaluation import evaluate
from satkit.metrics import MaskLocalization
from satkit.model import Localization

SIDE = 32
TRANSFORM = Transform(image_size=SIDE, resize_size=SIDE, protocol="wsoleval")


def write_mask(path: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Write a rectangle in a mask of (w, h); return it as the WSOL evaluation resizes it."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(mask).convert("1").save(path)
    return cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0.5


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, np.ndarray]:
    """Two photographs, 50 x 40; the masks have other sizes, as those of OpenImages have."""
    for name in ("a", "b"):
        noise = np.random.default_rng(ord(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    one = write_mask(tmp_path / "a_1.png", (100, 80), (8, 10, 31, 37))
    two = write_mask(tmp_path / "a_2.png", (75, 60), (20, 25, 50, 55))
    ignore = write_mask(tmp_path / "a_ignore.png", (150, 120), (30, 40, 149, 70))
    third = write_mask(tmp_path / "b_1.png", (100, 80), (50, 10, 90, 71))
    return {"a": one | two, "a ignore": ignore & ~(one | two), "b": third}


@pytest.fixture
def dataset(tmp_path: Path, truth: dict[str, np.ndarray]) -> Photographs:
    records = [
        Record("a.png", 0, mask=("a_1.png", "a_2.png"), ignore="a_ignore.png"),
        Record("b.png", 1, mask=("b_1.png",)),
    ]
    return Photographs("set", "test", Listing(tmp_path, ["x", "y"], records), TRANSFORM)


def test_masks_of_a_photograph_are_united_and_taken_out_of_what_is_ignored(dataset, truth):
    item = dataset[0]
    assert item["mask"].dtype == item["ignore"].dtype == torch.bool
    assert np.array_equal(item["mask"], truth["a"])
    assert np.array_equal(item["ignore"], truth["a ignore"]) and item["ignore"].any()
    assert not (item["mask"] & item["ignore"]).any()


def test_a_photograph_without_ignored_region_ignores_nothing_and_can_be_stacked(dataset, truth):
    assert np.array_equal(dataset[1]["mask"], truth["b"])
    batch = collate([dataset[0], dataset[1]])
    assert batch["ignore"].shape == batch["mask"].shape == (2, SIDE, SIDE)
    assert batch["ignore"][0].any() and not batch["ignore"][1].any()


def test_sets_without_ignored_regions_have_no_such_key(dataset):
    listing = Listing(dataset.root, dataset.classes, [dataset.records[1]])
    item = Photographs("set", "test", listing, TRANSFORM)[0]
    assert "mask" in item and "ignore" not in item


def test_ignored_regions_follow_the_crop(dataset):
    train = Transform(image_size=24, resize_size=SIDE, train=True)
    cropped = Photographs("set", "train", dataset_listing(dataset), train)[0]
    assert cropped["mask"].shape == cropped["ignore"].shape == (24, 24)
    centre = Transform(image_size=24, resize_size=SIDE)
    item = Photographs("set", "test", dataset_listing(dataset), centre)[0]
    assert torch.equal(item["ignore"], dataset[0]["ignore"][4:28, 4:28])


def dataset_listing(dataset: Photographs) -> Listing:
    return Listing(dataset.root, dataset.classes, dataset.records)


def test_a_missing_mask_is_named(dataset):
    (dataset.root / "a_2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 6 files are missing .*a_2\.png"):
        check(dataset_listing(dataset), "set")


def test_the_fingerprint_sees_every_mask(dataset):
    prints = {dataset.fingerprint()}
    for name in ("a_2.png", "a_ignore.png"):
        with (dataset.root / name).open("ab") as file:
            file.write(b"changed")
        prints.add(dataset.fingerprint())
    assert len(prints) == 3


class Bright(nn.Module):
    """A localizer whose map is the brightness of 4 x 4 pixels."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        maps = nn.functional.avg_pool2d(images.mean(dim=1), 4)  # [B, 8, 8]
        return Localization(images.new_zeros(len(images), 2), maps, None)


def test_ignored_pixels_count_for_nothing_in_an_evaluation(dataset, truth):
    found = evaluate(Bright(), dataset, protocol="wsoleval", batch_size=1, device="cpu")
    maps = Bright()(torch.stack([dataset[0]["image"], dataset[1]["image"]])).maps
    by_hand, without = MaskLocalization(image_size=SIDE), MaskLocalization(image_size=SIDE)
    masks = np.stack([truth["a"], truth["b"]])
    ignore = np.stack([truth["a ignore"], np.zeros((SIDE, SIDE), dtype=bool)])
    by_hand.update(maps, masks, ignore)
    without.update(maps, masks)
    for key in ("pxap", "piou"):
        assert found[key] == pytest.approx(float(by_hand.compute()[key]), abs=1e-9)
        assert abs(found[key] - float(without.compute()[key])) > 0.1
    assert int(by_hand.outside.sum() + by_hand.inside.sum()) == 2 * SIDE**2 - ignore.sum()
