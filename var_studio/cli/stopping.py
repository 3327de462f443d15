"""Ctrl-C: a word at once, exit code 130, no traceback; what was recorded is kept."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

STOPPED: Final = 130
"""The exit code after Ctrl-C."""

GRACE: Final = 1.0
"""Seconds that a library has to come to an end while there is nothing to keep."""


def say(what: str) -> None:
    """A line on stderr, also from within a print that Ctrl-C interrupted."""
    with suppress(OSError):
        os.write(2, f"var-studio: {what}\n".encode())


@contextmanager
def starting() -> Iterator[None]:
    """Until `begun`: nothing is done yet, so that Ctrl-C ends the process on the spot.

    An exception in the middle of imports would come out as whatever they make of it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        say("Stopped.")
        os._exit(STOPPED)

    if not _is_ours():
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        begun()


def begun() -> None:
    """From here on Ctrl-C interrupts as usual."""
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGINT)
        if getattr(handler, "__module__", "") == __name__:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stoppable(
    idle: Callable[[], bool] = lambda: False, nothing: str = "Stopped."
) -> Iterator[threading.Event]:
    """Ctrl-C sets the event that is handed out; a second one interrupts as usual.

    While `idle` there is nothing to keep: where a library does not come to an end by itself, the
    process ends with the words `nothing`.
    """
    cancel = threading.Event()
    watch: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        cancel.set()
        say("Stopping… (Ctrl-C again: at once)")
        if idle():
            watch.append(threading.Timer(GRACE, end))
            watch[0].daemon = True
            watch[0].start()

    def end() -> None:
        if idle():
            say(nothing)
            os._exit(STOPPED)

    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        for timer in watch:
            timer.cancel()
        signal.signal(signal.SIGINT, before)


def _is_ours() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt here; a process in the background may ignore it."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
