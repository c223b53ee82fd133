"""`load` and what all data sets have in common: splits, cache, fingerprints, few shots, batches."""

from __future__ import annotations

import inspect
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from satkit.data import (
    LAYOUTS,
    NAMES,
    Photographs,
    Transform,
    collate,
    default_root,
    few_shot,
    load,
)
from satkit.data import photographs as photographs_module
from satkit.data.splits import stratified_cut


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: 20 cats, 12 dogs, 1 fox; noise, so that every crop differs."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    for name, count in (("cat", 20), ("dog", 12), ("fox", 1)):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{number}.png")
    (folder / "masks/train/cat").mkdir(parents=True)
    for number in range(20):
        mask = Image.fromarray(generator.integers(0, 2, (30, 40), dtype=np.uint8) * 255)
        mask.save(folder / f"masks/train/cat/{number}.png")
    return folder


SMALL = Transform(image_size=24, resize_size=32, train=True)


def train(root: Path, **options: object) -> Photographs:
    dataset = load("folder", "train", root, SMALL, **options)
    assert isinstance(dataset, Photographs)
    return dataset


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        same = torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        assert same, key


# --- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("buterflies", "train", {}, r"data set is 'buterflies'.*tiny_imagenet.*mean 'butterflies'"),
        ("cub", "validation", {}, r"split is 'validation'.*train, val, test"),
        ("folder", "train", {"test_fracton": 0.1}, r"option of folder is 'test_fracton'.*'test_fr"),
        ("cub", "train", {"labels": "family"}, r"option of cub is 'labels'.*cache, holdout"),
        ("folder", "train", {"holdout": 0.7}, r"0\.7.*between 0 and 0\.5"),
        ("folder", "val", {}, r"no split 'val'.*holdout=0\.1"),
        ("folder", "val", {"holdout": 1e-9}, r"no split 'val'.*1e-09"),
    ],
)
def test_a_bad_request_is_refused_with_the_choices(root, name, split, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(name, split, root, **options)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("there", ["nothing", "empty", "other"])
def test_missing_data_says_what_was_sought_what_is_there_and_the_fix(tmp_path, name, there):
    folder = tmp_path / "here"
    if there != "nothing":
        folder.mkdir()
    if there == "other":
        (folder / "holiday.txt").write_text("")
    with pytest.raises(FileNotFoundError) as caught:
        load(name, "train", folder)
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and str(folder) in message
    if name == "folder":
        assert "<root>/<class>" in message
    else:
        found = {"nothing": "nothing at that path", "empty": "it is empty", "other": "holiday.txt"}
        assert "looked for" in message and found[there] in message and "SATKIT_DATA" in message


def test_without_a_root_the_data_folder_is_searched(monkeypatch, tmp_path, root):
    monkeypatch.setenv("SATKIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "folder")):
        load("folder", "train")
    (tmp_path / "folder").symlink_to(root)
    assert len(load("folder", "train")) == 33
    monkeypatch.delenv("SATKIT_DATA")
    assert default_root("cub").parts[-2:] == ("data", "cub")


def test_options_of_every_layout_are_documented():
    for function in LAYOUTS.values():
        options = set(inspect.signature(function).parameters) - {"root", "split"}
        assert all(f"{option}:" in (function.__doc__ or "") for option in options), function


def test_aviary_is_loaded_by_name_too():
    assert "aviary" in NAMES
    dataset = load("aviary", "test", length=3, holdout=0.1, cache=True)
    item = dataset[0]
    assert len(dataset) == 3 and item["image"].shape == (3, 96, 96) and item["mask"].any()
    with pytest.raises(ValueError, match=r"option of aviary is 'lenght'.*'length'"):
        load("aviary", "test", lenght=3)
    with pytest.raises(ValueError, match=r"drawn, not read.*leave it out"):
        load("aviary", "test", root="somewhere")


# --- held-out photographs ------------------------------------------------------------------------


def test_held_out_photographs_leave_train(root):
    full = train(root)
    kept, held_out = train(root, holdout=0.2), load("folder", "val", root, SMALL, holdout=0.2)
    assert len(full) == 33, "without holdout train is whole"
    paths = [{record.path for record in dataset.records} for dataset in (kept, held_out)]
    assert not paths[0] & paths[1]
    assert paths[0] | paths[1] == {record.path for record in full.records}
    counts = Counter(held_out.labels)
    assert counts[0] == 4 and counts[1] in (2, 3) and 2 not in counts
    assert held_out.classes == full.classes


def test_the_training_seed_does_not_move_the_held_out_photographs(root):
    one, same = (load("folder", "val", root, SMALL, seed=s, holdout=0.2) for s in (0, 1))
    other = load("folder", "val", root, SMALL, holdout=0.2, split_seed=1)
    assert one.records == same.records != other.records


def test_a_stratified_cut_has_the_right_size_and_leaves_something_of_every_class():
    labels = [label for label in range(300) for _ in range(1 + label % 5)]
    for fraction in (0.1, 0.25, 0.5):
        chosen = np.array(stratified_cut(labels, fraction, seed=0))
        several = np.bincount(labels)[labels] > 1
        assert abs(chosen[several].mean() - fraction) < 0.03
        left = np.bincount(np.array(labels)[~chosen], minlength=300)
        assert left.min() >= 1
        per_class = np.bincount(np.array(labels)[chosen], minlength=300)
        assert (np.abs(per_class - fraction * np.bincount(labels)) < 1)[
            np.bincount(labels) > 1
        ].all()
    assert not any(stratified_cut(labels, 0.0, seed=0))


# --- items ---------------------------------------------------------------------------------------


def test_the_default_transform_is_the_papers(root):
    assert load("folder", "train", root).transform == Transform(train=True)
    assert load("folder", "val", root, holdout=0.2).transform == Transform()


def test_crops_depend_on_seed_epoch_and_index_alone(root):
    dataset = train(root)
    first = dataset[5]["image"]
    dataset.set_epoch(1)
    second = dataset[5]["image"]
    assert not torch.equal(first, second)
    dataset.set_epoch(0)
    assert torch.equal(dataset[5]["image"], first)
    other = load("folder", "train", root, SMALL, seed=1)
    assert not torch.equal(other[5]["image"], first)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_even_persistent_ones(root, workers):
    dataset = train(root)
    loader = DataLoader(
        dataset, 8, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        images = torch.cat([batch["image"] for batch in loader])
        assert torch.equal(images, torch.stack([dataset[i]["image"] for i in range(33)]))


def test_items_outside_of_the_data_set_are_refused(root):
    for index in (33, -1):
        with pytest.raises(IndexError, match=str(index)):
            train(root)[index]


def test_a_data_set_can_be_sent_to_another_process(root):
    dataset = train(root)
    assert_equal(pickle.loads(pickle.dumps(dataset))[3], dataset[3])


def test_a_photograph_broken_since_loading_is_named(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (9, 9)).save(tmp_path / name / f"{number}.png")
    dataset = load("folder", "train", tmp_path, SMALL, test_fraction=0)
    (tmp_path / "dog/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"dog/1\.png: it is empty"):
        dataset[3]


# --- cache ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [SMALL, Transform(24, 32, protocol="wsoleval")])
def test_cached_items_equal_the_uncached(root, transform):
    plain = load("folder", "train", root, transform)
    cached = load("folder", "train", root, transform, cache=True)
    for epoch in (0, 1):
        for dataset in (plain, cached):
            dataset.set_epoch(epoch)
        for index in (0, 7, 32):
            assert_equal(cached[index], plain[index])
            assert_equal(cached[index], plain[index])


def test_the_cache_reads_once_and_stops_when_full(root, monkeypatch):
    reads: list[str] = []
    read = photographs_module.read_image

    def counting(file: object, name: str, exif: bool) -> Image.Image:
        reads.append(name)
        return read(file, name, exif)

    monkeypatch.setattr(photographs_module, "read_image", counting)
    each = 32 * 32 * 4 + 18  # three colours and a mask; size, and what is there
    monkeypatch.setattr(photographs_module, "CACHE_BYTES", 5 * each + 10)
    dataset = train(root, cache=True)
    for _ in range(3):
        for index in range(8):
            dataset[index]
    assert len(reads) == 8 + 2 * 3, "five are kept, three are read each time"


# --- fingerprints --------------------------------------------------------------------------------


def test_fingerprints_change_with_what_was_read(root, tmp_path):
    before = train(root).fingerprint()
    assert train(root, seed=3, cache=True).fingerprint() == before, "the photographs are the same"
    assert train(root, holdout=0.2).fingerprint() != before
    assert load("folder", "val", root, SMALL, holdout=0.2).fingerprint() != before
    assert len(before) == 16

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "0.png")
    prints = [train(tmp_path).fingerprint()]
    Image.new("RGB", (10, 9)).save(tmp_path / "cat/0.png")
    with (tmp_path / "cat/0.png").open("ab") as file:
        file.write(b"changed")
    prints.append(train(tmp_path).fingerprint())
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat/0.png,1,1,5,5\n")
    prints.append(train(tmp_path).fingerprint())
    assert len(set(prints)) == 3


# --- few shots -----------------------------------------------------------------------------------


@pytest.fixture
def two_classes(tmp_path: Path) -> Photographs:
    for name, count in (("cat", 9), ("dog", 5)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    return load("folder", "train", tmp_path, SMALL, test_fraction=0)


def test_few_shot_is_balanced_seeded_and_nested(two_classes):
    chosen = few_shot(two_classes, shots=3, seed=0)
    assert Counter(chosen.labels) == {0: 3, 1: 3} and len(chosen) == 6
    assert chosen.num_classes == 2 and chosen.classes == ["cat", "dog"]
    assert few_shot(two_classes, 3, seed=0).indices == chosen.indices
    assert set(few_shot(two_classes, 2, seed=0).indices) < set(chosen.indices)
    choices = {tuple(few_shot(two_classes, 3, seed).indices) for seed in range(10)}
    assert len(choices) >= 8


def test_few_shot_items_are_those_of_the_data_set(two_classes):
    chosen = few_shot(two_classes, 2, seed=0)
    chosen.set_epoch(4)
    for position, index in enumerate(chosen.indices):
        assert chosen[position]["index"] == index
        assert_equal(chosen[position], two_classes[index])
    prints = {two_classes.fingerprint(), chosen.fingerprint()}
    assert len(prints | {few_shot(two_classes, 2, seed=1).fingerprint()}) == 3


def test_few_shot_names_a_class_with_too_few(two_classes):
    with pytest.raises(ValueError, match="shots is 6, but the class 'dog' has only 5"):
        few_shot(two_classes, 6, seed=0)
    with pytest.raises(ValueError, match="shots is 0"):
        few_shot(two_classes, 0, seed=0)


# --- batches -------------------------------------------------------------------------------------


def test_collate_keeps_masks_only_where_all_have_them(root):
    dataset = train(root)
    cats = collate([dataset[0], dataset[1]])
    assert cats["image"].shape == (2, 3, 24, 24) and cats["mask"].shape == (2, 24, 24)
    assert cats["label"].tolist() == [0, 0] and cats["index"].tolist() == [0, 1]
    assert len(cats["boxes"]) == 2 and cats["size"] == [(30, 40), (30, 40)]
    assert "mask" not in collate([dataset[0], dataset[25]])


def test_collate_takes_different_numbers_of_boxes():
    item = {"image": torch.zeros(3, 2, 2), "label": 1, "index": 0, "path": "a", "size": (2, 2)}
    batch = collate([item | {"boxes": torch.zeros(n, 4)} for n in (0, 3)])
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 3]
