"""Where a recording's files are: in a folder, or inside a session file."""

from __future__ import annotations

import os
import re
import stat
import threading
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from var_studio.recording.failures import RecordingError, SessionError, clipped

MAX_FILE_BYTES: Final = 1 << 29
"""A chunk, encoded, or a picture: none of ours comes near."""
MAX_TEXT_BYTES: Final = 1 << 27
"""A description or a journal; an answer of 100,000 tokens with ten alternatives has half."""


def most_bytes(name: str) -> int:
    """Bytes of a file of this name that are believed, and read into memory."""
    return MAX_TEXT_BYTES if name.endswith((".json", ".jsonl")) else MAX_FILE_BYTES


class Files(Protocol):
    """A read-only set of small files by relative name."""

    @property
    def place(self) -> Path:
        """The folder or session file, for messages."""

    def read(self, name: str, offset: int = 0) -> bytes | None:
        """The bytes of a file from `offset` on, None if there is no such file."""

    def size(self, name: str) -> int | None:
        """The size of a file in bytes, None if there is none."""

    def damaged(self, why: str) -> RecordingError:
        """The error to raise for content that is wrong."""

    def too_new(self, why: str) -> RecordingError:
        """The error to raise for what a newer version wrote."""

    def close(self) -> None:
        """Let go of what is open. Reading again opens it again."""


