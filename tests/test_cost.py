"""What a localizer costs, against counts that are known."""

import pytest
import torch

from benchmarks.baselines.sat import PlainSAT
from satkit import TrainSettings, create_model
from satkit.cost import estimate, gmacs, inference_speed, parameter_count, training_memory


def test_deit_small_has_the_known_counts():
    """25,123,432 parameters at 1,000 classes; 5.30 GMACs with the products inside attention.

    Logits without class maps save 195 of the head's 196 places.
    """
    model = create_model("sat", "deit_small_patch16_224", 1000)
    assert parameter_count(model) == 25_123_432
    whole = gmacs(PlainSAT(model), 224)
    assert whole == pytest.approx(5.30, abs=0.005)
    assert gmacs(model, 224) == pytest.approx(whole - 195 * 384 * 9 * 1000 / 1e9, abs=0.005)


def test_a_convolution_by_hand():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 5, kernel_size=3, padding=1)

        def forward(self, images):
            return self.conv(images)

    assert gmacs(Model(), 8) * 1e9 == 8 * 8 * 5 * 3 * 9


def test_speed_and_memory_of_a_small_model():
    settings = TrainSettings.for_profile("smoke", batch_size=2)
    model = create_model("sat", settings.backbone, 3, image_size=96)
    assert inference_speed(model, 96, batch=2, repeats=1) > 0
    weights_and_gradients = 2 * 4 * parameter_count(model) / 1e6
    assert training_memory(settings, 3) > weights_and_gradients


def test_estimate_by_hand():
    settings = TrainSettings.for_profile(
        "smoke", batch_size=8, epochs=3, resize_size=100, drop_last=True
    )
    asked = {"images": 50, "num_classes": 3}
    cost = estimate(settings, **asked)
    assert cost["steps"] == 3 * 6  # 50 = 6 * 8 + 2
    assert cost["hours"] == pytest.approx(3 * 50 / cost["images_per_second"] / 3600)
    model = create_model("sat", settings.backbone, 3, image_size=96)
    assert cost["exaflop"] == pytest.approx(3 * 50 * 3 * 2 * gmacs(model, 96) / 1e9)
    assert cost["disk_gb"] == pytest.approx(50 * 100**2 * 0.54 / 1e9)
    smallest = 16 * parameter_count(model) / 1e9  # weights, gradients and two moments
    assert smallest < cost["memory_gb"]
    wide = settings.model_copy(update={"batch_size": 64, "drop_last": False})
    whole = estimate(wide, **asked)
    assert whole["steps"] == 3
    assert whole["memory_gb"] > 2 * cost["memory_gb"]
    part = estimate(wide, **asked, processes=8)
    assert part["memory_gb"] == pytest.approx(cost["memory_gb"], rel=0.3)  # 8 images each, too
