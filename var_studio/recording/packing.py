"""What goes into a session file, piece by piece: how large each is, and how it is written.

Chunks are copied as they are; only where weights are left out (`Content.maps`) is a row decoded
and encoded again.
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np

from var_studio.recording.arrays import ArraySpec, FormatError, dump
from var_studio.recording.content import Content, kept_rows, map_keys
from var_studio.recording.document import LeftOut, token_to_json
from var_studio.recording.failures import SessionError, StoppedError
from var_studio.recording.files import MAX_DIRECTORY_BYTES
from var_studio.recording.reader import RunReader
from var_studio.recording.recording import Recording
from var_studio.recording.store import GROUP, group_metadata

Progress = Callable[[int, int], None]
"""Called with the bytes written so far and their number; what it raises stops the saving."""

_BLOCK: Final = 4 << 20
"""Bytes written at once: how long a Stop waits at most."""
_SAMPLED: Final = 256
"""Rows of a run that are encoded to tell how much leaving weights out saves; more are told by
these, evenly spread."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A member of a session file. `size` in bytes; `read` gives its content when its turn comes."""

    name: str
    size: int
    read: Callable[[], bytes]


def of_bytes(name: str, content: bytes) -> Piece:
    """A piece that is in memory already."""
    return Piece(name, len(content), lambda: content)


def run_pieces(run: Recording, folder: str, called: str, content: Content) -> list[Piece]:
    """A run as a session file holds it in `folder`, under the name `called`.

    Of a run that is not finished: what there was at the last `refresh`. Reads rows only where
    `content` leaves weights out, to tell their size.
    """
    reader = run.reader
    # Another thread may follow a run that goes on: what comes from here on is not saved.
    tokens = reader.tokens
    length = len(tokens)
    rows = [query for query in kept_rows(content, run) if reader.queries[query] < length]
    queries = [reader.queries[query] for query in rows]
    dropped = np.zeros(length, dtype=bool)
    if content.maps:
        kept = map_keys(run)[:length]
        dropped[: len(kept)] = ~kept
    before = reader.document.left_out
    recorded = [position for position in reader.queries if position < length]
    left_out = LeftOut(
        rows=tuple(sorted({*before.rows, *recorded} - set(queries))),
        keys=tuple(sorted({*before.keys, *np.flatnonzero(dropped).tolist()})),
    )
    # What is NaN already is copied as it is.
    dropped[[key for key in before.keys if key < length]] = False
    document = reader.document.model_copy(
        update={
            "name": called,
            "tokens": [token_to_json(token) for token in tokens],
            "query_positions": queries,
            "layout": reader.layout.to_json() if reader.layout.image_sizes else None,
            "n_keys": min(reader.keys_so_far(), length),
            "left_out": left_out,
        }
    )
    pieces = [of_bytes(f"{folder}/{GROUP}", dump(group_metadata(document.to_json())))]
    for whole in reader.specs.values():
        spec = whole.with_length(query=len(rows), key=length)
        pieces.append(of_bytes(f"{folder}/{spec.name}/{GROUP}", dump(spec.metadata())))
        if spec.name == "attention":
            pieces += _rows(reader, spec, folder, rows, dropped)
        else:
            for name in spec.chunk_files():
                size = reader.files.size(name)
                if size is not None:
                    pieces.append(_copied(reader, name, f"{folder}/{name}", size))
    return pieces


def _copied(reader: RunReader, source: str, name: str, size: int) -> Piece:
    return Piece(name, size, lambda: _content(reader, source))


def _content(reader: RunReader, name: str) -> bytes:
    content = reader.files.read(name)
    if content is None:
        raise reader.files.damaged(f"{name} is missing")
    return content


