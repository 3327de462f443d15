"""One piece of work in a thread of its own, reported back to the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from var_studio.gui.models.problems import as_known


class Task(QThread):
    """Runs `work(tell)` once; `tell(done, total)` reports progress.

    `succeeded(result)`, `failed(VarStudioError)` and `progress(done, total)` arrive in the GUI
    thread. Keep a reference until `finished`. `work` may not touch the screen.
    """

    succeeded = Signal(object)
    failed = Signal(object)
    progress = Signal(float, float)

    def __init__(
        self, work: Callable[[Callable[[int, int], None]], Any], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._work = work

    def run(self) -> None:
        try:
            result = self._work(self._tell)
        except Exception as error:
            self.failed.emit(as_known(error))
        else:
            self.succeeded.emit(result)

    def _tell(self, done: int, total: int) -> None:
        self.progress.emit(float(done), float(total))
