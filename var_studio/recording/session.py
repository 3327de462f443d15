"""Sessions: images, runs, regions, notes and the view, in one file that opens in an instant.

A session file (``.vars``) is an uncompressed zip of a Zarr v3 group, so that
``zarr.open(zarr.storage.ZipStore("a.vars"), mode="r")`` reads it:

- root attributes: kind, schema, notes, view, images (hash, type, name), runs (names of groups,
  in order), regions (name and visual tokens, by `regions.picture_key`);
- ``images/<n>``: the encoded bytes of an image, 1-D uint8;
- ``runs/<id>``: a run's group, with the arrays of `document.array_specs`.

Who owns what: a session reads its runs where they are, in run directories or session files, and
`Session.close` only lets go of them. Directories are removed by `Recording.discard` and
`Session.discard_left_behind`, and those of a window by `unsaved.UnsavedFolder.discard`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

from var_studio.recording.arrays import dump, nested_within
from var_studio.recording.content import FULL, Content, check_tokens
from var_studio.recording.document import MAX_NESTED, ImageEntry
from var_studio.recording.failures import LeftOutError, SessionError
from var_studio.recording.files import FilesBelow, ZipFiles
from var_studio.recording.images import StoredImage
from var_studio.recording.locks import ProgramLock, locked_for_saving
from var_studio.recording.migrations import SESSION_SCHEMA
from var_studio.recording.packing import (
    Piece,
    Progress,
    check_directory,
    of_bytes,
    run_pieces,
    size_of_file,
    write_file,
)
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region
from var_studio.recording.replacing import file_to_write, replace_file
from var_studio.recording.runs import Runs
from var_studio.recording.session_document import (
    ImageFinder,
    SavedImage,
    SessionDocument,
    read_document,
)
from var_studio.recording.settings import settled
from var_studio.recording.store import GROUP, group_metadata, image_files

SUFFIX: Final = ".vars"


class Session:
    """What a researcher works on: runs, their images and regions, notes, and how the window showed
    them.

    `regions` holds the regions of each picture, by `regions.picture_key` of a run that shows it.
    `view` holds plain JSON values and belongs to whoever shows the session. `path` is the file it
    was opened from or saved to last, and `content` what of the runs it holds, which the next save
    keeps to. `left_behind`: run directories that the last save copied whole into the file and
    nobody reads any more.
    """

    def __init__(
        self,
        runs: Iterable[Recording] = (),
        *,
        notes: str = "",
        view: dict[str, Any] | None = None,
        regions: Mapping[str, Iterable[Region]] | None = None,
        path: Path | None = None,
        content: Content = FULL,
    ) -> None:
        self.runs = Runs(runs)
        self.notes = notes
        self.view: dict[str, Any] = dict(view or {})
        self.regions = {key: tuple(kept) for key, kept in (regions or {}).items()}
        self.path = path
        self.content = content
        self.left_behind: list[Path] = []

    @property
    def images(self) -> list[StoredImage]:
        """The images of all runs, each once, encoded; without those that were left out."""
        found = _images(self.runs).values()
        return [image for image in found if isinstance(image, StoredImage)]

    @property
    def image_entries(self) -> list[SavedImage]:
        """What is known of the images of all runs, each once, whether or not they are there."""
        return [SavedImage.of(image) for image in _images(self.runs).values()]

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

    def _repr_html_(self) -> str:
        from var_studio.recording.html import session_html

        return session_html(self)

    def __repr__(self) -> str:
        return f"<Session {self.path or '(not saved)'}: {', '.join(self.runs.names) or 'no runs'}>"


def open_session(path: str | os.PathLike[str], kind: type[Recording] = Recording) -> Session:
    """Open a session file, or the directory of a single run; arrays are read when asked for.

    `kind`: the class of its runs; `analysis.recording` has one that a notebook asks.
    Raises SessionError for a file that is missing, damaged, no session, or of a newer version.
    """
    if not isinstance(path, str | os.PathLike):
        raise SessionError(
            f"The path of a session is text, not {type(path).__name__}.", f"Name a {SUFFIX} file."
        )
    place = Path(os.path.expanduser(path))
    if os.path.isdir(place):
        if not (place / GROUP).is_file():
            raise SessionError(f"{place} is a folder, not a session.", "Choose a .vars file.")
        return Session([kind.open(place)])
    files = ZipFiles(place)
    try:
        document = read_document(files)
        find = ImageFinder(files, document.images)
        runs = [kind(FilesBelow(files, f"runs/{name}"), find) for name in document.runs]
        for run in runs:
            for entry in run.image_entries:
                if not find.knows(entry):
                    raise files.damaged(f"the image {entry.name} is missing")
    except BaseException:
        files.close()
        raise
    return Session(
        runs,
        notes=document.notes,
        view=document.view,
        regions=document.regions,
        path=place,
        content=document.content,
    )


def save_session(
    path: str | os.PathLike[str],
    session: Session | Recording | Iterable[Recording] = (),
    *,
    runs: Recording | Iterable[Recording] | None = None,
    notes: str = "",
    view: dict[str, Any] | None = None,
    content: Content | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    held: ProgramLock | None = None,
) -> Path:
    """Save a session, or just a run or some runs, to one file; return its path.

        vs.save_session("circle.vars", [plain, changed])
        plain.discard(), changed.discard()

    The file is replaced in one step once the new one is safely on disk: whatever goes wrong, the
    old one is as it was. Runs may be read from that very file meanwhile, and read on afterwards.
    Of a run that is still being written, what it had at its last `refresh` is saved. The runs of
    a Session read from the new file from then on, but for those that have, or may get, more than
    that; the directories that nobody reads any more are listed in its `left_behind`.

    `content`: what of the runs to keep (None: what the session was saved with last, else all).
    Where something is left out, the runs of a Session go on reading all there is where they are,
    except from the file that is replaced: what was only there is gone. `session_size` tells the
    size before. `progress(done, total)` is told bytes; `cancel` stops within a few MB.

    Runs given as such are copied and stay where they were, in the directories that `record` made:
    remove these with `Recording.discard` once the file is all that is wanted. (After saving a
    Session, `Session.discard_left_behind` does so.)

    A file that a window has open is not written over, but for that window itself: `held` is its
    lock on it.

    Raises StorageError when the disk refuses, FileInUseError for a file that is open elsewhere,
    SessionError for content that no file can hold, SettingsError for a chosen token that no run
    has, StoppedError after `cancel`.
    """
    if not isinstance(path, str | os.PathLike):
        raise SessionError(
            f"The path comes first, and is text, not {type(path).__name__}.",
            f'Write save_session("name{SUFFIX}", runs).',
        )
    target = file_to_write(path)
    keeps = runs is None and isinstance(session, Session)
    saved = _as_session(session, runs, notes, view)
    content = _settled(content, saved)
    names = _group_names(saved.runs)
    # Before the rows are read: what a run gets from now on is not in the file.
    complete = [run for run in saved.runs if _all_is_read(run)]
    pieces, images = _pieces(saved, names, content)
    check_directory(pieces)

    def write(file: BinaryIO) -> None:
        write_file(file, pieces, progress, cancel)

    def hold() -> None:
        for run in saved.runs:
            if run.reads_from(target):
                run.hold()

    with locked_for_saving(target, held):
        replace_file(target, write, hold)

    whole = content.full
    moving = complete if keeps and whole else []
    moving += [run for run in saved.runs if run.reads_from(target) and run not in moving]
    if moving:
        files = ZipFiles(target)
        find = ImageFinder(files, images)
        # Before any run takes its name in the file, which changes what the others would be called.
        called = dict(zip(saved.runs, saved.runs.names, strict=True))
        for run in moving:
            if keeps and run.in_directory:
                saved.left_behind.append(run.path)
            below = FilesBelow(files, f"runs/{names[run]}")
            run.move_to(below, find, name=called[run], whole=whole)
    if keeps:
        saved.path, saved.content = target, content
    return target


def session_size(
    session: Session | Recording | Iterable[Recording] = (),
    *,
    runs: Recording | Iterable[Recording] | None = None,
    notes: str = "",
    view: dict[str, Any] | None = None,
    content: Content | Mapping[str, Any] | None = None,
) -> int:
    """Bytes of the file that `save_session` would write, with the same arguments.

    Exact but for `Content(maps=True)` of runs with more than 256 rows, where it is told by a
    sample of them (within 1 %). Raises as `save_session`, but for the disk.
    """
    saved = _as_session(session, runs, notes, view)
    pieces, _ = _pieces(saved, _group_names(saved.runs), _settled(content, saved))
    return size_of_file(pieces)


def _as_session(session: Any, runs: Any, notes: str, view: dict[str, Any] | None) -> Session:
    """What a caller gave to save. Raises SessionError for what cannot be."""
    if runs is None and isinstance(session, Session):
        saved = session
    else:
        saved = Session(_listed(session if runs is None else runs), notes=notes, view=view)
    _check_plain(saved)
    return saved


def _settled(content: Content | Mapping[str, Any] | None, session: Session) -> Content:
    """The choice of content for a session. Raises SettingsError."""
    if content is None:
        # A word that the session's later runs do not have is no mistake of this call.
        return session.content
    chosen = settled(Content, content, "content")
    check_tokens(chosen, session.runs)
    return chosen


def _all_is_read(run: Recording) -> bool:
    """Whether a run will get no more tokens, and those that there are were read."""
    if not run.growing:
        return True
    if run.live:
        return False
    with Recording.open(run.path) as now:
        there = (now.length, len(now.query_positions), now.finished)
    return there == (run.length, len(run.query_positions), run.finished)


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


def _pieces(
    session: Session, names: dict[Recording, str], content: Content
) -> tuple[list[Piece], tuple[SavedImage, ...]]:
    """What the file is made of, the root's description first, for whoever looks into it; and what
    it says of the images."""
    found = _images(session.runs)
    stored = [image for image in found.values() if isinstance(image, StoredImage)]
    stored = stored if content.images else []
    # Those that are there first: an image's number is that of its array.
    others = [image for image in found.values() if image not in stored]
    saved = (
        *(SavedImage.of(image) for image in stored),
        *(SavedImage.of(image).model_copy(update={"left_out": True}) for image in others),
    )
    document = SessionDocument(
        schema=SESSION_SCHEMA,
        notes=session.notes,
        view=session.view,
        content=content,
        images=saved,
        runs=tuple(names[run] for run in session.runs),
        regions=session.regions,
    )
    root = dump(group_metadata(document.model_dump(mode="json", by_alias=True)))
    pieces = [of_bytes(GROUP, root)]
    pieces += [of_bytes(name, encoded) for name, encoded in image_files(stored)]
    pieces.append(of_bytes(f"runs/{GROUP}", dump(group_metadata({}))))
    for run, called in zip(session.runs, session.runs.names, strict=True):
        pieces += run_pieces(run, f"runs/{names[run]}", called, content)
    return pieces, saved


def _images(runs: Iterable[Recording]) -> dict[str, StoredImage | ImageEntry]:
    """The images of runs by their hash, each once, in the order they first appear; what is said of
    them where no run has their bytes any more."""
    found: dict[str, StoredImage | ImageEntry] = {}
    for run in runs:
        for index, entry in enumerate(run.image_entries):
            if isinstance(found.get(entry.sha256), StoredImage):
                continue
            try:
                found[entry.sha256] = run.stored_image(index)
            except LeftOutError:
                found[entry.sha256] = entry
    return found


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