class FolderFiles:
    """Files in a folder on disk, which may still grow."""

    def __init__(self, folder: Path) -> None:
        self.place = folder

    def read(self, name: str, offset: int = 0) -> bytes | None:
        path = self.place / name
        try:
            found = os.stat(path)
            # Before it is opened: a pipe would wait for a writer, a device has no end.
            if not stat.S_ISREG(found.st_mode):
                raise self.damaged(f"{name} is no plain file")
            if found.st_size - offset > most_bytes(name):
                raise self.damaged(f"{name} is absurdly long")
            with open(path, "rb") as file:
                file.seek(offset)
                return file.read(most_bytes(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RecordingError(
                f"{path} cannot be read: {error.strerror}.",
                "Check that the disk is there and that you may read it.",
            ) from error

    def size(self, name: str) -> int | None:
        try:
            found = os.stat(self.place / name)
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def too_new(self, why: str) -> RecordingError:
        return RecordingError(
            f"The recording in {self.place} is of a newer version of VAR Studio: {why}.",
            "Update VAR Studio to open it.",
        )

    def damaged(self, why: str) -> RecordingError:
        return RecordingError(
            f"The recording in {self.place} is damaged: {clipped(why)}.", "Record the run again."
        )

    def close(self) -> None:
        """Nothing stays open between reads."""


_UNSAFE_NAME = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\x00|\\")
_LOCAL_HEADER = b"PK\x03\x04"


MAX_DIRECTORY_BYTES: Final = 1 << 25
"""A session's list of contents has about 100 bytes a row: over 300,000 rows."""


class _LongReadError(Exception):
    """The list of contents is longer than MAX_DIRECTORY_BYTES."""


class _BoundedReads:
    """An open file of which zipfile reads only so much at once: it takes the list of contents
    whole, however long the file says that it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise _LongReadError
        return self._file.read(size)  # without a size: the last 22 bytes


class ZipFiles:
    """Members of a session file. Only uncompressed members are read, each checked by its CRC.

    Opened lazily and by offset: nothing is extracted. Thread-safe.
    """

    def __init__(self, path: Path) -> None:
        """Read the list of members. Raises SessionError if it is not such a file."""
        self.place = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._starts: dict[str, int] = {}
        self._identity = (0, 0)
        try:
            if not stat.S_ISREG(os.stat(self.place).st_mode):
                raise SessionError(f"{self.place} is no plain file.", "Choose a .vars file.")
            with self.place.open("rb") as file:
                archive = zipfile.ZipFile(_BoundedReads(file))
                members, directory = archive.infolist(), archive.start_dir
                self._identity = _identity(os.fstat(file.fileno()))
        except SessionError:
            raise
        except _LongReadError as error:
            raise self.damaged("its list of contents is absurdly long") from error
        except FileNotFoundError as error:
            raise SessionError(
                f"There is no file {self.place}.", "Check the name and the folder."
            ) from error
        except OSError as error:
            raise SessionError(
                f"{self.place} cannot be opened: {error.strerror or error}.",
                "Check that it is a file and that you may read it.",
            ) from error
        # zipfile fails on hostile input in more ways than it documents.
        except Exception as error:
            raise SessionError(
                f"{self.place} is not a session of VAR Studio, or it is cut short.",
                "Open another copy of it.",
            ) from error
        for member in members:
            if _UNSAFE_NAME.search(member.filename) or member.filename in self._members:
                raise self.damaged("it holds a file under an unsafe or doubled name")
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
                raise self.damaged("it was packed anew by another program, with compression")
            if member.file_size != member.compress_size:
                raise self.damaged("its list of contents is wrong")
            self._members[member.filename] = member
        # Members that share bytes would let a small file hold any amount.
        free = 0
        for member in sorted(members, key=lambda member: member.header_offset):
            if member.header_offset < free:
                raise self.damaged("its files lie over one another")
            free = member.header_offset + 30 + len(member.filename) + member.file_size
        if free > directory:
            raise self.damaged("it is cut short")

    def read(self, name: str, offset: int = 0) -> bytes | None:
        member = self._members.get(name)
        if member is None:
            return None
        with self._lock:
            try:
                content = self._content(member)
            except OSError as error:
                raise SessionError(
                    f"{self.place} cannot be read: {error.strerror}.",
                    "Check that the disk is there, then open the session again.",
                ) from error
        if len(content) != member.file_size or zlib.crc32(content) != member.CRC:
            raise self._wrong(f"{name} has changed since it was written")
        return content[offset:] if offset else content

    def size(self, name: str) -> int | None:
        member = self._members.get(name)
        return None if member is None else member.file_size

    def too_new(self, why: str) -> SessionError:
        return SessionError(
            f"{self.place} was saved by a newer version of VAR Studio: {why}.",
            "Update VAR Studio to open it.",
        )

    def damaged(self, why: str) -> SessionError:
        return SessionError(f"{self.place} is damaged: {clipped(why)}.", "Open another copy of it.")

    def hold(self) -> None:
        """Keep the file open, so that it can be read on after another took its name.

        Not on Windows, where an open file cannot be replaced: there it is closed.
        """
        if os.name == "nt":
            self.close()
            return
        with self._lock:
            self._opened()

    def close(self) -> None:
        with self._lock:
            self._let_go()

    def _content(self, member: zipfile.ZipInfo) -> bytes:
        file = self._opened()
        start = self._starts.get(member.filename)
        if start is None:
            file.seek(member.header_offset)
            header = file.read(30)
            if len(header) != 30 or not header.startswith(_LOCAL_HEADER):
                raise self._wrong("its list of contents is wrong")
            name_length = int.from_bytes(header[26:28], "little")
            extra_length = int.from_bytes(header[28:30], "little")
            start = member.header_offset + 30 + name_length + extra_length
            self._starts[member.filename] = start
        # Asking for a forged size would allocate it first.
        if start + member.file_size > self._identity[0]:
            raise self._wrong("it is cut short")
        if member.file_size > most_bytes(member.filename):
            raise self.damaged(f"{member.filename} is absurdly long")
        file.seek(start)
        return file.read(member.file_size)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            found = os.stat(self.place)
            if not stat.S_ISREG(found.st_mode) or _identity(found) != self._identity:
                raise self._replaced()
            self._file = self.place.open("rb")
            # Not __del__: of what is collected together, the file might be finalized first.
            self._closing = weakref.finalize(self, self._file.close)
            self._closing.atexit = False
        return self._file

    def _let_go(self) -> None:
        if self._file is not None:
            self._file = None
            self._closing()

    def _wrong(self, why: str) -> SessionError:
        """The error for content that is not what the list of contents says."""
        file = self._file
        if file is not None and _identity(os.fstat(file.fileno())) != self._identity:
            # Written over in place, as by `cp`: what is there now may be sound.
            self._let_go()
            return self._replaced()
        return self.damaged(why)

    def _replaced(self) -> SessionError:
        return SessionError(
            f"{self.place} was replaced by another program.", "Open the session again."
        )


def _identity(found: os.stat_result) -> tuple[int, int]:
    """What changes with a file: its size and time of change."""
    return found.st_size, found.st_mtime_ns


class FilesBelow:
    """A folder of another set of files."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder.rstrip("/") + "/"

    @property
    def place(self) -> Path:
        return self._files.place

    def read(self, name: str, offset: int = 0) -> bytes | None:
        return self._files.read(self._folder + name, offset)

    def size(self, name: str) -> int | None:
        return self._files.size(self._folder + name)

    def damaged(self, why: str) -> RecordingError:
        return self._files.damaged(why)

    def too_new(self, why: str) -> RecordingError:
        return self._files.too_new(why)

    def close(self) -> None:
        self._files.close()

    def hold(self) -> None:
        """As `ZipFiles.hold`."""
        if isinstance(self._files, ZipFiles):
            self._files.hold()
