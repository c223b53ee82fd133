"""Child processes that start fast: forked from a server that has imported satkit once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from torch.multiprocessing import ProcessContext, start_processes

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["satkit"])


def start(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> ProcessContext:
    """Call ``function(rank, *arguments)`` in so many processes; :func:`join` waits for them."""
    return start_processes(function, arguments, count, join=False, start_method="forkserver")


def join(context: ProcessContext) -> None:
    """Wait until all processes have ended; an error in one of them is raised here."""
    while not context.join():
        pass
