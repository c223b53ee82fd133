"""Every layout on disk, written in miniature, and the real photographs where they are at hand."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from satkit import training
from satkit.data import NAMES, Transform, load, read_mask
from satkit.evaluation import score
from satkit.settings import TrainSettings
from satkit.training import load_datasets, train

CORNERS = ("x0", "y0", "x1", "y1")


def write_image(path: Path, size: tuple[int, int] = (40, 30), color: int = 120) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (color, 90, 60)).save(path)


def write_mask(path: Path, box: tuple[int, ...], size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(mask).save(path)


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# --- CUB -----------------------------------------------------------------------------------------


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    root = tmp_path / "CUB_200_2011"
    names = [f"00{c}.Bird_{c}/Bird_{c}_{n}.jpg" for c in (1, 2) for n in range(3)]
    tables = {
        "images": [f"{i} {name}" for i, name in enumerate(names, 1)],
        "image_class_labels": [f"{i} {name[2]}" for i, name in enumerate(names, 1)],
        "train_test_split": [f"{i} {int(i % 3 != 0)}" for i in range(1, 7)],
        "bounding_boxes": [f"{i} 10.0 6.0 20.0 12.0" for i in range(1, 7)],
        "classes": ["1 001.Bird_1", "2 002.Bird_2"],
    }
    for name in names:
        write_image(root / "images" / name)
    for table, lines in tables.items():
        (root / f"{table}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_cub(cub):
    train, test = load("cub", "train", cub), load("cub", "test", cub)
    assert (len(train), len(test)) == (4, 2)
    assert train.classes == ["001.Bird_1", "002.Bird_2"] and train.labels == [0, 0, 1, 1]
    item = test[1]
    assert item["label"] == 1 and item["path"].endswith("002.Bird_2/Bird_2_2.jpg")
    assert item["size"] == (30, 40) and "mask" not in item
    # x 10..30 of 40, y 6..18 of 30: int(10/40*256-16)=48, 176; int(6/30*256-16)=35, 137
    assert item["boxes"].tolist() == [[48, 35, 176, 137]]


@pytest.mark.parametrize("place", ["segmentations", "../segmentations"])
def test_cub_masks_beside_or_inside(cub, place):
    for image in (cub / "images").rglob("*.jpg"):
        name = image.relative_to(cub / "images").with_suffix(".png")
        write_mask(cub / place / name, (10, 6, 30, 18))
    item = load("cub", "test", cub)[0]
    rows, columns = torch.nonzero(item["mask"], as_tuple=True)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert (torch.stack(found) - item["boxes"][0]).abs().max() <= 1


def test_cub_is_found_in_the_folder_above(cub):
    assert len(load("cub", "test", cub.parent)) == 2


def test_cub_with_a_class_that_does_not_exist(cub):
    (cub / "classes.txt").write_text("1 001.Bird_1\n")
    with pytest.raises(ValueError, match=r"class 2, but classes\.txt has 1"):
        load("cub", "train", cub)


def test_cub_with_a_box_that_is_none(cub):
    path = cub / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("2 10.0 6.0 20.0", "2 10.0 6.0 wide"))
    with pytest.raises(ValueError, match=r"Bird_1_1\.jpg: a box is four numbers .*'wide'"):
        load("cub", "train", cub)


def test_cub_with_a_table_cut_short(cub):
    (cub / "bounding_boxes.txt").write_text("1 10.0 6.0 20.0 12.0\n")
    with pytest.raises(ValueError, match=r"bounding_boxes.txt has no line for image 2"):
        load("cub", "train", cub)


def test_cub_with_missing_photographs_names_them(cub):
    (cub / "images/001.Bird_1/Bird_1_0.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 4 files .*Bird_1_0\.jpg"):
        load("cub", "train", cub)


def add_cubv2(cub: Path, place: str = "CUBV2") -> Path:
    folder, metadata = cub / place, (cub / place).parent / "metadata/val"
    metadata.mkdir(parents=True)
    names = ["001.Bird_1/12932940703.jpg", "002.Bird_2/24564577620.jpg", "002.Bird_2/9.jpg"]
    for name in names:
        write_image(folder / name)
    labels = [f"{name},{int(name[2]) - 1}" for name in names]
    boxes = [f"{name},10,6,30,18" for name in names] + [f"{names[2]},0,0,39,29"]
    (metadata / "class_labels.txt").write_text("\n".join(labels) + "\n")
    (metadata / "localization.txt").write_text("\n".join(boxes))
    return metadata


@pytest.mark.parametrize("place", ["CUBV2", "../CUBV2"])
def test_cub_takes_its_held_out_photographs_from_cubv2(cub, place):
    whole = load("cub", "train", cub).fingerprint()
    cut = load("cub", "train", cub, holdout=0.5)
    assert len(cut) == 2, "without CUBV2, a part of train is held out"
    add_cubv2(cub, place)
    val = load("cub", "val", cub, holdout=0.5)
    assert val.labels == [0, 1, 1] and val.classes == load("cub", "test", cub).classes
    assert val[2]["boxes"].tolist() == [[48, 35, 176, 137], [0, 0, 223, 223]]
    assert load("cub", "train", cub, holdout=0.5).fingerprint() == whole, "nothing is held out"
    assert len(load("cub", "val", cub)) == 3


def test_cubv2_with_a_class_that_cub_lacks_is_refused(cub):
    (add_cubv2(cub) / "class_labels.txt").write_text("002.Bird_2/9.jpg,2\n")
    with pytest.raises(ValueError, match=r"Bird_2/9\.jpg is of class 2, .* 2 classes"):
        load("cub", "val", cub)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("localization.txt", "002.Bird_2/9.jpg,1,2,3", r"a line is 5 values .*wsolevaluation"),
        ("localization.txt", "002.Bird_2/9.jpg,1,2,3,x", r"Bird_2/9\.jpg: a box is four .*'x'"),
        ("class_labels.txt", "002.Bird_2/9.jpg,one", r"Bird_2/9\.jpg: label .* not 'one'"),
    ],
)
def test_cubv2_with_bad_metadata_is_refused(cub, file, text, message):
    (add_cubv2(cub) / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load("cub", "val", cub)


def test_cubv2_without_a_photograph_or_its_metadata_is_refused(cub):
    metadata = add_cubv2(cub)
    (cub / "CUBV2/002.Bird_2/9.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 files .*CUBV2/002\.Bird_2/9\.jpg"):
        load("cub", "val", cub)
    (metadata / "localization.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"localization\.txt"):
        load("cub", "val", cub)
    metadata.rename(metadata.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"photographs are there, but not .*Copy .*github"):
        load("cub", "val", cub, holdout=0.5)


# --- birds ---------------------------------------------------------------------------------------


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    species = [("017.Cardinal", 16, "Cardinal"), ("036.Flicker", 35, "Flicker")]
    rows = []
    for folder, label, family in species:
        for number in range(4 - (label == 35)):
            name = f"{family}_{number}.jpg"
            write_image(tmp_path / "birds/images" / name)
            row = {"file": name, "cub_path": f"{folder}/{name}", "label": label, "family": family}
            split = "train" if number < 2 else "test"
            box = dict(zip(CORNERS, (4.5, 3, 36.5, 27), strict=True))
            rows.append(row | {"split": split, "width": 40, "height": 30} | box)
    write_csv(tmp_path / "birds/boxes.csv", rows)
    return tmp_path / "birds"


def test_birds_by_species_keep_the_labels_of_cub(birds):
    train, test = load("birds", "train", birds), load("birds", "test", birds)
    assert (len(train), len(test)) == (4, 3)
    assert train.num_classes == 200 and set(train.labels) == {16, 35}
    assert train.classes[16] == "017.Cardinal" and train.classes[0] == "001.no_photograph"


def test_birds_by_family_need_enough_photographs(birds):
    dataset = load("birds", "train", birds, labels="family", min_photographs=3)
    assert dataset.classes == ["Cardinal", "Flicker"] and dataset.labels == [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"min_photographs=4 leaves .*'Cardinal'"):
        load("birds", "train", birds, labels="family", min_photographs=4)
    with pytest.raises(ValueError, match=r"'genus'.*species.*family"):
        load("birds", "train", birds, labels="genus")


def test_a_photograph_resized_without_its_boxes_is_refused(birds):
    write_image(birds / "images/Cardinal_0.jpg", (80, 60))
    with pytest.raises(ValueError, match=r"Cardinal_0.*\(30, 40\).*\(60, 80\)"):
        load("birds", "train", birds)[0]


def test_real_birds(shared):
    root = shared / "data/birds"
    train, test = load("birds", "train", root), load("birds", "test", root)
    assert (len(train), len(test), train.num_classes) == (418, 414, 200)
    assert len({*train.labels, *test.labels}) == 195
    families = load("birds", "train", root, labels="family").classes
    wanted = "Flycatcher Gull Kingfisher Sparrow Tern Warbler Woodpecker Wren"
    assert families == wanted.split()
    for record in train.records + test.records:
        (x0, y0, x1, y1), (height, width) = record.boxes[0], record.size
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, record


# --- butterflies ---------------------------------------------------------------------------------


@pytest.fixture
def butterflies(tmp_path: Path) -> Path:
    rows = []
    for label, name in enumerate(("Danaus_plexippus", "Pieris_rapae")):
        for number in range(5):
            file = f"00{label + 1}000{number}.jpg"
            write_image(tmp_path / "images" / file)
            write_mask(tmp_path / "masks" / file.replace("jpg", "png"), (4, 3, 36, 27))
            row = {"file": file, "label": label, "name": name, "width": 40, "height": 30}
            rows.append(row | dict(zip(CORNERS, (4, 3, 36, 27), strict=True)))
    write_csv(tmp_path / "boxes.csv", rows[::-1])
    return tmp_path


def test_butterflies_take_every_third_file_of_a_species_for_testing(butterflies):
    test = load("butterflies", "test", butterflies)
    names = [Path(record.path).stem for record in test.records]
    assert names == ["0010000", "0010003", "0020000", "0020003"]
    train = load("butterflies", "train", butterflies)
    assert len(train) == 6 and train.classes == ["Danaus_plexippus", "Pieris_rapae"]
    assert test[0]["mask"].dtype == torch.bool and test[0]["mask"].shape == (224, 224)


def test_a_mask_of_another_size_is_refused(butterflies):
    write_mask(butterflies / "masks/0010000.png", (0, 0, 5, 5), size=(20, 30))
    with pytest.raises(ValueError, match=r"0010000\.png is \(30, 20\).*\(30, 40\)"):
        load("butterflies", "test", butterflies)[0]


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (("", 3, 36, 27), "four numbers"),
        (("left", 3, 36, 27), "four numbers.*'left'"),
        (("nan", 3, 36, 27), "finite numbers"),
        ((36, 3, 4, 27), "no area"),
        ((4, 3, 4, 27), "no area"),
        ((41, 3, 60, 27), r"outside of its \(30, 40\) pixels"),
        ((-9, 3, 0, 27), "outside of its"),
    ],
)
def test_a_senseless_box_is_refused_before_any_photograph_is_read(butterflies, corners, message):
    with (butterflies / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {key: str(value) for key, value in zip(CORNERS, corners, strict=True)}
    write_csv(butterflies / "boxes.csv", rows)
    with pytest.raises(ValueError, match=rf"0020004\.jpg.*{message}"):
        load("butterflies", "train", butterflies)


@pytest.mark.parametrize("column", ["label", "width"])
def test_a_number_that_is_none_is_refused_with_its_place(butterflies, column):
    with (butterflies / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = "many"
    write_csv(butterflies / "boxes.csv", rows)
    with pytest.raises(ValueError, match=rf"0020004\.jpg: {column} .* 'many'"):
        load("butterflies", "train", butterflies)


def test_a_csv_that_is_not_utf8_is_refused(butterflies):
    (butterflies / "boxes.csv").write_bytes("file,Größe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"boxes\.csv is not text in UTF-8"):
        load("butterflies", "train", butterflies)


def test_a_csv_with_other_columns_is_refused(butterflies):
    write_csv(butterflies / "boxes.csv", [{"image": "a.jpg", "label": 0}])
    with pytest.raises(ValueError, match=r"boxes\.csv lacks the columns .*'file'.*'image'"):
        load("butterflies", "train", butterflies)


def test_real_butterflies(shared):
    root = shared / "data/butterflies"
    train, test = load("butterflies", "train", root), load("butterflies", "test", root)
    assert (len(train), len(test), train.num_classes) == (551, 281, 10)
    assert not {r.path for r in train.records} & {r.path for r in test.records}
    assert min(Counter(test.labels).values()) == 19


def test_real_butterflies_have_boxes_around_their_masks(shared):
    root = shared / "data/butterflies"
    for record in load("butterflies", "test", root).records[::6]:
        rows, columns = np.nonzero(read_mask(root / record.mask))
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.subtract(around, record.boxes[0])).max() <= 2.5, record


# --- Tiny-ImageNet -------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n02", "n01"):
        for number in range(2):
            write_image(root / f"train/{name}/images/{name}_{number}.JPEG", (64, 64))
        lines = [f"{name}_{number}.JPEG\t0\t8\t63\t39" for number in range(2)]
        (root / f"train/{name}/{name}_boxes.txt").write_text("\n".join(lines) + "\n")
    write_image(root / "val/images/val_0.JPEG", (64, 64))
    (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\t16\t16\t47\t47\n")
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttench\n")
    return root


def zipped(folder: Path) -> Path:
    archive = folder.parent / "any_name.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_tiny_imagenet(tiny, pack):
    root = pack(tiny)
    train, test = load("tiny_imagenet", "train", root), load("tiny_imagenet", "test", root)
    assert (len(train), len(test)) == (4, 1)
    assert train.classes == ["goldfish", "tench"] and train.labels == [0, 0, 1, 1]
    item = test[0]
    assert item["label"] == 1
    # the last pixel 47 counts: 16..48 of 64 -> int(16/64*256-16)=48 .. 176
    assert item["boxes"].tolist() == [[48, 48, 176, 176]]


def test_tiny_imagenet_reads_the_same_from_folder_and_zip(tiny):
    folder, archive = (load("tiny_imagenet", "test", root) for root in (tiny, zipped(tiny)))
    assert torch.equal(folder[0]["image"], archive[0]["image"])
    assert folder.fingerprint() == archive.fingerprint()


def test_a_zip_is_read_by_several_workers(tiny):
    dataset = load("tiny_imagenet", "train", zipped(tiny))
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    assert [item["index"] for item in loader] == [0, 1, 2, 3]


def test_a_zip_cut_short_is_refused(tiny):
    archive = zipped(tiny)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"any_name\.zip is not a whole \.zip.*download"):
        load("tiny_imagenet", "train", archive)


def test_a_damaged_photograph_in_a_zip_is_named(tiny):
    archive = zipped(tiny)
    with zipfile.ZipFile(archive) as file:
        start = file.getinfo("tiny-imagenet-200/val/images/val_0.JPEG").header_offset + 100
    data = bytearray(archive.read_bytes())
    data[start : start + 50] = bytes(50)
    archive.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"val_0\.JPEG in .*any_name\.zip is damaged"):
        load("tiny_imagenet", "test", archive)[0]


def test_a_zip_of_something_else_is_refused(tiny):
    (tiny / "wnids.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"'wnids\.txt'.*file without that"):
        load("tiny_imagenet", "train", zipped(tiny))


def test_real_tiny_imagenet(shared):
    root = shared / "data/tiny-imagenet-100x300.zip"
    train, test = load("tiny_imagenet", "train", root), load("tiny_imagenet", "test", root)
    assert (len(train), len(test), train.num_classes) == (30000, 5000, 100)
    assert set(Counter(train.labels).values()) == {300}
    boxes = np.array([record.boxes[0] for record in train.records + test.records])
    assert boxes.min() == 0 and boxes.max() == 64
    assert test[123]["size"] == (64, 64)


# --- ImageNet ------------------------------------------------------------------------------------


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for name in ("n01440764", "n01443537"):
        write_image(tmp_path / f"train/{name}/{name}_1.JPEG")
    for number, name in ((1, "n01443537"), (2, "n01440764")):
        write_image(tmp_path / f"val/ILSVRC2012_val_0000000{number}.JPEG")
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>6</ymin>"
            f"<xmax>{x + 20}</xmax><ymax>18</ymax></bndbox></object>"
            for x in range(10, 10 * number + 1, 10)
        )
        path = tmp_path / f"Annotations/CLS-LOC/val/ILSVRC2012_val_0000000{number}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation>{objects}</annotation>")
    return tmp_path


def test_imagenet_with_voc_boxes(imagenet):
    train, test = load("imagenet", "train", imagenet), load("imagenet", "test", imagenet)
    assert train.classes == test.classes == ["n01440764", "n01443537"]
    assert train.labels == [0, 1] and train[0]["boxes"].shape == (0, 4)
    assert test.labels == [1, 0]
    assert test[1]["boxes"].tolist() == [[48, 35, 176, 137], [112, 35, 223, 137]]


def test_imagenet_with_kaggles_boxes_and_val_in_class_folders(imagenet, tmp_path):
    (imagenet / "val/n01443537").mkdir()
    flat = imagenet / "val/ILSVRC2012_val_00000001.JPEG"
    flat.rename(imagenet / "val/n01443537" / flat.name)
    solution = tmp_path / "boxes.csv"
    lines = ["ImageId,PredictionString", "ILSVRC2012_val_00000001,n01443537 10 6 30 18"]
    lines += ["ILSVRC2012_val_00000002,n01440764 10 6 30 18 n01440764 20 6 40 18 "]
    solution.write_text("\n".join(lines) + "\n")
    test = load("imagenet", "test", imagenet, boxes=str(solution))
    assert sorted(test.labels) == [0, 1]
    assert [len(record.boxes) for record in test.records] == [2, 1]


def test_imagenet_as_kaggle_packs_it(imagenet, tmp_path_factory):
    root = tmp_path_factory.mktemp("kaggle")
    (root / "ILSVRC/Data/CLS-LOC").mkdir(parents=True)
    for name in ("train", "val"):
        (imagenet / name).rename(root / "ILSVRC/Data/CLS-LOC" / name)
    (imagenet / "Annotations").rename(root / "ILSVRC/Annotations")
    assert load("imagenet", "test", root).labels == [1, 0]


def test_imagenet_without_photographs_is_refused(imagenet):
    for path in (imagenet / "train").rglob("*.JPEG"):
        path.unlink()
    with pytest.raises(ValueError, match="no photographs for 'train'"):
        load("imagenet", "train", imagenet)


def test_imagenet_without_boxes_says_where_it_looked(imagenet):
    (imagenet / "Annotations").rename(imagenet / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"looked for .*LOC_val_sol.*option boxes"):
        load("imagenet", "test", imagenet)


def test_boxes_in_broken_xml_are_refused(imagenet):
    (imagenet / "Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"val_00000002\.xml is not whole XML"):
        load("imagenet", "test", imagenet)


def test_an_imagenet_photograph_without_boxes_is_named(imagenet):
    (imagenet / "Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml").unlink()
    with pytest.raises(ValueError, match=r"val_00000002\.JPEG has no box"):
        load("imagenet", "test", imagenet)


def test_imagenet_takes_its_held_out_photographs_from_imagenetv2(imagenet):
    with pytest.raises(ValueError, match=r"no split 'val' of its own"):
        load("imagenet", "val", imagenet)
    for name in ("val2/0/abc.jpeg", "val2/1/def.jpeg"):
        write_image(imagenet / name)
    (imagenet / "metadata/val").mkdir(parents=True)
    (imagenet / "metadata/val/class_labels.txt").write_text("val2/0/abc.jpeg,0\nval2/1/def.jpeg,1")
    boxes = "val2/0/abc.jpeg,10,6,30,18\nval2/1/def.jpeg,20,6,40,18\nval2/1/def.jpeg,10,6,30,18"
    (imagenet / "metadata/val/localization.txt").write_text(boxes)
    val = load("imagenet", "val", imagenet)
    assert val.labels == [0, 1] and val.classes == ["n01440764", "n01443537"]
    assert val[1]["boxes"].tolist() == [[112, 35, 223, 137], [48, 35, 176, 137]]
    assert len(load("imagenet", "train", imagenet, holdout=0.5)) == 2, "nothing is held out"


# --- OpenImages ----------------------------------------------------------------------------------


@pytest.fixture
def openimages(tmp_path: Path) -> Path:
    """Two classes, as the WSOL evaluation's archives unpack, with its metadata."""
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        labels, places = [], []
        for label, name in enumerate(("01226z", "0bt_c3")):
            for number in range(count):
                image = f"{split}/{name}/{number}aed.jpg"
                write_image(tmp_path / image)
                labels.append(f"{image},{label}")
                if split == "train":
                    continue
                stem = image.removesuffix(".jpg")
                write_mask(tmp_path / f"{stem}_m{name}_6554d965.png", (8, 8, 40, 30), (80, 60))
                write_mask(tmp_path / f"{stem}_ignore.png", (20, 0, 80, 60), (80, 60))
                places.append(f"{image},{stem}_m{name}_6554d965.png,{stem}_ignore.png")
                if number:
                    write_mask(tmp_path / f"{stem}_m{name}_8856c605.png", (0, 40, 80, 60), (80, 60))
                    places.append(f"{image},{stem}_m{name}_8856c605.png,")
        folder = tmp_path / "metadata" / split
        folder.mkdir(parents=True)
        (folder / "class_labels.txt").write_text("\n".join(labels) + "\n")
        if places:
            (folder / "localization.txt").write_text("\n".join(places) + "\n")
    return tmp_path


