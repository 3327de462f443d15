"""The Heads panel: all layers and heads for the selected token, as a grid or in a sorted line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.analysis.views import JoinedViews, group_name, joined, view_groups
from var_studio.figures.words import LEFT_OUT, STRIP_NOTE, UNKNOWN_PHI, no_dims, undecided_line
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.head_values import (
    BY_KEY,
    CELLS,
    CELLS_ALL,
    MAPS_TIP,
    OF_SINKS,
    QUANTITIES,
    THUMBNAILS,
    cells_text,
    guide_of,
    head_limits,
    image_centric,
    limits_of,
    summary,
    told,
)
from var_studio.gui.panels.image_maps import heads_text, short_subject, subject, word_text
from var_studio.gui.widgets.atlas_strip import StripView, Thumbnails
from var_studio.gui.widgets.atlas_view import AtlasView
from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.gui.widgets.head_picking import NO_HEAD, Head
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.legend import Swatch
from var_studio.gui.widgets.let_go import LetGo
from var_studio.gui.widgets.segmented import Segmented
from var_studio.gui.widgets.short_combo import ShortCombo

if TYPE_CHECKING:
    from var_studio.analysis.reading import Moment, Reading
    from var_studio.analysis.reverse import CellAttention
    from var_studio.gui.models.workspace import Workspace

VALUE_COLOURS = "viridis"
SLICE, PAUSE = 0.008, 15
"""Seconds that rows are read for at once, and milliseconds between: the window stays quick."""

_BAR_LABELS = {
    "before": "α / own limit",
    "after": "local α after / own limit",
    "difference": "local Δα / own limit",
}
"""Each head's map has a scale of its own, which ends at 1 here."""

ORDERS = (
    ("grid", "Grid", "Layers from top to bottom, heads from left to right."),
    ("sorted", "Sorted", "All heads in a line, the largest value first (Fig. 4)."),
)
AGGREGATES = (
    ("mean", "Mean", "Maps show the mean over the selected heads."),
    ("max", "Max", "Maps show for each cell the largest of the selected heads. Not the ledger."),
)


