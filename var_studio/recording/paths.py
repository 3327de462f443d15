"""Where runs are while they are in no session file yet."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path

from var_studio.assets import user_folder
from var_studio.recording.failures import storage_error
from var_studio.recording.store import GROUP, being_written


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
        raise storage_error(f"Making the folder {directory}", error) from error
    return directory


def dated_name() -> str:
    """A name that nothing has yet; later ones come later in the alphabet."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S-%f}-{uuid.uuid4().hex[:8]}"


def kept_runs(folder: Path | None = None) -> list[Path]:
    """Run directories that nobody discarded, oldest first: finished ones and those of a crash."""
    folder = runs_folder() if folder is None else folder
    return sorted(path.parent for path in folder.glob(f"*/{GROUP}"))


def abandoned_runs(folder: Path | None = None) -> list[Path]:
    """Those of `kept_runs` that no living program is writing: what to offer back at a start."""
    return [directory for directory in kept_runs(folder) if not being_written(directory)]
