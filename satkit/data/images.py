"""Reading photographs and masks as people have them: rotated, grey, CMYK, 16-bit, or broken."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from satkit._cv2 import cv2

#: what Pillow's decoders raise on damaged files
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(file: str | Path | IO[bytes], name: str = "", exif: bool = True) -> Image.Image:
    """Read a photograph as 8-bit RGB.

    Grey values are repeated over the channels, 16-bit grey is divided by 257, CMYK and palettes
    are converted, and transparent pixels are laid over white. Of an animation the first frame
    counts.

    Args:
        file: path, or open binary file.
        name: how errors call the file; the path where empty.
        exif: turn the picture as its EXIF orientation says, so that it (and its boxes) are in the
            frame that people see; False keeps the frame in which it is stored.

    Returns:
        PIL image of mode RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, cut short, or no image; the message names it.
    """
    name = name or str(file)
    try:
        with Image.open(file) as image:
            image.load()
            upright = ImageOps.exif_transpose(image) if exif else image
            return _to_rgb(upright)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {name}") from error
    except _UNREADABLE as error:
        raise _unreadable(file, name, error) from error


def read_jpeg(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Read a JPEG file that satkit wrote, faster than `read_image` and to the same pixels.

    Both use libjpeg-turbo. A file that was cut short is refused; one with wrong bytes inside may
    give a wrong picture, which `read_image` notices a little more often.

    Args:
        data: the file, RGB and without EXIF orientation.
        name: how errors call it.

    Returns:
        uint8 [h, w, 3].

    Raises:
        ValueError: as `read_image`.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:  # it is damaged: say so as ever
        return np.asarray(read_image(io.BytesIO(data), name))
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def read_size(file: str | Path) -> tuple[int, int]:
    """Read the size (h, w) of a photograph as people see it, without its pixels.

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
    """
    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size if turned else (image.height, image.width)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {file}") from error
    except _UNREADABLE as error:
        raise _unreadable(file, str(file), error) from error


def read_mask(file: str | Path | IO[bytes], name: str = "") -> npt.NDArray[np.bool_]:
    """Read a foreground mask.

    Args:
        file: path, or open binary file, of an image whose pixels are 0/1, or 0..255 with the
            foreground above one half (CUB's masks average several annotators).
        name: how errors call the file.

    Returns:
        bool [h, w].

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
    """
    # exif=False: masks are written by programs, in the frame that they mean
    values = np.asarray(read_image(file, name, exif=False).convert("L"))
    return values > (0 if values.max() <= 1 else 127)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow may open as 32-bit integers
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its grey values do not fit 16 bits; save it with 8 or 16 bits")
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _unreadable(file: str | Path | IO[bytes], name: str, error: BaseException) -> ValueError:
    if name.lower().endswith((".heic", ".heif")):
        return ValueError(
            f"cannot read the image {name}: it is HEIC, as iPhones save photographs, and this "
            "kit has no decoder for it. Save it as JPEG: open and export it on a computer, or set "
            "Settings > Camera > Formats on the phone to Most Compatible."
        )
    if isinstance(file, str | Path) and Path(file).is_dir():
        reason = "it is a folder"
    elif isinstance(file, str | Path) and Path(file).stat().st_size == 0:
        reason = "it is empty (0 bytes)"
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is empty, or not an image in any format that Pillow knows"
    else:
        reason = str(error)
    return ValueError(
        f"cannot read the image {name}: {reason}. "
        "Replace it with a good copy, or remove it from the data set."
    )
