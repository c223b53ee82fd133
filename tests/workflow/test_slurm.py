"""A small sweep on a real Slurm: controller and two nodes, all on this machine (see slurm.sh)."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, command, environment
from tests.workflow.test_sweep import write_scale

SCRIPT = Path(__file__).with_name("slurm.sh")
HOW = "`SATKIT_SLURM=1 python -m pytest tests/workflow/test_slurm.py` installs Debian's packages"


def why_not() -> str:
    """What keeps a Slurm from being started here; empty if nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux: Slurm's daemons start jobs for other users"
    missing = [
        name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(name)
    ]
    if not missing:
        return ""
    if os.environ.get("SATKIT_SLURM") != "1":
        return f"no {', '.join(missing)} on this machine; {HOW}"
    if not shutil.which("apt-get"):
        return "no apt-get to install slurmctld, slurmd, slurm-client and munge with"
    return ""


@pytest.fixture
def slurm(tmp_path):
    """Folder of a running cluster, which is stopped afterwards."""
    if reason := why_not():
        pytest.skip(reason)
    if not shutil.which("slurmctld"):
        subprocess.run([SCRIPT, "install"], check=True)
    folder = tmp_path / "slurm"
    started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True)
    try:
        if started.returncode and os.environ.get("SATKIT_SLURM") == "1":
            pytest.fail(f"Slurm's daemons did not start: {started.stderr}")
        if started.returncode:
            pytest.skip(f"Slurm's daemons do not start here: {started.stderr.strip()[-500:]}")
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)
        pids = [path.read_text().strip() for path in folder.glob("*.pid")]
        assert not [pid for pid in pids if pid and Path("/proc", pid).exists()]


@pytest.mark.slow
def test_sweep_is_spread_over_two_nodes(slurm, tmp_path):
    scale = write_scale(tmp_path, "SAT", "CAM")
    env = environment() | {
        "SLURM_CONF": str(slurm / "slurm.conf"),
        "PATH": f"{slurm / 'bin'}:{os.environ['PATH']}",
    }
    words = [
        "--config", scale, "--latency-wait", "5", "--slurm-status-command", "squeue",
        "--slurm-init-seconds-before-status-checks", "3",
    ]  # fmt: skip
    done = subprocess.run(
        command(tmp_path, *words, profile="slurm"), cwd=ROOT, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    jobs = (slurm / "jobs.txt").read_text().splitlines()  # what Slurm says of the finished jobs
    print(*jobs, sep="\n")
    assert len(jobs) == 2 and all("JobState=COMPLETED" in line for line in jobs)
    assert {re.search(r"NodeList=(\S+)", line)[1] for line in jobs} == {"node1", "node2"}
    logs = [path.read_text() for path in (tmp_path / "results" / "logs").glob("*/*.log")]
    nodes = sorted(re.match(r"attempt 1 on (\w+),", text)[1] for text in logs)
    assert nodes == ["node1", "node2"]
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("runs/*.json")]
    assert {result["settings"]["method"] for result in found} == {"sat", "cam"}
    assert "all 2 runs are finished" in done.stdout


def test_script_says_how_it_is_used():
    done = subprocess.run([SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2
    assert "slurm.sh start FOLDER" in done.stdout


def test_skip_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "slurmd" else f"/bin/{name}")
    monkeypatch.delenv("SATKIT_SLURM", raising=False)
    assert why_not() == f"no slurmd on this machine; {HOW}"
    monkeypatch.setenv("SATKIT_SLURM", "1")
    assert why_not() == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not().startswith("needs root")
