"""What a run left behind, read lazily: tokens, layout, attention, phi, value norms."""

from __future__ import annotations

import hashlib
import operator
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.method import contribution as contribution_method
from var_studio.method import sinks as sinks_method
from var_studio.recording import apply
from var_studio.recording.arrays import Array
from var_studio.recording.document import ImageEntry
from var_studio.recording.facts import RunFacts
from var_studio.recording.failures import LeftOutError, RecordingError, storage_error
from var_studio.recording.files import Files, FilesBelow, FolderFiles
from var_studio.recording.halves import widen
from var_studio.recording.images import StoredImage, decode
from var_studio.recording.interventions import interventions_from
from var_studio.recording.layout import VisualLayout
from var_studio.recording.questions import check_sinks, checked_dims, checked_index, phi_under
from var_studio.recording.reader import RunReader
from var_studio.recording.settings import (
    AttentionIntervention,
    Convention,
    Intervention,
    Redistribution,
    settled,
)
from var_studio.recording.store import GROUP
from var_studio.recording.tokens import Exchange, Token

if TYPE_CHECKING:
    from PIL import Image

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

_CACHE_BYTES: Final = 96 << 20
"""Decoded queries kept: 33 of 32 x 32 heads of 700 keys."""

ImageBytes = Callable[[int, ImageEntry], bytes | None]
"""How a recording finds the encoded bytes of its image number i."""


