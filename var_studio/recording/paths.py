"""Where runs are while they are in no session file yet."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import stat
import time
import uuid
from pathlib import Path
from typing import Final

from var_studio.assets import user_folder
from var_studio.recording.failures import storage_error
from var_studio.recording.store import GROUP, being_written

_DATED: Final = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{8}")
"""What `dated_name` gives."""
_ABOUT_TO_BEGIN: Final = 3600

OTHER_CACHE: Final = "Set the environment variable VAR_STUDIO_HOME to a folder that can be written."
"""What helps where nothing can be written in the user's cache."""


def runs_folder() -> Path:
    """The user's folder of run directories, not created yet."""
    return user_folder("cache") / "runs"


def new_run_directory(folder: Path | None = None) -> Path:
    """Make an empty directory for a run, in the user's cache unless said otherwise.

    It stays until `Recording.discard` removes it. Raises StorageError.
    """
    directory = (runs_folder() if folder is None else folder) / dated_name()
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        elsewhere = OTHER_CACHE if folder is None else ""
        raise storage_error(f"Making the folder {directory}", error, elsewhere=elsewhere) from error
    return directory


def check_cache() -> None:
    """Raise StorageError where no run can begin in the user's cache: asked by making one's
    directory, since rights mislead. Leaves nothing."""
    first = not runs_folder().exists()
    directory = new_run_directory()
    with contextlib.suppress(OSError):
        directory.rmdir()
        if first:
            directory.parent.rmdir()


def dated_name() -> str:
    """A name that nothing has yet; later ones come later in the alphabet."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S-%f}-{uuid.uuid4().hex[:8]}"


def kept_runs(folder: Path | None = None) -> list[Path]:
    """Run directories that nobody discarded, oldest first: finished ones and those of a crash.

    In the user's own folder, what is left of one that was being discarded is removed.
    """
    if folder is None:
        folder = runs_folder()
        _sweep(folder)
    return sorted(path.parent for path in folder.glob(f"*/{GROUP}"))


def _sweep(folder: Path) -> None:
    """Remove directories that `Recording.discard` did not get to the end of, an hour later: one in
    which a run is about to begin looks the same."""
    for directory in folder.glob("*"):
        with contextlib.suppress(OSError):
            found = os.lstat(directory)
            old = time.time() - found.st_mtime > _ABOUT_TO_BEGIN
            if not (stat.S_ISDIR(found.st_mode) and old and _DATED.fullmatch(directory.name)):
                continue
            if not os.path.lexists(directory / GROUP) and not being_written(directory):
                shutil.rmtree(directory, ignore_errors=True)


def abandoned_runs(folder: Path | None = None) -> list[Path]:
    """Those of `kept_runs` that no living program is writing: what to offer back at a start."""
    return [directory for directory in kept_runs(folder) if not being_written(directory)]
