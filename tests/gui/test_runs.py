"""Runs from Setup, with the real demo model: interventions, pairs, the queue, turns, images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Gate,
    demo,  # noqa: F401
    gate,  # noqa: F401
    notices,
    press,
    settle,
    wait_idle,
    window,  # noqa: F401
)
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.interventions import PRESETS
from var_studio.gui.models.question import shipped_samples
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


def tick(qtbot: QtBot, window: MainWindow, kind: str) -> None:  # noqa: F811
    """Click the box of an intervention, wherever it is scrolled to."""
    row = window.setup.interventions.rows[kind]
    window.setup.scroller.ensureWidgetVisible(row.box)
    settle(qtbot)
    place = QtCore.QPoint(8, row.box.height() // 2)
    qtbot.mouseClick(row.box, QtCore.Qt.MouseButton.LeftButton, pos=place)
    settle(qtbot)


def choose(qtbot: QtBot, combo: QtWidgets.QComboBox, key: str) -> None:
    """Choose an entry with the keyboard, as a person does."""
    combo.setFocus()
    steps = combo.findData(key) - combo.currentIndex()
    for _ in range(abs(steps)):
        qtbot.keyClick(combo, Key.Key_Down if steps > 0 else Key.Key_Up)
    settle(qtbot)


# ------------------------------------------------------------------------------------------ pairs
def test_a_pair_is_three_runs_by_one_button(demo: MainWindow, qtbot: QtBot) -> None:  # noqa: F811
    workspace = demo.workspace
    press(qtbot, demo.setup.run_pair_button)
    assert [r.name for r in demo.controller.waiting] == ["VAR", "VAR, teacher-forced"]
    assert demo.setup.queue.isVisible() and len(demo.setup.queue.texts()) == 3
    wait_idle(qtbot, demo)
    assert not demo.setup.queue.isVisible()
    baseline, free, forced = workspace.runs
    assert [run.name for run in workspace.runs] == ["baseline", "VAR", "VAR, teacher-forced"]
    assert baseline.interventions == () and baseline.teacher is None
    assert free.teacher is None and forced.teacher == baseline.id
    assert free.interventions == forced.interventions
    assert free.redistribution is not None and free.redistribution.p == 0.6
    said = [baseline.tokens[int(p)].id for p in baseline.generated_positions]
    assert [forced.tokens[int(p)].id for p in forced.generated_positions] == said
    # The forced answer is a score, not the second answer on screen.
    assert (workspace.baseline, workspace.paired) == (baseline, free)
    # Its numbers are those of the library's own pair.
    import var_studio as vs

    assert workspace.question.image is not None
    lmm = vs.load_model("demo")
    pair = vs.record_pair(
        lmm, workspace.question.image, workspace.question.prompt, intervention=Redistribution(),
        generation=workspace.generation.stored,
    )  # fmt: skip
    assert pair.forced is not None
    mine = [forced.tokens[int(p)].logprob for p in forced.generated_positions]
    theirs = [pair.forced.tokens[int(p)].logprob for p in pair.forced.generated_positions]
    np.testing.assert_allclose(np.array(mine, float), np.array(theirs, float), rtol=0, atol=1e-5)
    for run in pair.runs:
        run.close()
    lmm.release()
    # Asked again under another p, the baseline that is there already serves.
    workspace.method.set(p=0.9)
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    assert [run.name for run in workspace.runs[3:]] == ["VAR", "VAR, teacher-forced"]
    assert workspace.runs[4].teacher == baseline.id
    assert notices(demo) == []


# -------------------------------------------------------------------------------------- the queue
def test_runs_wait_in_a_list_and_single_ones_can_be_taken_off(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    gate: Gate,  # noqa: F811
) -> None:
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    first = demo.controller.current
    assert first is not None and not demo.setup.queue.isVisible()
    demo.workspace.question.set_prompt("what color is the star?")
    press(qtbot, demo.setup.run_pair_button)
    demo.workspace.question.set_prompt("how many stars are there?")
    qtbot.keyClick(demo, Key.Key_R)
    settle(qtbot)
    queue = demo.setup.queue
    assert queue.isVisible() and notices(demo) == []
    assert [text.split(" · ")[0] for text in queue.texts()] == [
        "▶ baseline", "baseline", "VAR", "VAR, teacher-forced", "baseline",
    ]  # fmt: skip
    # Without the baseline of a pair there is nothing to score: both leave the list.
    _, _, cross = queue.rows[1]
    press(qtbot, cross)
    settle(qtbot)
    assert [text.split(" · ")[0] for text in queue.texts()] == ["▶ baseline", "VAR", "baseline"]
    # The run under way can be stopped alone: it keeps its words, the others go on.
    _, _, cross = queue.rows[0]
    press(qtbot, cross)
    gate.open()
    wait_idle(qtbot, demo)
    stopped, var, last = demo.workspace.runs
    assert stopped.reason == "cancelled" and stopped.text
    assert var.interventions and var.provenance["prompt"] == "what color is the star?"
    assert last.reason == "end" and last.provenance["prompt"] == "how many stars are there?"


def test_stop_empties_the_queue_and_keeps_what_was_recorded(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    gate: Gate,  # noqa: F811
) -> None:
    press(qtbot, demo.setup.run_pair_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    assert len(demo.controller.waiting) == 2
    press(qtbot, demo.setup.stop_button)
    wait_idle(qtbot, demo)
    (run,) = demo.workspace.runs
    assert run.reason == "cancelled" and run.text and run.finished
    assert demo.workspace.reading is not None and not demo.setup.queue.isVisible()
    gate.open()
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    # A baseline that was stopped is no whole answer: the pair makes its own.
    assert [r.reason for r in demo.workspace.runs[1:]] == ["end"] * 3


def test_a_failed_baseline_takes_what_would_score_it_off_the_queue(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    model = demo.controller._worker._lmm.hf_model
    generate: Callable[..., Any] = model.generate
    calls = []

    def once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.50 GiB.")
        return generate(*args, **kwargs)

    monkeypatch.setattr(model, "generate", once)
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    assert len(calls) == 2
    assert [run.name for run in demo.workspace.runs if run.reason == "end"] == ["VAR"]


# ------------------------------------------------------------------------------ the interventions
@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("knockout", "knockout", Knockout),
        ("head-ablation", "head ablation", HeadAblation),
        ("contrast", "contrast", Contrast),
    ],
)
def test_a_run_with_one_other_intervention(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    kind: str,
    name: str,
    settings: type,
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
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
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
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
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
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
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
    assert workspace.interventions.current == (workspace.method.current,)
    assert workspace.method.stored == Redistribution(rho=0.5)


def test_the_budget_can_be_steered_to_the_active_region(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
) -> None:
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


def test_a_knockout_can_hide_the_active_region(demo: MainWindow, qtbot: QtBot) -> None:  # noqa: F811
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


# --------------------------------------------------------------------------------- the question
def test_a_follow_up_asks_on_about_the_same_images(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
) -> None:
    workspace, section = demo.workspace, demo.setup.question_section
    assert not section.follow_up.isVisible()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    first = workspace.runs[0]
    demo.intake.take_sample(shipped_samples()[3])  # another picture was chosen meanwhile
    assert section.follow_up.isVisible()
    demo.setup.scroller.ensureWidgetVisible(section.follow_up)
    press(qtbot, section.follow_up)
    assert section.turns.isVisible() and first.text.strip() in section.earlier.text()
    assert demo.setup.prompt.toPlainText() == "" and demo.focusWidget() is demo.setup.prompt
    qtbot.keyClicks(demo.setup.prompt, "what color is it?")
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    second, free, forced = workspace.runs[1:]
    assert second.exchanges[0] == first.exchanges[0] and len(second.exchanges) == 2
    assert [e.sha256 for e in second.image_entries] == [e.sha256 for e in first.image_entries]
    assert free.exchanges[:1] == second.exchanges[:1] and forced.teacher == second.id
    given = "".join(t.text for t in second.tokens if t.role == "prompt")
    assert "".join(first.text.split()) in "".join(given.split())
    # Asked anew, it follows nothing; that can be undone.
    press(qtbot, section.start_over)
    assert workspace.question.history == () and not section.turns.isVisible()
    workspace.undo_stack.undo()
    assert workspace.question.history == first.exchanges
    assert notices(demo) == []


def test_two_images_in_one_question(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    question, section = demo.workspace.question, demo.setup.image_section
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / name)
    own = question.images[0]
    assert not section.strip.isVisible()
    paths = [str(tmp_path / "red.png"), str(tmp_path / "blue.png")]
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileNames", lambda *_, **__: (paths, ""))
    press(qtbot, section.add_image)
    settle(qtbot)
    assert [image.name for image in question.images] == [own.name, "red.png", "blue.png"]
    assert section.strip.isVisible() and len(section.strip.thumbnails) == 3
    press(qtbot, section.strip.thumbnails[2])
    assert section.image_name.text() == "blue.png"
    press(qtbot, section.strip.earlier)
    assert [image.name for image in question.images] == [own.name, "blue.png", "red.png"]
    assert section.strip.current == 1 and section.image_name.text() == "blue.png"
    press(qtbot, section.strip.thumbnails[0])
    press(qtbot, section.strip.remove)
    assert [image.name for image in question.images] == ["blue.png", "red.png"]
    question.set_prompt("what color is the first picture?")
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    (run,) = demo.workspace.runs
    assert [entry.name for entry in run.image_entries] == ["blue.png", "red.png"]
    assert len(run.layout.image_sizes) == 2 and run.layout.count == 200
    for _ in range(3):
        demo.workspace.undo_stack.undo()
        settle(qtbot)
    while len(question.images) > 1 and demo.workspace.undo_stack.canUndo():
        demo.workspace.undo_stack.undo()
    assert question.images == (own,) and not section.strip.isVisible()


def test_several_images_make_an_entry_each_or_one_question(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    workspace, section = demo.workspace, demo.setup.image_section
    question = workspace.question
    paths = []
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / name)
        paths.append(tmp_path / name)
    demo.intake.take_files(paths)
    settle(qtbot)
    assert question.each and section.ask.isVisible() and section.ask.button("each").isChecked()
    assert "each an entry" in section.ask_note.text()
    assert demo.setup.run_button.text() == "Run 2 images"
    assert "run of its own" in demo.status.activity.text()
    question.set_prompt("what color is it?")
    qtbot.waitUntil(lambda: demo.setup.forecast.text().startswith("2 runs"), timeout=PATIENCE)
    press(qtbot, demo.setup.run_var_button)
    listed = demo.setup.queue.texts()
    assert [text.split(" · ")[1] for text in listed] == ["red.png"] * 2 + ["blue.png"] * 2
    wait_idle(qtbot, demo)
    names = [[entry.name for entry in run.image_entries] for run in workspace.runs]
    assert names == [["red.png"], ["red.png"], ["blue.png"], ["blue.png"]]
    assert [bool(run.interventions) for run in workspace.runs] == [False, True] * 2
    # Two entries, told apart by their image; the list goes from one to the other.
    asked = demo.transcript.asked
    assert asked.isVisible() and asked.count() == 2
    assert asked.itemText(0).startswith("1  red.png") and "blue.png" in asked.itemText(1)
    demo.transcript._asked_chosen(0)
    settle(qtbot)
    assert workspace.run is workspace.runs[0] and workspace.paired is workspace.runs[1]
    # What was answered before is not asked again, on screen or not.
    workspace.interventions.choose(PRESETS[1])
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    assert [bool(run.interventions) for run in workspace.runs[4:]] == [True, True]
    # Together: one question; and back with undo.
    press(qtbot, section.ask.button("together"))
    settle(qtbot)
    assert not question.each and demo.setup.run_button.text() == "Run"
    assert [len(request.images) for request in demo.intake.requests("baseline")] == [2]
    workspace.undo_stack.undo()
    assert question.each and section.ask.button("each").isChecked()
    press(qtbot, section.strip.remove)
    assert not question.each and not section.ask.isVisible(), "one image is asked about as ever"
    assert notices(demo) == []


def test_a_saved_session_brings_the_interventions_back(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    tick(qtbot, window, "contrast")
    window.workspace.interventions.contrast.set(noise_step=700)
    assert window.files.save_to(tmp_path / "a.vars")
    qtbot.waitUntil(lambda: not window.files.saving, timeout=10_000)
    settle(qtbot)
    window.workspace.undo_stack.undo()
    window.workspace.undo_stack.undo()
    assert window.files.open(tmp_path / "a.vars")
    _, contrast = window.workspace.interventions.current
    assert isinstance(contrast, Contrast) and contrast.noise_step == 700


# ------------------------------------------------------------------------------------ the model
def test_release_gives_the_model_back_and_load_brings_it_again(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
) -> None:
    section = demo.setup.model_section
    press(qtbot, section.unfold)
    lmm = demo.controller._worker._lmm
    press(qtbot, section.release_button)
    qtbot.waitUntil(lambda: demo.controller.model is None, timeout=PATIENCE)
    settle(qtbot)
    assert lmm.hf_model is None, "the weights are still held"
    assert "No model is loaded" in section.note.text() and not section.release_button.isEnabled()
    qtbot.keyClick(demo, Key.Key_R)
    assert any("No model is loaded" in text for text in notices(demo))
    assert section.load_button.text() == "Load"
    press(qtbot, section.load_button)
    qtbot.waitUntil(lambda: demo.controller.model is not None, timeout=PATIENCE)
    demo.notices.clear()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    assert demo.workspace.runs[0].text and notices(demo) == []


def test_device_and_precision_hold_for_the_next_load(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
) -> None:
    section = demo.setup.model_section
    press(qtbot, section.unfold)
    dtype = section.more_options.controls["dtype"]
    assert isinstance(dtype, QtWidgets.QComboBox)
    choose(qtbot, dtype, "bfloat16")
    assert section.device.findData("cpu") >= 0 and demo.controller.model is not None
    assert demo.controller.model.dtype == "float32", "nothing is loaded behind the user's back"
    with qtbot.waitSignal(demo.controller.model_loaded, timeout=PATIENCE):
        press(qtbot, section.load_button)
    assert demo.controller.model.dtype == "bfloat16"
    assert "bfloat16" in section.facts.text()
    for _ in range(2):  # the keyboard passed float32
        demo.workspace.undo_stack.undo()
    assert dtype.currentData() == "auto"


def test_the_forecast_says_what_a_run_takes(demo: MainWindow, qtbot: QtBot) -> None:  # noqa: F811
    line = demo.setup.forecast
    qtbot.waitUntil(lambda: "A run takes" in line.text(), timeout=PATIENCE)
    assert "memory" in line.text() and "disk" in line.text() and "are free" in line.toolTip()
    told = line.text()
    demo.workspace.generation.set(max_new_tokens=300)
    qtbot.waitUntil(lambda: line.text() != told, timeout=PATIENCE)
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    demo.workspace.question.set_prompt("")
    qtbot.waitUntil(lambda: not line.isVisible(), timeout=PATIENCE)


def test_a_run_that_will_not_fit_is_said_before(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from var_studio.models import room

    monkeypatch.setattr(room, "free_disk", lambda: 1000)
    demo.workspace.question.set_prompt("what color is the star?")
    line = demo.setup.forecast
    qtbot.waitUntil(lambda: "Will not fit" in line.text(), timeout=PATIENCE)
    assert "disk" in line.text() and line.objectName() == "wrong"


def test_a_model_that_does_not_fit_is_asked_about_before_it_is_loaded(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from var_studio.assets import resource
    from var_studio.models import room

    folder = str(resource("demo-model"))
    with monkeypatch.context() as patch:
        patch.setattr(room, "free_memory", lambda device: 0)
        patch.setattr(room, "fit", _without_replacing(room.fit))
        with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
            demo.load_model(folder)
        settle(qtbot)
        (told,) = notices(demo)
        assert "does not fit" in told and "are free" in told and "8-bit" in told
        assert demo.controller.model is not None and demo.controller.model_name == "demo"
        (button,) = demo.notices.notices[0].findChildren(QtWidgets.QPushButton)
        with qtbot.waitSignal(demo.controller.model_loaded, timeout=PATIENCE):
            press(qtbot, button)
    settle(qtbot)
    assert demo.controller.model_name == folder and notices(demo) == []


def _without_replacing(fit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda forecast, **kwargs: fit(forecast, **{**kwargs, "replacing": None})


def test_code_of_a_checkpoint_runs_only_after_a_yes(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    import json

    folder = tmp_path / "odd"
    folder.mkdir()
    ran = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "never-heard-of",
                "auto_map": {
                    "AutoConfig": "modeling.C",
                    "AutoModelForImageTextToText": "modeling.M",
                },
            }
        )
    )
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.load_model(str(folder))
    settle(qtbot)
    (told,) = notices(demo)
    assert "modeling.py" in told and "trust" in told and not ran.exists()
    (button,) = demo.notices.notices[0].findChildren(QtWidgets.QPushButton)
    assert button.text() == "Run its code"
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        press(qtbot, button)
    assert demo.controller.wanted.trust
    assert demo.controller.model is not None, "the loaded model stays"


def test_a_request_is_itself_whatever_it_asks(window: MainWindow) -> None:  # noqa: F811
    """Two runs of the same question are two rows of the queue."""
    window.start(model=None)
    (one,) = window.intake.requests("baseline")
    (other,) = window.intake.requests("baseline")
    assert one != other and dataclasses.astuple(one)[1] == dataclasses.astuple(other)[1]