FULL = Transform(image_size=60, resize_size=60, protocol="wsoleval")


def test_openimages(openimages):
    sets = [load("openimages", split, openimages, FULL) for split in ("train", "val", "test")]
    assert [len(dataset) for dataset in sets] == [6, 2, 4]
    assert all(dataset.classes == ["01226z", "0bt_c3"] for dataset in sets)
    assert sets[2].labels == [0, 0, 1, 1]
    assert "mask" not in sets[0][0] and sets[0][0]["boxes"].shape == (0, 4)
    one, two = sets[2][0], sets[2][1]
    # the masks are 80 x 60, the crop 60 x 60: x 8..40 of 80 is 6..30, x 20..80 is 15..60
    want = torch.zeros(60, 60, dtype=torch.bool)
    want[8:30, 6:30] = True
    assert torch.equal(one["mask"], want)
    ignore = torch.zeros(60, 60, dtype=torch.bool)
    ignore[:, 15:] = True
    assert torch.equal(one["ignore"], ignore & ~want)
    want[40:60] = True
    assert torch.equal(two["mask"], want) and torch.equal(two["ignore"], ignore & ~want)


def test_openimages_with_masks_in_a_folder_of_their_own(openimages):
    beside = load("openimages", "test", openimages, FULL)[1]
    for mask in (openimages / "test").rglob("*.png"):
        place = openimages / "masks" / mask.relative_to(openimages)
        place.parent.mkdir(parents=True, exist_ok=True)
        mask.rename(place)
    apart = load("openimages", "test", openimages, FULL)[1]
    assert torch.equal(apart["mask"], beside["mask"])
    assert torch.equal(apart["ignore"], beside["ignore"])


