"""What can go wrong with recordings and their files."""

from __future__ import annotations

import errno

from var_studio.errors import VarStudioError


class RecordingError(VarStudioError):
    """A recording has no such thing, or what it has cannot be read."""


class SessionError(RecordingError):
    """A session file is damaged, not a session, or too new."""


class SettingsError(VarStudioError, ValueError):
    """Settings out of bounds, or settings that do not fit the model or the run."""


class LeftOutError(RecordingError):
    """Something was recorded, and left out when its session was saved."""


class StoppedError(VarStudioError):
    """The user stopped a piece of work; nothing was changed."""


class StorageError(VarStudioError):
    """The disk refused: full, read-only, no permission, gone."""


def clipped(text: str, most: int = 200) -> str:
    """Text from a file, short enough to be a part of a message."""
    return text if len(text) <= most else text[: most - 1] + "…"


_CAUSES: dict[int, tuple[str, str]] = {  # with no advice: another folder helps
    errno.ENOSPC: ("the disk is full", "Free some space, then try again."),
    errno.EDQUOT: ("your disk quota is used up", "Free some space, then try again."),
    errno.EROFS: ("the disk is read-only", ""),
    errno.EACCES: ("the folder or file may not be written", ""),
    errno.EPERM: ("the folder or file may not be written", ""),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
    errno.ELOOP: ("the name is a link to itself", "Choose another name."),
    errno.EMFILE: ("too many files are open", "Close some sessions, then try again."),
}


def storage_error(doing: str, error: OSError, kept: str = "", elsewhere: str = "") -> StorageError:
    """Put an OSError in words: ``doing`` is what was tried, ``kept`` what is still safe,
    ``elsewhere`` how to choose another folder."""
    cause, advice = _CAUSES.get(
        error.errno or 0, (error.strerror or str(error) or "unknown error", "")
    )
    advice = advice or elsewhere or "Choose another folder."
    return StorageError(f"{doing} failed: {cause}.", f"{kept} {advice}".strip())
