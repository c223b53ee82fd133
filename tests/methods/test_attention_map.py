import numpy as np
import pytest
import torch

from satkit import backbones, create_model
from satkit.losses import batch_area_loss

SMALL = "vit_pico_convstem8_96"


def images(count=2):
    return torch.randn(count, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def model(**options):
    torch.manual_seed(0)
    return create_model("attention_map", SMALL, 5, image_size=96, **options).eval()


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("map_blocks", "first"), [("all", 0), ("last3", 5)])
def test_formula(map_blocks, first, gated):
    """M written out: sigmoid of the mean over heads of the scaled logits; mean over blocks."""
    ours = model(map_blocks=map_blocks, gated=gated)
    with torch.inference_mode():
        output = ours(images())
        x, rows = backbones.embed(ours.backbone, images()), []
        for index, block in enumerate(ours.backbone.blocks):
            attn, tokens = block.attn, block.norm1(x)
            q, k, v = attn.qkv(tokens).unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
            logits = q @ k.transpose(2, 3) / 32**0.5  # [B, heads, T, T]
            weights = logits.softmax(dim=3)
            if index >= first:
                rows.append(logits[:, :, 0].mean(dim=1).sigmoid())
                weights = weights * rows[-1][:, None, None] if gated else weights
            x = x + attn.proj((weights @ v).transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
    maps = torch.stack(rows, dim=1)[:, :, 1:].unflatten(2, (12, 12))
    torch.testing.assert_close(output.layer_maps, maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.maps, maps.mean(dim=1), rtol=1e-4, atol=1e-5)
    assert output.maps.min() > 0 and output.maps.max() < 1


def test_gated_in_the_last_three_blocks_is_sat_with_a_shared_token():
    ours = model(map_blocks="last3", gated=True)
    sat = create_model("sat", SMALL, 5, image_size=96, token_init="shared").eval()
    sat.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        for a, b in zip(ours(images())[:3], sat(images())[:3], strict=True):
            torch.testing.assert_close(a, b)


def test_without_gate_the_classifier_is_tscams():
    ours, tscam = model(), create_model("tscam", SMALL, 5, image_size=96).eval()
    tscam.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(ours(images()).logits, tscam(images()).logits)


def test_times_class_only_in_evaluation():
    coupled, plain = model(box_map="attention_times_class"), model()
    coupled.load_state_dict(plain.state_dict())
    labels = torch.tensor([4, 2])
    with torch.inference_mode():
        alone, product = plain(images(), labels), coupled(images(), labels)
        class_maps = product.maps / alone.maps
        chosen = alone.logits[torch.arange(2), labels]
        torch.testing.assert_close(class_maps.mean(dim=(1, 2)), chosen, rtol=1e-4, atol=1e-5)
        maps = coupled.train()(images(), labels).maps
    assert maps.min() > 0 and maps.max() < 1


def test_the_losses_on_the_map_reach_the_class_token_but_not_the_head():
    ours = model().train()
    batch_area_loss(ours(images()).maps, 0.0).backward()
    assert ours.backbone.cls_token.grad.any()
    assert ours.backbone.blocks[7].attn.qkv.weight.grad.any()
    assert ours.head.weight.grad is None


def test_trains_with_sats_losses_and_opens_again(train_briefly):
    run = train_briefly("attention_map", map_blocks="last3")
    assert np.isfinite(run.steps[["cls", "batch_area", "normalization"]]).all(axis=None)
    with torch.inference_mode():
        assert run.model()(images()).layer_maps.shape == (2, 3, 12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_blocks": "4"}, "map_blocks of 'attention_map' is '4'"),
        ({"gated": "softly"}, "gated of 'attention_map' is 'softly'"),
        ({"box_map": "class"}, "box_map of 'attention_map' is 'class'"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        model(**options)


def test_needs_a_class_token():
    message = "attention_map needs a backbone with a class token"
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        create_model("attention_map", "vit_base_patch16_gap_224", 2, image_size=64)
