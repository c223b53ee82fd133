"""PSOL: pseudo boxes by deep descriptor transform, and the regressor that learns them."""

import pytest
import torch

from satkit import create_model
from satkit.methods.psol import box_maps
from satkit.results import open_run

SMALL = "vit_pico_convstem8_96"


def make(**options):
    return create_model("psol", SMALL, 3, image_size=96, **options)


@pytest.fixture
def images():
    return torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def test_box_maps_are_the_boxes():
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.25], [0.9, 0.9, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0]])
    maps = box_maps(boxes, 8)
    expected = torch.zeros(8, 8)
    expected[4:6, 2:6] = 1
    torch.testing.assert_close(maps[0], expected)
    assert maps[1].nonzero().tolist() == [[7, 7]]  # cut at the border
    assert maps[2].sum() == 1  # never empty


def test_ddt_is_the_first_principal_component_of_each_class(images):
    model, labels = make().eval(), torch.tensor([0, 2, 0, 2])
    model.fit(
        [{"image": images[:3], "label": labels[:3]}, {"image": images[3:], "label": labels[3:]}]
    )
    features, border = model._describe(images), torch.ones(12, 12).bool()
    border[1:-1, 1:-1] = False
    for label in (0, 2):
        of_class = labels == label
        x, edge = features[of_class].flatten(0, 1), features[of_class][:, border.flatten()]
        centred = (x - x.mean(dim=0)).double()
        first = torch.linalg.svd(centred, full_matrices=False).Vh[0].float()
        if ((edge.flatten(0, 1) - x.mean(dim=0)) @ first).mean() > 0:  # lower along the border
            first = -first
        torch.testing.assert_close(model.direction[label], first, atol=2e-3, rtol=0)
        torch.testing.assert_close(model.mean[label], x.mean(dim=0), atol=1e-4, rtol=0)
    assert not model.direction[1].any()  # a class without images


def test_pseudo_box_holds_the_largest_region(images):
    model = make().eval()
    grid = torch.full((1, 12, 12), -1.0)
    grid[0, 2:6, 3:9] = 1.0
    grid[0, 10, 11] = 1.0
    model.direction[1, 0] = 1.0
    features = torch.zeros(1, 144, 128)
    features[0, :, 0] = grid.flatten()
    model._describe = lambda images: features
    x, y, w, h = model.pseudo_boxes(images[:1], torch.tensor([1]))[0].tolist()
    # the bilinear zero line lies half a patch beyond the outer centres: at the patches' own edges
    assert (x, y, w, h) == pytest.approx((3 / 12, 2 / 12, 6 / 12, 4 / 12), abs=1 / 96)


def test_gradient_reaches_the_regressor_only(images):
    model, labels = make().train(), torch.tensor([0, 1, 2, 0])
    model.fit([{"image": images, "label": labels}])
    losses = model(images, labels).losses
    sum(losses.values()).backward()
    assert model.regressor[0].weight.grad.abs().sum() > 0
    assert model.backbone.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.classifier.parameters())
    assert not model.classifier.training and not losses["cls"].requires_grad


def test_bad_requests(images):
    with pytest.raises(ValueError, match="box_weight is 0"):
        make(box_weight=0.0)
    with pytest.raises(ValueError, match="need the labels in training"):
        make().train()(images)
    with pytest.raises(ValueError, match="'sat' learns from no classifier"):
        create_model("sat", SMALL, 3, image_size=96, classifier=torch.nn.Identity())


def test_trains_its_classifier_first(train_briefly, tmp_path):
    run = train_briefly("psol", train_images=16, eval_images=8)
    assert {path.parent.name for path in tmp_path.glob("default/*/metrics.json")} == {
        run.dir.name, run.settings.classifier.rsplit("/", 1)[-1]
    }  # fmt: skip
    classifier = open_run(run.settings.classifier)
    model, cam = run.model(), classifier.model()
    for ours, theirs in zip(model.classifier.parameters(), cam.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert model.direction.any()
