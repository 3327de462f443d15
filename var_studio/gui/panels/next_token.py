"""The Next token panel: what the model might have said instead, before and after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6 import QtWidgets

from var_studio.errors import VarStudioError
from var_studio.gui.models.answers import Step, Way, scored, step_at
from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.candidates_view import CandidatesView, Line
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.segmented import Segmented
from var_studio.recording.tokens import bare

if TYPE_CHECKING:
    from var_studio.analysis.candidates import Candidate, Candidates
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace

WAYS = (
    ("free", "Free-running", "The second answer as the model wrote it, up to where the two part"),
    (
        "forced",
        "Teacher-forced",
        "The model under the interventions, made to give the baseline's answer: every word can be "
        "compared",
    ),
)


class NextTokenPanel(Panel):
    """The ten likeliest tokens of the step that chose the selected word."""

    help_text = (
        "The candidates among which the model chose the selected word of the answer: the ten "
        "likeliest before and after the interventions, their probabilities before temperature and "
        "top-p, the change of their log-probability in nats, and their ranks. “Free-running” "
        "compares the baseline with the second answer, which is possible up to the first word at "
        "which they part: from there on they follow different texts. “Teacher-forced” makes the "
        "changed model give the baseline's answer, so that every word can be compared; Run pair "
        "records both. A candidate that is not among those recorded is known to lie below the "
        "last of them: ≤. A dot marks the word that was chosen."
    )
    data_file = "next-token.csv"
    empty_text = (
        "Press Run pair (Ctrl+R) and click a word of the answer: the ten likeliest candidates "
        "before and after the interventions appear here."
    )

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._way: Way | None = None
        self.way = Segmented("What is compared", WAYS)
        self.way.chosen.connect(self._choose)
        self.header.add_control(self.way)
        body = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(body)
        column.setContentsMargins(10, 2, 10, 6)
        column.setSpacing(4)
        self.subject = HoverLine("")
        self.subject.setAccessibleName("What the candidates are for")
        column.addWidget(self.subject)
        self.candidates = CandidatesView()
        self.candidates.setToolTip(
            "Outline: probability before; filled: after. Log-probabilities in nats, before "
            "temperature and top-p. ●: chosen."
        )
        column.addWidget(self.candidates.scrolled(), 1)
        self.set_body(body)

    def set_workspace(self, workspace: Workspace) -> None:
        """Listen also to runs that come and grow: the reading on screen may stay the same."""
        super().set_workspace(workspace)
        for signal in (workspace.runs_changed, workspace.tokens_appended):
            signal.connect(self._runs_changed)

    def refresh(self, reading: Reading | None) -> None:
        """Show the candidates for the selected word."""
        workspace = self.workspace
        if workspace is None or workspace.run is None:
            return
        step = step_at(workspace, self._present_way())
        self.way.set_current(self._present_way())
        if isinstance(step, str):
            self.show_empty(step)
            return
        from var_studio.analysis.candidates import candidates

        self.show_body()
        found = candidates(step.before, step.after)
        self.subject.set_text(_subject(step, found))
        both = step.after is not None
        self.candidates.set_lines([_line(row, found, both) for row in found.rows], both)

    def data_text(self) -> str:
        """The candidates as CSV: log-probabilities in nats, ranks from 1, -1 where not recorded."""
        from var_studio.analysis.candidates import candidates
        from var_studio.gui.data_files import csv_of

        step: Step | str = "There is no word to save the candidates of."
        if self.workspace is not None and self.workspace.run is not None:
            step = step_at(self.workspace, self._present_way())
        if isinstance(step, str):
            raise VarStudioError(step, "Click a word of the answer.")
        rows = candidates(step.before, step.after).rows
        nan = math.nan
        return csv_of(
            {
                "word": [step.number] * len(rows),
                "comparison": [step.way if step.after is not None else "none"] * len(rows),
                "token": [row.id for row in rows],
                "text": [row.text for row in rows],
                "logprob_before": [nan if row.before is None else row.before for row in rows],
                "logprob_after": [nan if row.after is None else row.after for row in rows],
                "change": [nan if row.change is None else row.change for row in rows],
                "rank_before": [row.rank_before or -1 for row in rows],
                "rank_after": [row.rank_after or -1 for row in rows],
                "chosen_before": [row.chosen_before for row in rows],
                "chosen_after": [row.chosen_after for row in rows],
            }
        )

    def _runs_changed(self) -> None:
        if self.workspace is not None:
            self._reading_changed(self.workspace.reading)

    def _present_way(self) -> Way:
        """What the user chose; until then what there is: a scored run compares every word."""
        if self._way is not None or self.workspace is None:
            return self._way or "free"
        return "forced" if scored(self.workspace) is not None else "free"

    def _choose(self, way: str) -> None:
        self._way = "forced" if way == "forced" else "free"
        if self.workspace is not None:
            self.refresh(self.workspace.reading)


def _subject(step: Step, found: Candidates) -> str:
    word = bare(step.before.text)
    begin = f"Word {step.number} of the answer, “{word}”"
    if step.after is None:
        return f"{begin} · {step.why}"
    how = "teacher-forced" if step.way == "forced" else "free-running"
    chosen = next((row.change for row in found.rows if row.chosen_before), None)
    change = "" if chosen is None else f" · Δ log p {_signed(chosen)} nats"
    took = ""
    if step.after.id != step.before.id:
        took = f" · after: “{bare(step.after.text)}”"
    return f"{begin} · {how}{change}{took}"


def _line(row: Candidate, found: Candidates, both: bool) -> Line:
    ranks = str(row.rank_before or f">{_recorded(found, True)}")
    if both:
        ranks += f" → {row.rank_after or f'>{_recorded(found, False)}'}"
    change = ""
    if both and row.change is not None:
        change = _signed(row.change)
    elif both:
        change = _bound(row, found)
    return Line(
        word=bare(row.text),
        before=None if row.before is None else math.exp(row.before),
        after=None if row.after is None else math.exp(row.after),
        change=change,
        ranks=ranks,
        chosen="●" if row.chosen_before or row.chosen_after else "",
        below_before=None if found.least_before is None else math.exp(found.least_before),
        below_after=None if found.least_after is None else math.exp(found.least_after),
    )


def _recorded(found: Candidates, before: bool) -> int:
    """How many candidates were recorded on that side."""
    ranks = (row.rank_before if before else row.rank_after for row in found.rows)
    return max((rank for rank in ranks if rank is not None), default=0)


def _bound(row: Candidate, found: Candidates) -> str:
    """What is known of a change where one side was not recorded."""
    if row.before is not None and row.after is None and found.least_after is not None:
        most = found.least_after - row.before
        return f"≤ {_signed(most)}" if math.isfinite(most) else ""
    if row.after is not None and row.before is None and found.least_before is not None:
        least = row.after - found.least_before
        return f"≥ {_signed(least)}" if math.isfinite(least) else ""
    return ""


def _signed(nats: float) -> str:
    if math.isinf(nats):
        return "−∞" if nats < 0 else "+∞"
    return "0" if abs(nats) < 0.005 else f"{nats:+.2f}".replace("-", "−")
