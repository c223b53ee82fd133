"""Time the paper's CUB run from the first photograph to the saved result.

    python benchmarks/end_to_end.py                      # on synthetic photographs
    python benchmarks/end_to_end.py --data-root CUB      # on CUB-200-2011 itself
    python benchmarks/end_to_end.py --scale 0.01         # a small one, on a CPU

It is :func:`satkit.train` with the paper's settings: 30 epochs of 5,994 photographs in batches of
256; six evaluations with ten crops, one after each of the last five epochs, which chooses the
epoch, and one of the kept model; and all files of the run. Synthetic photographs have CUB's counts,
sizes and layout and are drawn before the time starts. Photographs are prepared once for all runs,
so the total is told without that and with it. Writes ``results/end_to_end_<device>.json`` with the
seconds of each part; the first steps, which compile the model, are a part of their own.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.goals import goal  # noqa: E402
from satkit import TrainSettings  # noqa: E402
from satkit import train as run_training  # noqa: E402
from satkit.boxes import warm_up  # noqa: E402
from satkit.data.prepare import prepare  # noqa: E402
from satkit.data.workers import in_parallel  # noqa: E402
from satkit.results import device_name, device_slug, provenance, write_json  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
COUNTS, CLASSES = {"train": 5_994, "test": 5_794}, 200
SIZES = ((500, 375), (500, 333), (375, 500), (500, 500))  # w, h: CUB's usual ones
LIMIT_SECONDS = 120.0  # wanted on one H100
FIRST_STEPS = 2  # that compile, and make room in memory


def draw(job: tuple[Path, int]) -> None:
    """One photograph: smooth noise with a bright ellipse, a function of its number alone."""
    path, number = job
    rng = np.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    pixels = pixels + rng.integers(-12, 13, pixels.shape, dtype=np.int16)  # grain, as files have
    x0, y0, w, h = box_of(number)
    y, x = np.ogrid[:height, :width]
    inside = ((x - x0 - w / 2) / (w / 2)) ** 2 + ((y - y0 - h / 2) / (h / 2)) ** 2 <= 1
    pixels[inside] = pixels[inside] // 3 + 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def box_of(number: int) -> tuple[int, int, int, int]:
    """Box x, y, w, h of that photograph's ellipse, pixels."""
    width, height = SIZES[number % len(SIZES)]
    w, h = width // 2, height // 2
    return width // 8 + number % (width // 4), height // 8 + number % (height // 4), w, h


def synthetic_cub(root: Path, scale: float) -> Path:
    """Write photographs and tables in CUB's layout, once.

    Args:
        root: Folder to write to.
        scale: Share of CUB's counts of classes and photographs.

    Returns:
        ``root``.
    """
    if (root / "images.txt").exists():  # written last
        return root
    classes = max(2, round(CLASSES * scale))
    split = {name: max(classes, round(count * scale)) for name, count in COUNTS.items()}
    trains = [1] * split["train"] + [0] * split["test"]
    labels = [n % classes for count in split.values() for n in range(count)]
    names = [f"{c + 1:03d}.Synthetic/Synthetic_{n:05d}.jpg" for n, c in enumerate(labels)]
    jobs = [(root / "images" / name, number) for number, name in enumerate(names)]
    for _ in in_parallel(draw, jobs, 0):
        pass
    tables: dict[str, Iterator[str] | list[str]] = {
        "classes": [f"{c + 1:03d}.Synthetic" for c in range(classes)],
        "image_class_labels": [str(label + 1) for label in labels],
        "train_test_split": [str(train) for train in trains],
        "bounding_boxes": [" ".join(f"{v:.1f}" for v in box_of(n)) for n in range(len(names))],
        "images": names,
    }
    for name, rows in tables.items():
        text = "".join(f"{n} {row}\n" for n, row in enumerate(rows, start=1))
        (root / f"{name}.txt").write_text(text)
    return root


