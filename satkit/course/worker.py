"""The process that runs submissions: ``python -m satkit.course.worker``, one JSON line a job.

Each submission runs in a child that may do nothing but compute (:mod:`satkit.course.sandbox`). For
a check it hands out what the answer gives on drawn inputs, as data; a second child, which never saw
the student's code, compares them with the reference. So nothing that a submission patches (the
check, numpy, ``print``) makes a wrong output right.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from io import StringIO
from typing import Any

from satkit.course import sandbox, transport
from satkit.course.checks import CheckFailed, Exercise, judge, outputs_of, value
from satkit.course.registry import exercises_of, find_exercise

LONGEST_TEXT = 20_000
Record = dict[str, Any]
Send = Callable[[Record], None]


def main() -> None:
    """Answer jobs from standard input until it ends."""
    results, jobs = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
    for number, line in ((0, os.devnull), (1, os.devnull), (2, os.devnull)):
        os.dup2(os.open(line, os.O_RDWR), number)
    import_what_sheets_use()
    for line in jobs:
        print(json.dumps(grade_job(json.loads(line))), file=results, flush=True)


def import_what_sheets_use() -> None:
    """Import it once here rather than in every child."""
    libraries = (
        "IPython.core.interactiveshell",
        "matplotlib.pyplot",
        "matplotlib_inline",
        "pandas",
    )
    for name in (*libraries, "satkit.losses", "satkit.methods", "satkit.model"):
        importlib.import_module(name)


def grade_job(job: Record) -> Record:
    """Run one submission and judge it.

    Args:
        job: `sheet`, `cells` (each with `code` or with `calls`) and `limits`.

    Returns:
        `cells`: outputs and verdicts, as far as it came; `stopped`: why not further, or "".
    """
    limits = sandbox.Limits(**job["limits"])
    exercises_of(job["sheet"])  # imports them here, and not in every child
    ran, stopped = in_child(lambda send: run_cells(job, limits.cell_seconds, send), limits)
    cells: list[Record] = [{"shown": [], "verdicts": []} for _ in job["cells"]]
    for record in ran:
        if isinstance(record.get("shown"), list) and record.get("cell") in range(len(cells)):
            cells[record["cell"]]["shown"] = record["shown"]
    asked = [_asked(job, ran, *place) for place in _calls(job)]
    judged, broken = in_child(lambda send: judge_all(job["sheet"], asked, send), limits)
    verdicts = {(one.get("cell"), one.get("call")): one for one in judged}
    for index, call in _calls(job):
        reason = stopped or broken or "it was not reached"
        lost = {"right": False, "reached": False, "message": reason}
        cells[index]["verdicts"].append(verdicts.get((index, call), lost))
    return {"cells": cells, "stopped": stopped}


def _calls(job: Record) -> list[tuple[int, int]]:
    """Places of all calls of a check: number of the cell, and of the call in it."""
    cells = enumerate(job["cells"])
    return [(index, call) for index, cell in cells for call in range(len(cell.get("calls", ())))]


def _asked(job: Record, ran: list[Record], index: int, call: int) -> Record:
    """What the child gave for a call; which exercise that is, the job says and not the child."""
    name, _, seed = job["cells"][index]["calls"][call]
    given = [one for one in ran if (one.get("cell"), one.get("call")) == (index, call)]
    place = {"cell": index, "call": call, "exercise": name, "seed": seed}
    return {**(given[-1] if given else {}), **place}


# --------------------------------------------------------------------------------------------------
# Children
# --------------------------------------------------------------------------------------------------


def in_child(function: Callable[[Send], None], limits: sandbox.Limits) -> tuple[list[Record], str]:
    """Call a function in a limited child with a folder of its own.

    Returns:
        What it sent, and why it did not come to its end ("" if it did).
    """
    folder = tempfile.mkdtemp()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _be_child(function, limits, folder, writing)
    os.close(writing)
    try:
        data, reason = _listen(child, reading, limits)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    records = [_parse(line) for line in data.decode(errors="replace").splitlines()]
    found = [record for record in records if isinstance(record, dict)]
    if any("ended" in record for record in found):
        return found, reason
    refused = [str(record["refused"]) for record in found if "refused" in record]
    return found, reason or "".join(refused) or "it ended the process that runs it"


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _be_child(
    function: Callable[[Send], None], limits: sandbox.Limits, folder: str, writing: int
) -> None:
    """The child's whole life."""
    code = 1
    try:
        os.setsid()
        os.closerange(3, writing)
        os.closerange(writing + 1, 4096)

        def send(record: Record) -> None:
            data = (json.dumps(record) + "\n").encode()
            while data:
                data = data[os.write(writing, data) :]

        try:
            sandbox.enter(folder, limits)
        except OSError as error:
            send({"refused": f"this machine cannot isolate it: {error}"})
            raise
        function(send)
        send({"ended": True})
        code = 0
    finally:
        os._exit(code)


