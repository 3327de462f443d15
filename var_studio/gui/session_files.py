"""Opening and saving: sessions, single recordings, what was left unsaved."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEventLoop, QObject, Slot
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QFileDialog, QMessageBox, QPushButton

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.problems import BusyError
from var_studio.gui.models.task import Task
from var_studio.gui.models.workspace import Workspace
from var_studio.recording.settings import Generation, Redistribution

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow

_FILTER = "Sessions (*.vars)"
_LOOK_BACK = 5


class SessionFiles(QObject):
    """The window's File menu. A session is saved in a thread; it opens in an instant."""

    def __init__(self, window: MainWindow, workspace: Workspace) -> None:
        super().__init__(window)
        self._window = window
        self._workspace = workspace
        self._task: Task | None = None

    @property
    def saving(self) -> bool:
        """Whether a save is under way."""
        return self._task is not None

    # ------------------------------------------------------------------------------- opening
    def ask_open(self) -> None:
        """Choose a session file."""
        path, _ = QFileDialog.getOpenFileName(
            self._window,
            "Open a session",
            memory.last_folder("session"),
            f"{_FILTER};;All files (*)",
        )
        if path:
            self.open(Path(path))

    def ask_open_run(self) -> None:
        """Choose the folder of a single recording; starts where they are kept."""
        from var_studio.recording.paths import runs_folder

        folder = QFileDialog.getExistingDirectory(
            self._window, "Open a kept recording", str(runs_folder())
        )
        if folder:
            self.open_run_folder(Path(folder))

    def open(self, path: Path) -> bool:
        """Show this session in place of the present one. False, with a notice, if it cannot."""
        if self._refused("opened"):
            return False
        if not self.may_discard():
            return False
        from var_studio.recording.session import open_session

        try:
            session = open_session(path)
            view = dict(session.view)
        except VarStudioError as error:
            self._window.show_problem(error)
            return False
        workspace = self._workspace
        old = workspace.session
        workspace.notes = session.notes
        workspace.replace_all(list(session.runs), session)
        _restore_view(workspace, view)
        workspace.mark_saved(path)
        if old is not None:
            old.close()
        self._remember(path)
        self.show_question()
        self._window.status.say(f"Opened {path.name}")
        return True

    def open_run_folder(self, path: Path) -> bool:
        """Add the recording in this folder to the session."""
        from var_studio.recording.recording import Recording

        try:
            run = Recording.open(path)
        except VarStudioError as error:
            self._window.show_problem(error)
            return False
        self._workspace.add_run(run)
        self.show_question()
        return True

    def offer_left_over(self) -> None:
        """If the program was killed during a run, offer what that run had recorded."""
        from var_studio.recording.paths import abandoned_runs, kept_runs
        from var_studio.recording.recording import Recording

        # Another window may be at work. Without locks (Windows) that cannot be told: offer all.
        paths = kept_runs() if os.name == "nt" else abandoned_runs()
        # A crash is noticed at the next start: older ones were offered before.
        for path in reversed(paths[-_LOOK_BACK:]):
            try:
                with closing(Recording.open(path)) as run:
                    cut_off = not run.finished and len(run.query_positions) > 0
            except VarStudioError:
                continue
            if cut_off and str(path) != str(memory.settings().value("offered") or ""):
                button = QPushButton("Open it")
                button.clicked.connect(partial(self._open_left_over, path))
                self._left_over = self._window.notices.show_notice(
                    "note",
                    "The last run was cut off before it ended.",
                    "What it recorded is kept.",
                    action=button,
                )
                memory.settings().setValue("offered", str(path))
                return

    def _open_left_over(self, path: Path) -> None:
        self.open_run_folder(path)
        self._window.notices.close_notice(self._left_over)

    # -------------------------------------------------------------------------------- saving
    def save(self) -> bool:
        """Save where the session is, or ask where. True once the saving has begun."""
        path = self._workspace.session_path
        return self.save_as() if path is None else self.save_to(path)

    def save_as(self) -> bool:
        """Ask where, then save."""
        if not self._workspace.runs:
            return self.save_to(Path())
        start = self._workspace.session_path or Path(memory.last_folder("session")) / "session.vars"
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the session", str(start), _FILTER)
        return bool(path) and self.save_to(Path(path))

    def save_to(self, path: Path) -> bool:
        """Save all runs and the view in one file, in a thread. A failed save leaves the old file
        as it was."""
        workspace = self._workspace
        if not workspace.runs:
            self._window.show_problem(
                BusyError("There is nothing to save yet.", "Ask a question first.")
            )
            return False
        if self._task is not None or self._refused("saved"):
            return False
        from var_studio.recording.session import SUFFIX, Session, save_session

        if path.suffix.lower() != SUFFIX:
            path = path.with_name(path.name + SUFFIX)
        session = Session(
            workspace.runs,
            notes=workspace.notes,
            view=_view(workspace),
            regions=workspace.regions.to_save(),
            path=workspace.session_path,
        )
        task = Task(lambda tell: save_session(path, session, progress=tell), self)
        task.succeeded.connect(self._saved)
        task.failed.connect(self._window.show_problem)
        task.progress.connect(self._window.status.show_progress)
        task.finished.connect(self._ended)
        self._task, self._saving = task, session
        self._window.status.say(f"Saving {path.name}…")
        task.start()
        return True

    @Slot(object)
    def _saved(self, path: Path) -> None:
        workspace = self._workspace
        workspace.session = self._saving
        workspace.mark_saved(path)
        self._remember(path)
        self._window.status.say(f"Saved {path.name}")
        try:
            self._saving.discard_left_behind()
        except VarStudioError as error:
            self._window.show_problem(error)

    @Slot()
    def _ended(self) -> None:
        self._task = None
        self._window.status.end_progress()

    def _refused(self, what: str) -> bool:
        """Whether a run is under way: a session is saved or replaced only between runs."""
        if self._window.controller.state not in ("running", "stopping"):
            return False
        self._window.show_problem(
            BusyError(
                f"A session cannot be {what} while a run is under way.",
                "Wait for its answer, or press Stop (Esc); what it recorded so far is kept.",
            )
        )
        return True

    # ------------------------------------------------------------------- before it is replaced
    def may_discard(self, note: str = "") -> bool:
        """Ask what to do with runs that are in no session file. False: do nothing after all."""
        if not (self._workspace.modified and self._workspace.runs):
            return True
        from var_studio.recording.paths import runs_folder

        box = QMessageBox(self._window)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Unsaved session")
        box.setText("Save the runs and regions of this session?")
        box.setInformativeText(
            f"{note}Either way nothing recorded is deleted: runs that you do not save stay in\n"
            f"{runs_folder()}\nand File › Open kept recording brings them back. Regions are kept "
            "in the session's file only."
        )
        box.setStandardButtons(
            QMessageBox.StandardButton.Save
            | QMessageBox.StandardButton.Discard
            | QMessageBox.StandardButton.Cancel
        )
        box.button(QMessageBox.StandardButton.Discard).setText("Don't save")
        for button in box.buttons():
            button.setIcon(QIcon())
        box.setDefaultButton(QMessageBox.StandardButton.Save)
        answer = box.exec()
        box.deleteLater()
        if answer == QMessageBox.StandardButton.Save:
            return self._save_and_wait()
        return answer == QMessageBox.StandardButton.Discard

    def _save_and_wait(self) -> bool:
        controller = self._window.controller
        if controller.state in ("running", "stopping"):
            controller.stop()
            loop = QEventLoop(self)
            controller.state_changed.connect(loop.quit)
            while controller.state != "idle":
                loop.exec()
            controller.state_changed.disconnect(loop.quit)
        if not self.save():
            return False
        self.wait()
        return not self._workspace.modified

    def wait(self) -> None:
        """Wait for a save under way; the window stays alive meanwhile."""
        while self._task is not None:
            loop = QEventLoop(self)
            self._task.finished.connect(loop.quit)
            loop.exec()

    def shutdown(self) -> None:
        """The window is closing: let a save finish, then let go of all files."""
        self.wait()
        for run in self._workspace.runs:
            run.close()

    # --------------------------------------------------------------------------------- memory
    def _remember(self, path: Path) -> None:
        memory.remember_recent("sessions", str(path))
        memory.remember_folder("session", path)

    @Slot()
    def show_question(self) -> None:
        """Put the picture and question of the run on screen into Setup."""
        run = self._workspace.run
        if run is None:
            return
        try:
            images = [run.stored_image(index) for index in range(len(run.image_entries))]
        except VarStudioError as error:
            self._window.show_problem(error)
            return
        prompt = str(run.provenance.get("prompt") or "")
        self._workspace.question.show(images, prompt, run.exchanges[:-1])