def test_openimages_has_a_val_of_its_own(openimages):
    assert len(load("openimages", "train", openimages, holdout=0.4)) == 6
    val = load("openimages", "val", openimages, FULL, holdout=0.4)
    assert len(val) == 2 and val[0]["mask"].any() and val[0]["ignore"].any()


@pytest.mark.parametrize("place", ["metadata/OpenImages", "../../metadata/OpenImages"])
def test_openimages_finds_the_metadata_in_a_checkout_too(openimages, tmp_path_factory, place):
    root = tmp_path_factory.mktemp("checkout") / "dataset/OpenImages"
    root.mkdir(parents=True)
    for split in ("train", "val", "test"):
        (openimages / split).rename(root / split)
    (root / place).parent.mkdir(exist_ok=True)
    (openimages / "metadata").rename(root / place)
    assert len(load("openimages", "test", root)) == 4
    assert len(load("openimages", "test", root.parent)) == 4, "the folder above does too"


def test_openimages_without_metadata_says_where_to_get_them(openimages):
    (openimages / "metadata/test").rename(openimages / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"'metadata/test'.*Copy .*wsolevaluation"):
        load("openimages", "test", openimages)


def test_openimages_with_a_missing_mask_is_refused(openimages):
    (openimages / "test/0bt_c3/1aed_m0bt_c3_8856c605.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 14 files .*1aed_m0bt_c3_8856c605\.png"):
        load("openimages", "test", openimages)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("class_labels.txt", "0bt_c3/0aed.jpg,1", "0bt_c3/0aed.jpg,2", r"labels must be 0, 1"),
        ("class_labels.txt", "0bt_c3/0aed.jpg,1", "0bt_c3/0aed.jpg,0", r"each have a folder"),
        ("class_labels.txt", "0bt_c3/0aed.jpg,1", "0bt_c3/0aed.jpg", r"a line is 2 values"),
        (
            "localization.txt",
            "test/01226z/0aed.jpg,",
            "test/01226z/9aed.jpg,",
            r"no mask of .*0aed",
        ),
        ("localization.txt", "8856c605.png,\n", "8856c605.png,x.png\n", r"two ignored regions"),
    ],
)
def test_openimages_with_bad_metadata_is_refused(openimages, file, old, new, message):
    path = openimages / "metadata/test" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load("openimages", "test", openimages)


