"""Prepared sets: equal to the raw ones, whole after any kill, and read from anywhere."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import tarfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from satkit.data import (
    LAYOUTS,
    Photographs,
    Transform,
    collate,
    denormalize,
    few_shot,
    load,
    splits,
)
from satkit.data import prepare as prepare_module
from satkit.data import prepared as prepared_module
from satkit.data.fetch import extract
from satkit.data.files import Listing, Record
from satkit.data.prepare import prepare
from tests import miniatures
from tests.server import Site, serve

SMALL = Transform(image_size=24, resize_size=32)
TRAIN = Transform(image_size=24, resize_size=32, train=True)


def unpacked(name: str, folder: Path) -> Path:
    """A set as its authors pack it."""
    tops = {"CUB_200_2011.tgz": "CUB_200_2011", "segmentations.tgz": "segmentations"}
    for file, content in getattr(miniatures, name)().items():
        archive = miniatures.write(folder / "archives", {file: content}) / file
        if name == "tiny_imagenet":
            return archive
        extract(archive, folder / tops[file], tops[file])
    return folder


@pytest.fixture(params=["cub", "tiny_imagenet"])
def raw(request, tmp_path) -> tuple[str, Path]:
    """A set in folders with masks beside it, and one in a .zip."""
    return request.param, unpacked(request.param, tmp_path)


@pytest.fixture
def own(tmp_path) -> Path:
    """A user's folder with boxes and masks of some, and a photograph that lies on its side."""
    files = {
        f"{name}/{number}.jpg": miniatures.photograph(number, (40 + number, 30))
        for name in ("cat", "dog")
        for number in range(40)
    }
    files["boxes.csv"] = miniatures.lines("file,x0,y0,x1,y1", "cat/3.jpg,1.5,2,20,9")
    files["masks/dog/4.png"] = miniatures.mask((3, 4, 20, 21), (44, 30))
    miniatures.write(tmp_path / "own", files)
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = Image.open(tmp_path / "own/cat/3.jpg")
    pixels.save(tmp_path / "own/cat/3.jpg", exif=exif)
    return tmp_path / "own"


def prepare_in(root: Path, name: str = "folder", **options: Any) -> Path:
    return prepare(name, root, options.pop("side", 32), workers=1, **options)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        same = torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        assert same, key


def raw_and_prepared(
    name: str, split: str, root: Path, transform: Transform, **options: Any
) -> tuple[Photographs, Photographs]:
    """Load the raw set, prepare it, and load it again."""
    before = load(name, split, root, transform, **options)
    prepare_in(root, name, side=transform.side)
    after = load(name, split, root, transform, **options)
    assert before.stored is None and after.stored is not None
    return before, after


# --- equal to the raw set ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [SMALL, TRAIN, Transform(24, 32, protocol="wsoleval"), Transform(24, 32, ten_crop=True)],
    ids=["sat", "train", "wsoleval", "ten_crop"],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_items_equal_those_of_the_raw_set(raw, split, transform):
    before, after = raw_and_prepared(raw[0], split, raw[1], transform)
    assert before.fingerprint() == after.fingerprint()
    assert before.records == after.records and before.classes == after.classes
    for index in range(len(before)):
        assert_same(before[index], after[index])


def test_a_prepared_set_needs_no_raw_one(raw, tmp_path_factory):
    name, root = raw
    before = [*load(name, "test", root, SMALL)]
    folder = prepare_in(root, name)
    kept = tmp_path_factory.mktemp("kept")
    (kept / "prepared").mkdir()
    folder.rename(kept / "prepared/32")
    shutil.rmtree(root) if root.is_dir() else root.unlink()
    after = load(name, "test", kept, SMALL)
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one["image"], other["image"]) and torch.equal(
            one["boxes"], other["boxes"]
        )


