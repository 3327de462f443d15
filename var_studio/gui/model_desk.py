"""Models for the window: loading with a look at the room first, questions, release, forecasts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QFileDialog, QPushButton

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.model_worker import ModelSummary
from var_studio.gui.models.problems import WontFitError
from var_studio.gui.models.requests import ForecastRequest
from var_studio.gui.models.run_controller import RunController
from var_studio.gui.models.workspace import Workspace

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.panels.setup import SetupPanel
    from var_studio.gui.widgets.notices import Notice
    from var_studio.models.room import Fit

_STAGES = {"download": "Downloading", "weights": "Reading weights", "processor": "Preparing"}


class ModelDesk(QObject):
    """Loads and releases models for the window, and tells Setup what they and runs take."""

    def __init__(self, window: MainWindow, workspace: Workspace, controller: RunController) -> None:
        super().__init__(window)
        self._window = window
        self._workspace = workspace
        self._controller = controller
        self._question: Notice | None = None
        self._loading = ""
        self._on_disk = False
        self._takes = ""
        # Typing asks once it pauses.
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(250)
        self._pause.timeout.connect(self._ask_forecast)
        controller.model_loaded.connect(self._loaded)
        controller.model_failed.connect(self._failed)
        controller.model_learned.connect(self._learned)
        controller.model_released.connect(self._released)
        controller.load_progress.connect(self._progress)
        controller.load_forecast.connect(self._load_forecast)
        controller.run_forecast.connect(self._run_forecast)
        question = workspace.question
        for changed in (
            question.image_changed,
            question.prompt_changed,
            workspace.generation.changed,
            workspace.interventions.changed,
        ):
            changed.connect(self.forecast_soon)

    @property
    def _setup(self) -> SetupPanel:
        return self._window.setup

    # ------------------------------------------------------------------------------- loading
    def load(self, name: str, *, trust: bool = False, anyway: bool = False) -> None:
        """Load a model: "demo", a folder, a hub id. `trust` and `anyway`: the user said yes to its
        own code, to too little memory."""
        self._close_question()
        options = self._workspace.loading.stored
        if not self._controller.load(name, options, trust=trust, anyway=anyway):
            self._show_present()
            return
        recent = memory.recent("models")
        model = self._setup.model_section
        model.set_models([*recent, *([name] if name not in ("demo", *recent) else [])], name)
        self._on_disk = name == "demo" or Path(name).expanduser().is_dir()
        self._loading = "the demo model" if name == "demo" else Path(name).name
        self._takes = ""
        model.show_model(name, None, f"Loading {self._loading}…")
        self._window.status.say(f"Loading {self._loading}…")

    def open_folder(self) -> None:
        """Choose a checkpoint folder."""
        folder = QFileDialog.getExistingDirectory(
            self._window, "Open a model folder", memory.last_folder("model")
        )
        if folder:
            memory.remember_folder("model", folder)
            self.load(folder)
        else:
            self._show_present()

    def load_again(self) -> None:
        """Load the chosen model with the device, precision and quantisation chosen now."""
        self.load(self._controller.model_name or self._setup.model_section.chosen())

    def release(self) -> None:
        """Give the model's memory back."""
        if self._controller.release():
            self._window.status.say("Releasing the model…")

    # ---------------------------------------------------------------- what the model's thread says
    @Slot(object)
    def _loaded(self, model: ModelSummary) -> None:
        name = self._controller.model_name or "demo"
        section = self._setup.model_section
        if name != "demo":
            section.set_models(memory.remember_recent("models", name), name)
        section.show_devices(model.devices)
        section.show_model(name, model)
        self._window.status.say("Ready")
        self._workspace.method.set_loaded(model.facts)
        self.forecast_soon()

    @Slot(object)
    def _learned(self, model: ModelSummary) -> None:
        self._setup.model_section.show_model(self._controller.model_name or "demo", model)
        self._workspace.method.set_loaded(model.facts)

    @Slot(object)
    def _failed(self, error: VarStudioError) -> None:
        from var_studio.models.errors import RemoteCodeError

        self._show_present()
        still = self._controller.model
        self._window.status.say(
            "No model is loaded" if still is None else "Ready, with the model as before"
        )
        wanted = self._controller.wanted
        if isinstance(error, RemoteCodeError) and not wanted.trust:
            self._ask(
                error.what,
                "Run it only if you trust who wrote it.",
                "Run its code",
                partial(self.load, wanted.name, trust=True, anyway=wanted.anyway),
            )
        elif isinstance(error, WontFitError):
            self._ask(
                error.what,
                error.next_step,
                "Load it anyway",
                partial(self.load, wanted.name, trust=wanted.trust, anyway=True),
            )
        else:
            self._window.show_problem(error)

    @Slot()
    def _released(self) -> None:
        self._workspace.method.set_loaded(None)
        if self._controller.state == "loading":
            return  # It gives way to the one that is being loaded.
        self._show_present()
        self._setup.show_forecast("")
        self._window.status.say("The model's memory is given back")

    @Slot(str, float, float)
    def _progress(self, stage: str, done: float, total: float) -> None:
        if stage not in _STAGES or (stage == "download" and self._on_disk):
            return
        self._window.status.show_progress(done, total)
        from var_studio.models.room import in_words

        told = f"{_STAGES[stage]}: {self._loading}"
        if stage == "download" and total > 1e6:
            told += f", {in_words(int(done))} of {in_words(int(total))}"
        self._setup.model_section.show_loading("\n".join(filter(None, [f"{told}…", self._takes])))

    @Slot(object)
    def _load_forecast(self, found: Fit) -> None:
        need = found.needs[0]
        self._takes = f"It takes {_amount(need)}."
        self._setup.model_section.show_loading(f"Loading {self._loading}…\n{self._takes}")

    def _ask(self, what: str, next_step: str, yes: str, then: Any) -> None:
        """A notice with the one button that says yes; closing it is a no."""
        button = QPushButton(yes)
        button.clicked.connect(then)
        self._question = self._window.notices.show_notice("warning", what, next_step, action=button)

    def _close_question(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            self._window.notices.close_notice(question)

    def _show_present(self) -> None:
        """Setup says what is loaded, whatever was tried."""
        name = self._controller.model_name
        section = self._setup.model_section
        if name is None:
            name = section.chosen()
        recent = memory.recent("models")
        if name not in ("demo", *recent):
            recent = [*recent, name] if self._controller.model is not None else recent
        section.set_models(recent, name)
        section.show_model(name, self._controller.model)

    # ------------------------------------------------------------------------------ forecasts
    @Slot()
    def forecast_soon(self) -> None:
        """The next run is another one now: say what it takes once the user pauses."""
        self._pause.start()

    def end(self) -> None:
        """The window is closing."""
        self._pause.stop()

    @Slot()
    def _ask_forecast(self) -> None:
        workspace = self._workspace
        question = workspace.question
        if self._controller.model is None or not question.images or not question.prompt.strip():
            self._controller.forecast(None)
            self._setup.show_forecast("")
            return
        runs = question.images_of_runs
        self._controller.forecast(
            ForecastRequest(
                max(runs, key=lambda images: sum(len(image.bytes) for image in images)),
                question.prompt.strip(),
                workspace.generation.stored,
                history=question.history,
                contrast=workspace.interventions.acts("contrast"),
                runs=len(runs),
            )
        )

    @Slot(object)
    def _run_forecast(self, made: Any) -> None:
        if made is None:
            self._setup.show_forecast("")
        elif isinstance(made, VarStudioError):
            self._setup.show_forecast(made.what, f"{made.what} {made.next_step}", short=True)
        else:
            text, tip = _sentence(made)
            self._setup.show_forecast(text, tip, short=bool(made.shortages))


def _sentence(found: Fit) -> tuple[str, str]:
    """A line on what a run (or one for each image) takes, and its explanation."""
    from var_studio.models.room import in_words

    expected = found.forecast
    takes = " · ".join(f"{in_words(need.taken)} {need.of}" for need in found.needs)
    short = found.shortages
    who = "A run takes" if found.runs == 1 else f"{found.runs} runs take"
    text = f"Will not fit: {short[0]}." if short else f"{who} {takes}"
    tip = (
        f"At its peak and at most: {'; '.join(_amount(need) for need in found.needs)}.\n"
        f"{expected.n_prompt} tokens in the prompt, {expected.n_visual} of them visual; up to "
        f"{expected.n_new} new ones{', for the largest file' if found.runs > 1 else ''}. "
        "A pair is three runs on the disk."
    )
    return text, tip


def _amount(need: Any) -> str:
    from var_studio.models.room import in_words

    free = "" if need.free is None else f" ({in_words(need.free)} are free)"
    return f"{in_words(need.taken)} of {need.of}{free}"
