"""The benchmarks at small size: they are equal to the plain form, count right and write results."""

import json

import pytest
import torch

from benchmarks import end_to_end, model
from benchmarks.baselines.sat import PlainSAT
from satkit import create_model
from satkit.losses import total_loss

PLAN = model.small()[0]


class TestPlainForm:
    @pytest.mark.parametrize("backbone", ["deit_tiny_patch16_224", "vit_pico_convstem8_96"])
    def test_equal_to_satkits(self, backbone):
        torch.manual_seed(0)
        ours = create_model("sat", backbone, 7, image_size=32).double()
        plain = PlainSAT(ours)
        images, labels = torch.randn(3, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 6, 2])
        outputs = [form(images) for form in (ours, plain)]
        losses = [total_loss(o.logits, o.maps, labels, target_area=0.25) for o in outputs]
        for pair in [*zip(*(o[:3] for o in outputs), strict=True),
                     *zip(*(loss.values() for loss in losses), strict=True)]:  # fmt: skip
            torch.testing.assert_close(*pair, atol=1e-12, rtol=1e-10)
        for loss in losses:
            loss["total"].backward()
        theirs = dict(plain.named_parameters())
        assert set(theirs) == {name for name, _ in ours.named_parameters()}
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(
                parameter.grad, theirs[name].grad, atol=1e-12, rtol=1e-8, msg=name
            )

    def test_its_weights_are_its_own(self):
        ours = create_model("sat", "vit_pico_convstem8_96", 7, image_size=32)
        plain = PlainSAT(ours)
        with torch.no_grad():
            plain.head.weight.zero_()
        assert ours.head.weight.abs().sum() > 0


class TestModel:
    def test_small_run(self, tmp_path, monkeypatch):
        monkeypatch.setattr(model, "provenance", lambda *_: {"commit": "none"})  # git is slow
        model.main(tiny=True, out=tmp_path, threads=1)
        report = json.loads((tmp_path / "model_small.json").read_text())
        shares = report["equality"][PLAN.backbone]["fp32"]
        assert 0 < shares["logits"] < 1e-4 and shares["gradients"] < 1e-4
        assert len(report["rows"]) == 2 * len(PLAN.candidates) * len(PLAN.batches)
        row = report["rows"][0]
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert row["share_of_ceiling"] > 0
        assert list(report["goals"]) == [target.name for target in model.TARGETS["cpu"]]
        plain = model.pick(report["rows"], "plain", "fp32", "inference")
        work = report["counts"][PLAN.backbone]["fused"]["forward_gflop"]
        at_ceiling = plain["batch"] * work / 1e3 / report["ceiling_tflops"]["fp32"]  # seconds
        assert f"would be {plain['seconds'] / at_ceiling:.2f} x" in report["notes"][0]

    def test_another_model_is_refused(self, monkeypatch):
        monkeypatch.setattr(model, "PlainSAT", lambda sat: PlainSAT(shifted(sat)))

        def shifted(sat):
            sat.loc_embed.data *= 2
            return sat

        with pytest.raises(SystemExit, match=r"fused SAT in fp32 is not the plain one: .*maps"):
            model.equality(PLAN)

    def test_counts_by_hand(self):
        """What the plain form does more: class maps of 4 places, rows of logits are part of QKᵀ."""
        plain, fused = (model.count(form, PLAN) for form in ("plain", "fused"))
        head = 2 * 192 * 9 * 10 * (4 - 1)  # four places, against one linear layer
        rows = 3 * 2 * 6 * 192  # three blocks, six tokens
        assert (plain["forward_gflop"] - fused["forward_gflop"]) * 1e9 == pytest.approx(head - rows)
        assert fused["parameters"] == plain["parameters"]
        assert fused["training_gflop"] > 2 * fused["forward_gflop"]
        assert fused["saved_mb"] > 0

    def test_targets_read_the_rows(self):
        rows = [
            {"backbone": backbone, "form": form, "setting": setting, "task": "training",
             "batch": batch, "seconds": seconds, "images_per_second": batch / seconds}
            for backbone, batch, form, setting, seconds in [
                ("s", 8, "plain", "fp32", 6.0), ("s", 4, "plain", "fp32", 1.0),
                ("s", 8, "fused", "fp32", 3.0), ("s", 8, "fused", "fp32 compiled", 2.0),
                ("s", 8, "bare", "fp32", 2.5), ("t", 16, "fused", "fp32", 0.1),
            ]
        ]  # fmt: skip
        targets = [
            model.faster("training", "best", "fp32", 3.5),
            model.faster("training", "fp32", "fp32", 2.0),
            model.overhead("training", "fp32"),
        ]
        values = [(t["value"], t["reached"]) for t in model.judge(rows, targets).values()]
        assert values == [(3.0, False), (2.0, True), (pytest.approx(0.2), False)]


def test_end_to_end_run(tmp_path, monkeypatch):
    monkeypatch.setattr(end_to_end, "provenance", lambda *_: {"commit": "none"})
    end_to_end.main(
        data_root="", folder=tmp_path / "cub", out=tmp_path, scale=0.003,
        backbone="deit_tiny_patch16_224", image_size=32, batch_size=8, workers=0, compile=False,
    )  # fmt: skip
    [path] = tmp_path.glob("end_to_end_*_scaled.json")
    report = json.loads(path.read_text())
    seconds = report["seconds"]
    assert set(seconds) == {"loading", "steps", "evaluation", "saving", "rest", "total"}
    assert all(value > 0 for value in seconds.values())
    parts = sum(value for name, value in seconds.items() if name != "total")
    assert parts == pytest.approx(seconds["total"], rel=0.05)
    [goal] = report["goals"].values()
    assert goal["value"] == seconds["total"] and goal["unit"] == "s"
