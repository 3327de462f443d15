"""What colours the words of a transcript: values per token, their scale, a sentence on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from var_studio.errors import VarStudioError
from var_studio.gui.models.answers import scored

if TYPE_CHECKING:
    from var_studio.analysis.reverse import CellAttention
    from var_studio.analysis.shares import RowMasses
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording
    from var_studio.recording.settings import Redistribution

COLOURINGS: Final = {
    "probability": "Probability",
    "visual_mass": "Visual mass",
    "sink_mass": "Sink mass",
    "image_centric_share": "Image-centric share",
    "delta_logprob": "Δ log-probability",
    "reverse": "Looks at the cells",
}
"""Ways to colour words: key of ViewSettings.colour_by -> name in the window."""

LEAST_P: Final = 0.01
"""A word that was less probable than this has the strongest tint."""
LEAST_CHANGE: Final = 0.01
"""Nats. The ends of the colours are never closer to 0: rounding is no change."""
SLICE: Final = 0.004
"""Seconds of reading rows in one turn of the event loop."""
PAUSE_MS: Final = 10
AFTER_CHANGE_MS: Final = 60
"""Wait this long after a click or a drag: what the user does comes first."""
REPAINT_EVERY: Final = 12
"""Slices between two repaints."""


@dataclass(frozen=True, slots=True)
class WordScale:
    """`low`, `high`: the values at the ends of the colours; with `centred`, 0 is in the middle.
    `texts`: both ends in words."""

    low: float
    high: float
    texts: tuple[str, str]
    centred: bool = False


UNIT: Final = WordScale(0.0, 1.0, ("0", "1"))


class WordColours(QObject):
    """Values for the runs on screen under the view's `colour_by`; `changed` when they are others.

    What needs every row of a run is read in slices of a few milliseconds, between which the
    window does what it is asked; `changed` comes now and then, and at the end. Nothing is read
    while `set_active(False)`.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._active = False
        self._key: tuple[object, ...] | None = None
        self._pending: list[tuple[Recording, RowMasses | CellAttention]] = []
        self._finish: Callable[[], None] | None = None
        self._late = False
        self._slices = 0
        self._values: dict[Recording, dict[int, float]] = {}
        self.scale = UNIT
        self.sentence = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._advance)
        for signal in (
            workspace.view.changed,
            workspace.selection.changed,
            workspace.method.changed,
            workspace.run_changed,
            workspace.runs_changed,
            workspace.tokens_appended,
        ):
            signal.connect(self.update)

    # ------------------------------------------------------------------------------- reading
    @property
    def kind(self) -> str:
        """The key of COLOURINGS that holds."""
        return self._workspace.view.current.colour_by

    def values(self, run: Recording | None) -> Mapping[int, float]:
        """Position -> value, for the tokens of a run on screen."""
        return {} if run is None else self._values.get(run, {})

    def shades(self, run: Recording | None) -> dict[int, float]:
        """Position -> strength of the tint: 0 to 1, or -1 to 1 where 0 is in the middle."""
        low, high = self.scale.low, self.scale.high
        if self.kind == "probability":
            return {at: min(surprise(value), 1.0) for at, value in self.values(run).items()}
        if self.scale.centred:
            return {at: max(-1.0, min(v / high, 1.0)) for at, v in self.values(run).items()}
        span = high - low
        return {at: max(0.0, min((v - low) / span, 1.0)) for at, v in self.values(run).items()}

    def texts(self, run: Recording | None) -> dict[int, str]:
        """Position -> the value in words. Empty for probabilities, which are always told."""
        if self.kind == "probability":
            return {}
        name = COLOURINGS[self.kind]
        sign = "+" if self.kind == "delta_logprob" else ""
        return {
            at: f"{name} {value:{sign}.3g}".replace("-", "−")
            for at, value in self.values(run).items()
        }

    @property
    def reading(self) -> bool:
        """Whether rows are still to be read."""
        return bool(self._pending) or self._late

    # ------------------------------------------------------------------------------ changing
    def set_active(self, active: bool) -> None:
        """Read rows only while somebody can see what comes of it."""
        if active != self._active:
            self._active = active
            self.update()
            if not active:
                self._timer.stop()

    def update(self) -> None:
        """Something may have changed: take what is known now, and read the rest in slices."""
        if not self._active:
            return
        key = self._present()
        if key == self._key:
            if self.reading:
                self._timer.start(AFTER_CHANGE_MS)
            return
        before, self._key = self._key, key
        self._pending = []
        if (
            before is not None
            and before[:3] == key[:3]
            and before[3:4] != key[3:4]
            and len(key) > 3
        ):
            # While tau is dragged no row is read for values that are gone at the next step.
            self._timer.start(AFTER_CHANGE_MS)
            if not self._late:
                self._late = True
                self.sentence += " Updating…"
                self.changed.emit()
            return
        self._take()

    def _take(self) -> None:
        """Show what is known now."""
        self._late = False
        self._finish, self._values = None, {}
        try:
            self._begin()
        except VarStudioError as error:
            self._values, self._pending = {}, []
            self.scale, self.sentence = UNIT, str(error)
        if self._pending:
            self._timer.start(AFTER_CHANGE_MS)
        self.changed.emit()

    def _runs(self) -> list[Recording]:
        workspace = self._workspace
        return [run for run in (workspace.baseline, workspace.paired) if run is not None]

    def _present(self) -> tuple[object, ...]:
        """All that the values depend on."""
        workspace, kind = self._workspace, self.kind
        runs = tuple((run, run.length, run.finished) for run in self._runs())
        if kind == "probability":
            return kind, runs
        if kind == "delta_logprob":
            forced = scored(workspace)
            return kind, runs, None if forced is None else (forced, forced.length)
        selection, settings = workspace.selection, workspace.method.current
        row = selection.row_of
        if kind == "visual_mass":
            return kind, runs, row
        if kind == "reverse":
            aggregate = workspace.view.current.aggregate
            return kind, runs, row, selection.cells, selection.heads, aggregate
        sinks = settings.tau, settings.convention, settings.sink_dims
        if kind == "sink_mass":
            return kind, runs, row, sinks
        return kind, runs, row, sinks, settings.rho, settings.mass_min

    def _begin(self) -> None:
        {
            "probability": self._probabilities,
            "visual_mass": self._visual_mass,
            "sink_mass": self._sink_mass,
            "image_centric_share": self._share,
            "delta_logprob": self._changes,
            "reverse": self._reverse,
        }[self.kind]()

    # --------------------------------------------------------------------- each way to colour
    def _probabilities(self) -> None:
        runs = self._runs()
        if runs:
            from var_studio.analysis.token_values import log_probabilities

            self._values = {run: log_probabilities(run.tokens) for run in runs}
        self.scale = WordScale(LEAST_P, 1.0, ("1", f"≤ {LEAST_P:g}"))
        self.sentence = (
            "Probability of each word, before temperature and top-p: the stronger the colour, the "
            "less sure the model was."
        )

    def _visual_mass(self) -> None:
        # What is a sink does not matter here: with each run's own tau nothing is read twice.
        from var_studio.recording.settings import Redistribution

        self._of_rows(
            Redistribution(),
            lambda masses: masses.visual_mass(),
            "Attention that each word gives to the image, mean over all heads (Sec. 5.1).",
        )

    def _sink_mass(self) -> None:
        self._of_rows(
            self._workspace.method.current,
            lambda masses: masses.sink_mass(),
            "Attention that each word gives to sinks, visual and text (φ ≥ τ, Sec. 4.1), mean "
            "over all heads.",
        )

    def _share(self) -> None:
        settings = self._workspace.method.current
        self._of_rows(
            settings,
            lambda masses: masses.image_centric_share(settings),
            "Share of all heads that are image-centric for each word: r ≥ ρ and enough visual "
            "mass (Sec. 5.1, Fig. 10).",
        )

    def _of_rows(
        self,
        settings: Redistribution,
        values: Callable[[RowMasses], np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
        sentence: str,
    ) -> None:
        from var_studio.analysis.shares import row_masses

        masses = {run: row_masses(run, settings) for run in self._runs()}
        self._follow(masses, values, sentence)

    def _reverse(self) -> None:
        from var_studio.analysis.reverse import cell_attention

        selection, aggregate = self._workspace.selection, self._workspace.view.current.aggregate
        if not selection.cells:
            self.scale = UNIT
            self.sentence = (
                "Click a cell in Image, or pull up a rectangle: the words that look there are "
                "coloured here."
            )
            return
        heads = tuple(sorted(selection.heads))
        count = len(selection.cells)
        which = "largest" if aggregate == "max" else "mean"
        over = f"the {len(heads)} heads in focus" if heads else "all heads"
        across = "in the head in focus" if len(heads) == 1 else f"{which} over {over}"
        self._follow(
            {run: cell_attention(run, selection.cells) for run in self._runs()},
            lambda cells: cells.of_tokens(heads, aggregate),
            f"Attention that each word gives to the {'cell' if count == 1 else f'{count} cells'} "
            f"selected in Image, {across}.",
        )

    def _changes(self) -> None:
        from var_studio.analysis.token_values import logprob_changes

        workspace = self._workspace
        baseline, other, forced = workspace.baseline, workspace.paired, scored(workspace)
        self.scale = WordScale(-1.0, 1.0, ("−1", "+1"), centred=True)
        if baseline is None or (other is None and forced is None):
            self.sentence = (
                "There is no second answer yet: Run pair scores every word of the baseline's "
                "answer under the interventions."
            )
            return
        free = other if other is not forced else None
        mine, theirs = logprob_changes(baseline, free, forced)
        if other is not None and other is forced:
            theirs = dict(mine)  # the same words at the same places
        self._values = {baseline: mine} | ({} if other is None else {other: theirs})
        sizes = [abs(v) for v in (*mine.values(), *theirs.values()) if math.isfinite(v)]
        top = max((LEAST_CHANGE, *sizes))
        self.scale = WordScale(-top, top, (f"−{top:.2g}", f"+{top:.2g}"), centred=True)
        self.sentence = (
            "Change in nats under the interventions, word by word (teacher-forced)."
            if forced is not None
            else "Change in nats, while the answers are the same (free-running); Run pair scores "
            "the rest."
        )

    def _follow(
        self,
        computations: Mapping[Recording, RowMasses | CellAttention],
        values: Callable[..., np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
        sentence: str,
    ) -> None:
        """Take what is in, and again whenever more is."""
        from var_studio.analysis.token_values import of_rows

        row_of: Literal["query", "produced"] = self._workspace.selection.row_of

        def finish() -> None:
            found = {run: values(each) for run, each in computations.items()}
            self._values = {run: of_rows(run, rows, row_of) for run, rows in found.items()}
            every = [v for of_run in self._values.values() for v in of_run.values()]
            top = max(every, default=0.0) or 1.0
            self.scale = WordScale(0.0, top, ("0", f"{top:.2g}"))
            done = sum(int(each.done.sum()) for each in computations.values())
            total = sum(len(each.done) for each in computations.values())
            told = f" {done} of {total} rows read." if done < total else ""
            self.sentence = sentence + told

        self._finish = finish
        self._pending = [pair for pair in computations.items() if not pair[1].complete]
        self._slices = 0
        finish()

    # ------------------------------------------------------------------------------ plumbing
    def _advance(self) -> None:
        """One slice. The answer's rows come first."""
        if not self._active:
            return
        if self._late:
            self._take()
            return
        if not self._pending or self._finish is None:
            return
        run, rows = self._pending[0]
        first = int(np.searchsorted(run.query_positions, run.prompt_length))
        try:
            if rows.advance(SLICE, first):
                self._pending.pop(0)
            self._slices += 1
            if not self._pending or self._slices % REPAINT_EVERY == 1:
                self._finish()
                self.changed.emit()
        except VarStudioError as error:
            self._values, self._pending = {}, []
            self.scale, self.sentence = UNIT, str(error)
            self.changed.emit()
        if self._pending:
            self._timer.start(PAUSE_MS)


def surprise(logprob: float) -> float:
    """Strength of the tint for a log-probability: 0 where the model was sure, 1 at LEAST_P."""
    return min(max(-logprob / math.log(1 / LEAST_P), 0.0), 1.0)
