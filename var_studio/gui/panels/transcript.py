"""The question and the answers, token by token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QModelIndex, QPointF, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QPainter, QPalette, QPixmap, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.gui.models.token_list import TokenListModel
from var_studio.gui.models.word_colours import COLOURINGS, WordColours
from var_studio.gui.panels.answer_variants import AnswerVariants, how_they_differ
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.question_names import clipped, told_apart
from var_studio.gui.panels.transcript_search import TranscriptSearch
from var_studio.gui.widgets.answer_pair import AnswerPair
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.let_go import LetGo
from var_studio.gui.widgets.tints import Hues, TintBar
from var_studio.gui.widgets.token_strip import TokenStrip
from var_studio.recording.interventions import run_name_for

if TYPE_CHECKING:
    from var_studio.analysis.compare import Comparison
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording

_SHORTEST: Final = 20
"""Characters that are always seen of a list's present entry."""
_LONG: Final = 150
"""Of an answer with more words, those that are written are not shown one by one."""
_CATCH_UP_MS: Final = 300
_REST: Final = 20
"""Times as long as its words took, a growing answer waits; painting them takes as long again."""
_HUES: Final = {
    "probability": Hues("warning"),
    "visual_mass": Hues("visual"),
    "sink_mass": Hues("sink"),
    "image_centric_share": Hues("image_centric"),
    "delta_logprob": Hues("bos", "visual"),
    "reverse": Hues("visual"),
}


