"""Servers on loopback and a headless Chromium, each with folders of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 90  # until something must have happened, on a busy machine


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def server(command: list[str], folder: Path, url: str) -> Iterator[None]:
    """Run a Jupyter server in a folder until the end of the block.

    Its settings, runtime files and kernels belong to that folder, too.
    """
    home = folder / "jupyter"
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    set_in_lab(home, "apputils-extension/notification", quiet)
    set_in_lab(home, "notebook-extension/tracker", {"windowingMode": "none"})  # all cells are there
    names = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    environment = os.environ | {f"JUPYTER_{k}_DIR": str(home / v) for k, v in names.items()}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        _wait(url, process, folder / "server.log")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server's own group: it and its kernels
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def set_in_lab(home: Path, name: str, values: dict[str, object]) -> None:
    """Write settings of one of JupyterLab's extensions."""
    path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it refuses, so it is there
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"the server did not answer:\n{log.read_text()[-2000:]}")
