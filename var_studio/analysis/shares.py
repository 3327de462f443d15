"""Every row of a run at once: what each text token gives the image, and how many heads look at it.

A run of 200 rows takes seconds to read, so the masses are gathered a few rows at a time; what
depends on rho and the least visual mass alone then follows at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import VISUAL_SINK, Bools, Floats, GroupMasses, group_masses
from var_studio.method.heads import image_centric_share as share_of_selected
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

_KEPT: Final = 3
"""Thresholds of one run whose masses are kept: 3 MB each at 32 x 32 heads and 200 rows."""


class RowMasses:
    """Attention of each head on the four groups of keys, for every row of a run.

    Q rows, L layers, H heads. It fills up with `advance` and follows a growing run. The settings
    say what a sink is: tau (None: the run's), convention and sink dimensions. Raises
    RecordingError where these dimensions were not recorded, or a row cannot be read.
    """

    def __init__(self, run: Recording, settings: Redistribution) -> None:
        self._run = ref(run)  # else a run would never be let go from the cache below
        self._settings = settings
        self._masses: Floats = np.empty((0, run.n_layers, run.n_heads, 4), dtype=np.float32)
        self._unknown: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._state: tuple[int, int, bool] | None = None
        self._shares: tuple[tuple[float, float], Floats] | None = None
        self._follow()

    @property
    def done(self) -> Bools:
        """(Q,) bool: rows that are in."""
        return self._unknown >= 0

    @property
    def complete(self) -> bool:
        """Whether all rows of the run are in."""
        self._follow()
        return bool(self.done.all())

    def advance(self, seconds: float | None = None, first: int = 0) -> bool:
        """Take in rows that are missing, from the row `first` on, then those before it.

        Stops after `seconds` (None: never), but takes at least one. Returns `complete`.
        """
        self._follow()
        missing = np.flatnonzero(~self.done)
        until = np.inf if seconds is None else time.perf_counter() + seconds
        for query in np.concatenate((missing[missing >= first], missing[missing < first])):
            self._take(int(query))
            if time.perf_counter() >= until:
                break
        return bool(self.done.all())

    def visual_mass(self) -> Floats:
        """(Q,) float32: attention on the image, mean over all heads; NaN for rows to come."""
        return self._mean(VISUAL_MASS)

    def sink_mass(self) -> Floats:
        """(Q,) float32: attention on sinks, visual and text, mean over all heads; NaN as above."""
        return self._mean(SINK_MASS)

    def image_centric_share(self, settings: Redistribution) -> Floats:
        """(Q,) float32: image-centric heads / (L·H) of each row, 0 to 1 (App. A.3, Fig. 10).

        Rho and the least visual mass are those of `settings`. NaN for rows to come.
        """
        self._follow()
        key = (settings.rho, settings.mass_min)
        if self._shares is None or self._shares[0] != key:
            selected = np.moveaxis(self._selected(settings), 0, -1)
            shares = np.asarray(share_of_selected(selected), dtype=np.float32)
            shares[~self.done] = np.nan
            shares.flags.writeable = False
            self._shares = (key, shares)
        return self._shares[1]

    # ---------------------------------------------------------------------------- plumbing
    @property
    def _live_run(self) -> Recording:
        run = self._run()
        assert run is not None, "whoever asks for its rows holds the run"
        return run

    def _mean(self, groups: Bools) -> Floats:
        self._follow()
        masses = self._masses[..., groups].sum(axis=-1)
        means = masses.mean(axis=(1, 2), dtype=np.float32)
        return np.where(self.done, means, np.float32(np.nan))

    def _selected(self, settings: Redistribution) -> Bools:
        """(Q, L, H) bool: image-centric heads. Rows and layers go as layers of one array."""
        self._follow()
        n_rows, layers, heads, _ = self._masses.shape
        every = GroupMasses(
            masses=self._masses.reshape(n_rows * layers, heads, 4),
            filled=np.tile(self._filled, (n_rows, 1)),
            n_visual=self._n_visual,
        )
        return every.image_centric(settings).reshape(n_rows, layers, heads)

    def _follow(self) -> None:
        """Make room for the rows of a run that grew; forget those whose keys were filled in."""
        run = self._live_run
        state = (run.length, len(run.query_positions), run.finished)
        if state == self._state:
            return
        self._state = state
        self._shares = None
        self._sinks = run.sinks_under(self._settings)
        self._visual = run.visual
        self._filled = np.zeros((run.n_layers, 4), dtype=bool)
        self._filled[:, VISUAL_SINK] = (self._sinks & self._visual).any(axis=1)
        self._n_visual = int(self._visual.sum())
        # Tokens that a row sees and whose phi is not known yet.
        phi = run.phi(sink_dims=self._settings.sink_dims)
        now = np.cumsum(np.isnan(phi).sum(axis=0))[run.query_positions]
        before, masses = self._unknown, self._masses
        self._unknown = np.full(len(now), -1, dtype=np.int64)
        self._masses = np.zeros((len(now), *masses.shape[1:]), dtype=np.float32)
        n = min(len(before), len(now))
        same = np.flatnonzero(before[:n] == now[:n])
        self._unknown[same], self._masses[same] = before[same], masses[same]
        self._now = now

    def _take(self, query: int) -> None:
        row = self._live_run.attention(query, keep=False)
        self._shares = None
        unknown = self._live_run.unknown_keys(query)
        self._masses[query] = group_masses(row, self._visual, self._sinks, unknown=unknown).masses
        self._unknown[query] = self._now[query]


VISUAL_MASS: Final = np.array([True, True, False, False])
SINK_MASS: Final = np.array([True, False, True, False])
"""Which of the four groups make up a mass."""


def row_masses(run: Recording, settings: Redistribution) -> RowMasses:
    """The masses of a run under settings, shared by all who ask for the same sinks.

    Begun, not complete: call `advance`. Only tau, convention and sink dimensions matter.
    """
    tau = run.tau_default if settings.tau is None else settings.tau
    key = (tau, settings.convention, settings.sink_dims)
    kept = _of_run.setdefault(run, {})
    masses = kept.pop(key, None) or RowMasses(run, settings)
    kept[key] = masses  # the latest asked for comes last
    while len(kept) > _KEPT:
        # Those that a drag of tau went past first.
        begun = (other for other, one in kept.items() if other != key and not one.done.all())
        del kept[next(begun, next(iter(kept)))]
    return masses


def image_centric_share(run: Recording, settings: Redistribution) -> Floats:
    """Share of image-centric heads of every row, (Q,) float32, 0 to 1 (App. A.3, Fig. 10).

    Reads all rows that were not read before. In a window, `row_masses` and `advance` do the same
    a few rows at a time.
    """
    masses = row_masses(run, settings)
    masses.advance()
    return masses.image_centric_share(settings)


def looking_words(run: Recording, settings: Redistribution, most: int) -> tuple[int, ...]:
    """Positions of the answer's words with the largest share of image-centric heads, ascending.

    No more than `most`; a text that comes twice counts once, and what holds no letter or digit is
    left out. Of equal shares the earlier. Reads every row, as `image_centric_share`.
    """
    share = image_centric_share(run, settings)
    found: dict[str, int] = {}
    for query in np.argsort(-share, kind="stable"):
        token = run.tokens[int(run.query_positions[query])]
        word = token.text.strip().casefold()
        written = token.role == "generated" and not token.special
        if written and any(letter.isalnum() for letter in word):
            found.setdefault(word, token.position)
        if len(found) == most:
            break
    return tuple(sorted(found.values()))


_of_run: WeakKeyDictionary[Recording, dict[tuple[object, ...], RowMasses]] = WeakKeyDictionary()
