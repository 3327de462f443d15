"""The one owner of the model: a thread that loads it and runs it, and what the window hears."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from var_studio.engine.events import Event, RunFailed
from var_studio.errors import VarStudioError
from var_studio.recording.settings import Generation, Intervention

if TYPE_CHECKING:
    from var_studio.recording.images import StoredImage

State = Literal["idle", "loading", "running", "stopping"]


class UnexpectedError(VarStudioError):
    """A defect of VAR Studio, not of the user: caught, shown, survived."""


class BusyError(VarStudioError):
    """Something was asked of the model while it was at work."""


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


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run to make. `intervention` None: the baseline."""

    image: StoredImage
    prompt: str
    generation: Generation
    intervention: Intervention | None
    name: str


class _Worker(QObject):
    """Lives in the model's thread. Its slots block that thread; `cancel` is polled by them."""

    loaded = Signal(object)
    released = Signal()
    load_failed = Signal(object)
    load_progress = Signal(str, float, float)
    woken = Signal()
    run_ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._lmm: Any = None
        self._events: deque[Event] = deque()
        self._failed = False

    # deque.append and popleft are atomic: the only object both threads touch.
    def take_events(self) -> list[Event]:
        """Called by the GUI thread: everything that happened since the last call."""
        taken: list[Event] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def _push(self, event: Event) -> None:
        self._failed = self._failed or isinstance(event, RunFailed)
        self._events.append(event)
        self.woken.emit()

    @Slot(str, object)
    def load(self, name: str, cancel: threading.Event) -> None:
        """Load a model in place of the present one, which stays until the new one is found."""
        try:
            from var_studio.models.checkpoints import resolve
            from var_studio.models.errors import LoadCancelledError
            from var_studio.models.families import family_of
            from var_studio.models.loading import LoadProgress, load_model

            def tell_download(done: int, total: int) -> None:
                if cancel.is_set():
                    raise LoadCancelledError("Loading was stopped.", "Load it again when you like.")
                self._tell_loading(LoadProgress("download", done, total))

            # A sixth of a second that the first reading would otherwise cost the GUI thread.
            import_module("array_api_compat.numpy")
            family_of(resolve(name, tell_download).config)
            if self._lmm is not None:
                old, self._lmm = self._lmm, None
                old.release()
                self.released.emit()
            lmm = load_model(name, on_event=self._tell_loading, cancel=cancel)
        except Exception as error:
            self.load_failed.emit(as_known(error))
            return
        self._lmm = lmm
        self.loaded.emit(_summary(lmm))

    def _tell_loading(self, progress: Any) -> None:
        # Floats: a download in bytes overflows a C int.
        self.load_progress.emit(progress.stage, float(progress.done), float(progress.total))

    @Slot(object, object)
    def run(self, request: RunRequest, cancel: threading.Event) -> None:
        """Make one run; its events go to the queue."""
        self._failed = False
        try:
            from var_studio.engine.generation import record

            record(
                self._lmm,
                request.image,
                request.prompt,
                generation=request.generation,
                intervention=request.intervention,
                name=request.name,
                on_event=self._push,
                cancel=cancel,
            ).close()
        except Exception as error:
            if not self._failed:
                self._push(RunFailed(as_known(error)))
        self.run_ended.emit()

    @Slot()
    def release(self) -> None:
        """Give the model's memory back."""
        if self._lmm is not None:
            lmm, self._lmm = self._lmm, None
            lmm.release()


