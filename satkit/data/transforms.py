"""From a photograph with its boxes and masks to what the model sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        left, top, flip = self._choose_crop(rng)
        rows, columns = (slice(start, start + self.image_size) for start in (top, left))
        step = -1 if flip else 1
        item: dict[str, Any] = {
            "image": normalize(resized.image[rows, columns][:, ::step]),
            "boxes": self._crop_boxes(boxes, resized.size, left, top, flip),
        }
        for name, mask in resized.masks.items():
            item[name] = torch.from_numpy(mask[rows, columns][:, ::step].copy())
        if self.ten_crop:
            item["crops"] = ten_crop(normalize(resized.image), self.image_size)
        return item

    def _choose_crop(self, rng: np.random.Generator | None) -> tuple[int, int, bool]:
        margin = self.side - self.image_size
        if not self.train:
            return round(margin / 2), round(margin / 2), False
        if rng is None:
            raise ValueError("training crops are random: pass rng=numpy.random.default_rng(...)")
        left, top = rng.integers(0, margin + 1, size=2)
        return int(left), int(top), bool(rng.random() < 0.5)

    def _crop_boxes(
        self, boxes: Array, size: tuple[int, int], left: int, top: int, flip: bool
    ) -> Tensor:
        """Move boxes into the crop.

        Evaluation follows the official codes to the pixel. "sat" is int(max(x/w·256 − 16, 0)) for
        the first corner and int(min(x/w·256 − 16, 223)) for the second: a box that lies outside
        of the crop comes out degenerate, is kept, and cannot be hit (446 boxes of ImageNet's
        validation set). "tscam" is the same without a crop: int(x/w·224), at most 223.
        "wsoleval" is int(x·224/w). Training keeps fractions, clips at the
        border of the crop and also keeps a box of no area, one row for each object.
        """
        height, width = size
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
