"""The workflow itself: dry runs of every scale, and a sweep that is killed, resumed and mended."""

import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import plan
import pytest
import yaml

from tests.workflow.conftest import ROOT, command, environment

SMALL = {
    "profile": "smoke",
    "results": "results",
    "settings": {"pretrained": False, "train_images": 8, "eval_images": 8, "batch_size": 4},
    "datasets": {"aviary": {"name": "aviary", "train": 1000, "test": 1000, "classes": 20}},
    "throughput": {"images_per_second": 10, "origin": "ASSUMED"},
}
BLOCK = {"table": "table1_methods", "datasets": ["aviary"], "seeds": [0]}


def write_scale(folder, *rows) -> str:
    path = folder / "scale.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "plans": {"main": [{**BLOCK, "rows": list(rows)}]}}))
    return f"scale={path}"


@pytest.mark.parametrize(("scale", "runs"), [("smoke", 21), ("lab", 312), ("paper", 748)])
def test_dry_run_prints_the_whole_plan(snakemake, tmp_path, scale, runs):
    done = snakemake("--dry-run", "--quiet", "--config", f"scale={scale}")
    assert done.returncode == 0, done.stdout
    assert f"still to do: {runs} runs, " in done.stdout
    assert "The hours are an estimate" in done.stdout and "table8_few_shot" in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_profiles_are_as_snakemake_expects(profile):
    content = yaml.safe_load((ROOT / "workflow/profiles" / profile / "config.yaml").read_text())
    local = yaml.safe_load((ROOT / "workflow/profiles/local/config.yaml").read_text())
    assert content["executor"] == profile
    for name in ("retries", "keep-going", "nolock", "rerun-incomplete", "rerun-triggers"):
        assert content[name] == local[name]


def test_mistakes_stop_before_anything_is_done(snakemake, tmp_path):
    done = snakemake("--config", "scale=big")
    assert done.returncode == 1
    assert "scale is 'big'; expected lab, paper, smoke or a file like theirs" in done.stdout
    done = snakemake("--config", write_scale(tmp_path, "SAT", "CAMM"))
    assert done.returncode == 1
    assert "bad input" in done.stdout and "Did you mean 'CAM'" in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_what_a_scale_lacks_is_named_in_a_few_words(snakemake, tmp_path):
    path = tmp_path / "scale.yaml"
    path.write_text(yaml.safe_dump({n: v for n, v in SMALL.items() if n != "throughput"}))
    done = snakemake("--dry-run", "--quiet", "--config", f"scale={path}")
    assert done.returncode != 0 and "plans is missing; throughput is missing" in done.stdout


def test_bad_input_is_named_in_the_plan_and_not_tried_again(snakemake, tmp_path):
    scale = yaml.safe_load(Path(write_scale(tmp_path, "SAT").removeprefix("scale=")).read_text())
    scale["datasets"]["aviary"] |= {"name": "folder", "settings": {"data_root": "/nowhere"}}
    (tmp_path / "scale.yaml").write_text(yaml.safe_dump(scale))
    words = ("--cores", "1", "--retries", "2", "--config", f"scale={tmp_path}/scale.yaml")
    assert "NOT on this machine: folder, in /nowhere" in snakemake("--dry-run", *words).stdout
    assert snakemake(*words).returncode == 1
    (log,) = tmp_path.glob("results/logs/train/*.log")
    assert log.read_text().count("attempt ") == 1 and log.read_text().endswith("exit code 2\n")


@pytest.mark.slow
def test_killed_resumed_failed_and_mended(snakemake, tmp_path):
    scale = write_scale(tmp_path, "SAT", "CAM", "TS-CAM")
    words = ["--cores", "2", "--retries", "1", "--config", scale]
    results, runs = tmp_path / "results", tmp_path / "runs" / "default"
    content = yaml.safe_load((tmp_path / "scale.yaml").read_text())
    jobs, _ = plan.expand(plan.read({**content, "scale": "test"}))
    (broken,) = (name for name in jobs if "tscam" in name)
    obstacle = results / "logs" / "train" / f"{broken}.log.lock"  # where the job's lock has to go
    obstacle.parent.mkdir(parents=True)
    obstacle.symlink_to(tmp_path / "nowhere" / "lock")

    # killed while a job may still run, which lives on without its Snakemake
    sweep = subprocess.Popen(
        command(tmp_path, *words), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list(results.glob("runs/*.json")):
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/metrics.json")}
    assert before

    # the same command again: the others go on, and one run fails for good
    done = snakemake(*words)
    assert done.returncode == 1
    assert before.items() <= {p: p.stat().st_mtime_ns for p in runs.glob("*/metrics.json")}.items()
    assert len(list(results.glob("runs/*.json"))) == len(list(runs.glob("*/metrics.json"))) == 2
    assert "failed jobs: 1 (results/failed.csv)" in done.stdout
    (failed,) = pd.read_csv(results / "failed.csv").itertuples()
    assert failed.job == broken and failed.attempts >= 2
    assert "cannot open lock file" in failed.said
    assert f"{broken}, attempts: {failed.attempts}, {failed.log}" in done.stdout
    assert not (results / "main.csv").exists()

    # mended: only what failed is left to do
    obstacle.unlink()
    logs = {
        path: path.read_text() for path in results.glob("logs/*/*.log") if broken not in str(path)
    }
    done = snakemake(*words)
    assert done.returncode == 0, done.stdout
    assert "all 3 runs are finished" in done.stdout
    table = pd.read_csv(results / "main.csv")
    assert table["row"].tolist() == ["SAT", "CAM", "TS-CAM"]
    assert table[["gt_known", "commit", "data", "device", "run"]].notna().all(axis=None)
    assert "| CAM | aviary | 1 |" in (results / "report.md").read_text()
    assert logs == {path: path.read_text() for path in logs}
    assert not (results / "failed.csv").exists()