class RunController(QObject):
    """The window's side of the model's thread. All its signals come in the GUI thread.

    Events are handed on at most about 30 times a second, the first one at once. `runs_ended`
    follows the last event of the last queued run.
    """

    state_changed = Signal(str)
    model_loaded = Signal(object)  # ModelSummary
    model_failed = Signal(object)  # VarStudioError
    load_progress = Signal(str, float, float)  # stage, done, total (0: unknown)
    happened = Signal(object)  # one of var_studio.engine.events
    batch_done = Signal()  # the events of one repaint are all out
    run_ended = Signal()  # one run is over, for whatever reason
    problem = Signal(object)  # VarStudioError

    _load = Signal(str, object)
    _run = Signal(object, object)
    _release = Signal()

    interval_ms = 33

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: State = "idle"
        self.model: ModelSummary | None = None
        self.model_name: str | None = None
        self._wanted = ""
        self._queue: deque[RunRequest] = deque()
        self._cancel = threading.Event()
        self._thread = QThread(self)
        self._thread.setObjectName("model")
        self._worker = _Worker()
        self._worker.moveToThread(self._thread)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(self.interval_ms)
        self._timer.timeout.connect(self._drain)
        self._load.connect(self._worker.load)
        self._run.connect(self._worker.run)
        self._release.connect(self._worker.release)
        self._worker.loaded.connect(self._on_loaded)
        self._worker.released.connect(self._on_released)
        self._worker.load_failed.connect(self._on_load_failed)
        self._worker.load_progress.connect(self.load_progress)
        self._worker.woken.connect(self._on_woken)
        self._worker.run_ended.connect(self._on_run_ended)

    # ------------------------------------------------------------------------------ commands
    @property
    def busy(self) -> bool:
        """Whether the model's thread is at work."""
        return self.state != "idle"

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing waits."""
        return self.state == "idle" and not self._queue

    def load(self, name: str) -> None:
        """Load the model `name` ("demo", a folder, a hub id) in the background."""
        if self.busy:
            self.problem.emit(
                BusyError(
                    "Another model cannot be loaded while one is at work.",
                    "Press Stop (Esc), then choose the model again.",
                )
            )
            return
        self._wanted = name
        self._cancel = threading.Event()
        self._start_thread()
        self._set_state("loading")
        self._load.emit(name, self._cancel)

    def start(self, requests: Sequence[RunRequest]) -> bool:
        """Make these runs, one after another. While the model still loads, they wait for it.

        Returns False, with a `problem`, if runs are under way already.
        """
        if self._queue or self.state in ("running", "stopping"):
            self.problem.emit(
                BusyError(
                    "A run is under way already.",
                    "Wait for its answer, or press Stop (Esc); what it recorded so far is kept.",
                )
            )
            return False
        if self.model is None and self.state != "loading":
            self.problem.emit(
                BusyError("No model is loaded.", "Choose a model in Setup, then press Run.")
            )
            return False
        self._queue.extend(requests)
        self._next()
        return True

    def stop(self) -> None:
        """Stop what goes on; what was recorded is kept."""
        self._queue.clear()
        if self.busy:
            self._cancel.set()
            if self.state == "running":
                self._set_state("stopping")

    def shutdown(self, timeout_ms: int = 20_000) -> bool:
        """Stop everything and end the thread; waits for it. Returns whether it ended in time."""
        self.stop()
        self._timer.stop()
        if not self._thread.isRunning():
            return True
        self._release.emit()
        self._thread.quit()
        # The release above is still handled: quit() ends the loop after what was posted before.
        return self._thread.wait(timeout_ms)

    # ------------------------------------------------------- slots, called in the GUI thread
    @Slot(object)
    def _on_loaded(self, model: ModelSummary) -> None:
        self.model, self.model_name = model, self._wanted
        self._set_state("idle")
        self.model_loaded.emit(model)
        self._next()

    @Slot()
    def _on_released(self) -> None:
        self.model = self.model_name = None

    @Slot(object)
    def _on_load_failed(self, error: VarStudioError) -> None:
        if self.model is None:
            self._queue.clear()
        self._set_state("idle")
        self.model_failed.emit(error)
        self._next()

    @Slot()
    def _on_woken(self) -> None:
        if not self._timer.isActive():
            self._drain()

    @Slot()
    def _drain(self) -> None:
        events = self._worker.take_events()
        if not events:
            return
        for event in events:
            self.happened.emit(event)
        self.batch_done.emit()
        self._timer.start()

    @Slot()
    def _on_run_ended(self) -> None:
        self._drain()
        self._set_state("idle")
        self.run_ended.emit()
        self._next()

    # ------------------------------------------------------------------------------ plumbing
    def _next(self) -> None:
        if self.state == "idle" and self._queue and self.model is not None:
            self._cancel = threading.Event()
            self._set_state("running")
            self._run.emit(self._queue.popleft(), self._cancel)

    def _start_thread(self) -> None:
        if not self._thread.isRunning():
            self._thread.start()

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)


def as_known(error: BaseException) -> VarStudioError:
    """The error itself if it is one a user can expect, else a wrapper that keeps its traceback."""
    if isinstance(error, VarStudioError):
        return error
    known = UnexpectedError(
        f"Something went wrong inside VAR Studio: {type(error).__name__}: {error}.",
        "Your recordings are kept; the details help whoever repairs it.",
    )
    known.__cause__ = error
    return known


def details(error: BaseException) -> str:
    """The chain of causes, for whoever opens a notice's details."""
    return "".join(traceback.format_exception(error)).strip()


def _summary(lmm: Any) -> ModelSummary:
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
    )
