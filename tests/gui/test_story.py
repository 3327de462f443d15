"""A whole session at the window: real model, real clicks and keys, real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Gate,
    choose,
    click_word,
    notices,
    press,
    settle,
    wait_idle,
    wait_saved,
    words,
)
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.image import ImagePanel
from var_studio.recording.interventions import run_name_for
from var_studio.recording.session import open_session
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


def test_ask_look_change_compare_save_reopen(
    demo: MainWindow, gate: Gate, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, workspace, transcript = demo, demo.workspace, demo.transcript
    selection = workspace.selection

    # The demo opens with a question that is ready to run; the answer comes word by word.
    assert workspace.question.image is not None and workspace.question.prompt
    qtbot.keyClick(window, Key.Key_R)
    qtbot.waitUntil(lambda: transcript.answer.tokens.rowCount() == 1, timeout=PATIENCE)
    assert window.controller.state == "running" and window.setup.stop_button.isEnabled()
    assert workspace.reading is not None, "the first row is on disk, so it can be looked at"
    gate.open()
    wait_idle(qtbot, window)
    run = workspace.run
    assert run is not None and run.finished and len(run.generated_positions) > 1
    assert "".join(words(transcript.answer)) == "".join(
        t.text.strip() for t in run.tokens if t.role == "generated"
    )
    assert "image 10×10" in words(transcript.question)

    # Click a word that stands twice in the text: the one clicked is selected, not its twin.
    shown = words(transcript.question)
    twins = [
        n
        for n, word in enumerate(shown)
        if shown.count(word) > 1 and run.query_of(transcript.question.tokens.entries[n].position)
    ]
    spoken = words(transcript.answer)
    for strip, number in [(transcript.answer, len(spoken) - 2), (transcript.answer, 0)]:
        position = click_word(qtbot, strip, number)
        assert selection.position == position == strip.selected
        assert workspace.reading is not None and workspace.reading.position == position
    for number in twins:
        assert click_word(qtbot, transcript.question, number) == selection.position

    # The rows on screen are those of the recording.
    position = click_word(qtbot, transcript.answer, 0)
    query = run.query_of(position)
    assert query is not None and workspace.reading is not None
    np.testing.assert_array_equal(workspace.reading.attention, run.attention(query))

    # Keys walk: tokens, layers, heads.
    layer = selection.layer
    qtbot.keyClick(window, Key.Key_Right)
    assert selection.position == position + 1
    qtbot.keyClick(window, Key.Key_Left)
    qtbot.keyClick(window, Key.Key_Down)
    assert (selection.position, selection.layer) == (position, layer + 1)
    qtbot.keyClick(window, Key.Key_BracketRight)
    assert selection.heads == {(layer + 1, 0)}
    qtbot.keyClick(transcript.answer, Key.Key_End)
    assert selection.position == selection.positions[-1]
    qtbot.keyClick(transcript.answer, Key.Key_Home)
    assert selection.position == selection.positions[0]
    click_word(qtbot, transcript.answer, 0)

    # The other row of the same word.
    choose(qtbot, transcript.row_of, "produced")
    assert workspace.query == query - 1
    choose(qtbot, transcript.row_of, "query")
    assert workspace.query == query

    # Change τ at the slider's number: sinks follow; undo brings them back.
    sinks = workspace.reading.n_visual_sinks.sum()
    box = window.setup.method_form.controls["tau"].box  # type: ignore[attr-defined]
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, "0.50")
    qtbot.keyClick(box, Key.Key_Return)
    settle(qtbot)
    assert workspace.method.tau == pytest.approx(0.5)
    assert workspace.reading.n_visual_sinks.sum() > sinks
    qtbot.keyClick(box, Key.Key_Z, QtCore.Qt.KeyboardModifier.ControlModifier)
    settle(qtbot)
    assert workspace.method.tau == pytest.approx(run.tau_default)
    assert workspace.reading.n_visual_sinks.sum() == sinks

    # Flip to after and back.
    window.setFocus()
    qtbot.keyClick(window, Key.Key_Space)
    assert workspace.view.current.shown == "after"
    qtbot.keyClick(window, Key.Key_Space)

    # The same question with VAR: only the second run is made; both answers are on screen.
    press(qtbot, window.setup.run_var_button)
    wait_idle(qtbot, window)
    assert [not r.interventions for r in workspace.runs] == [True, False]
    assert workspace.baseline is run and workspace.paired is workspace.runs[1]
    assert transcript.second.isVisible() and transcript.parting.text()
    # A word of the second answer shows the second run.
    click_word(qtbot, transcript.second, 0)
    assert workspace.run is workspace.paired
    assert transcript.answer.selected is None and transcript.second.selected == selection.position
    click_word(qtbot, transcript.answer, 1)
    chosen = selection.position
    assert workspace.run is run

    # Save, change something, open again: all is as it was saved.
    path = tmp_path / "story.vars"
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), "Sessions (*.vars)")
    )
    assert window.isWindowModified()
    qtbot.keyClick(window, Key.Key_S, QtCore.Qt.KeyboardModifier.ControlModifier)
    wait_saved(qtbot, window)
    assert not window.isWindowModified()
    saved = open_session(path)
    assert [r.text for r in saved.runs] == [r.text for r in workspace.runs]
    saved.close()
    workspace.view.set(shown="difference")
    selection.step_token(1)
    row = run.attention(query).copy()
    assert window.files.open(path)
    settle(qtbot)
    assert workspace.view.current.shown == "before"
    assert selection.position == chosen and len(workspace.runs) == 2
    assert workspace.run is not None and workspace.run is not run
    np.testing.assert_array_equal(workspace.run.attention(query), row)
    assert transcript.second.isVisible()
    assert notices(window) == []


def test_earlier_questions_can_be_chosen_again(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    asked = window.transcript.asked
    first = make_run(tmp_path / "a")
    window.workspace.add_run(first)
    window.workspace.add_run(make_run(tmp_path / "b", intervention=Redistribution()))
    assert not asked.isVisible(), "both runs answer one question"
    other = make_run(tmp_path / "c", rows=8)
    window.workspace.add_run(other)
    settle(qtbot)
    assert asked.isVisible() and asked.count() == 2 and asked.currentIndex() == 1
    asked.setFocus()
    qtbot.keyClick(asked, Key.Key_Up)
    settle(qtbot)
    assert window.workspace.run is first and window.transcript.second.isVisible()
    assert window.workspace.reading is not None and window.workspace.reading.run is first
    assert asked.currentIndex() == 0


def test_each_answer_with_var_can_be_chosen_again(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, parting = window.workspace, window.transcript.parting
    baseline = make_run(tmp_path / "a")
    mild = make_run(tmp_path / "b", intervention=Redistribution(p=0.2))
    strong = make_run(tmp_path / "c", intervention=Redistribution(p=1.0, heads="all"))
    for run in (baseline, mild):
        workspace.add_run(run)
    workspace.look_at(baseline)
    settle(qtbot)
    assert not parting.choice.isVisible() and "p 0.2" in parting.text()
    workspace.add_run(strong, look=False)
    workspace.look_at(strong)
    workspace.look_at(baseline)
    settle(qtbot)
    assert workspace.paired is strong
    assert parting.choice.isVisible() and parting.choice.count() == 2
    assert "p 1 · all heads" in parting.choice.currentText()
    parting.choice.setFocus()
    qtbot.keyClick(parting.choice, Key.Key_Up)
    settle(qtbot)
    assert (workspace.baseline, workspace.paired, workspace.run) == (baseline, mild, baseline)
    assert window.transcript.second.tokens.run is mild
    assert "p 0.2" in parting.choice.currentText()


def test_a_run_made_with_another_intervention_is_shown_in_words(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, transcript = window.workspace, window.transcript
    image = window.area.panel("image")
    assert isinstance(image, ImagePanel)
    baseline = make_run(tmp_path / "a")
    made_with: list[list[Any]] = [
        [Knockout(tokens="random-visual", seed=3)],
        [HeadAblation(heads="complement")],
        [Contrast()],
        [Knockout(), Redistribution(p=0.3)],
    ]
    workspace.add_run(baseline)
    said = []
    for number, interventions in enumerate(made_with):
        run = make_run(tmp_path / f"b{number}", intervention=interventions)
        workspace.add_run(run)
        for looked_at in (run, baseline):
            workspace.look_at(looked_at)
            for compare in ("local", "run"):
                for shown in ("before", "after", "difference", "all"):
                    workspace.view.set(compare=compare, shown=shown)
                    settle(qtbot)
        assert workspace.paired is run and transcript.second.isVisible()
        said.append((transcript.second_label.text(), image.note.text()))
        assert f"run again with {run_name_for(run.interventions)}" in said[-1][1]
    assert [label for label, _ in said] == [
        "With knockout",
        "With head ablation",
        "With contrast",
        "With knockout + VAR",
    ]
    listed = [transcript.parting.choice.itemText(n) for n in range(len(made_with))]
    assert listed[0].startswith("knockout of as many random visual tokens")
    assert listed[1].startswith("image hidden from all but the image-centric heads")
    assert listed[2].startswith("contrastive decoding") and "p 0.3" in listed[3]
    assert notices(window) == []


def test_slider_drag_is_one_undo_step(window: MainWindow, qtbot: QtBot) -> None:
    control = window.setup.method_form.controls["rho"]
    slider = control.slider  # type: ignore[attr-defined]
    method, stack = window.workspace.method, window.workspace.undo_stack
    handle = _handle(slider)
    button = QtCore.Qt.MouseButton.LeftButton
    qtbot.mousePress(slider, button, pos=handle)
    seen = []
    for step in range(1, 8):
        place = handle - QtCore.QPoint(6 * step, 0)
        move_mouse(slider, QtCore.QPointF(place), buttons=True)
        seen.append(method.current.rho)
    qtbot.mouseRelease(slider, button, pos=handle - QtCore.QPoint(42, 0))
    assert seen == sorted(seen, reverse=True) and seen[-1] < 0.8
    assert stack.count() == 1
    qtbot.keyClick(window, Key.Key_Z, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert method.current.rho == 0.8
    assert control.value() == pytest.approx(0.8)  # type: ignore[attr-defined]
    redo = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(window, Key.Key_Z, redo)
    assert method.current.rho == seen[-1]


def _handle(slider: QtWidgets.QSlider) -> QtCore.QPoint:
    option = QtWidgets.QStyleOptionSlider()
    slider.initStyleOption(option)
    return (
        slider.style()
        .subControlRect(
            QtWidgets.QStyle.ComplexControl.CC_Slider,
            option,
            QtWidgets.QStyle.SubControl.SC_SliderHandle,
            slider,
        )
        .center()
    )


def test_arrow_keys_belong_to_the_slider_that_has_the_focus(
    window: MainWindow, qtbot: QtBot
) -> None:
    """Negative control of the window's shortcuts: they must not take a control's own keys."""
    window.activateWindow()
    slider = window.setup.method_form.controls["p"].slider  # type: ignore[attr-defined]
    slider.setFocus()
    settle(qtbot)
    before = window.workspace.method.current.p
    qtbot.keyClick(slider, Key.Key_Right)
    assert window.workspace.method.current.p > before
    window.setup.prompt.setFocus()
    window.setup.prompt.setPlainText("")
    qtbot.keyClicks(window.setup.prompt, "rs ")
    assert window.workspace.question.prompt == "rs "
    assert not window.controller.busy


def test_every_action_is_in_a_menu_with_its_key(window: MainWindow) -> None:
    in_menus = {action for menu in window.menus.values() for action in menu.actions()}
    assert set(window.actions_by_name.values()) <= in_menus
    keys = [
        key.toString() for action in window.actions_by_name.values() for key in action.shortcuts()
    ]
    assert len(keys) == len(set(keys)), "two actions share a key"
    wanted = {"Left", "Right", "Up", "Down", "[", "]", "Space", "S", "R", "Esc", "F1"}
    wanted |= {"Ctrl+S", "Ctrl+O", "Ctrl+Z", "Ctrl+Shift+Z", "Ctrl+E"}
    assert wanted <= set(keys)


def test_layout_and_theme_are_remembered(
    window: MainWindow, qtbot: QtBot, qapp: QtWidgets.QApplication
) -> None:
    window.area.docks["heads"].hide()
    window.theme_actions["dark"].trigger()
    assert qapp.palette().window().color().lightness() < 128
    window.close()
    again = MainWindow()
    qtbot.addWidget(again)
    again.show()
    assert again.area.docks["heads"].isHidden()
    assert not again.area.docks["image"].isHidden()
    assert again.appearance.scheme == "dark" and again.theme_actions["dark"].isChecked()
    again.restore_layout()
    assert not again.area.docks["heads"].isHidden()
    again.theme_actions["light"].trigger()
    assert qapp.palette().window().color().lightness() > 128
    again.close()


def test_a_long_answer_wraps_and_the_selected_word_stays_in_view(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run", layers=2, heads=2, queries=500))
    settle(qtbot)
    strip, scroller = window.transcript.answer, window.transcript.scroller
    model = strip.tokens
    boxes = [strip.visualRect(model.index(row)) for row in range(model.rowCount())]
    assert max(box.right() for box in boxes) <= strip.viewport().width()
    assert max(box.bottom() for box in boxes) <= strip.height()
    assert len({box.top() for box in boxes}) > 5, "the answer does not wrap"
    for row, box in enumerate(boxes[1:], 1):
        assert not box.intersects(boxes[row - 1])
    qtbot.keyClick(strip, Key.Key_End)
    settle(qtbot)
    assert window.workspace.selection.position == model.entries[-1].position
    box = strip.visualRect(model.index(model.rowCount() - 1))
    top = strip.mapTo(scroller.viewport(), box.topLeft()).y()
    assert top >= 0 and top + box.height() <= scroller.viewport().height()
    qtbot.keyClick(strip, Key.Key_Home)
    settle(qtbot)
    assert scroller.verticalScrollBar().value() < 30
