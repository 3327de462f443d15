"""What the user is looking at: a token, a layer, heads, cells. Every panel listens to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from PySide6.QtCore import QObject, Signal

RowOf = Literal["query", "produced"]
Head = tuple[int, int]
"""(layer, head), both counted from 0."""


class SelectionModel(QObject):
    """The one selection of the window.

    `position` is a position in the whole sequence (None: nothing selected), `row_of` says which
    attention row stands for it: its own ("query", the paper's reading) or that of the step that
    produced it ("produced", the row of the position before). `heads` is a set of (layer, head);
    empty means: all heads of all layers. `cells` holds the visual tokens k picked in
    the image, a scatter or a region (empty: none). Each change emits `changed` once.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.position: int | None = None
        self.row_of: RowOf = "query"
        self.layer = 0
        self.heads: frozenset[Head] = frozenset()
        self.cells: frozenset[int] = frozenset()
        self.n_layers = 0
        self.n_heads = 0
        self.n_visual = 0
        self._positions: tuple[int, ...] = ()

    # ------------------------------------------------------------------ what can be selected
    @property
    def positions(self) -> tuple[int, ...]:
        """Ascending positions that have an attention row under the present `row_of`."""
        return self._positions

    def set_range(
        self, n_layers: int, n_heads: int, positions: Iterable[int], n_visual: int = 0
    ) -> None:
        """Tell what can be selected: the model's layers and heads, the tokens that have a row, the
        visual tokens of the picture.

        What no longer exists is dropped from the selection; the rest stays. Layer defaults to
        the middle of the model, where visual sinks show best.
        """
        first_time = self.n_layers != n_layers
        self.n_layers, self.n_heads, self.n_visual = n_layers, n_heads, n_visual
        self._positions = tuple(sorted(positions))
        layer = n_layers // 2 if first_time else min(self.layer, max(n_layers - 1, 0))
        heads = frozenset(h for h in self.heads if h[0] < n_layers and h[1] < n_heads)
        position = self.position if self.position in set(self._positions) else None
        self._assign(position=position, layer=layer, heads=heads, cells=self._within(self.cells))

    def restore(
        self,
        position: int | None,
        row_of: RowOf,
        layer: int,
        heads: frozenset[Head],
        cells: frozenset[int],
    ) -> None:
        """Select all of this at once (an undo), as far as it exists."""
        self._assign(
            row_of=row_of,
            position=position if position in self._positions else self.position,
            layer=min(max(layer, 0), max(self.n_layers - 1, 0)),
            heads=frozenset(h for h in heads if h[0] < self.n_layers and h[1] < self.n_heads),
            cells=self._within(cells),
        )

    # -------------------------------------------------------------------------------- tokens
    def select_token(self, position: int | None) -> bool:
        """Select the token at `position`; False (and no change) if it has no row."""
        if position is not None and position not in self._positions:
            return False
        self._assign(position=position)
        return True

    def step_token(self, step: int) -> None:
        """Move along the tokens that have a row; stops at either end."""
        if not self._positions:
            return
        if self.position is None or self.position not in self._positions:
            index = 0 if step > 0 else len(self._positions) - 1
        else:
            index = self._positions.index(self.position) + step
        index = min(max(index, 0), len(self._positions) - 1)
        self._assign(position=self._positions[index])

    def set_row_of(self, row_of: RowOf) -> None:
        """Choose which row stands for a token. The workspace then updates `positions`."""
        self._assign(row_of=row_of)

    # ---------------------------------------------------------------------- layers and heads
    def set_layer(self, layer: int) -> None:
        """Show φ and sinks of this layer; a single selected head moves along."""
        if not 0 <= layer < self.n_layers:
            return
        heads = self.heads
        if len(heads) == 1:
            ((_, head),) = heads
            heads = frozenset({(layer, head)})
        elif len({of_layer for of_layer, _ in heads}) == 1 and len(heads) == self.n_heads:
            heads = frozenset((layer, head) for _, head in heads)
        self._assign(layer=layer, heads=heads)

    def step_layer(self, step: int) -> None:
        """Move to the next (+1) or previous (-1) layer; stops at either end."""
        if self.n_layers:
            self.set_layer(min(max(self.layer + step, 0), self.n_layers - 1))

    def step_head(self, step: int) -> None:
        """Move to the next or previous head of the layer; from no selection to its first."""
        if not self.n_heads:
            return
        here = [head for layer, head in self.heads if layer == self.layer]
        if len(here) != 1:
            head = 0 if step > 0 else self.n_heads - 1
        else:
            head = min(max(here[0] + step, 0), self.n_heads - 1)
        self._assign(heads=frozenset({(self.layer, head)}))

    def select_head(self, layer: int, head: int, extend: bool = False) -> None:
        """Select one head, or with `extend` add it to (or take it from) the selection."""
        if extend:
            self._assign(layer=layer, heads=self.heads ^ {(layer, head)})
        else:
            self._assign(layer=layer, heads=frozenset({(layer, head)}))

    def select_heads(self, heads: Iterable[Head], layer: int | None = None) -> None:
        """Select exactly these heads (none: all), and show φ and sinks of `layer` if given."""
        self._assign(heads=frozenset(heads), layer=self.layer if layer is None else layer)

    def select_layer(self, layer: int, extend: bool = False) -> None:
        """Select all heads of a layer (a row of the atlas)."""
        row = frozenset((layer, head) for head in range(self.n_heads))
        self._assign(layer=layer, heads=self.heads | row if extend else row)

    def select_column(self, head: int, extend: bool = False) -> None:
        """Select this head in every layer (a column of the atlas)."""
        column = frozenset((layer, head) for layer in range(self.n_layers))
        self._assign(heads=self.heads | column if extend else column)

    def select_all(self) -> None:
        """All heads of all layers."""
        self._assign(heads=frozenset())

    # --------------------------------------------------------------------------------- cells
    def select_cells(self, cells: Iterable[int]) -> None:
        """Select exactly these visual tokens k (none: no cell); those that do not exist are left
        out."""
        self._assign(cells=self._within(cells))

    # ------------------------------------------------------------------------------ plumbing
    def _within(self, cells: Iterable[int]) -> frozenset[int]:
        return frozenset(int(k) for k in cells if 0 <= k < self.n_visual)

    def _assign(self, **values: object) -> None:
        different = {k: v for k, v in values.items() if getattr(self, k) != v}
        for name, value in different.items():
            setattr(self, name, value)
        if different:
            self.changed.emit()
