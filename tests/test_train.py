import itertools
import json
import shutil
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch._dynamo.testing import CompileCounter

import satkit
from satkit import results
from satkit import train as train_function
from satkit import training as module
from satkit.data.aviary import Aviary
from satkit.settings import TrainSettings


def tiny_settings(runs, **given) -> TrainSettings:
    values = {"train_images": 12, "eval_images": 8, "batch_size": 4, "epochs": 2, "seed": 3}
    return TrainSettings.for_profile(
        "smoke", pretrained=False, runs_dir=str(runs), **{**values, **given}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> results.Run:
    return satkit.train(tiny_settings(tmp_path_factory.mktemp("runs")))


class TestRun:
    def test_files_and_provenance(self, finished):
        assert finished.finished
        assert not (finished.dir / "state.pt").exists()
        origin = finished.provenance
        assert {"commit", "dirty", "date", "device", "torch", "data", "classes"} <= set(origin)
        assert finished.settings.seed == 3
        assert 0 < origin["data_wait_share"] == finished.metrics["data_wait_share"] < 1
        assert len(finished.log) == 2 and len(finished.steps) == 6
        assert len(finished.predictions) == 8

    def test_metrics_follow_from_the_predictions(self, finished):
        table, metrics = finished.predictions, finished.metrics
        hit = table["iou"] >= 0.5
        assert metrics["gt_known"] == pytest.approx(100 * hit.mean())
        right = table["predicted"] == table["label"]
        assert metrics["top1_cls"] == pytest.approx(100 * right.mean())
        assert metrics["top1_loc"] == pytest.approx(100 * (hit & right).mean())
        assert metrics["top5_loc"] == pytest.approx(100 * (hit & table["top5"]).mean())

    def test_threshold_was_chosen_on_held_out_images(self, finished):
        log = finished.log
        assert finished.metrics["threshold"] == log["val_threshold"].dropna().iloc[-1]
        assert finished.metrics["gt_known_test_threshold"] >= finished.metrics["gt_known"]

    def test_not_done_again(self, finished, capsys):
        before = (finished.dir / "metrics.json").stat().st_mtime_ns
        again = satkit.train(finished.settings)
        assert again == finished
        assert (finished.dir / "metrics.json").stat().st_mtime_ns == before
        assert finished.dir.name in capsys.readouterr().out

    def test_model_from_the_run_gives_the_same_numbers(self, finished):
        test = module.load_datasets(finished.settings)["test"]
        numbers = satkit.evaluate(
            finished.model(), test, threshold=finished.metrics["threshold"], batch_size=3
        )
        for name in ("top1_cls", "gt_known", "pxap", "piou", "full_image@0.5"):
            assert numbers[name] == pytest.approx(finished.metrics[name]), name

    def test_table_of_runs(self, finished):
        table = results.load("default", finished.settings.runs_dir)
        assert table.loc[0, "gt_known"] == finished.metrics["gt_known"]
        assert results.load("nothing", finished.settings.runs_dir).empty

    def test_stale_code_is_named(self, finished, tmp_path):
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in finished.dir.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        origin = json.loads((copy / "provenance.json").read_text())
        (copy / "provenance.json").write_text(json.dumps({**origin, "code": "other"}))
        assert "code has changed" in results.open_run(copy).stale
        assert "STALE" in results.open_run(copy).banner()
        assert not finished.stale

    def test_open_run_without_a_run(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"is no run: expected a folder with settings"):
            results.open_run(tmp_path)


class TestDeterminism:
    def test_same_settings_same_numbers(self, finished, tmp_path):
        again = satkit.train(tiny_settings(tmp_path))
        assert same_numbers(again, finished)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_stopped_in_mid_epoch_and_resumed(self, finished, tmp_path, monkeypatch, workers):
        """Every step saves; the run dies at a step of the second epoch and goes on from there."""
        settings = tiny_settings(tmp_path, workers=workers)
        monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
        real, calls = module.total_loss, itertools.count()

        def dies_at_the_fifth_step(*args, **kwargs):
            if next(calls) == 4:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        monkeypatch.setattr(module, "total_loss", dies_at_the_fifth_step)
        with pytest.raises(KeyboardInterrupt):
            train_function(settings)
        monkeypatch.setattr(module, "total_loss", real)
        assert same_numbers(train_function(settings), finished)


def same_numbers(a: results.Run, b: results.Run) -> bool:
    pd.testing.assert_frame_equal(a.steps, b.steps)
    pd.testing.assert_frame_equal(a.predictions, b.predictions)
    timed = {"images_per_second", "train_seconds", "train_images_per_second", "data_wait_share"}
    kept = [{k: v for k, v in run.metrics.items() if k not in timed} for run in (a, b)]
    return kept[0] == kept[1]


class TestOptions:
    @pytest.mark.parametrize("method", ["cam", "tscam"])
    def test_other_methods(self, method, tmp_path):
        run = satkit.train(tiny_settings(tmp_path, method=method, epochs=1))
        assert set(run.steps) == {"epoch", "step", "lr", "cls", "total"}
        assert 0 <= run.metrics["gt_known"] <= 100

    def test_accumulation_equals_a_large_batch(self, tmp_path):
        """Cross-entropy alone is a mean over images, so two half batches make one step."""
        common = {
            "area_term": "none", "pixel_term": "none", "drop_path": 0.0, "epochs": 1,
            "train_images": 8, "backbone": "deit_tiny_patch16_224",  # no BatchNorm
            "image_size": 32, "resize_size": 36,
        }  # fmt: skip
        large = satkit.train(tiny_settings(tmp_path, batch_size=8, **common)).model()
        halves = satkit.train(
            tiny_settings(tmp_path, batch_size=4, accumulation=2, **common)
        ).model()
        torch.manual_seed(3)
        start = results.build_model(tiny_settings(tmp_path, **common), 20)
        moved = (large.head.weight - start.head.weight).abs()
        assert moved.median() > 5e-5  # AdamW's first step is about lr = 1e-4 for each weight
        torch.testing.assert_close(halves.head.weight, large.head.weight, atol=2e-6, rtol=0)

    def test_accumulation_weighs_images_alike_at_the_end_of_an_epoch(self, tmp_path):
        """Batches of 3, 3 and 1 image make the step of one batch of 7."""
        common = {
            "area_term": "none", "drop_path": 0.0, "epochs": 1, "train_images": 7,
            "backbone": "deit_tiny_patch16_224", "image_size": 32, "resize_size": 36,
        }  # fmt: skip
        large = satkit.train(tiny_settings(tmp_path, batch_size=7, **common)).model()
        parts = satkit.train(tiny_settings(tmp_path, batch_size=3, accumulation=3, **common))
        assert len(parts.steps) == 3
        torch.testing.assert_close(parts.model().head.weight, large.head.weight, atol=2e-6, rtol=0)

    def test_state_is_saved_between_steps_of_the_optimizer(self, tmp_path, monkeypatch):
        """Within a group of accumulated batches there are gradients that it does not hold."""
        monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
        saved = []
        monkeypatch.setattr(module._Loop, "_save_state", lambda loop: saved.append(loop.step))
        satkit.train(tiny_settings(tmp_path, batch_size=2, accumulation=4, epochs=1))
        assert saved == [4, 6, 6, 0]  # again before the epoch is evaluated, and after it

    def test_drop_last(self, tmp_path):
        run = satkit.train(tiny_settings(tmp_path, batch_size=5, drop_last=True))
        assert len(run.steps) == 4
        with pytest.raises(ValueError, match="drop_last leaves no batch: batch_size is 13"):
            satkit.train(tiny_settings(tmp_path, batch_size=13, drop_last=True))

    def test_every_epoch_crops_anew(self, tmp_path, monkeypatch):
        seen, real = [], module._Loop._optimize

        def look(loop, batch, share):
            seen.append({int(i): x for i, x in zip(batch["index"], batch["image"], strict=True)})
            return real(loop, batch, share)

        monkeypatch.setattr(module._Loop, "_optimize", look)
        satkit.train(tiny_settings(tmp_path, batch_size=12))
        first, second = seen
        assert set(first) == set(second)
        assert sum(torch.equal(first[index], second[index]) for index in first) < 3

    @pytest.mark.slow
    def test_compiled_model_gives_the_same_numbers(self, finished, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "COMPILE_BACKEND", "eager")
        run = satkit.train(tiny_settings(tmp_path, compile=True))
        assert run.dir.name == finished.dir.name
        pd.testing.assert_frame_equal(run.steps, finished.steps, rtol=0, atol=1e-5)
        names = [set(satkit.checkpoints.read_weights(r.dir / "model.safetensors"))
                 for r in (run, finished)]  # fmt: skip
        assert names[0] == names[1]

    @pytest.mark.slow
    def test_training_and_evaluation_compile_once(self, tmp_path, monkeypatch):
        counter = CompileCounter()
        monkeypatch.setattr(module, "COMPILE_BACKEND", counter)
        satkit.train(tiny_settings(tmp_path, compile=True, batch_size=5, eval_batch_size=5))
        assert counter.frame_count == 2  # batches of 5, 5 and 2; then of 5 and 3, twice

    def test_scaled_gradients_that_overflow_skip_a_step(self, tmp_path, monkeypatch):
        """What fp16 does on a GPU; the scale is part of the saved state."""
        scales, real = [], module._accelerator

        def scaled(settings):
            accelerator = real(settings)
            accelerator.scaler = torch.amp.GradScaler(
                "cpu", init_scale=2.0**127, backoff_factor=2.0**-12
            )
            return accelerator

        def large(*args, **kwargs):
            losses = real_loss(*args, **kwargs)
            return {**losses, "total": 1000 * losses["total"]}

        def look(loop, batch, share):
            scales.append(loop.accelerator.scaler.get_scale())
            if stop_at == len(scales):
                raise KeyboardInterrupt
            return optimize(loop, batch, share)

        stop_at, optimize, real_loss = 0, module._Loop._optimize, module.total_loss
        monkeypatch.setattr(module, "total_loss", large)
        monkeypatch.setattr(module, "_accelerator", scaled)
        monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
        monkeypatch.setattr(module._Loop, "_optimize", look)
        whole = satkit.train(tiny_settings(tmp_path / "whole"))
        assert scales[0] == 2.0**127 and len(set(scales)) > 1 and scales[-1] == scales[-2]
        expected, stop_at = scales.copy(), len(scales) + 4
        with pytest.raises(KeyboardInterrupt):
            satkit.train(tiny_settings(tmp_path / "broken"))
        del scales[-1]
        stop_at = 0
        assert same_numbers(satkit.train(tiny_settings(tmp_path / "broken")), whole)
        assert scales == [*expected, *expected]

    def test_tf32(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match="precision is 'tf32', which needs a GPU"):
            module.precision_of("tf32")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert module.precision_of("tf32") == "no"  # no autocast
        try:
            module.allow_tf32("tf32")
            assert torch.get_float32_matmul_precision() == "high"
            assert torch.backends.cudnn.allow_tf32
        finally:
            module.allow_tf32("fp32")
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32

    def test_fp16_needs_a_gpu(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match="precision is 'fp16', which needs a GPU"):
            satkit.train(tiny_settings(tmp_path, precision="fp16"))

    def test_bf16_is_close_to_fp32(self, tmp_path):
        """In one session, one after the other."""
        small = {"train_images": 4, "eval_images": 4, "epochs": 1, "image_size": 48}
        runs = [
            satkit.train(tiny_settings(tmp_path, precision=p, **small)) for p in ("fp32", "bf16")
        ]
        exact, rounded = (run.steps["total"][0] for run in runs)
        assert rounded == pytest.approx(exact, rel=0.02) and rounded != exact

    def test_frozen_parts_stay(self, tmp_path):
        settings = tiny_settings(tmp_path, freeze="d", epochs=1)
        torch.manual_seed(settings.seed)
        start = results.build_model(settings, 20)
        trained = satkit.train(settings).model()
        weight = "backbone.blocks.0.mlp.fc1.weight"
        assert torch.equal(start.state_dict()[weight], trained.state_dict()[weight])
        assert not torch.equal(start.head.weight, trained.head.weight)

    def test_cosine_schedule_ends_near_the_minimum(self, tmp_path):
        run = satkit.train(tiny_settings(tmp_path, schedule="cosine", lr=1e-4))
        rates = run.steps["lr"].to_numpy()
        assert rates[0] == pytest.approx(1e-4) and (np.diff(rates) < 0).all()
        assert rates[-1] < 1e-5

    def test_shots(self, tmp_path):
        settings = tiny_settings(tmp_path, shots=1, train_images=0)
        labels = module.load_datasets(settings)["train"].labels
        assert sorted(labels) == list(range(20))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A user's folder: two classes of drawings, no boxes."""
    root = tmp_path_factory.mktemp("photographs")
    drawings = Aviary("train", size=120)
    for index in range(24):
        if index % 20 < 2:
            continue
        folder = root / ("even" if index % 2 == 0 else "odd")
        folder.mkdir(exist_ok=True)
        Image.fromarray(drawings.drawing(index).image).save(folder / f"{index:02d}.png")
    return root


class TestFolder:
    given: ClassVar = {"dataset": "folder", "train_images": 0, "eval_images": 0, "epochs": 1}

    def test_without_boxes_there_is_no_localization_score(self, photographs, tmp_path):
        run = satkit.train(tiny_settings(tmp_path, data_root=str(photographs), **self.given))
        assert {"top1_cls", "top5_cls", "threshold"} <= set(run.metrics)
        assert not {"gt_known", "top1_loc", "pxap", "full_image@0.5"} & set(run.metrics)
        assert run.metrics["images_with_boxes"] == 0
        assert run.metrics["threshold"] == 0.4

    def test_images_without_boxes_do_not_count_for_localization(self, photographs, tmp_path):
        root = tmp_path / "boxed"
        shutil.copytree(photographs, root)
        odd = sorted(path.relative_to(root) for path in (root / "odd").iterdir())
        lines = [f"{path},10,10,100,100" for path in odd]
        (root / "boxes.csv").write_text("\n".join(["file,x0,y0,x1,y1", *lines]) + "\n")
        run = satkit.train(tiny_settings(tmp_path, data_root=str(root), **self.given))
        metrics = run.metrics
        assert 0 < metrics["images_with_boxes"] < metrics["images"]
        hits = metrics["gt_known"] / 100 * metrics["images_with_boxes"]
        assert hits == pytest.approx(round(hits))


class TestFailures:
    def test_nan_stops_and_keeps_the_last_good_state(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
        real, calls = module.total_loss, itertools.count()

        def nan_at_the_third_step(*args, **kwargs):
            losses = real(*args, **kwargs)
            return losses if next(calls) < 2 else {**losses, "total": losses["total"] * torch.nan}

        monkeypatch.setattr(module, "total_loss", nan_at_the_third_step)
        settings = tiny_settings(tmp_path)
        with pytest.raises(FloatingPointError, match=r"epoch 1, batch 3.*state\.pt.*Lower lr"):
            train_function(settings)
        (state,) = tmp_path.glob("default/*/state.pt")
        kept = torch.load(state, weights_only=True)
        assert kept["at"][:2] == [0, 2]
        assert all(bool(value.isfinite().all()) for value in kept["model"].values())

    def test_more_images_than_there_are(self, tmp_path):
        with pytest.raises(ValueError, match=r"5000 (val|test) images were asked for, but"):
            satkit.train(tiny_settings(tmp_path, eval_images=5000))

    def test_missing_data_before_any_work(self, tmp_path):
        settings = tiny_settings(tmp_path, dataset="cub", data_root=str(tmp_path / "nowhere"))
        with pytest.raises(FileNotFoundError, match="nowhere"):
            satkit.train(settings)
        assert not list(tmp_path.iterdir())


class TestSettings:
    def test_unknown_name_is_met_with_the_nearest(self):
        with pytest.raises(ValueError, match=r"no setting 'epoch'\. Did you mean 'epochs'\?"):
            TrainSettings.for_profile("lab", epoch=3)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("epochs", 0), ("lr", -1.0), ("target_area", 1.5), ("thresholds", "0.2,1.4"),
            ("dataset", "cubs"), ("spatial_blocks", "many"), ("gate", "beside"),
            ("experiment", "../elsewhere"), ("image_size", 400),
        ],
    )  # fmt: skip
    def test_bad_values(self, name, value):
        with pytest.raises(ValueError, match=name):
            TrainSettings.for_profile("lab", **{name: value})

    def test_unknown_profile(self):
        with pytest.raises(ValueError, match="profile is 'papr'; expected smoke, lab or paper"):
            TrainSettings.for_profile("papr")

    def test_paper_profile_is_the_paper_s(self):
        cub = TrainSettings.for_profile("paper")
        assert (cub.dataset, cub.backbone) == ("cub", "deit_small_patch16_224")
        assert (cub.epochs, cub.batch_size, cub.lr, cub.target_area) == (30, 256, 1e-4, 0.25)
        imagenet = TrainSettings.for_profile("paper", dataset="imagenet")
        assert (imagenet.epochs, imagenet.batch_size) == (5, 512)
        assert (imagenet.lr, imagenet.target_area) == (1.5e-5, 0.35)
        assert imagenet.drop_last and not cub.drop_last
        assert cub.ten_crop and cub.weight_decay == 0.05 and cub.schedule == "constant"

    def test_methods_without_foreground_maps_have_no_map_losses(self):
        settings = TrainSettings.for_profile("lab", method="tscam")
        assert (settings.area_term, settings.pixel_term) == ("none", "none")
        with pytest.raises(ValueError, match="no foreground probabilities"):
            TrainSettings.for_profile("lab", method="tscam", area_term="batch_area")

    def test_id_depends_on_what_is_computed(self):
        base = TrainSettings.for_profile("lab")
        assert base.id("data") == base.model_copy(update={"runs_dir": "elsewhere"}).id("data")
        assert base.id("data") != base.model_copy(update={"seed": 1}).id("data")
        assert base.id("data") != base.id("other data")
        same = {"compile": True, "activation_checkpointing": True, "workers": 3}
        assert base.id("data") == base.model_copy(update=same).id("data")

    def test_checkpointing_is_not_for_every_method(self, tmp_path):
        with pytest.raises(ValueError, match="activation_checkpointing does not work with method"):
            TrainSettings.for_profile("lab", method="bas", activation_checkpointing=True)
        settings = tiny_settings(
            tmp_path, method="cam", backbone="resnet18", activation_checkpointing=True
        )
        with pytest.raises(ValueError, match="transformer blocks, but the backbone has none"):
            satkit.train(settings)
