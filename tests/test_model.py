import sys

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import softmax

from satkit import create_model, load_official_checkpoint
from satkit.backbones import create_backbone, patch_grid, recompute_activations, run_block
from satkit.losses import total_loss
from satkit.model import SAT, SpatialQueryAttention, freeze, spatial_block_indices
from satkit.training import compiled as compiled_once
from satkit.training import parameter_groups
from tests.recipe import FIXTURES, draw_images, draw_weights, official_names

SMALL = "vit_pico_convstem8_96"


@pytest.fixture(scope="module")
def official() -> dict[str, np.ndarray]:
    return dict(np.load(FIXTURES / "sat_tiny.npz"))


@pytest.fixture(scope="module")
def tiny(official) -> SAT:
    shapes = {
        name: tuple(value.shape)
        for name, value in official_state(create_model("sat", "deit_tiny_patch16_224", 200)).items()
    }
    weights, digest = draw_weights(shapes, int(official["seed"]))
    assert digest == str(official["state_sha256"])
    return load_official_checkpoint(weights, "deit_tiny_patch16_224").eval()


def official_state(model):
    state = model.state_dict()
    return {theirs: state[ours] for theirs, ours in official_names(model).items()}


def small_sat(**options) -> SAT:
    torch.manual_seed(0)
    return create_model("sat", SMALL, 5, image_size=96, **options).eval()