def test_ones_own_photographs_with_odd_frames_boxes_and_masks(own):
    for split in ("train", "test"):
        before = [*load("folder", split, own, SMALL)]
        prepare_in(own)
        for one, other in zip(before, load("folder", split, own, SMALL), strict=True):
            assert_same(one, other)
        shutil.rmtree(own / "prepared")


def test_jpeg_in_shards_is_near_the_raw_set(raw):
    """Within 2 of 255 grey levels on average; boxes, masks and sizes are the same."""
    name, root = raw
    before = load(name, "test", root, SMALL)
    prepare_in(root, name, shards=True)
    after = load(name, "test", root, SMALL)
    assert before.fingerprint() != after.fingerprint(), "other pixels are other data"
    for one, other in zip(before, after, strict=True):
        assert 0 < grey_levels(one.pop("image"), other.pop("image")) < 2
        assert_same(one, other)


def grey_levels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean difference of two images as the model sees them, of 255."""
    return float(np.abs(denormalize(one).astype(float) - denormalize(other)).mean())


def test_masks_of_several_objects_and_ignored_regions(tmp_path, monkeypatch):
    """As in OpenImages: any size, united; ignored only where there is no object."""
    files = {f"{n}.jpg": miniatures.photograph(n) for n in range(3)}
    files |= {"a.png": miniatures.mask((0, 0, 9, 9), (20, 20))}
    files |= {"b.png": miniatures.mask((9, 9, 30, 28)), "i.png": miniatures.mask((5, 5, 40, 30))}
    root = miniatures.write(tmp_path, files)
    records = [
        Record("0.jpg", 0, mask=("a.png", "b.png"), ignore="i.png"),
        Record("1.jpg", 1, mask=("a.png",)),
        Record("2.jpg", 1, mask="b.png", size=(30, 40), boxes=((1.0, 2.0, 3.0, 4.0),)),
    ]
    listing = Listing(root, ["x", "y"], records)
    monkeypatch.setitem(LAYOUTS, "birds", lambda root, split: listing)
    for shards in (False, True):
        before = load("birds", "test", root, SMALL)
        prepare_in(root, "birds", shards=shards)
        after = load("birds", "test", root, SMALL)
        assert after.stored and before.records == after.records
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one["mask"], other["mask"]) and one["mask"].any()
            assert torch.equal(one["ignore"], other["ignore"])
        shutil.rmtree(root / "prepared")


def test_held_out_and_few_shot_choose_the_same(own):
    options = {"holdout": 0.2}
    before = {s: load("folder", s, own, TRAIN, **options) for s in ("train", "val")}
    shots = few_shot(before["train"], 4, 0)
    prepare_in(own)
    for split, dataset in before.items():
        after = load("folder", split, own, TRAIN, **options)
        assert after.stored and after.fingerprint() == dataset.fingerprint()
        after.set_epoch(2)
        dataset.set_epoch(2)
        for index in (0, 5, len(after) - 1):
            assert_same(after[index], dataset[index])
    after = few_shot(load("folder", "train", own, TRAIN, **options), 4, 0)
    assert after.indices == shots.indices and after.fingerprint() == shots.fingerprint()


def test_workers_read_shards_and_files(own):
    for shards in (False, True):
        prepare_in(own, shards=shards)
        dataset = load("folder", "train", own, SMALL)
        dataset[0]  # the processes inherit what is open
        loader = DataLoader(dataset, 8, num_workers=2, collate_fn=collate)
        images = torch.cat([batch["image"] for batch in loader])
        assert torch.equal(images, torch.stack([item["image"] for item in dataset]))


def test_real_tiny_imagenet(shared, tmp_path):
    """A part of the photographs, since all would take minutes."""
    source = shared / "data/tiny-imagenet-100x300.zip"
    before = load("tiny_imagenet", "test", source)
    some = Photographs("tiny_imagenet", "test", listing_of(before, 60), Transform())
    for shards in (False, True):
        folder = prepare_listing(listing_of(before, 60), tmp_path / str(shards), shards)
        after = load("tiny_imagenet", "test", folder)
        for one, other in zip(some, after, strict=True):
            if shards:
                assert grey_levels(one["image"], other["image"]) < 2
            else:
                assert torch.equal(one["image"], other["image"])
            assert torch.equal(one["boxes"], other["boxes"]) and one["size"] == other["size"]


def listing_of(dataset: Photographs, count: int) -> Listing:
    return Listing(dataset.root, dataset.classes, dataset.records[:count], dataset.exif)


def prepare_listing(listing: Listing, out: Path, shards: bool) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYOUTS, "tiny_imagenet", lambda root, split: listing)
        prepare("tiny_imagenet", listing.root, shards=shards, splits=["test"], out=out, workers=2)
    return out


# --- what is written -----------------------------------------------------------------------------


def test_annotations_are_plain(raw):
    folder = prepare_in(raw[1], raw[0])
    table = pq.read_table(folder / "annotations.parquet").to_pandas()
    test = load(raw[0], "test", raw[1], SMALL)
    rows = table[table["split"] == "test"]
    assert list(rows["path"]) == [record.path for record in test.records]
    assert list(rows["class"]) == [test.classes[record.label] for record in test.records]
    for row, record in zip(rows.itertuples(), test.records, strict=True):
        assert np.array_equal(np.stack(row.boxes), record.boxes)
        size = (30, 40) if raw[0] == "cub" else (64, 64)
        assert (row.height, row.width) == size
    assert rows["shard"].isna().all() and rows["offset"].isna().all()


def test_shards_are_webdataset_and_the_annotations_point_into_them(own, monkeypatch):
    monkeypatch.setattr(prepare_module, "SHARD", 10)
    folder = prepare_in(own, shards=True)
    table = pq.read_table(folder / "annotations.parquet").to_pandas()
    seen = []
    for path in sorted(folder.glob("*.tar")):
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, ending = member.name.split(".", 1)
                content = tar.extractfile(member).read()
                samples.setdefault(key, {})[ending] = content
                if ending != "cls":
                    row = table[(table["shard"] == path.name) & (table["index"] == int(key))].iloc[
                        0
                    ]
                    number = ["jpg", *(f"{name}.png" for name in row["maps"])].index(ending)
                    start, length = row["offset"][number], row["length"][number]
                    assert path.read_bytes()[start : start + length] == content
        for key, sample in samples.items():
            row = row_of(table, path, key)
            assert int(sample["cls"]) == row["label"]
            assert Image.open(io.BytesIO(sample["jpg"])).size == (32, 32)
            seen.append((row["split"], int(key)))
        assert len(samples) <= 10
    assert sorted(seen) == sorted(zip(table["split"], table["index"], strict=True))


def row_of(table: Any, shard: Path, key: str) -> Any:
    rows = table[(table["shard"] == shard.name) & (table["index"] == int(key))]
    assert len(rows) == 1
    return rows.iloc[0]


def test_shards_for_training_mix_the_classes(own, monkeypatch):
    monkeypatch.setattr(prepare_module, "SHARD", 16)
    prepare_in(own, shards=True)
    train = load("folder", "train", own, SMALL)
    for shard in range(4):
        labels = np.array(train.labels)[train.shards == shard]
        assert 2 <= np.count_nonzero(labels) <= len(labels) - 2


def test_nothing_is_done_twice_and_anything_else_anew(own, capsys):
    folder = prepare_in(own)
    before = (folder / "annotations.parquet").stat().st_mtime_ns
    prepare_in(own)
    assert "is prepared already" in capsys.readouterr().out
    assert (folder / "annotations.parquet").stat().st_mtime_ns == before
    prepare_in(own, shards=True)
    assert not list(folder.rglob("*.png")) and list(folder.glob("*.tar"))
    prepare_in(own, split_seed=5)
    assert load("folder", "test", own, SMALL, split_seed=5).stored
    assert not load("folder", "test", own, SMALL).stored, "its split is another"


def test_an_unreadable_photograph_stops_it_and_it_goes_on_afterwards(own):
    good = (own / "dog/30.jpg").read_bytes()
    (own / "dog/30.jpg").write_bytes(good[:-100])
    with pytest.raises(ValueError, match=r"dog/30\.jpg"):
        prepare("folder", own, 32, workers=2)
    assert not load("folder", "train", own, SMALL).stored
    (own / "dog/30.jpg").write_bytes(good)
    prepare_in(own)
    assert load("folder", "train", own, SMALL).stored


def test_a_photograph_of_another_size_than_stated_stops_it(tmp_path, monkeypatch):
    root = miniatures.write(tmp_path, {"0.jpg": miniatures.photograph(0)})
    listing = Listing(root, ["x"], [Record("0.jpg", 0, ((1, 1, 2, 2),), size=(31, 40))])
    monkeypatch.setitem(LAYOUTS, "birds", lambda root, split: listing)
    with pytest.raises(ValueError, match=r"drawn for \(31, 40\).*but it has \(30, 40\)"):
        prepare_in(root, "birds")


def test_a_full_disk_is_said_first(own, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"80 prepared photographs \(an estimate\) needs"):
        prepare_in(own)


# --- what load does with it ----------------------------------------------------------------------


def test_a_size_that_was_not_prepared_is_read_from_the_raw_set(own):
    prepare_in(own)
    assert load("folder", "test", own, SMALL).stored
    assert not load("folder", "test", own, Transform(24, 33)).stored


def test_without_the_raw_set_the_sizes_that_there_are_are_told(own, tmp_path):
    prepare_in(own, out=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"prepared for photographs of \[32\] pixels"):
        load("folder", "test", tmp_path / "out", Transform(24, 33))


@pytest.mark.parametrize("change", ["photograph", "new", "box", "mask"])
def test_ones_own_set_that_has_changed_is_refused(own, change):
    prepare_in(own)
    if change == "photograph":
        (own / "cat/1.jpg").write_bytes(miniatures.photograph(1, (99, 30)))
    elif change == "new":
        (own / "cat/new.jpg").write_bytes(miniatures.photograph(1))
    elif change == "box":
        (own / "boxes.csv").write_bytes(miniatures.lines("file,x0,y0,x1,y1", "cat/4.jpg,1,2,9,9"))
    else:
        miniatures.write(own, {"masks/cat/1.png": miniatures.mask((1, 2, 3, 4), (41, 30))})
    with pytest.raises(ValueError, match="have changed since they were prepared"):
        load("folder", "train", own, SMALL)
    prepare_in(own)
    assert load("folder", "train", own, SMALL).stored


def test_damage_is_named(own):
    folder = prepare_in(own)
    dataset = load("folder", "train", own, SMALL)
    path = folder / f"{dataset.records[0].path}.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=rf"{dataset.records[0].path}\.png"):
        dataset[0]
    path.write_bytes(miniatures.photograph(0, format="png"))
    with pytest.raises(ValueError, match=r"is \(30, 40\) \(h, w\), not 32 squared"):
        dataset[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        dataset[0]


def test_a_shard_cut_short_is_named(own):
    folder = prepare_in(own, shards=True)
    shard = folder / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    dataset = load("folder", "train", own, SMALL)
    with pytest.raises(ValueError, match=r"train-000000\.tar"):
        list(dataset)


def test_a_later_version_is_refused(own, monkeypatch):
    monkeypatch.setattr(prepare_module, "VERSION", 99)
    prepare_in(own)
    with pytest.raises(ValueError, match=r"version 99, this satkit reads 1: prepare the set again"):
        load("folder", "train", own, SMALL)


# --- the order of an epoch -----------------------------------------------------------------------


def test_an_epoch_visits_each_item_once_and_shards_together(own, monkeypatch):
    monkeypatch.setattr(prepare_module, "SHARD", 4)
    monkeypatch.setattr(splits, "WINDOW", 3)
    prepare_in(own, shards=True)
    train = load("folder", "train", own, TRAIN)
    assert len(train) == 64 and len(set(train.shards)) == 16
    order = train.epoch_order(np.random.default_rng([0, 1]))
    assert sorted(order) == list(range(64))
    assert order == train.epoch_order(np.random.default_rng([0, 1])), "deterministic"
    assert order != train.epoch_order(np.random.default_rng([0, 2]))
    windows = [set(train.shards[order[start : start + 12]]) for start in range(0, 64, 12)]
    assert max(map(len, windows)) == 3 and sum(map(len, windows)) == 16
    some = few_shot(train, 10, 0)
    assert sorted(some.epoch_order(np.random.default_rng(0))) == list(range(20))
    shards = train.shards[[some.indices[i] for i in some.epoch_order(np.random.default_rng(0))]]
    changes = np.count_nonzero(np.diff(shards))
    assert changes < 20 and len(set(shards)) > 6


def test_a_set_that_is_not_in_shards_is_shuffled_as_a_whole(own):
    train = load("folder", "train", own, TRAIN)
    wanted = np.random.default_rng([3, 4]).permutation(64).tolist()
    assert train.epoch_order(np.random.default_rng([3, 4])) == wanted
    prepare_in(own)
    assert load("folder", "train", own, TRAIN).epoch_order(np.random.default_rng([3, 4])) == wanted


def test_every_epoch_mixes_the_classes(own, monkeypatch):
    monkeypatch.setattr(prepare_module, "SHARD", 8)
    prepare_in(own, shards=True)
    train = load("folder", "train", own, TRAIN)
    order = train.epoch_order(np.random.default_rng(0))
    halves = [Counter(train.labels[i] for i in order[:32])[label] for label in (0, 1)]
    assert min(halves) >= 8


# --- remote --------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "http"])
def remote(request, own, tmp_path, monkeypatch):
    """Put prepared sets at a remote address; nothing of them is left on this machine."""
    monkeypatch.setenv("SATKIT_CACHE", str(tmp_path / "cache"))
    site = Site({})

    def put(**options: Any) -> str:
        folder = prepare_in(own, **options)
        files = {
            f"bucket/prepared/32/{path.relative_to(folder)}": path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        shutil.rmtree(own / "prepared")
        site.files.update(files)
        if request.param == "http":
            return f"{site.url}/bucket"
        filesystem = fsspec.filesystem("memory")
        for name, data in files.items():
            filesystem.pipe_file(f"/{name}", data)
        return "memory://bucket"

    with serve(site):
        yield put
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("shards", [False, True])
def test_a_remote_set_is_read_like_any(remote, own, tmp_path, shards):
    url = remote(shards=shards)
    before = load("folder", "test", own, SMALL)
    after = load("folder", "test", url, SMALL)
    assert after[0]["path"] == f"{url}/{before.records[0].path}"
    for one, other in zip(before, after, strict=True):
        if not shards:
            assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["boxes"], other["boxes"]) and one["label"] == other["label"]
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    files = len(after) + sum(record.mask is not None for record in after.records)
    assert len(kept) == (1 if shards else files), "a shard, or each file"


def test_workers_fetch_a_shard_once(remote, tmp_path, monkeypatch):
    url = remote(shards=True)
    dataset = load("folder", "train", url, SMALL)
    loader = DataLoader(dataset, 4, num_workers=2, collate_fn=collate)
    images = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(images, torch.stack([item["image"] for item in dataset]))


def test_a_remote_set_that_was_prepared_again_is_fetched_again(remote, own):
    url = remote(shards=True)
    before = load("folder", "train", url, SMALL)[0]["image"]
    for path in own.glob("*/*.jpg"):
        path.write_bytes(miniatures.photograph(77, Image.open(path).size))
    remote(shards=True)
    assert not torch.equal(load("folder", "train", url, SMALL)[0]["image"], before)


def test_a_remote_set_that_is_not_there(remote, monkeypatch):
    url = remote()
    with pytest.raises(FileNotFoundError, match=r"prepared/40/annotations\.parquet.*there is none"):
        load("folder", "train", url, Transform(24, 40))
    with pytest.raises(FileNotFoundError, match=r"but it was made with .*'test_fraction': 0\.2"):
        load("folder", "train", url, SMALL, test_fraction=0.4)


def test_a_copy_that_was_killed_is_not_taken_for_whole(remote, tmp_path, monkeypatch):
    url = remote(shards=True)
    dataset = load("folder", "train", url, SMALL)
    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "replace", lambda *_: os._exit(9))
        dataset[0]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert list((tmp_path / "cache").rglob("*.partial"))
    assert len([*dataset]) == 64


# --- killed at any time --------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("shards", [False, True])
def test_killed_twenty_times_it_comes_to_the_same(own, tmp_path, monkeypatch, shards):
    monkeypatch.setattr(prepare_module, "CHUNK", 3)
    monkeypatch.setattr(prepare_module, "SHARD", 3)
    wanted = contents(prepare_in(own, out=tmp_path / "whole", shards=shards))
    folder = tmp_path / "killed/prepared/32"
    chance, kept = random.Random(int(shards)), []
    for _ in range(20):
        child = os.fork()
        if not child:
            prepare("folder", own, 32, out=tmp_path / "killed", shards=shards, workers=2)
            os._exit(0)
        before, more = count_files(folder), chance.randint(0, 12)
        while count_files(folder) < before + more and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        with suppress(ProcessLookupError, ChildProcessError):  # it had come to its end
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if (folder / "annotations.parquet").exists():
            assert contents(folder) == wanted
            shutil.rmtree(folder)
        kept.append(len(list(folder.glob(".parts/*-*.json"))))
    assert max(kept) > 0 and any(kept[i] > kept[i - 1] > 0 for i in range(1, 20)), kept
    prepare_in(own, out=tmp_path / "killed", shards=shards)
    assert contents(folder) == wanted


def count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def test_what_was_whole_is_not_done_again(own, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "CHUNK", 8)
    write, written = prepare_module._write_chunk, []

    def dying(chunk: Any) -> Any:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(chunk.name)
        return write(chunk)

    monkeypatch.setattr(prepare_module, "_write_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare_in(own)
    first = [*written]
    written.clear()
    monkeypatch.setattr(
        prepare_module, "_write_chunk", lambda chunk: (written.append(chunk.name), write(chunk))[1]
    )
    prepare_in(own)
    assert len(first) == 5 and len(written) == 5 and not set(first) & set(written)
    assert json.loads(pq.read_schema(own / "prepared/32/annotations.parquet").metadata[b"satkit"])


def test_a_worker_ends_with_its_parent(tmp_path):
    from satkit.data.workers import in_parallel

    child = os.fork()
    if not child:
        for _ in in_parallel(_note_and_sleep, [tmp_path / "a", tmp_path / "b"], 2):
            pass
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    workers = [int(path.name.split("-")[1]) for path in tmp_path.iterdir()]
    while any(Path(f"/proc/{pid}/task").exists() for pid in workers):
        assert time.monotonic() < deadline, "the workers outlive their parent"
        time.sleep(0.02)


def _note_and_sleep(path: Path) -> None:
    path.with_name(f"{path.name}-{os.getpid()}").touch()
    time.sleep(60)


def test_the_cache_is_where_it_is_documented(monkeypatch, tmp_path):
    monkeypatch.setenv("SATKIT_CACHE", str(tmp_path))
    assert prepared_module.cache_folder() == tmp_path
    monkeypatch.delenv("SATKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert prepared_module.cache_folder() == tmp_path / "x/satkit"
