"""The scripts of data_scripts: from archives on a web server to items, and all that goes wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from satkit.data import LAYOUTS, Transform, load, sources
from satkit.data.sources import Source
from tests import miniatures
from tests.server import Site, serve

SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"
SMALL = Transform(image_size=24, resize_size=32)


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"data_script_{name}", SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def true_source(name: str) -> Source:
    """The record in a script."""
    found: Source = getattr(script(name), name.upper())
    return found


def miniature(name: str, archives: dict[str, bytes], counts: dict[str, int], url: str) -> Source:
    """The record of a script, but with the addresses, checksums and counts of a miniature."""
    source = true_source(name)
    known = {
        n: {"size": len(a), "md5": hashlib.md5(a, usedforsecurity=False).hexdigest()}
        for n, a in archives.items()
    }
    files = tuple(
        replace(f, urls=(f"{url}/{f.name}",) if f.urls else (), **known.get(f.name, {}))
        for f in source.files
    )
    return replace(source, files=files, counts=counts, num_classes=2)


@pytest.fixture
def call(capsys):
    """Run a script; return exit code, output and errors."""

    def run(source: Source, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            sources.main(source, [*words])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


SETS = {
    "cub": (miniatures.cub, {"train": 4, "test": 4}),
    "tiny_imagenet": (miniatures.tiny_imagenet, {"train": 4, "test": 2}),
    "butterflies": (miniatures.butterflies, {"train": 4, "test": 4}),
}


@pytest.fixture(params=SETS)
def served(request) -> Iterator[tuple[Source, Site]]:
    make, counts = SETS[request.param]
    archives = make()
    with serve(Site(archives)) as site:
        yield miniature(request.param, archives, counts, site.url), site


@pytest.fixture
def cub() -> Iterator[tuple[Source, Site]]:
    archives = miniatures.cub()
    with serve(Site(archives)) as site:
        yield miniature("cub", archives, SETS["cub"][1], site.url), site


# --- the three steps -----------------------------------------------------------------------------


def test_download_verify_prepare_load(served, tmp_path, call):
    source, site = served
    root = ["--root", str(tmp_path / "set")]
    code, out, _ = call(source, "download", *root, "--accept-terms")
    assert code == 0, out
    assert source.terms in out and source.page in out and "can be deleted now" in out
    code, out, err = call(source, "verify", *root)
    assert (code, err) == (0, "") and "its checksum is right" in out
    for side in ("32", "24"):
        code, out, err = call(source, "prepare", *root, "--side", side, "--workers", "1")
        assert (code, err) == (0, "")
    asked = len(site.starts)
    assert call(source, "download", *root, "--accept-terms")[0] == 0
    assert len(site.starts) == asked, "nothing is fetched again"
    for split, count in source.counts.items():
        assert len(load(source.name, split, tmp_path / "set", SMALL)) == count


def test_items_of_a_downloaded_set_have_boxes_and_masks(served, tmp_path, call):
    source, _ = served
    assert call(source, "download", "--root", str(tmp_path), "--accept-terms")[0] == 0
    for item in load(source.name, "test", tmp_path, SMALL):
        assert item["boxes"].shape == (1, 4)
        assert ("mask" in item) == (source.name != "tiny_imagenet")
        if "mask" in item:
            rows, columns = torch.nonzero(item["mask"], as_tuple=True)
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (torch.stack(around) - item["boxes"][0]).abs().max() <= 1


def test_a_connection_that_is_cut_all_the_time_does_not_stop_a_download(cub, tmp_path, monkeypatch):
    source, site = cub
    site.cut = 300
    monkeypatch.setattr(sources, "download", patient(sources.download))
    sources.fetch(source, tmp_path)
    assert len(site.starts) > 5
    assert sources.verify(source, tmp_path, workers=1)[1] == []


def patient(download: Any) -> Any:
    return lambda *words, **more: download(*words, **more, wait=0)


def test_butterflies_are_arranged_after_a_kill(tmp_path):
    """Half of the masks were moved, and the table of boxes was not written."""
    module, archives = script("butterflies"), miniatures.butterflies()
    miniatures.write(tmp_path, archives)
    from satkit.data.fetch import extract

    folder = extract(tmp_path / next(iter(archives)), tmp_path / "leedsbutterfly", "leedsbutterfly")
    (folder / "masks").mkdir()
    for path in sorted((folder / "segmentations").iterdir())[:3]:
        path.replace(folder / "masks" / path.name.replace("_seg0", ""))
    module.arrange(tmp_path)
    train = load("butterflies", "train", tmp_path)
    assert train.records[0].boxes == ((5, 6, 32, 18),)  # of 0010002: 30 + 2 wide
    assert train.classes == ["Danaus_plexippus", "Heliconius_charitonius"]


# --- terms, gates, archives ----------------------------------------------------------------------


def test_terms_are_shown_and_have_to_be_accepted(cub, tmp_path, call):
    source, site = cub
    code, out, err = call(source, "download", "--root", str(tmp_path / "set"))
    assert code == 2 and "--accept-terms" in err
    assert source.terms in out and source.page in out
    assert site.starts == [] and not (tmp_path / "set").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_terms_are_asked_for_on_a_terminal(cub, tmp_path, call, monkeypatch, answer, code):
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return f"{answer}\n"

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert call(cub[0], "download", "--root", str(tmp_path))[0] == code


def test_archives_that_one_has_are_not_fetched(cub, tmp_path, call):
    source, site = cub
    have = miniatures.write(tmp_path / "have", dict(site.files))
    words = [w for name in site.files for w in ("--archive", str(have / name))]
    code, _, _ = call(source, "download", "--root", str(tmp_path / "set"), "--accept-terms", *words)
    assert code == 0 and site.starts == []
    assert sorted(path.name for path in have.iterdir()) == sorted(site.files), "they are kept"


@pytest.fixture
def imagenet(tmp_path) -> tuple[Source, list[str]]:
    archives = miniatures.imagenet()
    miniatures.write(tmp_path / "have", archives)
    words = [w for name in archives for w in ("--archive", str(tmp_path / "have" / name))]
    return miniature("imagenet", archives, {"train": 6, "test": 2}, ""), words


def test_a_gated_set_says_where_to_sign_up(imagenet, tmp_path, call):
    code, _, err = call(imagenet[0], "download", "--root", str(tmp_path / "set"), "--accept-terms")
    assert code == 2
    assert "https://www.image-net.org/" in err and "--archive" in err


def test_a_gated_set_takes_archives(imagenet, tmp_path, call):
    source, words = imagenet
    root = ["--root", str(tmp_path / "set")]
    assert call(source, "download", *root, "--accept-terms", *words)[0] == 0
    assert call(source, "verify", *root)[0] == 0
    assert call(source, "prepare", *root, "--side", "32", "--workers", "2")[0] == 0
    test = load("imagenet", "test", tmp_path / "set", SMALL)
    assert test.labels == [1, 0] and [len(record.boxes) for record in test.records] == [1, 2]
    assert (tmp_path / "set/prepared/32/train-000000.tar").exists(), "it is kept in shards"


def test_a_gated_set_takes_a_part_of_its_archives_and_says_what_is_missing(
    imagenet, tmp_path, call
):
    source, words = imagenet
    root = ["--root", str(tmp_path / "set")]
    code, _, err = call(source, "download", *root, "--accept-terms", *words[:4])
    assert code == 2 and "no boxes of the validation photographs" in err
    assert call(source, "download", *root, "--accept-terms", *words[4:])[0] == 0


def test_a_killed_unpacking_of_imagenet_keeps_whole_classes(imagenet, tmp_path):
    module = script("imagenet")
    done = tmp_path / "set/train.partial/n01440764"
    miniatures.write(done, {"kept.JPEG": b"x"})
    miniatures.write(tmp_path / "set/train.partial/n01443537.partial", {"half.JPEG": b""})
    module.unpack_classes(tmp_path / "have/ILSVRC2012_img_train.tar", tmp_path / "set/train")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("set/*/*/*"))
    wanted = [f"set/train/n01443537/n01443537_{number}.JPEG" for number in range(3)]
    assert found == ["set/train/n01440764/kept.JPEG", *wanted]


def test_imagenet_as_kaggle_packs_it(tmp_path, call):
    archives = miniatures.kaggle()
    miniatures.write(tmp_path / "have", archives)
    source = miniature("imagenet", archives, {"train": 1, "test": 1}, "")
    source = replace(source, num_classes=1)
    archive = tmp_path / "have" / next(iter(archives))
    words = ["--root", str(tmp_path / "set"), "--archive", str(archive)]
    assert call(source, "download", "--accept-terms", *words)[0] == 0
    assert load("imagenet", "test", tmp_path / "set", SMALL)[0]["boxes"].shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("CUB_200_2011.tar", b"x", "'CUB_200_2011.tar' is no file of cub; its files are CUB_200"),
        ("CUB_200_2011.tgz", b"x", "has 1 bytes, not"),
        ("nothing", None, "there is no file"),
    ],
)
def test_a_wrong_archive_is_refused(cub, tmp_path, call, name, content, message):
    if content:
        (tmp_path / name).write_bytes(content)
    words = ["--root", str(tmp_path / "set"), "--archive", str(tmp_path / name)]
    code, _, err = call(cub[0], "download", "--accept-terms", *words)
    assert code == 2 and message in err


def test_a_page_in_place_of_an_archive_is_not_kept(tmp_path, call):
    archives = {"leedsbutterfly_dataset.zip": b"<html>not found</html>"}
    with serve(Site(archives)) as site:
        source = miniature("butterflies", {}, {"train": 4, "test": 4}, site.url)
        code, _, err = call(source, "download", "--root", str(tmp_path), "--accept-terms")
        assert code == 2 and "is damaged" in err
        site.files.update(miniatures.butterflies())
        assert call(source, "download", "--root", str(tmp_path), "--accept-terms")[0] == 0


def test_a_dead_source_ends_with_1_and_says_what_to_do(tmp_path, call, monkeypatch):
    monkeypatch.setattr(sources, "download", patient(sources.download))
    with serve(Site({})) as site:
        source = miniature("cub", {}, {"train": 4, "test": 4}, site.url)
        code, _, err = call(source, "download", "--root", str(tmp_path), "--accept-terms")
    assert code == 1 and "404" in err and "put the file there yourself" in err


def test_a_full_disk_is_said_before_anything_is_fetched(cub, tmp_path, call, monkeypatch):
    from satkit.data import fetch

    source, site = cub
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    code, _, err = call(source, "download", "--root", str(tmp_path), "--accept-terms")
    assert code == 1 and "fetching cub needs" in err and site.starts == []


# --- verify --------------------------------------------------------------------------------------


@pytest.fixture
def here(cub, tmp_path) -> tuple[Source, Path]:
    sources.fetch(cub[0], tmp_path)
    return cub[0], tmp_path


def test_verify_names_unreadable_photographs_and_masks(here, call):
    source, root = here
    images = root / "CUB_200_2011/images"
    cut_short = images / "001.Bird_1/Bird_1_0.jpg"
    cut_short.write_bytes(cut_short.read_bytes()[:-200])
    (images / "002.Bird_2/Bird_2_3.jpg").write_bytes(b"")
    (root / "segmentations/001.Bird_1/Bird_1_1.png").write_bytes(b"no image")
    code, _, err = call(source, "verify", "--root", str(root), "--workers", "2")
    assert code == 1
    wrong = [line for line in err.splitlines() if "WRONG" in line]
    names = ["Bird_1_0.jpg", "Bird_1_1.png", "Bird_2_3.jpg"]
    assert [sum(name in line for line in wrong) for name in names] == [1, 1, 1]
    assert len(wrong) == 3
    assert call(source, "verify", "--root", str(root), "--quick")[0] == 0


def test_verify_names_missing_photographs(here, call):
    source, root = here
    (root / "CUB_200_2011/images/001.Bird_1/Bird_1_0.jpg").unlink()
    code, _, err = call(source, "verify", "--root", str(root), "--quick")
    assert code == 1 and "1 of 8 files are missing" in err and "Bird_1_0.jpg" in err
    code, _, err = call(source, "verify", "--root", str(root), "--workers", "1")
    assert code == 1 and "Bird_1_0.jpg or its mask is not there" in err and "Errno" not in err
    (root / "CUB_200_2011/bounding_boxes.txt").unlink()
    code, _, err = call(source, "verify", "--root", str(root), "--quick")
    assert "bounding_boxes.txt is not in" in err and "the copy is incomplete" in err


def test_a_long_list_of_problems_is_cut(capsys):
    with pytest.raises(typer.Exit):
        sources._report([], [f"photograph {i}" for i in range(50)])
    said = capsys.readouterr()
    assert "photograph 19" in said.err and "photograph 20" not in said.err
    assert "… and 30 more" in said.err and "50 problems" in said.out


def test_verify_compares_counts_with_the_papers(here, call):
    source, root = here
    source = replace(source, counts={"train": 5_994, "test": 4}, num_classes=200)
    code, _, err = call(source, "verify", "--root", str(root), "--quick")
    assert code == 1
    assert "train: 4 photographs, but the paper has 5,994" in err
    assert "test: 2 classes, not 200" in err and "test: 4 photographs, but" not in err


def test_verify_checks_archives_that_were_kept(here, call):
    source, root = here
    archive = root / "archives/segmentations.tgz"
    archive.write_bytes(bytes(archive.stat().st_size))
    code, _, err = call(source, "verify", "--root", str(root), "--quick")
    assert code == 1 and "segmentations.tgz has the md5" in err


def test_verify_says_where_no_checksum_is_known(tmp_path, call):
    archives = miniatures.butterflies()
    with serve(Site(archives)) as site:
        source = miniature("butterflies", {}, {"train": 4, "test": 4}, site.url)
        sources.fetch(source, tmp_path)
    _, out, _ = call(source, "verify", "--root", str(tmp_path), "--quick")
    assert "leedsbutterfly_dataset.zip: no checksum of it is known to satkit" in out


def test_verify_of_nothing_ends_with_2(tmp_path, call):
    code, _, err = call(true_source("cub"), "verify", "--root", str(tmp_path))
    assert code == 2 and "looked for 'images.txt'" in err


def test_ones_own_folder_is_verified_and_prepared(tmp_path, call):
    files = {
        f"{split}/{name}/{number}.jpg": miniatures.photograph(number)
        for split in ("train", "val", "test")
        for name in ("cat", "dog")
        for number in range(3)
    }
    miniatures.write(tmp_path, files)
    source = true_source("folder")
    code, out, _ = call(source, "verify", "--root", str(tmp_path))
    assert code == 0 and "val: 6 photographs, 2 classes" in out
    assert call(source, "prepare", "--root", str(tmp_path), "--side", "32")[0] == 0
    assert len(load("folder", "val", tmp_path, SMALL)) == 6
    code, _, err = call(source, "download")
    assert code == 2 and "No such command 'download'" in err


# --- the records ---------------------------------------------------------------------------------


PAPERS = {  # train, test, classes
    "cub": (5_994, 5_794, 200),
    "imagenet": (1_281_167, 50_000, 1000),
    "openimages": (29_819, 5_000, 100),
    "stanford_dogs": (12_000, 8_580, 120),
    "fgvc_aircraft": (6_667, 3_333, 100),
    "stanford_cars": (8_144, 8_041, 196),
    "tiny_imagenet": (100_000, 10_000, 200),
    "butterflies": (551, 281, 10),
}


@pytest.mark.parametrize("name", PAPERS)
def test_records_say_what_the_paper_says(name):
    source = true_source(name)
    assert (source.counts["train"], source.counts["test"], source.num_classes) == PAPERS[name]
    assert source.name == name and source.page.startswith("http") and source.terms
    assert source.shards == (name in ("imagenet", "openimages"))
    assert any(file.urls for file in source.files) != bool(source.sign_up)
    for file in source.files:
        assert len(file.md5) in (0, 32) and len(file.sha256) in (0, 64)
        assert file.becomes and not Path(file.becomes).is_absolute()


def test_every_set_of_photographs_has_a_script():
    assert {*PAPERS, "folder", "birds"} == set(LAYOUTS)


def test_real_butterflies_pass(shared):
    found, wrong = sources.verify(true_source("butterflies"), shared / "data/butterflies")
    assert wrong == [] and found == [
        "train: 551 photographs, 10 classes",
        "test: 281 photographs, 10 classes",
    ]


def test_real_tiny_imagenet_is_found_to_be_a_part(shared):
    root = shared / "data/tiny-imagenet-100x300.zip"
    found, wrong = sources.verify(true_source("tiny_imagenet"), root, decode=False)
    assert found == [
        "train: 30,000 photographs, 100 classes",
        "test: 5,000 photographs, 100 classes",
    ]
    assert "train: 30,000 photographs, but the paper has 100,000" in wrong