class HeadsPanel(Panel):
    """One cell for each head: a value, or its map in small; image-centric heads outlined."""

    help_text = (
        "The whole model at a glance: layers from top to bottom, heads from left to right, or all "
        "of them in a line sorted by their value (Fig. 4). Green marks image-centric heads: those "
        "that give the image at least the least visual mass and whose part on visual non-sinks, "
        "r, is at least ρ (Sec. 5.1). They follow τ, ρ and the least mass while you drag. Click a "
        "head to see its map; drag over several; Shift adds, Ctrl takes in or out; the number of "
        "a layer or head takes the whole row or column. Keys: Shift+arrows add the next head, "
        "Ctrl+arrows move the frame, Enter takes its head in or out, Shift+Space its layer, "
        "Ctrl+Space its column, Ctrl+A all. Maps show the mean or the largest of what is "
        "selected; the ledger is always a mean. Thumbnails are of the picture and view chosen in "
        "the Image panel; outlines stand beside a map, not on it."
    )
    empty_text = "Click a word of the answer: every head of the model appears here as one cell."
    figure_name = "heads"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading: Reading | None = None
        self._values: npt.NDArray[np.floating] = np.zeros((0, 0))
        self._hovered = NO_HEAD
        self._limits: tuple[object, object, npt.NDArray[np.float32]]
        self._limits = None, None, np.zeros(0, np.float32)
        self._reverse: CellAttention | None = None
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._advance)
        self.value = ShortCombo()
        for key, label, short, tip in (
            *((q.key, q.label, q.short or q.label, q.tip) for q in QUANTITIES),
            (THUMBNAILS, "Thumbnails", "Maps", MAPS_TIP),
        ):
            self.value.addItem(label, key)
            self.value.set_short(self.value.count() - 1, short)
            self.value.setItemData(self.value.count() - 1, tip, QtCore.Qt.ItemDataRole.ToolTipRole)
        self.value.setToolTip("What each cell shows.")
        self.value.setAccessibleName("What each head's cell shows")
        self.value.activated.connect(self._choose_value)
        self.header.add_control(self.value)
        self.set_body(self._build_body())

    def _build_body(self) -> QtWidgets.QWidget:
        body = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(body)
        column.setContentsMargins(10, 2, 10, 6)
        column.setSpacing(4)
        self.subject = HoverLine("")
        self.subject.setAccessibleName("Whose heads are shown")
        column.addWidget(self.subject)
        column.addLayout(self._build_controls())
        self.summary = HoverLine("")
        self.summary.setAccessibleName("Image-centric heads")
        legend = QtWidgets.QHBoxLayout()
        legend.setSpacing(4)
        legend.addWidget(Swatch("image_centric"))
        legend.addWidget(self.summary, 1)
        legend.addWidget(self.all_heads)
        column.addLayout(legend)
        self.atlas = AtlasView()
        self.strip = StripView()
        self.pages = QtWidgets.QStackedWidget()
        for view in (self.atlas, self.strip):
            view.picked.connect(self._pick)
            view.head_hovered.connect(self._hover)
            self.pages.addWidget(view)
        column.addWidget(self.pages, 1)
        self.note = HoverLine("")
        self.note.setAccessibleName("Note on the heads")
        self.note.hide()
        self.let_go = LetGo()
        noted = QtWidgets.QHBoxLayout()
        noted.setSpacing(6)
        noted.addWidget(self.note, 1)
        noted.addWidget(self.let_go, 0, QtCore.Qt.AlignmentFlag.AlignRight)
        column.addLayout(noted)
        self.bar = ColourBar()
        column.addWidget(self.bar)
        self.hover = HoverLine(
            "Click a head or drag over several · rest the pointer on one for its numbers", 2
        )
        column.addWidget(self.hover)
        return body

    def _build_controls(self) -> QtWidgets.QHBoxLayout:
        self.order = Segmented("Order of the heads", ORDERS)
        self.order.chosen.connect(lambda key: self._set_view(head_order=key))
        self.aggregate = Segmented("Maps of several heads", AGGREGATES)
        self.aggregate.chosen.connect(lambda key: self._set_view(aggregate=key))
        self.all_heads = QtWidgets.QToolButton()
        self.all_heads.setText("All heads")
        self.all_heads.setObjectName("toggle")
        self.all_heads.setCheckable(True)
        self.all_heads.setAutoRaise(True)
        self.all_heads.setToolTip("Maps over all heads of all layers.")
        self.all_heads.clicked.connect(self._select_all)
        row = QtWidgets.QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.order)
        row.addStretch(1)
        row.addWidget(self.aggregate)
        return row

    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the workspace and the choice of value."""
        super().set_workspace(workspace)
        workspace.view.changed.connect(self._view_changed)
        self.let_go.set_workspace(workspace)
        self._show_choice()

    def _view_changed(self) -> None:
        if self.isVisible() and self._reading is not None:
            self._show_cells(self._reading)
        else:
            self._stale = True

    # ----------------------------------------------------------------------------- repaint
    def refresh(self, reading: Reading | None) -> None:
        """Show every head of this reading."""
        self._reading = reading
        if reading is None or self.workspace is None:
            self._timer.stop()
            return
        self._show_cells(reading)
        self.all_heads.setChecked(not reading.focus.heads)
        told = summary(reading)
        self.summary.set_text(told, told.partition(" (" if reading.sink_dims else " for")[0])
        selection = self.workspace.selection
        self.subject.set_text(
            subject(reading, selection.position, selection.row_of),
            short_subject(reading, selection.position),
        )
        self._say_hovered()

    def _show_choice(self) -> str:
        assert self.workspace is not None
        view = self.workspace.view.current
        key = THUMBNAILS if view.thumbnails else view.head_value
        self.value.setCurrentIndex(max(self.value.findData(key), 0))
        self.order.set_current(view.head_order)
        self.aggregate.set_current(view.aggregate)
        return str(self.value.currentData())

    def _show_cells(self, reading: Reading) -> None:
        assert self.workspace is not None
        key, view = self._show_choice(), self.workspace.view.current
        in_line = view.head_order == "sorted"
        # In a line thumbnails stand in the order of the value chosen before.
        quantity = BY_KEY.get(view.head_value if key == THUMBNAILS else key, QUANTITIES[0])
        shown: StripView | AtlasView = self.strip if in_line else self.atlas
        self._timer.stop()
        self._values = self._find_values(reading, quantity.key)
        if key in OF_SINKS and not reading.sink_dims:
            self.show_empty(
                f"{no_dims(reading)}\n\nVisual mass and other values can be chosen above."
            )
            return
        self.show_body()
        low, high = limits_of(quantity, self._values)
        if in_line:
            guide = guide_of(quantity, reading)
            outlined = image_centric(reading)
            self.strip.set_values(self._values, low, high, VALUE_COLOURS, outlined, guide)
            self.strip.set_thumbnails(self._some_maps, maps_first=key == THUMBNAILS)
        elif key == THUMBNAILS:
            self._show_maps(reading)
        else:
            self.atlas.set_values(self._values, low, high, VALUE_COLOURS)
        if in_line or key != THUMBNAILS:
            self.bar.set_scale(low, high, VALUE_COLOURS, f"{quantity.label} ({quantity.unit})")
        self.atlas.set_outlined(image_centric(reading))
        self.atlas.set_layer(reading.focus.layer)
        shown.set_selected(reading.focus.heads)
        shown.setAccessibleDescription(f"Selected: {heads_text(reading)}")
        self.pages.setCurrentWidget(shown)
        self._show_note(reading, quantity.key, maps=in_line or key == THUMBNAILS)

    def _show_note(self, reading: Reading, key: str, maps: bool) -> None:
        assert self.workspace is not None
        layout, text = reading.run.layout, ""
        if key in (CELLS, CELLS_ALL):
            reverse = self._reverse
            waits = key == CELLS_ALL and reverse is not None
            done = int(reverse.done.sum()) if waits and reverse is not None else 0
            rows = len(reverse.done) if waits and reverse is not None else 0
            text = cells_text(self.workspace.selection.cells, done, rows)
        elif key in ("entropy", "contribution") and reading.unknown is not None:
            text = f"Over the whole row, and so {LEFT_OUT}."
        elif maps and not layout.known:
            text = STRIP_NOTE
        elif maps and len(layout.views) > 1:
            text = f"Maps show {group_name(layout, self._part(reading).views)}, as chosen in Image."
        unknown = undecided_line(reading)
        # Outlines count on the sinks of every layer, whatever the cells show.
        self.note.set_text(
            " · ".join(filter(None, (unknown, text))), UNKNOWN_PHI if unknown else ""
        )
        self.note.setVisible(bool(unknown or text))

    # ------------------------------------------------------------------------------ values
    def _find_values(self, reading: Reading, key: str) -> npt.NDArray[np.floating]:
        """(L, H) of a quantity; NaN where it is not known."""
        assert self.workspace is not None
        if key in OF_SINKS and not reading.sink_dims:
            return np.full((reading.run.n_layers, reading.run.n_heads), np.nan)
        if key not in (CELLS, CELLS_ALL):
            return reading.head_value(key)  # type: ignore[arg-type]
        cells = self.workspace.selection.cells
        if not cells:
            return np.full((reading.run.n_layers, reading.run.n_heads), np.nan)
        if key == CELLS:
            return reading.on_cells(cells)
        from var_studio.analysis.reverse import cell_attention

        self._reverse = cell_attention(reading.run, cells)
        if not self._reverse.complete:
            self._timer.start(PAUSE)
        return self._reverse.of_heads()

    def _advance(self) -> None:
        """Read rows for a moment, and show the mean over those that are in."""
        if self._reverse is None or self._reading is None:
            return
        self._reverse.advance(SLICE, self._reading.focus.query)
        self._show_cells(self._reading)

    # -------------------------------------------------------------------------------- maps
    def _moment(self) -> Moment:
        assert self.workspace is not None
        shown = self.workspace.view.current.shown
        return "before" if shown == "all" else shown

    def _part(self, reading: Reading) -> JoinedViews:
        """What of the pictures the maps show: what the Image panel does."""
        assert self.workspace is not None
        layout, part = reading.run.layout, self.workspace.view.part
        groups = view_groups(layout) if layout.known else [(0,)]
        return joined(layout, part if part in groups else groups[0])

    def _look(self, reading: Reading) -> tuple[str, bool, float]:
        """Colours of the maps, whether they have a sign, and their width over their height."""
        assert self.workspace is not None
        view = self.workspace.view.current
        signed = self._moment() == "difference"
        left, top, right, bottom = self._part(reading).box
        aspect = (right - left) / max(bottom - top, 1e-9)
        colours = view.difference_map if signed else view.colour_map
        return colours, signed, min(max(aspect, 0.4), 2.5)

    def _sinks(self, reading: Reading) -> npt.NDArray[np.bool_]:
        """(L, rows, cols): which cells of the maps are sinks."""
        tokens = self._part(reading).tokens
        return reading.sinks[:, reading.positions[np.maximum(tokens, 0)]] & (tokens >= 0)

    def _show_maps(self, reading: Reading) -> None:
        maps = reading.head_maps(self._part(reading).views, self._moment())
        sinks = reading.sinks
        colours, signed, aspect = self._look(reading)
        if self._limits[0] is not maps or self._limits[1] is not sinks:
            self._limits = maps, sinks, head_limits(maps, self._sinks(reading)[:, None])
        self.atlas.set_maps(maps, self._limits[2], colours, aspect=aspect, signed=signed)
        low = -1.0 if signed else 0.0
        label = _BAR_LABELS[self._moment()]
        self.bar.set_scale(low, 1.0, colours, label, True)

    def _told(self) -> str:
        """What the maps are of, in words."""
        return {
            "before": "α before",
            "after": "α after, local",
            "difference": "change of α, local",
        }[self._moment()]

    def _some_maps(self, heads: Sequence[Head]) -> Thumbnails:
        """The maps of a few heads, for the line."""
        reading = self._reading
        assert reading is not None
        maps = reading.some_head_maps(heads, self._part(reading).views, self._moment())
        colours, signed, aspect = self._look(reading)
        layers = [layer for layer, _ in heads]
        high = head_limits(maps, self._sinks(reading)[layers])
        caption = f"{self._told()}, each head on its own scale"
        return Thumbnails(maps, high, colours, aspect, signed, caption)

    # ---------------------------------------------------------------------------- the user
    def _choose_value(self) -> None:
        key = self.value.currentData()
        changes: dict[str, Any] = {"thumbnails": key == THUMBNAILS}
        if key != THUMBNAILS:
            changes["head_value"] = key
        self._set_view(**changes)

    def _set_view(self, **changes: Any) -> None:
        if self.workspace is not None:
            self.workspace.view.set(**changes)

    def _pick(self, heads: frozenset[Head], layer: int) -> None:
        if self.workspace is not None:
            self.workspace.selection.select_heads(heads, None if layer < 0 else layer)

    def _select_all(self) -> None:
        if self.workspace is not None:
            self.workspace.selection.select_all()
            # A click on the button that is down already must not lift it.
            self.all_heads.setChecked(True)

    def _hover(self, layer: int, head: int) -> None:
        self._hovered = (layer, head)
        self._say_hovered()

    def _say_hovered(self) -> None:
        reading, (layer, head) = self._reading, self._hovered
        shape = self._values.shape
        if reading is None or not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            self.hover.set_text("")
            return
        assert self.workspace is not None
        view = self.workspace.view.current
        quantity = BY_KEY.get(view.head_value, QUANTITIES[0])
        texts = told(reading, layer, head, quantity, float(self._values[layer, head]))
        texts.insert(1, word_text(reading, self.workspace.selection.position))
        if view.head_order == "sorted":
            texts.insert(2, f"rank {self.strip.rank_of((layer, head)):,} of {self.strip.count:,}")
        self.hover.set_text(" · ".join(texts))

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Nobody looks: stop reading rows, and go on when shown again."""
        super().hideEvent(event)
        if self._timer.isActive():
            self._timer.stop()
            self._stale = True