def _listen(child: int, reading: int, limits: sandbox.Limits) -> tuple[bytes, str]:
    """Collect what a child writes until it ends or has used up its time or output."""
    data, deadline, ended = bytearray(), time.monotonic() + limits.deadline, None
    while True:
        ready, _, _ = select.select([reading], [], [], 0.05)
        chunk = os.read(reading, 1 << 20) if ready else b""
        data += chunk
        if len(data) > limits.output_bytes:
            reason = f"it gave more than {limits.output_bytes >> 20} MB of output"
            break
        if time.monotonic() > deadline:
            reason = f"it took more than {limits.deadline:g} seconds by the clock"
            break
        if ended is None:
            finished, status = os.waitpid(child, os.WNOHANG)
            ended = status if finished else None
        if ended is not None and not chunk:
            return bytes(data), _reason(ended, limits)
        if ready and not chunk:
            time.sleep(0.02)  # it closed the pipe and goes on
    if ended is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return bytes(data), reason


def _reason(status: int, limits: sandbox.Limits) -> str:
    if not os.WIFSIGNALED(status):
        return ""
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return f"it took more than {limits.total_seconds:g} seconds of computing in all"
    return f"it was stopped by signal {signal.Signals(number).name} (too much memory?)"


# --------------------------------------------------------------------------------------------------
# In the student's child
# --------------------------------------------------------------------------------------------------


def run_cells(job: Record, cell_seconds: float, send: Send) -> None:
    """Run the cells of a submission in IPython, and send what they show and what answers give.

    Args:
        job: `sheet` and `cells`.
        cell_seconds: Computing time that each cell and each call of a check may take.
        send: Takes `cell` and `shown`; or `cell`, `call` and what :func:`give` gives.
    """
    shell = _shell()
    endless: dict[str, Record] = {}  # what is endless once is not tried on other inputs
    for index, cell in enumerate(job["cells"]):
        if "code" in cell:
            send({"cell": index, "shown": _run_code(shell, cell["code"], cell_seconds)})
            continue
        for number, (name, expression, seed) in enumerate(cell["calls"]):
            exercise = find_exercise(name, job["sheet"])
            found = endless.get(name)
            if found is None:
                with _swallowed(StringIO()), _time_limit(cell_seconds):
                    found = give(exercise, partial(eval, expression, shell.user_ns), seed)
            if " stops with TimeoutError: " in found.get("failed", ""):
                endless[name] = found
            send({"cell": index, "call": number, "exercise": name, "seed": seed, **found})


def _shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=settings)
    # There is no window, and `%matplotlib` asks for one.
    shell.enable_gui = lambda gui=None: None  # type: ignore[method-assign]
    shell.run_cell("%matplotlib inline")
    return shell


def _run_code(shell: Any, code: str, seconds: float) -> list[Record]:
    """Outputs of a cell, in nbformat's shape."""
    from IPython.utils.capture import capture_output

    errors: list[Record] = []

    def note(kind: Any, error: Any, lines: list[str]) -> None:
        errors.append(_error(kind.__name__, str(error), lines))

    shell._showtraceback = note
    with capture_output() as captured:
        try:
            with _time_limit(seconds):
                outcome = shell.run_cell(code)
            stop = outcome.error_in_exec
            if isinstance(stop, SystemExit):  # IPython only warns of it
                errors.append(_error("SystemExit", str(stop), [f"SystemExit: {stop}"]))
        except BaseException as error:
            errors.append(_error(type(error).__name__, str(error), [f"{error!r}"]))
    shown: list[Record] = [
        {"output_type": "stream", "name": name, "text": _cut(text)}
        for name, text in (("stdout", captured.stdout), ("stderr", captured.stderr))
        if text
    ]
    shown += [_display(rich.data) for rich in captured.outputs]
    return [one for one in shown if one.get("data") != {}] + errors


