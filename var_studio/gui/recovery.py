"""At the start: offers back what killed windows left, and runs that were cut off elsewhere."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.problems import BusyError
from var_studio.gui.unsaved_question import ask_delete, number_of_runs
from var_studio.gui.widgets.notices import Notice

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.recording.unsaved import LeftOver

_LOOK_BACK = 5
_OPEN_TIP = "Show it in this window"
_DISCARD_TIP = "Delete it, after a question"


class Recovery(QObject):
    """Asks, opens, deletes. What is not answered is offered again at the next start."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._left: list[LeftOver] = []
        self._notice: Notice | None = None
        self.dialog: LeftOverDialog | None = None

    def offer(self) -> None:
        """Look for what was left, and show a notice if there is any, or no place for more."""
        from var_studio.recording.paths import check_cache
        from var_studio.recording.unsaved import left_over

        try:
            check_cache()
        except VarStudioError as error:
            told = f"No answer can be recorded. {error.what}"
            self._window.show_problem(VarStudioError(told, error.next_step))
        self._left = left_over()
        if self._left:
            self._show_notice()
        else:
            self._offer_cut_off()

    def open(self, left: LeftOver) -> None:
        """Show what a killed window left, in place of the present session."""
        from var_studio.recording.unsaved import UnsavedFolder

        taken = UnsavedFolder.take(left.folder)
        if taken is None:
            self._window.show_problem(
                BusyError("This session is gone, or another window has opened it.")
            )
        elif not self._window.files.open_left_over(taken):
            return
        self._settled(left)

    def discard(self, left: LeftOver) -> None:
        """Ask, then delete what a killed window left."""
        from var_studio.recording.unsaved import UnsavedFolder

        if not ask_delete(self.dialog or self._window, f"the unsaved {_what(left)}"):
            return
        taken = UnsavedFolder.take(left.folder)
        if taken is not None:
            taken.discard()
        self._settled(left)

    def _settled(self, left: LeftOver) -> None:
        self._left = [each for each in self._left if each is not left]
        if self.dialog is not None:
            self.dialog.show_list(self._left)
        if self._notice is not None:
            self._window.notices.close_notice(self._notice)
            self._notice = None
        if self._left and self.dialog is None:
            self._show_notice()

    def _show_notice(self) -> None:
        if len(self._left) == 1:
            (left,) = self._left
            buttons = _buttons(
                ("Open it", _OPEN_TIP, partial(self.open, left)),
                ("Discard…", _DISCARD_TIP, partial(self.discard, left)),
            )
            what = "VAR Studio was ended before this was saved:"
            said = f"{_what(left)}."
        else:
            buttons = _buttons(("Show them…", "A list, to open or delete each", self.show_all))
            what = f"VAR Studio was ended before {len(self._left)} sessions were saved."
            said = "They are kept."
        self._notice = self._window.notices.show_notice("note", what, said, action=buttons)

    @Slot()
    def show_all(self) -> None:
        """The list of what was left, to open or delete."""
        self.dialog = LeftOverDialog(self._window, self)
        self.dialog.show_list(self._left)
        self.dialog.finished.connect(self._dialog_closed)
        self.dialog.open()

    @Slot()
    def _dialog_closed(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
        if self._notice is not None:
            self._window.notices.close_notice(self._notice)
        if self._left:
            self._show_notice()

    # ------------------------------------------------------- runs of scripts and older versions
    def _offer_cut_off(self) -> None:
        """The last run that a script or the command line was recording when it was killed."""
        from var_studio.recording.paths import abandoned_runs
        from var_studio.recording.recording import Recording

        # A crash is noticed at the next start: older ones were offered before.
        for path in reversed(abandoned_runs()[-_LOOK_BACK:]):
            try:
                with closing(Recording.open(path)) as run:
                    cut_off = not run.finished and len(run.query_positions) > 0
            except VarStudioError:
                continue
            if cut_off and str(path) != str(memory.settings().value("offered") or ""):
                self._notice = self._window.notices.show_notice(
                    "note",
                    "The last run of a script was cut off before it ended.",
                    "What it recorded is kept.",
                    action=_buttons(("Open it", _OPEN_TIP, partial(self._open_run, path))),
                )
                memory.settings().setValue("offered", str(path))
                return

    def _open_run(self, path: Path) -> None:
        self._window.files.open_run_folder(path)
        if self._notice is not None:
            self._window.notices.close_notice(self._notice)
            self._notice = None


class LeftOverDialog(QDialog):
    """The sessions that killed windows left: when, how many runs, the first question."""

    def __init__(self, window: MainWindow, recovery: Recovery) -> None:
        super().__init__(window)
        self.setWindowTitle("Unsaved sessions")
        self._recovery = recovery
        self._left: list[LeftOver] = []
        self.entries = QListWidget()
        self.entries.setAccessibleName("Unsaved sessions")
        self.entries.setWordWrap(True)
        self.entries.itemDoubleClicked.connect(self._open)
        self.open_button = QPushButton("Open")
        self.open_button.setDefault(True)
        self.open_button.setToolTip(_OPEN_TIP)
        self.open_button.clicked.connect(self._open)
        self.discard_button = QPushButton("Discard…")
        self.discard_button.setToolTip(_DISCARD_TIP)
        self.discard_button.clicked.connect(self._discard)
        self.close_button = QPushButton("Later")
        self.close_button.setToolTip("Ask again at the next start")
        self.close_button.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.addWidget(self.discard_button)
        row.addStretch()
        row.addWidget(self.close_button)
        row.addWidget(self.open_button)
        column = QVBoxLayout(self)
        label = QLabel("VAR Studio was ended before these were saved. Each is a window's session.")
        label.setWordWrap(True)
        column.addWidget(label)
        column.addWidget(self.entries)
        column.addLayout(row)
        self.resize(460, 260)

    def show_list(self, left: list[LeftOver]) -> None:
        """Show these, the newest first; none: close."""
        if not left:
            self.accept()
            return
        self._left = list(reversed(left))
        self.entries.clear()
        for each in self._left:
            asked = f"\n{each.question}" if each.question else ""
            item = QListWidgetItem(f"{_what(each)}{asked}")
            item.setData(Qt.ItemDataRole.UserRole, str(each.folder))
            self.entries.addItem(item)
        self.entries.setCurrentRow(0)

    def _chosen(self) -> LeftOver | None:
        row = self.entries.currentRow()
        return self._left[row] if 0 <= row < len(self._left) else None

    @Slot()
    def _open(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.accept()
            self._recovery.open(chosen)

    @Slot()
    def _discard(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._recovery.discard(chosen)


def _what(left: LeftOver) -> str:
    """ "3 runs of circle.vars, last changed today at 15:20"."""
    what = number_of_runs(left.n_runs) if left.n_runs else "changes"
    file = f" of {left.file.name}" if left.file is not None else ""
    then, now = left.changed.astimezone(), datetime.datetime.now().astimezone()
    day = "today" if then.date() == now.date() else f"{then.day} {then:%B %Y}"
    return f"{what}{file}, last changed {day} at {then:%H:%M}"


def _buttons(*buttons: tuple[str, str, Callable[[], object]]) -> QWidget:
    """Buttons beside one another, for a notice: their words, their tooltips, what they do."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    for text, tip, call in buttons:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.clicked.connect(call)
        row.addWidget(button)
    return box
