"""Cyclic garbage collection in the GUI thread only."""

from __future__ import annotations

import gc
import threading
from typing import Any

from PySide6.QtCore import QObject, QTimer, Slot


class Collector(QObject):
    """Collects on a timer of this thread; nowhere else while it is started.

    A collection that runs in the model's thread destroys widgets there and the process crashes.
    Automatic collection is switched off; libraries that call `gc.collect()` in other threads (to
    give device memory back) are let go on without: the timer does it soon after.
    """

    def __init__(self, parent: QObject | None = None, interval_ms: int = 500) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self._collect_some)
        self._original: Any = None
        self._was_enabled = True
        self._asked = threading.Event()
        self._waiting = False

    def start(self) -> None:
        """Take collection over."""
        if self._original is not None:
            return
        self._was_enabled = gc.isenabled()
        gc.disable()
        original, home, asked = gc.collect, threading.get_ident(), self._asked

        def collect_at_home(generation: int = 2) -> int:
            if threading.get_ident() == home:
                return original(generation)
            asked.set()
            return 0

        self._original = original
        gc.collect = collect_at_home
        self._timer.start()

    def stop(self) -> None:
        """Give collection back to Python."""
        if self._original is None:
            return
        self._timer.stop()
        gc.collect = self._original
        self._original = None
        if self._was_enabled:
            gc.enable()

    @Slot(str)
    def follow(self, state: str) -> None:
        """Wait while a model is loaded: its libraries make half a million objects that stay."""
        self._waiting = state == "loading"

    @Slot()
    def _collect_some(self) -> None:
        if self._waiting:
            return
        if self._asked.is_set():
            self._asked.clear()
            gc.collect()
            return
        counts, limits = gc.get_count(), gc.get_threshold()
        # As Python does it: a generation is due when enough was made or collected below it.
        for generation in (2, 1, 0):
            if limits[generation] and counts[generation] > limits[generation]:
                gc.collect(generation)
                return
