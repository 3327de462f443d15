"""Opening and saving: sessions, single recordings, what was left unsaved."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEventLoop, QObject, Slot
from PySide6.QtWidgets import QFileDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.autosave import Autosave
from var_studio.gui.models.held_file import HeldFile
from var_studio.gui.models.problems import BusyError
from var_studio.gui.models.session_view import chosen_words, restore_view, session_of
from var_studio.gui.models.task import Task
from var_studio.gui.models.workspace import Workspace
from var_studio.recording.failures import LeftOutError, StoppedError
from var_studio.recording.locks import in_use

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.save_choice import SaveChoice
    from var_studio.recording.content import Content
    from var_studio.recording.regions import Region
    from var_studio.recording.session import Session
    from var_studio.recording.unsaved import UnsavedFolder

_FILTER = "Sessions (*.vars)"


class SessionFiles(QObject):
    """The window's File menu. A session is saved in a thread; it opens in an instant.

    The window locks the session file that it shows. One that another program has open is shown
    all the same; saving then asks for another name.
    """

    def __init__(self, window: MainWindow, workspace: Workspace) -> None:
        super().__init__(window)
        self._window = window
        self._workspace = workspace
        self._task: Task | None = None
        self._cancel = threading.Event()
        self._choice: SaveChoice | None = None
        window.status.stop.clicked.connect(self.stop_saving)
        self._file = HeldFile()
        self._well = False
        self._left_behind: list[Path] = []
        self._saved_regions: Mapping[str, tuple[Region, ...]] = {}
        self.autosave = Autosave(workspace, self)
        self.autosave.problem.connect(window.show_problem)
        window.controller.keep_runs_in(self.autosave.new_run)
        window.controller.queue_changed.connect(self._remove_left_behind)

    @property
    def saving(self) -> bool:
        """Whether a save is under way."""
        return self._task is not None

    @property
    def _unsaved(self) -> bool:
        """Whether runs or their regions are in no session file."""
        return bool(self._workspace.modified and self._workspace.runs)

    @property
    def read_only(self) -> bool:
        """Whether another program had the session's file open when it was opened here."""
        return not self._file.mine

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
        from var_studio.recording.session import open_session

        try:
            if self._unsaved:
                open_session(path).close()  # nobody is asked to give up runs for a damaged file
        except VarStudioError as error:
            self._window.show_problem(error)
            return False
        if not self.may_discard():
            return False
        file = self._file.hold(path)
        try:
            session = open_session(path)
            _hold(session)
        except VarStudioError as error:
            file.let_go(self._file)
            self._window.show_problem(error)
            return False
        self._show(session, file)
        self.autosave.discard()
        self._remember(path)
        self._window.status.say(f"Opened {path.name}")
        return True

    def open_left_over(self, folder: UnsavedFolder) -> bool:
        """Show what a killed window left, in place of the present session."""
        if self._refused("opened") or not self.may_discard():
            folder.release()
            return False
        found = folder.recover()
        path = found.session.path
        file = self._file.hold(path) if path is not None else HeldFile()
        file.seen = found.seen
        self._show(found.session, file, modified=True)
        self._saved_regions = found.saved_regions
        self.autosave.take_over(folder)
        for missing in found.missing:
            self._window.notices.show_notice("warning", "Not all could be brought back.", missing)
        return True

    def _show(self, session: Session, file: HeldFile, modified: bool = False) -> None:
        workspace = self._workspace
        old, runs = workspace.session, workspace.runs
        workspace.notes = session.notes
        workspace.replace_all(list(session.runs), session)
        restore_view(workspace, session.view)
        self._file.let_go(file)
        self._file = file
        self._saved_regions = session.regions
        self.autosave.seen = file.seen
        workspace.session_path = file.path
        workspace.modified = modified
        workspace.runs_changed.emit()
        for run in runs:
            run.close()
        if old is not None:
            old.close()
        self._left_behind.clear()
        self.show_question()
        if not file.mine and file.path is not None:
            self._window.notices.show_notice(
                "warning",
                in_use(file.path).what,
                "It is read-only here: Save asks for another name.",
            )

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

    # -------------------------------------------------------------------------------- saving
    def save(self) -> bool:
        """Save where the session is, or ask where. True once the saving has begun."""
        path = self._workspace.session_path
        if path is None or not self._mine_by_now():
            return self.save_as()
        if self._file.changed():
            from var_studio.gui.unsaved_question import ask_overwrite

            answer = ask_overwrite(self._window, path)
            if answer != "overwrite":
                return answer == "save as" and self.save_as()
        return self.save_to(path)

    def _mine_by_now(self) -> bool:
        """Whether the window may save into its file: whoever had it open may have closed it."""
        if not self._file.mine and self._file.path is not None:
            seen, self._file = self._file.seen, self._file.hold(self._file.path)
            self._file.seen = seen
            self._window.show_title()
        return self._file.mine

    def save_as(self, content: Content | None = None) -> bool:
        """Ask where, then save. `content`: as in `save_to`."""
        if not self._workspace.runs:
            return self.save_to(Path())
        start = self._workspace.session_path or Path(memory.last_folder("session")) / "session.vars"
        if self.read_only:
            start = start.with_name(f"{start.stem} copy{start.suffix}")
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the session", str(start), _FILTER)
        return bool(path) and self.save_to(Path(path), content)

    def ask_part(self) -> None:
        """Choose what to leave out; the dialog tells sizes, and lets the window go on."""
        workspace = self._workspace
        if not workspace.runs:
            self.save_to(Path())
            return
        if self._choice is not None:
            self._choice.raise_()
            return
        from var_studio.gui.save_choice import SaveChoice

        dialog = SaveChoice(session_of(workspace), chosen_words(workspace), self._window)
        dialog.chosen.connect(self._save_part)
        dialog.finished.connect(self._forget_choice)
        self._choice = dialog
        dialog.show()

    @Slot(object)
    def _save_part(self, content: Content) -> None:
        start = self._workspace.session_path or Path(memory.last_folder("session")) / "session.vars"
        if not content.full:
            start = start.with_name(f"{start.stem} part{start.suffix}")
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the session", str(start), _FILTER)
        if path:
            self.save_to(Path(path), content)

    @Slot()
    def _forget_choice(self) -> None:
        self._choice = None

    @Slot()
    def stop_saving(self) -> None:
        """Stop a save under way; the file that was there stays as it was."""
        self._cancel.set()

    def save_to(self, path: Path, content: Content | None = None) -> bool:
        """Save all runs and the view in one file, in a thread; of a run under way what is there so
        far. A failed save leaves the old file as it was. `content` None: what was chosen last."""
        workspace = self._workspace
        if not workspace.runs:
            self._window.show_problem(
                BusyError("There is nothing to save yet.", "Ask a question first.")
            )
            return False
        if self._task is not None:
            return False
        from var_studio.recording.session import SUFFIX, save_session

        if path.suffix.lower() != SUFFIX:
            path = path.with_name(path.name + SUFFIX)
        session = session_of(workspace)
        less = content is not None and not content.full and content != session.content
        if less and any(run.reads_from(path) for run in workspace.runs):
            self._window.show_problem(
                BusyError(
                    f"{path.name} is what this session is read from: what a part leaves out would "
                    "be gone.",
                    "Save the part under another name.",
                )
            )
            return False
        file = self._file.hold(path)
        if not file.mine:
            self._window.show_problem(in_use(path))
            return False
        cancel = self._cancel = threading.Event()
        task = Task(
            lambda tell: save_session(
                path, session, content=content, progress=tell, cancel=cancel, held=file.lock
            ),
            self,
        )
        task.succeeded.connect(self._saved)
        task.failed.connect(self._not_saved)
        task.progress.connect(self._show_progress)
        task.finished.connect(self._ended)
        self._task, self._saving, self._saving_to, self._well = task, session, file, False
        self._window.status.say(f"Saving {path.name}…")
        self._window.status.stop.show()
        task.start()
        return True

    @Slot(float, float)
    def _show_progress(self, done: float, total: float) -> None:
        from var_studio.recording.content import size_in_words

        status, name = self._window.status, self._saving_to.path
        status.show_progress(done, total)
        amount = f"{size_in_words(done)} of {size_in_words(total)}"
        status.say(f"Saving {name.name if name is not None else ''}… {amount}")

    @Slot(object)
    def _saved(self, path: Path) -> None:
        workspace, session = self._workspace, self._saving
        workspace.session = session
        self._saved_regions = session.regions
        self._file.let_go(self._saving_to)
        self._file = HeldFile(path, self._saving_to.lock)
        self._well = True
        self.autosave.seen = self._file.seen
        # What was recorded and painted meanwhile is not in the file; nor what it leaves out.
        whole = (
            all(any(run is each for each in session.runs) for run in workspace.runs)
            and not self.autosave.own_runs()
            and session.regions == workspace.regions.to_save()
        )
        workspace.mark_saved(path, whole=whole)
        self._remember(path)
        content = session.content
        part = "" if content.full else f" ({content.in_words})"
        self._window.status.say(f"Saved {path.name}{part}")
        own = self.autosave.folder
        # A recording that was opened from another folder is somebody's own: it stays.
        self._left_behind += [place for place in session.left_behind if own.holds(place)]
        # The document first: else a kill would leave one that names what is gone.
        self.autosave.write()
        self._remove_left_behind()
        _hold(session)

    @Slot(object)
    def _not_saved(self, error: VarStudioError) -> None:
        self._saving_to.let_go(self._file)
        if isinstance(error, StoppedError):
            self._window.status.say("Saving was stopped; nothing was changed")
            return
        self._window.show_problem(error)

    @Slot()
    def _remove_left_behind(self) -> None:
        """Remove the directories of runs that are in the file now; between runs, for one that
        waits may need the answer of another."""
        if not self._window.controller.idle:
            return
        while self._left_behind:
            from var_studio.recording.recording import Recording

            directory = self._left_behind.pop()
            try:
                if directory.exists():
                    Recording.open(directory).discard()
            except VarStudioError as error:
                self._window.show_problem(error)
        if not self._workspace.modified:
            self.autosave.forget()

    @Slot()
    def _ended(self) -> None:
        self._task = None
        self._window.status.end_progress()

    def _refused(self, what: str) -> bool:
        """Whether a run is under way: a session is replaced only between runs."""
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
        """Ask what to do with what is in no session file. False: do nothing after all."""
        from var_studio.gui.unsaved_question import ask_unsaved

        workspace = self._workspace
        if not self._unsaved:
            return True
        path = workspace.session_path
        content = getattr(workspace.session, "content", None)
        n_runs = self.autosave.own_runs()
        partly = n_runs > 0 and path is not None and content is not None and not content.full
        name = "" if path is None else path.name
        regions = workspace.regions.to_save() != self._saved_regions
        answer = ask_unsaved(self._window, n_runs, regions, name, note, partly)
        if answer == "save":
            return self._save_and_wait(all_of_it=partly)
        return answer == "discard"

    def _save_and_wait(self, all_of_it: bool) -> bool:
        from var_studio.recording.content import FULL

        controller = self._window.controller
        if controller.state in ("running", "stopping"):
            controller.stop()
            loop = QEventLoop(self)
            controller.state_changed.connect(loop.quit)
            while controller.state != "idle":
                loop.exec()
            controller.state_changed.disconnect(loop.quit)
        if not (self.save_as(FULL) if all_of_it else self.save()):
            return False
        self.wait()
        return self._well

    def wait(self) -> None:
        """Wait for a save under way; the window stays alive meanwhile."""
        while self._task is not None:
            loop = QEventLoop(self)
            self._task.finished.connect(loop.quit)
            loop.exec()

    def shutdown(self) -> None:
        """The window is closing: let a save finish, let go of all files, leave nothing behind."""
        if self._choice is not None:
            self._choice.reject()
        self.wait()
        for run in self._workspace.runs:
            run.close()
        self.autosave.end()
        self._file.let_go(HeldFile())

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
        except LeftOutError:
            images = []  # the Image panel says so
        except VarStudioError as error:
            self._window.show_problem(error)
            return
        prompt = str(run.provenance.get("prompt") or "")
        self._workspace.question.show(images, prompt, run.exchanges[:-1])


def _hold(session: Session) -> None:
    """Keep the session's file open: should another program replace it, its runs can be read on."""
    for run in session.runs:
        # Where it cannot be opened any more, reading a row says so.
        with contextlib.suppress(VarStudioError, OSError):
            run.hold()
