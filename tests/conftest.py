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


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that reaches nothing but this machine.

    It ends with the module, since a process can hold one of Playwright's loops only.
    """
    from satkit.course.slides import find_browser

    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome on the path: these tests drive a real browser")
    reason = "playwright, which drives the browser, is not installed"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    arguments = [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]  # fmt: skip
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()
