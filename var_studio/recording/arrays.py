"""The arrays of a recording as Zarr v3 files: their metadata, and one chunk to and from bytes.

Chunks are encoded and decoded here, without zarr: appending a row must cost microseconds, and a
session must open without reading what it does not show. The format is plain Zarr v3; any
``zarr.open`` reads it.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_CHUNK_BYTES: Final = 1 << 28
"""No chunk of ours comes near; a file that declares more is not believed."""

MAX_VALUES: Final = 1 << 23
"""Values in one description; an answer of 100,000 tokens with ten alternatives each has half."""

# lz4 after a bit shuffle: 32 x 32 heads of 700 keys in float16 take 0.7 ms to encode, 0.5 to decode
# and shrink by 15 %, about what zstd reaches in twice the time.
_COMPRESSION: Final = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0}


_HALF_PAIR: Final = re.compile(r"\\u[dD][89a-fA-F]")


class FormatError(ValueError):
    """Metadata or a chunk that is not what this version writes."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One Zarr array.

    ``compressed`` chunks are written whole. The others have the axis that grows, `grows`, stored
    first: what one more token adds is then contiguous in the file and can be written in place.
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: Literal["float16", "float32", "int32", "uint8"]
    dimensions: tuple[str, ...]
    compressed: bool
    grows: int = 0

    @property
    def fill(self) -> float | int:
        """What a key or row that was never recorded reads as."""
        if self.compressed or self.dtype == "uint8":
            return 0
        return -1 if self.dtype == "int32" else math.nan

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * np.dtype(self.dtype).itemsize

    @property
    def stored_order(self) -> tuple[int, ...]:
        """Axes in the order of the file, the growing one first."""
        return (self.grows, *(axis for axis in range(len(self.shape)) if axis != self.grows))

    def with_length(self, **lengths: int) -> ArraySpec:
        """The same chunks under another shape; lengths by the dimension's name."""
        pairs = zip(self.dimensions, self.shape, strict=True)
        return replace(self, shape=tuple(lengths.get(name, size) for name, size in pairs))

    def chunk_file(self, *index: int) -> str:
        return f"{self.name}/c.{'.'.join(map(str, index))}"

    def chunk_files(self) -> Iterator[str]:
        """The file of every chunk of the shape."""
        grid = (range(-(-n // c)) for n, c in zip(self.shape, self.chunks, strict=True))
        return (self.chunk_file(*index) for index in itertools.product(*grid))

    def metadata(self) -> dict[str, Any]:
        """The array's ``zarr.json``."""
        itemsize = np.dtype(self.dtype).itemsize
        codecs: list[dict[str, Any]] = []
        if self.grows:
            codecs.append(
                {"name": "transpose", "configuration": {"order": list(self.stored_order)}}
            )
        codecs.append(
            {"name": "bytes", "configuration": {"endian": "little"}}
            if itemsize > 1
            else {"name": "bytes"}
        )
        if self.compressed:
            codecs.append(
                {"name": "blosc", "configuration": {"typesize": itemsize, **_COMPRESSION}}
            )
        fill = self.fill
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(self.chunks)},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": "NaN" if math.isnan(fill) else fill,
            "codecs": codecs,
            "attributes": {},
            "dimension_names": list(self.dimensions),
            "storage_transformers": [],
        }

    def encode(self, chunk: Array) -> bytes:
        """A whole chunk, of shape ``chunks``, as the bytes of its file."""
        if self.compressed:
            return bytes(_blosc().encode(np.ascontiguousarray(chunk)))
        return np.ascontiguousarray(chunk.transpose(self.stored_order)).tobytes()

    def decode(self, encoded: bytes) -> Array:
        """The chunk in a file's bytes, of shape ``chunks``. Raises FormatError."""
        if not self.compressed:
            if len(encoded) != self.chunk_bytes:
                raise FormatError(
                    f"a chunk of {self.name} has {len(encoded)} bytes, not {self.chunk_bytes}"
                )
            stored = tuple(self.chunks[axis] for axis in self.stored_order)
            chunk = np.frombuffer(encoded, self.dtype).reshape(stored)
            return chunk.transpose(np.argsort(self.stored_order))
        # A blosc header: 4 bytes of flags, then the sizes of the plain data, a block, the whole.
        # Checked before decoding, so that a forged one cannot ask for memory.
        declared = int.from_bytes(encoded[4:8], "little")
        length = int.from_bytes(encoded[12:16], "little")
        if len(encoded) < 16 or declared != self.chunk_bytes or length != len(encoded):
            raise FormatError(f"a chunk of {self.name} is damaged")
        chunk = np.empty(self.chunks, self.dtype)
        try:
            _blosc().decode(encoded, out=chunk)
        except (RuntimeError, ValueError) as error:
            raise FormatError(f"a chunk of {self.name} is damaged") from error
        return chunk


@functools.cache
def _blosc() -> Any:
    return numcodecs.Blosc("lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)


def read_spec(name: str, document: Mapping[str, Any], expected: ArraySpec) -> ArraySpec:
    """Read a ``zarr.json`` that must describe ``expected``, but for the chunks' length in keys.

    Raises FormatError if it describes anything else, so nothing is ever decoded by a codec, or
    allocated in a size, that only the file asks for.
    """
    try:
        chunks = list(document["chunk_grid"]["configuration"]["chunk_shape"])
        axis = expected.dimensions.index("key")
        keys = chunks[axis]
    except (KeyError, TypeError, IndexError) as error:
        raise FormatError(f"the array {name} is not described") from error
    if type(keys) is not int or keys < 1:
        raise FormatError(f"the array {name} has impossible chunks")
    ours = (*expected.chunks[:axis], keys, *expected.chunks[axis + 1 :])
    spec = replace(expected, chunks=ours)
    if spec.chunk_bytes > MAX_CHUNK_BYTES:
        raise FormatError(f"the array {name} declares chunks of an absurd size")
    metadata = spec.metadata()
    for key in ("zarr_format", "node_type", "data_type", "chunk_grid", "chunk_key_encoding"):
        if document.get(key) != metadata[key]:
            raise FormatError(f"the array {name} is not stored as expected ({key})")
    if document.get("codecs") != metadata["codecs"]:
        raise FormatError(f"the array {name} is not stored as expected (codecs)")
    return spec


def dump(document: Any) -> bytes:
    """A JSON document as bytes; what JSON cannot say (NaN, sets) raises."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def nested_within(value: Any, levels: int) -> bool:
    """Whether a JSON value has no more than so many lists and objects inside one another."""
    level = [value]
    for _ in range(levels + 1):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return True
    return False


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def parse(encoded: bytes) -> dict[str, Any]:
    """A JSON object from untrusted bytes. Raises FormatError."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not JSON")

    if sum(encoded.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise FormatError("a description is absurdly long")
    try:
        text = encoded.decode()
        document = json.loads(text, parse_constant=refuse)
        if _HALF_PAIR.search(text):
            # Half of a surrogate pair can be neither shown nor printed.
            whole = json.dumps(document, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
            document = json.loads(whole.decode("utf-16-le", "replace"))
    except (ValueError, RecursionError) as error:
        raise FormatError("a description is damaged") from error
    if not isinstance(document, dict):
        raise FormatError("a description is damaged")
    return document
