"""The φ×α scatter: what separates tokens that take attention for nothing from those that matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6 import QtCore, QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import heads_text, subject
from var_studio.gui.widgets.chart_axes import Axis, Guide
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.scatter_view import Points, ScatterView
from var_studio.gui.widgets.ticks import number_text, setting_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.analysis.scatter import PhiAlpha

LEAST = 1e-6
"""Bottom of the log scale; below the least half-precision weight that says something."""
VISUAL = (("visual", "●", "visual non-sinks"), ("sink", "●", "visual sinks"))
TEXT = (("text_tokens", "■", "text"), ("bos", "◆", "BOS"))


class PhiAlphaPanel(Panel):
    """One point for each token: φ in the layer, attention from the heads in focus (Fig. 3a)."""

    help_text = (
        "Each point is a visual token: its sink-dimension value φ in the selected layer, and the "
        "attention α that the selected token and heads give it, before redistribution (Fig. 3a). "
        "Tokens with much attention fall into two groups: those with a small φ matter, those with "
        "φ ≥ τ are sinks. Drag the line to change τ, or use PageUp and PageDown. Pull up a "
        "rectangle to mark tokens in the image; Shift adds to them, a click on nothing clears "
        "them. Where the heads lie in other layers than the selected one, φ is still that of the "
        "selected layer."
    )
    empty_text = "Click a word of the answer: φ and attention of every visual token appear here."
    figure_name = "scatter"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._points: PhiAlpha | None = None
        self._reading: Reading | None = None
        self.text = self._toggle("Text", "Show text tokens as well as visual ones.")
        self.log = self._toggle("log α", "Attention on a log scale, or on a linear one (Fig. 3a).")
        self.log.setChecked(True)
        self.scatter = ScatterView("Scatter plot of φ and attention with the threshold τ")
        self.scatter.setToolTip("φ of Sec. 4.1 against α, Fig. 3a. Drag the line: τ.")
        self.scatter.guide_dragged.connect(self._drag)
        self.scatter.guide_released.connect(self._release)
        self.scatter.picked.connect(self._pick)
        self.scatter.point_hovered.connect(self._hover)
        self.legend = Legend(*VISUAL)
        self.hover = HoverLine("Drag the line: τ. Pull up a rectangle to mark tokens in the image.")
        self.frame = PlotFrame(self.legend, self.hover)
        self.frame.set_plot(self.scatter)
        self.set_body(self.frame)

    def _toggle(self, text: str, tip: str) -> QtWidgets.QToolButton:
        button = QtWidgets.QToolButton()
        button.setText(text)
        button.setObjectName("toggle")
        button.setCheckable(True)
        button.setAutoRaise(True)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        button.clicked.connect(self._choose)
        self.header.add_control(button)
        return button

    def refresh(self, reading: Reading | None) -> None:
        """Show the points of this reading."""
        self._reading = reading
        if reading is None or self.workspace is None:
            return
        from var_studio.analysis.scatter import phi_alpha

        points = phi_alpha(reading, self.text.isChecked())
        self._points = points
        if not points.visual.any():
            from var_studio.figures.words import no_dims, phi_undefined

            why = phi_undefined(reading) or no_dims(reading)
            self.show_empty(why or f"φ of no visual token is known. {_other_dims(reading)}")
            return
        bound = max(math.sqrt(reading.run.hidden_size), float(points.phi.max()))
        self.scatter.set_axes(
            Axis(0.0, bound, "sink-dimension value φ", end=f"√D = {number_text(bound)}"),
            self._alpha_axis(float(points.alpha.max())),
        )
        chosen = np.isin(points.tokens, list(self.workspace.selection.cells))
        visual, text = points.visual, ~points.visual & ~points.first
        self.scatter.set_points(
            points.phi,
            points.alpha,
            Points(np.flatnonzero(text), "text_tokens", "square", 4.0, alpha=200),
            Points(np.flatnonzero(visual & ~points.sink), "visual", "dot", 5.0, alpha=190),
            Points(np.flatnonzero(visual & points.sink), "sink", "dot", 7.0),
            Points(np.flatnonzero(points.first & ~visual), "bos", "diamond", 11.0),
            Points(np.flatnonzero(chosen), "selection", "ring", 11.0),
        )
        tau = reading.settings.tau
        assert tau is not None
        n_sinks = int((points.sink & visual).sum())
        sinks = f"{n_sinks} visual sink{'s' * (n_sinks != 1)} of {int(visual.sum())} tokens"
        caption = f"τ = {setting_text(tau)} · {sinks}"
        self.scatter.set_guides(Guide("tau", True, tau, caption, 0.0, bound))
        entries = VISUAL + (TEXT if self.text.isChecked() else ())
        selection, layer = self.workspace.selection, reading.focus.layer
        said = subject(reading, selection.position, selection.row_of)
        self.frame.say_subject(f"{said} · φ of layer {layer}")
        total = points.unknown + len(points.phi)
        note = f"φ known for {len(points.phi)} of {total}" if points.unknown else ""
        self.legend.set_entries(*entries, note=note)
        self.scatter.tell_hovered()

    def _alpha_axis(self, most: float) -> Axis:
        name = "α (% of the row)"
        if self.log.isChecked():
            return Axis(LEAST, 1.0, name, log=True, percent=True)
        return Axis(0.0, max(1.05 * most, LEAST), name, percent=True)

    # ---------------------------------------------------------------------------- the user
    def _choose(self) -> None:
        self._reading_changed(self._reading)

    def _drag(self, _: str, tau: float) -> None:
        if self.workspace is not None:
            self.workspace.method.set(drag=True, tau=round(tau, 2))

    def _release(self, _: str) -> None:
        if self.workspace is not None:
            self.workspace.method.end_drag()

    def _pick(self, which: object, extend: bool) -> None:
        if self.workspace is None or self._points is None:
            return
        tokens = self._points.tokens[np.asarray(which, dtype=np.int64)]
        cells = frozenset(int(k) for k in tokens if k >= 0)
        before = self.workspace.selection.cells if extend else frozenset()
        self.workspace.selection.select_cells(before | cells)

    def _hover(self, index: int) -> None:
        points, reading = self._points, self._reading
        if points is None or reading is None or not 0 <= index < len(points.phi):
            self.hover.set_text("")
            return
        token = int(points.tokens[index])
        alpha = f"α {number_text(100 * float(points.alpha[index]))} %"
        parts = [f"φ {number_text(float(points.phi[index]))}", alpha]
        if token >= 0:
            about = reading.token(token)
            parts = [f"visual token {token}", *parts, f"rank {about.rank}"]
            if about.row >= 0:
                parts.insert(1, f"row {about.row}, column {about.col}")
        else:
            from var_studio.figures.words import visible

            position = int(points.positions[index])
            word = visible(reading.run.tokens[position].text)
            parts = [f"{word} (position {position})", *parts]
        parts += ["sink"] if points.sink[index] else []
        self.hover.set_text(" · ".join([*parts, heads_text(reading)]))


def _other_dims(reading: Reading) -> str:
    dims = ", ".join(map(str, reading.sink_dims))
    return (
        f"The sink dimensions {dims} are not among the recorded ones of any visual token in layer "
        f"{reading.focus.layer}: choose another layer, or run again with them."
    )
