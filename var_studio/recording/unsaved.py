"""What a window has not saved yet: its runs, and how they belong together, in the user's cache.

Each window has a folder of its own, ``windows/<id>``, with its runs and ``session.json``: the runs
in order, regions, notes and the view. Beside it lies the window's lock. A folder whose lock is
free was left by a program that was killed. A clean exit removes both.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from var_studio.assets import user_folder
from var_studio.errors import VarStudioError
from var_studio.recording.arrays import FormatError, dump, parse
from var_studio.recording.content import FULL, Content
from var_studio.recording.failures import RecordingError, storage_error
from var_studio.recording.files import FolderFiles
from var_studio.recording.locks import ProgramLock
from var_studio.recording.paths import OTHER_CACHE, dated_name
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region
from var_studio.recording.session import Session, open_session
from var_studio.recording.store import GROUP

_SCHEMA: Final = 1
_STATE: Final = "session.json"


class RunPlace(BaseModel):
    """Where a run is: in the directory `path` (a bare name: one of the window's own), or, where
    that is None, in the session's file. `id` is the run's own."""

    model_config = ConfigDict(frozen=True)

    id: str
    path: str | None = None


class UnsavedDocument(BaseModel):
    """``session.json``. `file`: the session file that was open; `seen`: its size and time then.
    `removed`: the window's own directories that the user took out of the session. `content`: what
    the session was saved with last, which its next save keeps to; None: as its file says."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = Field(_SCHEMA, alias="schema", le=_SCHEMA)
    changed: str = ""
    file: str | None = None
    seen: tuple[int, int] | None = None
    notes: str = ""
    view: dict[str, Any] = {}
    regions: dict[str, tuple[Region, ...]] = {}
    runs: tuple[RunPlace, ...] = ()
    removed: tuple[str, ...] = ()
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A killed window's folder: how many runs it holds, which are in no file; when it changed
    last, the first question, the session file it belongs to."""

    folder: Path
    n_runs: int
    changed: datetime.datetime
    question: str = ""
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """A killed window's session. `missing`: what could not be read, in words. `saved_regions`:
    those in the session's file, by picture."""

    session: Session
    seen: tuple[int, int] | None
    missing: tuple[str, ...]
    saved_regions: Mapping[str, tuple[Region, ...]]


class UnsavedFolder:
    """A window's folder, locked while the window lives. Nothing is made before it is needed.

    Methods may be called from several threads.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = windows_folder() / dated_name() if folder is None else folder
        self._lock: ProgramLock | None = None
        self._guard = threading.Lock()
        self._written = b""

    @classmethod
    def take(cls, folder: Path) -> UnsavedFolder | None:
        """Take over what a killed window left; None if a program has it, or it is gone."""
        taken = cls(folder)
        try:
            taken._lock = ProgramLock.take(_lock_path(folder), "a window")
        except OSError as error:
            raise storage_error(f"Opening {folder}", error, elsewhere=OTHER_CACHE) from error
        if taken._lock is None:
            return None
        if not folder.is_dir():
            taken.release()
            return None
        return taken

    def new_run(self) -> Path:
        """Where the next run may grow: a directory that is not there yet. Raises StorageError."""
        self._prepare()
        return self.folder / dated_name()

    def _prepare(self) -> None:
        with self._guard:
            try:
                if self._lock is None:
                    self._lock = ProgramLock.take(_lock_path(self.folder), "a window")
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                doing = f"Making the folder {self.folder}"
                raise storage_error(doing, error, elsewhere=OTHER_CACHE) from error

    def holds(self, directory: Path) -> bool:
        """Whether a run's directory is one of the window's own."""
        return directory.parent == self.folder

    def describe(
        self,
        session: Session,
        removed: Iterable[str] = (),
        seen: tuple[int, int] | None = None,
    ) -> UnsavedDocument:
        """What to write of a session. `removed`, `seen`: as in the document."""
        runs = []
        for run in session.runs:
            if not run.in_directory:
                runs.append(RunPlace(id=run.id))
            else:
                own = self.holds(run.path)
                runs.append(RunPlace(id=run.id, path=run.path.name if own else str(run.path)))
        return UnsavedDocument(
            schema=_SCHEMA,
            changed=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            file=None if session.path is None else str(session.path.absolute()),
            notes=session.notes,
            view=session.view,
            regions=session.regions,
            runs=tuple(runs),
            removed=tuple(sorted(removed)),
            seen=seen,
            content=session.content,
        )

    def write(self, document: UnsavedDocument) -> None:
        """Put the document in place of the last one, in one step. Raises StorageError."""
        self._prepare()
        same = dump(document.model_copy(update={"changed": ""}).model_dump(mode="json"))
        with self._guard:
            if same == self._written:
                return
            target = self.folder / _STATE
            try:
                temporary = target.with_name(_STATE + "~")
                temporary.write_bytes(dump(document.model_dump(mode="json", by_alias=True)))
                os.replace(temporary, target)
            except OSError as error:
                doing = f"Keeping the session in {self.folder}"
                raise storage_error(doing, error, elsewhere=OTHER_CACHE) from error
            self._written = same

    def forget(self) -> None:
        """All is saved: remove the document, and the folder where it is empty."""
        with self._guard:
            self._written = b""
            with contextlib.suppress(OSError):
                (self.folder / _STATE).unlink(missing_ok=True)
                self.folder.rmdir()

    def recover(self) -> Recovered:
        """The session that a killed window left; runs it had not listed yet come last."""
        document = _read(self.folder) or UnsavedDocument(schema=_SCHEMA)
        runs: list[Recording] = []
        missing: list[str] = []
        inside: dict[str, Recording] = {}
        saved_regions: Mapping[str, tuple[Region, ...]] = {}
        content = document.content
        file = None if document.file is None else Path(document.file)
        if file is not None:
            try:
                opened = open_session(file)
                inside = {run.id: run for run in opened.runs}
                content = content or opened.content
                saved_regions = opened.regions
            except VarStudioError as error:
                missing.append(f"{error.what} Its runs are left out.")
                file = None
        gone = 0
        for place in document.runs:
            if place.path is None:
                if place.id in inside:
                    runs.append(inside[place.id])
                elif file is not None:
                    gone += 1
                continue
            try:
                runs.append(Recording.open(self.folder / place.path))
            except VarStudioError as error:
                missing.append(error.what)
        if gone:
            missing.append(f"{gone} runs are in {file} no more.")
        for directory in _unlisted(self.folder, document):
            # A run that had only begun may hold nothing.
            with contextlib.suppress(VarStudioError):
                run = Recording.open(directory)
                if run.tokens:
                    runs.append(run)
        session = Session(
            runs,
            notes=document.notes,
            view=document.view,
            regions=document.regions,
            path=file,
            content=content or FULL,
        )
        seen = document.seen if file is not None else None
        return Recovered(session, seen, tuple(missing), saved_regions)

    def discard(self) -> None:
        """Remove the folder with all its runs, and the lock. Never raises."""
        with self._guard:
            if self._lock is None:
                return
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock; the folder stays, to be offered back."""
        with self._guard:
            if self._lock is not None:
                self._lock.release()
                self._lock = None


def windows_folder() -> Path:
    """Where windows keep what is not saved, not created yet."""
    return user_folder("cache") / "windows"


def left_over() -> list[LeftOver]:
    """What killed windows left, the oldest first. Empty folders of theirs are removed."""
    found = []
    for folder in sorted(path for path in windows_folder().glob("*") if _is_own_folder(path)):
        try:
            taken = UnsavedFolder.take(folder)
        except VarStudioError:
            continue
        if taken is None:
            continue
        described, empty = _describe(folder)
        if empty:
            taken.discard()
            continue
        taken.release()
        if described is not None:
            found.append(described)
    for path in windows_folder().glob("*.lock"):
        if not path.with_suffix("").is_dir():
            with contextlib.suppress(OSError):
                lock = ProgramLock.take(path, "a window")
                if lock is not None:
                    lock.release()
    return found


def _describe(folder: Path) -> tuple[LeftOver | None, bool]:
    """What a folder holds that can be opened, if anything; and whether there is nothing at all."""
    document = _read(folder)
    listed = [] if document is None else [folder / p.path for p in document.runs if p.path]
    directories = [directory for directory in listed if directory.parent == folder]
    elsewhere = len(listed) > len(directories)
    directories += _unlisted(folder, document or UnsavedDocument(schema=_SCHEMA))
    n_runs, damaged, question = 0, False, ""
    for directory in directories:
        if not (directory / GROUP).is_file():
            continue
        try:
            with contextlib.closing(Recording.open(directory)) as run:
                if not run.tokens:
                    continue
                n_runs += 1
                question = question or str(run.provenance.get("prompt") or "")
        except VarStudioError:
            damaged = True
    file = None if document is None or document.file is None else Path(document.file)
    if not n_runs and not elsewhere and file is None:
        return None, not damaged
    newest = max(path.lstat().st_mtime for path in (folder, *folder.glob("*")))
    changed = datetime.datetime.fromtimestamp(newest, datetime.UTC)
    return LeftOver(folder, n_runs, changed, question, file), False


def _unlisted(folder: Path, document: UnsavedDocument) -> list[Path]:
    """Runs that came after the document was written, the oldest first."""
    known = {place.path for place in document.runs} | set(document.removed)
    found = sorted(path.parent for path in folder.glob(f"*/{GROUP}") if _is_own_folder(path.parent))
    return [directory for directory in found if directory.name not in known]


def _read(folder: Path) -> UnsavedDocument | None:
    """The document; None where there is none, or none that can be read: the runs matter most."""
    try:
        attributes = FolderFiles(folder).read(_STATE)
        return None if attributes is None else UnsavedDocument.model_validate(parse(attributes))
    except (RecordingError, FormatError, ValidationError):
        return None


def _is_own_folder(path: Path) -> bool:
    """Not a link to one, which is there already."""
    return path.is_dir() and not path.is_symlink()


def _lock_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")
