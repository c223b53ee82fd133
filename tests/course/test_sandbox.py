"""What code in the sandbox cannot do; each attempt in a child of its own."""

import os
import sys
import time
from dataclasses import asdict

import pytest

from satkit.course import sandbox, worker
from tests.course.hand_in import SHEET

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")
LIMITS = sandbox.Limits(cell_seconds=2, total_seconds=10, memory=256 << 20, file_bytes=1 << 20)


@pytest.fixture(autouse=True)
def _isolated():
    if sandbox.missing():
        pytest.skip(f"this kernel isolates not fully: {sandbox.missing()}")


def attempt(code: str, **names: object) -> tuple[str, str]:
    """Run code in a sandbox: the error that it meets, and why its process ended ("" if it did)."""

    def tried(send: worker.Send) -> None:
        try:
            exec(code, dict(names))
            send({"error": ""})
        except BaseException as error:
            send({"error": type(error).__name__})

    records, reason = worker.in_child(tried, LIMITS)
    return next((one["error"] for one in records if "error" in one), ""), reason


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("open(path).read()", "PermissionError"),
        ("open(path, 'w')", "PermissionError"),
        ("import os; os.remove(path)", "PermissionError"),
        ("import os; os.rename(path, 'mine')", "PermissionError"),
        ("import os; os.listdir(os.path.dirname(path))", "PermissionError"),
        ("import os; os.link(path, 'mine')", "OSError"),
        ("import os; os.symlink(path, 'mine'); open('mine').read()", "PermissionError"),
        ("open(path + '.new', 'w')", "PermissionError"),
        ("open(f'/proc/{parent}/environ').read()", "PermissionError"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os; os.kill(parent, 0)", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("open('big', 'wb').write(bytes(2 << 20))", "OSError"),
        ("bytearray(1 << 30)", "MemoryError"),
        ("import os; os.setuid(1)", "PermissionError"),
        ("open('mine', 'w').write('x'); import shutil; shutil.copy('mine', 'other')", ""),
        ("import threading; t = threading.Thread(target=int); t.start(); t.join()", ""),
        ("import torch; torch.nn.Linear(3, 3)(torch.zeros(2, 3))", ""),
    ],
)
def test_attempts(tmp_path, code, error):
    path = tmp_path / "file.txt"
    path.write_text("of somebody else")
    assert attempt(code, path=str(path), parent=os.getpid()) == (error, "")
    assert path.read_text() == "of somebody else"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


def test_mode_and_times_of_others_stay(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("")
    before = path.stat()
    code = "import os; os.chmod(path, 0); os.utime(path, (1, 1)); os.chown(path, 1, 1)"
    assert attempt(code, path=str(path)) == ("", "")
    after = path.stat()
    assert (after.st_mode, after.st_mtime, after.st_uid) == (
        before.st_mode,
        before.st_mtime,
        before.st_uid,
    )


def test_secrets_in_the_environment_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = sandbox.environment("/home/of/nobody")
    assert "API_TOKEN" not in found and "secret" not in found.values()
    assert found["LANG"] == "C.UTF-8" and found["HOME"] == "/home/of/nobody"


def test_a_child_that_does_not_end_is_ended():
    short = sandbox.Limits(total_seconds=0.5)
    records, reason = worker.in_child(lambda send: endless(send), short)
    assert records == [{"begun": True}]
    assert reason in too_long(short)


def test_a_child_that_waits_for_ever_is_ended():
    short = sandbox.Limits(total_seconds=0.2)
    records, reason = worker.in_child(lambda send: time.sleep(60), short)
    assert (records, reason) == ([], "it took more than 1 seconds by the clock")


def test_an_endless_answer_costs_one_time_limit_and_no_other_exercise():
    code = "tries = 0\ndef iou(*boxes):\n    global tries; tries += 1\n    while True: pass"
    calls = [("iou", "iou", seed) for seed in range(3)]
    pair = "convention_flip = ((0, 0, 3, 3), (0, 0, 2, 2))\nprint(tries)"
    job = {
        "sheet": SHEET,
        "cells": [
            {"code": code},
            {"calls": calls},
            {"code": pair},
            {"calls": [("convention_flip", "convention_flip", 0)]},
        ],
        "limits": asdict(sandbox.Limits(cell_seconds=0.2, total_seconds=20)),
    }
    _, stopped, after, right = worker.grade_job(job)["cells"]
    assert ["endless loop?" in one["message"] for one in stopped["verdicts"]] == [True] * 3
    assert after["shown"][0]["text"] == "1\n"
    assert right["verdicts"][0]["right"]


def test_an_answer_that_cannot_be_interrupted_is_stopped():
    code = "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass"
    job = {
        "sheet": SHEET,
        "cells": [{"code": code}, {"calls": [("iou", "iou", 0)]}],
        "limits": asdict(sandbox.Limits(cell_seconds=0.1, total_seconds=1)),
    }
    result = worker.grade_job(job)
    assert result["stopped"] in too_long(sandbox.Limits(total_seconds=1))
    lost = {"right": False, "reached": False, "message": result["stopped"]}
    assert result["cells"][1]["verdicts"] == [lost]


def too_long(limits: sandbox.Limits) -> tuple[str, str]:
    """The two reasons; a machine that is very busy runs out of the second limit first."""
    return (
        f"it took more than {limits.total_seconds:g} seconds of computing in all",
        f"it took more than {limits.deadline:g} seconds by the clock",
    )


def endless(send: worker.Send) -> None:
    send({"begun": True})
    while True:
        pass


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(0)", "it ended the process that runs it"),
        ("import os; os.abort()", "it was stopped by signal"),
    ],
)
def test_a_child_that_ends_itself_is_named(code, reason):
    assert reason in attempt(code)[1]


def test_too_much_output_is_refused():
    few = sandbox.Limits(output_bytes=1000)
    _, reason = worker.in_child(lambda send: send({"x": "y" * 2000}), few)
    assert "of output" in reason


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(sandbox, "landlock_abi", lambda: 0)
    monkeypatch.setattr(sandbox, "_has_seccomp", lambda: False)
    assert len(sandbox.missing()) == 3
    assert sandbox.missing()[0].startswith("no Landlock")
