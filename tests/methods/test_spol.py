"""SPOL: pseudo masks from class maps, and the segmentation that learns them."""

import pytest
import torch

from satkit import create_model
from satkit.methods.spol import fitted_gaussian

SMALL = "vit_pico_convstem8_96"


def make(**options):
    return create_model("spol", SMALL, 3, image_size=96, **options)


def test_gaussian_has_the_moments_of_the_map():
    at = torch.arange(41.0) - 20
    weights = (-(at[:, None] ** 2) / (2 * 9) - (at[None] - 4) ** 2 / (2 * 4)).exp()[None]
    torch.testing.assert_close(fitted_gaussian(weights), weights, atol=2e-3, rtol=0)
    assert not fitted_gaussian(torch.zeros(1, 4, 4)).any()


def test_pseudo_masks_by_hand():
    model = make()
    maps = torch.full((1, 12, 12), -3.0)
    maps[0, 4:8, 4:8] = 2.0  # foreground
    maps[0, 5:7, 5:7] = -3.0  # a hole in it, at the peak of the Gaussian
    maps[0, 0, 0] = -2.5  # a tenth of the way to the maximum: neither
    target, counts = model.pseudo_masks(maps)
    assert target[0, 4:8, 4:8].all() and not target[0, 0].any()
    assert not counts[0, 0, 0] and counts[0, 0, 11]
    assert target.sum() < 60


def test_ignored_patches_do_not_count():
    model, labels = make().train(), torch.tensor([0])
    images = torch.randn(1, 3, 96, 96)
    model.pseudo_masks = lambda maps: (torch.ones_like(maps), torch.zeros_like(maps).bool())
    assert model(images, labels).losses["mask"] == 0


def test_gradient_reaches_the_segmentation_only():
    model, labels = make().train(), torch.tensor([0, 2])
    sum(model(torch.randn(2, 3, 96, 96), labels).losses.values()).backward()
    assert model.segment.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.classifier.parameters())
    assert not model.classifier.training


def test_bad_requests():
    with pytest.raises(ValueError, match="expected 0 <= background_below <= foreground_above"):
        make(background_below=0.5)
    with pytest.raises(ValueError, match="need the labels in training"):
        make().train()(torch.randn(1, 3, 96, 96))


def test_trains(train_briefly):
    run = train_briefly("spol", train_images=16, eval_images=8)
    output = run.model()(torch.randn(2, 3, 96, 96))
    assert output.maps.shape == (2, 12, 12) and 0 <= output.maps.min() <= output.maps.max() <= 1
    assert "mask" in run.steps
