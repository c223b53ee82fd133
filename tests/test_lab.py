"""Interactive parts: what they compute is right, their texts come from it, controls are obeyed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import satkit
from satkit import lab, losses
from satkit.boxes import best_ious, prepare_maps
from satkit.data import Transform
from satkit.data.aviary import SPECIES, Aviary
from satkit.figures import Illustration
from satkit.lab.attention import _attend
from satkit.lab.shell import panel, slider
from satkit.lab.threshold import LEVELS
from satkit.lessons import simulate_map

AVIARY = Aviary("test", size=96, length=8)
DRAWINGS = [AVIARY.drawing(i) for i in range(4)]
BOXES = [drawing.boxes for drawing in DRAWINGS]
MAPS = np.stack([simulate_map(d, np.random.default_rng(0), rest=0.45, blur=0.6, noise=0.2)
                 for d in DRAWINGS])  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return satkit.create_model("sat", "vit_pico_convstem8_96", 20, image_size=96).eval()


@pytest.fixture(scope="module")
def images():
    data = Aviary("test", size=96, length=4, transform=Transform(image_size=96, resize_size=96))
    return torch.stack([data[i]["image"] for i in range(2)])


@pytest.fixture
def shown(monkeypatch):
    """What is shown statically, instead of showing it."""
    found = []
    monkeypatch.setattr("satkit.lab.shell.show", found.append)
    return found


def controls_of(widget):
    """The controls of a part by description, and its picture and text."""
    row, view, said = widget.children[:3]
    return {control.description: control for control in row.children}, view, said


def follows(widget, shown, values, untouched=()):
    """Set each control to a value and require another picture, described by its text."""
    controls, view, said = controls_of(widget)
    assert {*values, *untouched} == set(controls)  # every control has a description, and is tried
    assert len(shown) == 1 and said.value == shown[0].alt.replace("&", "&amp;")
    for name, value in values.items():
        before = view.value
        controls[name].value = value
        assert view.value != before, name
        assert said.value in view.value.replace("&#x27;", "'"), name


# ------------------------------------------------------------------------------------ the panel


def test_an_error_is_said_and_the_picture_stays(shown):
    def draw(x):
        if x > 2:
            raise ValueError("x is <too> large")
        return Illustration(Figure(), f"x is {x}")

    control = slider("x", 1, 0, 3, 1)
    widget = panel(draw, {"x": control})
    _, view, said = controls_of(widget)
    picture = view.value
    control.value = 3
    assert said.value == "x is &lt;too&gt; large" and view.value == picture
    control.value = 2
    assert said.value == "x is 2" and view.value != picture


# ------------------------------------------------------------------------------------ threshold


def test_threshold_view_says_iou_and_accuracy_of_the_whole_set():
    ready = prepare_maps(MAPS, 96)
    ious = best_ious(ready, LEVELS, BOXES)[0]
    view = lab.threshold_view(DRAWINGS[1].image, ready[1], BOXES[1], ious, 1, 0.3, delta=0.7)
    at = 29  # 0.30
    assert LEVELS[at] == 0.3
    assert f"IoU {ious[1, at]:.2f} with the true box" in view.alt
    verdict = "right" if ious[1, at] >= 0.7 else "wrong"
    assert f"it is {verdict} at IoU ≥ 0.7" in view.alt
    curve = 100 * (ious >= 0.7).mean(axis=0)
    assert f"{curve[at]:.1f} % are right" in view.alt and f"with {curve.max():.1f} %" in view.alt
    drawn = view.figure.axes[2].lines[0]
    assert np.array_equal(drawn.get_ydata(), curve) and len(drawn.get_xdata()) == 99


def test_threshold_part_follows_its_controls(shown):
    maps = {"uneven": MAPS, "squared": MAPS**2}
    widget = lab.explore_threshold(maps, [d.image for d in DRAWINGS], BOXES)
    follows(widget, shown, {"map": "squared", "image (1–4)": 3, "IoU ≥": 0.7, "threshold": 0.6})
    assert "image 3, map «squared», threshold 0.60" in controls_of(widget)[2].value


# ------------------------------------------------------------------------------------ attention


def test_attend_gates_as_the_model_does(model, images):
    seen = lab.attend(model, images[0])
    assert len(seen) == len(model.spatial) == 3
    caught = {}
    attention = model.backbone.blocks[-1].attn
    hook = attention.register_forward_hook(lambda _, given, out: caught.update(out=out))
    with torch.inference_mode():
        maps = model(images[:1]).layer_maps[0]
    hook.remove()
    output, gate = caught["out"]
    assert np.allclose(seen[-1].outputs["after softmax"], output[0], atol=1e-5)
    assert np.allclose(seen[-1].gate, gate[0], atol=1e-6)
    for one, own in zip(seen, maps, strict=True):
        assert np.allclose(one.patches(one.gate), own, atol=1e-6)


@pytest.mark.parametrize("gate", ["after_softmax", "before_softmax"])
def test_both_positions_of_the_gate_are_those_of_the_library(model, images, gate):
    attention = model.backbone.blocks[-1].attn
    x = torch.randn(1, 146, 128, generator=torch.Generator().manual_seed(0))
    attention.gate = gate
    with torch.inference_mode():
        expected = attention(x)[0][0]
        attention.gate = "after_softmax"
        ours = _attend(attention, x, (12, 12), 1, None).outputs[gate.replace("_", " ")]
    assert np.allclose(ours, expected, atol=1e-5)


def test_gate_closes_after_the_softmax_and_not_before(model, images):
    closed = torch.zeros(12, 12)
    closed[4:8, 4:8] = 1
    (*_, seen) = lab.attend(model, images[0], closed)
    row = 1 + 5 * 12 + 5
    outside = seen.gate == 0
    assert np.allclose(seen.rows["off"].sum(axis=1), 1, atol=1e-5)
    assert np.allclose(seen.rows["before softmax"].sum(axis=1), 1, atol=1e-5)
    assert np.all(seen.rows["after softmax"][row, outside] == 0)
    assert np.all(seen.rows["before softmax"][row, outside] > 0)
    view = lab.attention_view(seen, images[0], (5, 5), "after softmax")
    total = seen.rows["after softmax"][row].sum()
    assert f"the row sums to {total:.2f}, 0 % lie on closed tokens" in view.alt
    assert "whose own gate is 1.00" in view.alt
    assert "changes by 0 %" in lab.attention_view(seen, images[0], (5, 5), "off").alt


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(torch.zeros(3, 3), r"shape \(3, 3\).*expected \(12, 12\)"),
     (torch.full((12, 12), 2.0), "values from 2 to 2; expected")],
)  # fmt: skip
def test_attend_refuses_maps_that_are_no_gates(model, images, wrong, message):
    with pytest.raises(ValueError, match=message):
        lab.attend(model, images[0], wrong)


def test_attention_view_refuses_patches_and_gates_that_there_are_not(model, images):
    (*_, seen) = lab.attend(model, images[0])
    with pytest.raises(ValueError, match="row below 12"):
        lab.attention_view(seen, images[0], (12, 0), "off")
    with pytest.raises(ValueError, match="after softmax"):
        lab.attention_view(seen, images[0], (0, 0), "after")


def test_attention_part_follows_controls_and_patch_buttons(model, images, shown):
    widget = lab.explore_attention(model, images)
    follows(widget, shown, {"image (1–2)": 2, "block": 0, "gate": "off", "row of the patch": 2,
                            "column of the patch": 9})  # fmt: skip
    buttons = widget.children[-1].children
    assert len(buttons) == 144 and buttons[13].tooltip == "patch in row 2, column 2"
    assert len({button.style.button_color for button in buttons}) > 20  # it is the image
    drawn = []
    widget.children[1].observe(lambda change: drawn.append(change["new"]), names="value")
    buttons[2 * 12 + 4].click()
    assert len(drawn) == 1  # once, for row and column
    assert controls_of(widget)[2].value.startswith("Patch in row 3, column 5")


# --------------------------------------------------------------------------------------- losses


@pytest.fixture
def replay():
    random = np.random.default_rng(0)
    maps = np.clip(np.linspace(0.5, 0.1, 20)[:, None, None, None]
                   + random.normal(0, 0.05, (20, 3, 12, 12)), 0, 1).astype(np.float32)  # fmt: skip
    terms = pd.DataFrame({
        "cls": np.linspace(1, 0.2, 20),
        "batch_area": [float(losses.batch_area_loss(torch.tensor(m), 0.25)) for m in maps],
        "normalization": [float(losses.normalization_loss(torch.tensor(m))) for m in maps],
    })  # fmt: skip
    return lab.Replay(terms, 0.25, "a descent", maps)


def test_recomputed_losses_are_the_losses_of_the_stored_maps(replay):
    new = lab.recompute(replay, 0.4, {"cls": 2.0, "normalization": 0.0})
    expected = [float(losses.batch_area_loss(torch.tensor(m), 0.4)) for m in replay.maps]
    assert np.allclose(new["batch_area"], expected, atol=1e-6)
    assert np.allclose(new["high"], 2 * replay.terms["cls"] + expected, atol=1e-6)
    assert np.array_equal(new["low"], new["high"])
    same = lab.recompute(replay, 0.25)
    assert np.allclose(same["high"], replay.terms.sum(axis=1), atol=1e-6)


def test_without_maps_the_true_loss_lies_between_the_bounds(replay):
    blind, true = replay._replace(maps=None), lab.recompute(replay, 0.4)["high"]
    new = lab.recompute(blind, 0.4)
    assert (new["low"] <= true + 1e-6).all() and (true <= new["high"] + 1e-6).all()
    assert (new["high"] > new["low"]).any()
    same = lab.recompute(blind, 0.25)
    assert np.allclose(same["low"], same["high"])  # the old λ is known exactly
    impossible = lab.Replay(pd.DataFrame({"batch_area": [0.6]}), 0.25, "all above")  # not -0.35
    assert np.allclose(lab.recompute(impossible, 0.5)[["low", "high"]], 0.35)


def test_replay_view_says_what_is_stored_and_what_is_known(replay):
    view = lab.replay_view(replay, 0, 0.4, {"cls": 2.0})
    assert "at λ = 0.40 (trained with 0.25)" in view.alt
    area = replay.maps[0].mean()
    assert f"The maps cover {area:.2f}, so L_ba asks for a smaller area" in view.alt
    assert "asks for a larger area" in lab.replay_view(replay, 19, 0.4, {}).alt
    assert f"stored sum {replay.terms.iloc[0].sum():.3f}" in view.alt
    blind = lab.replay_view(replay._replace(maps=None), 0, 0.4, {})
    assert "not its side" in blind.alt and len(blind.figure.axes) == 2
    with pytest.raises(ValueError, match="step is 20; expected 0 to 19"):
        lab.replay_view(replay, 20, 0.4, {})
    with pytest.raises(ValueError, match=r"target_area is 1\.5"):
        lab.recompute(replay, 1.5)


def test_replay_part_follows_its_controls(replay, shown):
    widget = lab.replay_losses(replay)
    values = {"step": 4, "λ": 0.6, "weight of L_cls": 0.5, "weight of L_ba": 3}
    follows(widget, shown, values | {"weight of L_norm": 0})


def test_replay_of_a_run_reads_its_steps_and_refuses_one_without_the_terms(shown):
    steps = pd.DataFrame({"epoch": 0, "cls": [1.0, 0.5], "batch_area": [0.2, 0.1], "lr": 0.1})
    run = SimpleNamespace(steps=steps, settings=SimpleNamespace(target_area=0.3),
                          dir=SimpleNamespace(name="abc"))  # fmt: skip
    found = lab.replay_of(run)
    assert list(found.terms) == ["cls", "batch_area"] and found.target_area == 0.3
    run.steps = steps[["epoch", "lr"]]
    with pytest.raises(ValueError, match="run abc has none of the losses cls"):
        lab.replay_of(run)


# ------------------------------------------------------------------------------- methods, birds


class FakeRun(SimpleNamespace):
    """A run that needs no training: a model with random weights."""

    def __init__(self, method, threshold):
        torch.manual_seed(0)
        own = satkit.create_model(method, "vit_pico_convstem8_96", 20, image_size=96).eval()
        super().__init__(
            model=lambda: own, metrics={"threshold": threshold},
            provenance={"classes": [kind.name for kind in SPECIES]},
            settings=SimpleNamespace(protocol="sat", image_size=96),
        )  # fmt: skip


def test_comparison_scores_each_method_at_its_own_threshold():
    ready = prepare_maps(MAPS, 96)[0]
    view = lab.comparison(DRAWINGS[0].image, {"A": ready, "B": ready}, BOXES[0],
                          {"A": 0.2, "B": 0.8})  # fmt: skip
    scores = best_ious(ready[None], [0.2, 0.8], [BOXES[0]], convention="official")[0, 0]
    for name, level, score in zip("AB", (0.2, 0.8), scores, strict=True):
        share = 100 * (ready > level).mean()
        assert f"{name} at {level:.2f}: IoU {score:.2f}, {share:.0f} % above" in view.alt
    assert len(view.figure.axes) == 3


def test_comparison_part_follows_its_controls(images, shown):
    runs = {"CAM": FakeRun("cam", 0.3), "SAT": FakeRun("sat", 0.4)}
    widget = lab.compare_methods(runs, images, torch.tensor([0, 1]), BOXES[:2])
    assert "CAM at 0.30" in shown[0].alt and "SAT at 0.40" in shown[0].alt
    values = {"image (1–2)": 2, "one threshold for all methods": True, "that threshold": 0.7}
    follows(widget, shown, values)
    assert "SAT at 0.70" in controls_of(widget)[2].value


def test_bird_is_drawn_as_ordered():
    for posture in ("branch", "ground", "water", "flight"):
        assert lab.bird(3, posture).attributes["perch"] == posture
    two = lab.bird(5, "any", 2, ("multiple", "occlusion"))
    assert two.difficulties["multiple"] and two.difficulties["occlusion"] and len(two.boxes) >= 2
    assert two.label == 5 and two.image.shape == (160, 160, 3)
    assert not np.array_equal(lab.bird(5, "any", 1).image, lab.bird(5, "any", 3).image)


def test_bird_that_cannot_be_is_refused_with_what_can():
    with pytest.raises(ValueError, match=r"'flight', but with reflection .* on water; choose"):
        lab.bird(0, "flight", 1, ("reflection",))
    with pytest.raises(ValueError, match="posture"):
        lab.bird(0, "sitting")


def test_bird_part_follows_its_controls_and_says_that_maps_are_made_up(shown):
    widget = lab.draw_own_bird()
    assert "made up: whole bird" in shown[0].alt and "made up: head only" in shown[0].alt
    values = {
        "species (1–20)": 9,
        "pose and scene (1–50)": 4,
        "threshold": 0.2,
        "posture": "flight",
    }
    follows(widget, shown, values | dict.fromkeys(("occlusion", "partial"), True),
            untouched=("context", "reflection", "multiple"))  # fmt: skip
    assert f"A {SPECIES[8].name}, in flight, scene" in controls_of(widget)[2].value


def test_bird_part_asks_runs(shown):
    widget = lab.draw_own_bird({"CAM": FakeRun("cam", 0.3), "SAT": FakeRun("sat", 0.4)})
    assert "CAM at 0.30" in shown[0].alt and "SAT at 0.40" in shown[0].alt
    assert "made up" not in shown[0].alt
    controls_of(widget)[0]["one threshold for all methods"].value = True
    assert "SAT at 0.50" in controls_of(widget)[2].value
    controls_of(widget)[0]["species (1–20)"].value = 4
    assert SPECIES[3].name in controls_of(widget)[2].value
