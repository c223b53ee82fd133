"""Aviary: determinism, exact truth, difficulties, and which part tells what."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from satkit.data import aviary, aviary_shelf
from satkit.data.aviary import (
    COARSE_ATTRIBUTES,
    DIFFICULTIES,
    PART_NAMES,
    SPECIES,
    SPLITS,
    Aviary,
    Drawing,
    draw_bird,
    random_traits,
)
from satkit.data.transforms import Transform

CHANCE = 1 / len(SPECIES)


def digest(drawing: Drawing) -> str:
    arrays = (drawing.image, drawing.mask, drawing.parts, drawing.boxes)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def some(count: int = 20, **options: Any) -> list[Drawing]:
    dataset = Aviary("train", size=64, length=count, **options)
    return [dataset.drawing(k) for k in range(count)]


def bounds(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


# ------------------------------------------------------------------------------- determinism


def test_same_seed_draws_the_same_in_another_process_and_thread_count() -> None:
    code = (
        "import cv2, hashlib; cv2.setNumThreads(1)\n"
        "from satkit.data.aviary import draw_bird\n"
        "d = draw_bird([3, 1, 4], 110, label=5)\n"
        "arrays = (d.image, d.mask, d.parts, d.boxes)\n"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = (digest(draw_bird([3, 1, 4], 110, label=5)) for _ in range(2))
    assert first == second == other.stdout.strip()


def test_order_of_access_does_not_matter() -> None:
    dataset = Aviary("val", size=64)
    late = digest(dataset.drawing(7))
    dataset.drawing(3)
    assert digest(Aviary("val", size=64, length=8).drawing(7)) == late


def test_splits_seeds_and_indices_give_different_drawings() -> None:
    drawings = [Aviary(split, size=64).drawing(k) for split in SPLITS for k in range(3)]
    drawings += [Aviary("train", size=64, drawing_seed=1).drawing(k) for k in range(3)]
    assert len({digest(drawing) for drawing in drawings}) == len(drawings)


@pytest.mark.parametrize("size", [32, 96, 110, 225])
def test_any_size(size: int) -> None:
    drawing = draw_bird(1, size, label=2)
    assert drawing.image.shape == (size, size, 3)
    assert drawing.image.dtype == np.uint8
    assert drawing.mask.shape == drawing.parts.shape == (size, size)


def test_sizes_show_the_same_bird() -> None:
    small, large = (draw_bird(11, size, label=2) for size in (64, 128))
    np.testing.assert_allclose(large.boxes / 2, small.boxes, atol=2)


# ------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize("variant", ["every_part", "head_only"])
def test_box_mask_and_parts_agree(variant: str) -> None:
    for drawing in some(variant=variant):
        assert drawing.boxes.tolist() == [bounds(drawing.mask)]
        np.testing.assert_array_equal(drawing.mask, drawing.parts > 0)


def test_every_part_shows() -> None:
    for drawing in some(40):
        shown = np.bincount(drawing.parts.ravel(), minlength=len(PART_NAMES))
        assert (shown[1:] > 0).all()


def test_boxes_cover_a_varied_part_of_the_image() -> None:
    corners = np.array([drawing.boxes[0].reshape(2, 2) for drawing in some(60)]) / 64
    area = (corners[:, 1] - corners[:, 0]).prod(1)
    assert 0.12 < area.min() < 0.22 < 0.42 < area.max() < 0.6
    centers = corners.mean(1)
    assert (centers.std(0) > 0.08).all()


@pytest.mark.parametrize("seed", range(6))
def test_mask_follows_the_pixels(seed: int) -> None:
    """Other colours in the same pose and scene change the pixels of the mask and no others."""
    names = ("crown", "face", "throat", "back", "breast", "wing", "bar", "tail", "tip")
    traits = random_traits(np.random.default_rng(seed))._replace(stripe="plain", pattern="plain")
    dark, light = (
        draw_bird(seed, 96, traits=traits._replace(**dict.fromkeys(names, color)))
        for color in ("black", "white")
    )
    np.testing.assert_array_equal(dark.mask, light.mask)
    change = np.abs(dark.image.astype(int) - light.image).max(-1)
    blurred = cv2.dilate(dark.mask.astype(np.uint8), np.ones((5, 5))) > 0  # edges, lens
    assert change[~blurred].max() == 0
    assert (change[dark.mask] > 20).mean() > 0.9  # all but bill, legs and eye


# ------------------------------------------------------------------------------------ labels


def test_labels_are_balanced_and_named() -> None:
    dataset = Aviary("train", length=2 * len(SPECIES), size=32)
    labels = [dataset.drawing(k).label for k in range(len(dataset))]
    assert np.bincount(labels).tolist() == [2] * len(SPECIES)
    assert dataset.num_classes == len(dataset.classes) == len(set(dataset.classes)) == len(SPECIES)


def test_species_differ_in_head_colors_and_no_other_part_separates_them() -> None:
    assert len({species.head[:3] for species in SPECIES}) == len(SPECIES)
    for part in ("body", "wing", "tail", "build"):
        kinds = {getattr(species, part) for species in SPECIES}
        assert 2 < len(kinds) <= len(SPECIES) // 2
    together = {species[2:] for species in SPECIES}
    assert len(together) == len(SPECIES)


def test_coarse_task_has_attributes_that_no_species_has() -> None:
    dataset = Aviary("pretrain", "coarse", size=32, length=30)
    heads = {species.head for species in SPECIES}
    for k in range(len(dataset)):
        drawing = dataset.drawing(k)
        assert isinstance(drawing.label, dict)
        values = {name: COARSE_ATTRIBUTES[name][v] for name, v in drawing.label.items()}
        assert values.items() <= drawing.attributes.items()
        head = ("crown", "face", "throat", "stripe", "beak", "crest")
        assert tuple(drawing.attributes[name] for name in head) not in heads
    assert dataset.num_classes == sum(len(values) for values in COARSE_ATTRIBUTES.values())


# ----------------------------------------------------------- which part tells the species


def part_features(drawing: Drawing) -> np.ndarray:
    """Mean colour of the upper and lower half of each part, and its spread, [4, 9]."""
    rows = []
    for part in range(1, len(PART_NAMES)):
        pixels = drawing.image[drawing.parts == part].astype(float)
        half = max(1, len(pixels) // 2)
        rows.append([pixels[:half].mean(0), pixels[-half:].mean(0), pixels.std(0)])
    return np.array(rows).reshape(4, 9)


@cache
def accuracy_by_part(variant: str) -> dict[str, float]:
    """Linear discriminant analysis on each part's colours alone."""

    def load(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        dataset = Aviary(split, variant=variant, size=64, length=count)
        drawings = [dataset.drawing(k) for k in range(count)]
        features = np.array([part_features(drawing) for drawing in drawings])
        return features, np.array([drawing.label for drawing in drawings])

    (train, labels), (test, truth) = load("train", 400), load("val", 200)
    result = {}
    for k, name in enumerate(PART_NAMES[1:]):
        x = train[:, k]
        means = np.array([x[labels == c].mean(0) for c in range(len(SPECIES))])
        rest = x - means[labels]
        inverse = np.linalg.inv(rest.T @ rest / len(x) + 20 * np.eye(x.shape[1]))
        scores = test[:, k] @ inverse @ means.T - (means @ inverse * means).sum(1) / 2
        result[name] = float((scores.argmax(1) == truth).mean())
    return result


def test_every_part_tells_something_and_the_head_most() -> None:
    accuracy = accuracy_by_part("every_part")
    assert accuracy["head"] > 0.8
    for part in ("wing", "body", "tail"):
        assert 3 * CHANCE < accuracy[part] < accuracy["head"] - 0.2


def test_head_only_leaves_body_and_tail_at_chance() -> None:
    accuracy = accuracy_by_part("head_only")
    assert accuracy["head"] > 0.75
    deviation = (CHANCE * (1 - CHANCE) / 200) ** 0.5
    assert accuracy["body"] < CHANCE + 4 * deviation
    assert accuracy["tail"] < CHANCE + 4 * deviation


# ------------------------------------------------------------------------------ difficulties


def components(mask: np.ndarray) -> int:
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2]
    return int((stats[1:, cv2.CC_STAT_AREA] >= 8).sum())


