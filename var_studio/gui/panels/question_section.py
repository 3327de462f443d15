"""Setup's question: what is asked, and after which answers."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from var_studio.gui.models.question import QuestionModel
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.prompt_edit import PromptEdit
from var_studio.gui.widgets.section import Section


class QuestionSection(Section):
    """`follow_up_wanted`: ask on, after the answer on screen."""

    follow_up_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Question")
        self._question: QuestionModel | None = None
        self.earlier = HoverLine("")
        self.earlier.set_quiet(True)
        self.earlier.setAccessibleName("The answer that this question follows")
        self.start_over = QToolButton()
        self.start_over.setAutoRaise(True)
        self.start_over.setIcon(icon("close"))
        self.start_over.setToolTip("Ask anew, as if nothing had been said before")
        self.start_over.setAccessibleName("Ask anew")
        self.start_over.clicked.connect(self._start_over)
        self.turns = QWidget()
        row = QHBoxLayout(self.turns)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.earlier, 1)
        row.addWidget(self.start_over)
        self.turns.hide()
        self.prompt = PromptEdit()
        self.prompt.textChanged.connect(self._typed)
        self.suggest = _link("Suggested questions  ▾", "Questions that suit this picture")
        self.suggest.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.suggest_menu = QMenu(self.suggest)
        self.suggest.setMenu(self.suggest_menu)
        self.suggest.hide()
        self.follow_up = _link("Follow up", "Ask on, after the answer on screen")
        self.follow_up.clicked.connect(self.follow_up_wanted)
        self.follow_up.hide()
        self._links = QWidget()
        line = QHBoxLayout(self._links)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.suggest)
        line.addStretch(1)
        line.addWidget(self.follow_up)
        for widget in (self.turns, self.prompt, self._links):
            self.add(widget)

    def follow(self, question: QuestionModel) -> None:
        """Show this question from now on."""
        self._question = question
        question.image_changed.connect(self._show_asked)
        question.prompt_changed.connect(self._show_prompt)
        self._show_asked()
        self._show_prompt()

    def show_answer(self, there: bool) -> None:
        """Whether there is an answer on screen that a question could follow."""
        self.follow_up.setVisible(there)
        self._show_links()

    def _show_asked(self) -> None:
        assert self._question is not None
        history = self._question.history
        self.suggest_menu.clear()
        for text in self._question.suggestions:
            self.suggest_menu.addAction(text).triggered.connect(partial(self._suggested, text))
        some = bool(self._question.suggestions)
        # Before the first picture too: what stands below must not jump when that comes.
        self.suggest.setVisible(some or not self._question.images)
        self.suggest.setEnabled(some)
        self._show_links()
        self.turns.setVisible(bool(history))
        if history:
            said = " · ".join(f"{turn.question} {turn.answer}" for turn in history)
            self.earlier.set_text(f"After: {said}")

    def _show_links(self) -> None:
        links = (self.suggest, self.follow_up)
        self._links.setVisible(any(not link.isHidden() for link in links))

    def _show_prompt(self) -> None:
        assert self._question is not None
        if self.prompt.toPlainText() != self._question.prompt:
            with QSignalBlocker(self.prompt):
                self.prompt.setPlainText(self._question.prompt)

    def _typed(self) -> None:
        assert self._question is not None
        self._question.set_prompt(self.prompt.toPlainText())

    def _suggested(self, text: str) -> None:
        assert self._question is not None
        self._question.set_prompt(text)

    def _start_over(self) -> None:
        assert self._question is not None
        self._question.start_over()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "start_over"):
            self.start_over.setIcon(icon("close"))
        super().changeEvent(event)


def _link(text: str, tip: str) -> QToolButton:
    """A button that looks like a link."""
    button = QToolButton()
    button.setObjectName("menuButton")
    button.setText(text)
    button.setToolTip(tip)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
    button.setAutoRaise(True)
    return button
