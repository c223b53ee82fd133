import pytest
import torch
from torch.nn.functional import cross_entropy

from satkit import TrainSettings, create_model
from satkit.methods import regularizers

SMALL = "vit_pico_convstem8_96"


class TestHideAndSeek:
    @pytest.mark.parametrize("side", [16, 32, 44, 56])
    def test_whole_cells_are_hidden_half_of_them(self, monkeypatch, side):
        monkeypatch.setattr(regularizers, "PATCH_SIDES", (side,))
        hidden = regularizers.hide_patches(torch.ones(40, 3, 224, 224)) == 0
        assert torch.equal(hidden[:, 0], hidden[:, 2])
        corners = hidden[:, 0, ::side, ::side]  # [B, G, G]
        cells = corners.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, :224, :224]
        assert torch.equal(hidden[:, 0], cells)
        assert corners.float().mean() == pytest.approx(0.5, abs=0.08)

    def test_one_of_five_images_stays_whole_and_images_differ(self):
        hidden = (regularizers.hide_patches(torch.ones(200, 3, 56, 56)) == 0).flatten(1)
        whole = (~hidden).all(dim=1).float().mean()
        # none of five grids hides, and the coarsest (4 x 4 cells) hides nothing once in 2^16
        assert whole == pytest.approx(0.2, abs=0.09)
        assert len(torch.unique(hidden, dim=0)) > 100

    def test_sides_follow_the_image(self, monkeypatch):
        monkeypatch.setattr(regularizers, "PATCH_SIDES", (56,))
        hidden = regularizers.hide_patches(torch.ones(8, 3, 112, 112)) == 0
        assert torch.equal(hidden[:, 0, ::28, ::28], hidden[:, 0, 27::28, 27::28])


class TestCutMix:
    def test_share_is_the_area_that_stayed(self):
        torch.manual_seed(0)
        images = torch.arange(8.0)[:, None, None, None].expand(-1, 3, 20, 30)
        shares = []
        for _ in range(20):
            mixed, partner, share = regularizers.cut_mix(images)
            own, other = images[:, 0, 0, 0, None, None], partner.float()[:, None, None]
            assert ((mixed[:, 0] == own) | (mixed[:, 0] == other)).all()
            moved = partner != torch.arange(8)
            assert (mixed[moved, 0] == own[moved]).float().mean() == pytest.approx(share)
            shares.append(share)
        assert min(shares) < 0.5 < max(shares)

    def test_loss_weighs_both_labels(self):
        logits, labels = torch.randn(3, 4), torch.tensor([0, 1, 3])
        partner = torch.tensor([2, 0, 1])
        target = 0.7 * torch.eye(4)[labels] + 0.3 * torch.eye(4)[labels[partner]]
        loss = regularizers.mixed_loss(logits, labels, partner, 0.7)
        torch.testing.assert_close(loss, cross_entropy(logits, target))


class TestADL:
    features = torch.tensor([[1.0, 0.5], [0.95, -3.0]]).expand(2, 5, 2, 2)

    def test_telling_part_is_dropped_with_its_gradient(self, monkeypatch):
        monkeypatch.setattr(regularizers, "DROP_RATE", 1.0)
        features = self.features.clone().requires_grad_()
        dropped = regularizers.drop_attention(features)
        expected = torch.tensor([[0.0, 0.5], [0.0, -3.0]]).expand(2, 5, 2, 2)
        assert torch.equal(dropped, expected)
        dropped.sum().backward()
        assert torch.equal(features.grad, (expected != 0).float())

    def test_importance(self, monkeypatch):
        monkeypatch.setattr(regularizers, "DROP_RATE", 0.0)
        weight = torch.tensor([[1.0, 0.5], [0.95, 0.0]]).sigmoid()
        expected = self.features * weight
        torch.testing.assert_close(regularizers.drop_attention(self.features), expected)

    def test_three_of_four_steps_drop(self):
        torch.manual_seed(0)
        drops = [bool((regularizers.drop_attention(self.features) == 0).any()) for _ in range(300)]
        assert sum(drops) / 300 == pytest.approx(0.75, abs=0.08)


