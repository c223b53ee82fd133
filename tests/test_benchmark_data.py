"""The benchmark of the data side runs, and what it writes can be compared later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.goals import fallen

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "data.py"


@pytest.mark.slow
def test_small_benchmark_writes_goals_and_provenance(tmp_path):
    command = [sys.executable, str(SCRIPT), "--small", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = tmp_path.glob("data_*.json")
    content = json.loads(file.read_text())
    assert {"commit", "date", "device", "load_average"} <= content["provenance"].keys()
    assert "Aviary at 96², batches" in content["goals"]
    assert "draws its images" in content["notes"][0]
    assert not any("aviary, first run" in name for name in content["goals"])
    assert fallen(content["goals"], content["goals"]) == []
    stages = content["numbers"]["stages, images/s in one process"]
    assert stages.keys() >= {"aviary", "cub_like, original", "cub_like, PNG", "cub_like, shards"}
    assert all(speed > 0 for row in stages.values() for speed in row.values())
