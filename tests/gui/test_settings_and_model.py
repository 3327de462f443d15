"""Settings that the model bounds or fills in, and the wheel that must not change them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, press, settle, wait_idle
from tests.gui.pointer import turn_wheel
from tests.synthetic import make_run
from var_studio.engine.events import RunStarted, TokenProduced
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models import run_follower
from var_studio.gui.widgets.ticks import setting_text
from var_studio.recording.settings import Redistribution

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


@pytest.mark.torch
def test_a_pair_asked_for_while_the_model_loads_has_the_models_own_tau(
    window: MainWindow, qtbot: QtBot
) -> None:
    """The number of layers and D bound τ of LLaMA (20) from above: nothing would be a sink."""
    window.start()
    assert window.controller.state == "loading"
    told: list[str] = []
    window.controller.load_progress.connect(
        lambda *_: told.append(window.setup.model_section.note.text())
    )
    qtbot.keyClick(window, Key.Key_R, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert len(window.controller.waiting) == 3
    qtbot.waitUntil(lambda: len(window.workspace.runs) == 3, timeout=PATIENCE)
    wait_idle(qtbot, window)
    model = window.controller.model
    assert model is not None
    for run in window.workspace.runs[1:]:
        (settings,) = run.interventions
        assert isinstance(settings, Redistribution)
        assert settings.tau == model.tau_default < math.sqrt(model.hidden_size)
        assert settings.last_layer is None and settings.sink_dims is None
    assert told and not any("Downloading" in text for text in told), told


def test_nothing_is_said_of_a_model_before_there_is_one(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    method = window.setup.method
    tau = method.form.controls["tau"].box  # type: ignore[attr-defined]
    assert "no model is loaded yet" in method.tau_note.text() and tau.text() == "–"
    method.make_folded()
    assert method.dims.line.placeholderText() == "the model's"
    method.dims.line.setText("5000")
    assert method.dims._check() == (5000,), "no model says how many there are"
    run = make_run(tmp_path / "run")
    window.workspace.add_run(run)
    settle(qtbot)
    assert tau.text() == setting_text(run.tau_default, 2)
    assert "its own τ is" in method.tau_note.text()
    # What was chosen is a number, with a model or without.
    window.workspace.method.set(tau=3.0)
    assert tau.text() == "3.00"


def _type(qtbot: QtBot, spin: QtWidgets.QSpinBox, text: str) -> None:
    spin.setFocus()
    spin.selectAll()
    qtbot.keyClicks(spin, text)
    qtbot.keyClick(spin, Key.Key_Return)


def test_layers_are_those_of_the_model(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    window.workspace.add_run(run)
    settle(qtbot)
    setup, last = window.setup, run.n_layers - 1
    method, interventions = window.workspace.method, window.workspace.interventions
    for section in ("knockout", "head-ablation"):
        setup.interventions.rows[section].open()
    press(qtbot, setup.method.unfold)
    for form, stored, note, spared in (
        (setup.method.more_form, method, setup.method.layers_note, 1),
        (
            setup.interventions.knockout,
            interventions.knockout,
            setup.interventions.knockout_layers,
            0,
        ),
        (
            setup.interventions.head_ablation,
            interventions.head_ablation,
            setup.interventions.ablation_layers,
            0,
        ),
    ):
        spin = form.controls["last_layer"]
        assert isinstance(spin, QtWidgets.QSpinBox)
        assert note.text() == f"Changes layers 0 to {last - spared} of 0 to {last}."
        # One digit too many is not taken: the box holds what fits, and so does the setting.
        spin.setFocus()
        for _ in range(last + 5):
            qtbot.keyClick(spin, Key.Key_Up)
        assert spin.value() == stored.stored.last_layer == last
        assert note.text() == f"Changes layers 0 to {last} of 0 to {last}."
        first = form.controls["first_layer"]
        assert isinstance(first, QtWidgets.QSpinBox) and first.maximum() == last
        # Of a larger model, or from a file: shown as it is, and said.
        stored.set(last_layer=last + 6)
        assert spin.value() == last + 6 and "only" in note.text()
        stored.set(last_layer=None)
        assert spin.text() in ("all but the last", "the last")
    method.set(sink_dims=(run.hidden_size + 1,))
    assert "There is no dimension" in setup.method.dims.wrong.text()


# ------------------------------------------------------------------------------------ the wheel
def _wheel(widget: QtWidgets.QWidget) -> None:
    """A turn of the wheel as Qt tells it: to the widget under the pointer, then to those it lies
    in, until one accepts."""
    taker: QtWidgets.QWidget | None = widget
    while taker is not None:
        if turn_wheel(taker, -120) or taker.isWindow():
            return
        taker = taker.parentWidget()


def _controls(window: MainWindow) -> list[QtWidgets.QWidget]:
    kinds = QtWidgets.QAbstractSpinBox | QtWidgets.QAbstractSlider | QtWidgets.QComboBox
    return [
        widget
        for widget in window.findChildren(QtWidgets.QWidget)
        if isinstance(widget, kinds) and not isinstance(widget, QtWidgets.QScrollBar)
    ]


def _value(widget: QtWidgets.QWidget) -> object:
    return widget.currentIndex() if isinstance(widget, QtWidgets.QComboBox) else widget.value()  # type: ignore[attr-defined]


def test_the_wheel_changes_no_setting_that_has_no_focus(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    window.workspace.add_run(make_run(tmp_path / "run"))
    qtbot.waitUntil(lambda: not window.area._unfinished)
    setup = window.setup
    for button in (setup.answer.unfold, setup.method.unfold, setup.model_section.unfold):
        button.click()
    for row in setup.interventions.rows.values():
        row.open()
    settle(qtbot)
    controls = _controls(window)
    assert len(controls) > 25
    window.transcript.setFocus()
    before, settings = [_value(c) for c in controls], window.workspace.method.stored
    for control in controls:
        _wheel(control)
        assert not control.hasFocus()
    assert [_value(c) for c in controls] == before
    assert window.workspace.method.stored == settings and not window.workspace.undo_stack.canUndo()
    # Where one points at a control, the panel scrolls all the same.
    tau = setup.method_form.controls["tau"].slider  # type: ignore[attr-defined]
    bar = setup.scroller.verticalScrollBar()
    setup.scroller.ensureWidgetVisible(tau, 0, 200)
    settle(qtbot)
    scrolled = bar.value()
    assert scrolled < bar.maximum()
    _wheel(tau)
    assert bar.value() > scrolled and window.workspace.method.stored == settings
    # And a control in focus is turned by the wheel.
    box = setup.method_form.controls["tau"].box  # type: ignore[attr-defined]
    box.setFocus()
    _wheel(box)
    assert window.workspace.method.stored.tau is not None


# ------------------------------------------------------------------------------------- the pace
@pytest.mark.parametrize(("seconds", "said"), [(0.00003, ""), (0.0, ""), (0.5, ", 4.0 tokens/s")])
def test_the_pace_of_an_answer_is_said_when_it_can_be_known(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float, said: str
) -> None:
    follower = window.follower
    now = [100.0]
    monkeypatch.setattr(run_follower.time, "monotonic", lambda: now[0])
    follower._on_event(RunStarted(tmp_path, "baseline"))
    for _ in range(3):
        follower._on_event(TokenProduced.__new__(TokenProduced))
    now[0] += seconds
    assert follower._pace() == said
