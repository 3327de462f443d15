"""What happens in the model's thread: loading, forecasts, runs. Nothing here touches the screen."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from PySide6.QtCore import QObject, Signal, Slot

from var_studio.engine.events import Event, RunFailed, RunStarted
from var_studio.gui.models.method_settings import ModelFacts
from var_studio.gui.models.problems import WontFitError, as_known
from var_studio.gui.models.requests import ForecastRequest, LoadRequest, RunRequest

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording
    from var_studio.recording.settings import Interventions


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What the window may know of the loaded model. Plain values; the model stays in its thread."""

    name: str
    checkpoint: str
    family: str
    device: str
    dtype: str
    n_layers: int
    n_heads: int
    hidden_size: int
    sink_dims: tuple[int, ...]
    sink_dims_origin: str
    tau_default: float
    description: str = ""
    quantization: str = "none"
    devices: tuple[str, ...] = ("auto", "cpu")

    @property
    def facts(self) -> ModelFacts:
        """What it says of the method's settings."""
        return ModelFacts(
            self.tau_default,
            self.hidden_size,
            self.n_layers,
            self.sink_dims,
            key=self.checkpoint,
            name=self.name,
            origin=self.sink_dims_origin,
        )


class ModelWorker(QObject):
    """Lives in the model's thread. Its slots block that thread; `cancel` is polled by them."""

    loaded = Signal(object)  # ModelSummary
    released = Signal()
    load_failed = Signal(object)  # VarStudioError
    load_progress = Signal(str, float, float)
    forecast_made = Signal(object, object)  # LoadRequest | ForecastRequest, Fit | VarStudioError
    learned = Signal(object)  # ModelSummary: a run found out something about the model
    woken = Signal()
    run_ended = Signal(bool)  # whether it went well (a run that was stopped did)

    def __init__(self) -> None:
        super().__init__()
        self.place: Callable[[], Path] | None = None
        self._lmm: Any = None
        self._told_origin: str | None = None
        self._events: deque[Event] = deque()
        self._failed = False
        # Requests hold images: forgotten with the last that needs their answer.
        self._recorded: WeakKeyDictionary[RunRequest, Path] = WeakKeyDictionary()
        self._request: RunRequest | None = None

    # deque.append and popleft are atomic: the only object both threads touch.
    def take_events(self) -> list[Event]:
        """Called by the GUI thread: everything that happened since the last call."""
        taken: list[Event] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def _push(self, event: Event) -> None:
        self._failed = self._failed or isinstance(event, RunFailed)
        if isinstance(event, RunStarted) and self._request is not None:
            self._recorded[self._request] = event.path
        self._events.append(event)
        self.woken.emit()

    # ------------------------------------------------------------------------------- loading
    @Slot(object, object)
    def load(self, request: LoadRequest, cancel: threading.Event) -> None:
        """Load a model in place of the present one, which stays until the new one is found."""
        try:
            lmm = self._loaded(request, cancel)
        except Exception as error:
            self.load_failed.emit(as_known(error))
            return
        self._lmm = lmm
        self._told_origin = lmm.sink_dims_origin
        self.loaded.emit(_summary(lmm))

    def _loaded(self, request: LoadRequest, cancel: threading.Event) -> Any:
        from var_studio.models.checkpoints import DEMO, resolve
        from var_studio.models.errors import LoadCancelledError
        from var_studio.models.families import family_of
        from var_studio.models.loading import LoadProgress, load_model

        def tell_download(done: int, total: int) -> None:
            if cancel.is_set():
                raise LoadCancelledError(
                    "Loading was stopped; files that had arrived whole are kept.",
                    "Load the model again to go on where it stopped.",
                )
            self._tell_loading(LoadProgress("download", done, total))

        # A sixth of a second that the first reading would otherwise cost the GUI thread.
        import_module("array_api_compat.numpy")
        name, options = request.name, request.options
        if name != DEMO:
            self._check_room(request, tell_download)
        family_of(resolve(name, tell_download, code=request.trust).config)
        self._let_go()
        return load_model(
            name,
            device=options.device,
            dtype=options.dtype,
            quantization=None if options.quantization == "none" else options.quantization,
            trust_remote_code=request.trust,
            on_event=self._tell_loading,
            cancel=cancel,
        )

    def _check_room(self, request: LoadRequest, tell_download: Callable[[int, int], None]) -> None:
        """Forecast the model from its small files. Raises WontFitError before gigabytes move."""
        from var_studio.models.checkpoints import resolve
        from var_studio.models.errors import CheckpointError
        from var_studio.models.forecast import forecast
        from var_studio.models.room import fit

        options = request.options
        try:
            resolve(request.name, tell_download, weights=False, code=request.trust)
            expected = forecast(
                request.name,
                device=options.device,
                dtype=options.dtype,
                quantization=None if options.quantization == "none" else options.quantization,
                trust_remote_code=request.trust,
            )
        except CheckpointError:
            return  # The loader says what is wrong, where anything is.
        tell_download(0, 0)
        found = fit(expected, replacing=self._lmm)
        self.forecast_made.emit(request, found)
        if found.shortages and not request.anyway:
            raise WontFitError(
                f"{expected.model} does not fit: {found.shortages[0]}.",
                "Choose 8-bit or 4-bit, a 16-bit precision, another device or a smaller model.",
            )

    def _let_go(self) -> None:
        if self._lmm is not None:
            old, self._lmm = self._lmm, None
            old.release()
            self.released.emit()

    def _tell_loading(self, progress: Any) -> None:
        if progress.stage == "weights":
            _set_libraries_aside()
        # Floats: a download in bytes overflows a C int.
        self.load_progress.emit(progress.stage, float(progress.done), float(progress.total))

    @Slot()
    def release(self) -> None:
        """Give the model's memory back."""
        self._let_go()

    # -------------------------------------------------------------------------- before a run
    @Slot(object)
    def forecast(self, request: ForecastRequest) -> None:
        """Say what a run would take."""
        made: Any = None
        if self._lmm is not None:
            try:
                from var_studio.models.forecast import forecast
                from var_studio.models.room import fit

                expected = forecast(
                    self._lmm,
                    list(request.images),
                    request.prompt,
                    history=request.history,
                    generation=request.generation,
                )
                made = fit(expected, loaded=True, twice=request.contrast, runs=request.runs)
            except Exception as error:
                made = as_known(error)
        self.forecast_made.emit(request, made)

    # ---------------------------------------------------------------------------------- runs
    @Slot(object, object)
    def run(self, request: RunRequest, cancel: threading.Event) -> None:
        """Make one run; its events go to the queue."""
        self._failed, self._request = False, request
        teacher: Recording | None = None
        try:
            from var_studio.engine.generation import record

            teacher = self._teacher_of(request)
            record(
                self._lmm,
                list(request.images),
                request.prompt,
                history=request.history,
                generation=request.generation,
                intervention=self._interventions_of(request),
                name=request.name,
                directory=None if self.place is None else self.place(),
                teacher=teacher,
                on_event=self._push,
                cancel=cancel,
            ).close()
        except Exception as error:
            if not self._failed:
                self._push(RunFailed(as_known(error)))
        finally:
            self._request = None
            if teacher is not None and teacher is not request.scores:
                teacher.close()
        self._tell_learned()
        self.run_ended.emit(not self._failed)

    def _tell_learned(self) -> None:
        """A run looks for the sink dimensions of a model that has none known."""
        if self._lmm is not None and self._lmm.sink_dims_origin != self._told_origin:
            self._told_origin = self._lmm.sink_dims_origin
            self.learned.emit(_summary(self._lmm))

    def _interventions_of(self, request: RunRequest) -> Interventions:
        """What acts on the visual tokens that this model makes of the images. Raises RegionError
        where it makes none of those that were named."""
        acting = request.interventions_with(float(self._lmm.tau_default), str(self._lmm.checkpoint))
        if request.cells is None:
            return acting
        from var_studio.recording.regions import placed_on

        encoded = self._lmm.encode(list(request.images), request.prompt, request.history)
        return tuple(placed_on(each, request.cells, encoded.layout) for each in acting)

    def _teacher_of(self, request: RunRequest) -> Recording | None:
        if not isinstance(request.scores, RunRequest):
            return request.scores
        from var_studio.recording.recording import Recording

        return Recording.open(self._recorded[request.scores])


@cache
def _set_libraries_aside() -> None:
    """Once in a process, when the libraries are there and the model is not.

    Their half a million objects stay, and to look at them in each full collection would stop the
    window for a third of a second. Later a model that was let go could be among what is set aside.
    """
    gc.freeze()


def _summary(lmm: Any) -> ModelSummary:
    from var_studio.models.room import devices

    return ModelSummary(
        name=str(lmm.name),
        checkpoint=str(lmm.checkpoint),
        family=str(getattr(lmm.family, "name", lmm.family)),
        device=str(lmm.device),
        dtype=str(lmm.dtype).removeprefix("torch."),
        n_layers=int(lmm.n_layers),
        n_heads=int(lmm.n_heads),
        hidden_size=int(lmm.hidden_size),
        sink_dims=tuple(int(d) for d in lmm.sink_dims or ()),
        sink_dims_origin=str(lmm.sink_dims_origin),
        tau_default=float(lmm.tau_default),
        description=str(lmm.description),
        quantization=str(lmm.quantization or "none"),
        devices=devices(),
    )
