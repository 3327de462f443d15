"""A file replaced in one step: whatever goes wrong, the old one is as it was."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from var_studio.recording.failures import StorageError, clipped, storage_error


def file_to_write(path: str | os.PathLike[str]) -> Path:
    """The file to write: what a link points to. Raises StorageError where none may be."""
    try:
        target = Path(os.path.expanduser(path))
        target = target.resolve() if target.is_symlink() else target.absolute()
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise storage_error(f"Saving {clipped(str(path))}", error) from error
    except (RuntimeError, ValueError) as error:
        # A link to itself, in older versions of Python; a name with a zero byte.
        raise StorageError(
            f"{clipped(str(path))!r} can be no file.", "Choose another name."
        ) from error
    if stat.S_ISDIR(mode):
        raise StorageError(f"{target} is a folder.", "Give the file a name.")
    if not stat.S_ISREG(mode):
        raise StorageError(f"{target} is no plain file.", "Choose another name.")
    # By its mode too: who runs as administrator may write anything. Where the folder cannot be
    # written either, the saving itself finds out why.
    protected = not os.access(target, os.W_OK) and os.access(target.parent, os.W_OK)
    if protected or not mode & 0o222:
        raise StorageError(
            f"{target} is write-protected.", "Allow writing to it, or save under another name."
        )
    return target


def replace_file(
    target: Path, write: Callable[[BinaryIO], None], before: Callable[[], None]
) -> None:
    """Write a new file beside `target`, and put it in its place; just before that, call `before`.

    Raises StorageError when the disk refuses, and what `write` raises.
    """
    temporary = _temporary(target)
    _remove_cut_off(target)
    try:
        try:
            with open(temporary, "xb") as file:
                write(file)
            if target.exists():
                # Whoever could read the old file can read the new one.
                shutil.copymode(target, temporary)
            before()
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        kept = "The file that was there is unchanged." if target.exists() else ""
        raise storage_error(f"Saving {target}", error, kept) from error


def check_replaceable(target: Path) -> None:
    """Raise StorageError where `replace_file` could not begin: asked by making the file that it
    makes, for rights and the names that a disk takes cannot be told."""
    temporary = _temporary(target)
    try:
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:
        raise storage_error(f"Writing {target}", error) from error


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")


def _remove_cut_off(target: Path) -> None:
    """Remove what savings to this file left that were killed more than an hour ago."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    if os.name == "nt":
        return
    # The file is in place: a folder that cannot be opened is no reason to say that it is not.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
