"""Two processes on a CPU train and evaluate as one does."""

import itertools
import os
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import satkit
from satkit import distributed, results
from satkit import train as train_function
from satkit import training as train_module
from satkit.data import loader as loader_module
from satkit.evaluation import collect
from satkit.settings import TrainSettings
from tests.processes import join, start

#: batches of 5, 5 and 1: uneven parts, and at last an image for only one of two processes
COMMON = {
    "train_images": 11, "eval_images": 9, "batch_size": 5, "eval_batch_size": 2, "epochs": 1,
    "image_size": 48, "resize_size": 55, "drop_path": 0.0, "pretrained": False, "seed": 3,
}  # fmt: skip
RUNS = {
    "sat": {"epochs": 2, "evaluate_from": 1},  # the shipped backbone has BatchNorms
    "own losses, accumulated": {"method": "bas", "accumulation": 3, "batch_size": 4},
    "two stages, fit": {"method": "psol", "drop_last": True},
}


def settings_of(folder, **given) -> TrainSettings:
    return TrainSettings.for_profile("smoke", runs_dir=str(folder), **{**COMMON, **given})


@contextmanager
def double_precision():
    """Train in float64: AdamW blows rounding up where a gradient is zero in truth."""
    build, to_images = train_module.build_model, loader_module.to_images
    train_module.build_model = lambda *given, **named: build(*given, **named).double()
    loader_module.to_images = lambda *given: to_images(*given).double()
    yield
    train_module.build_model, loader_module.to_images = build, to_images


def first_gradients(settings) -> list[torch.Tensor]:
    """Train, and return the gradients of the last training's first step."""
    seen = []

    def look(optimizer, *_):
        group = [p.grad.clone() for g in optimizer.param_groups for p in g["params"]]
        seen.append((id(optimizer), group))

    hook = register_optimizer_step_pre_hook(look)
    satkit.train(settings)
    hook.remove()
    return next(group for number, group in seen if number == seen[-1][0])


def train_all(folder) -> dict[str, list[torch.Tensor]]:
    with double_precision():
        found = {n: first_gradients(settings_of(folder, **given)) for n, given in RUNS.items()}
    single = settings_of(folder / "single", **RUNS["sat"])
    return {**found, "in single precision": first_gradients(single)}


def evaluate_once() -> dict:
    torch.manual_seed(0)
    model = satkit.create_model("sat", "vit_pico_convstem8_96", 20, image_size=48)
    transform = satkit.data.Transform(image_size=48, resize_size=55, ten_crop=True)
    dataset = train_module.limit(satkit.data.load("aviary", "test", None, transform, size=55), 7)
    outputs = collect(model, dataset, batch_size=2, ten_crop=True)
    numbers = satkit.evaluate(model, dataset, batch_size=2, ten_crop=True)
    del numbers["images_per_second"]
    return {
        "tensors": [outputs.maps, outputs.logits, outputs.labels],
        "boxes": [torch.from_numpy(boxes) for boxes in outputs.boxes],
        "paths": outputs.paths,
        "numbers": numbers,
    }


def train_with_a_break(folder) -> None:
    """With random numbers of its own in each process; stopped in the second epoch, and gone on."""
    given = {"epochs": 2, "drop_path": 0.4, "train_images": 8}
    satkit.train(settings_of(folder / "whole", **given))
    real, calls = train_module.total_loss, itertools.count()

    def dies_at_the_fourth_step(*args, **kwargs):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    train_module.total_loss, train_module.SAVE_SECONDS = dies_at_the_fourth_step, -1.0
    try:
        train_function(settings_of(folder / "broken", **given))
    except KeyboardInterrupt:
        train_module.total_loss = real
    train_function(settings_of(folder / "broken", **given))


