"""What to run: the model, the picture, the question, how to answer, how to redistribute."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.gui.models.question import Sample
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.method_section import MethodSection
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.image_well import ImageWell
from var_studio.gui.widgets.prompt_edit import PromptEdit
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.settings_form import SettingsForm

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.run_controller import ModelSummary
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.images import StoredImage

DEMO_NOTE = (
    "A toy model for coloured shapes. Its sinks were induced in training: it shows how the "
    "instrument works and is no evidence that VAR helps."
)
_CHOOSE_FOLDER, _FROM_HUB = "?folder", "?hub"
_SAMPLE_COLUMNS = 6
_WIDEST = 400
_SCROLL_ROOM = 14


class SetupPanel(Panel):
    """Choices for the next run, and the buttons that start it. It does nothing by itself: the
    window listens to its signals."""

    name = "setup"
    title = "Setup"
    help_text = (
        "Choose a model and a picture, type a question, press Run. The redistribution's settings "
        "move the “after” map at once, without the model: that is the local view of one row. Run "
        "with VAR lets the model answer again with the redistribution in every layer and step: "
        "that is the global one, and its answer is shown under the baseline's."
    )

    model_chosen = Signal(str)  # "demo", a folder, a hub id
    folder_wanted = Signal()
    open_image_wanted = Signal()
    paste_wanted = Signal()
    files_dropped = Signal(list)
    pixels_dropped = Signal(object)
    sample_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header.copy_button.hide()
        self._column = QVBoxLayout()
        self._column.setContentsMargins(12, 6, _SCROLL_ROOM, 12)
        self._column.setSpacing(16)
        self._build_model()
        self._build_image()
        self._build_question()
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
        column.addWidget(self._build_buttons())
        body.setMinimumWidth(300)
        # A wider window gives its room to the maps.
        self.setMaximumWidth(_WIDEST)
        self.set_body(body)
        self.show_body()

    # ------------------------------------------------------------------------------ building
    def _build_model(self) -> None:
        section = Section("Model")
        self.model = QComboBox()
        self.model.setAccessibleName("Model")
        self.model.setToolTip("The demo, a checkpoint folder on this computer, or a hub id.")
        self.model.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.model.setMinimumContentsLength(12)
        self.model.activated.connect(self._model_activated)
        self.hub = QLineEdit()
        self.hub.setPlaceholderText("owner/name on the hub, then Enter")
        self.hub.setAccessibleName("Hub id")
        self.hub.returnPressed.connect(self._hub_entered)
        self.hub.hide()
        self.model_note = _quiet("")
        for widget in (self.model, self.hub, self.model_note):
            section.add(widget)
        self.set_models([], "demo")
        self._column.addWidget(section)

    def _build_image(self) -> None:
        section = Section("Image")
        self.well = ImageWell()
        self.well.clicked.connect(self.open_image_wanted)
        self.well.dropped.connect(self.files_dropped)
        self.well.pixels_dropped.connect(self.pixels_dropped)
        self.open_image = QPushButton("Open…")
        self.open_image.setToolTip("Open an image file")
        self.open_image.clicked.connect(self.open_image_wanted)
        self.paste_image = QPushButton("Paste")
        self.paste_image.setToolTip("Take the image on the clipboard")
        self.paste_image.clicked.connect(self.paste_wanted)
        self.image_name = HoverLine("")
        self.image_name.set_quiet(True)
        self.image_name.setAccessibleName("Name of the image")
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.image_name, 1)
        line.addWidget(self.paste_image)
        line.addWidget(self.open_image)
        self.samples = QWidget()
        self._sample_grid = QGridLayout(self.samples)
        self._sample_grid.setContentsMargins(0, 0, 0, 0)
        self._sample_grid.setSpacing(2)
        self._sample_grid.setColumnStretch(_SAMPLE_COLUMNS, 1)
        self.samples.hide()
        self.sample_note = _quiet("")
        self.sample_note.hide()
        for widget in (self.well, row, self.samples, self.sample_note):
            section.add(widget)
        self._column.addWidget(section)

    def _build_question(self) -> None:
        section = Section("Question")
        self.prompt = PromptEdit()
        self.prompt.picture_pasted.connect(self.paste_wanted)
        self.prompt.textChanged.connect(self._prompt_typed)
        self.suggest = QToolButton()
        self.suggest.setObjectName("menuButton")
        self.suggest.setText("Questions that suit this picture  ▾")
        self.suggest.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.suggest.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.suggest.setAutoRaise(True)
        self.suggest_menu = QMenu(self.suggest)
        self.suggest.setMenu(self.suggest_menu)
        self.suggest.hide()
        section.add(self.prompt)
        section.add(self.suggest)
        self._column.addWidget(section)

    def _build_buttons(self) -> QWidget:
        footer = self.footer = QWidget()
        footer.setObjectName("footer")
        self.run_button = QPushButton("Run")
        self.run_button.setObjectName("primary")
        self.run_button.setToolTip("Ask the model; every attention row is recorded (R)")
        self.run_var_button = QPushButton("Run with VAR")
        self.run_var_button.setToolTip(
            "Ask again with the redistribution in every layer and step (Sec. 5), and compare "
            "(Shift+R)"
        )
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Stop; what was recorded so far is kept (Esc)")
        self.stop_button.setEnabled(False)
        row = QHBoxLayout(footer)
        row.setContentsMargins(12, 8, 12, 10)
        row.setSpacing(6)
        row.addWidget(self.run_button, 3)
        row.addWidget(self.run_var_button, 4)
        row.addWidget(self.stop_button, 2)
        self._show_icons()
        return footer

    def _build_settings(self, workspace: Workspace) -> None:
        answer = Section("Answer", "Sampling")
        self.answer_form = SettingsForm(workspace.generation, ["max_new_tokens"])
        self.sampling_form = SettingsForm(
            workspace.generation,
            ["temperature", "top_p", "seed"],
            as_spin=("temperature", "top_p"),
        )
        answer.add(self.answer_form)
        answer.add_more(self.sampling_form)
        self._column.addWidget(answer)

        self.method = MethodSection(workspace.method)
        self.method_form, self.more_form = self.method.form, self.method.more_form
        self._column.addWidget(self.method)
        self._column.addStretch(1)
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
        self._build_settings(workspace)
        workspace.question.image_changed.connect(self._show_image)
        workspace.question.prompt_changed.connect(self._show_prompt)
        self._show_image()
        self._show_prompt()

    def refresh(self, reading: Reading | None) -> None:
        self.show_body()  # there is always something to set

    def _show_image(self) -> None:
        question = self._workspace().question
        pixmap = None if question.image is None else _pixmap(question.image)
        name = question.image.name if question.image is not None else ""
        self.well.show_picture(pixmap, name)
        self.image_name.set_text(name)
        self.suggest_menu.clear()
        for text in question.suggestions:
            self.suggest_menu.addAction(text).triggered.connect(partial(self._suggested, text))
        self.suggest.setVisible(bool(question.suggestions))

    def _show_prompt(self) -> None:
        prompt = self._workspace().question.prompt
        if self.prompt.toPlainText() != prompt:
            with QSignalBlocker(self.prompt):
                self.prompt.setPlainText(prompt)

    # ------------------------------------------------------------------- told by the window
    def set_models(self, recent: list[str], current: str) -> None:
        """Fill the list of models: the demo, recent ones, folder, hub."""
        with QSignalBlocker(self.model):
            self.model.clear()
            self.model.addItem("Demo model", "demo")
            for name in recent:
                self.model.addItem(Path(name).name or name, name)
                self.model.setItemData(self.model.count() - 1, name, Qt.ItemDataRole.ToolTipRole)
            self.model.insertSeparator(self.model.count())
            self.model.addItem("Open a model folder…", _CHOOSE_FOLDER)
            self.model.addItem("From the hub…", _FROM_HUB)
            self.model.setCurrentIndex(max(self.model.findData(current), 0))
        self.hub.hide()

    def show_model(self, name: str, model: ModelSummary | None, loading: str = "") -> None:
        """Say what is loaded, or what is being loaded."""
        index = self.model.findData(name)
        if index >= 0:
            self.model.setCurrentIndex(index)
        if loading:
            self.model_note.setText(loading)
        elif model is None:
            self.model_note.setText("No model is loaded.")
        else:
            dims = ", ".join(str(d) for d in model.sink_dims) or "none known"
            lines = [
                f"{model.n_layers} layers × {model.n_heads} heads, D = {model.hidden_size}; "
                f"sink dimensions {dims} ({model.sink_dims_origin})."
            ]
            if name == "demo":
                lines.insert(0, DEMO_NOTE)
            self.model_note.setText("\n".join(lines))

    def set_samples(self, samples: tuple[Sample, ...]) -> None:
        """Show the pictures that ship with VAR Studio."""
        for number, sample in enumerate(samples):
            button = QToolButton()
            button.setAutoRaise(True)
            button.setIcon(QIcon(str(sample.path)))
            button.setIconSize(QSize(32, 32))
            button.setToolTip("\n".join(t for t in (sample.title, sample.note) if t))
            button.setAccessibleName(f"Sample: {sample.title}")
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(partial(self._sample_clicked, sample))
            row, column = divmod(number, _SAMPLE_COLUMNS)
            self._sample_grid.addWidget(button, row, column)
        self.samples.setVisible(bool(samples))
        self._order_tabs()

    def show_sample_note(self, note: str) -> None:
        """Say what one should know of the chosen sample ("" to say nothing)."""
        self.sample_note.setText(note)
        self.sample_note.setVisible(bool(note))

    def show_running(self, running: bool) -> None:
        """While a run goes on only Stop can be pressed."""
        self.run_button.setEnabled(not running)
        self.run_var_button.setEnabled(not running)
        self.stop_button.setEnabled(running)

    # ------------------------------------------------------------------------------- the user
    def _model_activated(self) -> None:
        chosen = str(self.model.currentData())
        self.hub.setVisible(chosen == _FROM_HUB)
        if chosen == _FROM_HUB:
            self.hub.setFocus()
        elif chosen == _CHOOSE_FOLDER:
            self.folder_wanted.emit()
        else:
            self.model_chosen.emit(chosen)

    def _hub_entered(self) -> None:
        if self.hub.text().strip():
            self.model_chosen.emit(self.hub.text().strip())

    def _make_room(self, low: int, high: int) -> None:
        """The scroll bar stands in the right margin, so that no line breaks anew beside it."""
        bar = self.scroller.verticalScrollBar().sizeHint().width() if high > low else 0
        self._column.setContentsMargins(12, 6, max(_SCROLL_ROOM - bar, 0), 12)

    def _prompt_typed(self) -> None:
        self._workspace().question.set_prompt(self.prompt.toPlainText())

    def _suggested(self, text: str) -> None:
        self._workspace().question.set_prompt(text)

    def _sample_clicked(self, sample: Sample) -> None:
        self.sample_chosen.emit(sample)

    # ------------------------------------------------------------------------------ plumbing
    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "stop_button"):
            self._show_icons()
        super().changeEvent(event)

    def _show_icons(self) -> None:
        self.run_button.setIcon(icon("run", self._on_accent()))
        self.run_var_button.setIcon(icon("run-var"))
        self.stop_button.setIcon(icon("stop"))

    def _on_accent(self) -> str:
        return self.palette().highlightedText().color().name()

    def _workspace(self) -> Workspace:
        assert self.workspace is not None
        return self.workspace


def _quiet(text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName("quiet")
    label.setWordWrap(True)
    return label


def _pixmap(image: StoredImage) -> QPixmap:
    """The picture as the model will see it: Pillow turns it as its EXIF says, Qt would not."""
    from var_studio.recording.images import decode

    pixels = decode(image).copy()
    pixels.thumbnail((800, 800))
    width, height = pixels.size
    encoded = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(encoded.copy())
