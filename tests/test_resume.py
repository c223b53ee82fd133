"""Runs that are killed at any moment come to the numbers of one that was let alone."""

import json
import os
import random
import signal
import time

import pandas as pd
import pytest
import torch

import satkit
from satkit import evaluation as evaluate_module
from satkit import results
from satkit import training as train_module
from satkit.progress import step_by_step
from satkit.settings import TrainSettings
from tests.processes import CONTEXT

KILLS = 20


def settings_in(folder) -> TrainSettings:
    return TrainSettings.for_profile(
        "smoke", pretrained=False, runs_dir=str(folder), train_images=8, batch_size=2, epochs=2,
        evaluate_from=1, eval_images=6, eval_batch_size=2, image_size=48, resize_size=55,
        drop_path=0.3, seed=5,
    )  # fmt: skip


def train_watched(settings, trained, evaluated) -> None:
    """Train, count batches where others can see it, and save the state at every step."""
    torch.set_num_threads(1)
    train_module.SAVE_SECONDS = -1.0

    def counted(function, count):
        def call(*args, **kwargs):
            count.value += 1
            return function(*args, **kwargs)

        return call

    train_module.total_loss = counted(train_module.total_loss, trained)
    evaluate_module._localize = counted(evaluate_module._localize, evaluated)
    satkit.train(settings)


def start(settings):
    counts = CONTEXT.Value("i", 0), CONTEXT.Value("i", 0)
    child = CONTEXT.Process(target=train_watched, args=(settings, *counts))
    child.start()
    return child, counts


def kill_at(batch: int, delay: float, settings) -> str:
    """Kill a run so many seconds after it began a batch; say what it was doing, or ``"done"``."""
    child, (trained, evaluated) = start(settings)
    while child.is_alive() and trained.value + evaluated.value < batch:
        time.sleep(0.001)
    time.sleep(delay)
    child.kill()
    child.join()
    if child.exitcode == 0:
        return "done"
    assert child.exitcode == -9
    return "evaluating" if evaluated.value else "training"


def check_nothing_is_half_made(folder) -> None:
    for path in folder.glob("default/*/*"):
        if path.name == "state.pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            pd.read_csv(path)
        elif path.suffix == ".safetensors":
            satkit.checkpoints.read_weights(path)


def contents(folder) -> dict[str, object]:
    """Everything in the folder of a run that does not depend on time."""
    (path,) = folder.glob("default/*")
    run = results.open_run(path)
    assert run.predictions["path"].is_unique and len(run.predictions) == 6
    assert not run.steps[["epoch", "step"]].duplicated().any() and len(run.steps) == 8
    timed = {"images_per_second", "train_seconds", "train_images_per_second", "data_wait_share"}
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    kept = ("steps.csv", "predictions.csv", "model.safetensors")
    return {
        "names": set(files),
        "metrics": {k: v for k, v in run.metrics.items() if k not in timed},
        "log": run.log.drop(columns=[c for c in run.log if c.endswith("per_second")]).to_csv(),
        **{name: files[name] for name in kept},
    }


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    child, _ = start(settings_in(tmp_path / "whole"))
    child.join()
    whole = contents(tmp_path / "whole")
    assert whole["names"] == {
        "settings.json", "provenance.json", "log.csv", "steps.csv", "curve.csv", "metrics.json",
        "predictions.csv", "model.safetensors",
    }  # fmt: skip
    dice, run, seen = random.Random(0), 0, {"training": 0, "evaluating": 0, "done": 0}
    while seen["training"] + seen["evaluating"] < KILLS:
        folder = tmp_path / str(run)
        doing = kill_at(dice.randint(1, 8), 0.05 * dice.random(), settings_in(folder))
        seen[doing] += 1
        check_nothing_is_half_made(folder)
        run += doing == "done"
    child, _ = start(settings_in(tmp_path / str(run)))
    child.join()
    assert min(seen["training"], seen["evaluating"]) > 0, seen
    for number in range(run + 1):
        assert contents(tmp_path / str(number)) == whole


@pytest.fixture
def ctrl_c():
    """Heed SIGINT, which a shell lets its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_finishes_the_step_and_saves(tmp_path, monkeypatch, capsys, ctrl_c):
    satkit.train(settings_in(tmp_path / "whole"))
    loss, calls = train_module.total_loss, []

    def press(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            ctrl_c()
        return loss(*args, **kwargs)

    monkeypatch.setattr(train_module, "total_loss", press)
    with pytest.raises(KeyboardInterrupt):
        satkit.train(settings_in(tmp_path / "stopped"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (state,) = (tmp_path / "stopped").glob("default/*/state.pt")
    assert torch.load(state, weights_only=True)["at"][:2] == [0, 3]
    satkit.train(settings_in(tmp_path / "stopped"))
    assert "resuming at epoch 1, batch 4" in capsys.readouterr().out
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_an_epoch_is_saved_before_it_is_evaluated(tmp_path, monkeypatch, capsys):
    satkit.train(settings_in(tmp_path / "whole"))

    def is_interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "collect", is_interrupted)
        satkit.train(settings_in(tmp_path / "stopped"))
    satkit.train(settings_in(tmp_path / "stopped"))
    assert "resuming at the evaluation" in capsys.readouterr().out
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_ctrl_c_after_the_last_step_is_not_lost(ctrl_c):
    with pytest.raises(KeyboardInterrupt), step_by_step():
        ctrl_c()


def test_a_second_ctrl_c_stops_at_once(ctrl_c):
    with pytest.raises(KeyboardInterrupt), step_by_step() as asked_to_stop:
        ctrl_c()
        assert asked_to_stop()
        ctrl_c()
        pytest.fail("it went on")


def test_where_ctrl_c_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with step_by_step() as asked_to_stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked_to_stop()
    signal.signal(signal.SIGINT, before)


def test_a_state_cut_short_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "SAVE_SECONDS", -1.0)

    def is_killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module._Loop, "_finish", is_killed)
    with pytest.raises(KeyboardInterrupt):
        satkit.train(settings_in(tmp_path))
    (state,) = tmp_path.glob("default/*/state.pt")
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"state\.pt cannot be read .*\. Delete this file"):
        satkit.train(settings_in(tmp_path))
