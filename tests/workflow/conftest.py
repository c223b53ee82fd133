"""The workflow's modules lie beside its Snakefile, not in the package."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow"))


def command(folder: Path, *words: str, profile: str = "local") -> list[str]:
    """The documented command, with results and runs in a folder of the test."""
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile"),
        "--profile", str(ROOT / "workflow" / "profiles" / profile), "--directory", str(folder),
        *words,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """So that satkit is this checkout's, whatever is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def snakemake(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the workflow in the test's folder."""

    def run(*words: str, profile: str = "local") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(tmp_path, *words, profile=profile), cwd=ROOT, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return run
