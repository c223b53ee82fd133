"""What happens to a photograph, its boxes and masks on the way to the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from satkit.data import Transform, denormalize, normalize, ten_crop


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed or 0)


def photograph(width: int = 384, height: int = 300, box: tuple[int, ...] = (100, 60, 220, 200)):
    """Noise with a white rectangle, its box and its mask."""
    values = rng(1).integers(0, 150, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    values[mask] = 255
    return Image.fromarray(values), np.array([box], dtype=float), mask


@pytest.mark.parametrize("protocol", ["sat", "wsoleval", "tscam"])
def test_evaluation_equals_torchvision(protocol):
    from torchvision import transforms as tv

    image, boxes, _ = photograph()
    cropped = [tv.Resize((256, 256)), tv.CenterCrop(224)]
    steps = cropped if protocol == "sat" else [tv.Resize((224, 224))]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    official = tv.Compose([*steps, tv.ToTensor(), tv.Normalize(mean, std)])
    ours = Transform(protocol=protocol)(image, boxes)["image"]
    assert ours.shape == (3, 224, 224)
    torch.testing.assert_close(ours, official(image), atol=1e-6, rtol=0)


def test_sat_boxes_by_hand():
    """500x375: x 100 -> 100/500*256-16 = 35.2 -> 35; the far corner leaves the crop -> 223."""
    image = Image.new("RGB", (500, 375))
    boxes = np.array([[100, 75, 300, 225], [0, 0, 500, 375], [60, 27, 385, 331]], dtype=float)
    moved = Transform()(image, boxes)["boxes"]
    assert moved.tolist() == [[35, 35, 137, 137], [0, 0, 223, 223], [14, 2, 181, 209]]


def test_sat_keeps_a_box_outside_of_the_crop_as_degenerate():
    """As the official code: one row an object, which no box can hit."""
    image = Image.new("RGB", (512, 512))
    moved = Transform()(image, np.array([[490.0, 0, 512, 30], [0, 0, 20, 20]]))["boxes"]
    assert moved.tolist() == [[229, 0, 223, -1], [0, 0, -6, -6]]


def test_wsoleval_boxes_by_hand():
    """500x375: x 100 -> 100*224/500 = 44.8 -> 44, with nothing cut off."""
    image = Image.new("RGB", (500, 375))
    moved = Transform(protocol="wsoleval")(image, np.array([[100.0, 75, 500, 375]]))["boxes"]
    assert moved.tolist() == [[44, 44, 224, 224]]


def test_tscam_boxes_by_hand():
    """As wsoleval's, but the far corner is at most 223."""
    image = Image.new("RGB", (500, 375))
    moved = Transform(protocol="tscam")(image, np.array([[100.0, 75, 500, 375]]))["boxes"]
    assert moved.tolist() == [[44, 44, 223, 223]]


@pytest.mark.parametrize("train", [False, True])
def test_other_sizes_centre_the_crop(train):
    image, boxes, mask = photograph()
    transform = Transform(image_size=96, resize_size=110, train=train)
    item = transform(image, boxes, {"mask": mask}, rng())
    assert item["image"].shape == (3, 96, 96) and item["mask"].shape == (96, 96)
    if not train:  # 100/384*110-7 = 21.6, 220/384*110-7 = 56.02
        assert item["boxes"][0, [0, 2]].tolist() == [21, 56]


