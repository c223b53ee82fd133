"""The families of plain ViTs that timm has: prefix tokens, grids, blocks and inputs of each."""

import pytest
import torch
from torchvision.transforms.functional import normalize

from satkit import create_model
from satkit.backbones import (
    as_pretrained,
    create_backbone,
    embed,
    grid_size,
    kind,
    patch_grid,
    walk,
)
from satkit.methods.tscam import TSCAM
from satkit.model import SAT

#: the smallest member of each family: prefix tokens, patch in pixels
FAMILIES = {
    "deit_tiny_patch16_224": (1, 16),
    "deit_tiny_distilled_patch16_224": (2, 16),  # class and distillation token
    "deit3_small_patch16_224": (1, 16),  # LayerScale, class token without position
    "vit_tiny_patch16_224.augreg_in21k": (1, 16),
    "vit_small_patch16_224.dino": (1, 16),
    "vit_small_patch14_dinov2.lvd142m": (1, 14),
    "vit_small_patch14_reg4_dinov2.lvd142m": (5, 14),  # class token and four registers
    "vit_xsmall_patch16_clip_224": (1, 16),  # LayerNorm in front of the blocks
}
GRID = 4


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """A random backbone, its prefix tokens, images and what timm itself makes of them."""
    torch.manual_seed(0)
    prefix, patch = FAMILIES[request.param]
    backbone = create_backbone(request.param, image_size=GRID * patch).eval()
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith(("gamma", "norm_pre.weight", "reg_token")):  # start as constants
                parameter.uniform_(0.5, 1.5)
        photographs = torch.rand(2, 3, GRID * patch, GRID * patch)
        expected = backbone.forward_features(  # [B, P + N, D], behind the last LayerNorm
            normalize(photographs, backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"])
        )
        images = normalize(photographs, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return backbone, prefix, images, expected


class TestFamilies:
    def test_layout_of_the_tokens(self, family):
        backbone, prefix, images, _ = family
        assert backbone.num_prefix_tokens == prefix
        assert grid_size(backbone) == (GRID, GRID)
        with torch.inference_mode():
            plain = embed(backbone, images)
            extra = embed(backbone, images, torch.full((1, 1, backbone.embed_dim), 0.5))
        assert plain.shape[1] == prefix + GRID**2
        torch.testing.assert_close(extra[:, :-1], plain)
        positions = patch_grid(backbone, torch.arange(extra.shape[1])[None])
        assert positions.flatten().tolist() == list(range(prefix, prefix + GRID**2))

    def test_tscam_runs_the_blocks_as_timm_does(self, family):
        backbone, prefix, images, expected = family
        own = [block.attn for block in backbone.blocks]
        model = TSCAM(backbone, 3).eval()
        with torch.inference_mode():
            walked = walk(backbone, images)
            normalised = backbone.norm(walked.tokens)
            output = model(images)
        for block, attention in zip(backbone.blocks, own, strict=True):
            block.attn = attention
        torch.testing.assert_close(normalised, expected, rtol=1e-4, atol=1e-4)
        assert [row.shape for row in walked.extras] == [(2, prefix + GRID**2)] * len(own)
        torch.testing.assert_close(walked.extras[0].sum(dim=1), torch.ones(2))
        assert output.maps.shape == (2, GRID, GRID) and output.logits.shape == (2, 3)
        assert output.layer_maps.shape == (2, len(own), GRID, GRID)

    def test_sat_has_its_token_last(self, family):
        backbone, prefix, images, _ = family
        own = [block.attn for block in backbone.blocks]
        model = SAT(backbone, 3).eval()
        with torch.inference_mode():
            walked = walk(backbone, images, model.loc_token + model.loc_embed)
            output = model(images)
        for block, attention in zip(backbone.blocks, own, strict=True):
            block.attn = attention
        gates = torch.stack(walked.extras, dim=1)  # [B, 3, P + N + 1]
        assert gates.shape == (2, 3, prefix + GRID**2 + 1)
        patches = gates[:, :, prefix:-1].unflatten(2, (GRID, GRID))
        torch.testing.assert_close(output.layer_maps, patches)
        torch.testing.assert_close(output.maps, patches.mean(dim=1))


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("deit_tiny_patch16_224", 0.485),
        ("vit_tiny_patch16_224", 0.5),
        ("vit_xsmall_patch16_clip_224", 0.48145466),
    ],
)
def test_images_are_normalised_as_the_weights_expect(name, mean):
    backbone = create_backbone(name, image_size=64)
    gray = normalize(torch.full((1, 3, 64, 64), mean), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert as_pretrained(backbone, gray)[0, 0].abs().max() < 1e-6


@pytest.mark.parametrize("method", ["sat", "tscam"])
def test_mae_whose_smallest_member_is_large(method):
    with torch.device("meta"):  # shapes only
        model = create_model(method, "vit_base_patch16_224.mae", 3, image_size=64)
        output = model(torch.zeros(2, 3, 64, 64))
    assert model.backbone.num_prefix_tokens == 1
    assert output.maps.shape == (2, GRID, GRID) and output.logits.shape == (2, 3)


@pytest.mark.parametrize("name", [*FAMILIES, "vit_base_patch16_224.mae", "vit_pico_convstem8_96"])
def test_all_are_plain(name):
    assert kind(name) == "vit"


@pytest.mark.parametrize(
    ("name", "size", "near"),
    [
        ("deit_tiny_patch16_224", 100, "16 pixels, for instance 96 or 112"),
        ("deit_tiny_patch16_224", 102, "16 pixels, for instance 96 or 112"),
        ("deit_tiny_patch16_224", 8, "16 pixels, for instance 16"),
        ("vit_small_patch14_dinov2", 128, "14 pixels, for instance 126 or 140"),
        ("vit_pico_convstem8_96", 100, "8 pixels, for instance 96 or 104"),
    ],
)
def test_image_size_that_the_patches_do_not_divide(name, size, near):
    with pytest.raises(ValueError, match=f"image_size is {size}; .* patch size of {near}"):
        create_model("sat", name, 2, image_size=size)
