"""The Image-centric share panel: which words look at the image, over the whole answer (Fig. 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.errors import VarStudioError
from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.chart_axes import Axis
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.index_chart import Bars, IndexChart
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.ticks import number_text, setting_text
from var_studio.recording.tokens import bare

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.analysis.shares import RowMasses
    from var_studio.gui.models.workspace import Workspace

SLICE = 0.008
"""Seconds of reading rows at a time: less than a frame."""
PAUSE = 16
"""Milliseconds between two slices, for everything else."""
REST = 150
"""Milliseconds that τ has to stand still before rows are read again."""
REPAINT = 8
"""Slices between two repaints while rows come in."""


class SharesPanel(Panel):
    """One bar for each text token: the share of the model's heads that are image-centric."""

    help_text = (
        "For each text token, which share of all heads of the model is image-centric: visual mass "
        "of at least the given one and non-sink ratio r ≥ ρ (App. A.3, Fig. 10). Words that need "
        "the image have more such heads than words that follow from the sentence. Bars of the "
        "answer are coloured, those of the question grey. Click a bar to select its token. The "
        "rows are read while nothing else goes on; ρ and the least visual mass then act at once, "
        "another τ reads them again."
    )
    empty_text = "Ask a question: the share of image-centric heads of each word appears here."
    figure_name = "shares"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading: Reading | None = None
        self._masses: RowMasses | None = None
        self._positions: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._queries: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._shares: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._slices = 0
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._advance)
        self.chart = IndexChart("Share of image-centric heads of each text token")
        self.chart.setToolTip("Image-centric heads / all heads, by token: App. A.3, Fig. 10.")
        self.chart.index_clicked.connect(self._choose)
        self.chart.index_hovered.connect(self._hover)
        self.legend = Legend()
        self.hover = HoverLine("Click a bar to select its token.")
        self.frame = PlotFrame(self.legend, self.hover)
        self.frame.set_plot(self.chart)
        self.set_body(self.frame)

    def refresh(self, reading: Reading | None) -> None:
        """Show what is known of this reading's run; go on reading rows where some are missing."""
        self._reading = reading
        self._timer.stop()
        if reading is None or self.workspace is None:
            return
        from var_studio.analysis.shares import row_masses

        masses = row_masses(reading.run, reading.settings)
        other = masses is not self._masses
        self._masses = masses
        self._find_rows(reading, self.workspace)
        self._show()
        if not masses.complete:
            self._timer.start(REST if other else PAUSE)

    def _find_rows(self, reading: Reading, workspace: Workspace) -> None:
        """The tokens that have a row, and which."""
        run = reading.run
        positions = np.array(workspace.positions_with_row(run), dtype=np.int64)
        shift = 0 if workspace.selection.row_of == "query" else 1
        self._positions = positions
        self._queries = np.searchsorted(run.query_positions, positions - shift)

    def _advance(self) -> None:
        """Read rows for a moment, those of the selected token and after it first."""
        if self._masses is None or self._reading is None:
            return
        try:
            complete = self._masses.advance(SLICE, self._reading.focus.query)
        except VarStudioError as error:  # a damaged row
            self.show_empty(str(error))
            return
        self._slices += 1
        if complete or self._slices % REPAINT == 0:
            self._show()
        if not complete:
            self._timer.start(PAUSE)

    def _show(self) -> None:
        reading, masses = self._reading, self._masses
        if reading is None or masses is None or self.workspace is None:
            return
        from var_studio.figures.words import undecided_line

        run, position = reading.run, self.workspace.selection.position
        shares = self._shares = masses.image_centric_share(reading.settings)[self._queries]
        top = 1.08 * max(float(np.nanmax(shares, initial=0.0)), 0.05)
        words = [bare(run.tokens[int(p)].text) for p in self._positions]
        answer = np.isin(self._positions, run.generated_positions)
        current = np.flatnonzero(self._positions == position)
        self.chart.set_places(
            len(words), "token", Axis(0.0, top, "% of all heads", percent=True), words
        )
        self.chart.set_marks(
            Bars(np.where(answer, np.nan, shares), "text_tokens"),
            Bars(np.where(answer, shares, np.nan), "image_centric"),
            current=int(current[0]) if len(current) else -1,
        )
        total = run.n_layers * run.n_heads
        settings = reading.settings
        rule = "r ≥ ρ" if settings.convention == "paper" else "sink share ≤ ρ"
        row = "as query" if self.workspace.selection.row_of == "query" else "step that produced it"
        said = (
            f"Every word, {row} · all {total:,} heads · {rule} = {setting_text(settings.rho)}, "
            f"mass ≥ {setting_text(settings.mass_min)}"
        )
        unknown = undecided_line(reading)
        self.frame.say_subject(f"{said} · {unknown}" if unknown else said)
        done, total = int(masses.done.sum()), len(masses.done)
        self.legend.set_entries(
            ("image_centric", "■", "answer"),
            ("text_tokens", "■", "question"),
            note="% of all heads" if done == total else f"reading row {done} of {total}",
        )
        self.chart.tell_hovered()

    # ---------------------------------------------------------------------------- the user
    def _choose(self, index: int) -> None:
        if self.workspace is not None and index < len(self._positions):
            self.workspace.selection.select_token(int(self._positions[index]))

    def _hover(self, index: int) -> None:
        reading = self._reading
        if reading is None or not 0 <= index < len(self._positions):
            self.hover.set_text("")
            return
        from var_studio.figures.words import visible

        run, position = reading.run, int(self._positions[index])
        word = f"{visible(run.tokens[position].text)} (position {position})"
        share = float(self._shares[index])
        if np.isnan(share):
            self.hover.set_text(f"{word} · its row is still to be read")
            return
        total = run.n_layers * run.n_heads
        count = f"{round(share * total)} of {total} heads are image-centric"
        self.hover.set_text(f"{word} · {number_text(100 * share)} % · {count}")

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Nobody looks: stop reading rows, and go on when shown again."""
        super().hideEvent(event)
        if self._timer.isActive():
            self._timer.stop()
            self._stale = True