class TranscriptPanel(Panel):
    """The question, and below it the baseline's answer and the second one, word under word."""

    help_text = (
        "Every word the model read or wrote. Click one, also a repeated one, to see where the "
        "model looked: Image, Heads and the φ histogram follow. ← and → step from token to token, "
        "Home and End go to either end. To search press / and type: Enter or F3 goes to the next "
        "word found (letters without / are keys of the window: R runs, S boxes the sinks). A click "
        "on the image between the words leads to the Image panel. Two answers stand under each "
        "other, word under word; a dash is a gap where the other answer has a word more. A red "
        "bar marks the first word at which the second answer leaves the baseline's, dots the "
        "words that differ. "
        "“Colour” tints the words by their probability, by the attention they give to the image or "
        "to sinks, by the share of image-centric heads (Fig. 10), by the change of their "
        "log-probability, or by how much they look at the cells selected in Image. “As query” "
        "shows the row of the word itself, the paper's reading; “step that produced it” shows the "
        "row from which the model chose the word."
    )
    empty_text = "Ask a question about a picture: the words will appear here, each one clickable."
    figure_name = "answers"

    note = Signal(str)  # for the status line: why a token cannot be selected, how to search
    image_clicked = Signal()

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
        self.pair = AnswerPair(self.answer, self.second)
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(12, 4, 12, 8)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.question_label, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.question, 0, 1)
        captions = QVBoxLayout()
        captions.setSpacing(0)
        for label in (self.answer_label, self.second_label):
            label.setFixedHeight(self.answer.line)
            label.setContentsMargins(0, 0, 0, 0)
            captions.addWidget(label)
        captions.addStretch(1)
        grid.addLayout(captions, 1, 0)
        grid.addWidget(self.pair, 1, 1, Qt.AlignmentFlag.AlignTop)
        grid.setRowStretch(2, 1)
        for strip in self.strips:
            strip.token_clicked.connect(self._clicked)
            strip.dead_token_clicked.connect(self._dead_clicked)
            strip.chip_clicked.connect(self._chip_clicked)
            strip.home.connect(self._home)
            strip.end.connect(self._end)
            strip.typed.connect(self._typed)
        self.scroller = QScrollArea()
        self.scroller.setWidgetResizable(True)
        self.scroller.setFrameShape(QFrame.Shape.NoFrame)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._paragraphs = body
        self.scroller.setWidget(body)
        self.tint_bar = TintBar()
        self.colour_line = HoverLine("")
        self.colour_line.setAccessibleName("What the colours mean")
        self.colour_line.set_quiet(True)
        # Below the words, in view wherever a long answer is scrolled to.
        self._legend = QWidget()
        lines = QVBoxLayout(self._legend)
        lines.setContentsMargins(12, 0, 12, 3)
        lines.setSpacing(2)
        lines.addWidget(self.parting)
        legend = QHBoxLayout()
        legend.setSpacing(12)
        legend.addWidget(self.tint_bar)
        legend.addWidget(self.colour_line, 1)
        self.let_go = LetGo()
        legend.addWidget(self.let_go)
        lines.addLayout(legend)
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.scroller, 1)
        column.addWidget(self._legend)
        self.scroller.verticalScrollBar().actionTriggered.connect(self._user_scrolled)
        self._later = self._single_shot(0, self._follow_growing)
        self._grown: Recording | None = None
        self._away = False  # whether the user scrolled away from the word being written
        self._laid_out: tuple[object, ...] = ()
        self._compared: Comparison | None = None
        self._catch_up_later = self._single_shot(_CATCH_UP_MS, self._catch_up)
        self._took_ms = 0.0
        self.colours: WordColours | None = None
        self.search = TranscriptSearch(self, self.strips, self._present_place, self._found)
        self._build_controls()
        self.set_body(whole)

    def _single_shot(self, milliseconds: int, then: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(then)
        return timer

    @property
    def strips(self) -> tuple[TokenStrip, ...]:
        """Question, answer (baseline), second answer."""
        return self.question, self.answer, self.second

    def _build_controls(self) -> None:
        self.asked = QComboBox()
        self.asked.setToolTip("The questions of this session. Choose one to see its answers.")
        self.asked.setAccessibleName("Question shown")
        _may_shrink(self.asked)
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
        for key, label in COLOURINGS.items():
            self.colour_by.addItem(f"Colour: {label}", key)
        self.colour_by.setToolTip(
            "What the tint behind a word shows; the bar under the words has its numbers. "
            "Probability is before temperature and top-p; masses and shares: Sec. 4.1 and 5.1, "
            "Fig. 10."
        )
        self.colour_by.setAccessibleName("Colour of the tokens")
        self.colour_by.activated.connect(self._colour_chosen)
        self.find_button = QToolButton()
        self.find_button.setAutoRaise(True)
        self.find_button.setIcon(icon("find"))
        self.find_button.setToolTip("Find words (Ctrl+F or /)")
        self.find_button.setAccessibleName("Find words in the transcript")
        self.find_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.find_button.clicked.connect(lambda: self.search.open())
        for combo in (self.colour_by, self.row_of):
            _may_shrink(combo)
        for control in (self.colour_by, self.row_of, self.find_button):
            self.header.add_control(control)

    # -------------------------------------------------------------------------- the workspace
    def set_workspace(self, workspace: Workspace) -> None:
        super().set_workspace(workspace)
        workspace.run_changed.connect(self._show_runs)
        workspace.runs_changed.connect(self._show_runs)
        workspace.tokens_appended.connect(self._grow)
        workspace.selection.changed.connect(self._show_selection)
        workspace.view.changed.connect(self._show_view)
        self.let_go.set_workspace(workspace)
        self.colours = WordColours(workspace, self)
        self.colours.changed.connect(self._show_colours)
        self._show_view()
        self._show_runs()
        self.colours.set_active(self.isVisible())

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
        others = False
        for strip, run in zip(self.strips, (first, first, second), strict=True):
            if strip.tokens.run is not run or (second is None and strip.tokens.aligned):
                strip.tokens.set_run(run)
                others = True
            else:
                strip.tokens.grow()
        changed = workspace.paired
        changed_label = "" if changed is None else f"With {run_name_for(changed.interventions)}"
        if changed is not None and changed.teacher is not None:
            changed_label += ", forced"
        alone = workspace.baseline is None and changed is not None
        self.answer_label.setText(
            changed_label if alone else "Baseline" if second is not None else "Answer"
        )
        self.second_label.setText(changed_label)
        self.answer.setAccessibleName(self.answer_label.text())
        self.second_label.setVisible(second is not None)
        self._align()
        self.pair.show_second(second is not None)
        self._list_questions()
        if others:
            self._show_colours()
        self._show_selection()
        self.refresh(None)

    def _list_questions(self) -> None:
        workspace = self._workspace()
        groups = workspace.questions()
        self.asked.clear()
        for number, (group, parts) in enumerate(zip(groups, told_apart(groups), strict=True)):
            question = " · ".join(filter(None, parts))
            short = " · ".join(clipped(part) for part in parts if part)
            self.asked.addItem(f"{number + 1}  {short}", number)
            self.asked.setItemData(number, question, Qt.ItemDataRole.ToolTipRole)
            if workspace.run is not None and any(run is workspace.run for run in group):
                self.asked.setCurrentIndex(number)
        self.asked.setVisible(len(groups) > 1)

    def _align(self) -> None:
        """Lay the answers under each other and say where they part."""
        workspace = self._workspace()
        baseline, other = workspace.baseline, workspace.paired
        self.parting.setVisible(baseline is not None and other is not None)
        if baseline is None or other is None:
            self.answer.tokens.set_divergence(None)
            return
        from var_studio.analysis.compare import compare

        key = tuple((run, run.length, run.finished) for run in (baseline, other))
        laid = key == self._laid_out and self.answer.tokens.aligned and self.second.tokens.aligned
        if self._compared is None or not laid:
            self._laid_out, self._compared = key, compare(baseline, other)
        compared = self._compared
        if not laid:
            self.answer.tokens.align(compared.pairs, "baseline")
            self.second.tokens.align(compared.pairs, "other")
        at = compared.first_divergence
        column = None if at is None else compared.pairs[at]
        tokens = (None, None) if column is None else (column.baseline, column.other)
        for strip, token in zip((self.answer, self.second), tokens, strict=True):
            strip.tokens.set_divergence(None if token is None else token.position, at is not None)
        self.parting.show_runs(workspace.answers_with_var(baseline), other)
        self.parting.say(how_they_differ(compared, baseline, other, workspace.growing))

    def _grow(self) -> None:
        """Show new words; of a long answer a few times a second, since all words move."""
        growing = self._workspace().growing
        if growing is not self._grown:
            self._grown, self._away = growing, False
        longest = max(len(strip.tokens.entries) for strip in self.strips)
        if longest <= _LONG:
            self._catch_up()
        elif not self._catch_up_later.isActive():
            self._catch_up_later.start(max(_CATCH_UP_MS, round(_REST * self._took_ms)))

    def _catch_up(self) -> None:
        began = time.perf_counter()
        for strip in self.strips:
            strip.tokens.grow()
        self._align()
        self._show_selection()
        self.refresh(None)
        self._later.start()
        self._took_ms = 1000 * (time.perf_counter() - began)

    def _show_view(self) -> None:
        wanted = self._workspace().view.current.colour_by
        with QSignalBlocker(self.colour_by):
            self.colour_by.setCurrentIndex(self.colour_by.findData(wanted))

    def _show_colours(self) -> None:
        """Tint the words anew, and say what the tints mean."""
        colours = self.colours
        if colours is None:
            return
        hues = _HUES[colours.kind]
        for strip in self.strips:
            strip.hues = hues
            run = strip.tokens.run
            strip.tokens.set_shades(colours.shades(run), colours.texts(run))
        scale = colours.scale
        self.tint_bar.set_scale(COLOURINGS[colours.kind], *scale.texts, hues, scale.centred)
        self.colour_line.set_text(colours.sentence)

    def _show_selection(self) -> None:
        workspace = self._workspace()
        selection = workspace.selection
        index = self.row_of.findData(selection.row_of)
        self.row_of.setCurrentIndex(index)
        for strip in self.strips:
            strip.tokens.set_selectable(self._rows_of(strip.tokens.run))
            mine = strip.tokens.run is workspace.run
            chosen = strip.set_selected(selection.position if mine else None)
            if chosen and not (workspace.following and self._away):
                self._bring_into_view(strip, strip.currentIndex())

    def _bring_into_view(self, strip: TokenStrip, index: QModelIndex) -> None:
        """Scroll, if need be, to a word that was not clicked."""
        place = strip.visualRect(index).center()
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
        self.note.emit(str(text).splitlines()[-1])

    def _home(self) -> None:
        selection = self._workspace().selection
        if selection.positions:
            selection.select_token(selection.positions[0])

    def _end(self) -> None:
        selection = self._workspace().selection
        if selection.positions:
            selection.select_token(selection.positions[-1])

    def _typed(self) -> None:
        self.note.emit("To search the words press / and type")

    def _chip_clicked(self, position: int) -> None:
        self.image_clicked.emit()

    def _present_place(self) -> tuple[Recording, int] | None:
        workspace = self._workspace()
        run, position = workspace.run, workspace.selection.position
        return None if run is None or position is None else (run, position)

    def _found(self, run: Recording, position: int) -> None:
        self._workspace().look_at(run, position)

    def _asked_chosen(self, number: int) -> None:
        workspace = self._workspace()
        # The latest answer; a run that was forced to one only where it is all there is.
        workspace.look_at(max(workspace.questions()[number][::-1], key=lambda run: not run.teacher))
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
        self._workspace().view.set(colour_by=self.colour_by.currentData())

    def picture(self) -> QPixmap:
        """All words, also those that are scrolled away, and below them the sentences on them."""
        words = self._paragraphs.grab()
        legend = self._legend.grab()
        ratio = words.devicePixelRatio()
        whole = QPixmap(words.width(), words.height() + legend.height())
        whole.setDevicePixelRatio(ratio)
        whole.fill(self.palette().color(QPalette.ColorRole.Window))
        painter = QPainter(whole)
        painter.drawPixmap(0, 0, words)
        painter.drawPixmap(QPointF(0, words.height() / ratio), legend)
        painter.end()
        return whole

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.colours is not None:
            self.colours.set_active(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self.colours is not None:
            self.colours.set_active(False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.search.bar.place()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "find_button"):
            self.find_button.setIcon(icon("find"))

    def _user_scrolled(self) -> None:
        bar = self.scroller.verticalScrollBar()
        self._away = bar.sliderPosition() < bar.maximum() - 4

    def _follow_growing(self) -> None:
        """Keep the word that was written last in view, until the user scrolls or selects."""
        workspace = self._workspace()
        if self._away or not workspace.following:
            return
        for strip in self.strips[1:]:
            if strip.tokens.run is not None and strip.tokens.run is workspace.growing:
                last = strip.tokens.index(strip.tokens.rowCount() - 1)
                self._bring_into_view(strip, last)

    def _workspace(self) -> Workspace:
        assert self.workspace is not None
        return self.workspace


def _may_shrink(combo: QComboBox) -> None:
    """Its longest entry must not keep the window wide."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    combo.setMinimumWidth(_SHORTEST * combo.fontMetrics().averageCharWidth())
    combo.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)


def _caption(text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName("caption")
    label.setMinimumWidth(64)
    label.setContentsMargins(0, 5, 0, 0)
    return label
