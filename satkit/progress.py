"""Progress that reads well on a terminal, in a notebook, and in a log file."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import typer
from tqdm import tqdm

T = TypeVar("T")
LOG_SECONDS = 15.0


class Progress(Generic[T]):
    """Iterate with progress: a bar on a terminal, else a line every fifteen seconds.

    Args:
        items: What to iterate over.
        total: How many items there are.
        label: What is being done.
        done: How many were done before (a resumed run).
        show: False in all processes but one.
    """

    def __init__(
        self, items: Iterable[T], total: int, label: str, done: int = 0, show: bool = True
    ) -> None:
        self.items, self.total, self.label, self.done = items, total, label, done
        self.show, self.note = show, ""

    def __iter__(self) -> Iterator[T]:
        if not self.show:
            yield from self.items
        else:
            yield from self._bar() if sys.stderr.isatty() else self._lines()

    def _bar(self) -> Iterator[T]:
        with tqdm(total=self.total, initial=self.done, desc=self.label) as bar:
            for item in self.items:
                yield item
                bar.set_postfix_str(self.note, refresh=False)
                bar.update()

    def _lines(self) -> Iterator[T]:
        start = last = time.monotonic()
        for count, item in enumerate(self.items, start=1):
            yield item
            now = time.monotonic()
            if now - last >= LOG_SECONDS:
                last = now
                left = (now - start) / count * (self.total - self.done - count)
                note = f"  {self.note}" if self.note else ""
                print(
                    f"{self.label}: {self.done + count}/{self.total}, {left:.0f} s left{note}",
                    flush=True,
                )


@contextmanager
def step_by_step() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait until a step is done and saved; a second one stops at once.

    Yields:
        Whether it was pressed: whoever asks then raises KeyboardInterrupt. Where Ctrl-C is ignored,
        or outside the main thread, it is always False.
    """
    asked = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked.is_set
        return

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked.is_set():  # after the last step, when nobody asked any more
        raise KeyboardInterrupt


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """End a command on Ctrl-C with exit code 130 and a word on what is kept.

    Args:
        kept: That word.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted: {kept}", file=sys.stderr)
        raise typer.Exit(130) from None
