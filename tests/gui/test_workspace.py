"""Selection, settings, pairs of runs, and the one reading they all lead to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import settle
from tests.synthetic import make_run
from var_studio.gui.models.answers import scored
from var_studio.gui.models.method_settings import MethodModel, ModelFacts
from var_studio.gui.models.selection import SelectionModel
from var_studio.gui.models.token_list import TokenListModel, TokenRole
from var_studio.gui.models.word_colours import surprise
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.answer_variants import interventions_text
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


@pytest.fixture
def workspace(tmp_path: Path, qtbot: QtBot) -> Iterator[Workspace]:
    made = Workspace()
    made.add_run(make_run(tmp_path / "baseline"))
    settle(qtbot)
    yield made
    made._timer.stop()


# ----------------------------------------------------------------------------------- selection
def test_stepping_stops_at_either_end(qtbot: QtBot) -> None:
    selection = SelectionModel()
    selection.set_range(4, 3, [7, 5, 9])
    assert selection.layer == 2
    selection.step_token(1)
    assert selection.position == 5
    for _ in range(5):
        selection.step_token(1)
    assert selection.position == 9
    assert not selection.select_token(6), "a token without a row was selected"
    assert selection.position == 9
    selection.step_head(-1)
    assert selection.heads == {(2, 2)}
    selection.step_layer(1)
    assert selection.heads == {(3, 2)}, "the head did not move along"
    selection.step_layer(1)
    assert selection.layer == 3
    with qtbot.assertNotEmitted(selection.changed):
        selection.step_layer(1)


def test_rows_columns_and_single_heads(qtbot: QtBot) -> None:
    selection = SelectionModel()
    selection.set_range(3, 2, [0])
    selection.select_head(1, 1)
    selection.select_head(2, 0, extend=True)
    assert selection.heads == {(1, 1), (2, 0)}
    selection.select_head(1, 1, extend=True)
    assert selection.heads == {(2, 0)}
    selection.select_layer(0)
    assert selection.heads == {(0, 0), (0, 1)}
    selection.select_column(1, extend=True)
    assert selection.heads == {(0, 0), (0, 1), (1, 1), (2, 1)}
    selection.select_all()
    assert selection.heads == frozenset()
    selection.select_head(2, 1)
    selection.set_range(2, 2, [0])
    assert selection.heads == frozenset() and selection.layer == 1


# ------------------------------------------------------------------------------------- settings
def test_drags_merge_and_separate_changes_do_not(qtbot: QtBot) -> None:
    method = MethodModel()
    for tau in (5.0, 6.0, 7.0):
        method.set(drag=True, tau=tau)
    method.end_drag()
    method.set(drag=True, tau=8.0)
    method.set(drag=True, rho=0.5)
    method.set(target="text")
    assert method.undo_stack.count() == 4
    seen = []
    method.changed.connect(lambda: seen.append((method.current.tau, method.current.rho)))
    for _ in range(3):
        method.undo_stack.undo()
    assert seen == [(8.0, 0.5), (8.0, 0.8), (7.0, 0.8)]
    method.undo_stack.undo()
    assert method.stored.tau is None and method.tau == method.shown.tau_default


def test_a_layer_range_keeps_its_order() -> None:
    """A control changes one end at a time; the other end goes along where it must."""
    method = MethodModel()
    method.set(first_layer=4)
    method.set(last_layer=1)
    assert (method.stored.first_layer, method.stored.last_layer) == (1, 1)
    method.set(first_layer=3)
    assert (method.stored.first_layer, method.stored.last_layer) == (3, 3)
    method.undo_stack.undo()
    assert (method.stored.first_layer, method.stored.last_layer) == (1, 1)
    method.set(first_layer=0)
    assert (method.stored.first_layer, method.stored.last_layer) == (0, 1)


def test_tau_follows_the_model_until_it_is_set(qtbot: QtBot) -> None:
    method = MethodModel()
    method.set_model(ModelFacts(6.5, 192, 6))
    assert method.current.tau == 6.5 and method.shown.tau_max == pytest.approx(np.sqrt(192))
    method.set(tau=3.0)
    method.set_model(ModelFacts(20.0, 4096, 32))
    assert method.current.tau == 3.0


def test_settings_out_of_bounds_change_nothing(qtbot: QtBot) -> None:
    method = MethodModel()
    with pytest.raises(ValueError, match="less than or equal to 1"):
        method.set(p=1.5)
    assert method.stored == Redistribution() and method.undo_stack.count() == 0


# -------------------------------------------------------------------------------------- reading
def test_one_reading_however_many_changes(workspace: Workspace, qtbot: QtBot) -> None:
    readings: list[object] = []
    workspace.reading_changed.connect(readings.append)
    workspace.selection.step_token(1)
    workspace.selection.step_layer(1)
    workspace.selection.select_head(0, 0)
    workspace.method.set(rho=0.3)
    assert readings == []
    settle(qtbot)
    assert len(readings) == 1
    reading = workspace.reading
    assert readings == [reading] and reading is not None
    assert reading.focus.heads == ((0, 0),) and reading.settings.rho == 0.3


def test_the_row_of_the_step_that_produced_a_word(workspace: Workspace, qtbot: QtBot) -> None:
    run = workspace.run
    assert run is not None
    word = int(run.generated_positions[3])
    workspace.selection.select_token(word)
    assert workspace.reading is not None and workspace.reading.position == word
    workspace.selection.set_row_of("produced")
    settle(qtbot)
    assert workspace.selection.position == word
    assert workspace.reading is not None and workspace.reading.position == word - 1
    np.testing.assert_array_equal(
        workspace.reading.attention, run.attention(run.query_of(word - 1) or 0)
    )


# ---------------------------------------------------------------------------------------- pairs
def test_runs_of_the_same_question_are_paired(tmp_path: Path, qtbot: QtBot) -> None:
    workspace = Workspace()
    baseline = make_run(tmp_path / "a")
    other = make_run(tmp_path / "b", seed=5, rows=8)
    var = make_run(tmp_path / "c", name="with VAR", intervention=Redistribution())
    for run in (baseline, other):
        workspace.add_run(run)
    assert (workspace.baseline, workspace.paired) == (other, None)
    workspace.add_run(var)
    assert (workspace.baseline, workspace.paired) == (baseline, var)
    workspace.look_at(other)
    assert (workspace.baseline, workspace.paired) == (other, None)
    workspace.look_at(baseline)
    assert (workspace.baseline, workspace.paired, workspace.run) == (baseline, var, baseline)
    workspace.remove_run(var)
    assert workspace.runs == [baseline, other] and workspace.paired is None
    settle(qtbot)


def test_a_forced_answer_is_no_second_answer_unless_looked_at(tmp_path: Path, qtbot: QtBot) -> None:
    workspace = Workspace()
    baseline = make_run(tmp_path / "a")
    var = make_run(tmp_path / "b", name="VAR", intervention=Redistribution())
    forced = make_run(
        tmp_path / "c", name="forced", intervention=Redistribution(), teacher=baseline.id
    )
    workspace.replace_all([baseline, var, forced])
    assert (workspace.baseline, workspace.paired) == (baseline, var)
    assert workspace.answers_with_var(baseline) == [var, forced]
    workspace.look_at(forced)
    assert (workspace.baseline, workspace.paired) == (baseline, forced)
    assert interventions_text(forced) == f"{interventions_text(var)}; teacher-forced"
    settle(qtbot)


# --------------------------------------------------------------------------------------- tokens
def test_token_list_shows_the_image_as_one_chip_and_keeps_repeated_words_apart(
    workspace: Workspace, qtbot: QtBot
) -> None:
    run = workspace.run
    assert run is not None
    tokens = TokenListModel(lambda token: True)
    tokens.set_run(run)
    chips = [entry for entry in tokens.entries if entry.token is None]
    assert len(chips) == 1 and chips[0].count == run.layout.count
    assert tokens.rowCount() == run.length - run.layout.count + 1
    same = [entry for entry in tokens.entries if entry.text.strip() == "the"]
    assert len(same) > 1
    assert [tokens.index_of(entry.position).data(TokenRole.POSITION) for entry in same] == [
        entry.position for entry in same
    ]
    inside = chips[0].position + 5
    assert tokens.index_of(inside).data(TokenRole.ENTRY) is chips[0]
    word = next(t for t in run.tokens if t.role == "generated")
    tip = tokens.index_of(word.position).data(QtCore.Qt.ItemDataRole.ToolTipRole)
    assert f"{np.exp(word.logprob):.1%}" in tip and "other candidates" in tip


def test_token_list_grows_with_the_run(tmp_path: Path, qtbot: QtBot) -> None:
    whole = make_run(tmp_path / "run", finish=False)
    tokens = TokenListModel(lambda token: token.role == "generated")
    tokens.set_run(_Cut(whole, whole.length - 4))  # type: ignore[arg-type]
    before = tokens.rowCount()
    with qtbot.waitSignal(tokens.rowsInserted):
        tokens._run = whole
        tokens.grow()
    assert tokens.rowCount() == before + 4 == len(whole.generated_positions)


class _Cut:
    """A run that has come to its first `length` tokens."""

    def __init__(self, run: Recording, length: int) -> None:
        self.tokens, self.layout = run.tokens[:length], run.layout


@pytest.mark.parametrize(("p", "shade"), [(1.0, 0.0), (0.1, 0.5), (0.01, 1.0), (1e-6, 1.0)])
def test_surprise(p: float, shade: float) -> None:
    assert surprise(float(np.log(p))) == pytest.approx(shade)


def test_gui_models_need_no_widgets() -> None:
    """QtGui is there for the undo stack; widgets are not wanted in the models."""
    assert issubclass(QtGui.QUndoStack, QtCore.QObject)
    import var_studio.gui.models as models

    for path in Path(models.__path__[0]).glob("*.py"):
        assert "QtWidgets" not in path.read_text(encoding="utf-8"), path.name


def test_runs_of_two_models_are_no_pair(tmp_path: Path, qtbot: QtBot) -> None:
    """The same tokens and picture, but another model: words and cells mean other things."""
    workspace = Workspace()
    baseline = make_run(tmp_path / "a", rows=3, cols=3, layers=3)
    other = make_run(tmp_path / "b", rows=3, cols=3, layers=4, intervention=Redistribution())
    same = make_run(tmp_path / "c", rows=3, cols=3, layers=3, intervention=Redistribution())
    workspace.add_run(baseline)
    workspace.add_run(other)
    workspace.look_at(baseline)
    assert (workspace.baseline, workspace.paired) == (baseline, None)
    assert len(workspace.questions()) == 2
    workspace.add_run(same)
    assert (workspace.baseline, workspace.paired) == (baseline, same)
    settle(qtbot)


def test_a_baseline_cut_short_stands_back_behind_a_whole_one(
    qtbot: QtBot, tmp_path: Path, workspace: Workspace
) -> None:
    whole = workspace.runs[0]
    cut = make_run(tmp_path / "cut", recorded=20, finish=False)
    assert whole.reason == "end" and cut.reason is None
    workspace.add_run(cut)
    assert workspace.baseline is cut, "the one that is looked at"
    changed = make_run(tmp_path / "var", intervention=Redistribution(tau=5.0))
    forced = make_run(tmp_path / "forced", intervention=Redistribution(tau=5.0), teacher=whole.id)
    for run in (changed, forced):
        workspace.add_run(run, look=False)
    assert (workspace.baseline, workspace.paired) == (whole, changed)
    assert scored(workspace) is forced, "what Run pair has scored is what is compared"
    # Where there is no whole one, what there is.
    workspace.remove_run(whole)
    workspace.look_at(changed)
    assert (workspace.baseline, workspace.paired) == (cut, changed)
