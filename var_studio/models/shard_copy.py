"""Copying weight files under other names, tensors cut along their first axis, without loading them.

A safetensors file is a header and the tensors' bytes one after another, so that renaming a tensor
and cutting rows out of it are copies of byte ranges: any precision, memory of one buffer.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

_BUFFER = 16 << 20

Rows = tuple[tuple[int, int], ...]
"""Half-open ranges along the first axis of a tensor."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a weight file: safetensors' name of its type, shape, and where its bytes are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor to write: rows of a stored one in the order given; `rows` None: all of it."""

    name: str
    source: Stored
    rows: Rows | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor to write."""
        if self.rows is None:
            return self.source.shape
        return (sum(stop - start for start, stop in self.rows), *self.source.shape[1:])

    @property
    def size(self) -> int:
        """Bytes of the tensor to write."""
        return sum(stop - start for start, stop in self.ranges())

    def ranges(self) -> list[tuple[int, int]]:
        """The byte ranges of the source file that it is put together from."""
        if self.rows is None:
            return [(self.source.start, self.source.stop)]
        row = (self.source.stop - self.source.start) // self.source.shape[0]
        begin = self.source.start
        return [(begin + start * row, begin + stop * row) for start, stop in self.rows]


def read_header(shard: Path) -> list[Stored]:
    """The tensors of a weight file in the order of their bytes."""
    with shard.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header: dict[str, Any] = json.loads(file.read(length))
    begin = 8 + length
    tensors = [
        Stored(
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            *(begin + offset for offset in entry["data_offsets"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    return sorted(tensors, key=lambda tensor: tensor.start)


def write_shard(
    source: Path, target: Path, parts: Sequence[Part], on_bytes: Callable[[int], None]
) -> None:
    """Write `parts` of the file `source` as the weight file `target`, on the disk when it returns.

    `on_bytes(n)` follows each buffer written and may raise to stop. Raises OSError.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for part in parts:
        assert prod(part.shape) * (part.source.stop - part.source.start) == part.size * prod(
            part.source.shape
        )
        entry = {"dtype": part.source.dtype, "shape": list(part.shape)}
        header[part.name] = {**entry, "data_offsets": [offset, offset + part.size]}
        offset += part.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as reader, target.open("xb") as writer:
        writer.write(struct.pack("<Q", len(text)) + text)
        for part in parts:
            for start, stop in part.ranges():
                _copy(reader, writer, start, stop, on_bytes)
        writer.flush()
        os.fsync(writer.fileno())


def _copy(
    reader: BinaryIO, writer: BinaryIO, start: int, stop: int, on_bytes: Callable[[int], None]
) -> None:
    reader.seek(start)
    left = stop - start
    while left:
        block = reader.read(min(left, _BUFFER))
        if not block:
            raise OSError(f"{reader.name} ended {left} bytes early")
        writer.write(block)
        left -= len(block)
        on_bytes(len(block))
