"""What a sweep runs, and what its tables and reports say."""

import json
import shlex
from functools import cache

import pandas as pd
import plan
import pytest
import tables
import yaml

from satkit.__main__ import join_parameters
from satkit.settings import TrainSettings
from satkit.training import first_stage
from tests.workflow.conftest import ROOT

CONFIGS = ROOT / "workflow" / "config"
SCALES = ("smoke", "lab", "paper")


def configuration(scale, **changes) -> plan.Sweep:
    content = yaml.safe_load((CONFIGS / f"{scale}.yaml").read_text())
    return plan.read({"scale": scale, **content, **changes})


@cache
def expanded(scale):
    return plan.expand(configuration(scale))


@pytest.fixture
def paper():
    return expanded("paper")


def test_few_shot_grid_of_the_paper(paper):
    jobs, rows = paper
    grid = [row for row in rows if row.table == "table8_few_shot"]
    assert len(grid) == 5 * 5 * 10 * 2
    assert len({row.run for row in grid}) == 500
    settings = [jobs[row.run].settings for row in grid]
    assert {s.shots for s in settings} == {1, 3, 5, 10, 0}
    assert {s.freeze for s in settings} == set("abcde")
    assert {s.seed for s in settings} == set(range(10))
    assert {s.dataset for s in settings} == {"cub", "imagenet"}


def test_every_table_of_the_paper_is_planned(paper):
    assert {row.table for row in paper[1]} == set(plan.EXPERIMENTS)


def test_rows_of_the_ablations(paper):
    jobs, rows = paper

    def differs(table, dataset):
        default = TrainSettings.for_profile("paper", dataset=dataset, experiment="sweep")
        for row in rows:
            settings = jobs[row.run].settings
            if (row.table, row.dataset, row.seed) == (table, dataset, 0):
                given = settings.model_dump()
                yield {k: v for k, v in given.items() if v != getattr(default, k)}

    none = {"area_term": "none", "pixel_term": "none"}
    assert list(differs("table2_losses", "imagenet")) == [
        none, {"pixel_term": "none"}, {"smoothing": "none"}, {}
    ]  # fmt: skip
    blocks = [{"options": {"spatial_blocks": n}} if n != 3 else {} for n in range(1, 6)]
    assert list(differs("table9_blocks", "cub")) == blocks
    assert list(differs("table10_gate", "cub")) == [{"options": {"gate": "before_softmax"}}, {}]
    assert list(differs("table13_area_term", "cub"))[1] == {"area_term": "area", "two_stage": True}


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_can_be_trained_as_it_is_written(scale):
    """The words of each run, read as the command line reads them, make its settings."""
    jobs, rows = expanded(scale)
    written = plan.plain(jobs, rows)
    assert json.loads(json.dumps(written))["runs"].keys() == jobs.keys()
    for name, job in jobs.items():
        words = join_parameters(shlex.split(written["runs"][name]["arguments"]))
        given = dict(word.split("=", 1) for word in words[3::2])
        assert words[0] == "--profile"
        assert TrainSettings.for_profile(words[1], **given) == job.settings
    assert {row.run for row in rows} <= jobs.keys()


@pytest.mark.parametrize("scale", SCALES)
def test_names_stand_for_what_is_computed(scale):
    jobs, _ = expanded(scale)
    assert len({job.settings.id("") for job in jobs.values()}) == len(jobs)


def test_one_run_for_all_tables_that_show_it(paper):
    _, rows = paper
    seen = {row.table: row.run for row in rows if row.dataset == "cub" and row.seed == 0
            and row.row in ("SAT", "N = 3", "after softmax", "norm", "(c) batch area",
                            "(d) cls + ba + norm + filter", "(a) all shots")}  # fmt: skip
    assert len(seen) == 9 and len(set(seen.values())) == 1


def test_runs_come_after_what_they_stand_on(paper):
    jobs, _ = paper
    order = list(jobs)
    later = [job for job in jobs.values() if job.first]
    assert {job.settings.method for job in later} == {"ornet", "psol", "spol", "sat"}
    for job in later:
        assert order.index(job.first) < order.index(job.name)
        assert jobs[job.first].settings == first_stage(job.settings)


def test_more_seeds_leave_the_names_of_the_runs_alone():
    few, _ = expanded("smoke")
    content = yaml.safe_load((CONFIGS / "smoke.yaml").read_text())["plans"]
    content["main"][0]["seeds"] = [0, 1]
    more, _ = plan.expand(configuration("smoke", plans=content))
    assert few.keys() < more.keys()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"table": "table_9"}, "Did you mean"),
        ({"rows": ["SAT", "TSCAM"]}, "TSCAM"),
        ({"datasets": ["cub"]}, "data set of main/table1_methods"),
        ({"settings": {"epohcs": 3}}, "methods, SAT, on aviary: there is no setting 'epohcs'"),
        ({"settings": {"lr": -1}}, "lr"),
        ({"seeds": []}, "seeds"),
        ({"protocols": ["wsolevl"]}, "protocol of main/table1_methods .* Did you mean 'wsoleval'"),
        ({"sead": [1]}, r"main\.0 = .*a name is 'sead'; expected one of .* Did you mean 'seeds'"),
    ],
)
def test_mistakes_in_a_configuration_are_named(block, message):
    whole = {"table": "table1_methods", "datasets": ["aviary"], "seeds": [0], **block}
    with pytest.raises(ValueError, match=message):
        plan.expand(configuration("smoke", plans={"main": [whole]}))