def _display(data: Record) -> Record:
    """A text or picture; HTML and scripts of students do not come into the teacher's browser."""
    kinds = [kind for kind in ("text/plain", "image/png") if isinstance(data.get(kind), str)]
    kept = {kind: data[kind] for kind in kinds}
    if "text/plain" in kept:
        kept["text/plain"] = _cut(kept["text/plain"])
    told = {"image/png": {"alt": kept["text/plain"]}} if len(kept) == 2 else {}
    return {"output_type": "display_data", "data": kept, "metadata": told}


def _error(kind: str, text: str, lines: list[str]) -> Record:
    trace = [_cut(line) for line in lines[-20:]]
    return {"output_type": "error", "ename": kind, "evalue": _cut(text), "traceback": trace}


def _cut(text: str) -> str:
    cut = len(text) > LONGEST_TEXT
    return text[:LONGEST_TEXT] + "\n… (cut: the output is too long)" if cut else text


def give(exercise: Exercise, read: Callable[[], Any], seed: int) -> dict[str, Any]:
    """What an answer is or gives, as data.

    Args:
        exercise: What was asked.
        read: Gives the answer.
        seed: Of the drawn inputs.

    Returns:
        One of `answer` (a value), `outputs` (of a function, one an input) and `failed` (a message).
    """
    try:
        answer = read()
        with suppress(TypeError):
            return {"answer": transport.encode(answer)}
        return {"outputs": [transport.encode(one) for one in outputs_of(exercise, answer, seed)]}
    except NameError as error:
        return {"failed": f"{exercise.name} is not there: {error}"}
    except CheckFailed as error:
        return {"failed": _cut(str(error))}
    except BaseException as error:
        return {"failed": _cut(f"{exercise.name} stops with {type(error).__name__}: {error}")}


@contextmanager
def _swallowed(into: StringIO) -> Iterator[None]:
    kept, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), into, into
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after some seconds, and again every second for code that catches it.

    Seconds of computing, so that a busy machine fails no answer that is right.
    """

    def stop(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:g} seconds; is there an endless loop?")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# --------------------------------------------------------------------------------------------------
# In the judge's child
# --------------------------------------------------------------------------------------------------


def judge_all(sheet: str, records: list[Record], send: Send) -> None:
    """Judge answers of one submission.

    Args:
        sheet: Full name.
        records: Of :func:`run_cells`; what answers gave is trusted in nothing.
        send: Takes `cell`, `call`, `right`, `reached` and `message`.
    """
    for record in records:
        if {"answer", "outputs", "failed"} & set(record):
            right, message = judge_one(sheet, record)
            place = {"cell": record["cell"], "call": record["call"], "reached": True}
            send({**place, "right": right, "message": _cut(message)})


def judge_one(sheet: str, record: Record) -> tuple[bool, str]:
    """Judge what an answer is or gave.

    Returns:
        Whether it is right, and the check's message.
    """
    try:
        exercise = find_exercise(str(record["exercise"]), sheet)
        seed = int(record["seed"])
        if "failed" in record:
            return False, str(record["failed"])
        if "answer" in record:
            outputs = outputs_of(exercise, transport.decode(record["answer"]), seed)
            return True, judge(exercise, outputs, seed)
        outputs = [transport.decode(one) for one in record["outputs"]]
        return True, judge(as_passed(exercise), outputs, seed)
    except CheckFailed as error:
        return False, str(error)
    except Exception as error:
        return False, f"the answer could not be judged: {type(error).__name__}: {error}"


def as_passed(exercise: Exercise) -> Exercise:
    """The exercise with all outputs as they arrive from another process."""
    if exercise.run is value:
        return exercise
    return replace(exercise, run=lambda *words: transport.passed(exercise.run(*words)))


if __name__ == "__main__":
    main()
