"""Setup's choice of a model: the demo, recent ones, a folder, the hub; how it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPushButton, QSizePolicy, QWidget

from var_studio.gui.models.method_settings import NONE_FOUND
from var_studio.gui.models.model_worker import ModelSummary
from var_studio.gui.models.requests import LoadModel
from var_studio.gui.widgets.quiet import QuietLabel
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.settings_form import SettingsForm

DEMO_NOTE = (
    "A toy for coloured shapes; its sinks were induced in training. It shows how the instrument "
    "works and is no evidence that VAR helps."
)
_CHOOSE_FOLDER, _FROM_HUB = "?folder", "?hub"
_WORDS = {
    "dtype": {
        "auto": "Auto",
        "float32": "float32",
        "bfloat16": "bfloat16",
        "float16": "float16",
    },
    "quantization": {"none": "None", "8bit": "8-bit", "4bit": "4-bit"},
}
_STOP = "Stop loading"
_NO_BITSANDBYTES = "Needs bitsandbytes, which is not installed: pip install bitsandbytes"


class ModelSection(Section):
    """Which model; its signals are the user's wishes, and others carry them out."""

    model_chosen = Signal(str)  # "demo", a folder, a hub id
    folder_wanted = Signal()
    load_wanted = Signal()  # the chosen model, once more or with other options
    release_wanted = Signal()
    stop_wanted = Signal()  # of the loading

    def __init__(self) -> None:
        super().__init__("Model", "How it is loaded")
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
        self.hub.setToolTip("A repository of the Hugging Face hub; it is downloaded once.")
        self.hub.returnPressed.connect(self._hub_entered)
        self.hub.hide()
        self.note = QuietLabel()
        for widget in (self.model, self.hub, self.note):
            self.add(widget)
        self._summary: ModelSummary | None = None
        self._state = "idle"
        self.set_models([], "demo")

    def build_options(self, loading: LoadModel) -> None:
        """Add what the LoadModel holds, and the buttons beside it."""
        self._loading = loading
        self.device = QComboBox()
        self.device.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.device.activated.connect(self._device_chosen)
        self.options = SettingsForm(loading, [])
        self.options.add_field("device", self.device)
        self.more_options = SettingsForm(loading, ["dtype", "quantization"], choice_words=_WORDS)
        if find_spec("bitsandbytes") is None:
            for bits in ("8bit", "4bit"):
                self.more_options.refuse("quantization", bits, _NO_BITSANDBYTES)
        self.load_button = QPushButton("Load again")
        self.load_button.clicked.connect(self._load_pressed)
        self.release_button = QPushButton("Release")
        self.release_button.setToolTip("Give the model's memory back; recordings stay")
        self.release_button.clicked.connect(self.release_wanted)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 2, 0, 0)
        line.addWidget(self.load_button)
        line.addWidget(self.release_button)
        self.facts = QuietLabel()
        for widget in (self.facts, self.options, self.more_options, row):
            self.add_more(widget)
        loading.changed.connect(self._follow)
        self._show_buttons()
        self.show_devices(("auto", "cpu"))

    # ------------------------------------------------------------------- told by the window
    def chosen(self) -> str:
        """The model that the list shows."""
        name = str(self.model.currentData() or "demo")
        return "demo" if name in (_CHOOSE_FOLDER, _FROM_HUB) else name

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

    def show_devices(self, devices: Sequence[str]) -> None:
        """Offer these devices."""
        with QSignalBlocker(self.device):
            self.device.clear()
            for name in devices:
                self.device.addItem("Auto" if name == "auto" else name, name)
        self._follow()

    def show_model(self, name: str, model: ModelSummary | None, loading: str = "") -> None:
        """Say what is loaded, or what is being loaded."""
        self._summary = model
        index = self.model.findData(name)
        if index >= 0:
            self.model.setCurrentIndex(index)
        if loading:
            self.show_loading(loading)
        elif model is None:
            self.note.say("No model is loaded. Choose one, or press Load.")
        else:
            dims = ", ".join(str(d) for d in model.sink_dims)
            if dims:
                sinks = f"Sink dimensions {dims} ({model.sink_dims_origin})."
            elif model.sink_dims_origin == NONE_FOUND:
                sinks = "Sink dimensions: none found."
            else:
                sinks = "Sink dimensions: none known yet; the first run looks for them."
            self.note.say(DEMO_NOTE if name == "demo" else sinks)
            self.facts.say(
                f"{model.n_layers} layers × {model.n_heads} heads, D = {model.hidden_size}, "
                f"{_precision(model)} on {model.device}. {sinks}"
            )
        self.facts.setVisible(model is not None)
        self._show_buttons()

    def show_loading(self, text: str) -> None:
        """Say how far the loading is."""
        self.note.say(text)

    def show_state(self, state: str) -> None:
        """What the model's thread is at: it can be loaded and released while that is idle."""
        self._state = state
        self._show_buttons()

    def ask_hub(self) -> None:
        """Show the line for a hub id, as the list's entry does."""
        self.model.setCurrentIndex(self.model.findData(_FROM_HUB))
        self._model_activated()

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

    def _load_pressed(self) -> None:
        if self._state == "loading":
            self.stop_wanted.emit()
        else:
            self.load_wanted.emit()

    def _device_chosen(self) -> None:
        self._loading.set(device=str(self.device.currentData()))

    # ------------------------------------------------------------------------------ plumbing
    def _show_buttons(self) -> None:
        text, tip = "Load", "Load the chosen model"
        if self._state == "loading":
            text, tip = _STOP, "Stop (Esc); files that have arrived whole are kept"
        elif self._summary is not None:
            text, tip = "Load again", "Load it with this device, precision and quantisation"
        self.load_button.setText(text)
        self.load_button.setToolTip(tip)
        self.load_button.setEnabled(self._state in ("idle", "loading"))
        self.release_button.setEnabled(self._state == "idle" and self._summary is not None)

    def _follow(self) -> None:
        wanted = self._loading.stored.device
        with QSignalBlocker(self.device):
            if self.device.findData(wanted) < 0:
                self.device.addItem(wanted, wanted)
            self.device.setCurrentIndex(self.device.findData(wanted))


def _precision(model: ModelSummary) -> str:
    return model.dtype if model.quantization == "none" else f"{model.quantization} ({model.dtype})"
