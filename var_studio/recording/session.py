"""Sessions: images, runs, regions, notes and the view, in one file that opens in an instant.

A session file (``.vars``) is an uncompressed zip of a Zarr v3 group, so that
``zarr.open(zarr.storage.ZipStore("a.vars"), mode="r")`` reads it:

- root attributes: kind, schema, notes, view, images (hash, type, name), runs (names of groups,
  in order), regions (name and visual tokens, by `regions.picture_key`);
- ``images/<n>``: the encoded bytes of an image, 1-D uint8;
- ``runs/<id>``: a run's group, with the arrays of `document.array_specs`.

Who owns what: a session reads its runs where they are, in run directories or session files, and
`Session.close` only lets go of them. Directories are removed by `Recording.discard` and
`Session.discard_left_behind`, by nothing else.
"""

from __future__ import annotations

import operator
import os
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from var_studio.recording.arrays import FormatError, dump, nested_within, parse
from var_studio.recording.document import MAX_NESTED, ImageEntry, PlainValues, RunId
from var_studio.recording.failures import (
    RecordingError,
    SessionError,
    StorageError,
    clipped,
    storage_error,
)
from var_studio.recording.files import Files, FilesBelow, ZipFiles
from var_studio.recording.images import StoredImage
from var_studio.recording.migrations import SESSION_SCHEMA, NewerSchemaError, migrate_session
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region
from var_studio.recording.store import GROUP, group_metadata, image_files

SUFFIX: Final = ".vars"
Progress = Callable[[int, int], None]
"""Called with the runs written so far and their number; what it raises stops the saving."""


