"""The one owner of the model: a thread that loads it and runs it, and what the window hears."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from var_studio.errors import VarStudioError
from var_studio.gui.models.model_worker import ModelSummary, ModelWorker
from var_studio.gui.models.problems import BusyError
from var_studio.gui.models.requests import ForecastRequest, LoadOptions, LoadRequest, RunRequest

State = Literal["idle", "loading", "running", "stopping"]


class RunController(QObject):
    """The window's side of the model's thread. All its signals come in the GUI thread.

    Runs wait in a queue and are made one after another. Events are handed on at most about 30
    times a second, the first one at once, and so seldom that what follows from them, painting
    included, takes at most a tenth of the time: the processor is the model's.
    """

    state_changed = Signal(str)
    queue_changed = Signal()
    model_loaded = Signal(object)  # ModelSummary
    model_learned = Signal(object)  # ModelSummary: a run found its sink dimensions, or none
    model_failed = Signal(object)  # VarStudioError
    model_released = Signal()
    load_progress = Signal(str, float, float)  # stage, done, total (0: unknown)
    load_forecast = Signal(object)  # models.room.Fit of the model that is being loaded
    run_forecast = Signal(object)  # Fit of the run asked of last, or VarStudioError
    happened = Signal(object)  # one of var_studio.engine.events
    batch_done = Signal()  # the events of one repaint are all out
    run_ended = Signal()  # one run is over, for whatever reason
    problem = Signal(object)  # VarStudioError

    _load = Signal(object, object)
    _run = Signal(object, object)
    _forecast = Signal(object)
    _release = Signal()

    interval_ms = 33
    share = 0.1
    longest_ms = 400
    """Between two repaints, whatever they cost."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: State = "idle"
        self.model: ModelSummary | None = None
        self.model_name: str | None = None
        self.current: RunRequest | None = None
        self._wanted = LoadRequest("demo")
        self._queue: deque[RunRequest] = deque()
        self.taken_off = 0
        self._cancel = threading.Event()
        self._asked: ForecastRequest | None = None
        self._forecasting = False
        self._thread = QThread(self)
        self._thread.setObjectName("model")
        self._worker = ModelWorker()
        self._worker.moveToThread(self._thread)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._rested)
        self._drained = (0.0, 0.0)  # when, by the clock and by this thread's processor time
        self._load.connect(self._worker.load)
        self._run.connect(self._worker.run)
        self._forecast.connect(self._worker.forecast)
        self._release.connect(self._worker.release)
        self._worker.loaded.connect(self._on_loaded)
        self._worker.released.connect(self._on_released)
        self._worker.load_failed.connect(self._on_load_failed)
        self._worker.load_progress.connect(self.load_progress)
        self._worker.forecast_made.connect(self._on_forecast)
        self._worker.woken.connect(self._on_woken)
        self._worker.learned.connect(self._on_learned)
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

    @property
    def waiting(self) -> tuple[RunRequest, ...]:
        """The runs that wait, the next one first."""
        return tuple(self._queue)

    @property
    def wanted(self) -> LoadRequest:
        """The model asked for last."""
        return self._wanted

    def load(
        self,
        name: str,
        options: LoadOptions | None = None,
        *,
        trust: bool = False,
        anyway: bool = False,
    ) -> bool:
        """Load the model `name` ("demo", a folder, a hub id) in the background.

        Returns False, with a `problem`, while the model is at work.
        """
        if self.busy:
            self.problem.emit(
                BusyError(
                    "Another model cannot be loaded while one is at work.",
                    "Press Stop (Esc), then choose the model again.",
                )
            )
            return False
        self._wanted = LoadRequest(name, options or LoadOptions(), trust, anyway)
        self._cancel = threading.Event()
        self._start_thread()
        self._set_state("loading")
        self._load.emit(self._wanted, self._cancel)
        return True

    def release(self) -> bool:
        """Give the model's memory back. Returns False, with a `problem`, while it is at work."""
        if self.busy:
            self.problem.emit(
                BusyError("The model is at work.", "Press Stop (Esc), then release it.")
            )
            return False
        self._release.emit()
        return True

    def start(self, requests: Sequence[RunRequest]) -> bool:
        """Make these runs, one after another, after those that wait already. While the model still
        loads, they wait for it. Returns False, with a `problem`, if there is no model."""
        if self.model is None and self.state != "loading":
            self.problem.emit(
                BusyError("No model is loaded.", "Choose a model in Setup, then press Run.")
            )
            return False
        self._queue.extend(requests)
        self.queue_changed.emit()
        self._next()
        return True

    def cancel(self, request: RunRequest) -> None:
        """Take one run, and those that need its answer, off the queue; the one under way stops and
        keeps what it recorded. The others go on."""
        self._drop(request)
        if request is self.current and self.state == "running":
            self._cancel.set()
            self._set_state("stopping")
        self.queue_changed.emit()

    def stop(self) -> None:
        """Stop what goes on and empty the queue; what was recorded is kept. `taken_off`: so many
        runs waited, until the next one begins."""
        self.taken_off += len(self._queue)
        self._queue.clear()
        if self.busy:
            self._cancel.set()
            if self.state == "running":
                self._set_state("stopping")
        self.queue_changed.emit()

    def keep_runs_in(self, place: Callable[[], Path]) -> None:
        """Where runs grow: `place` gives a new directory; the model's thread calls it."""
        self._worker.place = place

    def forecast(self, request: ForecastRequest | None) -> None:
        """Ask what a run would take; `run_forecast` answers once the thread is free. Of several
        questions only the last is answered; None: none of them."""
        self._asked = request
        self._ask_forecast()

    def shutdown(self, timeout_ms: int = 20_000) -> bool:
        """Stop everything and end the thread; waits for it. Returns whether it ended in time."""
        self._asked = None
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
        self.model, self.model_name = model, self._wanted.name
        self._set_state("idle")
        self.model_loaded.emit(model)
        self._next()

    @Slot(object)
    def _on_learned(self, model: ModelSummary) -> None:
        self.model = model
        self.model_learned.emit(model)

    @Slot()
    def _on_released(self) -> None:
        self.model = self.model_name = None
        self.model_released.emit()

    @Slot(object)
    def _on_load_failed(self, error: VarStudioError) -> None:
        if self.model is None:
            self._queue.clear()
            self.queue_changed.emit()
        self._set_state("idle")
        self.model_failed.emit(error)
        self._next()

    @Slot(object, object)
    def _on_forecast(self, request: Any, made: Any) -> None:
        if isinstance(request, LoadRequest):
            self.load_forecast.emit(made)
            return
        self._forecasting = False
        if request is self._asked:
            self._asked = None
            self.run_forecast.emit(made)
        self._ask_forecast()

    @Slot()
    def _on_woken(self) -> None:
        if not self._timer.isActive():
            self._drain()

    @Slot()
    def _drain(self) -> None:
        events = self._worker.take_events()
        if not events:
            return
        self._drained = (time.monotonic(), time.thread_time())
        for event in events:
            self.happened.emit(event)
        self.batch_done.emit()
        self._timer.start(self.interval_ms)

    @Slot()
    def _rested(self) -> None:
        """What was handed on last is painted by now: wait on where it took more than its share."""
        when, cpu = self._drained
        wanted = min((time.thread_time() - cpu) / self.share, self.longest_ms / 1000)
        rest_ms = round(1000 * (when + wanted - time.monotonic()))
        if rest_ms > 0:
            self._timer.start(rest_ms)
        else:
            self._drain()

    @Slot(bool)
    def _on_run_ended(self, well: bool) -> None:
        self._drain()
        ended, self.current = self.current, None
        if ended is not None and not well:
            self._drop(ended)
        self._set_state("idle")
        self.run_ended.emit()
        self.queue_changed.emit()
        self._next()

    # ------------------------------------------------------------------------------ plumbing
    def _next(self) -> None:
        if self.state == "idle" and self._queue and self.model is not None:
            self._cancel = threading.Event()
            self.current = self._queue.popleft()
            self.taken_off = 0
            self._set_state("running")
            self.queue_changed.emit()
            self._run.emit(self.current, self._cancel)
        self._ask_forecast()

    def _drop(self, request: RunRequest) -> None:
        """Take a request, and what scores its answer, off the queue."""
        kept = [r for r in self._queue if r is not request and r.scores is not request]
        self._queue = deque(kept)

    def _ask_forecast(self) -> None:
        # The thread answers between runs only: one question at a time waits there, not many.
        if self._asked is None or self._forecasting or self.busy or self.model is None:
            return
        self._forecasting = True
        self._forecast.emit(self._asked)

    def _start_thread(self) -> None:
        if not self._thread.isRunning():
            self._thread.start()

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)