class TestACoL:
    def test_salient_features_are_erased(self):
        maps = torch.tensor([[[-1.0, 1.0], [0.1, 0.3]]], requires_grad=True)  # 0, 1, .55, .65
        features = torch.ones(1, 3, 2, 2, requires_grad=True)
        erased = regularizers.erase_salient(features, maps)
        assert torch.equal(erased[0, 0], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        erased.sum().backward()
        assert maps.grad is None and torch.equal(features.grad, erased.detach())

    def test_constant_map_erases_nothing(self):
        features = torch.ones(1, 3, 2, 2)
        assert torch.equal(regularizers.erase_salient(features, torch.ones(1, 2, 2)), features)

    def test_map_is_the_larger_of_both_heads(self):
        model = create_model("cam", "resnet18", 4, image_size=64, regularizer="acol").eval()
        images, labels = torch.randn(2, 3, 64, 64), torch.tensor([3, 0])
        with torch.no_grad():
            output, features = model(images, labels), model.backbone(images)
            first = model.head(features)[[0, 1], labels]
            second = model.second_head(regularizers.erase_salient(features, first))[[0, 1], labels]
        for i in range(2):
            a, b = ((m - m.min()) / (m.max() - m.min()) for m in (first[i], second[i]))
            torch.testing.assert_close(output.maps[i], torch.maximum(a, b))
        assert output.losses is None

    def test_second_head_learns(self):
        model = create_model("cam", "resnet18", 4, image_size=64, regularizer="acol").train()
        output = model(torch.randn(2, 3, 64, 64), torch.tensor([3, 0]))
        assert set(output.losses) == {"erased"}
        output.losses["erased"].backward()
        assert model.second_head.weight.grad.abs().sum() > 0
        assert model.head.weight.grad is None
        assert model.backbone.body.layer4[0].downsample[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["hide_and_seek", "cutmix", "adl", "acol"])
class TestInCAM:
    def test_changes_training_only(self, monkeypatch, name):
        monkeypatch.setattr(regularizers, "PATCH_SIDES", (16,))
        torch.manual_seed(0)
        model = create_model("cam", SMALL, 4, image_size=96, regularizer=name)
        plain = create_model("cam", SMALL, 4, image_size=96)
        plain.load_state_dict(model.state_dict(), strict=False)
        images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 3])
        with torch.no_grad():
            assert torch.equal(model.eval()(images, labels).logits, plain.eval()(images).logits)
            assert model(images, labels).losses is None
            torch.manual_seed(1)
            trained, usual = model.train()(images, labels), plain.train()(images, labels)
        assert trained.losses is not None or not torch.equal(trained.logits, usual.logits)

    def test_seed_decides(self, name):
        model = create_model("cam", SMALL, 4, image_size=96, regularizer=name).train()
        images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 3])
        outputs = []
        for _ in range(2):
            torch.manual_seed(5)
            outputs.append(model(images, labels).logits)
        assert torch.equal(*outputs)

    def test_trains_and_reopens(self, train_briefly, name):
        run = train_briefly("cam", regularizer=name)
        assert ("erased" in run.steps) == (name == "acol")
        assert run.model().regularizer == name


@pytest.mark.parametrize("name", ["cutmix", "acol"])
def test_training_without_labels_is_refused(name):
    model = create_model("cam", "resnet18", 4, image_size=64, regularizer=name).train()
    with pytest.raises(ValueError, match=f"'{name}' needs labels"):
        model(torch.zeros(2, 3, 64, 64))


def test_unknown_regularizer():
    with pytest.raises(ValueError, match="option regularizer of 'cam' is 'cutmax'"):
        TrainSettings.for_profile("lab", method="cam", regularizer="cutmax")
