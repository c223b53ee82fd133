"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep drawings and remote files in a temporary folder, the same for all workers."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    base = tmp_path_factory.getbasetemp()
    os.environ["SATKIT_CACHE"] = str((base.parent if worker else base) / "cache")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real photographs, weights and reference outputs, which not everybody has."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("SATKIT_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with shared data; SATKIT_SHARED may name another")
    return folder