class TestOfficialOutputs:
    def test_logits_and_maps(self, tiny, official):
        with torch.inference_mode():
            output = tiny(draw_images(7))
        np.testing.assert_allclose(output.logits, official["eval_logits"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(output.maps, official["eval_map"], atol=2e-6, rtol=0)
        assert output.layer_maps.shape == (4, 3, 14, 14)
        layers = official["masks"][-3:, :, 1:-1].reshape(3, 4, 14, 14).swapaxes(0, 1)
        np.testing.assert_allclose(output.layer_maps, layers, atol=2e-6, rtol=0)

    def test_losses_gradients_and_one_step(self, tiny, official):
        images, labels = draw_images(7), torch.from_numpy(official["y"])
        model = load_official_checkpoint(official_state(tiny), "deit_tiny_patch16_224").eval()
        output = model(images)
        losses = total_loss(output.logits, output.maps, labels, target_area=0.25)
        for ours, theirs in [
            ("cls", "cls"), ("batch_area", "ba"), ("normalization", "norm"), ("total", "total")
        ]:  # fmt: skip
            assert losses[ours].item() == pytest.approx(float(official[f"loss_{theirs}"]), rel=1e-6)
        optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-4)
        losses["total"].backward()
        names, parameters = official_names(model), dict(model.named_parameters())
        gradients = [key for key in official if key.startswith("grad/")]
        assert len(gradients) == 15
        for key in gradients:
            ours = parameters[names[key.removeprefix("grad/")]].grad.numpy()
            assert relative_error(ours, official[key]) < 1e-4, key
        for name, expected in zip(official["grad_norm_keys"], official["grad_norms"], strict=True):
            assert parameters[names[name]].grad.norm().item() == pytest.approx(expected, rel=1e-4)
        optimizer.step()
        for key in [key for key in official if key.startswith("step/")]:
            ours = parameters[names[key.removeprefix("step/")]].detach().numpy()
            ours, stored = without_key_bias(key, ours), without_key_bias(key, official[key])
            np.testing.assert_allclose(ours[: len(stored)], stored, atol=1e-6, rtol=0, err_msg=key)

    def test_decay_groups(self, tiny, official):
        names = {id(p): n.removeprefix("backbone.") for n, p in tiny.named_parameters()}
        for index, group in enumerate(parameter_groups(tiny, 0.05)):
            ours = {names[id(parameter)] for parameter in group["params"]}
            assert ours == set(official[f"group{index}_names"].tolist())
            assert group["weight_decay"] == float(official[f"group{index}_wd"])


def without_key_bias(key: str, values: np.ndarray) -> np.ndarray:
    """Leave out the keys' bias of an ordinary block.

    It adds the same number to all logits of a query, which softmax ignores, so its gradient is
    zero but for rounding, and Adam makes a step of random sign from that.
    """
    if not key.endswith("attn.qkv.bias"):
        return values
    query, _, value = np.split(values, 3)
    return np.concatenate([query, value])


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


class TestOfficialCheckpoint:
    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_forms(self, tiny, tmp_path, prefix, wrapped):
        state = {prefix + name: value for name, value in official_state(tiny).items()}
        state[prefix + "weight"] = torch.zeros(1, 1, 3, 3)  # their fixed kernel
        torch.save({"model": state} if wrapped else state, tmp_path / "sat.pth")
        model = load_official_checkpoint(tmp_path / "sat.pth", "deit_tiny_patch16_224")
        assert torch.equal(model.loc_token, tiny.loc_token)

    def test_other_architecture(self, tiny):
        with pytest.raises(ValueError, match="do not fit backbone 'deit_small_patch16_224'"):
            load_official_checkpoint(official_state(tiny), "deit_small_patch16_224")

    def test_not_sat(self):
        with pytest.raises(ValueError, match=r"not SAT's weights: .*loc_token"):
            load_official_checkpoint({"a": torch.zeros(1)}, "deit_tiny_patch16_224")

    def test_missing_file(self):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            load_official_checkpoint("nowhere.pth", "deit_tiny_patch16_224")


class TestSpatialQueryAttention:
    @pytest.mark.parametrize("gate", ["after_softmax", "before_softmax"])
    @pytest.mark.parametrize("similarity", ["official", "paper", "mean_of_sigmoids"])
    def test_fused_equals_plain(self, gate, similarity):
        torch.manual_seed(1)
        attention = create_backbone(SMALL, image_size=96).blocks[0].attn.double()
        x = torch.randn(2, 30, 128, dtype=torch.float64)
        forms = [SpatialQueryAttention(attention, -1, gate, similarity, f) for f in (True, False)]
        (fused, m1), (plain, m2) = (form(x) for form in forms)
        torch.testing.assert_close(fused, plain, atol=1e-12, rtol=1e-12)
        assert torch.equal(m1, m2)

    def test_formula_by_hand(self):
        """One head, width 2, identity projections: the numbers can be followed on paper."""
        attention = create_backbone(SMALL, image_size=96).blocks[0].attn
        gated = SpatialQueryAttention(attention)
        gated.num_heads, gated.head_dim, gated.scale = 1, 2, 2**-0.5
        gated.qkv = torch.nn.Linear(2, 6, bias=False)
        gated.proj = torch.nn.Identity()
        with torch.no_grad():
            gated.qkv.weight.copy_(torch.eye(2).repeat(3, 1))
            x = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])  # last: the spatial token
            output, gate = gated(x)
        logits = torch.tensor([1.0, 2.0, 2.0]) / 2**0.5  # (1, 1) times each token
        torch.testing.assert_close(gate[0], logits.sigmoid())
        weights = softmax(x[0] @ x[0].T / 2**0.5, dim=-1) * gate[0]
        torch.testing.assert_close(output[0], weights @ x[0])

    def test_similarities_differ_as_the_formulas_say(self):
        attention = create_backbone(SMALL, image_size=96).blocks[0].attn
        x = torch.randn(2, 9, 128, generator=torch.Generator().manual_seed(0)) * 3
        with torch.no_grad():
            maps = {
                name: SpatialQueryAttention(attention, similarity=name)(x)[1]
                for name in ("official", "paper")
            }
        # mean over heads / √d  against  sum over heads / √D: a factor √heads in the logit
        torch.testing.assert_close(maps["paper"].logit(), maps["official"].logit() * 4**0.5)

    @pytest.mark.parametrize("option", [{"gate": "never"}, {"similarity": "cosine"}])
    def test_unknown_option(self, option):
        attention = create_backbone(SMALL, image_size=96).blocks[0].attn
        with pytest.raises(ValueError, match=next(iter(option.values()))):
            SpatialQueryAttention(attention, **option)


