"""Where the time of loading goes, and how long training waits for images.

    python benchmarks/data.py
    python benchmarks/data.py --data-root FOLDER     # Tiny-ImageNet too
    python benchmarks/data.py --small                # seconds, to see that it runs

Stages are timed one by one in one process and one thread. What is compared is timed in turn in the
same run, by the CPU time of the process, so that other work on the machine disturbs it little; the
results must be equal bit for bit, else nothing is written. Writes ``results/data_<device>.json``.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.goals import goal, say
from satkit import data, train
from satkit.data.aviary import Aviary, draw_bird
from satkit.data.files import open_file
from satkit.data.images import read_image, read_jpeg
from satkit.data.loader import auto_workers
from satkit.data.photographs import Photographs
from satkit.data.prepare import prepare
from satkit.data.transforms import ten_views, to_images
from satkit.results import device_name, device_slug, provenance, write_json
from satkit.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
PHOTOGRAPH = (375, 500)  # h, w: a typical photograph of CUB and ImageNet
BATCH = 32
CORES = 16  # of the machine that the goal speaks of
WANTED = 6000  # images a second that such a machine has to make ready
DRAWS = "aviary, first run"  # is told, but is no goal: drawing is done once on a machine


def main(
    data_root: Annotated[str, typer.Option(help="Folder or .zip of Tiny-ImageNet.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = RESULTS,
    small: Annotated[bool, typer.Option("--small", help="Few images, once.")] = False,
) -> None:
    count, repeats, side = (8, 1, 64) if small else (256, 5, 224)
    about = provenance(device_name(), "drawings of Aviary, also saved as photographs")
    about |= {"load_average": os.getloadavg()[0], "affinity": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SATKIT_CACHE"] = str(folder / "cache")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        sets = make_sets(folder, count, data_root)
        numbers: dict[str, Any] = {
            "images": count,
            "batch": BATCH,
            "stages, images/s in one process": {n: stages(s) for n, s in sets.items()},
            "drawing": drawing(count),
            "decoders": decoders(sets["cub_like, shards"], repeats),
            "bytes against floats": batches_compared(sets, repeats),
        }
        torch.set_num_threads(threads)
        numbers["loader alone, images/s"] = {n: loaders(s) for n, s in sets.items()}
        numbers["waiting"] = waiting(folder, count, side, data_root)
    numbers["arithmetic, not measured"] = arithmetic(numbers)
    goals = goals_of(numbers)
    say(goals)
    out.mkdir(parents=True, exist_ok=True)
    name = device_slug(about["device"])
    drawn = 100 * numbers["waiting"][DRAWS]["data_wait_share"]
    note = (
        f"The first run on Aviary draws its images, once on a machine, and waits {drawn:.3g} % of "
        "the time for them; this is no goal."
    )
    content = {"numbers": numbers, "goals": goals, "notes": [note], "provenance": about}
    write_json(out / f"data_{name}.json", content)


def make_sets(folder: Path, count: int, data_root: str) -> dict[str, Any]:
    """The sets that are profiled, each cut to the same number of training images."""
    photographs, aviary = folder / "cub_like", data.Transform(96, 110, train=True)
    for split in ("train", "test"):
        for index in range(count):
            save_photograph(photographs / split / str(index % 4) / f"{index:04d}.jpg", index)
    sets: dict[str, Any] = {"aviary": Aviary(length=count, transform=aviary)}
    crops = data.Transform(train=True)
    sets["cub_like, original"] = data.load("folder", "train", photographs, crops)
    for name, shards in (("PNG", False), ("shards", True)):
        prepare("folder", photographs, shards=shards, out=folder / name, workers=1)
        sets[f"cub_like, {name}"] = data.load("folder", "train", folder / name, crops)
    if data_root:
        sets["tiny_imagenet"] = tiny_imagenet(data_root, count, aviary)
    return sets


def tiny_imagenet(data_root: str, count: int, transform: data.Transform) -> Photographs:
    """Some photographs of Tiny-ImageNet, spread evenly over it."""
    tiny = data.load("tiny_imagenet", "train", data_root, transform)
    assert isinstance(tiny, Photographs)
    spread = [int(index) for index in np.linspace(0, len(tiny) - 1, count)]
    tiny.records = [tiny.records[index] for index in spread]
    tiny.stored = tiny.stored and tiny.stored.take(spread)
    return tiny


def save_photograph(path: Path, seed: int) -> None:
    """Save a drawing with the size of a photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = PHOTOGRAPH
    drawing = draw_bird(seed % 8, 224, label=seed % 8).image  # eight are enough to decode
    picture = Image.fromarray(drawing).resize((width, height))
    grains = np.random.default_rng(seed).integers(0, 12, (height, width, 3), dtype=np.uint8)
    Image.fromarray(np.asarray(picture) // 2 + 60 + grains).save(path, quality=90)


def rate(work: Callable[[], Any], images: int) -> float:
    """Images a second of CPU time."""
    start = time.process_time()
    work()
    return images / max(time.process_time() - start, 1e-9)


def stages(dataset: Any) -> dict[str, float]:
    """Images a second of each stage alone."""
    indices = range(len(dataset))
    speed: dict[str, float] = {}
    if isinstance(dataset, Photographs):
        speed["read"] = rate(lambda: [read_bytes(dataset, i) for i in indices], len(dataset))
        speed["read, decode, resize"] = rate(
            lambda: [dataset.read_resized(i) for i in indices], len(dataset)
        )
        kept = [dataset.read_resized(i) for i in indices]
        rngs = [np.random.default_rng([0, 0, i]) for i in indices]
        boxes = np.zeros((1, 4))
        speed["choose the crop"] = rate(
            lambda: [dataset.transform.aim(k, boxes, r) for k, r in zip(kept, rngs, strict=True)],
            len(dataset),
        )
    raw = [dataset.raw(i) for i in indices]
    chunks = [raw[at : at + BATCH] for at in range(0, len(raw), BATCH)]
    speed["collate"] = rate(lambda: [data.collate(chunk) for chunk in chunks], len(raw))
    batches = [data.collate(chunk) for chunk in chunks]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        speed["upload"] = upload_rate(batches, device)
    moved = [(b["pixels"].to(device), b["window"]) for b in batches]
    if device.type == "cuda":
        speed["cut, mirror, normalise"] = wall_rate(moved)
    else:
        speed["cut, mirror, normalise"] = rate(
            lambda: [to_images(*batch) for batch in moved], len(raw)
        )
    return speed


def upload_rate(batches: list[dict[str, Any]], device: torch.device) -> float:
    """Images a second from pinned memory to a GPU, after a first batch."""
    pinned = [batch["pixels"].pin_memory() for batch in batches]
    pinned[0].to(device)
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for pixels in pinned:
        pixels.to(device, non_blocking=True)
    torch.cuda.synchronize(device)
    return sum(map(len, pinned)) / (time.perf_counter() - start)


def wall_rate(moved: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Images a second that a GPU cuts, after a first batch."""
    to_images(*moved[0])
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batch in moved:
        to_images(*batch)
    torch.cuda.synchronize()
    return sum(len(pixels) for pixels, _ in moved) / (time.perf_counter() - start)


def read_bytes(dataset: Photographs, index: int) -> bytes:
    """The file of a photograph."""
    if dataset.stored:
        return dataset.stored.read_bytes(index)
    with open_file(dataset.root, dataset.records[index].path) as file:
        return file.read()


def drawing(count: int) -> dict[str, float]:
    """Drawings a second: drawn, taken from the file that an earlier process left, from memory."""
    kind = {"length": count, "size": 96, "drawing_seed": 1}
    fresh, shelved = Aviary(cache=False, **kind), Aviary(**kind)
    drawn = rate(lambda: [fresh.drawing(i) for i in range(count)], count)
    for index in range(count):
        shelved.drawing(index)  # puts them into the file
    shelved._kept.clear()
    from_file = rate(lambda: [shelved.drawing(i) for i in range(count)], count)
    equal = all(
        np.array_equal(shelved.drawing(i).image, fresh.drawing(i).image) for i in range(0, count, 8)
    )
    require(equal, "a drawing from its file and the same drawn anew")
    shelved.transform = data.Transform(96, 96, train=True)
    loader = data.Loader(shelved, torch.device("cpu"), 0)
    whole = rate(lambda: list(loader(data.in_order(count, BATCH))), count)
    return {"drawn": drawn, "from their file": from_file, "batches from memory": whole}


def decoders(dataset: Photographs, repeats: int) -> dict[str, float]:
    """Prepared JPEG files a second: Pillow as before, and the decoder that is used."""
    files = [read_bytes(dataset, index) for index in range(len(dataset))]
    ways = {
        "Pillow": lambda: [np.asarray(read_image(io.BytesIO(file))) for file in files],
        "OpenCV": lambda: [read_jpeg(file, "") for file in files],
    }
    first, second = (way() for way in ways.values())
    require(all(map(np.array_equal, first, second)), "the pixels of Pillow and OpenCV")
    speed = in_turn(ways, len(files), repeats)
    return speed | {"ratio": speed["OpenCV"] / speed["Pillow"]}


def batches_compared(sets: dict[str, Any], repeats: int) -> dict[str, dict[str, float]]:
    """Batches a second, of finished items and of bytes, from images that are in memory."""
    compared = {"aviary at 96²": sets["aviary"]}
    root = Path(sets["cub_like, shards"].stored.folder.url).parents[1]
    for name, transform in (
        ("training at 224²", data.Transform(train=True)),
        ("ten-crop at 224²", data.Transform(ten_crop=True)),
    ):
        compared[name] = data.load("folder", "train", root, transform, cache=True)
    return {name: compare_batches(dataset, repeats) for name, dataset in compared.items()}


def compare_batches(dataset: Any, repeats: int) -> dict[str, float]:
    """Both forms in turn."""
    order = data.in_order(min(len(dataset), 64), BATCH)
    ten, side = dataset.transform.ten_crop, dataset.transform.image_size
    plain = DataLoader(dataset, batch_sampler=order, collate_fn=data.collate)
    loader = data.Loader(dataset, torch.device("cpu"), 0)

    def floats() -> list[torch.Tensor]:
        views = (batch["crops"].unbind(1) if ten else [batch["image"]] for batch in plain)
        return [view for some in views for view in some]

    def from_bytes() -> list[torch.Tensor]:
        views = (ten_views(b["pixels"], side) if ten else [b["image"]] for b in loader(order))
        return [view for some in views for view in some]

    require(all(map(torch.equal, floats(), from_bytes())), "batches of floats and of bytes")
    ways = {"floats": floats, "bytes": from_bytes}
    speed = in_turn(ways, sum(map(len, order)), repeats)
    return speed | {"ratio": speed["bytes"] / speed["floats"]}


def in_turn(ways: dict[str, Callable[[], Any]], images: int, repeats: int) -> dict[str, float]:
    """Median images a second of CPU time, one way after the other in each round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(rate(way, images))
    return {name: statistics.median(values) for name, values in found.items()}


def loaders(dataset: Any) -> dict[str, float]:
    """Images a second of wall time with no model, after a first pass: alone, and with workers.

    With workers, also by the CPU time of the main process, which is all that they leave to it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    speed = {}
    for workers in sorted({0, auto_workers(device), len(os.sched_getaffinity(0))}):
        loader = data.Loader(dataset, device, workers)
        order = data.in_order(len(dataset), BATCH)
        for _ in loader(order):
            pass
        synchronize(device)
        start, busy = time.perf_counter(), time.process_time()
        for _ in loader(order):
            pass
        synchronize(device)
        speed[f"{workers} workers"] = len(dataset) / (time.perf_counter() - start)
        if workers:
            key = f"{workers} workers, by the main process's own time"
            speed[key] = len(dataset) / (time.process_time() - busy)
    return speed


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def waiting(folder: Path, count: int, side: int, data_root: str) -> dict[str, dict[str, float]]:
    """Share of its time that SAT on the shipped backbone waits for data, trained twice over.

    The first run draws Aviary, the second finds the drawings. Photographs are decoded in both.
    """
    sets = {
        "aviary": {"dataset": "aviary"},
        "cub_like, shards": {"dataset": "folder", "data_root": str(folder / "shards")},
    }
    if data_root:
        sets["tiny_imagenet"] = {"dataset": "tiny_imagenet", "data_root": data_root}
    found = {}
    for name, given in sets.items():
        sizes = {"image_size": side, "resize_size": 256} if "cub" in name else {}
        settings = TrainSettings.for_profile(
            "smoke", runs_dir=str(folder / "runs"), batch_size=min(BATCH, count // 4), epochs=2,
            train_images=count // 2, eval_images=4, selection="test", **given, **sizes,
        )  # fmt: skip
        for run in ("first run", "second run"):
            origin = train(settings, force=True).provenance
            keys = ("train_images_per_second", "data_wait_share")
            found[f"{name}, {run}"] = {key: origin[key] for key in keys}
    return found


def arithmetic(numbers: dict[str, Any]) -> dict[str, Any]:
    """What many cores would give if each did as much as the one that was measured."""
    one = numbers["stages, images/s in one process"]["cub_like, shards"]
    seconds = sum(1 / one[k] for k in ("read, decode, resize", "choose the crop", "collate"))
    return {
        f"prepared photographs a second on {CORES} cores": CORES / seconds,
        "cores for the wanted images a second": WANTED * seconds,
        "wanted images a second": WANTED,
    }


def goals_of(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was aimed at, and reached or not."""
    per_second, ways = "images/s", numbers["bytes against floats"]
    drawn, waited = numbers["drawing"], numbers["waiting"]
    goals = {
        "Aviary at 96², batches": goal(drawn["batches from memory"], 1000, unit=per_second),
        "Aviary at 96², drawings from their file": goal(
            drawn["from their file"], 1000, unit=per_second
        ),
        "Aviary, file against drawing": goal(drawn["from their file"] / drawn["drawn"], 10),
        "JPEG, OpenCV against Pillow": goal(numbers["decoders"]["ratio"], 1.2),
    }
    for name, row in ways.items():
        goals[f"batches of bytes against floats, {name}"] = goal(row["ratio"], 1)
    for name, row in waited.items():
        if name == DRAWS:
            continue
        share = 100 * row["data_wait_share"]
        goals[f"waiting for data, shipped backbone, {name}"] = goal(
            share, 5, more=False, unit="% of the time"
        )
    return goals


def require(equal: bool, what: str) -> None:
    """Stop where two ways do not agree."""
    if not equal:
        raise ValueError(f"{what} differ: nothing is written")


if __name__ == "__main__":
    typer.run(main)
