"""Boxes and overlay pictures for any photographs, by a trained run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from satkit._cv2 import cv2
from satkit.boxes import component_boxes, prepare_maps
from satkit.data import Transform, read_image
from satkit.progress import Progress
from satkit.results import Run, open_run, write_atomically

#: Files with these endings are taken from a folder
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif"}
#: Longest side on which boxes are found and overlays drawn, pixels
WORK_SIDE = 640


class Predictions(NamedTuple):
    """What `predict` found.

    Attributes:
        boxes: One row a photograph: ``file width height x0 y0 x1 y1 label class score threshold
            overlay``; boxes half-open, in pixels of the photograph as it is displayed.
        unreadable: Files that were skipped, with the reason.
    """

    boxes: pd.DataFrame
    unreadable: dict[str, str]


def predict(
    paths: Sequence[str | Path],
    checkpoint: str | Path,
    out: str | Path,
    *,
    threshold: float | None = None,
) -> Predictions:
    """Localize the object of each photograph, and write boxes and overlays.

    Photographs are resized whole to the model's input (no crop), so the box may lie anywhere. Maps
    become boxes by SAT's protocol, at the threshold that the run chose.

    Args:
        paths: Image files, and folders whose images (at any depth) are taken.
        checkpoint: A run's folder, or its ``model.safetensors``.
        out: Folder for ``boxes.csv``, ``boxes.json`` and ``overlays/``.
        threshold: On the maps, 0–1; the run's where None.

    Returns:
        Boxes, and the files that could not be read.

    Raises:
        FileNotFoundError: No such run, file or folder.
        ValueError: A folder without images, or a threshold outside 0–1.
    """
    run = open_run(checkpoint)
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected a number in 0-1, as maps are")
    chosen = float(run.metrics["threshold"]) if threshold is None else threshold
    files = find_images(paths)
    model = run.model()
    overlays = Path(out) / "overlays"
    overlays.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    unreadable: dict[str, str] = {}
    for number, file in enumerate(Progress(files, len(files), "predict")):
        try:
            photograph = read_image(file)
        except ValueError as error:
            unreadable[str(file)] = str(error)
            continue
        row, picture = _localize(model, run, photograph, chosen)
        name = f"{number:05d}_{file.stem}.jpg"
        rows.append({"file": str(file), **row, "overlay": f"overlays/{name}"})
        picture.save(overlays / name, quality=90)  # without the photograph's EXIF data
    table = pd.DataFrame(rows)
    write_atomically(Path(out) / "boxes.csv", table.to_csv(index=False))
    write_atomically(Path(out) / "boxes.json", json.dumps(rows, indent=1) + "\n")
    return Predictions(table, unreadable)


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Image files among files and folders.

    Args:
        paths: Image files, and folders whose images (at any depth) are taken.

    Returns:
        The files, those of a folder in order.

    Raises:
        FileNotFoundError: No such file or folder.
        ValueError: A folder without images.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            images = sorted(f for f in path.rglob("*") if f.suffix.lower() in ENDINGS)
            if not images:
                raise ValueError(f"folder {str(path)!r} holds no images ({', '.join(ENDINGS)})")
            files += images
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"there is no file or folder {str(path)!r}")
    return files


class Heat(NamedTuple):
    """What a run says about one photograph, before any threshold.

    Attributes:
        picture: The photograph, its longer side at most ``WORK_SIDE``; uint8 [H, W, 3].
        map: [H, W], 0-1.
        scores: Probability of each class [C].
        size: (width, height) of the photograph.
    """

    picture: np.ndarray
    map: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]

    def box(self, threshold: float) -> np.ndarray:
        """Box in pixels of the picture, half-open xyxy, above a threshold in 0-1."""
        return np.asarray(component_boxes(self.map[None], [threshold]))[0, 0]


@torch.inference_mode()
def heat_of(model: nn.Module, run: Run, photograph: Image.Image) -> Heat:
    """Draw the localization map of a photograph, which is resized whole, without a crop.

    Args:
        model: ``run.model()``.
        run: The run.
        photograph: RGB, as :func:`satkit.data.read_image` gives it.

    Returns:
        Its map and class scores.
    """
    side = run.settings.image_size
    transform = Transform(image_size=side, resize_size=side, protocol="wsoleval")  # no crop
    item = transform(photograph, np.empty((0, 4)))
    output = model(item["image"][None])
    small = photograph.copy()
    small.thumbnail((WORK_SIDE, WORK_SIDE))
    heat = prepare_maps(output.maps, (small.height, small.width))[0]  # [H, W]
    return Heat(np.asarray(small), heat, output.logits.softmax(dim=1)[0].numpy(), photograph.size)


def _localize(
    model: nn.Module, run: Run, photograph: Image.Image, threshold: float
) -> tuple[dict[str, Any], Image.Image]:
    heat = heat_of(model, run, photograph)
    label = int(heat.scores.argmax())
    found = heat.box(threshold)
    scale = np.array([photograph.width, photograph.height] * 2) / (heat.map.shape[::-1] * 2)
    box = np.round(found * scale).astype(int).tolist()
    row = {
        "width": photograph.width,
        "height": photograph.height,
        **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        "label": label,
        "class": run.provenance["classes"][label],
        "score": round(float(heat.scores[label]), 6),
        "threshold": threshold,
    }
    return row, overlay(heat.picture, heat.map, found)


def overlay(image: np.ndarray, heat: np.ndarray, box: np.ndarray) -> Image.Image:
    """Lay a map and a box over an image.

    Args:
        image: uint8 [H, W, 3].
        heat: Map in 0–1 [H, W].
        box: Half-open xyxy in pixels.

    Returns:
        The picture, of the image's size.
    """
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    picture = np.ascontiguousarray((0.55 * image + 0.45 * colours).astype(np.uint8))
    x0, y0, x1, y1 = (int(v) for v in box)
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (0, 0, 0), 4, cv2.LINE_AA)
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (255, 255, 255), 2, cv2.LINE_AA)
    return Image.fromarray(picture)
