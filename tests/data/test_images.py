"""Photographs as people have them: what each kind is turned into, and what is refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from satkit.data import read_image, read_mask
from satkit.data.images import read_size

RED = (200, 30, 60)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixel(path: Path) -> tuple[int, ...]:
    image = read_image(path)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


def test_greyscale_is_repeated_over_the_channels(tmp_path):
    assert pixel(save(tmp_path / "grey.png", Image.new("L", (4, 3), 77))) == (77, 77, 77)


def test_bilevel_is_black_and_white(tmp_path):
    assert pixel(save(tmp_path / "one.png", Image.new("1", (4, 3), 1))) == (255, 255, 255)


def test_cmyk_keeps_its_colour(tmp_path):
    cmyk = Image.new("RGB", (16, 16), RED).convert("CMYK")
    path = save(tmp_path / "cmyk.jpg", cmyk, quality=100)
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    assert np.abs(np.subtract(pixel(path), RED)).max() <= 6


def test_palette_is_looked_up(tmp_path):
    image = Image.new("RGB", (4, 3), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    path = save(tmp_path / "palette.png", image)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    assert pixel(path) == RED


def test_transparent_pixels_become_white_and_half_transparent_ones_half(tmp_path):
    assert (
        pixel(save(tmp_path / "clear.png", Image.new("RGBA", (4, 3), (0, 0, 0, 0)))) == (255,) * 3
    )
    half = pixel(save(tmp_path / "half.png", Image.new("RGBA", (4, 3), (0, 0, 0, 128))))
    assert half == (127, 127, 127)
    assert pixel(save(tmp_path / "la.png", Image.new("LA", (4, 3), (9, 0)))) == (255,) * 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    path = save(tmp_path / f"deep.{suffix}", Image.fromarray(values))
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 100, 255]


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(tmp_path / "float.tif", Image.fromarray(np.ones((3, 4), dtype=np.float32)))
    with pytest.raises(ValueError, match=r"float\.tif.*floating-point.*8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    upright = np.zeros((20, 40, 3), dtype=np.uint8)
    upright[:10, :10] = 255  # white in the corner at the top left
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    path = save(tmp_path / "turned.png", stored, exif=exif)
    assert np.array_equal(np.asarray(read_image(path)), upright)
    assert read_image(path, exif=False).size == stored.size
    assert read_size(path) == (20, 40)


def test_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (4, 3), color) for color in (RED, (0, 0, 255))]
    path = save(tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.abs(np.subtract(pixel(path), RED)).max() <= 2


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>404 Not Found</html>", "not an image"),
        (jpeg()[:1500], "truncated"),
        (jpeg()[:30], "cannot read"),
        (b"P6 0 0 255\n", "cannot read"),
    ],
)
def test_a_broken_file_is_named_with_the_reason_and_the_fix(tmp_path, content, reason):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"(?s)broken\.jpg.*remove it") as caught:
        read_image(path)
    assert reason in str(caught.value)


def test_broken_png_data_is_named(tmp_path):
    path = save(tmp_path / "whole.png", Image.fromarray(np.asarray(Image.open(io.BytesIO(jpeg())))))
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    (tmp_path / "bad.png").write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"bad\.png"):
        read_image(tmp_path / "bad.png")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        read_size(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="it is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], [False, True]),
        ([0, 1], [False, True]),
        ([51, 102, 153, 204], [False, False, True, True]),  # CUB: the mean of five annotators
        ([0, 0], [False, False]),
    ],
)
def test_masks_are_read_above_one_half(tmp_path, values, expected):
    path = save(tmp_path / "mask.png", Image.fromarray(np.array([values], dtype=np.uint8)))
    assert read_mask(path).tolist() == [expected]


def test_sample_of_real_photographs_reads(shared):
    paths = sorted((shared / "data" / "birds" / "images").iterdir())[::60]
    assert len(paths) > 10
    for path in paths:
        image = read_image(path)
        assert image.mode == "RGB" and max(image.size) == 384, path