class SessionDocument(BaseModel):
    """The attributes of a session's root group. Fields that a later version adds are ignored."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["var-studio-session"] = "var-studio-session"
    schema_version: int = Field(SESSION_SCHEMA, alias="schema")
    notes: str = ""
    view: PlainValues = {}
    images: tuple[ImageEntry, ...] = ()
    runs: tuple[RunId, ...] = ()
    regions: dict[str, tuple[Region, ...]] = {}


class Runs(Sequence[Recording]):
    """The runs of a session, in order: by number, by name, or one after the other.

    Of several runs of one name, the second goes by "name (2)", and so on: in `names`, as a key
    here, and in the file.
    """

    def __init__(self, runs: Iterable[Recording] = ()) -> None:
        self._runs = list(dict.fromkeys(runs))

    @overload
    def __getitem__(self, key: int | str) -> Recording: ...
    @overload
    def __getitem__(self, key: slice) -> list[Recording]: ...
    def __getitem__(self, key: int | str | slice) -> Recording | list[Recording]:
        """A run by number (negative from the end) or name (one of `names`)."""
        if isinstance(key, slice):
            return self._runs[key]
        if isinstance(key, str):
            for name, run in zip(self.names, self._runs, strict=True):
                if name == key:
                    return run
            names = clipped(", ".join(map(repr, self.names))) or "none"
            raise RecordingError(f"There is no run named {clipped(key)!r}.", f"There are: {names}.")
        try:
            key = operator.index(key)
        except TypeError:
            raise RecordingError(
                f"A run goes by a number or a name, not {type(key).__name__}."
            ) from None
        try:
            return self._runs[key]
        except IndexError:
            if not self._runs:
                raise RecordingError(f"There is no run {key}: there are none.") from None
            count = len(self._runs)
            raise RecordingError(
                f"There is no run {key}.", f"It goes from 0 to {count - 1}, or -{count} to -1."
            ) from None

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Recording]:
        return iter(self._runs)

    def __contains__(self, key: object) -> bool:
        return key in self.names if isinstance(key, str) else any(r is key for r in self._runs)

    @property
    def names(self) -> list[str]:
        """What each run goes by here: its name, with a number where another has it already."""
        return _distinct([run.name for run in self._runs])

    def append(self, run: Recording) -> None:
        if not any(run is kept for kept in self._runs):
            self._runs.append(run)

    def remove(self, run: Recording) -> None:
        """Take a run out of the session; its files stay where they are."""
        self._runs = [kept for kept in self._runs if kept is not run]

    def __repr__(self) -> str:
        return f"Runs({self._runs!r})"


class Session:
    """What a researcher works on: runs, their images and regions, notes, and how the window showed
    them.

    `regions` holds the regions of each picture, by `regions.picture_key` of a run that shows it.
    `view` holds plain JSON values and belongs to whoever shows the session. `path` is the file it
    was opened from or saved to last. `left_behind`: run directories that the last save copied
    into the file and nobody reads any more.
    """

    def __init__(
        self,
        runs: Iterable[Recording] = (),
        *,
        notes: str = "",
        view: dict[str, Any] | None = None,
        regions: Mapping[str, Iterable[Region]] | None = None,
        path: Path | None = None,
    ) -> None:
        self.runs = Runs(runs)
        self.notes = notes
        self.view: dict[str, Any] = dict(view or {})
        self.regions = {key: tuple(kept) for key, kept in (regions or {}).items()}
        self.path = path
        self.left_behind: list[Path] = []

    @property
    def images(self) -> list[StoredImage]:
        """The images of all runs, each once, encoded."""
        return list(_images(self.runs).values())

    def close(self) -> None:
        """Let go of memory and open files; everything on disk stays."""
        for run in self.runs:
            run.close()

    def discard_left_behind(self) -> None:
        """Remove the run directories whose runs are in the session file now."""
        while self.left_behind:
            directory = self.left_behind[-1]
            if directory.exists():
                Recording.open(directory).discard()
            self.left_behind.pop()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.path or '(not saved)'}: {', '.join(self.runs.names) or 'no runs'}>"


def open_session(path: str | os.PathLike[str]) -> Session:
    """Open a session file, or the directory of a single run; arrays are read when asked for.

    Raises SessionError for a file that is missing, damaged, no session, or of a newer version.
    """
    if not isinstance(path, str | os.PathLike):
        raise SessionError(
            f"The path of a session is text, not {type(path).__name__}.", f"Name a {SUFFIX} file."
        )
    place = Path(os.path.expanduser(path))
    if place.is_dir():
        if not (place / GROUP).is_file():
            raise SessionError(f"{place} is a folder, not a session.", "Choose a .vars file.")
        return Session([Recording.open(place)])
    files = ZipFiles(place)
    try:
        document = _read_document(files)
        find = _ImageFinder(files, document.images)
        runs = [Recording(FilesBelow(files, f"runs/{name}"), find) for name in document.runs]
        for run in runs:
            for entry in run.image_entries:
                if find.number(entry) is None:
                    raise files.damaged(f"the image {entry.name} is missing")
    except BaseException:
        files.close()
        raise
    return Session(
        runs, notes=document.notes, view=document.view, regions=document.regions, path=place
    )


def save_session(
    path: str | os.PathLike[str],
    session: Session | Recording | Iterable[Recording] = (),
    *,
    runs: Recording | Iterable[Recording] | None = None,
    notes: str = "",
    view: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Save a session, or just a run or some runs, to one file; return its path.

        vs.save_session("circle.vars", [plain, changed])
        plain.discard(), changed.discard()

    The file is replaced in one step once the new one is safely on disk: whatever goes wrong, the
    old one is as it was. Runs may be read from that very file meanwhile, and read on afterwards.
    The runs of a Session read from the new file from then on, but for runs that are still being
    written; their directories are then listed in its `left_behind`. Of a run that is still being
    written, what it had at its last `refresh` is saved.

    Runs given as such are copied and stay where they were, in the directories that `record` made:
    remove these with `Recording.discard` once the file is all that is wanted. (After saving a
    Session, `Session.discard_left_behind` does so.)

    Raises StorageError when the disk refuses, SessionError for content that no file can hold.
    """
    if not isinstance(path, str | os.PathLike):
        raise SessionError(
            f"The path comes first, and is text, not {type(path).__name__}.",
            f'Write save_session("name{SUFFIX}", runs).',
        )
    target = Path(os.path.expanduser(path))
    target = target.resolve() if target.is_symlink() else target.absolute()
    if target.is_dir():
        raise StorageError(f"{target} is a folder.", "Give the file a name.")
    keeps = runs is None and isinstance(session, Session)
    if runs is None and isinstance(session, Session):
        content = session
    else:
        content = Session(_listed(session if runs is None else runs), notes=notes, view=view)
    _check_plain(content)

    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    names = _group_names(content.runs)
    try:
        try:
            with open(temporary, "xb") as file:
                images = _write(file, content, names, progress)
                file.flush()
                os.fsync(file.fileno())
            for run in content.runs:
                if run.reads_from(target):
                    run.hold()
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        kept = "The file that was there is unchanged." if target.exists() else ""
        raise storage_error(f"Saving {target}", error, kept) from error

    moving = [run for run in content.runs if not run.live] if keeps else []
    moving += [run for run in content.runs if run.reads_from(target) and run not in moving]
    if moving:
        files = ZipFiles(target)
        find = _ImageFinder(files, images)
        for run in moving:
            if keeps and run.in_directory:
                content.left_behind.append(run.path)
            run.move_to(FilesBelow(files, f"runs/{names[run]}"), find)
    if keeps:
        content.path = target
    return target