class Recording(RunFacts):
    """A run: read-only, lazy, from a directory (even while it grows) or from a session file.

    Indices count from 0: layer, head, position in the sequence, and `query`, which indexes
    `query_positions`. T is `length`; keys that a query does not see have attention 0. A token that
    was never fed back into the model has NaN phi, and no query. Returned arrays are read-only.
    Methods may be called from several threads; `refresh` and `close` from the one that owns it.
    As a context manager it closes at the end.

    A run lies in a directory of its own (`path`) until it is saved: `record` makes it in the
    user's cache, unless told where, and nothing removes it by itself. `save_session` copies it
    into a session file; `discard` removes the directory then, or without having saved it.

    Raises RecordingError for an index out of range and for content that is damaged, SettingsError
    for settings that mean nothing.
    """

    def __init__(self, files: Files, image_bytes: ImageBytes | None = None) -> None:
        """Read a run's description; `Recording.open` is the ordinary way for a directory."""
        self._reader = RunReader(files)
        self._image_bytes = image_bytes or (
            lambda index, _: self._reader.files.read(f"images/{index}/c.0")
        )
        self._lock = threading.RLock()
        self._rows: OrderedDict[int, Floats] = OrderedDict()
        self._keyed: dict[str, Array] = {}
        self._images: dict[int, Image.Image] = {}

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Self:
        """Open the run in a directory: finished, growing, or left by a killed program."""
        folder = Path(directory)
        if not (folder / GROUP).is_file():
            raise RecordingError(
                f"There is no recording in {folder}.", "Choose the folder of a run."
            )
        return cls(FolderFiles(folder))

    def refresh(self) -> bool:
        """Pick up what a growing run has added. Returns whether there was anything new."""
        if not self.growing:
            return False
        before = (self.length, len(self._reader.queries), self.finished)
        with self._lock:
            self._reader = self._reader.followed()
            # What was read is as long as the run was then, and keys may have been filled in.
            self._rows.clear()
            self._keyed.clear()
        return before != (self.length, len(self._reader.queries), self.finished)

    def close(self) -> None:
        """Let go of memory and open files. The files themselves stay."""
        with self._lock:
            self._rows.clear()
            self._keyed.clear()
            self._images.clear()
            self._reader.files.close()

    def discard(self) -> None:
        """Remove the run's own directory for good; what `save_session` saved of it stays.

        This object reads nothing any more: open the session file. Raises RecordingError for a run
        inside a session file.
        """
        if not isinstance(self._reader.files, FolderFiles):
            raise RecordingError(
                f"This run is part of {self.path}.", "Take it out of the session instead."
            )
        self.close()
        try:
            # First what makes it a run, so that a kill leaves none that is damaged.
            (self.path / GROUP).unlink(missing_ok=True)
            shutil.rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(f"Removing {self.path}", error) from error

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        from var_studio.recording.html import recording_html

        return recording_html(self)

    def __repr__(self) -> str:
        state = self.reason if self.finished else "unfinished"
        return (
            f"<Recording {self.name!r}: {self.length} tokens, {len(self._reader.queries)} queries, "
            f"{self.n_layers} layers × {self.n_heads} heads, {state}>"
        )

    # ------------------------------------------------------------------------- sequence

    @property
    def tokens(self) -> tuple[Token, ...]:
        return self._reader.tokens

    @property
    def length(self) -> int:
        """T: tokens in the sequence."""
        return len(self._reader.tokens)

    @property
    def layout(self) -> VisualLayout:
        """Where visual tokens lie in the images."""
        return self._reader.layout

    @property
    def visual(self) -> Bools:
        """(T,) bool: image patches."""
        with self._lock:
            mask = self._keyed.get("visual")
            if mask is None:
                mask = _frozen(self._reader.layout.mask(self.length))
                self._keyed["visual"] = mask
            return mask

    @property
    def generated_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the answer's tokens."""
        found = [t.position for t in self._reader.tokens if t.role == "generated"]
        return _frozen(np.array(found, dtype=np.int64))

    @property
    def prompt_length(self) -> int:
        """Tokens before the first generated one."""
        return next((t.position for t in self._reader.tokens if t.role == "generated"), self.length)

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(
            t.text for t in self._reader.tokens if t.role == "generated" and not t.special
        )

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The questions up to this one with their answers, this one's last: for `history`."""
        document = self._reader.document
        earlier = [Exchange(question, answer) for question, answer in document.history]
        return (*earlier, Exchange(str(document.provenance.get("prompt", "")), self.text))

    @property
    def query_positions(self) -> npt.NDArray[np.int64]:
        """(Q,) positions of the tokens whose attention is recorded, ascending."""
        return _frozen(np.array(self._reader.queries, dtype=np.int64))

    def query_of(self, position: int) -> int | None:
        """The query of the token at a position; None where no row was recorded."""
        return self._reader.query_at.get(operator.index(position))

    @property
    def keys_left_out(self) -> Bools | None:
        """(T,) bool: text tokens on which rows have weights that were recorded, but not saved, and
        are NaN; None where all were saved. See `content.Content`."""
        with self._lock:
            mask = self._keyed.get("keys_left_out")
            keys = self.left_out.keys
            if mask is None and keys:
                mask = np.zeros(self.length, dtype=bool)
                mask[list(keys)] = True
                self._keyed["keys_left_out"] = _frozen(mask)
            return mask

    def unknown_keys(self, query: int) -> Bools | None:
        """(T,) bool: those of `keys_left_out` that this row sees; None where it sees none."""
        left_out = self.keys_left_out
        if left_out is None:
            return None
        position = self._reader.queries[checked_index("query", query, len(self._reader.queries))]
        seen = left_out & (np.arange(self.length) <= position)
        return seen if seen.any() else None

    # --------------------------------------------------------------------------- arrays

    def attention(
        self,
        query: int,
        layer: int | None = None,
        head: int | None = None,
        *,
        keep: bool = True,
    ) -> Floats:
        """Attention weights as the model computed them, before any redistribution.

        (L, H, T) float32; (H, T), (L, T) or (T,) for one layer, head or both. NaN on
        `keys_left_out`. `keep` False: a pass over all rows, which must not push out those that
        are looked at.
        """
        query = checked_index("query", query, len(self._reader.queries))
        return self._pick(self._row(query, keep), layer, head)

    def redistributed(
        self,
        query: int,
        settings: Redistribution | Mapping[str, Any] | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> Floats:
        """The same row after redistribution under settings (Eq. 4); shapes as `attention`.

        `settings` None: the run's own redistribution, else the defaults. Computed from the
        recorded row, without the model. Rows of tokens before the image are never recorded, so
        every row is a text query.
        """
        return self.intervened(query, self._settings(settings), layer, head)

    def intervened(
        self,
        query: int,
        interventions: Intervention | Mapping[str, Any] | Sequence[Any] | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> Floats:
        """The same row after interventions in attention; shapes as `attention`.

        `interventions` None: the run's own, so that this is what the model went on with (of a
        baseline, the row as it is); else settings, a dict of them with their `kind`, or a list of
        these. Computed from the recorded row, without the model. Contrast leaves attention alone.
        NaN where it depends on weights that were left out of the session.
        """
        wanted = self.interventions if interventions is None else interventions_from(interventions)
        rows = self.attention(query)[:, :, None, :]
        changed = apply.rows_after(
            rows,
            wanted,
            visual=self.visual,
            sinks=self.sinks_under,
            visual_positions=self.layout.positions.tolist(),
            queries=[self._reader.queries[query]],
            unknown=self.unknown_keys(query),
        )
        return self._pick(_frozen(changed[:, :, 0, :].astype(np.float32)), layer, head)

    def image_centric(
        self, query: int, settings: Redistribution | Mapping[str, Any] | None = None
    ) -> Bools:
        """Heads that look at the image for this query, (L, H) bool, in all layers (Sec. 5.1).

        `settings` None: as for `redistributed`.
        """
        settings = self._settings(settings)
        rows = self.attention(query)[:, :, None, :]
        sinks = self.sinks_under(settings)
        found = np.asarray(apply.image_centric_heads(rows, self.visual, sinks, settings))
        return _frozen(found[:, :, 0])

    def phi(self, layer: int | None = None, sink_dims: Sequence[int] | None = None) -> Floats:
        """Sink-dimension value of every token as a key, (L, T) or (T,) float32 (Sec. 4.1).

        NaN for a token that was never fed. Under other `sink_dims` than the run's, exact where
        the largest of them is among the recorded dimensions of that token and layer, NaN
        elsewhere: it is then below the 16th largest, as a rule far below any tau. NaN throughout
        with no dimension at all: no token is a sink.

        Raises RecordingError for a dimension that was recorded nowhere.
        """
        wanted = self.sink_dims if sink_dims is None else checked_dims(sink_dims)
        name = f"phi of {wanted}"
        with self._lock:
            phi = self._keyed.get(name)
            if phi is None:
                values = self.signed_values
                if wanted == self.sink_dims:
                    phi = np.asarray(sinks_method.phi_from_values(values))
                else:
                    phi = phi_under(wanted, self.sink_dims, values, *self.top_dims())
                _frozen(phi)
                self._keyed[name] = phi
        return self._pick(phi, layer)

    def phi_bound(self, sink_dims: Sequence[int] | None = None) -> Floats:
        """What phi is at most, (L, T) float32: phi itself where it is known. Elsewhere the 16th
        largest magnitude of the token, which no dimension outside its recorded ones exceeds. NaN
        for a token that was never fed, and with no dimension at all. Raises as `phi`."""
        phi = self.phi(sink_dims=sink_dims)
        wanted = self.sink_dims if sink_dims is None else checked_dims(sink_dims)
        if set(wanted) <= set(self.sink_dims):
            return phi
        least = np.abs(self.top_dims()[1]).min(axis=-1)
        return _frozen(np.where(np.isnan(phi), least, phi))

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
        """Sink tokens, (L, T) or (T,) bool; `tau` None is the run's default (Sec. 4.1).

        Raises SettingsError for a tau below 0 or not finite, and for an unknown convention.
        """
        check_sinks(tau, convention)
        masks = apply.sink_masks(
            self.phi(sink_dims=sink_dims),
            self.tau_default if tau is None else tau,
            prompt_length=self.prompt_length,
            convention=convention,
        )
        return self._pick(_frozen(np.asarray(masks)), layer)

    def sinks_under(self, settings: AttentionIntervention) -> Bools:
        """Sink tokens by the threshold, convention and dimensions of settings, (L, T) bool."""
        return self.sinks(
            tau=settings.tau, convention=settings.convention, sink_dims=settings.sink_dims
        )

    def value_norm(self, layer: int | None = None, head: int | None = None) -> Floats:
        """norm(v W_O) of every key, (L, H, T) float32 or less (App. D.3).

        Stored as float16: relative error up to 5e-4, and so in `contribution`.
        """
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
            if 0 <= query < len(self._reader.queries):
                self._row(query)

    # --------------------------------------------------------------------------- images

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images of the prompt, decoded to RGB."""
        return tuple(self.image(index) for index in range(len(self._reader.document.images)))

    def image(self, index: int = 0) -> Image.Image:
        """An image of the prompt, decoded to RGB once; a shared object, not to be drawn on."""
        index = checked_index("image", index, len(self._reader.document.images))
        with self._lock:
            if index not in self._images:
                self._images[index] = decode(self.stored_image(index))
            return self._images[index]

    def has_image(self, index: int = 0) -> bool:
        """Whether the bytes of an image are there, and were not left out of the session."""
        index = checked_index("image", index, len(self._reader.document.images))
        try:
            return self._image_bytes(index, self._reader.document.images[index]) is not None
        except LeftOutError:
            return False

    def stored_image(self, index: int = 0) -> StoredImage:
        """An image as it was given, encoded."""
        index = checked_index("image", index, len(self._reader.document.images))
        entry = self._reader.document.images[index]
        encoded = self._image_bytes(index, entry)
        if encoded is None:
            raise self._reader.files.damaged(f"the image {entry.name} is missing")
        if hashlib.sha256(encoded).hexdigest() != entry.sha256:
            raise self._reader.files.damaged(f"the image {entry.name} is not the recorded one")
        return StoredImage(encoded, entry.media_type, entry.sha256, entry.name, entry.note)

    @property
    def image_entries(self) -> tuple[ImageEntry, ...]:
        """What is known of the images without reading them."""
        return self._reader.document.images

    # -------------------------------------------------------------------------- packing

    @property
    def reader(self) -> RunReader:
        """The run as its files tell it, for who writes it anew."""
        return self._reader

    def reads_from(self, path: Path) -> bool:
        """Whether this run lies in that session file."""
        try:
            return not self.in_directory and self.path.samefile(path)
        except OSError:
            return False

    def hold(self) -> None:
        """Before the session file that this run lies in is replaced: see `ZipFiles.hold`."""
        if isinstance(self._reader.files, FilesBelow):
            self._reader.files.hold()

    def move_to(
        self, files: Files, image_bytes: ImageBytes, *, name: str, whole: bool = True
    ) -> None:
        """Read on from another place that holds the same run, there called `name`; not `whole`: a
        part of it."""
        with self._lock:
            if whole:
                self._reader.stay_with(files, name)
            else:
                self._reader = RunReader(files)
                self._rows.clear()
                self._keyed.clear()
            self._image_bytes = image_bytes

    # -------------------------------------------------------------------------- reading

    def _row(self, query: int, keep: bool = True) -> Floats:
        """(L, H, T) float32 of one query, from the cache or the disk."""
        with self._lock:
            row = self._rows.get(query)
            if row is not None:
                self._rows.move_to_end(query)
                return row
            reader = self._reader
        # Outside the lock: a row that is fetched ahead does not hold up one that is looked at.
        row = _frozen(reader.row(query))
        with self._lock:
            # Of a run that has grown meanwhile this row may be too short to keep.
            if keep and reader is self._reader and row.shape[-1] == self.length:
                self._rows[query] = row
                while len(self._rows) > max(1, _CACHE_BYTES // max(row.nbytes, 1)):
                    self._rows.popitem(last=False)
        return row

    def _by_key(self, name: str) -> Any:
        """A whole array along the keys, in its own data type and shape."""
        with self._lock:
            array = self._keyed.get(name)
            if array is None:
                array = _frozen(self._reader.along_keys(name))
                self._keyed[name] = array
            return array

    def _settings(self, given: Redistribution | Mapping[str, Any] | None) -> Redistribution:
        """What settings mean for this run; None: its own redistribution, else the defaults."""
        if given is None:
            return self.redistribution or Redistribution()
        return settled(Redistribution, given, "settings")

    def _pick(
        self, array: npt.NDArray[Scalar], layer: int | None, head: int | None = None
    ) -> npt.NDArray[Scalar]:
        """One layer and head of (L, H, ...); views stay read-only."""
        if head is not None:
            array = array[:, checked_index("head", head, self.n_heads)]
        if layer is not None:
            array = array[checked_index("layer", layer, self.n_layers)]
        return array


def _frozen(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    array.flags.writeable = False
    return array
