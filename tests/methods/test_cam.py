"""CAM on CNNs, and the CNNs themselves."""

import pytest
import torch
from torch.nn.functional import linear

from satkit import backbones, create_model


class TestCNN:
    @pytest.mark.parametrize(
        ("name", "size", "width", "side", "parameters"),
        [
            ("resnet18", 64, 512, 2, 11_176_512),  # 11,689,512 less fc: 512 * 1000 + 1000
            ("vgg16", 64, 512, 2, 14_714_688),  # 138,357,544 less the three fc layers
            ("efficientnet_b0", 64, 1280, 2, 4_007_548),
            ("mobilenetv3_small_100", 64, 576, 2, 927_008),  # without the convolution behind GAP
            ("inception_v3", 96, 2048, 1, 21_785_568),
        ],
    )
    def test_feature_map_and_nothing_behind_it(self, name, size, width, side, parameters):
        with torch.device("meta"):  # shapes without the work
            cnn = backbones.create_cnn(name, image_size=size, drop_path=0.1).eval()
            features = cnn(torch.zeros(1, 3, size, size))
        assert cnn.embed_dim == width and cnn.grid_size == (side, side)
        assert features.shape == (1, width, side, side)
        assert sum(p.numel() for p in cnn.parameters()) == parameters

    def test_every_parameter_learns(self):
        cnn = backbones.create_cnn("mobilenetv3_small_100", image_size=64)
        cnn(torch.randn(2, 3, 64, 64)).sum().backward()
        assert all(p.grad is not None for p in cnn.parameters())

    def test_drop_path_reaches_networks_that_have_it(self):
        with_it = backbones.create_cnn("resnet18", image_size=64, drop_path=0.2)
        rates = [block.drop_path for block in with_it.body.layer4]
        assert rates[-1].drop_prob == pytest.approx(0.2)

    def test_weights_of_efficientnet_pytorch(self, shared):
        """Its names differ from timm's; layers and order do not."""
        path = shared / "data" / "weights" / "efficientnet_lite0.pth"
        state = torch.load(path, weights_only=True)
        cnn = backbones.create_cnn("tf_efficientnet_lite0", image_size=64, checkpoint=path)
        for ours, theirs in [
            ("conv_stem.weight", "_conv_stem.weight"),
            ("blocks.0.0.bn2.running_var", "_blocks.0._bn2.running_var"),
            ("blocks.2.1.conv_dw.weight", "_blocks.4._depthwise_conv.weight"),
            ("blocks.6.0.conv_pwl.weight", "_blocks.15._project_conv.weight"),
        ]:
            assert torch.equal(cnn.state_dict()[f"body.{ours}"], state[theirs]), ours
        with pytest.raises(ValueError, match="does not fit backbone 'tf_efficientnet_lite2'"):
            backbones.create_cnn("tf_efficientnet_lite2", image_size=64, checkpoint=path)

    def test_weights_from_a_file(self, tmp_path):
        first = backbones.create_cnn("resnet18", image_size=64)
        torch.save(first.body.state_dict(), tmp_path / "weights.pt")
        again = backbones.create_cnn("resnet18", image_size=64, checkpoint=tmp_path / "weights.pt")
        assert torch.equal(first.body.layer4[1].conv2.weight, again.body.layer4[1].conv2.weight)
        with pytest.raises(ValueError, match=r"weights.pt' does not fit backbone 'resnet50'"):
            backbones.create_cnn("resnet50", image_size=64, checkpoint=tmp_path / "weights.pt")

    @pytest.mark.parametrize(
        "name", ["swin_tiny_patch4_window7_224", "mixer_s32_224", "xcit_nano_12_p16_224"]
    )
    def test_neither_vit_nor_cnn(self, name):
        with pytest.raises(ValueError, match=f"'{name}' gives features of shape .* neither"):
            backbones.create_cnn(name)

    def test_image_too_small(self):
        with pytest.raises(ValueError, match="no feature map for images of 32 pixels"):
            backbones.create_cnn("inception_v3", image_size=32)

    def test_images_that_do_not_fit(self):
        cnn = backbones.create_cnn("resnet18", image_size=64)
        with pytest.raises(ValueError, match=r"expected \[B, 3, 64, 64\]"):
            cnn(torch.zeros(1, 3, 96, 96))
        with pytest.raises(ValueError, match="uint8"):
            cnn(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))

    def test_early_and_late_part(self):
        cnn = backbones.create_cnn("resnet18", image_size=64).eval()
        images = torch.randn(1, 3, 64, 64)
        late, channels = cnn.last_stage()
        with torch.inference_mode():
            middle = cnn.early(images)
            assert middle.shape == (1, channels, 4, 4)
            assert torch.equal(late(middle), cnn(images))
        with pytest.raises(ValueError, match=r"expected \[B, 3, 64, 64\]"):
            cnn.early(images[..., :32])
        other = backbones.create_cnn("mobilenetv3_small_100", image_size=64)
        with pytest.raises(ValueError, match=r"MobileNetV3 cannot be split.*use a ResNet"):
            other.early(images)


class TestCAM:
    def test_linear_head_commutes_with_the_average(self):
        model = create_model("cam", "resnet18", 5, image_size=64).eval()
        images = torch.randn(2, 3, 64, 64)
        with torch.inference_mode():
            output = model(images)
            pooled = model.backbone(images).mean(dim=(2, 3))  # [B, D]
            classic = linear(pooled, model.head.weight[:, :, 0, 0], model.head.bias)
        assert output.maps.shape == (2, 2, 2)
        torch.testing.assert_close(output.logits, classic)

    @pytest.mark.parametrize(
        ("backbone", "parameters"),
        [("resnet50", 409_800), ("deit_small_patch16_224", 691_400)],
    )
    def test_cost_of_the_head(self, backbone, parameters):
        with torch.device("meta"):
            model = create_model("cam", backbone, 200)
        assert sum(p.numel() for p in model.head.parameters()) == parameters

    def test_map_weighs_the_features_by_the_class(self):
        model = create_model("cam", "resnet18", 5, image_size=64).eval()
        images, labels = torch.randn(2, 3, 64, 64), torch.tensor([4, 1])
        with torch.inference_mode():
            maps, features = model(images, labels).maps, model.backbone(images)
            for i, label in enumerate(labels.tolist()):
                weight = model.head.weight[label, :, 0, 0]
                expected = sum(w * f for w, f in zip(weight, features[i], strict=True))
                torch.testing.assert_close(
                    maps[i], expected + model.head.bias[label], atol=1e-5, rtol=1e-5
                )

    def test_trains_on_a_cnn_and_reopens(self, train_briefly):
        run = train_briefly("cam", backbone="mobilenetv3_small_100")
        assert run.finished and isinstance(run.model().backbone, backbones.CNN)

    def test_methods_of_tokens_refuse_a_cnn(self):
        with pytest.raises(ValueError, match=r"'sat' works on vit and conformer, but.*a cnn"):
            create_model("sat", "resnet18", 5)
