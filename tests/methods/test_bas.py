import copy

import pytest
import torch
from torch.nn.functional import avg_pool2d, cross_entropy

from satkit import backbones, create_model
from satkit.methods.bas import as_constant, suppression_loss

SMALL = "vit_pico_convstem8_96"
LABELS = torch.tensor([2, 0, 3])


def bas(backbone, **options):
    torch.manual_seed(0)
    size = 64 if backbone == "resnet18" else 96
    model = create_model("bas", backbone, 4, image_size=size, **options)
    return model, torch.randn(3, 3, size, size)


def plain_losses(model, images):
    """BAS step by step, with a deep copy for the background."""
    frozen = copy.deepcopy(model)
    if isinstance(model.backbone, backbones.CNN):
        middle = model.backbone.early(images)
        body, frozen_body = model.backbone.body, frozen.backbone.body
        fpm = torch.sigmoid(model.generator(middle))[torch.arange(3), LABELS]
        maps = model.head(body.layer4(middle)).clamp(min=0)
        dark = frozen_body.layer4(middle.detach() * (1 - fpm).unsqueeze(1))
        rest = frozen.head(dark).clamp(min=0).mean(dim=(2, 3))
        small = avg_pool2d(fpm[:, None], 2)
    else:
        vit, old = model.backbone, frozen.backbone
        x = vit._pos_embed(vit.patch_embed(images))
        for block in vit.blocks[:5]:
            x = block(x)
        grid = vit.blocks[5].norm1(x)[:, 1:].transpose(1, 2).reshape(3, -1, 12, 12)
        fpm = torch.sigmoid(model.generator(grid))[torch.arange(3), LABELS]
        y = x
        for block in vit.blocks[5:]:
            y = block(y)
        maps = model.head(vit.norm(y)[:, 1:].transpose(1, 2).reshape(3, -1, 12, 12)).clamp(min=0)
        x = x.detach()
        masked = old.blocks[5].norm1(x)
        masked = torch.cat([masked[:, :1], masked[:, 1:] * (1 - fpm).reshape(3, -1, 1)], dim=1)
        x = x + old.blocks[5].attn(masked)
        x = x + old.blocks[5].mlp(old.blocks[5].norm2(x))
        for block in old.blocks[6:]:
            x = block(x)
        rest = frozen.head(old.norm(x)[:, 1:].transpose(1, 2).reshape(3, -1, 12, 12))
        rest = rest.clamp(min=0).mean(dim=(2, 3))
        small = fpm[:, None]
    whole = maps.mean(dim=(2, 3))
    ratios = []
    for i, label in enumerate(LABELS.tolist()):
        s, s_b = whole[i, label].detach(), rest[i, label]
        ratios.append(s_b / (s + 1e-8) if s_b < s else s_b * 0)
    return {
        "guidance": 0.5 * cross_entropy((maps * small).mean(dim=(2, 3)), LABELS),
        "suppression": sum(ratios) / 3,
        "fpm_area": 1.2 * fpm.mean(),
    }