class Clock:
    """Seconds of the parts of a run: each method that is watched, without those inside of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.open: list[str] = []
        self.last = time.perf_counter()

    def switch(self) -> None:
        """Book the time since the last switch on the part that is open."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self.open[-1] if self.open else "rest"] += now - self.last
        self.last = now

    def watch(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time booked on a part."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.switch()
            self.open.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.open.pop()

        return timed

    def watch_items(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that gives an iterator, with the time of waiting for items booked."""

        def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = iter(self.watch(part, function)(*args, **kwargs))
            ask = self.watch(part, lambda: next(items, self))
            while (item := ask()) is not self:
                yield item

        return timed


def timed_run(settings: TrainSettings) -> tuple[dict[str, float], list[float], Any]:
    """Train and evaluate; seconds by part, seconds of each epoch's training, and the run."""
    module = sys.modules["satkit.training"]
    loop, clock = module._Loop, Clock()
    epochs: list[float] = []
    first = clock.watch("first steps", loop._optimize)
    train_epoch = loop._run_epoch
    watched = [
        (loop, "_optimize", "steps"), (loop, "_collect", "evaluation"),
        (module, "score", "evaluation"), (module, "predictions", "evaluation"),
        (loop, "_save_state", "saving"), (loop, "_save_model", "saving"),
        (loop, "_write_results", "saving"), (loop, "_loader", "loading"),
    ]  # fmt: skip
    kept = [(place, name, getattr(place, name)) for place, name, _ in watched]
    for place, name, part in watched:
        watch = clock.watch_items if part == "loading" else clock.watch
        setattr(place, name, watch(part, getattr(place, name)))
    kept.append((loop, "_run_epoch", train_epoch))
    later = loop._optimize

    def optimize(self: Any, *given: Any) -> Any:
        return (first if len(self.steps) < FIRST_STEPS else later)(self, *given)

    def run_epoch(self: Any, *given: Any) -> None:
        before = self.seconds
        train_epoch(self, *given)
        epochs.append(self.seconds - before)

    loop._optimize, loop._run_epoch = optimize, run_epoch
    start = time.perf_counter()
    try:
        run = run_training(settings, force=True)
    finally:
        for place, name, function in kept:
            setattr(place, name, function)
    clock.switch()
    return {**clock.seconds, "total": time.perf_counter() - start}, epochs, run


def main(
    data_root: Annotated[str, typer.Option(help="CUB's folder; '': synthetic ones.")] = "",
    folder: Annotated[Path, typer.Option(help="Of photographs and runs.")] = ROOT / "build" / "cub",
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = RESULTS,
    scale: Annotated[float, typer.Option(help="Share of classes, photographs, epochs.")] = 1.0,
    backbone: Annotated[str, typer.Option()] = "deit_small_patch16_224",
    image_size: Annotated[int, typer.Option(help="Pixels; the paper: 224.")] = 224,
    batch_size: Annotated[int, typer.Option(help="The paper: 256.")] = 256,
    workers: Annotated[int, typer.Option(help="That load; -1: as satkit chooses.")] = -1,
    compile: Annotated[bool, typer.Option(help="torch.compile the model.")] = True,
) -> None:
    side = round(image_size * 256 / 224)
    root = Path(data_root) if data_root else synthetic_cub(folder / f"synthetic_{scale:g}", scale)
    started = time.perf_counter()
    prepare("cub", root, side, splits=("train", "test"))
    prepared = time.perf_counter() - started
    settings = TrainSettings.for_profile(
        "paper", dataset="cub", data_root=str(root), runs_dir=str(folder / "runs"),
        backbone=backbone, image_size=image_size, resize_size=side, batch_size=batch_size,
        pretrained=False, compile=compile, epochs=max(2, round(30 * scale)),
        evaluate_from=max(1, round(26 * scale)),
        workers=workers,
    )  # fmt: skip
    warm_up()
    seconds, epochs, run = timed_run(settings)
    images = run.metrics["train_images_per_second"] * run.metrics["train_seconds"] / len(epochs)
    device = device_name()
    whole = f"the whole run at scale {scale:g} (wanted on an H100 at scale 1)"
    report = {
        "seconds": seconds,
        "prepare_seconds": prepared,
        "total_with_preparation": seconds["total"] + prepared,
        "epoch_seconds": epochs,
        "scale": scale,
        "photographs": "CUB-200-2011" if data_root else "synthetic",
        "goals": {whole: goal(seconds["total"], LIMIT_SECONDS, more=False, unit="s")},
        "notes": [
            f"With preparing the photographs, which took {prepared:.1f} s this time, it is "
            f"{seconds['total'] + prepared:.1f} s.",
            "A folder that is prepared already takes none.",
        ],
        "train_images_per_second_from_epoch_2": images * len(epochs[1:]) / sum(epochs[1:]),
        "settings": settings.model_dump(mode="json", exclude={"data_root", "runs_dir"}),
        "load_average": os.getloadavg()[0],
        "provenance": provenance(device, run.provenance["data"]),
    }  # fmt: skip
    for part, value in seconds.items():
        print(f"{part:12} {value:8.1f} s")
    print(report["notes"][0])
    slug = device_slug(device) + ("" if scale == 1 else "_scaled")
    write_json(out / f"end_to_end_{slug}.json", report)


if __name__ == "__main__":
    typer.run(main)