class TestSAT:
    @pytest.mark.parametrize(
        ("count", "expected"),
        [(1, (9,)), (2, (9, 10)), (3, (9, 10, 11)), (4, (8, 9, 10, 11)), (12, tuple(range(12)))],
    )
    def test_spatial_blocks(self, count, expected):
        assert spatial_block_indices(12, count) == expected

    @pytest.mark.parametrize("count", [0, 13])
    def test_impossible_number_of_blocks(self, count):
        with pytest.raises(ValueError, match=f"spatial_blocks is {count}"):
            spatial_block_indices(12, count)

    def test_other_blocks_are_timm_s_own(self):
        model = small_sat(spatial_blocks=2)
        kinds = [type(block.attn).__name__ for block in model.backbone.blocks]
        assert kinds == ["Attention"] * 5 + ["SpatialQueryAttention"] * 2 + ["Attention"]

    @pytest.mark.parametrize("token_init", ["random", "class_token", "shared"])
    def test_token_init(self, token_init):
        model = small_sat(token_init=token_init)
        output = model(torch.randn(2, 3, 96, 96))
        assert output.maps.shape == (2, 12, 12)
        assert output.maps.min() > 0 and output.maps.max() < 1
        if token_init == "shared":
            assert model.loc_token is None
        else:
            same = torch.equal(model.loc_token, model.backbone.cls_token)
            assert same == (token_init == "class_token")
            output.maps.sum().backward()
            assert model.loc_token.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ("name", "size", "grid"),
        [
            ("deit_tiny_patch16_224", 160, 10),
            ("vit_small_patch14_reg4_dinov2", 112, 8),
            ("vit_base_patch32_clip_224", 128, 4),
            ("deit3_small_patch16_224", 112, 7),
        ],
    )
    def test_any_plain_vit_at_any_size(self, name, size, grid):
        model = create_model("sat", name, 3, image_size=size).eval()
        with torch.inference_mode():
            output = model(torch.randn(1, 3, size, size))
        assert output.logits.shape == (1, 3)
        assert output.maps.shape == (1, grid, grid)

    def test_patch_order(self):
        """The gate of patch (row, column) lands there: a bright patch moves only its place."""
        model = small_sat()
        block = model.backbone.blocks[-1]
        tokens = torch.zeros(1, 146, 128)
        tokens[0, -1] = tokens[0, 1 + 12 * 3 + 5] = torch.linspace(-1, 1, 128)
        _, gate = run_block(block, tokens)
        grid = patch_grid(model.backbone, gate)[0]
        odd = (grid - grid.median()).abs()
        assert divmod(int(odd.argmax()), 12) == (3, 5)

    def test_wrong_images(self):
        model = small_sat()
        with pytest.raises(
            ValueError, match=r"shape \(1, 3, 224, 224\); expected \[B, 3, 96, 96\]"
        ):
            model(torch.zeros(1, 3, 224, 224))
        with pytest.raises(ValueError, match="uint8"):
            model(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))


def three_blocks() -> SAT:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=32, embed_dim=32, depth=3, num_heads=2, num_classes=0, drop_path_rate=0.1
    )
    return SAT(vit, 5)


class TestCompile:
    def test_one_graph(self):
        """fullgraph=True raises where a part would stay outside of the graph."""
        model, images = three_blocks().eval(), torch.randn(2, 3, 32, 32)
        compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
        for plain, ours in zip(model(images)[:3], compiled(images)[:3], strict=True):
            torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)

    def test_one_graph_with_recomputation(self):
        model = three_blocks()
        recompute_activations(model)
        compiled = torch.compile(model.train(), backend="eager", fullgraph=True, dynamic=True)
        compiled(torch.randn(2, 3, 32, 32)).logits.sum().backward()
        assert model.loc_token.grad.abs().sum() > 0

    def test_an_epochs_last_batch_compiles_nothing(self, monkeypatch):
        counter = CompileCounter()
        monkeypatch.setattr(sys.modules["satkit.training"], "COMPILE_BACKEND", counter)
        model = compiled_once(three_blocks().train())
        for size in (8, 8, 3, 8):
            model(torch.randn(size, 3, 32, 32), torch.zeros(size, dtype=torch.long))
        assert counter.frame_count == 1