def test_no_difficulty_by_default() -> None:
    for drawing in some():
        assert not any(drawing.difficulties[name] for name in DIFFICULTIES)
        assert drawing.label == drawing.difficulties["true_label"]


def test_occlusion_splits_the_mask() -> None:
    plain, occluded = some(40), some(40, difficulties={"occlusion": 1.0})
    assert np.mean([components(drawing.mask) > 1 for drawing in occluded]) > 0.9
    for before, after in zip(plain, occluded, strict=True):
        assert not (after.mask & ~before.mask).any()
        assert 0.3 < after.mask.sum() / before.mask.sum() < 0.98


def test_context_ties_the_scene_to_the_species() -> None:
    def scenes(**options: Any) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for drawing in some(60, **options):
            found.setdefault(drawing.label, set()).add(drawing.attributes["scene"])  # type: ignore[arg-type]
        return found

    tied = scenes(difficulties={"context": 1.0})
    assert all(len(names) == 1 for names in tied.values())
    assert len(set.union(*tied.values())) > 3
    assert np.mean([len(names) for names in scenes().values()]) > 2


def test_reflection_is_not_in_the_mask() -> None:
    """The reflection changes the water below the bird; the mask ends where the water begins."""
    for k in range(8):
        drawing = draw_bird(k, 96, label=k, difficulties={"reflection": 1.0})
        assert drawing.attributes["scene"] == drawing.attributes["perch"] == "water"
        y = drawing.boxes[0, 3]
        assert not drawing.mask[y:].any()
        height = min(y - drawing.boxes[0, 1], 96 - y)
        bird = drawing.image[y - height : y][::-1].astype(float)[2:]
        water = drawing.image[y : y + height].astype(float)[2:]
        inside = drawing.mask[y - height : y][::-1][2:]
        same = np.corrcoef((bird - bird.mean((0, 1)))[inside].ravel(), water[inside].ravel())[0, 1]
        assert inside.sum() > 50
        assert same > 0.3


