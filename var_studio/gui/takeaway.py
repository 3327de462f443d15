"""What is taken away beside single figures: maps and masks as arrays, a page of the session, and
figures of several words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QProgressDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.task import Task

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.models.workspace import Workspace

Progress = Callable[[int, int], None]


class Stopped(VarStudioError):
    """The user pressed Stop."""


class Takeaway(QObject):
    """The entries of the Figure menu after the figures themselves, and work that takes a while:
    one piece at a time, with its progress and a Stop."""

    def __init__(self, window: MainWindow, workspace: Workspace) -> None:
        super().__init__(window)
        self._window, self._workspace = window, workspace
        self._task: Task | None = None
        self._dialog: QProgressDialog | None = None
        self._stop = threading.Event()
        self._done: Callable[[Any], None] = lambda _: None
        self.actions = [
            self._action(*entry)
            for entry in (
                ("save_gallery", "Save a &page for a browser…", self.save_gallery,
                 "Pictures, answers, maps and heads of all runs in one file, for sharing."),
                ("save_maps", "Save &maps as arrays…", self.save_maps,
                 "Of the word on screen, head by head, as NPZ or CSV."),
                ("save_masks", "Save sink mas&ks…", self.save_masks,
                 "Where the visual sinks of the layer on screen are, as PNG, NPZ or CSV."),
            )
        ]  # fmt: skip

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._task is not None

    @Slot()
    def save_maps(self) -> None:
        """Ask for a place and write the maps of the word on screen: of the selected heads, or of
        all."""
        from var_studio.figures.numbers import maps_of, save_numbers

        reading = self._reading()
        path = None if reading is None else self._ask("maps", ("npz", "csv"))
        if reading is None or path is None:
            return
        heads, quantity = reading.focus.heads, self._workspace.view.current.quantity
        self._write(
            lambda: save_numbers(
                maps_of(
                    reading.run,
                    tokens=[reading.position],
                    layers=sorted({layer for layer, _ in heads}) or None,
                    heads=sorted({head for _, head in heads}) or None,
                    settings=reading.settings,
                    quantity=quantity,
                ),
                path,
            )
        )

    @Slot()
    def save_masks(self) -> None:
        """Ask for a place and write the masks of the visual sinks in the layer on screen."""
        from var_studio.figures.numbers import masks_of, save_numbers

        reading = self._reading()
        path = None if reading is None else self._ask("sinks", ("png", "npz", "csv"))
        if reading is None or path is None:
            return
        layers = [reading.focus.layer]
        self._write(
            lambda: save_numbers(
                masks_of(reading.run, layers=layers, settings=reading.settings), path
            )
        )

    @Slot()
    def save_gallery(self) -> None:
        """Ask for a place and write the session as a page; runs without interventions with the
        settings on screen."""
        from var_studio.recording.session import Session

        reading = self._reading()
        path = None if reading is None else self._ask(self._title(), ("html",))
        if reading is None or path is None:
            return
        session = Session(self._workspace.runs, notes=self._workspace.notes)
        settings, title = reading.settings, self._title()

        def work(progress: Progress) -> list[Path]:
            from var_studio.figures.gallery import save_gallery

            page = save_gallery(session, path, settings=settings, title=title, progress=progress)
            return [page]

        self.start("Writing the page", work, self._saved)

    def start(
        self, what: str, work: Callable[[Progress], Any], done: Callable[[Any], None]
    ) -> bool:
        """Do `work(progress)` beside the window, and hand what it returns to `done`; False, with a
        notice, while something else is being written."""
        if self.busy:
            self._window.show_problem(
                VarStudioError("Something is being written already.", "Wait for it, or stop it.")
            )
            return False
        stop = self._stop = threading.Event()

        def watched(tell: Progress) -> Any:
            def progress(done: int, total: int) -> None:
                if stop.is_set():
                    raise Stopped("Stopped.", "What was written before stays.")
                tell(done, total)

            return work(progress)

        dialog = self._dialog = QProgressDialog(f"{what}…", "Stop", 0, 0, self._window)
        dialog.setWindowTitle(what)
        dialog.setWindowModality(Qt.WindowModality.WindowModal)
        dialog.setAutoClose(False)
        dialog.setAutoReset(False)
        dialog.setMinimumDuration(400)
        dialog.canceled.connect(stop.set)
        task = self._task = Task(watched, self)
        self._done = done
        task.progress.connect(self._told)
        task.succeeded.connect(self._succeeded)
        task.failed.connect(self._failed)
        task.finished.connect(self._ended)
        task.start()
        return True

    def end(self) -> None:
        """The window closes: stop what is being written, and wait for it."""
        self._stop.set()
        if self._task is not None:
            self._task.wait()

    @Slot(float, float)
    def _told(self, done: float, total: float) -> None:
        if self._dialog is not None:
            self._dialog.setMaximum(int(total))
            self._dialog.setValue(int(done))

    @Slot(object)
    def _succeeded(self, result: Any) -> None:
        self._done(result)

    @Slot(object)
    def _failed(self, error: VarStudioError) -> None:
        if isinstance(error, Stopped):
            self._window.status.say("Stopped. What was written before stays.")
        else:
            self._window.show_problem(error)

    @Slot()
    def _ended(self) -> None:
        if self._dialog is not None:
            self._dialog.close()
            self._dialog.deleteLater()
        if self._task is not None:
            self._task.deleteLater()
        self._task = self._dialog = None

    def _write(self, write: Callable[[], list[Path]]) -> None:
        try:
            self._saved(write())
        except VarStudioError as error:
            self._window.show_problem(error)

    def _saved(self, written: list[Path]) -> None:
        memory.remember_folder("figure", written[0])
        names = ", ".join(path.name for path in written)
        self._window.notices.show_notice("note", f"Saved {names}", f"to {written[0].parent}.")

    def _reading(self) -> Reading | None:
        """What is on screen; None, with a notice, where nothing is."""
        reading = self._workspace.reading
        if reading is None:
            self._window.show_problem(
                VarStudioError(
                    "There is nothing to export yet.",
                    "Ask a question, then click one of its words.",
                )
            )
        return reading

    def _ask(self, name: str, kinds: tuple[str, ...]) -> Path | None:
        start = Path(memory.last_folder("figure")) / f"{name}.{kinds[0]}"
        filters = ";;".join(f"{kind.upper()} (*.{kind})" for kind in kinds)
        chosen, used = QFileDialog.getSaveFileName(self._window, "Save", str(start), filters)
        if not chosen:
            return None
        path = Path(chosen)
        if path.suffix.lower().lstrip(".") in kinds:
            return path
        kind = used.rpartition("*.")[2].rstrip(")") or kinds[0]
        return path.with_name(f"{path.name}.{kind}")

    def _title(self) -> str:
        saved = self._workspace.session_path
        return saved.stem if saved is not None else "VAR Studio"

    def _action(self, name: str, text: str, call: Callable[[], None], tip: str) -> QAction:
        action = QAction(text, self._window)
        action.setObjectName(f"action.{name}")
        action.setStatusTip(tip)
        action.triggered.connect(call)
        self._window.menus["Figure"].addAction(action)
        return action