def _view(workspace: Workspace) -> dict[str, Any]:
    """How the window shows the session, as plain JSON values."""
    selection = workspace.selection
    run = workspace.run
    return {
        "run": run.id if run is not None else None,
        "token": selection.position,
        "row_of": selection.row_of,
        "layer": selection.layer,
        "heads": sorted([layer, head] for layer, head in selection.heads),
        "cells": sorted(selection.cells),
        "method": workspace.method.stored.model_dump(mode="json"),
        "region_of": workspace.method.region_pictures,
        "generation": workspace.generation.stored.model_dump(mode="json"),
        "interventions": workspace.interventions.to_json(),
        "view": workspace.view.to_json(),
    }


def _restore_view(workspace: Workspace, view: dict[str, Any]) -> None:
    """Show a session as it was saved; what does not fit (another version's) is left out."""
    with workspace.history.unrecorded():
        _restore(workspace, view)


def _restore(workspace: Workspace, view: dict[str, Any]) -> None:
    try:
        if "method" in view:
            pictures = [str(key) for key in view.get("region_of", ())]
            workspace.method.restore(Redistribution.model_validate(view["method"]), pictures)
        if "generation" in view:
            workspace.generation.reset(Generation.model_validate(view["generation"]))
        workspace.interventions.restore(dict(view.get("interventions", {})))
        workspace.view.restore(dict(view.get("view", {})))
        for run in workspace.runs:
            if run.id == view.get("run"):
                workspace.look_at(run)
        selection = workspace.selection
        if view.get("row_of") in ("query", "produced"):
            selection.set_row_of(view["row_of"])
        if isinstance(view.get("layer"), int):
            selection.set_layer(view["layer"])
        selection.select_heads(
            (int(layer), int(head))
            for layer, head in view.get("heads", ())
            if 0 <= layer < selection.n_layers and 0 <= head < selection.n_heads
        )
        if isinstance(view.get("token"), int):
            selection.select_token(view["token"])
        selection.select_cells(int(k) for k in view.get("cells", ()))
    except (TypeError, ValueError):
        # A hand-edited or foreign view: the runs matter, the view does not.
        return
