import numpy as np
import pytest
import torch
from torch.nn import functional as F

from satkit import backbones, create_model
from satkit.losses import classification_loss
from satkit.methods.lctr import CueDiggingHead

SMALL = "vit_pico_convstem8_96"


def images(count=2):
    return torch.randn(count, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("lctr", SMALL, 5, image_size=96).eval()


def attention_matrices(model, x):
    """Head-mean attention [B, T, T] of each block, and the last tokens, as matrices written out."""
    matrices = []
    for block in model.backbone.blocks:
        attn = block.attn
        tokens = block.norm1(x)
        q, k, v = attn.qkv(tokens).unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / attn.head_dim**0.5).softmax(dim=3)
        matrices.append(weights.mean(dim=1))
        x = x + attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return matrices, x


def test_formulas(model):
    """Relation map, cues, mixture and logits against loops over images, tokens and experts."""
    with torch.inference_mode():
        output = model(images())
        matrices, x = attention_matrices(model, backbones.embed(model.backbone, images()))
        features = model.backbone.norm(x)[:, 1:].transpose(1, 2).reshape(2, 128, 12, 12)
        for b in range(2):
            maps = torch.zeros(12, 12)
            unseen = torch.ones(12, 12)
            for matrix in matrices:
                row = matrix[b, 0]
                maps += sum(row[i] * matrix[b, i] for i in range(145))[1:].view(12, 12) / 145 / 8
                unseen -= row[1:].view(12, 12) / 8
            cues = model.cue_conv(features[b] * unseen)
            head = model.head
            gate = head.mean_gate(cues.mean((1, 2))) + head.max_gate(cues.flatten(1).max(1).values)
            class_maps = sum(
                g * F.conv2d(features[b], w, padding=1)
                for g, w in zip(gate.sigmoid(), head.weight, strict=True)
            ) + head.bias.view(-1, 1, 1)
            padded = F.pad(class_maps, (1, 1, 1, 1))
            around = sum(padded[:, y : y + 12, x : x + 12] for y in range(3) for x in range(3)) / 9
            torch.testing.assert_close(output.logits[b], around.mean((1, 2)), rtol=1e-4, atol=1e-5)
            expected = maps * class_maps[output.logits[b].argmax()].relu()
            torch.testing.assert_close(output.maps[b], expected, rtol=1e-3, atol=1e-9)


def test_extra_parameters_are_those_of_table_14():
    """15.1 M: 384x384x9 + 384, two gates of 384x4 + 4, four experts of 1000x384x9, 1000 biases."""
    with torch.device("meta"):
        whole = create_model("lctr", "deit_small_patch16_224", 1000)
        plain = backbones.create_backbone("deit_small_patch16_224")
    count = [sum(p.numel() for p in m.parameters()) for m in (whole, plain)]
    assert count[0] - count[1] == 15_155_568


def test_the_map_is_that_of_the_predicted_class_unless_asked(model):
    chosen = create_model("lctr", SMALL, 5, image_size=96, map_class="label").eval()
    chosen.load_state_dict(model.state_dict())
    with torch.inference_mode():
        free = model(images())
        other = (free.logits.argmax(dim=1) + 1) % 5
        assert torch.equal(model(images(), other).maps, free.maps)
        assert torch.equal(chosen(images(), free.logits.argmax(dim=1)).maps, free.maps)
        assert not torch.equal(chosen(images(), other).maps, free.maps)
        assert torch.equal(chosen(images()).maps, free.maps)


def test_gradients_reach_every_parameter_and_pass_the_class_row():
    model = create_model("lctr", SMALL, 5, image_size=96).train()
    labels = torch.tensor([1, 2])
    output = model(images(), labels)
    assert output.losses is None and not output.layer_maps.requires_grad
    classification_loss(output.logits, labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_one_kernel_per_image():
    """The other image of a batch does not change the kernel of the first."""
    torch.manual_seed(0)
    head = CueDiggingHead(6, 3)
    features, cues = torch.randn(2, 6, 4, 5), torch.randn(2, 6, 4, 5)
    together = head(features, cues)
    alone = torch.cat([head(features[i : i + 1], cues[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(head(features, cues.flip(0)), together)


def test_trains_and_opens_again(train_briefly):
    run = train_briefly("lctr", map_class="label")
    assert np.isfinite(run.steps["cls"]).all()
    again = run.model()
    assert again.map_class == "label"
    with torch.inference_mode():
        assert again(images()).maps.shape == (2, 12, 12)


def test_options_and_backbone():
    with pytest.raises(ValueError, match="map_class of 'lctr' is 'true'"):
        create_model("lctr", SMALL, 2, image_size=96, map_class="true")
    message = "LCTR needs a backbone with a class token"
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        create_model("lctr", "vit_base_patch16_gap_224", 2, image_size=64)
