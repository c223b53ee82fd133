"""Scripts of OpenImages and the fine-grained sets, and held-out sets: from archives to items."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from satkit.data import Transform, load, sources, wsoleval
from satkit.data.sources import Source
from tests.data.test_sources import miniature, script
from tests.miniatures import Files, lines, make_tar, make_zip, mask, photograph, voc, write
from tests.miniatures import cub as cub_archives
from tests.miniatures import imagenet as imagenet_archives
from tests.server import Site, serve

FULL = Transform(image_size=32, resize_size=32, protocol="wsoleval")


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def cells(values: list[str]) -> np.ndarray:
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


def stanford_dogs() -> Files:
    breeds = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")
    names = [f"{breed}/{breed[:9]}_{number}" for breed in breeds for number in range(3)]
    lists = {}
    for split, part in (("train", (1, 2, 4, 5)), ("test", (0, 3))):
        files = cells([f"{names[number]}.jpg" for number in part])
        labels = np.array([[1 + number // 3] for number in part], dtype=np.uint8)
        lists[f"{split}_list.mat"] = mat(file_list=files, annotation_list=files, labels=labels)
    return {
        "images.tar": make_tar({f"Images/{n}.jpg": photograph(i) for i, n in enumerate(names)}),
        "annotation.tar": make_tar({f"Annotation/{n}": voc("dog", (10, 6, 30, 18)) for n in names}),
        "lists.tar": make_tar({"file_list.mat": mat(file_list=cells(names)), **lists}),
    }


def fgvc_aircraft() -> Files:
    top, images = "fgvc-aircraft-2013b/data", [f"{number:07d}" for number in range(6)]
    named = [f"{image} {('707-320', 'Gulfstream IV')[int(image) % 2]}" for image in images]
    files = {f"{top}/images/{image}.jpg": photograph(int(image)) for image in images}
    files |= {
        "fgvc-aircraft-2013b/README.md": b"FGVC\n",
        f"{top}/variants.txt": lines("707-320", "Gulfstream IV"),
        f"{top}/images_variant_trainval.txt": lines(*named[:4]),
        f"{top}/images_variant_test.txt": lines(*named[4:]),
        f"{top}/images_box.txt": lines(*(f"{image} 10 6 30 18" for image in images)),
    }
    return {"fgvc-aircraft-2013b.tar.gz": make_tar(files, "w:gz")}


def stanford_cars() -> Files:
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    annotations, photographs = {}, {}
    for split, count in (("train", 4), ("test", 2)):
        rows = np.empty((1, count), dtype=[(name, object) for name in fields])
        for number in range(count):
            rows[0, number] = (10, 6, 30, 18, 1 + number % 2, f"{number:05d}.jpg")
        annotations[split] = mat(annotations=rows)
        files = {f"cars_{split}/{n:05d}.jpg": photograph(n) for n in range(count)}
        photographs[f"cars_{split}.tgz"] = make_tar(files, "w:gz")
    names = mat(class_names=np.array([["Acura RL", "Ram Van"]], dtype=object))
    devkit = {"devkit/cars_meta.mat": names, "devkit/cars_train_annos.mat": annotations["train"]}
    return {
        **photographs,
        "car_devkit.tgz": make_tar(devkit, "w:gz"),
        "cars_test_annos_withlabels.mat": annotations["test"],
    }


SETS = {
    "stanford_dogs": (stanford_dogs, {"train": 4, "test": 2}),
    "fgvc_aircraft": (fgvc_aircraft, {"train": 4, "test": 2}),
    "stanford_cars": (stanford_cars, {"train": 4, "test": 2}),
}


def small(name: str, archives: Files, counts: dict[str, int], url: str) -> Source:
    """The record of a script with a miniature's addresses and MD5 checksums alone."""
    source = miniature(name, archives, counts, url)
    return replace(source, files=tuple(replace(file, sha256="") for file in source.files))


