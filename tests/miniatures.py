"""Data sets in miniature: the archives that their authors give out, with photographs of noise."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Files = dict[str, bytes]


def photograph(seed: int, size: tuple[int, int] = (40, 30), format: str = "jpeg") -> bytes:
    """Smooth noise, as a file; size is (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels).resize(size), format)


def mask(box: tuple[int, int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG file that is white in a box (x0, y0, x1, y1)."""
    pixels = np.zeros(size[::-1], dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return encoded(Image.fromarray(pixels), "png")


def encoded(image: Image.Image, format: str) -> bytes:
    """Make an image file in memory."""
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def lines(*texts: str) -> bytes:
    """Make a text file."""
    return "".join(f"{text}\n" for text in texts).encode()


def make_tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """Pack files; mode "w:gz" compresses."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def make_zip(files: Mapping[str, bytes]) -> bytes:
    """Pack files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def cub() -> Files:
    """CUB's two archives: two classes with four photographs each, half of them for training."""
    names = [f"00{c}.Bird_{c}/Bird_{c}_{n}.jpg" for c in (1, 2) for n in range(4)]
    tables = {
        "images": [f"{i} {name}" for i, name in enumerate(names, 1)],
        "image_class_labels": [f"{i} {name[2]}" for i, name in enumerate(names, 1)],
        "train_test_split": [f"{i} {i % 2}" for i in range(1, 9)],
        "bounding_boxes": [f"{i} 10.0 6.0 20.5 12.0" for i in range(1, 9)],
        "classes": ["1 001.Bird_1", "2 002.Bird_2"],
    }
    top = "CUB_200_2011"
    photographs = {f"{top}/images/{name}": photograph(i) for i, name in enumerate(names)}
    texts = {f"{top}/{table}.txt": lines(*rows) for table, rows in tables.items()}
    masks = {
        f"segmentations/{name.replace('.jpg', '.png')}": mask((10, 6, 30, 18)) for name in names
    }
    return {
        "CUB_200_2011.tgz": make_tar({"attributes.txt": b"1\n", **texts, **photographs}, "w:gz"),
        "segmentations.tgz": make_tar(masks, "w:gz"),
    }


def tiny_imagenet() -> Files:
    """Tiny-ImageNet's zip: two classes, four training and two validation photographs."""
    top = "tiny-imagenet-200"
    files = {
        f"{top}/wnids.txt": lines("n02", "n01"),
        f"{top}/words.txt": lines("n01\tgoldfish, Carassius auratus", "n02\ttench"),
        f"{top}/val/val_annotations.txt": lines(
            "val_0.JPEG\tn02\t16\t16\t47\t47", "val_1.JPEG\tn01\t0\t0\t63\t63"
        ),
    }
    for number in range(2):
        files[f"{top}/val/images/val_{number}.JPEG"] = photograph(number, (64, 64))
    for name in ("n01", "n02"):
        rows = [f"{name}_{number}.JPEG\t0\t8\t63\t39" for number in range(2)]
        files[f"{top}/train/{name}/{name}_boxes.txt"] = lines(*rows)
        for number in range(2):
            path = f"{top}/train/{name}/images/{name}_{number}.JPEG"
            files[path] = photograph(10 * number + int(name[2]), (64, 64))
    return {"tiny-imagenet-200.zip": make_zip(files)}


def butterflies() -> Files:
    """Leeds Butterfly's zip: two species with four photographs each."""
    files = {"leedsbutterfly/README.txt": b"Leeds\n"}
    for species in (1, 2):
        files[f"leedsbutterfly/descriptions/{species:03d}.txt"] = b"A butterfly\n"
        for number in range(1, 5):
            name = f"{species:03d}{number:04d}"
            picture, outline = photograph(number, format="png"), mask((5, 6, 30 + number, 18))
            files[f"leedsbutterfly/images/{name}.png"] = picture
            files[f"leedsbutterfly/segmentations/{name}_seg0.png"] = outline
    return {"leedsbutterfly_dataset.zip": make_zip(files)}


def voc(name: str, *boxes: tuple[int, int, int, int]) -> bytes:
    """Boxes (x0, y0, x1, y1) of one class, as VOC's XML."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{c}>{v}</{c}>" for c, v in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    return f"<annotation>{objects}</annotation>".encode()


def imagenet() -> Files:
    """ImageNet's three archives: two classes, six training and two validation photographs."""
    names = ("n01440764", "n01443537")
    classes = {
        f"{name}.tar": make_tar({f"{name}_{n}.JPEG": photograph(n + c) for n in range(3)})
        for c, name in enumerate(names)
    }
    val = {f"ILSVRC2012_val_0000000{n}.JPEG": photograph(n) for n in (1, 2)}
    boxes = {
        "val/ILSVRC2012_val_00000001.xml": voc(names[1], (10, 6, 30, 18)),
        "val/ILSVRC2012_val_00000002.xml": voc(names[0], (10, 6, 30, 18), (0, 0, 9, 9)),
    }
    return {
        "ILSVRC2012_img_train.tar": make_tar(classes),
        "ILSVRC2012_img_val.tar": make_tar(val),
        "ILSVRC2012_bbox_val_v3.tgz": make_tar(boxes, "w:gz"),
    }


def kaggle() -> Files:
    """ImageNet as Kaggle packs it."""
    name, top = "n01440764", "ILSVRC"
    files = {
        f"{top}/Data/CLS-LOC/train/{name}/{name}_1.JPEG": photograph(1),
        f"{top}/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG": photograph(2),
        f"{top}/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": voc(name, (10, 6, 30, 18)),
        "LOC_val_solution.csv": lines("ImageId,PredictionString"),
    }
    return {"imagenet-object-localization-challenge.zip": make_zip(files)}
