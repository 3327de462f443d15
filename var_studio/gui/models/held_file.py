"""The session file that a window shows: whose it is, and whether it is still what was opened."""

from __future__ import annotations

import os
from pathlib import Path

from var_studio.recording.locks import ProgramLock, session_lock_path

Seen = tuple[int, int]
"""Size and time of change."""


class HeldFile:
    """A session file with the window's lock on it.

    `mine`: False where another program has it open; the window then only shows it. `seen`: what
    the file was when it was read or written last.
    """

    def __init__(
        self, path: Path | None = None, lock: ProgramLock | None = None, mine: bool = True
    ) -> None:
        """Use `hold`; HeldFile() is no file."""
        self.path, self.lock, self.mine = path, lock, mine
        self.seen = None if path is None else seen_of(path)

    def hold(self, path: Path) -> HeldFile:
        """Another file, or this one anew: this one's lock is used where it is the same."""
        lock_path = session_lock_path(path)
        if self.lock is not None and self.lock.path == lock_path:
            return HeldFile(path, self.lock)
        try:
            lock = ProgramLock.take(lock_path, "a window")
        except OSError:
            return HeldFile(path)  # a cache that is read-only: no locks, no refusals
        return HeldFile(path, lock, mine=lock is not None)

    def changed(self) -> bool:
        """Whether the file is there, and other than it was."""
        now = None if self.path is None else seen_of(self.path)
        return now is not None and self.seen is not None and now != self.seen

    def let_go(self, but: HeldFile) -> None:
        """Release the lock, unless `but` is held by it."""
        if self.lock is not None and self.lock is not but.lock:
            self.lock.release()


def seen_of(path: Path) -> Seen | None:
    """A file's size and time of change; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