def test_partial_birds_touch_the_frame() -> None:
    for drawing in some(difficulties={"partial": 1.0}):
        x0, y0, x1, y1 = drawing.boxes[0]
        assert x0 == 0 or y0 == 0 or x1 == 64 or y1 == 64
        assert drawing.mask.any()


def test_multiple_birds_have_a_box_each() -> None:
    for drawing in some(difficulties={"multiple": 1.0}):
        assert drawing.boxes.shape == (2, 4)
        union = bounds(drawing.mask)
        assert [*drawing.boxes[:, :2].min(0), *drawing.boxes[:, 2:].max(0)] == union


def test_label_errors_come_at_their_rate_and_keep_the_truth() -> None:
    drawings = some(100, difficulties={"label_error": 0.3})
    wrong = np.array([drawing.label != drawing.difficulties["true_label"] for drawing in drawings])
    assert wrong.tolist() == [drawing.difficulties["label_error"] for drawing in drawings]
    assert 0.15 < wrong.mean() < 0.45
    assert [d.difficulties["true_label"] for d in drawings] == [k % 20 for k in range(100)]


def test_all_difficulties_together() -> None:
    for drawing in some(30, difficulties=dict.fromkeys(DIFFICULTIES, 0.5)):
        np.testing.assert_array_equal(drawing.mask, drawing.parts > 0)
        assert len(drawing.boxes) == 1 + drawing.difficulties["multiple"]


# ------------------------------------------------------------------------------------- items


def test_item_without_transform() -> None:
    item = Aviary("train", size=64)[12]
    assert item["image"].shape == (3, 64, 64) and item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() < item["image"].max() <= 1
    assert item["boxes"].dtype == torch.float32 and item["boxes"].shape == (1, 4)
    assert item["mask"].dtype == torch.bool and item["parts"].dtype == torch.uint8
    assert item["label"] == 12 and item["index"] == 12
    assert item["path"] == "aviary/train/00012" and item["size"] == (64, 64)


def test_item_with_transform_depends_on_the_epoch_only_through_the_transform() -> None:
    dataset = Aviary("train", size=64, transform=Transform(48, 56, train=True))
    views = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        views.append(dataset[5])
    assert torch.equal(views[0]["image"], views[2]["image"])
    assert not torch.equal(views[0]["image"], views[1]["image"])
    assert views[0]["mask"].shape == views[0]["parts"].shape == (48, 48)
    assert torch.equal(views[0]["mask"], views[0]["parts"] > 0)


