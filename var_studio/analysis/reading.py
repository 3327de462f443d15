"""One row of a recording under one choice of settings: every number on screen and in figures.

A `Reading` computes lazily and remembers by what each quantity depends on, so a chain of readings
(each given the previous one) recomputes only what a change of focus or settings touches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.analysis.focus import Focus, TokenReading, check_layer
from var_studio.analysis.groups import (
    Bools,
    Floats,
    GroupMasses,
    group_masses,
    group_of,
    growth,
    per_key,
    sums_over,
)
from var_studio.analysis.head_maps import mean_change, on_grid, over_heads, span_of
from var_studio.analysis.histogram import PhiHistogram, phi_histogram
from var_studio.analysis.ledger import Ledger, mean_ledger
from var_studio.analysis.views import joined
from var_studio.errors import VarStudioError
from var_studio.recording.apply import rows_after, sink_masks
from var_studio.recording.questions import check_choice
from var_studio.recording.settings import AttentionIntervention, Redistribution

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

__all__ = [
    "Focus",
    "HeadValue",
    "Ledger",
    "Moment",
    "PhiHistogram",
    "Reading",
    "TokenReading",
]

HeadValue = Literal["non_sink_ratio", "visual_mass", "sink_mass", "entropy", "contribution"]
Moment = Literal["before", "after", "difference"]
T = TypeVar("T")
S = TypeVar("S", bound=np.generic)


class Reading:
    """Every number of one row under one choice of settings. L layers, H heads, T keys.

    A tau of None means the run's default; `settings` and `acts` of the reading have it filled in.
    `acts`: what the row after went through; None: the redistribution that `settings` are. Then
    `settings` only say what a sink and an image-centric head is.
    Arrays are read-only, and as long as the run was when the reading was made, however it grows.
    `previous`: a reading of the same run whose results are reused where they depend on nothing
    that changed. Not safe for use by two threads at once.
    Raises VarStudioError for a focus outside the run.
    """

    def __init__(
        self,
        run: Recording,
        focus: Focus,
        settings: Redistribution,
        previous: Reading | None = None,
        acts: Sequence[AttentionIntervention] | None = None,
    ) -> None:
        tau = {"tau": run.tau_default}
        if settings.tau is None:
            settings = settings.model_copy(update=tau)
        self.acts: tuple[AttentionIntervention, ...] = (settings,)
        if acts is not None:
            self.acts = tuple(
                each.model_copy(update=tau) if each.tau is None else each for each in acts
            )
        self.run = run
        self.focus = focus
        self.settings = settings
        self.length = len(run.tokens)
        # A growing run gets new keys, and fills in those of its last token.
        self._grown = (self.length, len(run.query_positions), run.finished)
        self._memo: dict[str, tuple[Hashable, Any]] = (
            previous._memo if previous is not None and previous.run is run else {}
        )
        focus.check(len(run.query_positions), run.n_layers, run.n_heads)
        # Else what happens to a key depends on more than its group.
        self._grouped = acts is None and self._region_of_patches(settings.region)
        s = settings
        self._row_key = (focus.query, self._grown)
        self._phi_key = (s.sink_dims, self._grown)
        self._sink_key = (self._phi_key, s.tau, s.convention)
        self._mass_key = (self._row_key, self._sink_key, s.region if self._grouped else ())
        self._head_key = (self._mass_key, s.rho, s.mass_min)
        self._move_key = (self._mass_key, self.acts)

    @property
    def position(self) -> int:
        """Position in the sequence of the token whose row this is."""
        return int(self.run.query_positions[self.focus.query])

    @property
    def chosen(self) -> int:
        """Position of the token that was asked about: the one whose row this is, or with `row_of`
        "produced" the one that the step of this row produced."""
        after = self.position + 1
        produced = self.focus.row_of == "produced" and after < self.length
        return after if produced else self.position

    # --- what the row and phi alone decide

    @property
    def attention(self) -> Floats:
        """(L, H, T) float32: the row as the model computed it, before any redistribution."""
        return self._remember(
            "row", self._row_key, lambda: self._then(self.run.attention(self.focus.query))
        )

    @property
    def unknown(self) -> Bools | None:
        """(T,) bool: keys whose weights in this row were left out of the session; None: none.

        The row is NaN there, and so is every number that depends on them.
        """
        left_out = self.run.unknown_keys(self.focus.query)
        return None if left_out is None else self._then(left_out)

    @property
    def visual(self) -> Bools:
        """(T,) bool: image patches."""
        return self._remember("visual", self.length, lambda: self._then(self.run.visual))

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """(V,) int64: positions of the visual tokens, separators included; the maps' order."""
        return self.run.layout.positions

    @property
    def phi(self) -> Floats:
        """(L, T) float32: sink-dimension value of each token at the input of each layer."""

        def compute() -> Floats:
            if self.settings.sink_dims is None:
                return self._then(self.run.phi())
            return self._then(self.run.phi(sink_dims=self.settings.sink_dims))

        return self._remember("phi", self._phi_key, compute)

    @property
    def phi_bound(self) -> Floats:
        """(L, T) float32: what phi is at most; phi itself where it is known. NaN: not known."""
        dims = self.settings.sink_dims
        return self._remember(
            "phi_bound", self._phi_key, lambda: self._then(self.run.phi_bound(dims))
        )

    @property
    def sink_dims(self) -> tuple[int, ...]:
        """The sink dimensions in force; empty where none is known: then no token has a phi."""
        chosen = self.settings.sink_dims
        return self.run.sink_dims if chosen is None else tuple(chosen)

    @property
    def visual_mass(self) -> Floats:
        """(L, H) float32: attention on the image."""

        def compute() -> Floats:
            patches = self.visual.astype(np.float32)[:, None]
            return _floats(sums_over(self.attention, patches, self.unknown)[..., 0])

        return self._remember("visual_mass", self._row_key, compute)

    @property
    def entropy(self) -> Floats:
        """(L, H) float32: entropy of the row over all keys, in nats."""

        def compute() -> Floats:
            alpha = self.attention
            logs = np.maximum(alpha, np.float32(1e-30))
            np.log(logs, out=logs)
            return _floats(-np.einsum("lht,lht->lh", alpha, logs))

        return self._remember("entropy", self._row_key, compute)

    @property
    def contribution(self) -> Floats:
        """(L, H) float32: the image's part of what all keys add to the residual stream, each
        alpha · norm(v W_O) (Sec. 4.2). Norms: what two keys add may cancel in the stream."""

        def compute() -> Floats:
            added = self.attention * self._then(self.run.value_norm())
            image = np.matmul(added, self.visual.astype(np.float32))
            total = added.sum(axis=-1)
            return _floats(image / np.where(total > 0, total, np.float32(1)))

        return self._remember("contribution", self._row_key, compute)

    def on_cells(self, cells: Iterable[int]) -> Floats:
        """(L, H) float32: each head's attention on these visual tokens k, summed over them."""
        chosen = tuple(sorted(cells))

        def compute() -> Floats:
            return _floats(self.attention[..., self.positions[list(chosen)]].sum(axis=-1))

        return self._remember("on_cells", (self._row_key, chosen), compute)

    # --- what tau and the convention add

    @property
    def sinks(self) -> Bools:
        """(L, T) bool: sink tokens of each layer, visual and text."""
        return self._remember("sinks", self._sink_key, lambda: self._pass_tau(self.phi))

    @property
    def undecided(self) -> Bools:
        """(L, T) bool: tokens that may be sinks or not, for too little is known of their phi."""

        def compute() -> Bools:
            reaches = np.isnan(self.phi_bound) | self._pass_tau(self.phi_bound)
            return np.asarray(np.isnan(self.phi) & reaches, dtype=bool)

        return self._remember("undecided", self._sink_key, compute)

    @property
    def n_undecided(self) -> npt.NDArray[np.int64]:
        """(L,) int64: tokens of each layer that may reach tau or not; no sink mask holds them.
        Those of which nothing is known, as of an answer's last, are not among them."""

        def compute() -> npt.NDArray[np.int64]:
            known = ~np.isnan(self.phi_bound)
            return np.asarray((self.undecided & known).sum(axis=1), dtype=np.int64)

        return self._remember("n_undecided", self._sink_key, compute)

    @property
    def n_sinks(self) -> npt.NDArray[np.int64]:
        """(L,) int64: number of sinks of each layer, visual and text."""
        return self._remember("n_sinks", self._sink_key, lambda: self.sinks.sum(axis=1))

    @property
    def n_visual_sinks(self) -> npt.NDArray[np.int64]:
        """(L,) int64: number of visual sinks of each layer."""

        def compute() -> npt.NDArray[np.int64]:
            return np.asarray((self.sinks & self.visual).sum(axis=1), dtype=np.int64)

        return self._remember("n_visual_sinks", self._sink_key, compute)

    @property
    def visual_sinks(self) -> Bools:
        """(V,) bool: which visual tokens are sinks in the layer in focus."""
        here = self.sinks[self.focus.layer] & self.visual
        return np.asarray(here[self.positions], dtype=bool)

    @property
    def masses(self) -> GroupMasses:
        """Attention of each head on visual and text sinks and non-sinks."""

        def compute() -> GroupMasses:
            row = self.attention
            return group_masses(row, self.visual, self.sinks, self._region, self.unknown)

        return self._remember("masses", self._mass_key, compute)

    @property
    def non_sink_ratio(self) -> Floats:
        """(L, H) float32: r of Eq. 3, the part of the visual mass that lies on non-sinks."""
        return self._remember("ratio", self._mass_key, lambda: self.masses.non_sink_ratio)

    @property
    def sink_mass(self) -> Floats:
        """(L, H) float32: attention on all sinks, visual and text."""
        return self._remember("sink_mass", self._mass_key, lambda: self.masses.sink_mass)

    # --- what rho, the least visual mass and p add

    @property
    def image_centric(self) -> Bools:
        """(L, H) bool: image-centric heads, over all layers (Section 5.1)."""
        return self._remember(
            "image_centric", self._head_key, lambda: self.masses.image_centric(self.settings)
        )

    @property
    def changed(self) -> Bools:
        """(L, H) bool: heads whose row really changes. Under a redistribution: selected, in an
        active layer, and with a budget and someone to receive it."""

        def compute() -> Bools:
            if not self._grouped:
                return np.asarray((self.redistributed != self.attention).any(axis=-1))
            return np.asarray((self._growth != 0).any(axis=-1))

        return self._remember("changed", self._move_key, compute)

    @property
    def redistributed(self) -> Floats:
        """(L, H, T) float32: the row after redistribution (local; Eq. 4), or after `acts`."""

        def compute() -> Floats:
            if not self._grouped:
                return self._after_acts()
            after = self.attention.copy()
            layers, heads = np.nonzero(self.changed)
            growth_of_row = self._growth[layers, heads]
            change = per_key(growth_of_row, self.visual, self.sinks[layers], self._region)
            after[layers, heads] *= 1 + change
            return after

        return self._remember("redistributed", self._move_key, compute)

    @property
    def map_before(self) -> Floats:
        """(V,) float32: attention on each visual token, mean or largest over the heads in focus."""
        key = (self._row_key, self.focus.heads, self.focus.aggregate)
        return self._remember("map_before", key, lambda: self._over_heads(self._visual_block))

    @property
    def map_difference(self) -> Floats:
        """(V,) float32: the map after minus the map before; 0 where no head in focus changes."""
        key = (self._move_key, self.focus.heads, self.focus.aggregate)
        return self._remember("map_difference", key, self._map_difference)

    @property
    def map_after(self) -> Floats:
        """(V,) float32: redistributed attention on each visual token, over the heads as before."""
        key = (self._move_key, self.focus.heads, self.focus.aggregate)
        return self._remember("map_after", key, lambda: self.map_before + self.map_difference)

    @property
    def ledger(self) -> Ledger:
        """What sinks gave and others received: the mean over the heads in focus."""

        def compute() -> Ledger:
            heads = None if not self.focus.heads else self._focus_index
            bos, visual, sinks = self.attention[..., 0], self.visual, self.sinks
            if self._grouped:
                layers = np.arange(len(bos))
                in_region = self._region is not None and self._region[0]
                first = self._growth[layers, :, group_of(visual[0], sinks[:, 0], in_region)]
                after, bos_after = self._moved, bos * (1 + first)
            else:
                moved, unknown = self.redistributed, self.unknown
                after = group_masses(moved, visual, sinks, unknown=unknown).masses
                bos_after = self.redistributed[..., 0]
            before = self.masses.masses
            return mean_ledger(bos, bos_after, before, after, visual[0], sinks[:, 0], heads)

        return self._remember("ledger", (self._move_key, self.focus.heads), compute)

    # --- questions with an argument

    def map(self, moment: Moment) -> Floats:
        """(V,) float32: `map_before`, `map_after` or `map_difference`."""
        check_choice("moment", moment, Moment)
        if moment == "before":
            return self.map_before
        return self.map_after if moment == "after" else self.map_difference

    def head_value(self, name: HeadValue) -> Floats:
        """(L, H) float32 of one quantity. Raises VarStudioError for an unknown name."""
        check_choice("head quantity", name, HeadValue)
        value: Floats = getattr(self, name)
        return value

    def head_maps(self, view: int | tuple[int, ...] = 0, moment: Moment = "before") -> Floats:
        """(L, H, rows, cols) float32: the map of every head in one view, or in several joined to
        one grid (see `views.joined`); NaN where no token.

        Where the geometry is not known, view 0 is the strip of all visual tokens.

        Raises VarStudioError for a view that the layout does not have.
        """
        tokens = self._view_tokens(view)
        key = self._row_key if moment == "before" else self._move_key
        return self._remember(
            f"head_maps {moment}", (key, view), lambda: self._cut(tokens, moment, ...)
        )

    def some_head_maps(
        self,
        heads: Sequence[tuple[int, int]],
        view: int | tuple[int, ...] = 0,
        moment: Moment = "before",
    ) -> Floats:
        """(n, rows, cols) float32: `head_maps` of these (layer, head) pairs alone.

        Raises VarStudioError for a view that the layout does not have.
        """
        layers, columns = np.asarray(heads, dtype=np.intp).reshape(-1, 2).T
        return self._cut(self._view_tokens(view), moment, (layers, columns))

    def _view_tokens(self, view: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
        return joined(self.run.layout, (view,) if isinstance(view, int) else view).tokens

    def _cut(self, tokens: npt.NDArray[np.int64], moment: Moment, heads: Any) -> Floats:
        """(..., rows, cols): the rows of some heads where these visual tokens are."""
        check_choice("moment", moment, Moment)
        rows = (self.attention if moment == "before" else self.redistributed)[heads]
        if moment == "difference":
            rows = rows - self.attention[heads]
        return on_grid(rows, self.positions, tokens)

    def token(self, k: int) -> TokenReading:
        """The k-th visual token (index into `positions`). Raises VarStudioError outside 0..V-1."""
        layout = self.run.layout
        if not 0 <= k < layout.count:
            raise VarStudioError(
                f"There is no visual token {k}.", f"They go from 0 to {layout.count - 1}."
            )
        position = int(layout.positions[k])
        cell = layout.cell_of(k)
        view, row, col = cell if cell is not None else (-1, -1, -1)
        left, top, right, bottom = (float(v) for v in layout.boxes[k])
        return TokenReading(
            position=position,
            alpha=float(self.map_before[k]),
            alpha_after=float(self.map_after[k]),
            rank=1 + int((self.map_before > self.map_before[k]).sum()),
            phi=float(self.phi[self.focus.layer, position]),
            phi_bound=float(self.phi_bound[self.focus.layer, position]),
            sink=bool(self.sinks[self.focus.layer, position]),
            undecided=bool(self.undecided[self.focus.layer, position]),
            box=None if np.isnan(left) else (left, top, right, bottom),
            view=view,
            row=row,
            col=col,
        )

    def phi_histogram(self, layer: int | None = None, bins: int = 64) -> PhiHistogram:
        """Numbers of tokens by phi in one layer (None: the layer in focus). Tau plays no part."""
        layer = self.focus.layer if layer is None else layer
        check_layer(layer, self.run.n_layers)

        def compute() -> PhiHistogram:
            return phi_histogram(self.phi, layer, self.visual, bins)

        return self._remember("phi_histogram", (self._phi_key, layer, bins), compute)

    # --- inside

    def _region_of_patches(self, region: Sequence[int]) -> bool:
        """Whether all these visual tokens are there, and none is a separator (a text key)."""
        positions = self.positions
        inside = len(region) == 0 or region[-1] < len(positions)
        return inside and bool(self.visual[positions[list(region)]].all())

    def _pass_tau(self, phi: Floats) -> Bools:
        """(L, T) bool: where such a phi makes a sink."""
        assert self.settings.tau is not None
        masks = sink_masks(
            phi,
            self.settings.tau,
            prompt_length=self.run.prompt_length,
            convention=self.settings.convention,
        )
        return np.asarray(masks, dtype=bool)

    @cached_property
    def _region(self) -> Bools | None:
        """(T,) bool: what receives the budget, where that is a region; else None."""
        if self.settings.target != "region" or not self._grouped:
            return None
        region = np.zeros(self.length, dtype=bool)
        region[self.positions[list(self.settings.region)]] = True
        return region

    @cached_property
    def _focus_index(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        pairs = np.asarray(self.focus.heads, dtype=np.intp).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    @cached_property
    def _visual_span(self) -> slice | npt.NDArray[np.int64]:
        return span_of(self.positions)

    @property
    def _visual_block(self) -> Floats:
        return self._remember(
            "visual_block", self._row_key, lambda: self.attention[..., self._visual_span]
        )

    @property
    def _moved(self) -> Floats:
        def compute() -> Floats:
            selected = self.masses.selected(self.settings, self.image_centric)
            return self.masses.moved(self.settings, selected)

        return self._remember("moved", self._move_key, compute)

    @property
    def _growth(self) -> Floats:
        return self._remember(
            "growth", self._move_key, lambda: growth(self.masses.masses, self._moved)
        )

    def _after_acts(self) -> Floats:
        rows = rows_after(
            self.attention[:, :, None, :],
            self.acts,
            visual=self.visual,
            sinks=lambda settings: self._then(self.run.sinks_under(settings)),
            visual_positions=self.positions.tolist(),
            queries=[self.position],
            unknown=self.unknown,
        )
        return _floats(rows[:, :, 0, :])

    def _over_heads(self, block: Floats) -> Floats:
        """(V,) float32: mean or largest over the heads in focus of (L, H, V)."""
        index = self._focus_index if self.focus.heads else None
        return over_heads(block, index, self.focus.aggregate)

    def _map_difference(self) -> Floats:
        block, span = self._visual_block, self._visual_span
        if self.focus.aggregate == "max" or not self._grouped:
            # Of maxima the difference is that of two maps, not the largest change.
            after = self._over_heads(self.redistributed[..., span])
            return _floats(after - self.map_before)
        index = self._focus_index if self.focus.heads else None
        visual, sinks = self.visual[span], self.sinks[:, span]
        region = None if self._region is None else self._region[span]
        return mean_change(block, self._growth, visual, sinks, index, region)

    def _then(self, values: npt.NDArray[S]) -> npt.NDArray[S]:
        """Without the keys (last axis) that came since this reading was made."""
        return values[..., : self.length]

    def _remember(self, name: str, key: Hashable, compute: Callable[[], T]) -> T:
        held = self._memo.get(name)
        if held is not None and held[0] == key:
            kept: T = held[1]
            return kept
        value = compute()
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        self._memo[name] = (key, value)
        return value


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float32)
