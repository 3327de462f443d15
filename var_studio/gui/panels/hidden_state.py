"""The Hidden state panel: in which dimensions a token is massive (Fig. 2 and 7)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import subject
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.profile_chart import ProfileChart

if TYPE_CHECKING:
    from var_studio.analysis.discovery import Discovery
    from var_studio.analysis.profiles import TokenProfile
    from var_studio.analysis.reading import Reading


LEAST = 86
"""A token has no room in less than this width."""
ENTRIES = (
    ("sink", "┃", "sink dimensions"),
    ("text_dim", "│", "others of the 16 largest"),
    ("unseen", "▨", "the rest lies below, not recorded"),
)


class HiddenStatePanel(Panel):
    """abs(x) / rms over the dimensions of chosen tokens; sink dimensions found, and their use."""

    help_text = (
        "The hidden state x at the input of the selected layer, as |x[d]| / rms(x) over its "
        "dimensions d (Fig. 2 and 7): of BOS (the first token), of the visual sink with the "
        "largest φ, of the visual token that gets the most attention and is no sink, and of cells "
        "selected in the image. A run records the 16 largest dimensions of each token and its sink "
        "dimensions; all others lie somewhere in the hatched part. On the right: the dimensions "
        "that are massive at BOS over most middle layers, found from this run. Where "
        "they differ from those in use, one click uses them; a run made with them records them "
        "exactly."
    )
    empty_text = "Run the model: hidden states of sinks and other tokens appear here."
    figure_name = "hidden"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading: Reading | None = None
        self._found: tuple[Hashable, Discovery] | None = None
        self.charts: list[ProfileChart] = []
        self.legend = Legend(*ENTRIES)
        self.hover = HoverLine("Rest the pointer on a line for its dimension and value.")
        both = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        self._row = QtWidgets.QHBoxLayout()
        self._row.setSpacing(4)
        row.addLayout(self._row, 1)
        row.addWidget(self._build_evidence())
        self.frame = PlotFrame(self.legend, self.hover)
        self.frame.set_plot(both)
        self.set_body(self.frame)

    def _build_evidence(self) -> QtWidgets.QWidget:
        inside = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(inside)
        column.setContentsMargins(0, 2, 0, 2)
        column.setSpacing(4)
        self.found = QtWidgets.QLabel()
        self.found.setAccessibleName("Sink dimensions found in this run, and those in use")
        self.evidence = QtWidgets.QLabel()
        self.evidence.setObjectName("quiet")
        self.evidence.setAccessibleName("Evidence for each of them")
        for label in (self.found, self.evidence):
            label.setWordWrap(True)
            label.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use = QtWidgets.QPushButton("Use these dimensions")
        self.use.setToolTip("Measure φ in the dimensions that were found (Sec. 4.1).")
        self.use.clicked.connect(self._use)
        for widget in (self.found, self.use, self.evidence):
            column.addWidget(widget)
        column.addStretch(1)
        scroll = QtWidgets.QScrollArea()
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        self._beside = scroll
        return scroll

    def refresh(self, reading: Reading | None) -> None:
        """Show the tokens of this reading."""
        self._reading = reading
        if reading is None or self.workspace is None:
            return
        from var_studio.analysis.profiles import profiles

        shown = profiles(reading, self.workspace.selection.cells)
        fitting = self._share_room()
        sizes = [float(p.magnitudes[0]) for p in shown if len(p.magnitudes)]
        top = 1.08 * max([1.0, *sizes])
        while len(self.charts) < len(shown):
            chart = ProfileChart()
            chart.numbered = not self.charts  # all share one axis
            chart.told.connect(self.hover.set_text)
            self.charts.append(chart)
            self._row.addWidget(chart, 1)
        for chart, one in zip(self.charts, shown, strict=False):
            size = reading.run.hidden_size
            chart.set_profile(one, _heading(one), size, top)
        for index, chart in enumerate(self.charts):
            chart.setVisible(index < min(len(shown), fitting))
        hidden = len(shown) - fitting
        self.legend.set_entries(*ENTRIES, note=f"{hidden} more: widen the panel" * (hidden > 0))
        selection = self.workspace.selection
        said = subject(reading, selection.position, selection.row_of)
        self.frame.say_subject(f"Input of layer {reading.focus.layer} · most attention: {said}")
        self._show_evidence(reading)
        for chart in self.charts:
            chart.tell_hovered()

    def _share_room(self) -> int:
        """Give the evidence its width; how many tokens have room beside it."""
        beside = min(max(self.width() * 3 // 10, 150), 230)
        self._beside.setFixedWidth(beside)
        return max(2, (self.width() - beside - 32) // LEAST)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Show as many tokens as there is room for."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._reading_changed(self._reading)

    def _show_evidence(self, reading: Reading) -> None:
        found = self.discovery(reading)
        used = _in_use(reading)
        same = set(found.dims) == set(used)
        said = f"<b>Found: {_listed(found.dims)}</b>"
        said += ", as used" if same else f"<br>In use: {_listed(used)}"
        self.found.setText(said)
        lines = [
            f"{e.dim}: {e.first_token:.1f} at BOS ({e.ratio:.0f} × ordinary), "
            f"{e.layers_share:.0%} of the middle layers, {len(e.carriers)} other tokens"
            for e in found.evidence
        ]
        none = "No dimension is massive at BOS over most middle layers."
        self.evidence.setText("<br>".join(lines or [none]))
        self.use.setVisible(bool(found.dims) and not same)

    def discovery(self, reading: Reading) -> Discovery:
        """What was found in the run; looked for once for each length of it."""
        run = reading.run
        key = (id(run), run.length, run.finished)
        if self._found is None or self._found[0] != key:
            from var_studio.analysis.discovery import find_sink_dims

            self._found = (key, find_sink_dims(*run.top_dims(), run.hidden_size))
        return self._found[1]

    # ---------------------------------------------------------------------------- the user
    def _use(self) -> None:
        if self.workspace is None or self._reading is None:
            return
        run, found = self._reading.run, self.discovery(self._reading)
        # None is the model's own: those of this run.
        own = set(found.dims) == set(run.sink_dims)
        self.workspace.method.set_dims_of_shown(None if own else found.dims)


def _listed(dims: Iterable[int]) -> str:
    return ", ".join(map(str, dims)) or "none"


def _in_use(reading: Reading) -> tuple[int, ...]:
    asked = reading.settings.sink_dims
    return tuple(reading.run.sink_dims if asked is None else asked)


def _heading(shown: TokenProfile) -> str:
    kinds = {"sink": "visual sink", "ordinary": "visual non-sink", "chosen": "selected"}
    return "BOS" if shown.kind == "first" else f"{kinds[shown.kind]} {shown.token}"
