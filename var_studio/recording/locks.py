"""Locks between programs: which window is alive, and who has a session file open.

The system drops a lock with the process that holds it, however that ends: no lock is ever stale.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from var_studio.assets import user_folder
from var_studio.recording.failures import StorageError

_BINARY: Final = getattr(os, "O_BINARY", 0)
_FAR: Final = 1 << 30
"""Windows locks a range of bytes against reading too: one that no file of ours reaches."""

_HOLDER_BYTES: Final = 4096
"""Read of a lock file at most."""


class FileInUseError(StorageError):
    """Another program of VAR Studio has the session file open."""


def try_lock(file: int) -> bool | None:
    """Lock an open file for this descriptor. False: another has it. None: a disk without locks."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: "a window" or "a script", its process and computer, since when (UTC)."""

    program: str = ""
    pid: int = 0
    host: str = ""
    since: str = ""

    def __str__(self) -> str:
        facts = []
        if self.pid:
            here = "" if self.host in ("", platform.node()) else f" on {self.host}"
            facts.append(f"process {self.pid}{here}")
        with contextlib.suppress(ValueError):
            then = datetime.datetime.fromisoformat(self.since).astimezone()
            facts.append(f"since {then:%H:%M}")
        told = f"another {self.program.removeprefix('a ') or 'program'} of VAR Studio"
        return f"{told} ({', '.join(facts)})" if facts else told


class ProgramLock:
    """A lock file that one program at a time holds; it is removed when it is let go."""

    def __init__(self, path: Path, file: int) -> None:
        """Use `take`."""
        self.path = path
        self._file = file

    @classmethod
    def take(cls, path: Path, program: str) -> ProgramLock | None:
        """Take the lock at `path`; None if another has it. Raises OSError where none can be
        made."""
        for _ in range(100):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
            except FileNotFoundError:
                continue  # its folder was empty, and removed meanwhile
            got = try_lock(file)
            if got is None:
                got = not _alive(holder_in(path))
            if got and _is_at(file, path):
                _write_holder(file, program)
                return cls(path, file)
            os.close(file)
            if not got:
                return None
        raise OSError(None, f"{path} comes and goes")

    def release(self) -> None:
        """Let go; never raises."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        if os.name == "nt":  # an open file cannot be removed there
            os.close(file)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if os.name != "nt":
            os.close(file)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def holder_in(path: Path) -> Holder:
    """What a lock file says of its holder."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Holder()
        with open(path, "rb") as file:
            found = json.loads(file.read(_HOLDER_BYTES))
        return Holder(
            str(found["program"]), int(found["pid"]), str(found["host"]), str(found["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


def session_lock_path(session: Path) -> Path:
    """The lock file of a session file: in the user's cache, so that no folder is littered and one
    that is read-only can be locked. Users who share a file do not see each other's locks."""
    name = os.path.normcase(os.path.realpath(session))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return user_folder("cache") / "locks" / f"{digest}.lock"


def in_use(session: Path) -> FileInUseError:
    """The error to raise, or to show, for a session file that another program has open."""
    return FileInUseError(
        f"{session.name} is open in {holder_in(session_lock_path(session))}.",
        "Close it there, or save under another name.",
    )


@contextmanager
def locked_for_saving(session: Path, held: ProgramLock | None = None) -> Iterator[None]:
    """Hold the lock of a session file while it is written, unless the caller's `held` is it.

    Raises FileInUseError. Where no lock can be made (a cache that is read-only) there is none.
    """
    path = session_lock_path(session)
    if held is not None and held.path == path:
        yield
        return
    try:
        lock = ProgramLock.take(path, "a script")
    except OSError:
        yield
        return
    if lock is None:
        raise in_use(session)
    try:
        yield
    finally:
        lock.release()


def check_free(session: Path) -> None:
    """Raise FileInUseError if another program has a session file open."""
    with locked_for_saving(session):
        pass


def _is_at(file: int, path: Path) -> bool:
    """Whether the file is still there under its name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _write_holder(file: int, program: str) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    holder = Holder(program, os.getpid(), platform.node(), now)
    # Who it is makes a message clearer, no more: a full disk is no reason to refuse.
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, json.dumps(asdict(holder)).encode())


def _alive(holder: Holder) -> bool:
    """Whether a holder's process runs on this computer: asked where the disk has no locks."""
    if os.name == "nt" or holder.pid <= 0 or holder.host != platform.node():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True
