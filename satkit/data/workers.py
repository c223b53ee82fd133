"""Work on many files in several processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int = 0
) -> Iterator[Result]:
    """Call a function on every task, in several processes.

    The processes are forked, so they see what the module of `function` holds at this moment. They
    end with the process that started them, even where that is killed.

    Args:
        function: of a module's top level.
        tasks: its arguments.
        workers: number of processes; 0 is one for each core that may be used.

    Yields:
        What it returned, in the order of completion.

    Raises:
        Exception: the first one that a call raised; calls that have not begun are given up.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(
        workers, get_context("fork"), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        futures = [pool.submit(function, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def leave_interrupts(*_: object) -> None:
    """Ignore Ctrl-C in a process: the one that started it decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with(parent: int) -> None:
    leave_interrupts()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(1)