@pytest.mark.parametrize("backbone", ["resnet18", SMALL])
class TestBothForms:
    def test_losses_and_gradients_equal_the_plain_computation(self, backbone):
        model, images = bas(backbone)
        other = copy.deepcopy(model)
        losses, plain = model.train()(images, LABELS).losses, plain_losses(other.train(), images)
        assert set(losses) == set(plain) and losses["suppression"] > 0
        for name in plain:
            torch.testing.assert_close(losses[name], plain[name])
        sum(losses.values()).backward()
        sum(plain.values()).backward()
        for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
            assert (ours.grad is None) == (theirs.grad is None), name
            if ours.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3, msg=name)

    def test_suppression_teaches_the_map_and_not_the_late_layers(self, backbone):
        model, images = bas(backbone)
        model.train()(images, LABELS).losses["suppression"].backward()
        taught = {name for name, p in model.named_parameters() if p.grad is not None}
        late = ("head.", "backbone.body.layer4.", "backbone.blocks.6.", "backbone.blocks.7.")
        assert model.generator.weight.grad.abs().sum() > 0
        assert not [name for name in taught if name.startswith(late)]
        early = [p for n, p in model.named_parameters() if n in taught and "backbone." in n]
        assert sum(p.grad.abs().sum() for p in early) > 0

    def test_background_leaves_running_statistics_alone(self, backbone):
        model, images = bas(backbone)
        other = bas(backbone, losses="guidance")[0]
        other.load_state_dict(model.state_dict())
        own = model.train()(images, LABELS).losses, other.train()(images, LABELS).losses
        assert set(own[1]) == {"guidance"} < set(own[0])
        for ours, theirs in zip(model.buffers(), other.buffers(), strict=True):
            assert torch.equal(ours, theirs)

    def test_map_is_the_mean_of_the_likely_classes(self, backbone):
        model, images = bas(backbone, top_k=2)
        parts = {}
        model.generator.register_forward_hook(lambda _, __, out: parts.update(all=out.sigmoid()))
        with torch.no_grad():
            output = model.eval()(images, LABELS)
        assert output.losses is None and (output.logits >= 0).all()
        for i in range(3):
            first, second = output.logits[i].argsort(descending=True)[:2].tolist()
            expected = (parts["all"][i, first] + parts["all"][i, second]) / 2
            torch.testing.assert_close(output.maps[i], expected)
        assert output.maps.shape[1:] == ((4, 4) if backbone == "resnet18" else (12, 12))

    @pytest.mark.parametrize("star", [False, True])
    def test_trains_and_reopens(self, train_briefly, backbone, star):
        given = {"image_size": 64 if star else 96}
        if star:
            given |= {"losses": "guidance", "area_term": "batch_area"}
            given |= {"pixel_term": "normalization"}
        run = train_briefly("bas", backbone=backbone, **given)
        own = {"cls", "guidance"} | ({"batch_area", "normalization"} if star else set())
        own |= set() if star else {"suppression", "fpm_area"}
        assert set(run.steps.columns) == own | {"epoch", "step", "lr", "total"}
        assert run.model().losses == given.get("losses", "bas")


def test_suppression_by_hand():
    logits = torch.tensor([[2.0, 9.0], [9.0, 1.0], [4.0, 9.0]], requires_grad=True)
    background = torch.tensor([[0.5, 0.0], [0.0, 3.0], [1.0, 5.0]], requires_grad=True)
    loss = suppression_loss(logits, background, torch.tensor([0, 1, 0]))
    assert loss.item() == pytest.approx((0.25 + 0.0 + 0.25) / 3)
    loss.backward()
    expected = torch.tensor([[1 / 6, 0.0], [0.0, 0.0], [1 / 12, 0.0]])
    torch.testing.assert_close(background.grad, expected)
    assert logits.grad is None


def test_a_map_of_ones_hides_all_of_the_attention_but_not_the_skip_connection():
    vit = create_model("cam", SMALL, 2, image_size=96).eval().backbone
    x, block = torch.randn(1, 145, 128), vit.blocks[5]
    with torch.no_grad():
        hidden = backbones.run_masked_block(vit, 5, x, torch.zeros(1, 12, 12))
        shown = backbones.run_masked_block(vit, 5, x, torch.ones(1, 12, 12))
        tokens = torch.cat([block.norm1(x)[:, :1], torch.zeros(1, 144, 128)], dim=1)
        inner = x + block.attn(tokens)
        torch.testing.assert_close(hidden, inner + block.mlp(block.norm2(inner)))
        torch.testing.assert_close(shown, block(x))


def test_constant_module():
    layer, x = torch.nn.BatchNorm1d(2), torch.randn(5, 2, requires_grad=True)
    before = copy.deepcopy(layer.state_dict())
    (as_constant(layer, x) ** 3).sum().backward()
    assert x.grad.abs().sum() > 0 and layer.weight.grad is None
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("resnet50", 1_843_400), ("deit_small_patch16_224", 691_400)]
)
def test_cost_of_the_generator(backbone, parameters):
    with torch.device("meta"):
        model = create_model("bas", backbone, 200)
    assert sum(p.numel() for p in model.generator.parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"area_weight": -1.0}, "area_weight is -1.0"),
        ({"guidance_weight": -0.5}, "guidance_weight -0.5"),
        ({"top_k": 0}, "top_k 0; expected"),
        ({"losses": "ours"}, "option losses of 'bas' is 'ours'"),
        ({"backbone": "mobilenetv3_small_100"}, "MobileNetV3 cannot be split"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        create_model(**{"method": "bas", "backbone": SMALL, "image_size": 96, **options})


def test_training_without_labels_is_refused():
    model, images = bas("resnet18")
    with pytest.raises(ValueError, match="BAS needs labels"):
        model.train()(images)
