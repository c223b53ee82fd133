"""From a photograph with its boxes and masks to what the model sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from satkit.choices import check_choice

Protocol = Literal["sat", "wsoleval", "tscam"]
Array = npt.NDArray[Any]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Resized(NamedTuple):
    """A photograph after the resize and before the crop: the part worth keeping in memory."""

    image: npt.NDArray[np.uint8]  # [R, R, 3]
    masks: dict[str, Array]  # each [R, R]
    size: tuple[int, int]  # (h, w) of the photograph


class Window(NamedTuple):
    """The square part of a resized photograph that the model sees, perhaps mirrored; in pixels."""

    left: int
    top: int
    side: int
    flip: bool


def normalize(image: npt.NDArray[np.uint8]) -> Tensor:
    """Scale an image to 0..1 and normalise it with ImageNet's mean and deviation.

    Args:
        image: uint8 [H, W, 3].

    Returns:
        float [3, H, W].
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    floats = F.to_dtype(tensor, torch.float32, scale=True)
    normalized: Tensor = F.normalize(floats, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return normalized


def to_images(pixels: Tensor, windows: Tensor) -> Tensor:
    """Cut, mirror and normalise a batch, on the device where its pixels are.

    Args:
        pixels: uint8 [B, R, R, 3], of resized photographs.
        windows: int [B, 4], a `Window` for each, all of one side; on the CPU.

    Returns:
        float [B, 3, S, S]; on the CPU, bit for bit what `Transform.crop` gives for each.
    """
    cut = _cut_slices if pixels.device.type == "cpu" else _gather_windows
    planes = cut(pixels, windows).permute(0, 3, 1, 2)  # [B, 3, S, S]
    floats = planes.to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = _statistics(pixels.device)
    return floats.mul_(1 / 255).sub_(mean).div_(std)


def _cut_slices(pixels: Tensor, windows: Tensor) -> Tensor:
    """Cut the windows [B, S, S, 3] one by one: rows are copied whole, the fastest on a CPU."""
    side = int(windows[0, 2])
    out = torch.empty((len(pixels), side, side, 3), dtype=torch.uint8)
    for target, square, (left, top, _, flip) in zip(out, pixels, windows.tolist(), strict=True):
        part = square[top : top + side, left : left + side]
        target.copy_(part.flip(1) if flip else part)
    return out


def _gather_windows(pixels: Tensor, windows: Tensor) -> Tensor:
    """Cut the windows [B, S, S, 3] all at once, as a GPU wants it."""
    side = int(windows[0, 2])
    left, top, _, flip = windows.to(pixels.device, non_blocking=True)[:, :, None].unbind(1)
    along = torch.arange(side, device=pixels.device)[None]
    rows = top + along  # [B, S]
    columns = left + torch.where(flip > 0, side - 1 - along, along)
    batch = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return pixels[batch, rows[:, :, None], columns[:, None, :]]


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and deviation, each [3, 1, 1]; kept, since copying them makes a GPU wait."""
    mean, std = (
        torch.tensor(v, device=device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return mean, std


def denormalize(image: Tensor) -> npt.NDArray[np.uint8]:
    """Undo `normalize`, to show what the model saw.

    Args:
        image: float [3, H, W].

    Returns:
        uint8 [H, W, 3].
    """
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    values = (image.cpu() * std + mean).mul(255).round().clamp(0, 255)
    return values.byte().permute(1, 2, 0).numpy()


def ten_crop(image: Tensor, image_size: int) -> Tensor:
    """Cut the four corners and the centre, then the same of the mirrored image.

    Args:
        image: [3, R, R], at the resize size.
        image_size: side of the crops, pixels.

    Returns:
        [10, 3, image_size, image_size]; number 4 is the centre crop.
    """
    return torch.stack(list(F.ten_crop(image, [image_size, image_size])))


def ten_views(pixels: Tensor, image_size: int) -> Iterator[Tensor]:
    """Make the crops of `ten_crop` for a batch, one view after the other from the same pixels.

    Args:
        pixels: uint8 [B, R, R, 3], of resized photographs.
        image_size: side of the crops, pixels.

    Yields:
        float [B, 3, image_size, image_size], ten times; normalised.
    """
    far = pixels.shape[1] - image_size
    middle = round(far / 2)
    corners = [(0, 0), (far, 0), (0, far), (far, far), (middle, middle)]  # left, top
    plain = [Window(left, top, image_size, False) for left, top in corners]
    mirrored = [Window(far - left, top, image_size, True) for left, top in corners]
    for window in plain + mirrored:
        yield to_images(pixels, torch.tensor([window] * len(pixels)))


@dataclass(frozen=True)
class Transform:
    """Resize without regard to aspect, crop, and normalise; boxes and masks follow.

    Training resizes to resize_size², takes a random crop of image_size² and mirrors it half of
    the time. Evaluation under "sat" takes the centre crop; under "wsoleval" and "tscam" it resizes
    straight to image_size² and crops nothing (Choe et al., "Evaluating Weakly Supervised Object
    Localization Methods Right", CVPR 2020; the code of TS-CAM).

    Args:
        image_size: side of the crop that the model sees, pixels.
        resize_size: side of the square before the crop, pixels.
        train: augment.
        protocol: "sat" (the authors' code), "wsoleval" or "tscam".
        ten_crop: add `crops` [10, 3, H, W] to each item, for the classification of "sat".

    Raises:
        ValueError: a size or a combination makes no sense.
    """

    image_size: int = 224
    resize_size: int = 256
    train: bool = False
    protocol: Protocol = "sat"
    ten_crop: bool = False

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, get_args(Protocol))
        if not 1 <= self.image_size <= self.resize_size:
            raise ValueError(
                f"image_size {self.image_size} must be between 1 and "
                f"resize_size {self.resize_size}, since it is cut out of that"
            )
        if self.ten_crop and (self.train or self.protocol != "sat"):
            raise ValueError("ten_crop is for evaluation under protocol='sat' only")

    @property
    def side(self) -> int:
        """Side of the square to which photographs are resized, pixels."""
        cropped = self.train or self.protocol == "sat"
        return self.resize_size if cropped else self.image_size

    def __call__(
        self,
        image: Image.Image,
        boxes: Array,
        masks: Mapping[str, Array] | None = None,
        rng: np.random.Generator | None = None,
    ) -> dict[str, Any]:
        """Transform one photograph.

        Args:
            image: RGB.
            boxes: float [n, 4], xyxy pixels of the photograph.
            masks: name -> [h, w], bool or uint8.
            rng: where the random crop comes from; needed for training.

        Returns:
            image float [3, H, W]; boxes float [n, 4], xyxy pixels of the crop; each mask as a
            tensor [H, W] of its own type; crops where `ten_crop` is set.
        """
        return self.crop(self.resize(image, masks or {}), boxes, rng)

    def resize(self, image: Image.Image, masks: Mapping[str, Array]) -> Resized:
        """Resize a photograph (bilinear) and its masks (nearest): all that has no randomness."""
        small = F.resize(image, [self.side, self.side])
        small_masks = {name: resize_nearest(mask, self.side) for name, mask in masks.items()}
        return Resized(np.asarray(small), small_masks, (image.height, image.width))

    def crop(
        self, resized: Resized, boxes: Array, rng: np.random.Generator | None = None
    ) -> dict[str, Any]:
        """Do the rest of `__call__`, on what `resize` returned."""
        return self.finish(self.aim(resized, boxes, rng))

    def aim(
        self, resized: Resized, boxes: Array, rng: np.random.Generator | None = None
    ) -> dict[str, Any]:
        """Choose the window of an item, and cut all but its pixels: they are left to `to_images`.

        Returns:
            As `__call__`, but in place of the image pixels uint8 [R, R, 3], which are those of
            `resized`, and window, a `Window`.
        """
        window = self._choose_window(rng)
        item: dict[str, Any] = {"pixels": resized.image, "window": window}
        item["boxes"] = self._crop_boxes(boxes, resized.size, window)
        for name, mask in resized.masks.items():
            item[name] = torch.from_numpy(_cut(mask, window).copy())
        return item

    def finish(self, item: dict[str, Any]) -> dict[str, Any]:
        """Put the image, and the crops where `ten_crop` is set, in place of pixels and window."""
        made = {"image": normalize(_cut(item["pixels"], item["window"]))}
        if self.ten_crop:
            made["crops"] = ten_crop(normalize(item["pixels"]), self.image_size)
        return made | {k: v for k, v in item.items() if k not in ("pixels", "window")}

    def _choose_window(self, rng: np.random.Generator | None) -> Window:
        margin, side = self.side - self.image_size, self.image_size
        if not self.train:
            return Window(round(margin / 2), round(margin / 2), side, False)
        if rng is None:
            raise ValueError("training crops are random: pass rng=numpy.random.default_rng(...)")
        left, top = rng.integers(0, margin + 1, size=2)
        return Window(int(left), int(top), side, bool(rng.random() < 0.5))

    def _crop_boxes(self, boxes: Array, size: tuple[int, int], window: Window) -> Tensor:
        """Move boxes into the crop.

        Evaluation follows the official codes to the pixel. "sat" is int(max(x/w·256 − 16, 0)) for
        the first corner and int(min(x/w·256 − 16, 223)) for the second: a box that lies outside
        of the crop comes out degenerate, is kept, and cannot be hit (446 boxes of ImageNet's
        validation set). "tscam" is the same without a crop: int(x/w·224), at most 223.
        "wsoleval" is int(x·224/w). Training keeps fractions, clips at the
        border of the crop and also keeps a box of no area, one row for each object.
        """
        (height, width), (left, top, _, flip) = size, window
        xyxy = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        frame, last = np.array([width, height] * 2), float(self.image_size - 1)
        if self.train:
            moved = (xyxy / frame * self.side - [left, top, left, top]).clip(0, self.image_size)
            if flip:
                moved[:, [0, 2]] = self.image_size - moved[:, [2, 0]]
        elif self.protocol != "wsoleval":
            moved = xyxy / frame * self.side - [left, top, left, top]
            moved = np.trunc(np.hstack([moved[:, :2].clip(0), moved[:, 2:].clip(max=last)]))
        else:
            moved = np.trunc(xyxy * self.side / frame)
        return torch.from_numpy(moved.astype(np.float32))


def _cut(array: Array, window: Window) -> Array:
    """Cut a window out of a picture [R, R, ...]."""
    rows, columns = (slice(at, at + window.side) for at in (window.top, window.left))
    return array[rows, columns][:, :: -1 if window.flip else 1]


def resize_nearest(mask: Array, side: int) -> Array:
    """Resize a mask to the nearest neighbour, by OpenCV's choice of it, as the WSOL evaluation.

    Args:
        mask: [h, w].
        side: in pixels.

    Returns:
        [side, side], of the same type.
    """
    height, width = mask.shape
    steps = np.arange(side)
    return mask[np.ix_(steps * height // side, steps * width // side)]
