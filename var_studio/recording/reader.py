"""Reading a run's files: its description, the journal of one that grows, its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.recording.arrays import Array, ArraySpec, FormatError, parse, read_spec
from var_studio.recording.document import (
    RunDocument,
    array_specs,
    check_size,
    layout_from_json,
    read_document,
    token_from_json,
)
from var_studio.recording.files import Files
from var_studio.recording.halves import widen
from var_studio.recording.layout import VisualLayout
from var_studio.recording.migrations import NewerSchemaError
from var_studio.recording.plausible import check_chunk
from var_studio.recording.store import GROUP, JOURNAL
from var_studio.recording.tokens import Token


class RunReader:
    """A run as its files tell it, nothing kept of its arrays.

    `document` without what the fields beside it hold: `tokens`, `queries` (their positions),
    `query_at` (query by position), `layout`. Raises RecordingError or SessionError for content
    that is damaged or of a newer version.
    """

    document: RunDocument

    def __init__(self, files: Files) -> None:
        self.files = files
        self.tokens: tuple[Token, ...] = ()
        self.queries: list[int] = []
        self.query_at: dict[int, int] = {}
        self.layout: VisualLayout = layout_from_json(None, 0)
        self._specs: dict[str, ArraySpec] = {}
        # Where to read on in the journal; -1 for a run that does not grow.
        self._offset = -1
        try:
            self._read()
        except NewerSchemaError as error:
            raise files.too_new(str(error)) from error
        except FormatError as error:
            raise files.damaged(str(error)) from error

    @property
    def length(self) -> int:
        return len(self.tokens)

    @property
    def growing(self) -> bool:
        """Whether there is a journal to follow."""
        return self._offset >= 0

    def followed(self) -> RunReader:
        """The run as it is now: this reader, or a new one for a run that has been finished."""
        lines = self.files.read(JOURNAL, self._offset)
        group = self.files.read(GROUP)
        if lines is None or (group is not None and b'"finished":true' in group):
            # `finish` rewrites the group first, then removes the journal.
            return RunReader(self.files)
        self._take_lines(lines)
        return self

    def stay_with(self, files: Files, name: str) -> None:
        """Read the arrays on from another place that holds the same run, finished or not, under the
        name that it has there."""
        self.files, self._offset = files, -1
        if self.document.name != name:
            self.document = self.document.model_copy(update={"name": name})

    # -------------------------------------------------------------------------- arrays

    @property
    def specs(self) -> Mapping[str, ArraySpec]:
        """The run's arrays, by name."""
        return self._specs

    def keys_so_far(self) -> int:
        """Keys recorded, to a chunk where the run goes on: it does not tell."""
        return self._count_keys() if self.growing else self.document.n_keys

    def chunks_needed(self, query: int) -> int:
        """Chunks of a row that must be there: those up to the query's own position. A later one
        that is not there is 0 throughout."""
        return self.queries[query] // self._specs["attention"].chunks[3] + 1

    def row(self, query: int) -> npt.NDArray[np.float32]:
        """Attention of one query, (L, H, T), in an array of its own."""
        spec, length = self._specs["attention"], self.length
        step = spec.chunks[3]
        parts: list[npt.NDArray[np.float32]] = []
        for index in range(max(1, -(-length // step))):
            name = spec.chunk_file(query, 0, 0, index)
            encoded = self.files.read(name)
            n = min(step, length - index * step)
            if encoded is None:
                if index < self.chunks_needed(query):
                    raise self.files.damaged(f"{name} is missing")
                parts.append(np.zeros((*spec.chunks[1:3], n), np.float32))
                continue
            part = self._decoded(spec, encoded)[0, :, :, :n]
            parts.append(widen(part) if part.dtype == np.float16 else np.array(part))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def along_keys(self, name: str) -> Array:
        """A whole array along the keys, in its own data type and shape."""
        spec = self._specs[name].with_length(key=self.length)
        array = np.full(spec.shape, spec.fill, spec.dtype)
        if array.size == 0:
            return array
        grown = np.moveaxis(array, spec.grows, 0)
        step = spec.chunks[spec.grows]
        for index in range(-(-self.length // step)):
            place = [0] * len(spec.shape)
            place[spec.grows] = index
            encoded = self.files.read(spec.chunk_file(*place))
            if encoded is None:
                continue
            part = grown[index * step : (index + 1) * step]
            part[:] = np.moveaxis(self._decoded(spec, encoded), spec.grows, 0)[: len(part)]
        return array

    def _decoded(self, spec: ArraySpec, encoded: bytes) -> Array:
        try:
            chunk = spec.decode(encoded)
            check_chunk(spec.name, chunk)
            return chunk
        except FormatError as error:
            raise self.files.damaged(str(error)) from error

    # -------------------------------------------------------------------- descriptions

    def _read(self) -> None:
        """Read the group, and the journal of a run that is not finished."""
        group = self.files.read(GROUP)
        if group is None:
            raise FormatError("its description is missing")
        document = read_document(parse(group).get("attributes", {}))
        self.document = document
        if not document.finished and self.files.size(JOURNAL) is not None:
            self._offset = 0
            self._specs = self._read_specs()
            self._take_lines(self.files.read(JOURNAL) or b"")
            return
        self._take(document.tokens, document.query_positions, document.layout)
        # Not twice in memory.
        self.document = document.model_copy(
            update={"tokens": [], "query_positions": [], "layout": None}
        )
        if self.queries and self.queries[-1] >= self.length:
            raise FormatError("a query lies after the last token")
        if document.n_keys > self.length:
            raise FormatError("there are more keys than tokens")
        self._check_left_out()
        self._specs = self._read_specs()
        self._check_chunks()

    def _take_lines(self, lines: bytes) -> None:
        """Take the complete lines of the journal from the offset on."""
        complete = lines[: lines.rfind(b"\n") + 1]
        for line in complete.splitlines(keepends=True):
            try:
                entry = parse(line)
                tokens, queries = entry.get("tokens", []), entry.get("query")
                self._take(tokens, [] if queries is None else [queries], entry.get("layout"))
            except FormatError:
                # A disk that lost power: what came before is sound, nothing after is trusted.
                break
            self._offset += len(line)

    def _take(
        self, tokens: Sequence[Any], queries: Sequence[Any], layout: dict[str, Any] | None
    ) -> None:
        """Add tokens, queries and the layout. Raises FormatError."""
        if not isinstance(tokens, list):
            raise FormatError("the tokens are damaged")
        start = len(self.tokens)
        check_size(self.document, start + len(tokens))
        added = tuple(token_from_json(start + i, token) for i, token in enumerate(tokens))
        last = self.queries[-1] if self.queries else -1
        for position in queries:
            if type(position) is not int or position <= last:
                raise FormatError("the queries are not in order")
            last = position
        if layout is not None:
            self.layout = layout_from_json(layout, start + len(added))
        self.tokens += added
        for position in queries:
            self.query_at[position] = len(self.queries)
            self.queries.append(position)

    def _read_specs(self) -> dict[str, ArraySpec]:
        expected = array_specs(self.document, len(self.queries), self.length)
        specs = {}
        for name, spec in expected.items():
            description = self.files.read(f"{name}/{GROUP}")
            if description is None:
                raise FormatError(f"the array {name} is missing")
            document = parse(description)
            specs[name] = read_spec(name, document, spec)
            if self._offset < 0 and document.get("shape") != list(spec.shape):
                raise FormatError(f"the array {name} has another shape than its run")
        return specs

    def _check_left_out(self) -> None:
        left_out = self.document.left_out
        if any(at >= self.length for at in (*left_out.rows, *left_out.keys)):
            raise FormatError("what it left out lies after the last token")
        if not self.query_at.keys().isdisjoint(left_out.rows):
            raise FormatError("it left out rows that are there")

    def _check_chunks(self) -> None:
        """That every chunk is there, so that a damaged file shows when it is opened."""
        for spec in self._specs.values():
            if spec.compressed:
                for query in range(len(self.queries)):
                    for index in range(self.chunks_needed(query)):
                        name = spec.chunk_file(query, 0, 0, index)
                        if self.files.size(name) is None:
                            raise FormatError(f"{name} is missing")
                continue
            for name in spec.with_length(key=self.document.n_keys).chunk_files():
                if self.files.size(name) != spec.chunk_bytes:
                    raise FormatError(f"{name} is missing or has the wrong size")

    def _count_keys(self) -> int:
        """Keys recorded so far, to a chunk; a run that goes on does not tell."""
        spec = self._specs["value_norm"]
        names = spec.with_length(key=self.length).chunk_files()
        chunks = sum(self.files.size(name) is not None for name in names)
        return min(chunks * spec.chunks[spec.grows], self.length)
