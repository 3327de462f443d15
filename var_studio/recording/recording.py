"""What a run left behind, read lazily: tokens, layout, attention, phi, value norms."""

from __future__ import annotations

import operator
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.method import contribution as contribution_method
from var_studio.method import sinks as sinks_method
from var_studio.recording import apply
from var_studio.recording.arrays import Array, ArraySpec, FormatError, dump, parse, read_spec
from var_studio.recording.document import (
    ImageEntry,
    RunDocument,
    array_specs,
    check_size,
    layout_from_json,
    read_document,
    token_from_json,
    token_to_json,
)
from var_studio.recording.failures import RecordingError, storage_error
from var_studio.recording.files import Files, FilesBelow, FolderFiles
from var_studio.recording.halves import widen
from var_studio.recording.images import StoredImage, decode
from var_studio.recording.layout import VisualLayout
from var_studio.recording.migrations import NewerSchemaError
from var_studio.recording.settings import Convention, Generation, Intervention, Redistribution
from var_studio.recording.store import GROUP, JOURNAL, group_metadata
from var_studio.recording.tokens import Token

if TYPE_CHECKING:
    from PIL import Image

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

_CACHE_BYTES: Final = 96 << 20
"""Decoded queries kept: 33 of 32 x 32 heads of 700 keys."""

ImageBytes = Callable[[int, ImageEntry], bytes | None]
"""How a recording finds the encoded bytes of its image number i."""


