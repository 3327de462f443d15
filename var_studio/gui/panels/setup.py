"""What to run: the model, the images, the question, how to answer, what is done to the model."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QAbstractButton,
    QFrame,
    QGridLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from var_studio.gui.models.method_settings import UNKNOWN
from var_studio.gui.models.question import Sample
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_section import ImageSection
from var_studio.gui.panels.intervention_section import InterventionSection
from var_studio.gui.panels.method_section import MethodSection
from var_studio.gui.panels.model_section import ModelSection
from var_studio.gui.panels.question_section import QuestionSection
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.queue_list import QueueList
from var_studio.gui.widgets.quiet import QuietLabel
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.settings_form import SettingsForm
from var_studio.recording.interventions import NAMES, without_effect

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace

_WIDEST = 400
_SCROLL_ROOM = 14


class SetupPanel(Panel):
    """Choices for the next run, and the buttons that start it. It does nothing by itself: the
    window listens to its signals."""

    help_text = (
        "Choose a model and one or more pictures, type a question, press Run. Several pictures "
        "that you open or drop are asked about one by one, an entry of the session each (a list in "
        "Transcript switches between them); “Together” puts them all into one question, as “Add…” "
        "does from the first. The redistribution's "
        "settings move the “after” map at once, without the model: that is the local view of one "
        "row. Under “In a run” you tick what is done to the model itself, in every layer and step: "
        "Run with VAR lets it answer again that way, the global view. Run pair makes three runs: "
        "the baseline, the same with what is ticked, and the baseline’s own words scored under it "
        "(teacher-forced). Runs you start meanwhile wait in a list above the buttons; Stop keeps "
        "what was recorded and takes those that wait off the list. Sink dimensions that you type "
        "belong to the model that is loaded; another one has its own. The line "
        "above the buttons says what a run takes at most. Until you "
        "save, all of it is kept on disk: should the program be killed, the next start offers it "
        "back; closing the window asks before it deletes it."
    )

    open_image_wanted = Signal()
    add_image_wanted = Signal()
    paste_wanted = Signal()
    files_dropped = Signal(list)  # in place of the present images
    files_added = Signal(list)  # beside them
    pixels_dropped = Signal(object)
    sample_chosen = Signal(object)
    follow_up_wanted = Signal()

    data_file = "settings.json"

    def data_text(self) -> str:
        """The settings as JSON, which File, Load settings reads back."""
        from var_studio.gui.data_files import settings_text

        assert self.workspace is not None
        return settings_text(self.workspace)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout()
        self._column.setContentsMargins(12, 6, _SCROLL_ROOM, 12)
        self._column.setSpacing(16)
        self.model_section = ModelSection()
        self.image_section = self._build_image()
        self.question_section = QuestionSection()
        self.question_section.prompt.picture_pasted.connect(self.paste_wanted)
        self.question_section.follow_up_wanted.connect(self.follow_up_wanted)
        self.prompt = self.question_section.prompt
        for section in (self.model_section, self.image_section, self.question_section):
            self._column.addWidget(section)
        inner = QWidget()
        inner.setLayout(self._column)
        scroll = self.scroller = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inner)
        scroll.verticalScrollBar().rangeChanged.connect(self._make_room)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(self._build_footer())
        body.setMinimumWidth(300)
        # A wider window gives its room to the maps.
        self.setMaximumWidth(_WIDEST)
        self.set_body(body)
        self.show_body()

    # ------------------------------------------------------------------------------ building
    def _build_image(self) -> ImageSection:
        section = ImageSection()
        section.open_wanted.connect(self.open_image_wanted)
        section.add_wanted.connect(self.add_image_wanted)
        section.paste_wanted.connect(self.paste_wanted)
        section.sample_chosen.connect(self.sample_chosen)
        section.well.dropped.connect(self.files_dropped)
        section.well.pixels_dropped.connect(self.pixels_dropped)
        section.strip.dropped.connect(self.files_added)
        return section

    def _build_footer(self) -> QWidget:
        footer = self.footer = QWidget()
        footer.setObjectName("footer")
        self.queue = QueueList()
        self.forecast = QuietLabel()
        self.forecast.setAccessibleName("What a run takes")
        self.sinks_note = QuietLabel()
        self.sinks_note.setAccessibleName("What lacks sink dimensions")
        self.run_button = QPushButton("Run")
        self.run_button.setObjectName("primary")
        self.run_button.setToolTip("Ask the model; every attention row is recorded (R)")
        self.run_var_button = QPushButton("Run with VAR")
        self.run_pair_button = QPushButton("Run pair")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip(
            "Stop, and empty the queue; what was recorded so far is kept (Esc)"
        )
        self.stop_button.setEnabled(False)
        grid = QGridLayout(footer)
        grid.setContentsMargins(12, 8, 12, 10)
        grid.setSpacing(6)
        grid.addWidget(self.queue, 0, 0, 1, 2)
        grid.addWidget(self.forecast, 1, 0, 1, 2)
        grid.addWidget(self.sinks_note, 2, 0, 1, 2)
        grid.addWidget(self.run_button, 3, 0)
        grid.addWidget(self.stop_button, 3, 1)
        grid.addWidget(self.run_var_button, 4, 0)
        grid.addWidget(self.run_pair_button, 4, 1)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)
        self._show_icons()
        return footer

    def _build_settings(self, workspace: Workspace) -> None:
        self.answer = Section("Answer", "Sampling")
        self.answer.add(SettingsForm(workspace.generation, ["max_new_tokens"]))
        self.answer.later(self._build_sampling)
        self.method = MethodSection(workspace.method)
        self.method_form = self.method.form
        self.interventions = InterventionSection(workspace.interventions)
        for section in (self.answer, self.method, self.interventions):
            self._column.addWidget(section)
        self._column.addStretch(1)

    def _build_sampling(self) -> None:
        assert self.workspace is not None
        form = SettingsForm(
            self.workspace.generation,
            ["temperature", "top_p", "seed"],
            as_spin=("temperature", "top_p"),
        )
        self.answer.add_more(form)

    def prepare(self) -> None:
        """Make what is folded away; put the stops of Tab in order."""
        self.answer.make_folded()
        self.method.make_folded()
        for row in self.interventions.rows.values():
            row.make_folded()
        for pressed in self.findChildren(QAbstractButton):
            # A click must not take the focus: space flips the map, it does not run again.
            pressed.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._order_tabs()

    def _order_tabs(self) -> None:
        """Tab goes from top to bottom, whatever was built first."""
        items = [self._column.itemAt(n) for n in range(self._column.count())]
        inner = [item.widget() for item in items if item is not None]
        stops = [
            stop
            for section in (*inner, self.footer)
            if section is not None  # the stretch at the end
            for stop in section.findChildren(QWidget)
            if stop.focusPolicy() & Qt.FocusPolicy.TabFocus
            and stop.focusProxy() is None
            and stop.window() is self.window()  # lists that open are windows of their own
        ]
        for before, after in pairwise(stops):
            QWidget.setTabOrder(before, after)

    # -------------------------------------------------------------------------- the workspace
    def set_workspace(self, workspace: Workspace) -> None:
        super().set_workspace(workspace)
        self.model_section.build_options(workspace.loading)
        self._build_settings(workspace)
        self.image_section.follow(workspace.question)
        self.question_section.follow(workspace.question)
        workspace.question.image_changed.connect(self._name_buttons)
        workspace.interventions.changed.connect(self._name_buttons)
        workspace.interventions.changed.connect(self._show_sinks)
        workspace.method.changed.connect(self._show_sinks)
        workspace.runs_changed.connect(self._show_answer)
        workspace.run_changed.connect(self._show_answer)
        self._name_buttons()
        for row in self.interventions.rows.values():
            row.unfold.toggled.connect(partial(self._show_unfolded, row))

    def _show_unfolded(self, row: QWidget, unfolded: bool) -> None:
        """Scroll to settings that were unfolded below the fold, once they have their place."""
        if unfolded:
            QTimer.singleShot(0, row, partial(self.scroller.ensureWidgetVisible, row, 0, 8))

    def refresh(self, reading: Reading | None) -> None:
        self.show_body()  # there is always something to set

    def _show_answer(self) -> None:
        assert self.workspace is not None
        run = self.workspace.run
        self.question_section.show_answer(run is not None and run.finished and bool(run.text))

    def _name_buttons(self) -> None:
        assert self.workspace is not None
        question = self.workspace.question
        self.run_button.setText(f"Run {len(question.images)} images" if question.each else "Run")
        name = self.workspace.interventions.name
        fits = name if len(name) <= _LONGEST_NAME else "these"
        self.run_var_button.setText(f"Run with {fits or '…'}")
        for button, tip in (
            (self.run_var_button, "Ask again with it in every layer and step, and compare"),
            (self.run_pair_button, "Baseline, the same with it, and the baseline’s answer scored"),
        ):
            button.setEnabled(bool(name))
            keys = "Shift+R" if button is self.run_var_button else "Ctrl+R"
            button.setToolTip(f"{tip}: {name} ({keys})" if name else _NOTHING_ACTS)

    def _show_sinks(self) -> None:
        """Say beside the buttons what would change nothing, for want of sink dimensions."""
        assert self.workspace is not None
        interventions, coming = self.workspace.interventions, self.workspace.method.coming
        named = self.workspace.method.for_a_run.sink_dims or coming.sink_dims
        if named or not coming.known or not without_effect(interventions.current):
            self.sinks_note.say("")
            return
        found_none = coming.origin != UNKNOWN
        _write_in(self.sinks_note, "wrong" if found_none else "quiet")
        idle = [NAMES[each.kind] for each in interventions.current if without_effect([each])]
        none = _NO_SINKS.format(coming.name or "this model", " and ".join(idle))
        self.sinks_note.say(none if found_none else _LOOKS_FIRST)

    # ------------------------------------------------------------------- told by the window
    def set_samples(self, samples: tuple[Sample, ...]) -> None:
        """Show the pictures that ship with VAR Studio."""
        self.image_section.set_samples(samples)
        self._order_tabs()

    def show_sample_note(self, note: str) -> None:
        """Say what one should know of the chosen sample ("" to say nothing)."""
        self.image_section.sample_note.say(note)

    def show_forecast(self, text: str, tip: str = "", *, short: bool = False) -> None:
        """Say what a run takes; `short`: there is too little of something."""
        _write_in(self.forecast, "wrong" if short else "quiet")
        self.forecast.say(text)
        self.forecast.setToolTip(tip)

    def show_state(self, state: str) -> None:
        """What the model's thread is at. Runs can be started at any time: they wait."""
        self.stop_button.setEnabled(state != "idle")
        self.model_section.show_state(state)

    # ------------------------------------------------------------------------------ plumbing
    def _make_room(self, low: int, high: int) -> None:
        """The scroll bar stands in the right margin, so that no line breaks anew beside it."""
        bar = self.scroller.verticalScrollBar().sizeHint().width() if high > low else 0
        self._column.setContentsMargins(12, 6, max(_SCROLL_ROOM - bar, 0), 12)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "stop_button"):
            self._show_icons()
        super().changeEvent(event)

    def _show_icons(self) -> None:
        on_accent = self.palette().highlightedText().color().name()
        self.run_button.setIcon(icon("run", on_accent))
        self.run_var_button.setIcon(icon("run-var"))
        self.run_pair_button.setIcon(icon("pair"))
        self.stop_button.setIcon(icon("stop"))


_LONGEST_NAME = 14
_LOOKS_FIRST = "Sink dimensions are not known yet: the first run looks for them."
_NO_SINKS = (
    "No sink dimension of {} is known: {} would change nothing. Look for large ones in Hidden "
    "state, or type them above, under More."
)
_NOTHING_ACTS = "Tick what is done to the model, under “In a run”"


def _write_in(label: QLabel, ink: str) -> None:
    """Write in the ink of that name in the style sheet."""
    if label.objectName() != ink:
        label.setObjectName(ink)
        label.style().unpolish(label)
        label.style().polish(label)
