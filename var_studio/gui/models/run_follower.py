"""Turns what the model's thread reports into what the window shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot

from var_studio.engine.events import (
    Event,
    Progress,
    PromptEncoded,
    RunFailed,
    RunFinished,
    RunStarted,
    TokenProduced,
)
from var_studio.errors import VarStudioError
from var_studio.gui.models.run_controller import RunController
from var_studio.gui.models.workspace import Workspace

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

STAGES = {
    "encoding": "Reading the question",
    "discovering": "Looking for sink dimensions",
    "prefill": "Reading the image",
    "generating": "Answering",
    "closing": "Finishing the recording",
}


_LONGEST_ANSWER = "Stopped at the longest answer allowed"
_SHORTEST_PACE = 0.25
"""Seconds: several tokens handed on at once would look like thousands in a second."""


class RunFollower(QObject):
    """Opens the recording of the run under way and follows it as it grows.

    `status(text)`: a few words on what is going on; `speed(tokens per second)` at the end;
    `progress(done, total)` of the stage under way, total 0: it cannot be known. The
    newest token is selected as it comes, until the user selects one.
    """

    status = Signal(str)
    speed = Signal(float)
    progress = Signal(int, int)

    def __init__(
        self, controller: RunController, workspace: Workspace, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._controller = controller
        self._workspace = workspace
        self._path: Path | None = None
        self._run: Recording | None = None
        self._stale = False
        self._selecting = False
        self._count = 0
        self._total = 0
        self._answered = ""
        self._stopped = False
        self._first = 0.0
        self._writing = False
        controller.happened.connect(self._on_event)
        controller.batch_done.connect(self._on_batch)
        controller.run_ended.connect(self._on_run_ended)
        workspace.selection.changed.connect(self._on_selection)

    @property
    def run(self) -> Recording | None:
        """The run that grows; None between runs."""
        return self._run

    @Slot(object)
    def _on_event(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _started(self, event: RunStarted) -> None:
        self._path, self._run, self._count, self._total = event.path, None, 0, 0
        self._stopped = False
        self._workspace.following = True
        self.status.emit(STAGES["encoding"] + "…")

    def _progress(self, event: Progress) -> None:
        what = STAGES.get(event.stage, event.stage)
        counted = event.stage in ("prefill", "discovering")
        where = f": layer {event.done} of {event.total}" if counted else ""
        self.status.emit(f"{what}{where}…")
        self.progress.emit(event.done if counted else 0, event.total if counted else 0)

    def _encoded(self, event: PromptEncoded) -> None:
        self.status.emit(STAGES["prefill"] + "…")
        self._open()

    def _token(self, event: TokenProduced) -> None:
        self._stale = True
        self._count += 1
        if self._count == 1:
            self._first = time.monotonic()
        self._writing = True

    def _finished(self, event: RunFinished) -> None:
        self._stale = True
        self._writing = False
        self.speed.emit(event.tokens_per_second)
        self._stopped = event.reason == "cancelled"
        took = f"{_tokens(self._count)} in {event.seconds:.1f} s"
        if self._stopped:
            self.status.emit(f"Stopped; what was recorded is kept: {took}{self._taken_off()}")
        elif self._scores:
            # The forced run comes after the answers; how fast they came is what a reader asks.
            self.status.emit(f"Scored: {took}{self._answered}")
        else:
            ended = "Answered" if event.reason == "end" else _LONGEST_ANSWER
            self._answered = f" · before that, {ended[0].lower()}{ended[1:]}: {took}"
            if event.tokens_per_second > 0:
                self._answered += f" ({event.tokens_per_second:.1f} tokens/s)"
            self.status.emit(f"{ended}: {took}")

    @property
    def _scores(self) -> bool:
        """Whether the run under way is fed an answer that is there."""
        request = self._controller.current
        return request is not None and request.scores is not None

    def _taken_off(self) -> str:
        number = self._controller.taken_off
        if not number:
            return ""
        return f" · {number} waiting {'run' if number == 1 else 'runs'} taken off the queue"

    def _failed(self, event: RunFailed) -> None:
        self._stale = True
        self._writing = False
        self._path = event.path or self._path
        self.status.emit("The run did not end well")
        self._workspace.problem.emit(event.error)

    def _open(self) -> None:
        if self._run is not None or self._path is None:
            return
        from var_studio.recording.recording import Recording

        try:
            run = Recording.open(self._path)
        except VarStudioError:
            return  # nothing has been written yet
        if not run.tokens:
            run.close()
            return
        self._run = run
        self._total = self._expected(run)
        # A second answer is shown under the first; what the user looks at stays.
        look = not run.interventions or self._workspace.partner_of(run) is None
        self._workspace.growing = run
        self._select(lambda: self._workspace.add_run(run, look=look))

    def _expected(self, run: Recording) -> int:
        """Tokens that the answer has at most."""
        for other in self._workspace.runs:
            if other.id == run.teacher:
                return len(other.generated_positions)
        return run.generation.max_new_tokens

    @Slot()
    def _on_batch(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._open()
        if self._run is None:
            return
        if self._writing:
            doing = "Scoring" if self._scores else STAGES["generating"]
            self.status.emit(f"{doing}: token {self._count}{self._pace()}…")
            self.progress.emit(self._count, self._total)
        self._select(self._grow)

    def _pace(self) -> str:
        """Tokens a second so far; nothing until enough of them came to say so."""
        seconds, further = time.monotonic() - self._first, self._count - 1
        if further < 1 or seconds < _SHORTEST_PACE:
            return ""
        return f", {further / seconds:.1f} tokens/s"

    def _grow(self) -> None:
        try:
            self._workspace.grow()
        except VarStudioError as error:
            self._workspace.problem.emit(error)
            return
        if self._workspace.following and self._run is self._workspace.run:
            selection = self._workspace.selection
            if selection.positions:
                selection.select_token(selection.positions[-1])

    @Slot()
    def _on_run_ended(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._select(lambda: self._close(run))
        self._workspace.growing = None
        self._workspace.following = False
        self._path = None

    def _close(self, run: Recording) -> None:
        try:
            self._workspace.grow()
        except VarStudioError as error:
            self._workspace.problem.emit(error)
        self._workspace.growing = None
        if self._workspace.following and run is self._workspace.run and not self._stopped:
            self._workspace.select_first_word()
        self._workspace.finish_run()

    def _select(self, change: Callable[[], object]) -> None:
        """Change the selection ourselves: that is not the user's doing."""
        self._selecting = True
        try:
            with self._workspace.history.unrecorded():
                change()
        finally:
            self._selecting = False

    @Slot()
    def _on_selection(self) -> None:
        if not self._selecting:
            self._workspace.following = False


def _tokens(number: int) -> str:
    return f"{number} token" if number == 1 else f"{number} tokens"


_HANDLERS: dict[type, Callable[..., None]] = {
    RunStarted: RunFollower._started,
    Progress: RunFollower._progress,
    PromptEncoded: RunFollower._encoded,
    TokenProduced: RunFollower._token,
    RunFinished: RunFollower._finished,
    RunFailed: RunFollower._failed,
}
