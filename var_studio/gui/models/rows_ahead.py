"""Reads the rows of the neighbouring tokens while the user looks at one."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from var_studio.errors import VarStudioError

if TYPE_CHECKING:
    from var_studio.analysis.across import AcrossRuns
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording

PAUSE = 30
"""Milliseconds after a change: the panels paint first, and a fast walk is not slowed down."""


class RowsAhead(QObject):
    """Decodes the rows next to the one on screen, those in the direction of the last step first;
    while two runs are compared, those of the same words in the other run too.

    A thread lives only while there are rows to read. `end()` before the window closes; `rest()`
    before the files of a run are closed.
    """

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = threading.Lock()
        self._wanted: deque[tuple[Recording, int]] = deque()
        self._thread: threading.Thread | None = None
        self._last = 0
        self._next: list[tuple[Recording, int]] = []
        self._pair: tuple[Recording, Recording] | None = None
        self._across: AcrossRuns | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._begin)
        self._ended = False
        self._workspace = workspace
        workspace.reading_changed.connect(self._reading_changed)
        workspace.view.changed.connect(self._view_changed)
        workspace.run_changed.connect(self.rest)

    @property
    def busy(self) -> bool:
        """Whether rows are being read, or will be in a moment."""
        return self._timer.isActive() or self._thread is not None

    def rest(self) -> None:
        """Read nothing more for now; returns when the row in hand is read."""
        self._timer.stop()
        self._next = []  # nor keep a run in memory that is shown no more
        with self._lock:
            self._wanted.clear()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._pair = self._across = None

    def end(self) -> None:
        """Never read again."""
        self._ended = True
        self.rest()

    def _view_changed(self) -> None:
        if self._compared() != self._pair:
            self._reading_changed(self._workspace.reading)

    def _reading_changed(self, reading: Reading | None) -> None:
        if reading is None or self._ended or reading.run is self._workspace.growing:
            return
        query, count = reading.focus.query, len(reading.run.query_positions)
        pair = self._compared()
        same = self._next and self._next[0][0] is reading.run and query == self._last
        if same and pair == self._pair:
            return  # another layer, head or threshold: the same neighbours
        step = -1 if query < self._last else 1
        self._last = query
        near = (query + step, query - step, query + 2 * step)
        self._next = [(reading.run, each) for each in near if 0 <= each < count]
        with self._lock:
            self._wanted.clear()
            self._pair = pair
        self._timer.start()

    def _compared(self) -> tuple[Recording, Recording] | None:
        """Baseline and second run, where their rows stand side by side and both are finished."""
        workspace = self._workspace
        baseline, paired = workspace.baseline, workspace.paired
        if workspace.view.current.compare != "run" or baseline is None or paired is None:
            return None
        return None if workspace.growing in (baseline, paired) else (baseline, paired)

    def _begin(self) -> None:
        with self._lock:
            self._wanted = deque(self._next)
            if self._thread is not None or not self._wanted:
                return
            self._thread = threading.Thread(target=self._read, name="rows ahead", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._thread = None
                    return
                run, query = self._wanted.popleft()
                pair = self._pair
            try:
                run.prefetch([query])
                if pair is not None and run in pair:
                    self._read_other(run, query, *pair)
            except VarStudioError:
                pass  # told when the row itself is looked at

    def _read_other(
        self, run: Recording, query: int, baseline: Recording, paired: Recording
    ) -> None:
        """The row of the same word in the other run. In the thread, which alone compares here."""
        if self._across is None:
            from var_studio.analysis.across import AcrossRuns

            self._across = AcrossRuns()
        position = int(run.query_positions[query])
        there = self._across.counterpart(run, position, baseline, paired)
        second = paired if run is baseline else baseline
        row = None if there is None else second.query_of(there)
        if row is not None:
            second.prefetch([row])