def settings_for(root: Path, dataset: str, **given: object) -> TrainSettings:
    tiny = {
        "pretrained": False,
        "train_images": 0,
        "eval_images": 0,
        "runs_dir": str(root / "runs"),
    }
    return TrainSettings.for_profile(
        "smoke", dataset=dataset, data_root=str(root), **{**tiny, **given}
    )


def test_training_on_openimages_chooses_by_pxap_on_its_val(openimages, monkeypatch):
    """Photographs have masks and no boxes; the second epoch is made to look better."""
    pxap = iter([20.0, 50.0])

    def better_later(outputs: object, **options: object) -> dict[str, float]:
        numbers = score(outputs, **options)
        assert numbers["images"] in (2, 4) and "gt_known" not in numbers
        assert numbers["pxap"] > 0
        return {**numbers, "top1_cls": 50.0, "pxap": next(pxap, 0.0)}

    monkeypatch.setattr(training, "score", better_later)
    settings = settings_for(
        openimages, "openimages", protocol="wsoleval", epochs=2, evaluate_from=1
    )
    run = train(settings)
    assert run.metrics["epoch"] == 2
    assert run.log["val_images"].tolist() == [2, 2] and run.metrics["images"] == 4


def test_training_holds_nothing_out_where_a_set_has_a_val(cub):
    cut = load_datasets(settings_for(cub, "cub", holdout=0.5))
    assert [len(cut[split]) for split in ("train", "val", "test")] == [2, 2, 2]
    add_cubv2(cub)
    own = load_datasets(settings_for(cub, "cub", holdout=0.5))
    assert [len(own[split]) for split in ("train", "val", "test")] == [4, 3, 2]
    assert "val" not in load_datasets(settings_for(cub, "cub", selection="test"))