def box_of(mask: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.nonzero(mask, as_tuple=True)
    ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return torch.stack(ends).float()


@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_masks_follow_the_random_crop_and_the_mirror(seed):
    image, boxes, mask = photograph()
    item = Transform(train=True)(image, boxes, {"mask": mask}, rng(seed))
    assert (item["boxes"][0] - box_of(item["mask"])).abs().max() <= 1
    bright = torch.from_numpy(denormalize(item["image"])).float().mean(-1) > 200
    assert (bright != item["mask"]).float().mean() < 0.01


def test_random_crops_are_mirrored_half_of_the_time_and_reach_every_corner():
    transform = Transform(train=True)
    choices = [transform._choose_window(rng(seed)) for seed in range(2000)]
    lefts, tops, _, flips = (np.array(values) for values in zip(*choices, strict=True))
    assert set(lefts) == set(tops) == set(range(33))
    assert 0.45 < flips.mean() < 0.55


def test_random_crops_depend_on_the_generator_alone():
    image, boxes, _ = photograph()
    transform = Transform(train=True)
    first, again, other = (transform(image, boxes, rng=rng(s))["image"] for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_training_boxes_out_of_the_crop_keep_their_row_without_area():
    image = Image.new("RGB", (256, 256))
    outside = np.array([[0.0, 0, 1, 1], [255, 255, 256, 256], [0, 0, 256, 256]])
    moved = Transform(image_size=64, train=True)(image, outside, rng=rng(7))["boxes"]
    assert moved.shape == (3, 4)
    assert moved[2].tolist() == [0, 0, 64, 64]
    area = (moved[:2, 2:] - moved[:2, :2]).prod(1)
    assert area.tolist() == [0, 0] and moved.min() >= 0 and moved.max() <= 64


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("protocol", ["sat", "wsoleval", "tscam"])
def test_no_boxes_give_an_empty_array(protocol, train):
    image, _, _ = photograph()
    item = Transform(protocol=protocol, train=train)(image, np.zeros((0, 4)), rng=rng())
    assert item["boxes"].shape == (0, 4) and item["boxes"].dtype == torch.float32


def test_masks_keep_their_type():
    image, boxes, mask = photograph()
    item = Transform()(image, boxes, {"mask": mask, "parts": mask.astype(np.uint8) * 3})
    assert item["mask"].dtype == torch.bool
    assert item["parts"].dtype == torch.uint8 and set(item["parts"].unique().tolist()) == {0, 3}


def test_masks_are_resized_as_opencv_does():
    cv2 = pytest.importorskip("cv2")
    image, boxes, _ = photograph(331, 277)
    mask = rng(5).integers(0, 256, (277, 331), dtype=np.uint8)
    ours = Transform(protocol="wsoleval")(image, boxes, {"mask": mask})["mask"].numpy()
    assert np.array_equal(ours, cv2.resize(mask, (224, 224), interpolation=cv2.INTER_NEAREST))


def test_ten_crops_are_corners_and_centre_and_their_mirrors():
    image = torch.arange(3 * 16 * 16, dtype=torch.float32).reshape(3, 16, 16)
    crops = ten_crop(image, 12)
    assert crops.shape == (10, 3, 12, 12)
    corners = [image[:, y : y + 12, x : x + 12] for y, x in ((0, 0), (0, 4), (4, 0), (4, 4))]
    expected = [*corners, image[:, 2:14, 2:14]]
    assert torch.equal(crops[:5], torch.stack(expected))
    mirrored = image.flip(-1)
    assert torch.equal(crops[5], mirrored[:, :12, :12]) and torch.equal(crops[9], crops[4].flip(-1))


def test_items_carry_ten_crops_on_request():
    image, boxes, _ = photograph()
    item = Transform(ten_crop=True)(image, boxes)
    assert item["crops"].shape == (10, 3, 224, 224)
    assert torch.equal(item["crops"][4], item["image"])


def test_denormalize_undoes_normalize():
    values = rng(2).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(denormalize(normalize(values)), values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "cub"}, "'cub'.*sat.*wsoleval"),
        ({"image_size": 300}, "image_size 300.*resize_size 256"),
        ({"image_size": 0}, "image_size 0"),
        ({"ten_crop": True, "train": True}, "ten_crop"),
        ({"ten_crop": True, "protocol": "wsoleval"}, "ten_crop"),
    ],
)
def test_senseless_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Transform(**options)


def test_training_without_a_generator_is_refused():
    image, boxes, _ = photograph()
    with pytest.raises(ValueError, match="default_rng"):
        Transform(train=True)(image, boxes)
