"""The Layers panel: where sinks emerge, and how many there are (Fig. 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6 import QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.chart_axes import Axis, Guide
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.index_chart import Bars, Curve, IndexChart
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.ticks import number_text, setting_text

if TYPE_CHECKING:
    from var_studio.analysis.layers import LayerProfile, Spread
    from var_studio.analysis.reading import Reading


class LayersPanel(Panel):
    """φ by layer of BOS, visual sinks and other visual tokens; visual sinks counted."""

    help_text = (
        "Left: the sink-dimension value φ at the input of each layer, of BOS (the first token), of "
        "the visual sinks that the layer has and of its other visual tokens; lines are means, "
        "bands go from the smallest to the largest (Fig. 8a). Right: how many visual sinks each "
        "layer has (Fig. 8b). Drag the line to change τ. Click a layer to select it; ↑ and ↓ step "
        "through the layers."
    )
    empty_text = "Run the model: φ and the number of visual sinks appear here layer by layer."
    figure_name = "layers"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: LayerProfile | None = None
        self._of: tuple[object, ...] = ()
        self.phi = IndexChart("φ by layer")
        self.phi.setToolTip("φ of Sec. 4.1 by layer, Fig. 8a. Drag the line: τ.")
        self.phi.guide_dragged.connect(self._drag)
        self.phi.guide_released.connect(self._release)
        self.counts = IndexChart("Number of visual sinks by layer")
        self.counts.heading = "number of visual sinks"
        self.counts.setToolTip("Number of visual sinks by layer, Fig. 8b.")
        for chart in (self.phi, self.counts):
            chart.index_clicked.connect(self._choose_layer)
            chart.index_hovered.connect(self._hover)
        self.phi.heading = "sink-dimension value φ"
        self.legend = Legend(
            ("bos", "●", "BOS"),
            ("sink", "●", "visual sinks"),
            ("visual", "●", "other visual tokens"),
            note="mean, smallest to largest",
        )
        self.hover = HoverLine("Click a layer to select it; drag the line to change τ.")
        both = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        row.addWidget(self.phi, 3)
        row.addWidget(self.counts, 2)
        self.frame = PlotFrame(self.legend, self.hover)
        self.frame.set_plot(both)
        self.set_body(self.frame)

    def refresh(self, reading: Reading | None) -> None:
        """Show all layers of this reading's run."""
        if reading is None:
            self._shown, self._of = None, ()
            return
        from var_studio.analysis.layers import layer_profile
        from var_studio.figures.words import no_dims, phi_known

        if no_dims(reading):
            self._shown, self._of = None, ()
            self.show_empty(no_dims(reading))
            return

        run, layer = reading.run, reading.focus.layer
        of = (reading.phi, reading.sinks)  # the same arrays as long as nothing of them changes
        if self._shown is None or any(a is not b for a, b in zip(of, self._of, strict=True)):
            self._shown, self._of = layer_profile(reading), of
        shown = self._shown
        self.frame.say_subject(
            f"Input of every layer, {layer} selected · in it {phi_known(reading, layer)} · the "
            "same for every word and head"
        )
        bound = math.sqrt(run.hidden_size)
        tau = reading.settings.tau
        assert tau is not None
        top = max(1.05 * float(np.nanmax(reading.phi, initial=0.0)), min(1.25 * tau, bound), 1.0)
        self.phi.set_places(run.n_layers, "layer", Axis(0.0, top))
        self.phi.set_marks(
            Curve(shown.others.mean, "visual", shown.others.low, shown.others.high),
            Curve(shown.sinks.mean, "sink", shown.sinks.low, shown.sinks.high),
            Curve(shown.first, "bos"),
            current=layer,
        )
        self.phi.set_guides(Guide("tau", False, tau, f"τ = {setting_text(tau)}", 0.0, bound))
        most = max(int(shown.n_visual.max(initial=0)), 4)
        self.counts.set_places(run.n_layers, "layer", Axis(0.0, 1.08 * most, whole=True))
        self.counts.set_marks(Bars(shown.n_visual.astype(np.float64), "sink"), current=layer)
        self.counts.setAccessibleDescription(
            f"{int(shown.n_visual[layer])} visual sinks in layer {layer}"
        )
        for chart in (self.phi, self.counts):
            chart.tell_hovered()

    # ---------------------------------------------------------------------------- the user
    def _drag(self, _: str, tau: float) -> None:
        if self.workspace is not None:
            self.workspace.method.set(drag=True, tau=round(tau, 2))

    def _release(self, _: str) -> None:
        if self.workspace is not None:
            self.workspace.method.end_drag()

    def _choose_layer(self, layer: int) -> None:
        if self.workspace is not None:
            self.workspace.selection.set_layer(layer)

    def _unknown(self, layer: int) -> str:
        """How many more tokens of the layer may be sinks."""
        reading = None if self.workspace is None else self.workspace.reading
        number = 0 if reading is None else int(reading.n_undecided[layer])
        return f", {number} unknown" if number else ""

    def _hover(self, layer: int) -> None:
        shown = self._shown
        if shown is None or not 0 <= layer < len(shown.first):
            self.hover.set_text("")
            return
        visual, text = int(shown.n_visual[layer]), int(shown.n_text[layer])
        parts = [
            f"layer {layer}",
            f"{visual} visual sink{'s' * (visual != 1)}, {text} of text{self._unknown(layer)}",
            f"φ: BOS {number_text(float(shown.first[layer]))}",
        ]
        parts += _range("visual sinks", shown.sinks, layer)
        parts += _range("other visual tokens", shown.others, layer)
        self.hover.set_text(" · ".join(parts))


def _range(name: str, spread: Spread, layer: int) -> list[str]:
    mean, low, high = (float(values[layer]) for values in (spread.mean, spread.low, spread.high))
    if math.isnan(mean):
        return []
    return [f"{name} {number_text(mean)} ({number_text(low)} to {number_text(high)})"]