def test_the_paper_profile_evaluates_openimages_uncropped():
    paper = TrainSettings.for_profile("paper", dataset="openimages")
    assert paper.protocol == "wsoleval" and paper.target_area == 0.25 and paper.epochs == 30
    assert TrainSettings.for_profile("paper", dataset="stanford_cars").protocol == "sat"
    assert set(get_args(TrainSettings.model_fields["dataset"].annotation)) == set(NAMES)


# --- Stanford Dogs -------------------------------------------------------------------------------


def cells(values: list[str]) -> np.ndarray:
    """A MATLAB cell array, one column."""
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    files: dict[str, list[str]] = {"train": [], "test": []}
    for breed in ("n02085620-Chihuahua", "n02085782-Japanese_spaniel"):
        for number in range(3):
            file = f"{breed}/{breed[:9]}_{number}.jpg"
            write_image(tmp_path / "Images" / file)
            corners = "<xmin>10</xmin><ymin>6</ymin><xmax>30</xmax><ymax>18</ymax>"
            found = f"<object><name>{breed[10:]}</name><bndbox>{corners}</bndbox></object>"
            annotation = tmp_path / "Annotation" / file.removesuffix(".jpg")
            annotation.parent.mkdir(parents=True, exist_ok=True)
            annotation.write_text(f"<annotation>{found * (1 + number)}</annotation>")
            files["train" if number else "test"].append(file)
    for split, names in files.items():
        labels = np.array([[1 + ("spaniel" in name)] for name in names], dtype=np.uint8)
        lists = {"file_list": cells(names), "labels": labels, "annotation_list": cells(names)}
        savemat(tmp_path / f"{split}_list.mat", lists)
    return tmp_path


