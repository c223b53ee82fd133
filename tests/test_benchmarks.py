"""The benchmarks at small size: they are equal to the plain form, count right and write results."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from benchmarks import end_to_end, growth, model, notebooks, targets
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
        report = small_run(tmp_path, monkeypatch)
        shares = report["equality"][PLAN.backbone]["fused fp32"]
        assert 0 < shares["logits"] < 1e-4 and shares["gradients"] < 1e-4
        assert len(report["rows"]) == 2 * len(PLAN.candidates) * len(PLAN.batches)
        row = report["rows"][0]
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert row["share_of_ceiling"] > 0
        assert list(report["goals"]) == [target.name for target in targets.TARGETS["cpu"]]
        plain = targets.pick(report["rows"], "plain", "fp32", "inference")
        work = report["counts"][PLAN.backbone]["fused"]["forward_gflop"]
        at_ceiling = plain["batch"] * work / 1e3 / report["ceiling_tflops"]["fp32"]  # seconds
        assert f"would be {plain['seconds'] / at_ceiling:.2f} x" in report["notes"][0]

    def test_small_run_beside_a_gpu_has_the_targets_of_a_cpu(self, tmp_path, monkeypatch):
        monkeypatch.setitem(targets.TARGETS, "cuda", [])
        monkeypatch.setattr(model, "on_cuda", lambda: True)
        monkeypatch.setattr(model, "ceiling", lambda *_: 1.0)
        monkeypatch.setattr(model, "hand_back", lambda: None)
        monkeypatch.setattr(model, "equality", lambda *_, **__: {})
        monkeypatch.setattr(model, "count", lambda *_: COUNTS)
        monkeypatch.setattr(model, "measure", lambda *_, **__: [ROWS])
        assert FASTER in small_run(tmp_path, monkeypatch)["goals"]

    def test_slices_add_up_in_a_file_of_the_same_code(self, tmp_path, monkeypatch):
        monkeypatch.setattr(model, "count", lambda *_: COUNTS)
        monkeypatch.setattr(model, "ceiling", lambda *_: 1.0)
        for batch in (2, 4):
            plan = replace(PLAN, batches=(batch,), candidates=PLAN.candidates[: batch // 2])
            monkeypatch.setattr(model, "small", lambda plan=plan: [plan])
            report = small_run(tmp_path, monkeypatch)
        found = {(row["form"], row["task"], row["batch"]) for row in report["rows"]}
        tasks = ("inference", "training")
        expected = {("plain", task, batch) for task in tasks for batch in (2, 4)}
        assert found == expected | {("fused", task, 4) for task in tasks}
        assert len(report["rows"]) == len(found)
        assert not any("bare" in name for name in report["goals"])
        assert FASTER in report["goals"]
        report = small_run(tmp_path, monkeypatch, commit="another")
        assert {row["batch"] for row in report["rows"]} == {4}

    def test_a_slice(self):
        [plan] = model.chosen(model.on_gpu(), model.BASE, "bf16")
        assert plan.backbone == model.BASE
        forms = {(c.form, c.setting) for c in plan.candidates}
        settings = ("bf16", "bf16 compiled")
        assert forms == {(f, s) for f in ("plain", "fused", "bare") for s in settings}
        with pytest.raises(
            ValueError, match="precision is 'fp8'; expected one of bf16, fp32, tf32"
        ):
            model.chosen(model.on_gpu(), "", "fp8")

    def test_what_runs_out_of_memory_is_told(self, monkeypatch):
        """Its larger batch does not count for any form; the smaller one does."""
        step = model.Bench.train_step

        def limited(bench, images, labels):
            if bench.candidate.form == "plain" and len(images) > 2:
                raise torch.cuda.OutOfMemoryError("too much")
            step(bench, images, labels)

        monkeypatch.setattr(model.Bench, "train_step", limited)
        rows = [row for some in model.measure(PLAN, 1, own_process=False) for row in some]
        [out] = [row for row in rows if "oom" in row]
        assert (out["form"], out["task"], out["batch"]) == ("plain", "training", 4)
        assert "out of memory" in model.describe(out)
        assert targets.pick(rows, "fused", "fp32", "training")["batch"] == 2
        assert targets.pick(rows, "fused", "fp32", "inference")["batch"] == 4

    def test_a_compiled_form_is_compared_as_it_is_timed(self, monkeypatch):
        seen = []

        def compiled(network):
            seen.append(network)
            return torch.compile(network, backend="eager", dynamic=True)

        monkeypatch.setattr(model, "compiled", compiled)
        plan = replace(PLAN, candidates=[model.Candidate("fused", "bf16", True)])
        [(name, shares)] = model.equality(plan, 1, own_process=False).items()
        assert name == "fused bf16 compiled" and len(seen) == 1
        assert shares.keys() >= {"evaluated logits", "evaluated maps", "maps", "gradients"}

    def test_only_the_keys_bias_is_left_out(self):
        gradient = torch.arange(6.0)
        left = model.above_rounding("blocks.0.attn.qkv.bias", gradient)
        assert left.tolist() == [0, 1, 4, 5]
        assert model.above_rounding("blocks.0.attn.proj.bias", gradient) is gradient

    def test_another_model_is_refused(self, monkeypatch):
        monkeypatch.setattr(model, "PlainSAT", lambda sat: PlainSAT(shifted(sat)))

        def shifted(sat):
            sat.loc_embed.data *= 2
            return sat

        with pytest.raises(SystemExit, match=r"fused SAT in fp32 is not the plain one: .*maps"):
            model.equality(PLAN, 1, own_process=False)

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
            row_of("s", "plain", "fp32", 8, 6.0), row_of("s", "plain", "fp32", 4, 1.0),
            row_of("s", "fused", "fp32", 8, 3.0), row_of("s", "fused", "fp32 compiled", 8, 2.0),
            row_of("s", "bare", "fp32", 8, 2.5), row_of("t", "fused", "fp32", 16, 0.1),
        ]  # fmt: skip
        wanted = [
            targets.faster("training", "best", "fp32", 3.5),
            targets.faster("training", "fp32", "fp32", 2.0),
            targets.faster("training", "bf16", "fp32", 2.0),  # has no row
            targets.overhead("training", "fp32"),
        ]
        goals = targets.judge(rows, wanted, "s")
        values = [(t["value"], t["reached"]) for t in goals.values()]
        assert values == [(3.0, False), (2.0, True), (pytest.approx(0.2), False)]
        assert targets.judge(rows, wanted, "t") == {}

    def test_own_time_compares_round_by_round(self):
        """One slow round of the machine, which hits both, does not count."""
        fused, bare = (row_of("s", form, "fp32", 8, 1.0) for form in ("fused", "bare"))
        fused["round_seconds"], bare["round_seconds"] = [1.1, 2.2, 1.32], [1.0, 2.0, 1.1]
        assert targets.own_share([fused, bare], "fp32", "training") == pytest.approx(0.1)


def row_of(backbone, form, setting, batch, seconds):
    return {
        "backbone": backbone, "form": form, "setting": setting, "task": "training", "batch": batch,
        "seconds": seconds, "round_seconds": [seconds], "images_per_second": batch / seconds,
    }  # fmt: skip


ROWS = [row_of(PLAN.backbone, form, "fp32", 4, 1.0) for form in ("plain", "fused")]
COUNTS = {"forward_gflop": 1.0, "training_gflop": 3.0}
FASTER = "training: fused, fp32 / plain, fp32: images/s"


def small_run(folder, monkeypatch, commit="none"):
    monkeypatch.setattr(model, "provenance", lambda *_: {"commit": commit})  # git is slow
    model.main(tiny=True, out=folder, threads=1, backbone="", precision="")
    return json.loads((folder / "model_small.json").read_text())


def test_end_to_end_run(tmp_path, monkeypatch):
    monkeypatch.setattr(end_to_end, "provenance", lambda *_: {"commit": "none"})
    end_to_end.main(
        data_root="", folder=tmp_path / "cub", out=tmp_path, scale=0.003,
        backbone="deit_tiny_patch16_224", image_size=32, batch_size=8, workers=0, compile=False,
    )  # fmt: skip
    [path] = tmp_path.glob("end_to_end_*_scaled.json")
    report = json.loads(path.read_text())
    seconds = report["seconds"]
    parts = {"loading", "first steps", "steps", "evaluation", "saving", "rest", "total"}
    assert set(seconds) == parts
    assert all(value > 0 for value in seconds.values())
    parts = sum(value for name, value in seconds.items() if name != "total")
    assert parts == pytest.approx(seconds["total"], rel=0.05)
    [goal] = report["goals"].values()
    assert goal["value"] == seconds["total"] and goal["unit"] == "s"
    assert report["total_with_preparation"] > seconds["total"] >= sum(report["epoch_seconds"])
    [second] = report["epoch_seconds"][1:]
    speed = report["train_images_per_second_from_epoch_2"]
    assert speed == pytest.approx(18 / second)  # 18 photographs an epoch, as 5,994 * 0.003


def test_memory_of_a_child_is_seen_while_it_lives():
    child = "import time; held = bytearray(300_000_000); time.sleep(2)"
    with notebooks.watched(every=0.1) as found:
        subprocess.run([sys.executable, "-c", child], check=True)
    after = notebooks.held_bytes()
    assert max(found) - after > 290e6 and len(found) > 5


def test_growth_is_the_slope_of_the_larger_sizes():
    points = {n: {"seconds": 0.1 + n**2 / 1e4, "megabytes": 7.0} for n in (1, 10, 1000, 2000, 4000)}
    assert growth.exponent(points, "seconds") == pytest.approx(2, abs=0.01)
    assert growth.exponent(points, "megabytes") == 0


def test_growth_adds_memory_of_processes_but_not_their_time():
    costs = "dict(seconds=time.time(), megabytes=int(torch.cuda.is_available()) + 2)"
    start = time.time()
    found = growth.in_processes(2, costs, gpu=False)
    assert found["megabytes"] == 4 and start < found["seconds"] < time.time()
