"""The φ histogram panel: what separates sinks from other tokens, with τ to drag."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.ticks import number_text, setting_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import PhiHistogram, Reading
    from var_studio.gui.widgets.histogram_view import HistogramView

BINS = 80


class PhiHistogramPanel(Panel):
    """Counts of φ in one layer; visual, text and BOS told apart."""

    help_text = (
        "The sink-dimension value φ of every token at the input of one layer: the largest "
        "magnitude in the sink dimensions over the root mean square, at most √D (Sec. 4.1). "
        "Counts are on a log scale. Tokens with φ ≥ τ are sinks. BOS is the first token of the "
        "sequence, whatever a model begins with; in most models it is a sink. Drag the line to "
        "change τ; the sinks' boxes, the heads and the ledger follow. With the keyboard: PageUp "
        "and PageDown, with Shift in small steps. A drag is one step of Undo."
    )
    empty_text = "Run the model: φ of every token in a layer, and the threshold τ, appear here."
    figure_name = "histogram"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: PhiHistogram | None = None
        self._reading: Reading | None = None
        label = QtWidgets.QLabel("Layer")
        label.setObjectName("quiet")
        self.layer = QtWidgets.QSpinBox()
        self.layer.setToolTip("Layer whose φ and sinks are shown. Keys: ↑ and ↓")
        self.layer.setAccessibleName("Layer")
        self.layer.setKeyboardTracking(False)
        self.layer.valueChanged.connect(self._choose_layer)
        label.setBuddy(self.layer)
        self.header.add_control(label)
        self.header.add_control(self.layer)
        self.histogram: HistogramView | None = None
        self.legend = Legend(
            ("visual", "■", "visual tokens"),
            ("text", "□", "text tokens"),
            ("bos", "◆", "BOS"),
            note="log count",
        )
        self.hover = HoverLine(
            "Drag the line to change τ; rest the pointer on a bar for its count."
        )
        self.frame = PlotFrame(self.legend, self.hover)
        self.set_body(self.frame)

    def _plot(self) -> HistogramView:
        """The plot, made when there is something to plot: its library would delay the window."""
        if self.histogram is None:
            from var_studio.gui.widgets.histogram_view import HistogramView

            self.histogram = HistogramView()
            self.histogram.tau_dragged.connect(self._drag)
            self.histogram.tau_released.connect(self._release)
            self.histogram.bin_hovered.connect(self._hover)
            self.histogram.setToolTip("φ of Sec. 4.1. Drag the line: τ.")
            self.frame.set_plot(self.histogram)
        return self.histogram

    def prepare(self) -> None:
        """Load the plotting library while nothing else goes on."""
        self._plot()

    def refresh(self, reading: Reading | None) -> None:
        """Show φ of the layer in focus."""
        self._reading = reading
        if reading is None:
            return
        # Not before the first paint: the package costs a tenth of the time until then.
        from var_studio.figures.words import no_dims, phi_known

        run, layer = reading.run, reading.focus.layer
        with QtCore.QSignalBlocker(self.layer):
            self.layer.setRange(0, run.n_layers - 1)
            self.layer.setSuffix(f" / {run.n_layers - 1}")
            self.layer.setValue(layer)
        if no_dims(reading):
            self.show_empty(no_dims(reading))
            return
        counts = reading.phi_histogram(layer, BINS)
        if counts is not self._counts:
            self._counts = counts
            bound = max(math.sqrt(run.hidden_size), float(counts.edges[-1]))
            self._plot().set_counts(counts, bound)
        assert reading.settings.tau is not None
        self.frame.say_subject(
            f"Input of layer {layer} · {phi_known(reading, layer)} · the same for every word and "
            "head"
        )
        self._plot().set_tau(reading.settings.tau, caption(reading))
        self._plot().tell_hovered()

    # ---------------------------------------------------------------------------- the user
    def _drag(self, tau: float) -> None:
        if self.workspace is not None:
            # Two decimals are finer than a pixel and read better in figures and files.
            self.workspace.method.set(drag=True, tau=round(tau, 2))

    def _release(self) -> None:
        if self.workspace is not None:
            self.workspace.method.end_drag()

    def _choose_layer(self, layer: int) -> None:
        if self.workspace is not None:
            self.workspace.selection.set_layer(layer)

    def _hover(self, index: int) -> None:
        counts = self._counts
        if counts is None or index < 0 or index >= len(counts.visual):
            self.hover.set_text("")
            return
        low, high = (number_text(float(edge)) for edge in counts.edges[index : index + 2])
        text = f"φ {low} to {high} · {counts.visual[index]} visual · {counts.text[index]} text"
        self.hover.set_text(text + (" · BOS" if counts.bos[index] else ""))


def caption(reading: Reading) -> str:
    """τ and the number of sinks in the layer in focus."""
    from var_studio.figures.words import sinks_by_kind

    assert reading.settings.tau is not None
    return f"τ = {setting_text(reading.settings.tau)} · sinks: {sinks_by_kind(reading)}"