def test_stanford_dogs(dogs):
    train, test = load("stanford_dogs", "train", dogs), load("stanford_dogs", "test", dogs)
    assert (len(train), len(test)) == (4, 2)
    assert train.classes == test.classes == ["n02085620-Chihuahua", "n02085782-Japanese_spaniel"]
    assert train.labels == [0, 0, 1, 1]
    assert [len(record.boxes) for record in train.records] == [2, 3, 2, 3]
    assert test[1]["boxes"].tolist() == [[48, 35, 176, 137]]
    (dogs / "lists").mkdir()
    for path in dogs.glob("*.mat"):
        path.rename(dogs / "lists" / path.name)
    assert load("stanford_dogs", "test", dogs).fingerprint() == test.fingerprint()


def test_stanford_dogs_with_a_cut_list_is_refused(dogs):
    path = dogs / "test_list.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"test_list\.mat is not a whole \.mat file"):
        load("stanford_dogs", "test", dogs)
    savemat(path, {"file_list": cells(["a/b.jpg"])})
    with pytest.raises(ValueError, match=r"test_list\.mat lacks \['labels'\]"):
        load("stanford_dogs", "test", dogs)


def test_stanford_dogs_without_an_annotation_names_it(dogs):
    (dogs / "Annotation/n02085620-Chihuahua/n02085620_0").unlink()
    with pytest.raises(FileNotFoundError, match=r"n02085620_0"):
        load("stanford_dogs", "test", dogs)


def test_stanford_dogs_with_a_label_left_out_is_refused(dogs):
    lists = {"file_list": cells(["a/b.jpg", "c/d.jpg"]), "labels": np.array([[1], [3]])}
    savemat(dogs / "test_list.mat", lists)
    with pytest.raises(ValueError, match=r"labels must be 1, 2, … not \[1, 3\]"):
        load("stanford_dogs", "test", dogs)


# --- FGVC-Aircraft -------------------------------------------------------------------------------


@pytest.fixture
def aircraft(tmp_path: Path) -> Path:
    data = tmp_path / "fgvc-aircraft-2013b/data"
    images = [f"{number:07d}" for number in range(6)]
    for image in images:
        write_image(data / "images" / f"{image}.jpg")
    variants = ["707-320", "Gulfstream IV"]
    lines = [f"{image} {variants[int(image) % 2]}" for image in images]
    (data / "variants.txt").write_text("\n".join(variants) + "\n")
    (data / "images_variant_trainval.txt").write_text("\n".join(lines[:4]) + "\n")
    (data / "images_variant_test.txt").write_text("\n".join(lines[4:]) + "\n")
    (data / "images_box.txt").write_text("\n".join(f"{i} 10 6 30 18" for i in images) + "\n")
    return tmp_path / "fgvc-aircraft-2013b"


def test_fgvc_aircraft(aircraft):
    train, test = load("fgvc_aircraft", "train", aircraft), load("fgvc_aircraft", "test", aircraft)
    assert (len(train), len(test)) == (4, 2), "train is trainval"
    assert train.classes == ["707-320", "Gulfstream IV"] and train.labels == [0, 1, 0, 1]
    item = test[1]
    assert item["boxes"].tolist() == [[48, 35, 176, 137]], "corners as the authors' code reads them"
    assert item["size"] == (30, 40), "the banner stays"
    assert len(load("fgvc_aircraft", "test", aircraft.parent)) == 2


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "images_box.txt",
            "0000005 10 6",
            "0000006 10 6",
            r"images_box\.txt has no line for 0000005",
        ),
        ("images_box.txt", "0000005 10 6", "0000005 10", r"0000005: a box is four"),
        ("images_variant_test.txt", "Gulfstream IV", "Gulfstream V", r"is a 'Gulfstream V'"),
        ("images_variant_test.txt", " Gulfstream IV", "", r"what is in it, not \['0000005'\]"),
    ],
)
def test_fgvc_aircraft_with_bad_lists_is_refused(aircraft, file, old, new, message):
    path = aircraft / "data" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load("fgvc_aircraft", "test", aircraft)


# --- Stanford Cars -------------------------------------------------------------------------------

CAR_FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")


