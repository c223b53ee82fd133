"""Measure what a step, a forward pass and a photograph cost on this machine.

    python benchmarks/scale.py
    python benchmarks/scale.py --backbones deit_small_patch16_224 --batch-size 256

Writes ``results/scale_<device>.json`` (numbers and provenance) and the tables of ``docs/scale.md``,
which also work out from them what ImageNet costs. ``--show`` only writes the tables.
"""

from __future__ import annotations

import io
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.goals import replace_part
from satkit.cost import gmacs, inference_speed, parameter_count, training_memory, training_speed
from satkit.data import Transform, denormalize, load, read_image
from satkit.data.prepare import BYTES_PER_PIXEL
from satkit.data.transforms import Resized
from satkit.progress import Progress
from satkit.results import build_model, device_name, device_slug, provenance, read_json, write_json
from satkit.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BACKBONES = "deit_tiny_patch16_224,deit_small_patch16_224,deit_base_patch16_224"
PHOTOGRAPH = (375, 500)  # h, w: a typical photograph of ImageNet
IMAGES, EPOCHS, CLASSES = 1_281_167, 5, 1000  # ImageNet-1k, and the paper's passes over it
DEVICES = (1, 4, 64)
#: What hardware is sold with: not measured here. Operations a second are dense bf16.
DATASHEET = {
    "H100 SXM, operations a second": 989e12,
    "PCIe 5.0 x16, bytes a second": 64e9,
    "NVLink of an H100, bytes a second": 450e9,
    "InfiniBand NDR, bytes a second": 50e9,
}


def main(
    backbones: Annotated[str, typer.Option(help="timm's names, separated by commas.")] = BACKBONES,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    show: Annotated[bool, typer.Option("--show", help="Only write the page's tables.")] = False,
) -> None:
    if not show:
        device = device_name()
        numbers = {
            "batch_size": batch_size,
            "threads": torch.get_num_threads(),
            "compute": {name: compute(name, batch_size) for name in backbones.split(",")},
            "loading": loading(),
        }
        origin = provenance(device, "random pixels; drawings of Aviary saved as photographs")
        name = device_slug(device)
        write_json(RESULTS / f"scale_{name}.json", {"numbers": numbers, "provenance": origin})
    PAGE.write_text(replace_part(PAGE.read_text(), "tables", tables()))


class Pixels:
    """Random images in memory, so that only the step is timed."""

    num_classes = CLASSES

    def __init__(self, side: int) -> None:
        self.image = torch.randn(3, side, side)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        about = {"label": 0, "index": 0, "boxes": torch.zeros(0, 4), "path": "", "size": (1, 1)}
        return {"image": self.image, **about}


def compute(backbone: str, batch_size: int) -> dict[str, float]:
    """Speed and memory of SAT on one backbone."""
    settings = TrainSettings.for_profile(
        "paper", dataset="imagenet", backbone=backbone, batch_size=batch_size
    )
    model = build_model(settings, CLASSES, pretrained=False)
    if torch.cuda.is_available():
        model.cuda()
    print(f"{backbone}: {batch_size} images a step", flush=True)
    return {
        "parameters": parameter_count(model),
        "gmacs": gmacs(model, settings.image_size),
        "inference_images_per_second": inference_speed(model, settings.image_size, batch_size),
        "training_images_per_second": training_speed(settings, Pixels(settings.image_size)),
        "training_mb": training_memory(settings, CLASSES),
    }


def loading(count: int = 200) -> dict[str, float]:
    """Photographs a second that one process makes ready for training, by how they are stored."""
    height, width = PHOTOGRAPH
    drawings = load("aviary", "test", transform=Transform(width, width, protocol="wsoleval"),
                    size=width)  # fmt: skip
    pictures = [
        Image.fromarray(denormalize(drawings[index]["image"])[:height]) for index in range(8)
    ]
    train = Transform(train=True)
    small = [picture.resize((train.side, train.side)) for picture in pictures]
    stored = {
        "original_jpeg": [encoded(picture, "JPEG", quality=90) for picture in pictures],
        "prepared_jpeg": [encoded(p, "JPEG", quality=95, subsampling=0) for p in small],
        "prepared_png": [encoded(p, "PNG", compress_level=0) for p in small],
    }
    return {name: photographs_per_second(files, train, count) for name, files in stored.items()}


def encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photographs_per_second(files: list[bytes], transform: Transform, count: int) -> float:
    """Decode, resize where needed, crop, normalise."""
    rng, boxes = np.random.default_rng(0), np.zeros((0, 4))
    start = time.perf_counter()
    for number in Progress(range(count), count, "photographs"):
        image = read_image(io.BytesIO(files[number % len(files)]))
        if image.size == (transform.side, transform.side):
            transform.crop(Resized(np.asarray(image), {}, PHOTOGRAPH), boxes, rng)
        else:
            transform(image, boxes, rng=rng)
    return count / (time.perf_counter() - start)


