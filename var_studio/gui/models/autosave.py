"""Keeps what is not saved, so that a killed window can be brought back whole."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from var_studio.gui.models.held_file import Seen
from var_studio.gui.models.session_view import session_of
from var_studio.gui.models.task import Task
from var_studio.gui.models.workspace import Workspace

if TYPE_CHECKING:
    from var_studio.recording.unsaved import UnsavedFolder

INTERVAL_MS = 1000


class Autosave(QObject):
    """Writes the session to the window's own folder, once a second at most and in a thread, while
    it is modified; runs grow in that folder. What is saved is removed from it.
    """

    problem = Signal(object)  # a VarStudioError, once in a row

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder: UnsavedFolder | None = None
        self._first = threading.Lock()
        self.seen: Seen | None = None
        self._workspace = workspace
        self._own: set[str] = set()
        self._task: Task | None = None
        self._failing = self._closed = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.write)
        for change in (
            workspace.runs_changed,
            workspace.run_changed,
            workspace.modified_changed,
            workspace.selection.changed,
            workspace.view.changed,
            workspace.method.changed,
            workspace.generation.changed,
            workspace.interventions.changed,
            workspace.regions.changed,
        ):
            change.connect(self._soon)

    @property
    def folder(self) -> UnsavedFolder:
        """The window's own folder. Made, in memory, when it is first asked for: reading and
        writing sessions is not imported before the window is painted."""
        from var_studio.recording.unsaved import UnsavedFolder

        with self._first:
            if self._folder is None:
                self._folder = UnsavedFolder()
            return self._folder

    def new_run(self) -> Path:
        """Where the next run grows. May be called from the model's thread."""
        return self.folder.new_run()

    @property
    def busy(self) -> bool:
        """Whether something is being written, or soon will be."""
        return self._task is not None or self._timer.isActive()

    def own_runs(self) -> int:
        """How many runs of the session lie in the window's folder alone."""
        return len(self._names())

    def take_over(self, folder: UnsavedFolder) -> None:
        """Go on in the folder of a killed window; what is in the present one is deleted."""
        self._go_on_in(folder)

    def discard(self) -> None:
        """What is not saved is not wanted: delete it."""
        self._go_on_in(None)

    def end(self) -> None:
        """The window closes: delete what is not saved, and keep nothing any more."""
        self._closed = True
        self.discard()

    def forget(self) -> None:
        """All is saved: remove what was written of it."""
        if self._folder is not None:
            self._folder.forget()

    @Slot()
    def write(self) -> None:
        """Write what is there now, in a thread; or remove it, where all is saved."""
        workspace = self._workspace
        if self._task is not None:
            self._timer.start()
            return
        if not (workspace.modified and workspace.runs):
            self.forget()
            return
        names = self._names()
        self._own |= names
        document = self.folder.describe(session_of(workspace), self._own - names, self.seen)
        folder = self.folder
        self._task = Task(lambda _: folder.write(document), self)
        self._task.succeeded.connect(self._written)
        self._task.failed.connect(self._failed)
        self._task.finished.connect(self._ended)
        self._task.finished.connect(self._task.deleteLater)
        self._task.start()

    @Slot()
    def _soon(self) -> None:
        if not (self._closed or self._timer.isActive()):
            self._timer.start()

    @Slot(object)
    def _written(self, _: object) -> None:
        self._failing = False

    @Slot(object)
    def _failed(self, error: object) -> None:
        if not self._failing:
            self.problem.emit(error)
        self._failing = True

    @Slot()
    def _ended(self) -> None:
        if self.sender() is self._task:
            self._task = None

    def _go_on_in(self, folder: UnsavedFolder | None) -> None:
        self._wait()
        self._timer.stop()
        with self._first:
            if self._folder is not None:
                self._folder.discard()
            self._folder, self._own = folder, set()
        self._soon()

    def _wait(self) -> None:
        if self._task is not None:
            self._task.wait()
            self._task = None

    def _names(self) -> set[str]:
        runs = [run for run in self._workspace.runs if run.in_directory]
        return {run.path.name for run in runs if self.folder.holds(run.path)}
