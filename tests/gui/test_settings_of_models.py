"""Settings belong to the model that they were chosen for: sink dimensions, τ, what Setup says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, press, settle, type_line, wait_idle
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.method_settings import (
    NONE_FOUND,
    UNKNOWN,
    MethodModel,
    ModelFacts,
)
from var_studio.gui.models.session_view import restore_view, view_of
from var_studio.gui.models.workspace import Workspace, facts_of

pytestmark = IGNORE_QT
ONE = ModelFacts(5.0, 192, 6, (37, 141), key="one", name="One", origin="reported")
OTHER = ModelFacts(20.0, 4096, 32, (1415, 2533), key="other", name="Other", origin="reported")


def test_sink_dimensions_stay_with_their_model(window: MainWindow, qtbot: QtBot) -> None:
    method, section = window.workspace.method, window.setup.method
    method.set_loaded(ONE)
    settle(qtbot)
    press(qtbot, section.unfold)
    assert section.dims.line.placeholderText() == "37, 141 (own)"
    type_line(qtbot, section.dims.line, "5, 17")
    assert method.for_a_run.sink_dims == (5, 17)
    press(qtbot, section.unfold)
    said = section.dims_note
    assert said.isVisible() and "5, 17" in said.text() and "One" in said.text(), "also folded"

    method.set_loaded(OTHER)
    settle(qtbot)
    assert method.for_a_run.sink_dims is None and section.dims.line.text() == ""
    assert section.dims.line.placeholderText() == "1415, 2533 (own)"
    assert said.isVisible() and "another model" in said.text() and "1415, 2533" in said.text()
    for kind in ("redistribution", "knockout", "head-ablation"):
        settings = window.workspace.interventions.of_kind(kind)
        assert getattr(settings, "sink_dims", "") is None, kind

    method.set_loaded(ONE)
    assert method.for_a_run.sink_dims == (5, 17), "as it was left"
    window.workspace.undo_stack.undo()
    assert method.for_a_run.sink_dims is None and not said.isVisible()


def test_the_same_dimensions_can_be_chosen_for_two_models() -> None:
    method = MethodModel()
    method.set_loaded(ONE)
    method.set(sink_dims=(5, 17))
    method.set_loaded(OTHER)
    assert method.for_a_run.sink_dims is None
    method.set(sink_dims=(5, 17))
    assert method.for_a_run.sink_dims == (5, 17)
    method.set_loaded(ONE)
    assert method.for_a_run.sink_dims == (5, 17)


def test_a_run_that_waits_for_another_model_takes_no_dimensions_along(
    demo: MainWindow, qtbot: QtBot
) -> None:
    workspace = demo.workspace
    workspace.method.set_loaded(replace(ONE, key="a model that was released"))
    workspace.method.set(sink_dims=(5, 17))
    requests = demo.intake.requests("changed")
    assert requests[1].interventions[0].sink_dims == (5, 17)  # type: ignore[union-attr]
    demo.controller.start(requests)
    wait_idle(qtbot, demo)
    assert demo.controller.model is not None
    baseline, changed = workspace.runs
    assert changed.sink_dims == baseline.sink_dims == demo.controller.model.sink_dims


def test_a_session_knows_whose_dimensions_it_holds(qtbot: QtBot, tmp_path: Path) -> None:
    workspace = Workspace()
    run = make_run(tmp_path / "run")
    workspace.add_run(run)
    workspace.method.set(sink_dims=run.sink_dims[:1])
    saved = view_of(workspace)
    for view in (saved, {k: v for k, v in saved.items() if k != "sink_dims_of"}):
        other = Workspace()
        other.add_run(run)
        restore_view(other, view)
        assert other.method.current.sink_dims == run.sink_dims[:1]
        other.method.set_loaded(OTHER)
        assert other.method.for_a_run.sink_dims is None
        assert other.method.current.sink_dims == run.sink_dims[:1], "the run on screen keeps them"


def test_setup_speaks_of_the_model_that_will_run(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, section = window.workspace, window.setup.method
    method = workspace.method
    run = make_run(tmp_path / "run")
    workspace.add_run(run)
    method.set_loaded(OTHER)
    settle(qtbot)
    section.make_folded()
    note = section.tau_note.text()
    assert note.startswith("Other: ") and "√D = 64.0" in note and "its own τ is 20" in note
    assert "run on screen" in note and f"{run.hidden_size**0.5:.1f}" in note
    assert section.form.controls["tau"].value() == 20.0  # type: ignore[attr-defined]
    assert section.dims.line.placeholderText().startswith("1415, 2533")
    assert method.current.tau == run.tau_default, "the reading has its own"
    assert facts_of(run).key != OTHER.key


@pytest.mark.parametrize(
    ("origin", "said", "placeholder"),
    [(UNKNOWN, "first run looks for them", "none known"), (NONE_FOUND, "change nothing", "none")],
)
def test_what_would_change_nothing_is_said_beside_the_buttons(
    window: MainWindow, qtbot: QtBot, origin: str, said: str, placeholder: str
) -> None:
    setup, method = window.setup, window.workspace.method
    method.set_loaded(replace(ONE, sink_dims=(), origin=origin))
    settle(qtbot)
    assert setup.sinks_note.isVisible() and said in setup.sinks_note.text()
    setup.method.make_folded()
    assert setup.method.dims.line.placeholderText().startswith(placeholder)
    method.set(sink_dims=(5,))
    assert not setup.sinks_note.isVisible()
    method.set(sink_dims=None)
    assert setup.sinks_note.isVisible()
    window.workspace.interventions.set_acting("redistribution", False)
    assert not setup.sinks_note.isVisible()
    window.workspace.undo_stack.undo()
    method.set_loaded(ONE)
    assert not setup.sinks_note.isVisible()


def test_what_changed_nothing_is_said_under_the_answers(demo: MainWindow, qtbot: QtBot) -> None:
    lmm = demo.controller._worker._lmm
    before = lmm.sink_dims, lmm.sink_dims_origin
    lmm.sink_dims, lmm.sink_dims_origin = (), NONE_FOUND
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    assert demo.setup.sinks_note.isVisible(), "what a run found out of the model is told"
    assert "none found" in demo.setup.model_section.facts.text()
    assert "no sink dimension of the model is known" in demo.transcript.parting.text()
    lmm.sink_dims, lmm.sink_dims_origin = before
