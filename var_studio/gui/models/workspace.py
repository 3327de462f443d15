"""All that the window shows: runs, selection, settings, regions, and the reading of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoStack

from var_studio.errors import VarStudioError
from var_studio.gui.models.history import LookHistory
from var_studio.gui.models.interventions import InterventionsModel
from var_studio.gui.models.method_settings import GenerationModel, MethodModel, ModelFacts
from var_studio.gui.models.question import QuestionModel
from var_studio.gui.models.regions import RegionsModel
from var_studio.gui.models.requests import LoadModel, LoadOptions
from var_studio.gui.models.selection import SelectionModel
from var_studio.gui.models.view import ViewModel

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.recording.recording import Recording
    from var_studio.recording.regions import Region


_MOST_UNDO = 1000


class Workspace(QObject):
    """The window's one model. Panels read it and listen; they never talk to each other.

    `run` is the run being looked at: the baseline or, when the user clicked a word of the second
    answer, the run with the intervention. However many changes happen in one turn of the event
    loop, `reading_changed` comes once, after them; its argument is a Reading, or None while
    nothing can be shown.

    `undo_stack` holds all that can be undone: settings, regions, and the user's steps from run to
    run and selection to selection, of which rapid ones of a kind are one.
    """

    reading_changed = Signal(object)
    run_changed = Signal()  # another run is looked at
    runs_changed = Signal()  # runs were added, removed, finished, paired
    tokens_appended = Signal()  # the growing run has new tokens
    modified_changed = Signal()  # `modified` is another, for a region was edited
    problem = Signal(object)  # a VarStudioError to show as a notice

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.undo_stack = QUndoStack(self)
        self.undo_stack.setUndoLimit(_MOST_UNDO)
        self.selection = SelectionModel(self)
        self.method = MethodModel(self.undo_stack, self)
        self.generation = GenerationModel(self.undo_stack, self)
        self.interventions = InterventionsModel(self.method, self.undo_stack, self)
        self.loading = LoadModel(LoadOptions(), self.undo_stack, self)
        self.question = QuestionModel(self.undo_stack, self)
        self.view = ViewModel(self)
        self.regions = RegionsModel(self.undo_stack, self)
        self.runs: list[Recording] = []
        self.run: Recording | None = None
        self.baseline: Recording | None = None
        self.paired: Recording | None = None
        self.growing: Recording | None = None
        self.following = False  # whether the newest word is selected as it comes
        self.session_path: Path | None = None
        self.session: Any = None
        self.notes = ""
        self._modified = False
        self._clean: dict[str, tuple[Region, ...]] | None = {}
        self._reading: Reading | None = None
        self._stale = True
        self._picked = False
        self._broken: tuple[object, ...] | None = None
        self._unrecorded: tuple[object, ...] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._announce)
        self.history = LookHistory(self)
        self.selection.changed.connect(self._selection_changed)
        self.method.changed.connect(self.invalidate)
        self.regions.changed.connect(self._region_changed)
        self.regions.edited.connect(self._edited)
        self.view.changed.connect(self._view_changed)

    @property
    def modified(self) -> bool:
        """Whether the session is not what its file holds; not after all changes are undone."""
        return self._modified

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = value
        # The regions with which it is as in its file; None: with none, more than they has changed.
        self._clean = None if value else self.regions.to_save()

    # ------------------------------------------------------------------------------- reading
    @property
    def reading(self) -> Reading | None:
        """The reading of the present selection and settings; None when there is none."""
        if self._stale:
            self._stale = False
            self._reading = self._build()
        return self._reading

    @property
    def query(self) -> int | None:
        """Index of the attention row that stands for the selected token; None: it has none."""
        position = self.selection.position
        if self.run is None or position is None:
            return None
        return self._query_of(position)

    def invalidate(self) -> None:
        """Something the reading depends on has changed: announce a new one soon, once."""
        self._stale = True
        self._timer.start()

    def end(self) -> None:
        """The window closes: announce no reading any more, which would open its file anew."""
        self._timer.timeout.disconnect(self._announce)

    def _announce(self) -> None:
        self.reading_changed.emit(self.reading)

    def _build(self) -> Reading | None:
        query = self.query
        if self.run is None or query is None:
            return None
        from var_studio.analysis.reading import Focus, Reading

        selection = self.selection
        heads = tuple(sorted(selection.heads))
        aggregate = self.view.current.aggregate
        focus = Focus(query, selection.layer, heads, aggregate, selection.row_of)
        key = (self.run, focus, self.method.current)
        if key == self._broken:
            return None
        previous = self._reading
        if previous is not None and previous.run is not self.run:
            previous = None
        try:
            reading = Reading(self.run, focus, self.method.current, previous)
            _ = reading.attention  # read from disk here, where a damaged file can be reported
        except VarStudioError as error:
            # Said once, not at every repaint of the same broken chunk.
            self._broken = key
            self.problem.emit(error)
            return None
        self._check_dims(reading)
        return reading

    def _check_dims(self, reading: Reading) -> None:
        """Say once that φ of the sink dimensions asked for was not recorded; each panel that needs
        it says so in its place, and the words and rows stay."""
        asked = (self.run, self.method.current.sink_dims)
        if asked == self._unrecorded:
            return
        self._unrecorded = None
        if asked[1] is None:
            return
        try:
            _ = reading.phi
        except VarStudioError as error:
            self._unrecorded = asked
            self.problem.emit(error)

    def positions_with_row(self, run: Recording) -> list[int]:
        """Positions of the tokens of `run` that have a row under the present `row_of`."""
        length = len(run.tokens)
        shift = 0 if self.selection.row_of == "query" else 1
        return [int(p) + shift for p in run.query_positions if int(p) + shift < length]

    # ---------------------------------------------------------------------------------- runs
    def add_run(self, run: Recording, *, look: bool = True) -> None:
        """Add a run (it may still be growing), pair it with its baseline, and look at it."""
        self.runs.append(run)
        self.modified = True
        if run.teacher is None:
            self._pair(run)
        if look or self.run is None or self.run not in (self.baseline, self.paired):
            with self.history.unrecorded():
                self.look_at(run)
        self.runs_changed.emit()

    def look_at(self, run: Recording, position: int | None = None) -> None:
        """Show this run; select the token at `position`, or the nearest thing to the old one."""
        with self.history.together():
            self._look_at(run, position)

    def _look_at(self, run: Recording, position: int | None) -> None:
        changed = run is not self.run
        self.run = run
        self._pair(run)
        if changed:
            self._reading = None
            self.method.set_model(facts_of(run))
        self._update_range()
        self._tell_region()
        if position is None and self.selection.position is None:
            position = self._first_interesting(run)
        if position is not None:
            self.selection.select_token(position)
        if changed:
            self.run_changed.emit()
        self.invalidate()

    def grow(self) -> None:
        """The growing run has new tokens on disk: read them."""
        if self.growing is None:
            return
        self.growing.refresh()
        if self.growing is self.run:
            with self.history.unrecorded():
                self._update_range()
            self.invalidate()
        self.tokens_appended.emit()

    def finish_run(self) -> None:
        """A run has ended, its last tokens and provenance are read: everything shows it anew."""
        if self.run is not None:
            with self.history.unrecorded():
                self._update_range()
            self._pair(self.run)
        self.invalidate()
        self.runs_changed.emit()

    def select_first_word(self) -> None:
        """Select the first word of the answer that has a row."""
        if self.run is not None:
            with self.history.unrecorded():
                self.selection.select_token(self._first_interesting(self.run))

    def questions(self) -> list[list[Recording]]:
        """The runs, those of the same question together, in the order they were asked."""
        groups: list[list[Recording]] = []
        for run in self.runs:
            group = next((g for g in groups if same_question(g[0], run)), None)
            if group is None:
                groups.append([run])
            else:
                group.append(run)
        return groups

    def partner_of(self, run: Recording) -> Recording | None:
        """The latest run that asked the same, without VAR if `run` has it, with VAR if not."""
        return self._partner(run, with_intervention=not run.interventions)

    def answers_with_var(self, baseline: Recording) -> list[Recording]:
        """The runs with VAR that asked the same as `baseline`, in the order they were made."""
        return [run for run in self.runs if run.interventions and same_question(run, baseline)]

    def remove_run(self, run: Recording) -> None:
        """Drop a run from the session; its files are left alone."""
        if run in self.runs:
            self.runs.remove(run)
            self.modified = True
        if run in (self.baseline, self.paired):
            self.baseline = self.paired = None
            if self.run is not None and self.run is not run:
                self._pair(self.run)
        if run is self.run:
            self.run = None
            with self.history.unrecorded():
                if self.runs:
                    self.look_at(self.runs[-1])
                else:
                    self._show_no_run()
        self.runs_changed.emit()

    def replace_all(self, runs: list[Recording], session: Any = None) -> None:
        """Show the runs of a session, and its regions, instead of the present ones."""
        with self.history.unrecorded():
            self._replace_all(runs, session)
        self.modified = False
        self.runs_changed.emit()

    def _replace_all(self, runs: list[Recording], session: Any) -> None:
        self.undo_stack.clear()
        self.run = self.baseline = self.paired = None
        self._reading = None
        self._broken = None
        self.runs = list(runs)
        self.session = session
        self.selection.set_range(0, 0, ())
        self.selection.select_all()
        self.regions.restore(session.regions if session is not None else {})
        if self.runs:
            for run in self.runs:
                if run.teacher is None:
                    self._pair(run)
            self.look_at(self.baseline or self.runs[-1])
        else:
            self._show_no_run()

    def mark_saved(self, path: Path, *, whole: bool = True) -> None:
        """All runs are in the session file at `path` now; not `whole`: not all that there is."""
        self.session_path = path
        self.modified = not whole
        self.runs_changed.emit()

    # ------------------------------------------------------------------------------ plumbing
    def _edited(self) -> None:
        modified = self.regions.to_save() != self._clean
        if modified != self._modified:
            self._modified = modified
            self.modified_changed.emit()

    def _show_no_run(self) -> None:
        self.method.set_model(ModelFacts())
        self.selection.set_range(0, 0, ())
        self.regions.show_run(None)
        self.run_changed.emit()
        self.invalidate()

    def _pair(self, run: Recording) -> None:
        """Set `baseline` and `paired` so that `run` is one of them."""
        if run in (self.baseline, self.paired):
            return
        if not run.interventions:
            self.baseline, self.paired = run, self._partner(run, with_intervention=True)
        else:
            self.baseline, self.paired = self._partner(run, with_intervention=False), run

    def _partner(self, run: Recording, *, with_intervention: bool) -> Recording | None:
        """The latest run on the same image, question and sampling, with or without VAR.

        None that was forced to an answer: that is no answer of its own. A baseline that was cut
        short stands back behind a whole one, which is the same answer and is what gets scored.
        """
        cut: Recording | None = None
        for other in reversed(self.runs):
            if (
                other is not run
                and other.teacher is None
                and bool(other.interventions) == with_intervention
                and same_question(other, run)
            ):
                if with_intervention or is_whole(other):
                    return other
                cut = other if cut is None else cut
        return cut

    def _region_changed(self) -> None:
        self._tell_region()
        self.invalidate()

    def _tell_region(self) -> None:
        """What is steered to, or hidden, follows the region as it is painted."""
        region = self.regions.active
        positions: tuple[int, ...] = ()
        if self.run is not None and region is not None:
            positions = tuple(int(self.run.layout.positions[k]) for k in region.tokens)
        tokens = region.tokens if region is not None and positions else ()
        self.method.set_region(tokens, self.regions.picture)
        self.interventions.set_region(positions)

    def _selection_changed(self) -> None:
        picked = bool(self.selection.cells)
        if self._picked and not picked:
            self.view.end_reverse()
        self._picked = picked
        with self.history.together():
            if self.run is not None and set(self.selection.positions) != set(self._positions()):
                self._update_range()
        self.invalidate()

    def _view_changed(self) -> None:
        # All but this is drawing, which the panels do by themselves.
        reading = self._reading
        if reading is not None and reading.focus.aggregate != self.view.current.aggregate:
            self.invalidate()

    def _update_range(self) -> None:
        run = self.run
        if run is not None:
            if self.regions.show_run(run, self.runs):
                self.selection.select_cells(())
            self.selection.set_range(run.n_layers, run.n_heads, self._positions(), run.layout.count)

    def _positions(self) -> list[int]:
        assert self.run is not None
        return self.positions_with_row(self.run)

    def _query_of(self, position: int) -> int | None:
        assert self.run is not None
        shift = 0 if self.selection.row_of == "query" else 1
        return self.run.query_of(position - shift) if position >= shift else None

    def _first_interesting(self, run: Recording) -> int | None:
        """First word of the answer that has a row; before there is one, the last of the prompt."""
        positions = self._positions()
        generated = [p for p in positions if run.tokens[p].role == "generated"]
        return next(iter(generated), positions[-1] if positions else None)


def facts_of(run: Recording) -> ModelFacts:
    """What the model of a run says of the method's settings."""
    return ModelFacts(
        float(run.tau_default),
        run.hidden_size,
        run.n_layers,
        tuple(run.sink_dims),
        key=str(run.provenance.get("checkpoint") or ""),
        name=str(run.provenance.get("model") or ""),
        origin=str(run.provenance.get("sink_dims_origin") or ""),
    )


def is_whole(run: Recording) -> bool:
    """Whether a run came to its own end: the model's, or the longest answer allowed."""
    return run.reason in ("end", "length")


def same_question(one: Recording, other: Recording) -> bool:
    """Whether two runs asked the same of the same model and image, sampling alike."""
    from var_studio.analysis.matching import mismatch

    return one.generation == other.generation and not mismatch(one, other)
