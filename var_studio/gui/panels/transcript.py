"""The question and the answers, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QLabel,
    QScrollArea,
    QWidget,
)

from var_studio.gui.models.token_list import COLOURINGS, TokenListModel
from var_studio.gui.panels.answer_variants import AnswerVariants
from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.token_strip import TokenStrip
from var_studio.recording.interventions import run_name_for

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording

_LONGEST = 26
"""Characters of a question in the list of questions; its tooltip has them all."""


class TranscriptPanel(Panel):
    """Three paragraphs: the question, the baseline's answer, the answer with VAR."""

    name = "transcript"
    title = "Transcript"
    help_text = (
        "Every word the model read or wrote. Click one, also a repeated one, to see where the "
        "model looked: Image, Heads and the φ histogram follow. ← and → step from token to token, "
        "Home and End go to either end. Rest the pointer on a word for its probability and the "
        "candidates it beat. A red bar marks the first word at which the answer with VAR leaves "
        "the baseline's. “As query” shows the row of the word itself, the paper's reading; “step "
        "that produced it” shows the row from which the model chose the word."
    )
    empty_text = "Ask a question about a picture: the words will appear here, each one clickable."

    dead_token = Signal(str)  # why the clicked token cannot be selected

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        question = TokenListModel(lambda token: token.role != "generated", self)
        answer = TokenListModel(lambda token: token.role == "generated", self)
        second = TokenListModel(lambda token: token.role == "generated", self)
        self.question = TokenStrip(question, "Question")
        self.answer = TokenStrip(answer, "Answer")
        self.second = TokenStrip(second, "Answer with VAR")
        self.question_label = _caption("Question")
        self.answer_label = _caption("Answer")
        self.second_label = _caption("")
        self.parting = AnswerVariants()
        self.parting.choice.activated.connect(self._variant_chosen)
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(12, 4, 12, 8)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for row, (label, strip) in enumerate(self._rows()):
            grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(strip, row, 1)
            strip.token_clicked.connect(self._clicked)
            strip.dead_token_clicked.connect(self._dead_clicked)
            strip.home.connect(self._home)
            strip.end.connect(self._end)
        grid.addWidget(self.parting, 3, 1)
        grid.setRowStretch(4, 1)
        self.scroller = QScrollArea()
        self.scroller.setWidgetResizable(True)
        self.scroller.setFrameShape(QFrame.Shape.NoFrame)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._paragraphs = body
        self.scroller.setWidget(body)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._scroll_to_end)
        self._build_controls()
        self.set_body(self.scroller)

    def _rows(self) -> list[tuple[QLabel, TokenStrip]]:
        return [
            (self.question_label, self.question),
            (self.answer_label, self.answer),
            (self.second_label, self.second),
        ]

    @property
    def strips(self) -> tuple[TokenStrip, ...]:
        """Question, answer (baseline), answer with VAR."""
        return tuple(strip for _, strip in self._rows())

    def _build_controls(self) -> None:
        self.asked = QComboBox()
        self.asked.setToolTip("The questions of this session. Choose one to see its answers.")
        self.asked.setAccessibleName("Question shown")
        self.asked.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.asked.setMinimumContentsLength(_LONGEST)
        self.asked.activated.connect(self._asked_chosen)
        self.asked.hide()
        self.header.add_control(self.asked)
        self.row_of = QComboBox()
        self.row_of.addItem("Row: as query", "query")
        self.row_of.addItem("Row: step that produced it", "produced")
        self.row_of.setToolTip(
            "Which attention row stands for a word: its own, with the word as query (the paper's "
            "reading, Sec. 3), or the row of the step that produced it."
        )
        self.row_of.setAccessibleName("Attention row of a token")
        self.row_of.activated.connect(self._row_of_chosen)
        self.colour_by = QComboBox()
        for key, (label, _) in COLOURINGS.items():
            self.colour_by.addItem(f"Colour: {label.lower()}", key)
        self.colour_by.setCurrentIndex(1)
        self.colour_by.setToolTip(
            "Colour of the generated words. Probability: the stronger the amber, the less sure "
            "the model was of the word (log-probability, before temperature and top-p)."
        )
        self.colour_by.setAccessibleName("Colour of the tokens")
        self.colour_by.activated.connect(self._colour_chosen)
        self.header.add_control(self.colour_by)
        self.header.add_control(self.row_of)
        for strip in self.strips:
            strip.tokens.set_colouring("probability")

    # -------------------------------------------------------------------------- the workspace
    def set_workspace(self, workspace: Workspace) -> None:
        super().set_workspace(workspace)
        workspace.run_changed.connect(self._show_runs)
        workspace.runs_changed.connect(self._show_runs)
        workspace.tokens_appended.connect(self._grow)
        workspace.selection.changed.connect(self._show_selection)
        self._show_runs()

    def refresh(self, reading: Reading | None) -> None:
        # The words are there before there is a row to read.
        if self.workspace is not None and self.workspace.run is not None:
            self.show_body()
        else:
            self.show_empty()

    def _show_runs(self) -> None:
        workspace = self._workspace()
        first = workspace.baseline or workspace.paired
        second = workspace.paired if workspace.baseline is not None else None
        for strip, run in zip(self.strips, (first, first, second), strict=True):
            if strip.tokens.run is not run:
                strip.tokens.set_run(run)
            else:
                strip.tokens.grow()
        changed = workspace.paired
        changed_label = "" if changed is None else f"With {run_name_for(changed.interventions)}"
        alone = workspace.baseline is None and changed is not None
        self.answer_label.setText(
            changed_label if alone else "Baseline" if second is not None else "Answer"
        )
        self.second_label.setText(changed_label)
        self.answer.setAccessibleName(self.answer_label.text())
        for widget in (self.second_label, self.second):
            widget.setVisible(second is not None)
        self._mark_divergence(workspace.baseline, second)
        self._list_questions()
        self._show_selection()
        self.refresh(None)

    def _list_questions(self) -> None:
        workspace = self._workspace()
        groups = workspace.questions()
        self.asked.clear()
        for number, group in enumerate(groups):
            question = _question_of(group[0])
            short = question if len(question) <= _LONGEST else question[: _LONGEST - 1] + "…"
            self.asked.addItem(f"{number + 1}  {short}", number)
            self.asked.setItemData(number, question, Qt.ItemDataRole.ToolTipRole)
            if workspace.run is not None and any(run is workspace.run for run in group):
                self.asked.setCurrentIndex(number)
        self.asked.setVisible(len(groups) > 1)

    def _mark_divergence(self, baseline: Recording | None, other: Recording | None) -> None:
        self.parting.setVisible(baseline is not None and other is not None)
        if baseline is None or other is None:
            self.answer.tokens.set_divergence(None)
            return
        self.parting.show_runs(self._workspace().answers_with_var(baseline), other)
        from var_studio.analysis.compare import compare, generated
        from var_studio.analysis.scores import score

        compared = compare(baseline, other)
        first = compared.first_divergence
        for strip, run in ((self.answer, baseline), (self.second, other)):
            rest = [] if first is None else generated(run.tokens)[first:]
            strip.tokens.set_divergence(rest[0].position if rest else None)
        same_as_far = first is None and compared.n_other <= compared.n_baseline
        if other.teacher == baseline.id and same_as_far:
            scores = score(baseline.tokens, other.tokens)
            self.parting.say(
                "The baseline's own answer, scored: its log-probability changes by "
                f"{scores.total_change:+.3g}, {scores.mean_change:+.2g} a token (nats)."
            )
        elif not (baseline.finished and other.finished):
            self.parting.say("The second answer is being written.")
        elif compared.undecided and not compared.identical:
            self.parting.say("One answer was cut short; up to there both are the same.")
        elif first is None:
            self.parting.say("Both answers are the same, token by token.")
        else:
            self.parting.say(f"The answers part at token {first + 1} of the answer.")

    def _grow(self) -> None:
        at_end = self.scroller.verticalScrollBar()
        follow = at_end.value() >= at_end.maximum() - 4
        for strip in self.strips:
            strip.tokens.grow()
        workspace = self._workspace()
        if workspace.baseline is not None and workspace.paired is not None:
            self._mark_divergence(workspace.baseline, workspace.paired)
        self._show_selection()
        self.refresh(None)
        if follow:
            self._later.start()

    def _show_selection(self) -> None:
        workspace = self._workspace()
        selection = workspace.selection
        index = self.row_of.findData(selection.row_of)
        self.row_of.setCurrentIndex(index)
        for strip in self.strips:
            strip.tokens.set_selectable(self._rows_of(strip.tokens.run))
            mine = strip.tokens.run is workspace.run
            if strip.set_selected(selection.position if mine else None):
                self._bring_into_view(strip)

    def _bring_into_view(self, strip: TokenStrip) -> None:
        """Scroll, if need be, to the word selected by keys or by another panel."""
        place = strip.visualRect(strip.currentIndex()).center()
        inside = strip.mapTo(self._paragraphs, place)
        self.scroller.ensureVisible(inside.x(), inside.y(), 0, strip.fontMetrics().height() * 2)

    def _rows_of(self, run: Recording | None) -> set[int]:
        workspace = self._workspace()
        if run is None:
            return set()
        if run is workspace.run:
            return set(workspace.selection.positions)
        return set(workspace.positions_with_row(run))

    # ------------------------------------------------------------------------------- the user
    def _clicked(self, position: int) -> None:
        strip = self.sender()
        assert isinstance(strip, TokenStrip)
        run = strip.tokens.run
        if run is not None:
            self._workspace().look_at(run, position)

    def _dead_clicked(self, position: int) -> None:
        strip = self.sender()
        assert isinstance(strip, TokenStrip)
        text = strip.tokens.index_of(position).data(Qt.ItemDataRole.ToolTipRole)
        self.dead_token.emit(str(text).splitlines()[-1])

    def _home(self) -> None:
        selection = self._workspace().selection
        if selection.positions:
            selection.select_token(selection.positions[0])

    def _end(self) -> None:
        selection = self._workspace().selection
        if selection.positions:
            selection.select_token(selection.positions[-1])

    def _asked_chosen(self, number: int) -> None:
        workspace = self._workspace()
        workspace.look_at(workspace.questions()[number][-1])
        if workspace.baseline is not None:
            workspace.look_at(workspace.baseline)

    def _variant_chosen(self, number: int) -> None:
        workspace = self._workspace()
        baseline, looked_at = workspace.baseline, workspace.run
        workspace.look_at(self.parting.run_at(number))
        if baseline is not None and looked_at is baseline:
            workspace.look_at(baseline)
        self._show_runs()

    def _row_of_chosen(self) -> None:
        self._workspace().selection.set_row_of(self.row_of.currentData())

    def _colour_chosen(self) -> None:
        for strip in self.strips:
            strip.tokens.set_colouring(self.colour_by.currentData())

    def _scroll_to_end(self) -> None:
        bar = self.scroller.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _workspace(self) -> Workspace:
        assert self.workspace is not None
        return self.workspace


def _question_of(run: Recording) -> str:
    """The question as it was typed, on one line."""
    asked = run.provenance.get("prompt") or "".join(
        token.text for token in run.tokens if token.role == "prompt"
    )
    return " ".join(str(asked).split())


def _caption(text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName("caption")
    label.setMinimumWidth(64)
    label.setContentsMargins(0, 5, 0, 0)
    return label