def on_one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    place = Path(folder)
    gradients = train_all(place)
    train_with_a_break(place)
    found = {"gradients": gradients, "evaluated": evaluate_once()}
    torch.save(found, place / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What two processes found, in one folder; what one process found, in another."""
    two, one = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    context = start(on_one_of_two, (str(two),), 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gradients = train_all(one)
    alone = {"gradients": gradients, "evaluated": evaluate_once()}
    torch.set_num_threads(threads)
    join(context)
    ranks = [torch.load(two / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    return {"two": two, "one": one, "alone": alone, "ranks": ranks}


def run_in(folder, name) -> results.Run:
    """The run of a scenario, of a method that trains a classifier first the second run."""
    given = RUNS[name]
    method = given.get("method", "sat")
    runs = [results.open_run(path) for path in folder.glob("default/*/metrics.json")]
    (found,) = [run for run in runs if run.settings.method == method]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
class TestTraining:
    def test_losses_of_every_step(self, both, name):
        two, one = (run_in(both[key], name).steps for key in ("two", "one"))
        pd.testing.assert_frame_equal(two, one, rtol=0, atol=1e-6)

    def test_gradients_of_the_first_step(self, both, name):
        alone = both["alone"]["gradients"][name]
        assert max(float(gradient.abs().max()) for gradient in alone) > 1e-2
        for rank in both["ranks"]:
            for ours, theirs in zip(rank["gradients"][name], alone, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)

    def test_final_weights(self, both, name):
        two, one = (run_in(both[key], name).dir / "model.safetensors" for key in ("two", "one"))
        ours, theirs = (satkit.checkpoints.read_weights(path) for path in (two, one))
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-6, msg=key)

    def test_metrics_are_equal(self, both, name):
        timed = {"images_per_second", "train_seconds", "train_images_per_second", "data_wait_share"}
        two, one = (run_in(both[key], name).metrics for key in ("two", "one"))
        assert {k: v for k, v in two.items() if k not in timed} == {
            k: v for k, v in one.items() if k not in timed
        }
        predicted = [run_in(both[key], name).predictions for key in ("two", "one")]
        pd.testing.assert_frame_equal(*predicted)


@pytest.mark.slow
def test_in_single_precision(both):
    """Losses and gradients; AdamW then divides gradients by their own size, noise included."""
    steps = [results.load(None, both[key] / "single")["dir"][0] for key in ("two", "one")]
    two, one = (results.open_run(path).steps for path in steps)
    pd.testing.assert_frame_equal(two, one, rtol=0, atol=2e-6)
    name = "in single precision"
    pairs = zip(both["ranks"][0]["gradients"][name], both["alone"]["gradients"][name], strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.slow
class TestEvaluation:
    def test_every_process_has_the_outputs_of_one(self, both):
        alone = both["alone"]["evaluated"]
        for rank in both["ranks"]:
            assert rank["evaluated"]["paths"] == alone["paths"]
            for kind in ("tensors", "boxes"):
                pairs = zip(rank["evaluated"][kind], alone[kind], strict=True)
                assert all(torch.equal(ours, theirs) for ours, theirs in pairs)

    def test_metrics(self, both):
        alone = both["alone"]["evaluated"]["numbers"]
        assert {"gt_known", "pxap", "piou", "top1_cls"} <= set(alone)
        assert all(rank["evaluated"]["numbers"] == alone for rank in both["ranks"])


@pytest.mark.slow
def test_resumed_with_the_random_numbers_of_each_process(both):
    whole, broken = (
        results.load(None, both["two"] / name)["dir"][0] for name in ("whole", "broken")
    )
    steps = [results.open_run(path).steps for path in (whole, broken)]
    pd.testing.assert_frame_equal(*steps)
    weights = [
        satkit.checkpoints.read_weights(f"{path}/model.safetensors") for path in (whole, broken)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not list(both["two"].glob("*/default/*/state.*"))


class TestParts:
    @pytest.mark.parametrize("world", [1, 2, 3, 7])
    def test_parts_make_up_the_batch(self, world, monkeypatch):
        """Also where there are fewer images than processes; weighted means make the batch's."""
        monkeypatch.setattr(distributed, "world_size", lambda: world)
        batch, values = [5, 3, 8, 1], np.arange(10.0) ** 2
        seen, mean = [], 0.0
        for rank in range(world):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            own, share = distributed.own_part(batch)
            assert own
            seen += own if share else []
            mean += share * values[own].mean() / world
        assert seen == batch
        assert mean == pytest.approx(values[batch].mean())


def test_joint_batch_norm_equals_batch_norm():
    """In one process, where its sums are those of the batch."""
    plain = nn.BatchNorm2d(3).double()
    nn.init.uniform_(plain.weight)
    joint = distributed.JointBatchNorm(nn.BatchNorm2d(3).double())
    joint.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    for mode in (True, False):
        expected, found = plain.train(mode)(x), joint.train(mode)(x)
        torch.testing.assert_close(found, expected)
        wanted, given = (torch.autograd.grad(y.pow(3).sum(), x)[0] for y in (expected, found))
        torch.testing.assert_close(given, wanted)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(joint.state_dict()[name], value)