def tables() -> str:
    """What the result files hold, and what follows from them."""
    files = [read_json(path) for path in sorted(RESULTS.glob("scale_*.json"))]
    parts = [part for file in files for part in (measured(file), costs(file))]
    return "\n\n".join([*parts, arithmetic(files[0])]) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def measured(file: dict[str, Any]) -> str:
    """Compute and loading on one device."""
    numbers, origin = file["numbers"], file["provenance"]
    head = ["SAT on", "parameters, M", "GMACs", "training, images/s", "inference, images/s",
            "a training step, GB"]  # fmt: skip
    rows = [
        [name, f"{row['parameters'] / 1e6:.1f}", f"{row['gmacs']:.2f}",
         f"{row['training_images_per_second']:.1f}", f"{row['inference_images_per_second']:.1f}",
         f"{row['training_mb'] / 1e3:.2f}"]
        for name, row in numbers["compute"].items()
    ]  # fmt: skip
    kinds = {
        "original_jpeg": "JPEG of 375 × 500 pixels, as ImageNet comes",
        "prepared_jpeg": "prepared, JPEG of 256 × 256 (shards)",
        "prepared_png": "prepared, PNG of 256 × 256 (small sets)",
    }
    loads = [[text, f"{numbers['loading'][kind]:.0f}"] for kind, text in kinds.items()]
    return "\n\n".join(
        [
            f"**{origin['device']}**, {numbers['batch_size']} images a step, "
            f"{numbers['threads']} threads (measured)",
            table(head, rows),
            table(["photographs a second that one process makes ready", ""], loads),
            f"Measured: {origin['date'][:10]}, commit {origin['commit'][:10]}, {origin['data']}.",
        ]
    )


def costs(file: dict[str, Any]) -> str:
    """Hours of the paper's ImageNet run, by number of devices."""
    head = ["ImageNet, 5 epochs, SAT on", *(f"{n} device{'s' * (n > 1)}, hours" for n in DEVICES)]
    rows = []
    for name, row in file["numbers"]["compute"].items():
        hours = IMAGES * EPOCHS / row["training_images_per_second"] / 3600
        rows.append([name, *(f"{hours / n:,.1f}" for n in DEVICES)])
    text = (
        f"What follows for {file['provenance']['device']}, if devices do not slow each other down "
        "(worked out from the speed above, not measured):"
    )
    return f"{text}\n\n{table(head, rows)}"


def arithmetic(file: dict[str, Any]) -> str:
    """Where the bottleneck of an H100 would sit, from counts and data sheets."""
    row = file["numbers"]["compute"]["deit_small_patch16_224"]
    operations = 6e9 * row["gmacs"]  # forward once, backward twice, two operations each
    share = 0.4
    speed = share * DATASHEET["H100 SXM, operations a second"] / operations
    decode = file["numbers"]["loading"]
    weights = 4 * row["parameters"]
    batch = 128  # images of one device and step, as in the authors' run on four
    seconds = batch / speed
    disk = IMAGES * 256**2 * BYTES_PER_PIXEL["jpeg"]
    link = {n: 2 * (n - 1) / n * weights for n in (4, 64)}
    facts = {
        "operations of training for one image": f"6 × {row['gmacs']:.2f} G = "
        f"{operations / 1e9:.1f} G",
        f"images/s at {share:.0%} of the data sheet's operations": f"{speed:,.0f}",
        "a step of 128 images (512 on 4 devices)": f"{seconds * 1e3:.1f} ms",
        "a step of 8 images (512 on 64 devices)": f"{seconds / 16 * 1e3:.2f} ms",
        "processes that load original JPEG, to keep up": f"{speed / decode['original_jpeg']:.0f}",
        "the same from prepared JPEG": f"{speed / decode['prepared_jpeg']:.0f}",
        "host to device: 128 images of 256² as bytes over PCIe 5.0 x16": milliseconds(
            batch * 3 * 256 * 256, "PCIe 5.0 x16, bytes a second"
        ),
        "all-reduce of the gradients, 4 devices over NVLink": milliseconds(
            link[4], "NVLink of an H100, bytes a second"
        ),
        "all-reduce of the gradients, 64 devices over InfiniBand": milliseconds(
            link[64], "InfiniBand NDR, bytes a second"
        ),
        "disk for ImageNet at 256² as JPEG": f"{disk / 1e9:.0f} GB",
        "steps of five epochs, batch 512": f"{math.floor(IMAGES / 512) * EPOCHS:,}",
    }
    head = ["SAT on DeiT-S on an H100: arithmetic from data sheets, not measured", ""]
    return table(head, [[name, value] for name, value in facts.items()])


def milliseconds(size: float, link: str) -> str:
    """Time of bytes over a link of the data sheet."""
    return f"{size / DATASHEET[link] * 1e3:.2f} ms"


if __name__ == "__main__":
    typer.run(main)