class TestBackbones:
    @pytest.mark.parametrize(
        "name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_small_patch16_dinov3"]
    )
    def test_not_a_plain_vit(self, name):
        with pytest.raises(ValueError, match="not a plain ViT"):
            create_backbone(name)

    def test_unknown_name(self):
        with pytest.raises(ValueError, match=r"unknown backbone 'deit_smal'.*deit"):
            create_backbone("deit_smal")

    def test_bad_numbers(self):
        with pytest.raises(ValueError, match="image_size is 0"):
            create_backbone(SMALL, image_size=0)
        with pytest.raises(ValueError, match=r"drop_path is 1\.5"):
            create_backbone(SMALL, drop_path=1.5)

    def test_checkpoint_that_lacks_weights(self, tmp_path):
        whole = create_backbone("deit_tiny_patch16_224", image_size=32).state_dict()
        some = {name: value for name, value in whole.items() if not name.startswith("blocks.7")}
        for number, state in enumerate(({"other": torch.zeros(2)}, some)):
            torch.save(state, tmp_path / f"{number}.pth")
            with pytest.raises(ValueError, match=r"does not fit backbone .* has no weights for"):
                create_backbone(
                    "deit_tiny_patch16_224", image_size=32, checkpoint=tmp_path / f"{number}.pth"
                )

    def test_weights_that_cannot_be_fetched(self, monkeypatch):
        def create(*_, **__):
            raise FileNotFoundError("check your connection")

        monkeypatch.setattr(timm, "create_model", create)
        with pytest.raises(ValueError, match=r"'deit_tiny.*without a network give their file"):
            create_backbone("deit_tiny_patch16_224", pretrained=True)

    def test_checkpoint_of_another_architecture(self, tmp_path):
        other = create_backbone("deit_tiny_patch16_224").state_dict()
        torch.save(other, tmp_path / "deit.pth")
        with pytest.raises(
            ValueError, match="does not fit backbone 'vit_pico_convstem8_96'"
        ) as misfit:
            create_backbone(SMALL, image_size=96, checkpoint=tmp_path / "deit.pth")
        assert "cls_token is [1, 1, 192] there, expected [1, 1, 128]" in str(misfit.value)
        assert len(str(misfit.value)) < 600  # and not a line for every layer
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            create_backbone(SMALL, checkpoint=tmp_path / "nowhere.pth")


#: parameters of DeiT-S, 200 and 1000 classes: frozen count, frozen percent (Tables 8 and 14)
FROZEN = {
    "a": (0, 0.0, 0.0),
    "b": (5_322_240, 23.80, 21.18),
    "c": (10_634_112, 47.56, 42.33),
    "d": (15_970_176, 71.43, 63.57),
    "e_literal": (19_885_824, 88.94, 79.15),
    "e": (20_329_344, 90.93, 80.92),
}


@pytest.fixture(scope="module", params=[200, 1000])
def classes_and_model(request):
    return request.param, create_model("sat", "deit_small_patch16_224", request.param)


class TestFreezing:
    def test_parameter_counts(self, classes_and_model):
        classes, model = classes_and_model
        head = sum(p.numel() for p in model.head.parameters())
        total = sum(p.numel() for p in model.parameters())
        assert (head, total) == {200: (691_400, 22_357_832), 1000: (3_457_000, 25_123_432)}[classes]
        assert model.loc_token.numel() + model.loc_embed.numel() == 768

    @pytest.mark.parametrize("scheme", FROZEN)
    def test_frozen_rates(self, classes_and_model, scheme):
        classes, model = classes_and_model
        model.requires_grad_(True)
        frozen = freeze(model, scheme)
        assert frozen == sum(p.numel() for p in model.parameters() if not p.requires_grad)
        count, *percent = FROZEN[scheme]
        assert frozen == count
        total = sum(p.numel() for p in model.parameters())
        assert round(100 * frozen / total, 2) == percent[0 if classes == 200 else 1]

    def test_unknown_scheme(self):
        with pytest.raises(ValueError, match="freeze is 'f'; expected one of a, b, c, d, e"):
            freeze(small_sat(), "f")
