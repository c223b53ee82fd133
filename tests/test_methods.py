import numpy as np
import pytest
import torch

from satkit import create_model, list_methods
from satkit.backbones import recompute_activations
from satkit.boxes import component_boxes, prepare_maps
from satkit.losses import classification_loss, total_loss
from tests.recipe import FIXTURES, draw_images, draw_weights, official_names

SMALL = "vit_pico_convstem8_96"


@pytest.fixture(scope="module")
def official() -> dict[str, np.ndarray]:
    return dict(np.load(FIXTURES / "tscam_tiny.npz"))


@pytest.fixture(scope="module")
def tscam(official):
    model = create_model("tscam", "deit_tiny_patch16_224", 200)
    names, state = official_names(model), model.state_dict()
    shapes = {theirs: tuple(state[ours].shape) for theirs, ours in names.items()}
    weights, digest = draw_weights(shapes, int(official["seed"]))
    assert digest == str(official["state_sha256"])
    model.load_state_dict({names[name]: value for name, value in weights.items()})
    return model.eval()


class TestTSCAM:
    def test_official_outputs(self, tscam, official):
        images, labels = draw_images(17), torch.from_numpy(official["y"])
        output = tscam(images, labels)
        logits, maps, attention = (x.detach().numpy() for x in output[:3])
        np.testing.assert_allclose(logits, official["logits"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(maps, official["cams_gt"], atol=5e-6, rtol=0)
        rows = official["cls_attn"][:, :, 1:].reshape(12, 4, 14, 14).swapaxes(0, 1)
        np.testing.assert_allclose(attention, rows, atol=5e-6, rtol=0)
        classification_loss(output.logits, labels).backward()
        names, parameters = official_names(tscam), dict(tscam.named_parameters())
        for key in [key for key in official if key.startswith("grad/")]:
            ours = parameters[names[key.removeprefix("grad/")]].grad.numpy()
            assert np.abs(ours - official[key]).max() < 1e-4 * np.abs(official[key]).max(), key

    @pytest.mark.parametrize("threshold", ["0.10", "0.12", "0.30", "0.50"])
    def test_official_boxes(self, official, threshold):
        maps = prepare_maps(official["cams_gt"], 224, "tscam")
        boxes = component_boxes(maps, [float(threshold)], protocol="tscam")[:, 0]
        np.testing.assert_array_equal(boxes, official[f"boxes_gtclass_{threshold}"])

    def test_predicted_class_without_labels(self, tscam):
        images = draw_images(17)[:2]
        with torch.inference_mode():
            free = tscam(images)
            told = tscam(images, free.logits.argmax(dim=1))
        assert torch.equal(free.maps, told.maps)

    def test_needs_a_class_token(self):
        with pytest.raises(ValueError, match="needs a backbone with a class token"):
            create_model("tscam", "vit_base_patch16_gap_224", 2, image_size=64)


class TestCAM:
    def test_map_is_the_class_map_and_logits_its_mean(self):
        model = create_model("cam", SMALL, 4, image_size=96).eval()
        images, labels = torch.randn(3, 3, 96, 96), torch.tensor([0, 3, 1])
        with torch.inference_mode():
            output = model(images, labels)
        chosen = output.logits[torch.arange(3), labels]
        torch.testing.assert_close(output.maps.mean(dim=(1, 2)), chosen)

    @pytest.mark.parametrize("labels", [[0], [0, 4], [-1, 0]])
    @pytest.mark.parametrize("method", ["cam", "tscam"])
    def test_labels_that_do_not_fit(self, method, labels):
        model = create_model(method, SMALL, 4, image_size=96)
        with pytest.raises(ValueError, match="labels"):
            model(torch.zeros(2, 3, 96, 96), torch.tensor(labels))


class TestCreateModel:
    def test_methods(self):
        assert {"sat", "cam", "tscam", "scm", "lctr", "attention_map"} <= set(list_methods())

    def test_unknown_method(self):
        with pytest.raises(ValueError, match=r"method is 'tscan'; .*Did you mean 'tscam'"):
            create_model("tscan", SMALL)

    def test_unknown_option(self):
        with pytest.raises(ValueError, match=r"method 'cam' has no option 'gate'.*belongs to sat"):
            create_model("cam", SMALL, 2, image_size=96, gate="after_softmax")

    def test_no_classes(self):
        with pytest.raises(ValueError, match="num_classes is 0"):
            create_model("sat", SMALL, 0)

    def test_whole_checkpoint(self, tmp_path):
        model = create_model("sat", SMALL, 3, image_size=96)
        torch.save(model.state_dict(), tmp_path / "whole.pt")
        again = create_model("sat", SMALL, 3, image_size=96, checkpoint=tmp_path / "whole.pt")
        assert all(
            torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
        )
        with pytest.raises(ValueError, match=r"does not fit sat on .* with 4 classes"):
            create_model("sat", SMALL, 4, image_size=96, checkpoint=tmp_path / "whole.pt")

    def test_backbone_checkpoint(self, tmp_path):
        model = create_model("cam", SMALL, 3, image_size=96)
        torch.save(model.backbone.state_dict(), tmp_path / "backbone.pt")
        again = create_model("sat", SMALL, 3, image_size=96, checkpoint=tmp_path / "backbone.pt")
        first = "backbone.blocks.0.mlp.fc1.weight"
        assert torch.equal(model.state_dict()[first], again.state_dict()[first])

    def test_files_that_are_no_weights(self, tmp_path):
        for name in ("text.pt", "text.safetensors"):
            (tmp_path / name).write_text("not weights")
            with pytest.raises(ValueError, match="cannot be read as weights"):
                create_model("sat", SMALL, 3, image_size=96, checkpoint=tmp_path / name)
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
            create_model("sat", SMALL, 3, image_size=96, checkpoint=tmp_path / "nowhere.pt")

    def test_pickles_are_not_run(self, tmp_path):
        torch.save({"weights": print}, tmp_path / "code.pt")
        with pytest.raises(ValueError, match="cannot be read as weights") as refused:
            create_model("sat", SMALL, 3, image_size=96, checkpoint=tmp_path / "code.pt")
        assert "weights_only" not in str(refused.value)  # torch's advice, which would run it


@pytest.mark.parametrize("method", list_methods())
def test_labels_change_no_logit_in_evaluation(method):
    model = create_model(method, SMALL, 3, image_size=48).eval()
    images = torch.rand(3, 3, 48, 48)
    with torch.inference_mode():
        free, told = model(images), model(images, torch.tensor([0, 1, 2]))
    assert torch.equal(free.logits, told.logits)


@pytest.mark.parametrize("method", ["sat", "cam", "lctr", "ornet", "spol"])
def test_activation_checkpointing_changes_no_number(method):
    """With stochastic depth too, whose random numbers are drawn again."""
    images, labels = torch.rand(3, 3, 48, 48), torch.tensor([0, 1, 2])
    found = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        model = create_model(method, "vit_pico_convstem8_96", 3, image_size=48, drop_path=0.5)
        calls = []
        model.backbone.blocks[1].mlp.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        if recomputed:
            recompute_activations(model)
        output = model.train()(images, labels)
        loss = total_loss(output.logits, output.maps, labels, target_area=0.3, own=output.losses)
        loss["total"].backward()
        assert len(calls) == 1 + recomputed
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss["total"].detach(), gradients, list(model.state_dict())))
    (loss, gradients, names), (again, others, same) = found
    assert names == same and set(gradients) == set(others)
    torch.testing.assert_close(again, loss, rtol=0, atol=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=0, atol=1e-6, msg=name)
