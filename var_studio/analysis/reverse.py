"""The other way round: which tokens, layers and heads look at chosen cells of the picture.

Every recorded row has to be read for it, and 200 rows take about a second from disk, so they are
taken in a few at a time; rows that are in stay in.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt

from var_studio.errors import VarStudioError

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_KEPT: Final = 8
"""Sets of cells of one run that are kept: 0.8 MB each at 32 x 32 heads and 200 rows."""


class CellAttention:
    """Attention of every row and head on a set of visual tokens: the sum of alpha over them.

    Q rows (text queries), L layers, H heads. It fills up with `advance` and follows a growing run.
    `cells` are visual token indices k. Raises VarStudioError for a visual token that the run does
    not have; `advance` raises RecordingError where a row cannot be read.
    """

    def __init__(self, run: Recording, cells: Iterable[int]) -> None:
        self._run = ref(run)  # else a run would never be let go from the cache below
        self.cells = tuple(sorted({int(k) for k in cells}))
        count = run.layout.count
        wrong = [k for k in self.cells if not 0 <= k < count]
        if wrong:
            raise VarStudioError(
                f"There is no visual token {wrong[0]}.", f"They go from 0 to {count - 1}."
            )
        self._keys = run.layout.positions[list(self.cells)]
        self._values: Floats = np.empty((0, run.n_layers, run.n_heads), dtype=np.float32)
        self._done: Bools = np.empty(0, dtype=bool)
        self._follow()

    @property
    def done(self) -> Bools:
        """(Q,) bool: rows that are in."""
        self._follow()
        return self._done

    @property
    def complete(self) -> bool:
        """Whether all rows of the run are in."""
        return bool(self.done.all())

    def advance(self, seconds: float | None = None, first: int = 0) -> bool:
        """Take in rows that are missing, from the row `first` on, then those before it.

        Stops after `seconds` (None: never), but takes at least one. Returns `complete`.
        """
        self._follow()
        run = self._run()
        assert run is not None, "whoever asks for its rows holds the run"
        missing = np.flatnonzero(~self._done)
        until = np.inf if seconds is None else time.perf_counter() + seconds
        for query in np.concatenate((missing[missing >= first], missing[missing < first])):
            row = run.attention(int(query), keep=False)
            self._values[query] = row[..., self._keys].sum(axis=-1)
            self._done[query] = True
            if time.perf_counter() >= until:
                break
        return bool(self._done.all())

    def of_tokens(
        self, heads: Sequence[tuple[int, int]] = (), aggregate: Literal["mean", "max"] = "mean"
    ) -> Floats:
        """(Q,) float32: how much each row looks at the cells, mean or largest over the (layer,
        head) pairs (none: all heads). NaN for rows to come."""
        done = self.done
        n_layers, n_heads = self._values.shape[1:]
        values = self._values.reshape(len(done), n_layers * n_heads)  # -1 fails without a row
        if heads:
            layers, columns = np.asarray(heads, dtype=np.intp).reshape(-1, 2).T
            values = self._values[:, layers, columns]
        found = values.mean(axis=1) if aggregate == "mean" else values.max(axis=1)
        return np.where(done, found, np.float32(np.nan))

    def of_heads(self, query: int | None = None) -> Floats:
        """(L, H) float32: how much each head looks at the cells in one row; with None the mean
        over all rows that are in. NaN where that row, or every row, is to come."""
        done = self.done
        if query is not None:
            if not done[query]:
                return np.full(self._values.shape[1:], np.nan, dtype=np.float32)
            return np.array(self._values[query])
        if not done.any():
            return np.full(self._values.shape[1:], np.nan, dtype=np.float32)
        return np.asarray(self._values[done].mean(axis=0), dtype=np.float32)

    def _follow(self) -> None:
        """Make room for the rows of a run that grew. What is in stays true: the image is in the
        prompt, and a row's weights on it never change."""
        run = self._run()
        missing = 0 if run is None else len(run.query_positions) - len(self._done)
        if missing > 0:
            more = np.zeros((missing, *self._values.shape[1:]), dtype=np.float32)
            self._values = np.concatenate((self._values, more))
            self._done = np.concatenate((self._done, np.zeros(missing, dtype=bool)))


def cell_attention(run: Recording, cells: Iterable[int]) -> CellAttention:
    """The attention on these cells, shared by all who ask for the same ones. Begun, not complete:
    call `advance`."""
    key = tuple(sorted({int(k) for k in cells}))
    kept = _of_run.setdefault(run, {})
    found = kept.pop(key, None) or CellAttention(run, key)
    kept[key] = found  # the latest asked for comes last
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]
    return found


_of_run: WeakKeyDictionary[Recording, dict[tuple[int, ...], CellAttention]] = WeakKeyDictionary()