class Recording:
    """A run: read-only, lazy, from a directory (even while it grows) or from a session file.

    Indices count from 0: layer, head, position in the sequence, and `query`, which indexes
    `query_positions`. T is `length`; keys after a query have attention 0. A token that was never
    fed back into the model has NaN phi, and no query. Arrays that are returned are read-only.
    Methods may be called from several threads; `refresh` and `close` from the one that owns it.

    Raises RecordingError for an index out of range and for content that is damaged.
    """

    def __init__(self, files: Files, image_bytes: ImageBytes | None = None) -> None:
        """Read a run's description; `Recording.open` is the ordinary way for a directory."""
        self._files = files
        self._image_bytes = image_bytes or self._own_image_bytes
        self._lock = threading.RLock()
        self._rows: OrderedDict[int, Floats] = OrderedDict()
        self._keyed: dict[str, Array] = {}
        self._images: dict[int, Image.Image] = {}
        self._read()

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Recording:
        """Open the run in a directory: finished, growing, or left by a killed program."""
        folder = Path(directory)
        if not (folder / GROUP).is_file():
            raise RecordingError(
                f"There is no recording in {folder}.", "Choose the folder of a run."
            )
        return cls(FolderFiles(folder))

    def refresh(self) -> bool:
        """Pick up what a growing run has added. Returns whether there was anything new."""
        if self._offset < 0:
            return False
        before = (self.length, len(self._queries), self.finished)
        with self._lock:
            self._follow_journal()
            # What was read is as long as the run was then, and keys may have been filled in.
            self._rows.clear()
            self._keyed.clear()
        return before != (self.length, len(self._queries), self.finished)

    def close(self) -> None:
        """Let go of memory and open files. The files themselves stay."""
        with self._lock:
            self._rows.clear()
            self._keyed.clear()
            self._images.clear()
            self._files.close()

    def discard(self) -> None:
        """Remove the run's own directory for good. Raises RecordingError inside a session file."""
        if not isinstance(self._files, FolderFiles):
            raise RecordingError(
                f"This run is part of {self.path}.", "Take it out of the session instead."
            )
        self.close()
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(f"Removing {self.path}", error) from error

    def __repr__(self) -> str:
        state = self.reason if self.finished else "unfinished"
        return (
            f"<Recording {self.name!r}: {self.length} tokens, {len(self._queries)} queries, "
            f"{self.n_layers} layers × {self.n_heads} heads, {state}>"
        )

    # ------------------------------------------------------------------ what the run was

    @property
    def path(self) -> Path:
        """The run's directory, or the session file it is in."""
        return self._files.place

    @property
    def in_directory(self) -> bool:
        """Whether the run lies in a directory of its own, not in a session file."""
        return isinstance(self._files, FolderFiles)

    @property
    def id(self) -> str:
        return self._document.id

    @property
    def name(self) -> str:
        return self._document.name

    @property
    def n_layers(self) -> int:
        return self._document.n_layers

    @property
    def n_heads(self) -> int:
        return self._document.n_heads

    @property
    def hidden_size(self) -> int:
        """D: phi is at most its square root."""
        return self._document.hidden_size

    @property
    def sink_dims(self) -> tuple[int, ...]:
        return self._document.sink_dims

    @property
    def tau_default(self) -> float:
        return self._document.tau_default

    @property
    def precision(self) -> str:
        """Data type in which attention is stored."""
        return self._document.precision

    @property
    def generation(self) -> Generation:
        return self._document.generation

    @property
    def intervention(self) -> Intervention | None:
        """What was done to the model during the run; None for a baseline."""
        return self._document.intervention

    @property
    def provenance(self) -> dict[str, Any]:
        return dict(self._document.provenance)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; False while it grows and after a crash."""
        return self._document.finished

    @property
    def growing(self) -> bool:
        """Whether `refresh` may find more: a run that goes on, or that a crash cut off."""
        return self._offset >= 0

    @property
    def reason(self) -> str | None:
        """Why it ended: "end", "length" or "cancelled"; None where it did not."""
        return self._document.reason

    # ------------------------------------------------------------------------- sequence

    @property
    def tokens(self) -> tuple[Token, ...]:
        return self._tokens

    @property
    def length(self) -> int:
        """T: tokens in the sequence."""
        return len(self._tokens)

    @property
    def layout(self) -> VisualLayout:
        """Where visual tokens lie in the images."""
        return self._layout

    @property
    def visual(self) -> Bools:
        """(T,) bool: image patches."""
        return _frozen(self._layout.mask(self.length))

    @property
    def generated_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the answer's tokens."""
        found = [t.position for t in self._tokens if t.role == "generated"]
        return _frozen(np.array(found, dtype=np.int64))

    @property
    def prompt_length(self) -> int:
        """Tokens before the first generated one."""
        return next((t.position for t in self._tokens if t.role == "generated"), self.length)

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(t.text for t in self._tokens if t.role == "generated" and not t.special)

    @property
    def query_positions(self) -> npt.NDArray[np.int64]:
        """(Q,) positions of the tokens whose attention is recorded, ascending."""
        return _frozen(np.array(self._queries, dtype=np.int64))

    def query_of(self, position: int) -> int | None:
        """The query of the token at a position; None where no row was recorded."""
        return self._query_at.get(operator.index(position))

    # --------------------------------------------------------------------------- arrays

    def attention(self, query: int, layer: int | None = None, head: int | None = None) -> Floats:
        """Attention weights as the model computed them, before any redistribution.

        (L, H, T) float32; (H, T), (L, T) or (T,) for one layer, head or both.
        """
        query = self._checked("query", query, len(self._queries))
        return self._pick(self._row(query), layer, head)

    def redistributed(
        self,
        query: int,
        settings: Redistribution | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> Floats:
        """The same row after redistribution under settings (Eq. 4); shapes as `attention`.

        Computed from the recorded row, without the model. Rows of tokens before the image are
        never recorded, so every row is a text query.
        """
        settings = settings or Redistribution()
        rows = self.attention(query)[:, :, None, :]
        sinks = self._sinks_under(settings)
        moved = apply.redistribute_rows(rows, self.visual, sinks, settings, self.n_layers)
        return self._pick(_frozen(moved[:, :, 0, :].astype(np.float32, copy=False)), layer, head)

    def image_centric(self, query: int, settings: Redistribution | None = None) -> Bools:
        """Heads that look at the image for this query, (L, H) bool, in all layers (Sec. 5.1)."""
        settings = settings or Redistribution()
        rows = self.attention(query)[:, :, None, :]
        sinks = self._sinks_under(settings)
        found = apply.image_centric_heads(rows, self.visual, sinks, settings)
        return _frozen(found[:, :, 0])

    def phi(self, layer: int | None = None, sink_dims: Sequence[int] | None = None) -> Floats:
        """Sink-dimension value of every token as a key, (L, T) or (T,) float32 (Sec. 4.1).

        NaN for a token that was never fed. Under other `sink_dims` than the run's, exact where
        the largest of them is among the recorded dimensions of that token and layer, NaN
        elsewhere: it is then below the 16th largest, as a rule far below any tau.

        Raises RecordingError for a dimension that was recorded nowhere.
        """
        wanted = self.sink_dims if sink_dims is None else tuple(sink_dims)
        name = f"phi of {wanted}"
        with self._lock:
            phi = self._keyed.get(name)
            if phi is None:
                phi = _frozen(self._phi(wanted))
                self._keyed[name] = phi
        return self._pick(phi, layer)

    @property
    def signed_values(self) -> Floats:
        """x[d] / rms(x) for d in `sink_dims`, with its sign: (L, T, n) float32."""
        values: Floats = self._by_key("sink_dims_value")
        return values

    def top_dims(self) -> tuple[npt.NDArray[np.int32], Floats]:
        """The largest hidden dimensions of each token: which (L, T, 16), and x[d] / rms(x)."""
        return self._by_key("top_dims"), self._by_key("top_dims_value")

    def sinks(
        self,
        layer: int | None = None,
        tau: float | None = None,
        convention: Convention = "paper",
        sink_dims: Sequence[int] | None = None,
    ) -> Bools:
        """Sink tokens, (L, T) or (T,) bool; `tau` None is the run's default (Sec. 4.1)."""
        masks = apply.sink_masks(
            self.phi(sink_dims=sink_dims),
            self.tau_default if tau is None else tau,
            prompt_length=self.prompt_length,
            convention=convention,
        )
        return self._pick(_frozen(masks), layer)

    def value_norm(self, layer: int | None = None, head: int | None = None) -> Floats:
        """norm(v W_O) of every key, (L, H, T) float32 or less (App. D.3)."""
        with self._lock:
            norm = self._keyed.get("value_norm as float32")
            if norm is None:
                norm = _frozen(widen(self._by_key("value_norm")))
                self._keyed["value_norm as float32"] = norm
        return self._pick(norm, layer, head)

    def contribution(self, query: int, layer: int | None = None, head: int | None = None) -> Floats:
        """Attention contributions, attention × value norm; shapes as `attention` (Sec. 4.2)."""
        rows = self.attention(query)[:, :, None, :]
        with apply.unwarned():
            found = contribution_method.contribution(rows, self.value_norm())
        return self._pick(_frozen(np.asarray(found)[:, :, 0, :]), layer, head)

    def prefetch(self, queries: Sequence[int]) -> None:
        """Decode rows that will be asked for soon, e.g. from an idle thread; ignores others."""
        for query in queries:
            if 0 <= query < len(self._queries):
                self._row(query)

    # --------------------------------------------------------------------------- images

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images of the prompt, decoded to RGB."""
        return tuple(self.image(index) for index in range(len(self._document.images)))

    def image(self, index: int = 0) -> Image.Image:
        """An image of the prompt, decoded to RGB once; a shared object, not to be drawn on."""
        index = self._checked("image", index, len(self._document.images))
        with self._lock:
            if index not in self._images:
                self._images[index] = decode(self.stored_image(index))
            return self._images[index]

    def stored_image(self, index: int = 0) -> StoredImage:
        """An image as it was given, encoded."""
        index = self._checked("image", index, len(self._document.images))
        entry = self._document.images[index]
        encoded = self._image_bytes(index, entry)
        if encoded is None:
            raise self._files.damaged(f"the image {entry.name} is missing")
        return StoredImage(encoded, entry.media_type, entry.sha256, entry.name, entry.note)

    @property
    def image_entries(self) -> tuple[ImageEntry, ...]:
        """What is known of the images without reading them."""
        return self._document.images

    # -------------------------------------------------------------------------- packing

    def packed_files(self) -> Iterator[tuple[str, bytes]]:
        """The run as a session file holds it, by name below its group; images are kept apart.

        Of a run that is not finished: what there was at the last `refresh`.
        """
        document = self._document.model_copy(
            update={
                "tokens": [token_to_json(token) for token in self._tokens],
                "query_positions": list(self._queries),
                "layout": self._layout.to_json() if self._layout.image_sizes else None,
                "n_keys": self._count_keys() if self.growing else self._document.n_keys,
            }
        )
        lengths = {"query": len(self._queries), "key": self.length}
        specs = [spec.with_length(**lengths) for spec in self._specs.values()]
        yield GROUP, dump(group_metadata(document.to_json()))
        for spec in specs:
            yield f"{spec.name}/{GROUP}", dump(spec.metadata())
            for name in spec.chunk_files():
                content = self._files.read(name)
                if content is not None:
                    yield name, content

    def reads_from(self, path: Path) -> bool:
        """Whether this run lies in that session file."""
        try:
            return not self.in_directory and self.path.samefile(path)
        except OSError:
            return False

    def hold(self) -> None:
        """Before the session file that this run lies in is replaced: see `ZipFiles.hold`."""
        if isinstance(self._files, FilesBelow):
            self._files.hold()

    def move_to(self, files: Files, image_bytes: ImageBytes) -> None:
        """Read on from another place that holds the same run."""
        with self._lock:
            self._files, self._image_bytes, self._offset = files, image_bytes, -1

    # -------------------------------------------------------------------------- reading

    def _read(self) -> None:
        """Read the group, and the journal of a run that is not finished."""
        try:
            group = self._files.read(GROUP)
            if group is None:
                raise FormatError("its description is missing")
            document = read_document(parse(group).get("attributes", {}))
            self._document: RunDocument = document
            self._tokens: tuple[Token, ...] = ()
            self._queries: list[int] = []
            self._query_at: dict[int, int] = {}
            self._layout: VisualLayout = layout_from_json(None, 0)
            # Where to read on in the journal; -1 for a run that does not grow.
            self._offset = -1
            if not document.finished and self._files.size(JOURNAL) is not None:
                self._offset = 0
                self._specs = self._read_specs()
                self._follow_journal()
                return
            self._take(document.tokens, document.query_positions, document.layout)
            # Not twice in memory.
            self._document = document.model_copy(
                update={"tokens": [], "query_positions": [], "layout": None}
            )
            if self._queries and self._queries[-1] >= self.length:
                raise FormatError("a query lies after the last token")
            if document.n_keys > self.length:
                raise FormatError("there are more keys than tokens")
            self._specs = self._read_specs()
            self._check_chunks()
        except NewerSchemaError as error:
            raise self._files.too_new(str(error)) from error
        except FormatError as error:
            raise self._files.damaged(str(error)) from error

    def _follow_journal(self) -> None:
        lines = self._files.read(JOURNAL, self._offset)
        group = self._files.read(GROUP)
        if lines is None or (group is not None and b'"finished":true' in group):
            # `finish` rewrites the group first, then removes the journal.
            self._read()
            return
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
        start = len(self._tokens)
        check_size(self._document, start + len(tokens))
        added = tuple(token_from_json(start + i, token) for i, token in enumerate(tokens))
        last = self._queries[-1] if self._queries else -1
        for position in queries:
            if type(position) is not int or position <= last:
                raise FormatError("the queries are not in order")
            last = position
        if layout is not None:
            self._layout = layout_from_json(layout, start + len(added))
        self._tokens += added
        for position in queries:
            self._query_at[position] = len(self._queries)
            self._queries.append(position)

    def _read_specs(self) -> dict[str, ArraySpec]:
        expected = array_specs(self._document, len(self._queries), self.length)
        specs = {}
        for name, spec in expected.items():
            description = self._files.read(f"{name}/{GROUP}")
            if description is None:
                raise FormatError(f"the array {name} is missing")
            document = parse(description)
            specs[name] = read_spec(name, document, spec)
            if self._offset < 0 and document.get("shape") != list(spec.shape):
                raise FormatError(f"the array {name} has another shape than its run")
        return specs

    def _check_chunks(self) -> None:
        """That every chunk is there, so that a damaged file shows when it is opened."""
        for spec in self._specs.values():
            if spec.compressed:
                for query in range(len(self._queries)):
                    name = spec.chunk_file(query, 0, 0, 0)
                    if self._files.size(name) is None:
                        raise FormatError(f"{name} is missing")
                continue
            for name in spec.with_length(key=self._document.n_keys).chunk_files():
                if self._files.size(name) != spec.chunk_bytes:
                    raise FormatError(f"{name} is missing or has the wrong size")

    def _count_keys(self) -> int:
        """Keys recorded so far, to a chunk; a run that goes on does not tell."""
        spec = self._specs["value_norm"]
        names = spec.with_length(key=self.length).chunk_files()
        chunks = sum(self._files.size(name) is not None for name in names)
        return min(chunks * spec.chunks[spec.grows], self.length)

    def _row(self, query: int) -> Floats:
        """(L, H, T) float32 of one query, from the cache or the disk."""
        with self._lock:
            row = self._rows.get(query)
            if row is not None:
                self._rows.move_to_end(query)
                return row
            row = _frozen(self._decode_row(query))
            self._rows[query] = row
            while len(self._rows) > max(1, _CACHE_BYTES // max(row.nbytes, 1)):
                self._rows.popitem(last=False)
            return row

    def _decode_row(self, query: int) -> Floats:
        spec, length = self._specs["attention"], self.length
        step = spec.chunks[3]
        parts: list[Floats] = []
        for index in range(max(1, -(-length // step))):
            name = spec.chunk_file(query, 0, 0, index)
            encoded = self._files.read(name)
            n = min(step, length - index * step)
            if encoded is None:
                if index == 0:
                    raise self._files.damaged(f"{name} is missing")
                parts.append(np.zeros((self.n_layers, self.n_heads, n), np.float32))
                continue
            part = self._decoded(spec, encoded)[0, :, :, :n]
            parts.append(widen(part) if part.dtype == np.float16 else np.array(part))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _by_key(self, name: str) -> Any:
        """A whole array along the keys, in its own data type and shape."""
        with self._lock:
            array = self._keyed.get(name)
            if array is None:
                array = _frozen(self._decode_keys(self._specs[name]))
                self._keyed[name] = array
            return array

    def _decode_keys(self, spec: ArraySpec) -> Array:
        spec = spec.with_length(key=self.length)
        array = np.full(spec.shape, spec.fill, spec.dtype)
        if array.size == 0:
            return array
        grown = np.moveaxis(array, spec.grows, 0)
        step = spec.chunks[spec.grows]
        for index in range(-(-self.length // step)):
            place = [0] * len(spec.shape)
            place[spec.grows] = index
            encoded = self._files.read(spec.chunk_file(*place))
            if encoded is None:
                continue
            part = grown[index * step : (index + 1) * step]
            part[:] = np.moveaxis(self._decoded(spec, encoded), spec.grows, 0)[: len(part)]
        return array

    def _decoded(self, spec: ArraySpec, encoded: bytes) -> Array:
        try:
            return spec.decode(encoded)
        except FormatError as error:
            raise self._files.damaged(str(error)) from error

    def _phi(self, wanted: tuple[int, ...]) -> Floats:
        if wanted == self.sink_dims:
            return np.asarray(sinks_method.phi_from_values(self.signed_values))
        if not wanted:
            raise RecordingError("There are no sink dimensions.", "Name at least one.")
        known = np.full((self.n_layers, self.length), np.nan, np.float32)
        dims, values = self.top_dims()
        sizes = np.abs(values)
        for dim in wanted:
            if dim in self.sink_dims:
                found = np.abs(self.signed_values[..., self.sink_dims.index(dim)])
            else:
                here = dims == dim
                if not here.any():
                    raise RecordingError(
                        f"Dimension {dim} was recorded for no token.",
                        "Choose among the recorded ones, or run again with these sink dimensions.",
                    )
                found = np.where(here, sizes, np.nan)
                found = np.fmax.reduce(found, axis=-1)
            known = np.fmax(known, found)
        if set(wanted) <= set(self.sink_dims):
            return known
        # A dimension that is not among the largest 16 cannot exceed the least of them.
        known[known < sizes.min(axis=-1)] = np.nan
        return known

    def _sinks_under(self, settings: Redistribution) -> Bools:
        return self.sinks(
            tau=settings.tau, convention=settings.convention, sink_dims=settings.sink_dims
        )

    def _own_image_bytes(self, index: int, entry: ImageEntry) -> bytes | None:
        return self._files.read(f"images/{index}/c.0")

    def _pick(
        self, array: npt.NDArray[Scalar], layer: int | None, head: int | None = None
    ) -> npt.NDArray[Scalar]:
        """One layer and head of (L, H, ...); views stay read-only."""
        if head is not None:
            array = array[:, self._checked("head", head, self.n_heads)]
        if layer is not None:
            array = array[self._checked("layer", layer, self.n_layers)]
        return array

    @staticmethod
    def _checked(what: str, index: int, count: int) -> int:
        try:
            index = operator.index(index)
        except TypeError:
            raise RecordingError(f"A {what} is a whole number, not {index!r}.") from None
        if 0 <= index < count:
            return index
        if count == 0:
            raise RecordingError(f"There is no {what} {index}: the run has none.")
        raise RecordingError(f"There is no {what} {index}.", f"It goes from 0 to {count - 1}.")


def _frozen(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    array.flags.writeable = False
    return array
