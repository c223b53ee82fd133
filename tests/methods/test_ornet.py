import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from satkit import create_model, results
from satkit.methods import ornet

SMALL = "vit_pico_convstem8_96"
LABELS = torch.tensor([2, 0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("ornet", SMALL, 4, image_size=96)


def test_outputs(model):
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        output = model.eval()(images)
        assert torch.equal(output.logits, model.classifier(images).logits)
    assert output.maps.shape == (2, 12, 12) and output.losses is None
    assert output.maps.min() > 0 and output.maps.max() < 1


def test_losses_equal_the_plain_computation(model):
    images = torch.randn(2, 3, 96, 96)
    torch.manual_seed(1)
    output = model.train()(images, LABELS)
    m = output.maps
    torch.manual_seed(1)
    kept = m * (torch.bernoulli(0.6 * m + 0.2) == 1)
    masked = images * interpolate(kept[:, None], (96, 96), mode="bilinear")
    logits = model.classifier(masked).logits
    torch.testing.assert_close(output.losses["cls"], cross_entropy(logits, LABELS))
    fourth = logits.amin(dim=1).mean()  # of four classes
    torch.testing.assert_close(output.losses["fpm_area"], 0.02 * (m.sum() / m.numel() + fourth))
    eps = 2.0**-23
    bits = m * (m + eps).log() + (1 - m) * (1 - m + eps).log()
    expected = -0.1 * (bits * torch.exp(-50 * (m - 0.5) ** 2)).sum() / m.numel()
    torch.testing.assert_close(output.losses["fpm_entropy"], expected)


def test_every_parameter_but_the_classifier_learns(model):
    before = {name: value.clone() for name, value in model.classifier.state_dict().items()}
    model.train()(torch.randn(2, 3, 96, 96), LABELS).losses["cls"].backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith("classifier.")
        assert (parameter.grad is None) == frozen, name
        assert parameter.requires_grad != frozen
    assert model.training and not any(part.training for part in model.classifier.modules())
    after = model.classifier.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_first_third_of_the_blocks_makes_the_map(model):
    assert len(model.backbone.blocks) == 2 and len(model.classifier.backbone.blocks) == 8


def test_unlikely_classes_are_those_ranked_4_to_25():
    logits = torch.stack([torch.arange(30.0), -torch.arange(30.0)])[:, torch.randperm(30)]
    expected = (sum(range(5, 27)) - sum(range(3, 25))) / 2
    assert ornet.unlikely_activation(logits).item() == expected
    assert ornet.unlikely_activation(torch.ones(2, 3)).item() == 0


def test_cost_on_deit_small():
    with torch.device("meta"):
        model = create_model("ornet", "deit_small_patch16_224", 200)
    classifier = sum(p.numel() for p in model.classifier.parameters())
    assert classifier == 22_357_064
    assert sum(p.numel() for p in model.parameters()) - classifier == 7_802_689


@pytest.mark.parametrize(("attention", "kept"), [(0.0, 0.0), (0.5, 0.5), (1.0, 0.8)])
def test_attentive_erasing(attention, kept):
    torch.manual_seed(0)
    maps = torch.full((4, 50, 50), attention, requires_grad=True)
    erased = ornet.erase(maps)
    erased.sum().backward()
    assert ((erased == 0) | (erased == attention)).all()
    if attention:
        assert (erased > 0).float().mean() == pytest.approx(kept, abs=0.02)
    assert maps.grad.mean() == pytest.approx(0.6 * attention + 0.2, abs=0.02)


def test_trains_its_classifier_first_and_reopens(train_briefly):
    run = train_briefly("ornet")
    classifier = results.open_run(run.settings.classifier).model()
    again = run.model().classifier.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in classifier.state_dict().items())
    assert {"cls", "fpm_area", "fpm_entropy"} <= set(run.steps.columns)


@pytest.mark.parametrize("name", ["area_weight", "entropy_weight"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}.* -1.0"):
        create_model("ornet", SMALL, 4, image_size=96, **{name: -1.0})


def test_training_without_labels_is_refused(model):
    with pytest.raises(ValueError, match="ORNet needs labels"):
        model.train()(torch.zeros(2, 3, 96, 96))