def _listed(runs: Any) -> list[Recording]:
    """The runs that a caller gave, one or many. Raises SessionError for anything else."""
    if isinstance(runs, Recording):
        return [runs]
    listed = list(runs) if isinstance(runs, Iterable) and not isinstance(runs, str) else [runs]
    for run in listed:
        if not isinstance(run, Recording):
            raise SessionError(
                f"A session holds recordings, not {type(run).__name__}.",
                "Pass what record() returned, or a list of these.",
            )
    return listed


def _check_plain(session: Session) -> None:
    """Raise SessionError for notes and a view that JSON cannot say."""
    if not isinstance(session.notes, str):
        raise SessionError(f"The notes are a text, not {type(session.notes).__name__}.")
    try:
        dump(session.view)
        if not nested_within(session.view, MAX_NESTED):
            raise ValueError(f"it is nested more than {MAX_NESTED} deep")
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionError(
            f"The view cannot be saved: {error}.", "It is a dict of plain JSON values."
        ) from error


def _write(
    file: Any, session: Session, names: dict[Recording, str], progress: Progress | None
) -> tuple[ImageEntry, ...]:
    """Write the zip; the root's description comes first, for whoever looks into the file."""
    stored = list(_images(session.runs).values())
    entries = tuple(
        ImageEntry(sha256=i.sha256, media_type=i.media_type, name=i.name, note=i.note)
        for i in stored
    )
    document = SessionDocument(
        schema=SESSION_SCHEMA,
        notes=session.notes,
        view=session.view,
        images=entries,
        runs=tuple(names[run] for run in session.runs),
        regions=session.regions,
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, content: bytes) -> None:
            # A fixed date: the same session gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)

        put(GROUP, dump(group_metadata(document.model_dump(mode="json", by_alias=True))))
        for name, content in image_files(stored):
            put(name, content)
        put(f"runs/{GROUP}", dump(group_metadata({})))
        for done, (run, called) in enumerate(zip(session.runs, session.runs.names, strict=True)):
            if progress is not None:
                progress(done, len(session.runs))
            for name, content in run.packed_files(called):
                put(f"runs/{names[run]}/{name}", content)
        if progress is not None:
            progress(len(session.runs), len(session.runs))
    return entries


def _read_document(files: ZipFiles) -> SessionDocument:
    encoded = files.read(GROUP)
    if encoded is None:
        raise SessionError(
            f"{files.place} is not a session of VAR Studio.", f"Choose a {SUFFIX} file."
        )
    try:
        attributes = parse(encoded).get("attributes")
        if not isinstance(attributes, dict) or attributes.get("kind") != "var-studio-session":
            raise SessionError(
                f"{files.place} is not a session of VAR Studio.", f"Choose a {SUFFIX} file."
            )
        document = SessionDocument.model_validate(migrate_session(attributes))
    except NewerSchemaError as error:
        raise files.too_new(str(error)) from error
    except FormatError as error:
        raise files.damaged(str(error)) from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise files.damaged(f"its description is wrong at {where or 'its start'}") from error
    if len(set(document.runs)) != len(document.runs):
        raise files.damaged("it lists a run twice")
    return document


class _ImageFinder:
    """Finds the bytes of a run's image among the images of the session, by hash."""

    def __init__(self, files: Files, images: Sequence[ImageEntry]) -> None:
        self._files = files
        self._numbers = {entry.sha256: number for number, entry in enumerate(images)}

    def number(self, entry: ImageEntry) -> int | None:
        return self._numbers.get(entry.sha256)

    def __call__(self, index: int, entry: ImageEntry) -> bytes | None:
        number = self.number(entry)
        return None if number is None else self._files.read(f"images/{number}/c.0")


def _images(runs: Iterable[Recording]) -> dict[str, StoredImage]:
    """The images of runs by their hash, each once, in the order they first appear."""
    found: dict[str, StoredImage] = {}
    for run in runs:
        for index, entry in enumerate(run.image_entries):
            if entry.sha256 not in found:
                found[entry.sha256] = run.stored_image(index)
    return found


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with a number that makes them new."""
    taken, given = set(names), set[str]()
    distinct = []
    for name in names:
        number, told = 1, name
        while told in given or (number > 1 and told in taken):
            number += 1
            told = f"{name} ({number})"
        given.add(told)
        distinct.append(told)
    return distinct


def _group_names(runs: Iterable[Recording]) -> dict[Recording, str]:
    """The name of each run's group: its id, with a number where two runs share one."""
    names: dict[Recording, str] = {}
    taken: set[str] = set()
    for run in runs:
        name, number = run.id, 1
        while name in taken:
            number += 1
            name = f"{run.id[:70]}-{number}"
        taken.add(name)
        names[run] = name
    return names


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
