"""Conformer-S: its forward pass against a plain re-computation on weights with the authors' names.

The shapes below are the architecture as its paper and the authors' file of weights have it.
"""

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from satkit import create_model
from satkit.backbones import create_backbone, kind, walk
from satkit.conformer import Conformer, convert_conformer
from satkit.losses import total_loss
from satkit.model import freeze

NAME = "conformer_small_patch16"
Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def batch_norm(name: str, channels: int) -> Shapes:
    running = {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
    return layer(name, channels) | running | {f"{name}.num_batches_tracked": ()}


def bottleneck(name: str, inputs: int, outputs: int, residual: bool = False) -> Shapes:
    inner = outputs // 4
    shapes: Shapes = {
        f"{name}.conv1.weight": (inner, inputs, 1, 1),
        f"{name}.conv2.weight": (inner, inner, 3, 3),
        f"{name}.conv3.weight": (outputs, inner, 1, 1),
    }
    for number, channels in (1, inner), (2, inner), (3, outputs):
        shapes |= batch_norm(f"{name}.bn{number}", channels)
    if residual:
        shapes |= {f"{name}.residual_conv.weight": (outputs, inputs, 1, 1)}
        shapes |= batch_norm(f"{name}.residual_bn", outputs)
    return shapes


def transformer_block(name: str) -> Shapes:
    return (
        layer(f"{name}.norm1", 384) | layer(f"{name}.norm2", 384)
        | layer(f"{name}.attn.qkv", 1152, 384) | layer(f"{name}.attn.proj", 384, 384)
        | layer(f"{name}.mlp.fc1", 1536, 384) | layer(f"{name}.mlp.fc2", 384, 1536)
    )  # fmt: skip


def authors_shapes(heads: Shapes) -> Shapes:
    shapes = {"cls_token": (1, 1, 384), "conv1.weight": (64, 3, 7, 7)} | batch_norm("bn1", 64)
    shapes |= bottleneck("conv_1", 64, 256, residual=True) | transformer_block("trans_1")
    shapes |= layer("trans_patch_conv", 384, 64, 4, 4) | layer("trans_norm", 384) | heads
    for n in range(2, 13):
        name, channels, before = f"conv_trans_{n}", *stage_channels(n)
        shapes |= bottleneck(f"{name}.cnn_block", before, channels, residual=channels != before)
        shapes |= bottleneck(f"{name}.fusion_block", channels, channels, residual=n == 12)
        shapes |= layer(f"{name}.squeeze_block.conv_project", 384, channels // 4, 1, 1)
        shapes |= layer(f"{name}.squeeze_block.ln", 384)
        shapes |= layer(f"{name}.expand_block.conv_project", channels // 4, 384, 1, 1)
        shapes |= batch_norm(f"{name}.expand_block.bn", channels // 4)
        shapes |= transformer_block(f"{name}.trans_block")
    return shapes


def stage_channels(n: int) -> tuple[int, int]:
    """Channels of block n and of the one before it."""
    return (256, 512, 1024)[(n - 1) // 4], (256, 512, 1024)[(n - 2) // 4]


CLASSIFIERS = layer("trans_cls_head", 1000, 384) | layer("conv_cls_head", 1000, 1024)
TSCAM_HEADS = layer("trans_cls_head", 5, 384, 3, 3) | layer("conv_cls_head", 5, 1024)


def draw(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("running_var", "num_batches_tracked")) or re.search(
            r"(norm\d?|ln|bn\d?)\.weight$", name
        ):
            state[name] = 1 + 0.1 * noise.abs()
        else:
            fan_in = noise[0].numel() if len(shape) > 1 else 100
            state[name] = noise * fan_in**-0.5
    state |= {k: v.long() for k, v in state.items() if k.endswith("num_batches_tracked")}
    return state


class Plain:
    """The authors' network written as formulas on their state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        padding = 0 if name == "trans_patch_conv" else weight.shape[-1] // 2
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding)

    def batch_norm(self, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.state[f"{name}.{k}"] for k in keys), eps=eps)

    def layer_norm(self, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.layer_norm(x, (384,), weight, bias, eps)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def bottleneck(self, name, x, stride=1, added=0):
        inner = self.batch_norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)).relu()
        inner = self.conv(f"{name}.conv2", inner + added, stride)
        inner = self.batch_norm(f"{name}.bn2", inner).relu()
        outer = self.batch_norm(f"{name}.bn3", self.conv(f"{name}.conv3", inner))
        if f"{name}.residual_conv.weight" in self.state:
            x = self.batch_norm(
                f"{name}.residual_bn", self.conv(f"{name}.residual_conv", x, stride)
            )
        return (outer + x).relu(), inner

    def block(self, name, x):
        qkv = self.linear(f"{name}.attn.qkv", self.layer_norm(f"{name}.norm1", x))
        q, k, v = qkv.reshape(*x.shape[:2], 3, 6, 64).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) / 8).softmax(dim=-1)  # [B, 6, T, T]
        x = x + self.linear(f"{name}.attn.proj", (attention @ v).transpose(1, 2).flatten(2))
        hidden = self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", x))
        return x + self.linear(f"{name}.mlp.fc2", F.gelu(hidden)), attention

    def __call__(self, images):
        """Tokens, convolutional features and the class token's attention to the patches."""
        x = self.batch_norm("bn1", self.conv("conv1", images, 2), eps=1e-5).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        tokens = self.conv("trans_patch_conv", x, 4).flatten(2).transpose(1, 2)
        side = round(tokens.shape[1] ** 0.5)
        tokens = torch.cat([self.state["cls_token"].expand(len(x), -1, -1), tokens], dim=1)
        x, _ = self.bottleneck("conv_1", x)
        tokens, attention = self.block("trans_1", tokens)
        rows = [attention[:, :, 0, 1:].mean(dim=1)]
        for n in range(2, 13):
            name = f"conv_trans_{n}"
            channels, before = stage_channels(n)
            x, inner = self.bottleneck(f"{name}.cnn_block", x, 2 if channels != before else 1)
            pooled = F.adaptive_avg_pool2d(
                self.conv(f"{name}.squeeze_block.conv_project", inner), side
            )
            squeezed = self.layer_norm(
                f"{name}.squeeze_block.ln", pooled.flatten(2).transpose(1, 2)
            )
            squeezed = torch.cat([tokens[:, :1], F.gelu(squeezed)], dim=1)
            tokens, attention = self.block(f"{name}.trans_block", squeezed + tokens)
            rows.append(attention[:, :, 0, 1:].mean(dim=1))
            grid = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
            grid = self.conv(f"{name}.expand_block.conv_project", grid)
            grid = self.batch_norm(f"{name}.expand_block.bn", grid).relu()
            times = inner.shape[-1] // side
            grid = grid.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
            x, _ = self.bottleneck(f"{name}.fusion_block", x, 2 if n == 12 else 1, grid)
        return tokens, x, torch.stack(rows, dim=1).unflatten(2, (side, side))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return draw(authors_shapes(TSCAM_HEADS))


@pytest.fixture(scope="module")
def tscam(weights):
    model = create_model("tscam", NAME, 5, image_size=32)
    model.load_state_dict(convert_conformer(weights, localizer=True))  # nothing missing or left
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class TestTSCAM:
    def test_forward_equals_the_formulas(self, tscam, weights, images):
        plain = Plain(weights)
        with torch.inference_mode():
            tokens, features, rows = plain(images)
            walked = walk(tscam.backbone, images)
            output = tscam(images, torch.tensor([3, 1]))
            patches = plain.layer_norm("trans_norm", tokens, eps=1e-5)[:, 1:]
            class_maps = plain.conv("trans_cls_head", patches.transpose(1, 2).unflatten(2, (2, 2)))
            pooled = features.mean(dim=(2, 3))
            logits = class_maps.mean(dim=(2, 3)) + plain.linear("conv_cls_head", pooled)
        chosen = class_maps[torch.arange(2), torch.tensor([3, 1])]
        for ours, formula in [
            (walked.tokens[:, :1], tokens[:, :1]),
            (walked.tokens[:, 1:], tokens[:, 1:]),
            (walked.conv, pooled),
            (output.logits, logits),
            (output.layer_maps, rows),
            (output.maps, rows.sum(dim=1) * chosen),
        ]:
            assert ours.shape == formula.shape
            assert (ours - formula).abs().max() < 1e-4 * formula.abs().max()

    def test_parameters_at_200_classes(self):
        with torch.device("meta"):
            model = create_model("tscam", NAME, 200, image_size=224)
        assert sum(p.numel() for p in model.parameters()) == 37_159_824  # 37.16 M
        assert sum(p.numel() for p in model.conv_head.parameters()) == 1024 * 200 + 200


class TestConvert:
    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_names_as_they_come(self, weights, prefix, wrapped):
        state = {prefix + k: v for k, v in weights.items()}
        converted = convert_conformer({"model": state} if wrapped else state)
        for theirs, ours in {
            "trans_patch_conv.bias": "patch_embed.proj.bias",
            "conv_trans_12.trans_block.attn.qkv.weight": "blocks.11.attn.qkv.weight",
            "conv_trans_9.cnn_block.residual_bn.running_mean": (
                "couplings.7.bottleneck.shortcut.1.running_mean"
            ),
        }.items():
            assert torch.equal(converted[ours], weights[theirs]), theirs

    def test_the_authors_file(self, tmp_path, weights):
        state = {k: v for k, v in weights.items() if "cls_head" not in k}
        state |= {k: torch.zeros(v) for k, v in CLASSIFIERS.items()}
        torch.save({"model": state}, tmp_path / "conformer.pth")
        backbone = create_backbone(NAME, image_size=32, checkpoint=tmp_path / "conformer.pth")
        assert torch.equal(backbone.norm.bias, weights["trans_norm.bias"])

    def test_our_own_names_stay(self, tscam):
        state = tscam.backbone.state_dict()
        assert convert_conformer(state) == state

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("trans_patch_conv.weight", (384, 64, 8, 8), "it is of 32-pixel patches"),
            ("trans_patch_conv.weight", (576, 64, 4, 4), r"has shape \(576, 64, 4, 4\), expected"),
            ("conv_1.conv3.weight", (64, 16, 1, 1), r"expected \(256, 64, 1, 1\)"),
            ("trans_patch_conv.weight", None, "not Conformer's weights: trans_patch_conv.weight"),
        ],
    )
    def test_other_files_are_refused(self, weights, name, shape, message):
        other = {k: v for k, v in weights.items() if k != name}
        if shape:
            other[name] = torch.zeros(shape)
        with pytest.raises(ValueError, match=message):
            convert_conformer(other)

    def test_incomplete_file(self, tmp_path, weights):
        kept = ("trans_patch_conv.weight", "conv_1.conv3.weight")
        torch.save({name: weights[name] for name in kept}, tmp_path / "part.pth")
        with pytest.raises(ValueError, match=rf"does not fit backbone '{NAME}'[^$]*stem\.1\.bias"):
            create_backbone(NAME, image_size=32, checkpoint=tmp_path / "part.pth")


def test_cam_takes_the_mean_of_its_map(images):
    model = create_model("cam", NAME, 5, image_size=32).eval()
    labels = torch.tensor([3, 1])
    with torch.inference_mode():
        output = model(images, labels)
    assert output.maps.shape == (2, 2, 2)
    torch.testing.assert_close(output.maps.mean(dim=(1, 2)), output.logits[[0, 1], labels])


@pytest.fixture(scope="module")
def sat():
    torch.manual_seed(0)
    return create_model("sat", NAME, 5, image_size=32)


class TestSAT:
    def test_outputs_and_gradients(self, sat, images):
        output = sat.train()(images)
        sat.eval()
        assert output.logits.shape == (2, 5) and output.maps.shape == (2, 2, 2)
        assert output.layer_maps.shape == (2, 3, 2, 2)
        assert output.maps.min() > 0 and output.maps.max() < 1
        labels = torch.tensor([0, 1])
        total_loss(output.logits, output.maps, labels, target_area=0.25)["total"].backward()
        without = [name for name, p in sat.named_parameters() if p.grad is None]
        assert without == []
        assert sat.loc_token.grad.abs().sum() > 0
        sat.zero_grad()

    def test_blocks_ten_to_twelve_are_spatial(self, sat):
        kinds = [type(block.attn).__name__ for block in sat.backbone.blocks]
        assert kinds == ["Attention"] * 9 + ["SpatialQueryAttention"] * 3

    def test_convolutional_branch_votes(self, sat, images):
        with torch.inference_mode():
            before = sat(images).logits
            sat.conv_head.bias += torch.arange(5.0)
            after = sat(images).logits
            sat.conv_head.bias -= torch.arange(5.0)
        torch.testing.assert_close(after, before + torch.arange(5.0))

    def test_spatial_token_is_doubled_as_the_class_token_and_stays_off_the_grid(self):
        coupling = Conformer(img_size=32, width=16, embed_dim=8, num_heads=2).couplings[0].eval()
        x, detail = torch.randn(1, 6, 8), torch.randn(1, 4, 8, 8)  # class, 2 x 2 patches, spatial
        with torch.no_grad():
            joined = coupling.to_tokens(detail, x)
            torch.testing.assert_close(joined[:, [0, 5]], 2 * x[:, [0, 5]])
            torch.testing.assert_close(joined[:, :5], coupling.to_tokens(detail, x[:, :5]))
            grid = coupling.to_map(x, (8, 8))
            assert grid.shape == (1, 4, 8, 8)
            torch.testing.assert_close(grid, coupling.to_map(x[:, :5], (8, 8)))

    @pytest.mark.parametrize(("scheme", "frozen"), [("b", 5_322_240), ("d", 15_970_176)])
    def test_freezing_counts_the_transformer_branch(self, scheme, frozen):
        with torch.device("meta"):
            model = create_model("sat", NAME, 5, image_size=32)
        assert freeze(model, scheme) == frozen  # as in DeiT-S, whose blocks are alike


def test_drop_path_rises_over_the_blocks():
    with torch.device("meta"):
        blocks = create_backbone(NAME, image_size=32, drop_path=0.11).blocks
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.01 * i for i in range(12)])


def test_kind():
    assert kind(NAME) == "conformer"


@pytest.mark.parametrize("size", [8, 100])
def test_image_size_is_a_multiple_of_the_patch(size):
    with pytest.raises(ValueError, match=f"image_size is {size}; .* multiple of 16"):
        create_backbone(NAME, image_size=size)


def test_other_images_than_built_for(sat):
    with pytest.raises(ValueError, match=r"expected \[B, 3, 32, 32\]"):
        sat(torch.zeros(1, 3, 96, 96))


def test_no_weights_to_fetch():
    with pytest.raises(ValueError, match="give a file of them as checkpoint"):
        create_backbone(NAME, pretrained=True)
