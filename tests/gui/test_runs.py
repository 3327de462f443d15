"""Runs from Setup, with the real demo model: pairs and the queue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Gate,
    notices,
    press,
    settle,
    wait_idle,
)
from var_studio.gui.main_window import MainWindow
from var_studio.recording.settings import Redistribution

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


def test_a_pair_is_three_runs_by_one_button(demo: MainWindow, qtbot: QtBot) -> None:
    workspace = demo.workspace
    press(qtbot, demo.setup.run_pair_button)
    assert [r.name for r in demo.controller.waiting] == ["VAR", "VAR, teacher-forced"]
    assert demo.setup.queue.isVisible() and len(demo.setup.queue.texts()) == 3
    # The question is said once; the lines below it have their room for what they are.
    asked = [demo.workspace.question.prompt in text for text in demo.setup.queue.texts()]
    assert asked == [True, False, False]
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


def test_runs_wait_in_a_list_and_single_ones_can_be_taken_off(
    demo: MainWindow, qtbot: QtBot, gate: Gate
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


def test_a_baseline_that_is_asked_for_already_is_not_made_twice(
    demo: MainWindow, qtbot: QtBot, gate: Gate
) -> None:
    controller, question = demo.controller, demo.workspace.question
    first = question.prompt
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    press(qtbot, demo.setup.run_pair_button)
    assert [r.name for r in controller.waiting] == ["VAR", "VAR, teacher-forced"]
    assert controller.waiting[1].scores is controller.current
    # Of another question it is another one; of one that waits, the one that waits.
    question.set_prompt("how many stars are there?")
    press(qtbot, demo.setup.run_pair_button)
    press(qtbot, demo.setup.run_pair_button)
    names = [r.name for r in controller.waiting[2:]]
    assert names == ["baseline", *["VAR", "VAR, teacher-forced"] * 2]
    assert controller.waiting[6].scores is controller.waiting[2]
    gate.open()
    wait_idle(qtbot, demo)
    baseline, free, forced, second, *_, last = demo.workspace.runs
    assert free.teacher is None and forced.teacher == baseline.id
    assert baseline.provenance["prompt"] == first and last.teacher == second.id
    assert notices(demo) == []


def test_a_baseline_that_is_being_stopped_is_made_anew(
    demo: MainWindow, qtbot: QtBot, gate: Gate
) -> None:
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    demo.controller.stop()
    assert [r.name for r in demo.intake.requests("pair")] == [
        "baseline", "VAR", "VAR, teacher-forced",
    ]  # fmt: skip
    gate.open()
    wait_idle(qtbot, demo)


def test_stop_empties_the_queue_and_keeps_what_was_recorded(
    demo: MainWindow, qtbot: QtBot, gate: Gate
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
    demo: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
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


def test_a_request_is_itself_whatever_it_asks(window: MainWindow) -> None:
    """Two runs of the same question are two rows of the queue."""
    window.start(model=None)
    (one,) = window.intake.requests("baseline")
    (other,) = window.intake.requests("baseline")
    assert one != other and dataclasses.astuple(one)[1] == dataclasses.astuple(other)[1]
