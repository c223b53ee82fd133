"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real photographs, weights and reference outputs, which not everybody has."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("SATKIT_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with shared data; SATKIT_SHARED may name another")
    return folder