def test_cache_keeps_drawings_and_nothing_else() -> None:
    kept, drawn = Aviary("train", size=64), Aviary("train", size=64, cache=False)
    assert kept.drawing(4) is kept.drawing(4)
    assert kept.drawing(4) is Aviary("train", size=64, length=10).drawing(4)
    assert kept.drawing(4) is not Aviary("train", size=64, drawing_seed=1).drawing(4)
    assert drawn.drawing(4) is not drawn.drawing(4)
    kept[4]["mask"].zero_()
    assert digest(kept.drawing(4)) == digest(drawn.drawing(4))


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for a process that has drawn nothing yet."""
    monkeypatch.setenv("SATKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(aviary, "_KEPT", {})
    return tmp_path / "aviary"


def forget(monkeypatch: pytest.MonkeyPatch, *, draw: bool) -> None:
    """Be another process, which cannot draw where `draw` is False."""
    monkeypatch.setattr(aviary, "_KEPT", {})
    if not draw:
        monkeypatch.setattr(aviary, "draw_bird", None)


@pytest.mark.parametrize(
    "options", [{}, {"task": "coarse"}, {"difficulties": dict.fromkeys(DIFFICULTIES, 0.5)}]
)
def test_another_process_finds_the_drawings(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    drawn = {k: Aviary(size=64, cache=False, **options).drawing(k) for k in (11, 0, 5)}
    for k in drawn:
        Aviary(size=64, **options).drawing(k)
    forget(monkeypatch, draw=False)
    dataset = Aviary(size=64, **options)
    for k, drawing in drawn.items():
        found = dataset.drawing(k)
        for name, value in drawing._asdict().items():
            if isinstance(value, np.ndarray):
                other = getattr(found, name)
                assert value.dtype == other.dtype
                np.testing.assert_array_equal(value, other)
            else:
                assert repr(getattr(found, name)) == repr(value)
    with pytest.raises(TypeError):  # nobody has drawn it
        dataset.drawing(1)


@pytest.mark.parametrize("damage", ["byte", "cut"])
def test_half_a_drawing_is_drawn_again(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    before = digest(Aviary(size=64).drawing(0))
    (file,) = cache_folder.iterdir()
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content if damage == "byte" else content[:9000])
    forget(monkeypatch, draw=True)
    aviary_shelf._open.cache_clear()
    assert digest(Aviary(size=64).drawing(0)) == before
    forget(monkeypatch, draw=False)
    assert digest(Aviary(size=64).drawing(0)) == before  # it was put there again


def test_other_code_draws_anew(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Aviary(size=64).drawing(0)
    forget(monkeypatch, draw=False)
    monkeypatch.setattr(aviary_shelf, "_code", lambda: "other")
    with pytest.raises(TypeError):
        Aviary(size=64).drawing(0)


def test_drawings_that_were_not_used_for_long_make_room(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        Aviary(size=64, drawing_seed=seed).drawing(0)
    files = sorted(cache_folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    one = files[0].stat().st_blocks * 512
    os.utime(files[1], (1, 1))
    monkeypatch.setattr(aviary_shelf, "FOLDER_BYTES", aviary_shelf.FILE_BYTES + one)
    Aviary(size=64, drawing_seed=3).drawing(0)
    assert files[0].exists() and not files[1].exists()


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_without_a_place_to_write_it_draws(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    if trouble == "no folder":
        cache_folder.write_text("a file")
    else:
        monkeypatch.setattr(os, "pwrite", full)
    drawn = Aviary(size=64, cache=False).drawing(3)
    assert digest(Aviary(size=64).drawing(3)) == digest(drawn)


def test_default_lengths() -> None:
    assert {split: len(Aviary(split)) for split in SPLITS} == SPLITS
    assert len(Aviary("pretrain", length=123_456)) == 123_456


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, "Did you mean 'train'"),
        ({"task": "specie"}, "Did you mean 'species'"),
        ({"variant": "heads_only"}, "Did you mean 'head_only'"),
        ({"difficulties": {"oclusion": 0.5}}, "Did you mean 'occlusion'"),
        ({"difficulties": {"partial": 1.5}}, "1.5; expected a number from 0"),
        ({"difficulties": {"partial": -0.1}}, "-0.1; expected a number from 0"),
        ({"difficulties": {"partial": float("nan")}}, "nan; expected a number from 0"),
        ({"difficulties": {"partial": "often"}}, "'often'; expected a number from 0"),
        ({"size": 8}, "size is 8; expected at least 32"),
        ({"length": 0}, "length is 0; expected at least 1"),
        ({"drawing_seed": -1}, "expected 0 or more"),
        ({"task": "coarse", "variant": "head_only"}, "only to the species task"),
    ],
)
def test_bad_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Aviary(**options)


def test_bad_label_and_index() -> None:
    with pytest.raises(ValueError, match=r"label is 20; expected 0\.\.19"):
        draw_bird(0, label=20)
    with pytest.raises(IndexError, match=r"index is 1000; expected 0\.\.999"):
        Aviary("train").drawing(1000)