def write_cars(path: Path, rows: list[dict[str, object]], **others: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    annotations = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        annotations[0, index] = tuple(row.values())
    savemat(path, {"annotations": annotations, **others})


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    names = np.array([["Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]], dtype=object)
    for split, file in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for number in (1, 2, 3)[: 3 if split == "train" else 1]:
            write_image(tmp_path / f"cars_{split}/0000{number}.jpg")
            values = (10, 6, 30, 18, 1 + number % 2)
            rows.append(
                {**dict(zip(CAR_FIELDS, values, strict=True)), "fname": f"0000{number}.jpg"}
            )
        write_cars(tmp_path / file, rows)
    savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    return tmp_path


def test_stanford_cars(cars):
    train, test = load("stanford_cars", "train", cars), load("stanford_cars", "test", cars)
    assert (len(train), len(test)) == (3, 1)
    assert train.classes == ["Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
    assert train.labels == [1, 0, 1] and test.labels == [1]
    assert test[0]["boxes"].tolist() == [[48, 35, 176, 137]]
    labelled = cars / "cars_test_annos_withlabels.mat"
    labelled.rename(cars / "devkit" / labelled.name)
    assert load("stanford_cars", "test", cars).fingerprint() == test.fingerprint()


def test_stanford_cars_in_its_second_form(cars, tmp_path_factory):
    root = tmp_path_factory.mktemp("cars") / "stanford_cars"
    rows = []
    for number in range(4):
        write_image(root / f"car_ims/00000{number}.jpg")
        values = (f"car_ims/00000{number}.jpg", 10, 6, 30, 18, 1 + number % 2, number == 3)
        rows.append(dict(zip(("relative_im_path", *CAR_FIELDS, "test"), values, strict=True)))
    write_cars(root / "cars_annos.mat", rows, class_names=np.array([["a", "b"]], dtype=object))
    for folder in (root, root.parent):
        train, test = load("stanford_cars", "train", folder), load("stanford_cars", "test", folder)
        assert train.labels == [0, 1, 0] and test.labels == [1] and train.classes == ["a", "b"]
        assert test[0]["path"].endswith("car_ims/000003.jpg")


def test_stanford_cars_without_the_labels_of_its_test_photographs_is_refused(cars):
    """The devkit itself has cars_test_annos.mat, where the class is left out."""
    row = {**dict(zip(CAR_FIELDS[:4], (10, 6, 30, 18), strict=True)), "fname": "00001.jpg"}
    write_cars(cars / "cars_test_annos_withlabels.mat", [row])
    with pytest.raises(ValueError, match=r"cars_test_annos_withlabels\.mat lack 'class'.*bbox_x1"):
        load("stanford_cars", "test", cars)
    (cars / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"cars_test_annos_withlabels\.mat"):
        load("stanford_cars", "test", cars)


def test_stanford_cars_with_a_class_without_a_name_is_refused(cars):
    savemat(cars / "devkit/cars_meta.mat", {"class_names": np.array([["a"]], dtype=object)})
    with pytest.raises(ValueError, match=r"00001\.jpg is of class 2, but there are names of 1"):
        load("stanford_cars", "train", cars)


# --- a user's own photographs --------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(10):
            write_image(tmp_path / name / f"{number}.png", color=number * 20)
    write_image(tmp_path / ".thumbnails/0.png")
    (tmp_path / "cat/notes.txt").write_text("not a photograph")
    return tmp_path


def test_folder_of_classes_is_split_by_a_seed(own):
    train, test = load("folder", "train", own), load("folder", "test", own)
    assert train.classes == ["cat", "dog"]
    assert Counter(test.labels) == {0: 2, 1: 2} and Counter(train.labels) == {0: 8, 1: 8}
    assert not {r.path for r in train.records} & {r.path for r in test.records}
    again = load("folder", "test", own, seed=5)
    assert again.records == test.records, "the training seed must not move the test set"
    other = load("folder", "test", own, split_seed=5)
    assert other.records != test.records
    assert len(load("folder", "test", own, test_fraction=0.5)) == 10


def test_folder_with_boxes_and_masks(own):
    rows = [{"file": "cat/3.png", "x0": 10, "y0": 6, "x1": 30, "y1": 18}]
    rows += [{"file": "cat/3.png", "x0": 0, "y0": 0, "x1": 999, "y1": 30}]
    write_csv(own / "boxes.csv", rows)
    write_mask(own / "masks/cat/3.png", (10, 6, 30, 18))
    both = [load("folder", split, own, Transform()) for split in ("train", "test")]
    assert {dataset.num_classes for dataset in both} == {2}, "masks/ is not a class"
    items = {i["path"]: i for dataset in both for i in (dataset[n] for n in range(len(dataset)))}
    item = items.pop(str(own / "cat/3.png"))
    assert item["boxes"].tolist() == [[48, 35, 176, 137], [0, 0, 223, 223]]  # clipped at the border
    assert item["mask"].any()
    assert all(other["boxes"].shape == (0, 4) and "mask" not in other for other in items.values())


@pytest.fixture
def divided(own: Path, tmp_path: Path) -> Path:
    for split, numbers in (("train", "012345"), ("test", "6789")):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in numbers:
                (own / name / f"{number}.png").rename(tmp_path / split / name / f"{number}.png")
    return tmp_path


def test_folder_with_train_and_test(divided):
    sizes = [len(load("folder", split, divided)) for split in ("train", "test")]
    assert sizes == [12, 8]
    with pytest.raises(ValueError, match=r"holdout=0\.1"):
        load("folder", "val", divided)


def test_folder_with_a_val_of_its_own_ignores_holdout(divided):
    for name in ("cat", "dog"):
        write_image(divided / "val" / name / "new.png")
    assert len(load("folder", "val", divided)) == 2
    assert len(load("folder", "train", divided, holdout=0.5)) == 12


def test_folder_with_other_classes_in_test_is_refused(divided):
    write_image(divided / "test/fox/0.png")
    with pytest.raises(ValueError, match=r"classes that train/ lacks: \['fox'\]"):
        load("folder", "test", divided)


def test_folder_with_one_class_is_refused(tmp_path):
    write_image(tmp_path / "cat/0.png")
    with pytest.raises(FileNotFoundError, match=r"two classes or more, found \['cat'\].*<class>"):
        load("folder", "train", tmp_path)


def test_folder_with_a_box_for_an_unknown_file_is_refused(own):
    write_csv(own / "boxes.csv", [{"file": "3.png", "x0": 1, "y0": 1, "x1": 9, "y1": 9}])
    with pytest.raises(FileNotFoundError, match=r"'3\.png'.*<class>/<name>"):
        load("folder", "train", own)


def test_folder_with_a_box_outside_of_the_photograph_is_refused(own):
    write_csv(own / "boxes.csv", [{"file": "cat/3.png", "x0": 50, "y0": 1, "x1": 60, "y1": 9}])
    message = r"cat/3\.png lies outside of its \(30, 40\) pixels"
    with pytest.raises(ValueError, match=message):
        for split in ("train", "test"):
            load("folder", split, own)


def test_folder_with_a_box_on_a_broken_photograph_is_refused_at_once(own):
    write_csv(own / "boxes.csv", [{"file": "cat/3.png", "x0": 1, "y0": 1, "x1": 9, "y1": 9}])
    (own / "cat/3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cat/3\.png: it is empty"):
        load("folder", "train", own)


def test_folder_with_two_photographs_of_one_name_is_refused(own):
    write_image(own / "cat/3.jpg")
    with pytest.raises(ValueError, match=r"3\.jpg.*3\.png"):
        load("folder", "train", own)


def test_folder_boxes_are_in_the_frame_that_people_see(own):
    """A phone's upright photograph is stored lying, with EXIF orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(own / "cat/3.png", exif=exif)  # seen as 30 wide, 40 high
    write_csv(own / "boxes.csv", [{"file": "cat/3.png", "x0": 6, "y0": 10, "x1": 18, "y1": 30}])
    for split in ("train", "test"):
        dataset = load("folder", split, own, Transform())
        for index, record in enumerate(dataset.records):
            if record.path == "cat/3.png":
                item = dataset[index]
    assert item["size"] == (40, 30)
    assert item["boxes"].tolist() == [[35, 48, 137, 176]]


def write_voc(path: Path, boxes: list[tuple[float, ...]], size: tuple[int, int] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        "<object><name>cat</name><bndbox>"
        + "".join(f"<{n}>{v}</{n}>" for n, v in zip(VOC_CORNERS, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    path.write_text(f"<annotation>{stated}{objects}</annotation>")


VOC_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def write_coco(path: Path, size: tuple[int, int] | None = (40, 30)) -> dict:
    image = {"id": 7, "file_name": "cat/3.png"}
    if size:
        image |= {"width": size[0], "height": size[1]}
    other = {"id": 8, "file_name": "dog/1.png"}
    found = [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 6, 20, 12]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 30.0]},
    ]
    coco = {"images": [image, other], "annotations": found, "categories": [{"id": 3, "name": "x"}]}
    path.write_text(json.dumps(coco))
    return coco


def boxes_by_file(root: Path) -> dict[str, tuple]:
    both = [load("folder", split, root) for split in ("train", "test")]
    return {record.path: record.boxes for dataset in both for record in dataset.records}


@pytest.mark.parametrize("form", ["csv", "coco", "voc", "voc beside", "voc without size"])
def test_folder_reads_the_same_boxes_from_every_format(own, form):
    boxes = [(10, 6, 30, 18), (0, 0, 40, 30)]
    if form == "csv":
        rows = [{"file": "cat/3.png", **dict(zip(CORNERS, box, strict=True))} for box in boxes]
        write_csv(own / "boxes.csv", rows)
    elif form == "coco":
        write_coco(own / "boxes.json")
    else:
        folder = own if form == "voc beside" else own / "annotations"
        write_voc(folder / "cat/3.xml", boxes, None if form == "voc without size" else (40, 30))
    (own / ".idea").mkdir()
    (own / ".idea/misc.xml").write_text("<project/>")  # an editor's file is no annotation
    found = boxes_by_file(own)
    assert len(found) == 20 and found.pop("cat/3.png") == tuple(boxes)
    assert set(found.values()) == {()}
    assert load("folder", "train", own).classes == ["cat", "dog"]


def test_folder_with_train_and_test_mirrors_them_in_annotations(divided):
    write_voc(divided / "annotations/test/dog/7.xml", [(10, 6, 30, 18)], (40, 30))
    found = {record.path: record.boxes for record in load("folder", "test", divided).records}
    assert found["test/dog/7.png"] == ((10, 6, 30, 18),)


def test_folder_with_boxes_in_two_formats_is_refused(own):
    write_coco(own / "boxes.json")
    write_voc(own / "annotations/cat/3.xml", [(1, 1, 9, 9)], None)
    with pytest.raises(ValueError, match=r"boxes\.json and in \*\.xml of .*keep one"):
        load("folder", "train", own)


def test_folder_with_coco_boxes_of_an_unknown_file_is_refused(own):
    coco = write_coco(own / "boxes.json")
    coco["images"][1]["file_name"] = "1.png"
    (own / "boxes.json").write_text(json.dumps(coco))
    with pytest.raises(FileNotFoundError, match=r"boxes\.json names '1\.png'.*<class>/<name>"):
        load("folder", "train", own)


def test_folder_with_a_voc_file_of_no_photograph_is_refused(own):
    write_voc(own / "annotations/cat/99.xml", [(1, 1, 9, 9)], None)
    with pytest.raises(FileNotFoundError, match=r"no photograph for .*annotations/cat/99\.xml"):
        load("folder", "train", own)


def test_folder_with_two_voc_files_of_one_photograph_is_refused(own):
    write_voc(own / "annotations/cat/3.xml", [(1, 1, 9, 9)], None)
    write_voc(own / "cat/3.xml", [(1, 1, 9, 9)], None)
    with pytest.raises(ValueError, match=r"cat/3 has two \.xml files, one of them cat/3\.xml"):
        load("folder", "train", own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), r"not in COCO's format \(KeyError\('images'\)\)"),
        (lambda c: c["annotations"][0].pop("bbox"), "not in COCO's format.*bbox"),
        (lambda c: c["annotations"][0].update(image_id=9), r"KeyError\(9\).*one of the images"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"cat/3\.png: a box is four"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 3]), r"cat/3\.png has no area"),
    ],
)
def test_folder_with_bad_coco_is_refused(own, change, message):
    coco = write_coco(own / "boxes.json")
    change(coco)
    (own / "boxes.json").write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=message):
        boxes_by_file(own)


def test_folder_with_cut_json_or_xml_is_refused(own):
    (own / "boxes.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"boxes\.json is not whole JSON"):
        load("folder", "train", own)
    (own / "boxes.json").unlink()
    (own / "cat/3.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"cat/3\.xml is not whole XML"):
        load("folder", "train", own)


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_folder_with_photographs_resized_since_they_were_annotated_is_refused(own, form):
    if form == "coco":
        write_coco(own / "boxes.json", (80, 60))
    else:
        write_voc(own / "cat/3.xml", [(10, 6, 30, 18)], (80, 60))
    for split in ("train", "test"):
        dataset = load("folder", split, own)
        paths = [record.path for record in dataset.records]
        if "cat/3.png" in paths:
            with pytest.raises(
                ValueError, match=r"cat/3\.png were drawn for \(60, 80\).*\(30, 40\)"
            ):
                dataset[paths.index("cat/3.png")]
            return
    pytest.fail("cat/3.png is in no split")