class TestEstimate:
    def test_hours_are_images_times_cost(self):
        sweep = configuration("paper")
        cub, speed = sweep.datasets["cub"], plan.Throughput(
            images_per_second=100, origin="", relative_cost={"deit_tiny_patch16_224": 0.5},
            seconds_to_start=0,
        )  # fmt: skip
        settings = TrainSettings.for_profile("paper", dataset="cub")
        # 30 epochs of 5,994; epochs 26-30 and the end on 5,794 by the centre and ten crops
        images = 30 * 5994 + 6 * 11 * 5794 / 3
        assert plan.estimate(settings, cub, speed) == pytest.approx(images / 100 / 3600)
        tiny = settings.model_copy(update={"backbone": "deit_tiny_patch16_224"})
        assert plan.estimate(tiny, cub, speed) == pytest.approx(images / 200 / 3600)
        shots = settings.model_copy(update={"shots": 3})
        less = 30 * (5994 - 600) / 100 / 3600
        assert plan.estimate(shots, cub, speed) == pytest.approx(images / 100 / 3600 - less)

    def test_measured_speed(self, tmp_path):
        path = tmp_path / "measured.csv"
        pd.DataFrame({"train_images_per_second": [1.0, 7.0, 30.0]}).to_csv(path)
        assert plan.Throughput(measured=str(path), origin="measured").speed == 7.0

    def test_data_and_weights_that_are_missing_are_named(self, tmp_path):
        here = {"dataset": "aviary", "profile": "lab"}
        cub = {**here, "dataset": "cub", "data_root": f"{tmp_path}/cub"}

        def job(first="", **given):
            settings = plan.TrainSettings.for_profile(**given)
            return plan.Job("a", settings, None, first, ("main", "t"), 1.0)

        jobs = [job(**here), job(**cub), job(**cub, seed=1), job(**here, checkpoint="w.pth")]
        lines = plan.missing_data(jobs)
        said = [line.split(": ")[1].split(",")[0] for line in lines]
        assert said == ["cub", "the weights w.pth"]
        (tmp_path / "cub").mkdir()
        assert plan.missing_data([*jobs[:3], job(**here, checkpoint="w.pth", first="b")]) == []

    def test_overview_counts_each_run_once_and_says_what_is_assumed(self, paper):
        jobs, rows = paper
        text = plan.overview(configuration("paper"), jobs, rows, set(list(jobs)[:10]))
        assert "ASSUMED" in text and "GPU hours" in text
        lines = [line.split() for line in text.splitlines()]
        end = next(place for place, words in enumerate(lines) if words[0] == "all")
        assert lines[end][1:4] == [str(len(rows)), str(len(jobs)), "10"]
        for column, total in ((2, len(rows)), (3, len(jobs)), (4, 10)):
            assert sum(int(words[column]) for words in lines[1:end]) == total


def result(folder, name, gt_known, seconds="2026-01-02") -> None:
    content = {
        "run": f"runs/sweep/{name}",
        "metrics": {"gt_known": gt_known, "selection": "test"},
        "provenance": {"commit": "abc", "dirty": False, "code": "c", "date": seconds,
                       "device": "cpu", "torch": "2", "data": "d"},
    }  # fmt: skip
    path = folder / "runs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_tables_of_results(tmp_path):
    head = {"plan": "main", "table": "table1_methods", "row": "SAT", "dataset": "cub"}
    rows = [{**head, "seed": seed, "run": f"r{seed}", "protocols": []} for seed in (0, 1)]
    rows[0]["protocols"] = ["wsoleval"]
    result(tmp_path, "r0", 90.0)
    result(tmp_path, "r1", 94.0)
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "r0.wsoleval.json").write_text('{"max_box_acc_v2": 80.0}')
    paths = [str(path) for row in rows for path in tables.files(row, tmp_path).values()]
    table = tables.gather(rows, paths)
    assert table["gt_known"].tolist() == [90.0, 94.0]
    assert table["wsoleval_max_box_acc_v2"].tolist()[0] == 80.0
    assert {"commit", "date", "device", "data", "seed", "run"} <= set(table)
    page = tables.report("paper", {"main": table})
    assert "| SAT | cub | 2 | 92.0 ± 2.8 | 80.0 |" in page
    assert "Measured: 2026-01-02, cpu, commits abc, data d; threshold chosen on: test." in page


def test_failures_are_the_jobs_whose_last_attempt_did_not_end_well(tmp_path):
    for kind in ("train", "evaluate"):
        (tmp_path / kind).mkdir(parents=True)
    attempt = "attempt 1 on vm, now\nfailed: no space left\nexit code 1\n"
    logs = {
        "train/broken": 3 * attempt,
        "train/mended": attempt + "attempt 2 on vm, now\nrun: runs/x\nexit code 0\n",
        "train/of_another_grid": attempt,
        "evaluate/mended.wsoleval": "attempt 1 on vm, now\n",
        "train/stopped": "attempt 1 on vm, now\nTraceback\nKeyboardInterrupt\nexit code 130\n",
    }
    for name, text in logs.items():
        (tmp_path / f"{name}.log").write_text(text)
    found = tables.failures(tmp_path, {"broken", "mended", "stopped"})
    assert found.drop(columns="log").sort_values("job").values.tolist() == [
        ["broken", 3, "failed: no space left"],
        ["mended.wsoleval", 1, "cut off, by the cluster or with the machine"],
        ["stopped", 1, "interrupted"],
    ]
    assert str(tmp_path / "train" / "broken.log") in found["log"].tolist()
    assert tables.failures(tmp_path / "nowhere", {"broken"}).empty
