import numpy as np
import pytest
import torch

from satkit import create_model
from satkit.losses import classification_loss
from satkit.methods import scm

SMALL = "vit_pico_convstem8_96"


def images(count=2, seed=0):
    return torch.randn(count, 3, 96, 96, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pair():
    """TS-CAM, and SCM with TS-CAM's weights."""
    torch.manual_seed(0)
    tscam = create_model("tscam", SMALL, 5, image_size=96).eval()
    model = create_model("scm", SMALL, 5, image_size=96).eval()
    missing = model.load_state_dict(tscam.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith("diffusion.") for key in missing.missing_keys)
    return tscam, model


class TestModel:
    def test_equals_tscam_in_evaluation(self, pair):
        labels = torch.tensor([3, 0])
        with torch.inference_mode():
            theirs, ours = (model(images(), labels) for model in pair)
        for a, b in zip(theirs[:3], ours[:3], strict=True):
            assert torch.equal(a, b)

    def test_training_diffuses_the_logits_but_not_the_maps(self, pair):
        tscam, model = pair
        labels = torch.tensor([3, 0])
        with torch.inference_mode():
            plain = tscam(images(), labels)
            model.training = True  # but not its parts: batch normalisation stays as it is
            trained = model(images(), labels)
            model.training = False
        assert trained.losses is None
        assert not torch.allclose(trained.logits, plain.logits, rtol=0.05)
        torch.testing.assert_close(trained.maps, plain.maps)

    def test_scaled_attention(self, pair):
        model = create_model("scm", SMALL, 5, image_size=96, scaled_attention=True).eval()
        model.load_state_dict(pair[1].state_dict())
        labels = torch.tensor([1, 2])
        with torch.inference_mode():
            scaled, plain = model(images(), labels), pair[1](images(), labels)
        attention = plain.layer_maps.sum(dim=1)
        low, high = (f(attention, dim=(1, 2), keepdim=True) for f in (torch.amin, torch.amax))
        expected = plain.maps / attention * (attention - low) / (high - low)
        torch.testing.assert_close(scaled.maps, expected, rtol=1e-4, atol=1e-6)

    def test_gradients_reach_everything(self):
        model = create_model("scm", SMALL, 5, image_size=96).train()
        output = model(images(), torch.tensor([1, 2]))
        classification_loss(output.logits, torch.tensor([1, 2])).backward()
        without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        assert without == set()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters())

    def test_half_precision_leaves_the_diffusion_in_single(self):
        model = create_model("scm", SMALL, 5, image_size=96).train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images(), torch.tensor([1, 2])).logits
        assert logits.dtype is torch.float32 and logits.isfinite().all()

    def test_eight_more_parameters_than_tscam(self, pair):
        tscam, model = (sum(p.numel() for p in m.parameters()) for m in pair)
        assert model - tscam == 8

    def test_trains_and_opens_again(self, train_briefly):
        run = train_briefly("scm", protocol="tscam")
        assert np.isfinite(run.steps["cls"]).all()
        with torch.inference_mode():
            assert run.model()(images()).maps.shape == (2, 12, 12)

    def test_options(self):
        with pytest.raises(ValueError, match="scaled_attention of 'scm' is 'perhaps'"):
            create_model("scm", SMALL, 2, image_size=96, scaled_attention="perhaps")
        with torch.device("meta"), pytest.raises(ValueError, match="class token"):
            create_model("scm", "vit_base_patch16_gap_224", 2, image_size=64)