def _rows(
    reader: RunReader, spec: ArraySpec, folder: str, rows: Sequence[int], dropped: Any
) -> list[Piece]:
    """The chunks of the kept rows, numbered anew, without the weights on `dropped` keys (T,)."""
    step = spec.chunks[3]
    pieces: list[Piece] = []
    changed: dict[int, Callable[[], bytes]] = {}
    for number, query in enumerate(rows):
        # A row has weight 0 on the keys after it: that is known.
        seen = np.flatnonzero(dropped[: reader.queries[query] + 1])
        for index in range(-(-spec.shape[3] // step)):
            source = spec.chunk_file(query, 0, 0, index)
            size = reader.files.size(source)
            if size is None:
                if index < reader.chunks_needed(query):
                    raise reader.files.damaged(f"{source} is missing")
                continue
            name = f"{folder}/{spec.chunk_file(number, 0, 0, index)}"
            inside = seen[(seen >= index * step) & (seen < (index + 1) * step)] - index * step
            if len(inside):
                changed[len(pieces)] = _without(reader, spec, source, inside)
                pieces.append(Piece(name, size, changed[len(pieces)]))
            else:
                pieces.append(_copied(reader, source, name, size))
    _tell_sizes(pieces, changed)
    return pieces


def _without(reader: RunReader, spec: ArraySpec, source: str, keys: Any) -> Callable[[], bytes]:
    def encode() -> bytes:
        try:
            chunk = spec.decode(_content(reader, source))
        except FormatError as error:
            raise reader.files.damaged(str(error)) from error
        chunk[..., keys] = np.nan
        return spec.encode(chunk)

    return encode


def _tell_sizes(pieces: list[Piece], changed: dict[int, Callable[[], bytes]]) -> None:
    """Say how large the rows that are encoded anew will be: each, or by a sample of them."""
    numbers = list(changed)
    every = -(-len(numbers) // _SAMPLED)
    sizes = {number: len(changed[number]()) for number in numbers[::every]} if numbers else {}
    whole = sum(pieces[number].size for number in sizes)
    shrinks = sum(sizes.values()) / whole if whole else 1.0
    for number in numbers:
        piece = pieces[number]
        size = sizes.get(number, round(piece.size * shrinks))
        pieces[number] = Piece(piece.name, size, piece.read)


# ------------------------------------------------------------------------------- the zip


def size_of_file(pieces: Iterable[Piece]) -> int:
    """Bytes of the file that `write_file` makes of these pieces."""
    at, directory, count = _extent(pieces)
    limit = zipfile.ZIP64_LIMIT
    end = 22 + (76 if count > 0xFFFF or at > limit or directory > limit else 0)
    return at + directory + end


def check_directory(pieces: Iterable[Piece]) -> None:
    """Raise SessionError for more pieces than a session file is opened with."""
    if _extent(pieces)[1] > MAX_DIRECTORY_BYTES:
        raise SessionError(
            "One session file cannot hold so many rows.",
            "Save some of the runs in another file, or the rows of chosen tokens only.",
        )


def _extent(pieces: Iterable[Piece]) -> tuple[int, int, int]:
    """Bytes of the members, bytes of the list of contents, and the number of pieces."""
    limit, at, directory, count = zipfile.ZIP64_LIMIT, 0, 0, 0
    for piece in pieces:
        name, large = len(piece.name), piece.size > limit
        extra = 8 * (2 * large + (at > limit))
        directory += 46 + name + (4 + extra if extra else 0)
        at += 30 + name + (20 if large else 0) + piece.size
        count += 1
    return at, directory, count


def write_file(
    file: IO[bytes],
    pieces: Sequence[Piece],
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Write an uncompressed zip of the pieces, and wait until it is on the disk.

    Raises StoppedError soon after `cancel` was set, OSError where the disk refuses.
    """
    told = _Told(sum(piece.size for piece in pieces), progress, cancel)
    members, at = [], 0
    for piece in pieces:
        told.check()
        content = memoryview(piece.read())
        # A fixed date: the same session gives the same bytes.
        member = zipfile.ZipInfo(piece.name, (1980, 1, 1, 0, 0, 0))
        member.external_attr = 0o600 << 16
        member.file_size = member.compress_size = len(content)
        member.CRC = zlib.crc32(content)
        member.header_offset = at
        header = member.FileHeader()
        file.write(header)
        for start in range(0, len(content), _BLOCK):
            told.check()
            block = content[start : start + _BLOCK]
            file.write(block)
            told.add(len(block))
        members.append(member)
        at += len(header) + len(content)
    # Only its directory is left to zipfile, which goes back to a member's header once the content
    # is written: that takes twice as long. So does having the disk begin meanwhile.
    with zipfile.ZipFile(file, "w") as archive:
        archive.filelist.extend(members)
    told.check()
    file.flush()
    os.fsync(file.fileno())


class _Told:
    """Tells progress, not too often, and asks whether to stop."""

    def __init__(
        self, total: int, progress: Progress | None, cancel: threading.Event | None
    ) -> None:
        self._total, self._progress, self._cancel = total, progress, cancel
        self._done = self._last = 0
        self._tell()

    def check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise StoppedError("Saving was stopped.", "What was on the disk is unchanged.")

    def add(self, size: int) -> None:
        # Sizes that are told by a sample may be a little short.
        self._done = min(self._done + size, self._total)
        if self._done - self._last >= self._total / 200 or self._done == self._total:
            self._tell()

    def _tell(self) -> None:
        self._last = self._done
        if self._progress is not None:
            self._progress(self._done, self._total)
