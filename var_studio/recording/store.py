"""Writing a run to disk while it goes on, so that a killed program loses no finished token."""

from __future__ import annotations

import contextlib
import datetime
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.recording.arrays import Array, ArraySpec, dump
from var_studio.recording.document import (
    TOP_DIMS,
    ImageEntry,
    RunDocument,
    array_specs,
    plain,
    token_to_json,
)
from var_studio.recording.failures import storage_error
from var_studio.recording.halves import narrow
from var_studio.recording.images import StoredImage
from var_studio.recording.layout import VisualLayout
from var_studio.recording.locks import try_lock
from var_studio.recording.migrations import RUN_SCHEMA
from var_studio.recording.settings import Generation, Intervention
from var_studio.recording.tokens import Exchange, Token

T = TypeVar("T")

GROUP: Final = "zarr.json"
JOURNAL: Final = "journal.jsonl"
"""What a finished run keeps in its attributes, a line at a time: see `RunWriter`."""
_HALF_MAX: Final = float(np.finfo(np.float16).max)


class RunWriter:
    """Appends a run to a Zarr group in its own directory; use it from one thread.

    Every method returns after its bytes are with the operating system, so what was appended
    outlives the process. Tokens and queries go to a journal of JSON lines; `finish` moves them
    to the group's attributes and gives the arrays their final shape. A directory that was never
    finished opens with everything that was appended. Nothing is ever removed here.

    Raises StorageError when the disk refuses; what is on disk stays readable.
    """

    def __init__(self, directory: Path, document: RunDocument) -> None:
        """Use `create`."""
        self.directory = directory
        self.document = document
        longest = document.length_max
        self._specs = array_specs(document, longest, longest)
        self._row = np.zeros(self._row_shape(), document.precision)
        self._row_keys = 0
        self._tokens: list[dict[str, Any]] = []
        self._queries: list[int] = []
        self._layout: dict[str, Any] | None = None
        self._keys_end = 0
        self._journal = -1
        self._journal_end = 0
        # Uncompressed arrays: the file of the chunk that is growing, and which chunk it is.
        self._open_chunks: dict[str, tuple[int, int]] = {}

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        *,
        name: str,
        n_layers: int,
        n_heads: int,
        hidden_size: int,
        length_max: int,
        sink_dims: Sequence[int],
        tau_default: float,
        precision: Literal["float16", "float32"] = "float16",
        generation: Generation | None = None,
        interventions: Sequence[Intervention] = (),
        teacher: str | None = None,
        history: Sequence[Exchange] = (),
        provenance: Mapping[str, Any] | None = None,
        images: Sequence[StoredImage] = (),
    ) -> RunWriter:
        """Begin a run in a directory, which is made if need be and must hold no run yet.

        `length_max` bounds the keys: prompt tokens + max new tokens. `teacher` is the id of the
        run whose answer is scored.
        """
        now = datetime.datetime.now(datetime.UTC)
        document = RunDocument(
            schema=RUN_SCHEMA,
            id=f"{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}",
            name=name,
            created=now.isoformat(timespec="seconds"),
            n_layers=n_layers,
            n_heads=n_heads,
            hidden_size=hidden_size,
            length_max=length_max,
            sink_dims=tuple(int(d) for d in sink_dims),
            tau_default=float(tau_default),
            precision=precision,
            generation=generation or Generation(),
            interventions=tuple(interventions),
            teacher=teacher,
            history=tuple((earlier.question, earlier.answer) for earlier in history),
            provenance=plain(provenance or {}),
            images=tuple(
                ImageEntry(
                    sha256=image.sha256,
                    media_type=image.media_type,
                    name=image.name,
                    note=image.note,
                )
                for image in images
            ),
        )
        writer = cls(Path(directory), document)
        writer._guard("Starting the recording", lambda: writer._begin(images), "No token yet.")
        return writer

    def put_prompt(self, tokens: Sequence[Token], layout: VisualLayout) -> None:
        """Record the tokens of the prompt and where the visual ones lie in the images."""
        if self._tokens:
            raise ValueError("the prompt comes before every other token")
        documents = [self._next(token, index) for index, token in enumerate(tokens)]
        self._log({"tokens": documents, "layout": layout.to_json()})
        self._tokens, self._layout = documents, layout.to_json()

    def append_token(self, token: Token) -> None:
        """Record a token that was generated, or that a further question adds."""
        document = self._next(token, len(self._tokens))
        self._log({"tokens": [document]})
        self._tokens.append(document)

    def append_keys(
        self,
        start: int,
        signed_values: npt.ArrayLike,
        top_dims: npt.ArrayLike,
        top_dims_value: npt.ArrayLike,
        value_norm: npt.ArrayLike,
    ) -> None:
        """Record what n tokens from position `start` on are as keys.

        `signed_values` (L, n, S), `top_dims` and `top_dims_value` (L, n, 16), `value_norm`
        (L, H, n). Keys come in order and without gaps.
        """
        values: dict[str, Array] = {
            "sink_dims_value": np.asarray(signed_values, np.float32),
            "top_dims": np.asarray(top_dims, np.int32),
            "top_dims_value": np.asarray(top_dims_value, np.float32),
            "value_norm": _as_halves(np.asarray(value_norm, np.float32)),
        }
        n = values["value_norm"].shape[-1]
        layers, heads = self.document.n_layers, self.document.n_heads
        expected = {
            "sink_dims_value": (layers, n, len(self.document.sink_dims)),
            "top_dims": (layers, n, TOP_DIMS),
            "top_dims_value": (layers, n, TOP_DIMS),
            "value_norm": (layers, heads, n),
        }
        for name, shape in expected.items():
            if values[name].shape != shape:
                raise ValueError(f"{name} has shape {values[name].shape}, not {shape}")
        if start != self._keys_end or start + n > self.document.length_max:
            raise ValueError(f"keys {start} to {start + n} do not follow key {self._keys_end}")
        self._guard("Recording", lambda: self._write_keys(start, values))
        self._keys_end = start + n

    def append_query(self, position: int, rows: npt.ArrayLike) -> None:
        """Record the attention of the token at `position`: `rows` (L, H, K), K <= length_max."""
        rows = np.asarray(rows)
        layers, heads = self.document.n_layers, self.document.n_heads
        keys = rows.shape[-1]
        if rows.shape != (layers, heads, keys) or keys > self.document.length_max:
            raise ValueError(
                f"rows have shape {rows.shape}, not ({layers}, {heads}, "
                f"1 to {self.document.length_max})"
            )
        if not 0 <= position < len(self._tokens):
            raise ValueError(f"query {position} is no token yet")
        if self._queries and position <= self._queries[-1]:
            raise ValueError(f"query {position} comes after query {self._queries[-1]}")
        self._guard("Recording", lambda: self._write_row(rows, keys))
        self._log({"query": position})
        self._queries.append(int(position))

    def finish(self, reason: str, provenance_update: Mapping[str, Any] | None = None) -> None:
        """End the run: final shapes, everything in the group's attributes, journal removed."""
        self.document = self.document.model_copy(
            update={
                "finished": True,
                "reason": reason,
                "provenance": {**self.document.provenance, **plain(provenance_update or {})},
                "tokens": self._tokens,
                "query_positions": self._queries,
                "layout": self._layout,
                "n_keys": min(self._keys_end, len(self._tokens)),
            }
        )
        self._guard("Finishing the recording", self._end)

    def abandon(self) -> None:
        """Close without finishing: what is on disk stays, as after a crash. Never raises."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        for _, file in self._open_chunks.values():
            os.close(file)
        self._open_chunks.clear()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abandon()

    # ------------------------------------------------------------------------- the disk

    def _begin(self, images: Sequence[StoredImage]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if (self.directory / GROUP).exists():
            raise FileExistsError(None, f"{self.directory} already holds a run")
        for spec in self._specs.values():
            (self.directory / spec.name).mkdir(exist_ok=True)
            self._put(f"{spec.name}/{GROUP}", dump(spec.metadata()))
        for name, content in image_files(images):
            (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
            self._put(name, content)
        path = self.directory / JOURNAL
        self._journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
        try_lock(self._journal)
        # Last: a directory with this file is a run.
        self._put(GROUP, dump(group_metadata(self.document.to_json())))

    def _end(self) -> None:
        lengths = {"query": len(self._queries), "key": len(self._tokens)}
        for spec in self._specs.values():
            self._put(f"{spec.name}/{GROUP}", dump(spec.with_length(**lengths).metadata()))
        self._put(GROUP, dump(group_metadata(self.document.to_json())))
        self.abandon()
        # On Windows a reader may have it open; the group says already that the run is finished.
        with contextlib.suppress(PermissionError):
            (self.directory / JOURNAL).unlink(missing_ok=True)

    def _write_row(self, rows: Array, keys: int) -> None:
        spec = self._specs["attention"]
        row = self._row
        if keys < self._row_keys:
            row[:, :, keys:] = 0
        if row.dtype == np.float16:
            narrow(rows, row[:, :, :keys])
        else:
            row[:, :, :keys] = rows
        self._row_keys = keys
        query, step = len(self._queries), spec.chunks[3]
        if step >= row.shape[2]:
            self._put(spec.chunk_file(query, 0, 0, 0), spec.encode(row[None]))
            return
        # Chunks after the last key are left out: they read as 0.
        for index in range(-(-keys // step)):
            part = row[None, :, :, index * step : (index + 1) * step]
            self._put(spec.chunk_file(query, 0, 0, index), spec.encode(part))

    def _row_shape(self) -> tuple[int, int, int]:
        """A row, padded to whole chunks."""
        _, layers, heads, step = self._specs["attention"].chunks
        return layers, heads, -(-self.document.length_max // step) * step

    def _write_keys(self, start: int, values: Mapping[str, Array]) -> None:
        for name, array in values.items():
            spec = self._specs[name]
            if array.size == 0:
                continue
            axis, block = spec.grows, spec.chunks[spec.grows]
            stored = array.transpose(spec.stored_order)
            at, end = start, start + array.shape[axis]
            while at < end:
                stop = min(end, (at // block + 1) * block)
                self._write_block(spec, at, stored[at - start : stop - start])
                at = stop

    def _write_block(self, spec: ArraySpec, at: int, part: Array) -> None:
        """Write keys from `at` on, which lie in one chunk, growing axis first."""
        number, offset = divmod(at, spec.chunks[spec.grows])
        held, file = self._open_chunks.get(spec.name, (-1, -1))
        if offset == 0 or held != number:
            if file >= 0:
                del self._open_chunks[spec.name]
                os.close(file)
            index = [0] * len(spec.shape)
            index[spec.grows] = number
            name = spec.chunk_file(*index)
            if offset == 0:
                shape = [spec.chunks[axis] for axis in spec.stored_order]
                whole = np.full(shape, spec.fill, spec.dtype)
                whole[: len(part)] = part
                self._put(name, whole.tobytes())
                if len(part) == len(whole):
                    return
            # Kept open: a decode step adds one key to each of these arrays.
            file = os.open(self.directory / name, os.O_WRONLY | _BINARY)
            self._open_chunks[spec.name] = number, file
            if offset == 0:
                return
        os.lseek(file, offset * part[0].nbytes, os.SEEK_SET)
        _write(file, part.tobytes())

    def _put(self, name: str, content: bytes) -> None:
        """Write a file so that it is there in whole or not at all."""
        path = f"{self.directory}{os.sep}{name}"
        file = os.open(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
        try:
            _write(file, content)
        finally:
            os.close(file)
        os.replace(path + "~", path)

    def _log(self, line: dict[str, Any]) -> None:
        content = dump(line) + b"\n"
        self._guard("Recording", lambda: self._append_line(content))

    def _append_line(self, content: bytes) -> None:
        try:
            _write(self._journal, content)
        except OSError:
            # A part of a line would spoil the next one, should there be room again.
            os.ftruncate(self._journal, self._journal_end)
            raise
        self._journal_end += len(content)

    def _next(self, token: Token, position: int) -> dict[str, Any]:
        if token.position != position:
            raise ValueError(f"token {token.position} is not the next one, {position}")
        if position >= self.document.length_max:
            raise ValueError(f"the run was announced with {self.document.length_max} tokens")
        return token_to_json(token)

    def _guard(self, doing: str, step: Callable[[], T], kept: str = "") -> T:
        try:
            return step()
        except OSError as error:
            kept = kept or "What was recorded so far is kept there."
            raise storage_error(f"{doing} to {self.directory}", error, kept) from error


def being_written(directory: Path) -> bool:
    """Whether a program that is alive writes the run in this directory.

    The system drops a writer's lock with the process, however it ends. On a disk without locks a
    run that was never finished counts as left behind.
    """
    try:
        journal = os.open(directory / JOURNAL, os.O_RDWR | _BINARY)
    except OSError:
        return False
    try:
        return try_lock(journal) is False
    finally:
        os.close(journal)


def group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The ``zarr.json`` of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def image_spec(number: int, size: int) -> ArraySpec:
    """An encoded image as an array of bytes in one chunk, whose file is the image itself."""
    return ArraySpec(f"images/{number}", (size,), (size,), "uint8", ("byte",), compressed=False)


def image_files(images: Sequence[StoredImage]) -> list[tuple[str, bytes]]:
    """The files that hold the images, group included, by relative name."""
    if not images:
        return []
    files = [(f"images/{GROUP}", dump(group_metadata({})))]
    for number, image in enumerate(images):
        spec = image_spec(number, len(image.bytes))
        files.append((f"{spec.name}/{GROUP}", dump(spec.metadata())))
        files.append((spec.chunk_file(0), image.bytes))
    return files


def _as_halves(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Norms as float16; of one too large for it, the largest, better than an infinite one."""
    halves = np.empty(values.shape, np.float16)
    narrow(np.minimum(values, _HALF_MAX), halves)
    return halves


_BINARY: Final = getattr(os, "O_BINARY", 0)


def _write(file: int, content: bytes) -> None:
    """Write all of it; a nearly full disk takes a part first."""
    written = os.write(file, content)
    while written < len(content):
        written += os.write(file, content[written:])