def plain_layer(scores, activation, weight, threshold, steps):
    """The formulas once more, in float64, one image [C, h, w] and one patch pair at a time."""
    classes, height, width = scores.shape
    vectors = scores.reshape(classes, -1).T  # [N, C]
    q = np.zeros((len(vectors), len(vectors)))
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            near = abs(i // width - j // width) + abs(i % width - j % width)
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            if near == 1:
                q[i, j] = -(weight * cosine - 1)
            if i == j:
                inside = [i % width > 0, i % width < width - 1, i // width > 0]
                q[i, i] = sum([*inside, i // width < height - 1]) * (weight * cosine - 1)
    inverse = 0.002 * q.T
    for _ in range(steps):
        inverse = 2 * inverse - inverse @ q @ inverse
    spread = inverse.T @ activation / (threshold * activation.max())
    spread = spread - np.tanh(spread)
    spread = (spread - spread.min()) / (spread.max() - spread.min())
    return scores * (1 + spread.reshape(height, width)), activation + spread


class TestDiffusion:
    @pytest.mark.parametrize(("grid", "steps"), [((3, 5), 4), ((4, 4), 16), ((1, 6), 4)])
    def test_formula(self, grid, steps):
        rng = np.random.default_rng(1)
        scores, activation = rng.normal(size=(2, 7, *grid)), rng.random((2, grid[0] * grid[1]))
        layer = scm.ActivationDiffusion(grid, steps, "layer").double()
        with torch.no_grad():
            layer.semantic_weight.fill_(0.9)
            layer.threshold.fill_(0.4)
        found = layer(torch.from_numpy(scores), torch.from_numpy(activation))
        for i in range(2):
            expected = plain_layer(scores[i], activation[i], 0.9, 0.4, steps)
            np.testing.assert_allclose(found[0][i].detach(), expected[0], rtol=1e-6)
            np.testing.assert_allclose(found[1][i].detach(), expected[1], rtol=1e-6, atol=1e-9)

    def test_iterations_and_first_values(self):
        model = create_model("scm", SMALL, 2, image_size=96)
        assert [layer.iterations for layer in model.diffusion] == [16, 4, 4, 4]
        assert [layer.semantic_weight.item() for layer in model.diffusion] == [1] * 4
        assert [layer.threshold.item() for layer in model.diffusion] == [0.5] * 4

    def test_newton_schulz_is_far_from_converged_at_the_start(self):
        """At λ = 1, on 14 x 14 patches of class scores that have a mean in common."""
        generator = torch.Generator().manual_seed(0)
        shapes = [(1, 200, 1, 1), (1, 200, 14, 14)]
        scores = sum(torch.randn(shape, generator=generator) for shape in shapes)
        q = scm.grid_laplacian(14, 14) * (scm.cosine_similarity(scores) - 1)
        assert float(q.diagonal(dim1=1, dim2=2).abs().max()) < 1e-5

        def residual(steps):
            rest = torch.eye(196) - q @ scm.newton_schulz(q, steps)
            return float(torch.linalg.matrix_norm(rest)) / 14  # 1 for no inverse at all

        assert residual(4) == pytest.approx(0.97, abs=0.02)
        assert residual(16) == pytest.approx(0.28, abs=0.05)
        assert residual(60) < 1e-3


class TestNumbersOutOfRange:
    def test_constant_maps_give_zeros_and_finite_gradients(self):
        """All is alike or zero: nothing to diffuse, and nothing is divided by zero."""
        layer = scm.ActivationDiffusion((3, 3), 4, "layer 2 of 4")
        for scores in (torch.zeros(1, 4, 3, 3), torch.ones(1, 4, 3, 3)):
            scores.requires_grad_()
            activation = torch.zeros(1, 9, requires_grad=True)
            maps, spread = layer(scores, activation)
            assert torch.equal(maps, scores) and not spread.any()
            (maps.sum() + spread.sum()).backward()
            assert scores.grad.isfinite().all() and activation.grad.isfinite().all()

    @pytest.mark.parametrize(("weight", "threshold"), [(50.0, 0.5), (1.0, 0.0), (1.0, np.nan)])
    def test_an_exploding_layer_is_named_with_the_remedy(self, weight, threshold):
        layer = scm.ActivationDiffusion((6, 6), 16, "layer 3 of 4")
        with torch.no_grad():
            layer.semantic_weight.fill_(weight)
            layer.threshold.fill_(threshold)
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(1, 8, 6, 6, generator=generator)
        with pytest.raises(FloatingPointError, match=r"layer 3 of 4.*λ = .*β = .*Lower lr"):
            layer(scores, torch.rand(1, 36, generator=generator))