def run(source: Source, *words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        sources.main(source, [*words])
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("name", SETS)
def test_download_verify_prepare_load(name, tmp_path, capsys):
    make, counts = SETS[name]
    archives, root = make(), tmp_path / "set"
    with serve(Site(archives)) as site:
        source = small(name, archives, counts, site.url)
        given: list[str] = []
        if source.sign_up:
            assert run(source, "download", "--root", str(root), "--accept-terms") == 2
            assert "--archive" in capsys.readouterr().err
            write(tmp_path, archives)
            given = [word for file in archives for word in ("--archive", str(tmp_path / file))]
        code = run(source, "download", "--root", str(root), "--accept-terms", *given)
    assert code == 0, capsys.readouterr()
    assert run(source, "verify", "--root", str(root), "--workers", "1") == 0
    raw = {split: load(name, split, root, FULL) for split in counts}
    assert {split: len(dataset) for split, dataset in raw.items()} == counts
    items = {split: [*dataset] for split, dataset in raw.items()}
    assert items["test"][0]["boxes"].tolist() == [[8, 6, 24, 19]]  # of 40 x 30 pixels
    prepare = ("prepare", "--root", str(root), "--side", "32", "--workers", "1")
    assert run(source, *prepare) == 0
    for split, dataset in raw.items():
        prepared = load(name, split, root, FULL)
        assert prepared.stored and prepared.fingerprint() == dataset.fingerprint()
        for item, other in zip(prepared, items[split], strict=True):
            assert torch.equal(item["image"], other["image"])
            assert torch.equal(item["boxes"], other["boxes"])


@pytest.mark.parametrize("name", [*SETS, "openimages"])
def test_counts_are_the_papers(name):
    counts = {
        "stanford_dogs": (120, 12_000, 8_580),
        "fgvc_aircraft": (100, 6_667, 3_333),
        "stanford_cars": (196, 8_144, 8_041),
        "openimages": (100, 29_819, 2_500, 5_000),
    }[name]
    source = getattr(script(name), name.upper())
    assert (source.num_classes, *source.counts.values()) == counts


def test_a_copy_with_too_few_photographs_is_reported(tmp_path, capsys):
    archives = stanford_dogs()
    with serve(Site(archives)) as site:
        source = small("stanford_dogs", archives, {"train": 4, "test": 3}, site.url)
        assert run(source, "download", "--root", str(tmp_path), "--accept-terms") == 1
    assert "test: 2 photographs, but the paper has 3" in capsys.readouterr().err


# --- OpenImages ----------------------------------------------------------------------------------


class OpenImages:
    """Its archive of masks, and what GitHub and the bucket serve."""

    def __init__(self) -> None:
        self.masks: Files = {}
        self.served: Files = {}
        for split, folder in (("train", "train"), ("val", "validation"), ("test", "test")):
            labels, places = [], []
            for label, name in enumerate(("01226z", "0bt_c3")):
                for number in range(2):
                    path = f"{split}/{name}/{number}a{label}d.jpg"
                    self.served[f"{folder}/{Path(path).name}"] = photograph(number, (64, 48))
                    labels.append(f"{path},{label}")
                    if split != "train":
                        stem = path.removesuffix(".jpg")
                        self.masks[f"{stem}_m{name}_6554d965.png"] = mask((8, 6, 40, 30), (80, 60))
                        self.masks[f"{stem}_ignore.png"] = mask((20, 0, 80, 60), (80, 60))
                        places.append(f"{path},{stem}_m{name}_6554d965.png,{stem}_ignore.png")
            self.served[f"OpenImages/{split}/class_labels.txt"] = lines(*labels)
            self.served[f"OpenImages/{split}/localization.txt"] = lines(*places)


@pytest.fixture
def openimages(monkeypatch, tmp_path) -> Iterator[tuple[Source, Any, Site, list[str]]]:
    module, files = script("openimages"), OpenImages()
    write(tmp_path, {"OpenImages_annotations.zip": make_zip(files.masks)})
    with serve(Site(files.served)) as site:
        monkeypatch.setattr(module, "BUCKET", site.url)
        monkeypatch.setattr(wsoleval, "METADATA_URLS", (site.url,))
        counts = {"train": 4, "val": 4, "test": 4}
        source = replace(module.OPENIMAGES, counts=counts, num_classes=2)
        given = ["--archive", str(tmp_path / "OpenImages_annotations.zip")]
        yield source, module, site, given


def test_openimages_from_archive_bucket_and_metadata_to_shards(openimages, tmp_path, capsys):
    source, _, site, given = openimages
    root = tmp_path / "set"
    download = ("download", "--root", str(root), "--accept-terms")
    assert run(source, *download) == 2
    assert "OpenImages_annotations.zip" in capsys.readouterr().err
    assert run(source, *download, *given) == 0, capsys.readouterr()
    asked = len(site.starts)
    assert run(source, *download, *given) == 0 and len(site.starts) == asked, "all is there"
    assert run(source, "verify", "--root", str(root), "--workers", "1") == 0
    raw = [*load("openimages", "test", root, FULL)]
    for side, splits in (("48", ("train",)), ("32", ("val", "test"))):
        wanted = [word for split in splits for word in ("--split", split)]
        prepare = ("prepare", "--root", str(root), "--side", side, "--workers", "1", *wanted)
        assert run(source, *prepare) == 0
    crops = Transform(image_size=32, resize_size=48, train=True, protocol="wsoleval")
    train = load("openimages", "train", root, crops, holdout=0.5)
    assert train.stored and len(train) == 4, "it has a val of its own, prepared at another side"
    for split in ("val", "test"):
        prepared = load("openimages", split, root, FULL, holdout=0.5)
        assert prepared.stored and len(prepared) == 4
        for item, other in zip(prepared, raw, strict=True):
            assert torch.equal(item["mask"], other["mask"]) and item["mask"].any()
            assert torch.equal(item["ignore"], other["ignore"]) and item["ignore"].any()
            assert (item["image"] - other["image"]).abs().mean() < 0.1  # JPEG


def test_openimages_goes_on_where_it_was_killed(openimages, tmp_path):
    source, _, site, _ = openimages
    archive = tmp_path / "OpenImages_annotations.zip"
    sources.fetch(source, tmp_path / "set", [archive])
    for name in ("train/01226z/0a0d.jpg", "test/0bt_c3/1a1d.jpg"):
        (tmp_path / "set" / name).unlink()
    (tmp_path / "set/train/01226z/0a0d.jpg.partial").write_bytes(b"half")
    asked = len(site.starts)
    sources.fetch(source, tmp_path / "set", [archive])
    assert len(site.starts) == asked + 2
    assert sources.verify(source, tmp_path / "set", workers=1)[1] == []


def test_openimages_names_photographs_that_cannot_be_had(openimages, tmp_path):
    source, _, site, _ = openimages
    del site.files["validation/1a0d.jpg"]
    with pytest.raises(
        OSError, match=r"1 of 12 photographs .*validation/1a0d\.jpg: HTTP Error 404"
    ):
        sources.fetch(source, tmp_path / "set", [tmp_path / "OpenImages_annotations.zip"])
    assert len([*(tmp_path / "set").rglob("*d.jpg")]) == 11, "the others are there"


def test_openimages_tries_a_photograph_again_that_was_cut(openimages, tmp_path):
    _, module, site, _ = openimages
    site.cut, site.fail = 100, 1
    problem = module.fetch_photograph(tmp_path, "train/01226z/0a0d.jpg", wait=0)
    assert "IncompleteRead" in problem and not [*tmp_path.rglob("*.jpg")]
    assert len(site.starts) == module.RETRIES - 1, "one of them was answered with 503"
    site.cut = 0
    assert module.fetch_photograph(tmp_path, "train/01226z/0a0d.jpg", wait=0) == ""
    written = (tmp_path / "train/01226z/0a0d.jpg").read_bytes()
    assert written == site.files["train/0a0d.jpg"]


def test_openimages_writes_nothing_outside_of_its_folder(openimages, tmp_path):
    source, _, site, _ = openimages
    site.files["OpenImages/train/class_labels.txt"] = lines("train/../../x.jpg,0")
    with pytest.raises(ValueError, match=r"'train/\.\./\.\./x\.jpg', not <split>/<class>"):
        sources.fetch(source, tmp_path / "set", [tmp_path / "OpenImages_annotations.zip"])


# --- held-out sets -------------------------------------------------------------------------------


def held_out(name: str) -> tuple[Files, Files, str]:
    """Archives with the held-out photographs, their metadata, and the name of their archive."""
    if name == "cub":
        images = ["001.Bird_1/12932940703.jpg", "002.Bird_2/24564577620.jpg"]
        archive, folder, paths = "CUBV2.tar", "CUB", images
        extra = make_tar({path: photograph(7) for path in images})
        archives = cub_archives()
    else:
        archive, folder = "imagenetv2-threshold0.7.tar.gz", "ILSVRC"
        paths = ["val2/0/ab.jpeg", "val2/1/cd.jpeg"]
        top = "imagenetv2-threshold0.7-format-val"
        extra = make_tar({path.replace("val2", top): photograph(7) for path in paths}, "w:gz")
        archives = imagenet_archives()
    labels = lines(*(f"{path},{label}" for label, path in enumerate(paths)))
    places = lines(*(f"{path},10,6,30,18" for path in paths))
    metadata = {"class_labels.txt": labels, "localization.txt": places}
    served = {f"{folder}/val/{file}": text for file, text in metadata.items()}
    return archives | {archive: extra}, served, archive


@pytest.mark.parametrize("name", ["cub", "imagenet"])
@pytest.mark.parametrize("with_it", [True, False], ids=["with", "without"])
def test_held_out_photographs_come_with_their_archive(name, with_it, tmp_path, monkeypatch):
    archives, served, archive = held_out(name)
    if not with_it:
        del archives[archive]
    write(tmp_path, archives)
    root, given = tmp_path / "set", [tmp_path / file for file in archives]
    with serve(Site(served)) as site:
        monkeypatch.setattr(wsoleval, "METADATA_URLS", (f"{site.url}/none", site.url))
        counts = {"train": 4, "val": 2, "test": 4} if name == "cub" else {"train": 6, "test": 2}
        source = small(name, archives, counts, site.url)
        sources.fetch(source, root, given)
    found, wrong = sources.verify(source, root, workers=1)
    assert wrong == [] and any(line.startswith("val: 2 ") for line in found) == with_it
    splits = ("train", "val", "test") if with_it else ("train", "test")
    sources.prepare(name, root, 32, workers=1)
    for place in (root, root / "prepared"):
        if place != root:
            for folder in ("CUB_200_2011", "CUBV2", "train", "val", "val2", "Annotations"):
                if (root / folder).exists():
                    (root / folder).rename(tmp_path / folder)  # the prepared set is enough
        for split in splits:
            dataset = load(name, split, root, FULL, holdout=0.5)
            assert dataset.stored
            if split == "val":
                assert [item["boxes"].tolist() for item in dataset] == [[[8, 6, 24, 19]]] * 2
    train = load(name, "train", root, FULL, holdout=0.5)
    assert (len(train) == counts["train"]) == with_it, "nothing is held out where val is there"
