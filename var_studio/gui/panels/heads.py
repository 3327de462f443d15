"""The Heads panel: all layers and heads for the selected token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtWidgets

from var_studio.analysis.scale import full_limits
from var_studio.figures.words import STRIP_NOTE
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import heads_text
from var_studio.gui.widgets.atlas_pixels import without_nan
from var_studio.gui.widgets.atlas_view import AtlasView
from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace

THUMBNAILS = "thumbnails"
VALUES: tuple[tuple[str, str, str], ...] = (
    ("non_sink_ratio", "Non-sink ratio r", "Part of the visual mass on visual non-sinks (Eq. 3)"),
    ("visual_mass", "Visual mass", "Attention on the image (Sec. 5.1)"),
    ("sink_mass", "Sink mass", "Attention on all sinks, visual and text (Sec. 4.1)"),
    ("entropy", "Entropy", "Entropy of the row over all tokens, in nats"),
    (THUMBNAILS, "Thumbnails", "The map of every head, each on its own scale"),
)
_UNITS = {
    "non_sink_ratio": "share of the visual mass",
    "visual_mass": "share of the row",
    "sink_mass": "share of the row",
    "entropy": "nats",
}
VALUE_COLOURS = "viridis"


class HeadsPanel(Panel):
    """One cell for each head: a value, or its map in small; image-centric heads outlined."""

    name = "heads"
    title = "Heads"
    help_text = (
        "The whole model at a glance: layers from top to bottom, heads from left to right. Green "
        "outlines mark image-centric heads: those that give the image at least the least visual "
        "mass and whose part on visual non-sinks, r, is at least ρ (Sec. 5.1). They follow τ, ρ "
        "and the least mass while you drag. Click a head to see its map; Shift or Ctrl adds "
        "heads; click the number of a layer or head for a whole row or column. Maps and ledger "
        "show the mean over what is selected."
    )
    empty_text = "Click a word of the answer: every head of the model appears here as one cell."
    figure_name = "heads"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading: Reading | None = None
        self._hovered = (-1, -1)
        self.value = QtWidgets.QComboBox()
        for key, label, tip in VALUES:
            self.value.addItem(label, key)
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
        self.summary = HoverLine("")
        self.summary.setAccessibleName("Image-centric heads")
        self.all_heads = QtWidgets.QToolButton()
        self.all_heads.setText("All heads")
        self.all_heads.setObjectName("toggle")
        self.all_heads.setCheckable(True)
        self.all_heads.setAutoRaise(True)
        self.all_heads.setToolTip("Show the mean over all heads of all layers.")
        self.all_heads.clicked.connect(self._select_all)
        top = QtWidgets.QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self.summary, 1)
        top.addWidget(self.all_heads)
        column.addLayout(top)
        self.atlas = AtlasView()
        self.atlas.head_clicked.connect(self._select_head)
        self.atlas.layer_clicked.connect(self._select_layer)
        self.atlas.column_clicked.connect(self._select_column)
        self.atlas.all_clicked.connect(self._select_all)
        self.atlas.head_hovered.connect(self._hover)
        column.addWidget(self.atlas, 1)
        self.strip_note = HoverLine("")
        self.strip_note.set_text(STRIP_NOTE)
        self.strip_note.hide()
        column.addWidget(self.strip_note)
        self.bar = ColourBar()
        column.addWidget(self.bar)
        self.hover = HoverLine("Rest the pointer on a head for its numbers; click to select it.", 2)
        column.addWidget(self.hover)
        return body

    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the workspace and the choice of value."""
        super().set_workspace(workspace)
        workspace.view.changed.connect(self._view_changed)
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
            return
        self._show_cells(reading)
        self.atlas.set_outlined(reading.image_centric)
        self.atlas.set_selected(reading.focus.heads, reading.focus.layer)
        self.atlas.setAccessibleDescription(f"Selected: {heads_text(reading)}")
        self.all_heads.setChecked(not reading.focus.heads)
        self.summary.set_text(summary(reading))
        self._say_hovered()

    def _show_choice(self) -> str:
        assert self.workspace is not None
        view = self.workspace.view.current
        key = THUMBNAILS if view.thumbnails else view.head_value
        self.value.setCurrentIndex(max(self.value.findData(key), 0))
        return str(self.value.currentData())

    def _show_cells(self, reading: Reading) -> None:
        assert self.workspace is not None
        key = self._show_choice()
        self.strip_note.setVisible(key == THUMBNAILS and not reading.run.layout.known)
        if key == THUMBNAILS:
            self._show_maps(reading)
            return
        values = reading.head_value(key)  # type: ignore[arg-type]
        high = full_limits(values).high if key == "entropy" else 1.0
        label = {k: text for k, text, _ in VALUES}[key] + f" ({_UNITS[key]})"
        self.atlas.set_values(values, 0.0, high, VALUE_COLOURS)
        self.bar.set_scale(0.0, high, VALUE_COLOURS, label)

    def _show_maps(self, reading: Reading) -> None:
        assert self.workspace is not None
        view = self.workspace.view.current
        moment = view.shown if view.shown in ("after", "difference") else "before"
        moment = "before" if moment == "difference" else moment
        maps = reading.head_maps(0, moment)  # type: ignore[arg-type]
        layout = reading.run.layout
        first = layout.views[0] if layout.known else layout.strip()
        left, top, right, bottom = first.box
        aspect = (right - left) / max(bottom - top, 1e-9)
        tokens = first.tokens
        sinks = reading.sinks[:, reading.positions[np.maximum(tokens, 0)]] & (tokens >= 0)
        self.atlas.set_maps(
            maps, head_limits(maps, sinks), view.colour_map, aspect=min(max(aspect, 0.4), 2.5)
        )
        when = "after redistribution" if moment == "after" else "before"
        self.bar.set_scale(0.0, 1.0, view.colour_map, f"α / each head's own limit ({when})", True)

    # ---------------------------------------------------------------------------- the user
    def _choose_value(self) -> None:
        if self.workspace is None:
            return
        key = self.value.currentData()
        changes: dict[str, Any] = {"thumbnails": key == THUMBNAILS}
        if key != THUMBNAILS:
            changes["head_value"] = key
        self.workspace.view.set(**changes)

    def _select_head(self, layer: int, head: int, extend: bool) -> None:
        if self.workspace is not None:
            self.workspace.selection.select_head(layer, head, extend)

    def _select_layer(self, layer: int, extend: bool) -> None:
        if self.workspace is not None:
            self.workspace.selection.select_layer(layer, extend)

    def _select_column(self, head: int, extend: bool) -> None:
        if self.workspace is not None:
            self.workspace.selection.select_column(head, extend)

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
        if reading is None or layer < 0 or layer >= reading.run.n_layers:
            self.hover.set_text("")
            return
        texts = [f"layer {layer} · head {head}"]
        for name, symbol in (
            ("non_sink_ratio", "r"),
            ("visual_mass", "visual mass"),
            ("sink_mass", "sink mass"),
            ("entropy", "entropy"),
        ):
            value = float(reading.head_value(name)[layer, head])  # type: ignore[arg-type]
            unit = " nats" if name == "entropy" else ""
            texts.append(f"{symbol} {number_text(value)}{unit}")
        if reading.image_centric[layer, head]:
            texts.append("image-centric")
        self.hover.set_text(" · ".join(texts))


def head_limits(
    maps: npt.NDArray[np.floating], sinks: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Upper limit of each head's own scale, (L, H): its largest value outside the layer's sinks.

    `maps` (L, H, rows, cols), `sinks` (L, rows, cols). One sink then does not black out the rest
    of its thumbnail. A head that looks at sinks alone gets the largest value of all.
    """
    layers, heads = maps.shape[:2]
    filled = without_nan(maps)
    others = (filled * ~sinks[:, None]).reshape(layers, heads, -1).max(axis=-1)
    whole = filled.reshape(layers, heads, -1).max(axis=-1)
    return np.where(others > 0, others, whole).astype(np.float32)


def summary(reading: Reading) -> str:
    """How many heads are image-centric, and by which rule (Sec. 5.1)."""
    settings, chosen = reading.settings, reading.image_centric
    rule = f"r ≥ {settings.rho:g}"
    if settings.convention == "released-code":
        rule = f"sink share ≤ {settings.rho:g}"
    return (
        f"{int(chosen.sum()):,} of {chosen.size:,} heads image-centric "
        f"({rule}, mass ≥ {settings.mass_min:g})"
    )
