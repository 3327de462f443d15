"""Interventions chosen in Setup, with the real demo model."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    choose,
    notices,
    press,
    settle,
    tick,
    wait_idle,
    wait_saved,
)
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.question import shipped_samples
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("knockout", "knockout", Knockout),
        ("head-ablation", "head ablation", HeadAblation),
        ("contrast", "contrast", Contrast),
    ],
)
def test_a_run_with_one_other_intervention(
    demo: MainWindow, qtbot: QtBot, kind: str, name: str, settings: type
) -> None:
    tick(qtbot, demo, "redistribution")
    assert not demo.setup.run_var_button.isEnabled() and demo.setup.run_button.isEnabled()
    tick(qtbot, demo, kind)
    row = demo.setup.interventions.rows[kind]
    assert row.settings.isVisible(), "its settings unfold"
    assert demo.setup.run_var_button.text() == f"Run with {name}"
    demo.workspace.method.set(tau=3.0)
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    baseline, changed = demo.workspace.runs
    assert changed.name == name
    (made_with,) = changed.interventions
    assert type(made_with) is settings
    if kind != "contrast":
        assert made_with.tau == 3.0, "what a sink is, is said once for all"  # type: ignore[union-attr]
    before = [baseline.tokens[int(p)].logprob for p in baseline.generated_positions]
    after = [changed.tokens[int(p)].logprob for p in changed.generated_positions]
    assert before != after, "nothing was done to the model"
    assert demo.workspace.paired is changed and notices(demo) == []
    for _ in range(3):
        demo.workspace.undo_stack.undo()
    assert demo.workspace.interventions.name == "VAR"
    assert demo.workspace.method.stored.tau is None


def test_knockout_of_random_tokens_with_its_own_seed_and_layers(
    window: MainWindow, qtbot: QtBot
) -> None:
    section, model = window.setup.interventions, window.workspace.interventions
    tick(qtbot, window, "knockout")
    form = section.knockout
    seed, tokens = form.controls["seed"], form.controls["tokens"]
    assert isinstance(tokens, QtWidgets.QComboBox) and isinstance(seed, QtWidgets.QSpinBox)
    assert not seed.isEnabled(), "nothing is drawn at random"
    choose(qtbot, tokens, "random-visual")
    seed.setFocus()
    seed.selectAll()
    qtbot.keyClicks(seed, "7")
    qtbot.keyClick(seed, Key.Key_Return)
    model.knockout.set(first_layer=2, last_layer=3)
    knockout, var = model.current
    assert isinstance(knockout, Knockout) and isinstance(var, Redistribution)
    assert (knockout.tokens, knockout.seed) == ("random-visual", 7)
    assert (knockout.first_layer, knockout.last_layer) == (2, 3)
    assert (var.first_layer, var.last_layer) == (0, None)
    for _ in range(3):
        window.workspace.undo_stack.undo()
    assert tokens.currentData() == "visual-sinks" and seed.value() == 0


def test_what_does_not_go_together_cannot_be_ticked_and_says_why(
    window: MainWindow, qtbot: QtBot
) -> None:
    rows = window.setup.interventions.rows
    refused = rows["head-ablation"]
    assert not refused.box.isEnabled()
    assert "redistribution" in refused.box.toolTip() and refused.why.text() == "not with VAR"
    tick(qtbot, window, "head-ablation")
    assert not window.workspace.interventions.acts("head-ablation")
    tick(qtbot, window, "redistribution")
    assert refused.box.isEnabled() and refused.why.text() == ""
    tick(qtbot, window, "head-ablation")
    tick(qtbot, window, "contrast")
    assert window.workspace.interventions.name == "head ablation + contrast"
    assert not rows["knockout"].box.isEnabled() and not rows["redistribution"].box.isEnabled()
    window.workspace.undo_stack.undo()
    window.workspace.undo_stack.undo()
    assert rows["knockout"].box.isEnabled()


def test_an_experiment_of_the_paper_is_one_choice_and_one_undo_step(
    window: MainWindow, qtbot: QtBot
) -> None:
    workspace = window.workspace
    workspace.method.set(rho=0.5)
    count = workspace.undo_stack.count()
    for action in window.setup.interventions.preset_menu.actions():
        action.trigger()
        assert workspace.interventions.current, action.text()
        assert workspace.method.stored.rho == 0.5, "thresholds are the user's"
    ablations = [
        a for a in window.setup.interventions.preset_menu.actions() if "Fig. 9" in a.text()
    ]
    ablations[2].trigger()
    (ablation,) = workspace.interventions.current
    assert isinstance(ablation, HeadAblation) and ablation.heads == "complement"
    assert ablation.rho == 0.5
    while workspace.undo_stack.count() > count and workspace.undo_stack.index() > count:
        workspace.undo_stack.undo()
    assert workspace.interventions.current == (workspace.method.for_a_run,)
    assert workspace.method.stored == Redistribution(rho=0.5)


def test_the_budget_can_be_steered_to_the_active_region(demo: MainWindow, qtbot: QtBot) -> None:
    workspace, method = demo.workspace, demo.workspace.method
    press(qtbot, demo.setup.method.unfold)
    target = demo.setup.method.more_form.controls["target"]
    assert isinstance(target, QtWidgets.QComboBox)
    item = target.model().item(target.findData("region"))  # type: ignore[attr-defined]
    assert not item.isEnabled() and "Paint a region" in item.toolTip()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    workspace.regions.add((33, 34, 43, 44), "star")
    settle(qtbot)
    assert item.isEnabled()
    choose(qtbot, target, "region")
    assert method.current.region == (33, 34, 43, 44)
    # It follows as the region is painted, and so does the picture.
    workspace.regions.paint((45,))
    settle(qtbot)
    assert method.current.region == (33, 34, 43, 44, 45)
    assert "5 visual tokens" in demo.setup.method.region_note.text()
    assert workspace.reading is not None
    assert workspace.reading.settings.region == (33, 34, 43, 44, 45)
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    made_with = workspace.runs[-1].redistribution
    assert made_with is not None and made_with.region == (33, 34, 43, 44, 45)
    # Its tokens mean nothing on another picture.
    demo.intake.take_sample(shipped_samples()[2])
    press(qtbot, demo.setup.run_var_button)
    assert any("another picture" in text for text in notices(demo))
    assert demo.controller.idle
    demo.notices.clear()
    choose(qtbot, target, "visual")
    assert method.stored.region == ()


def test_a_knockout_can_hide_the_active_region(demo: MainWindow, qtbot: QtBot) -> None:
    workspace = demo.workspace
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    workspace.regions.add((0, 99), "corners")
    tick(qtbot, demo, "redistribution")
    tick(qtbot, demo, "knockout")
    tokens = demo.setup.interventions.knockout.controls["tokens"]
    assert isinstance(tokens, QtWidgets.QComboBox)
    choose(qtbot, tokens, "chosen")
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    baseline, changed = workspace.runs
    (knockout,) = changed.interventions
    assert isinstance(knockout, Knockout)
    visual = [t.position for t in baseline.tokens if t.role == "visual"]
    assert knockout.positions == (visual[0], visual[99])
    rows = changed.attention(changed.query_of(int(changed.generated_positions[0])) or 0)
    assert rows.shape[-1] > visual[99]


def test_a_saved_session_brings_the_interventions_back(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    tick(qtbot, window, "contrast")
    window.workspace.interventions.contrast.set(noise_step=700)
    assert window.files.save_to(tmp_path / "a.vars")
    wait_saved(qtbot, window)
    window.workspace.undo_stack.undo()
    window.workspace.undo_stack.undo()
    assert window.files.open(tmp_path / "a.vars")
    _, contrast = window.workspace.interventions.current
    assert isinstance(contrast, Contrast) and contrast.noise_step == 700
