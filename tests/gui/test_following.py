"""While a run goes on: the newest word stays in view, how far it is, what Stop takes away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, Gate, press, settle, wait_idle
from tests.gui.panel_stage import settle as pause
from tests.gui.pointer import turn_wheel
from tests.gui.transcript_stage import shown
from tests.synthetic import make_run
from var_studio.figures.words import token_line
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.image_maps import subject
from var_studio.gui.panels.question_names import told_apart
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import bare

pytestmark = IGNORE_QT


def _last_in_view(panel: TranscriptPanel) -> bool:
    strip = panel.answer
    place = strip.visualRect(strip.tokens.index(strip.tokens.rowCount() - 1)).center()
    area = panel.scroller.viewport()
    return bool(area.rect().contains(strip.viewport().mapTo(area, place)))


def test_the_newest_word_stays_in_view_until_the_user_scrolls(qtbot: QtBot, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", queries=140, layers=1, heads=1, finish=False)
    panel, workspace = shown(qtbot, run, size=(420, 150))
    workspace.growing, workspace.following = run, True
    bar = panel.scroller.verticalScrollBar()
    bar.setValue(0)
    assert bar.maximum() > 50 and not _last_in_view(panel)
    workspace.tokens_appended.emit()
    pause()
    assert _last_in_view(panel), "also from the top, where a question fills the panel"
    turn_wheel(panel.scroller.viewport(), 480)
    pause()
    away = bar.value()
    assert away < bar.maximum() - 20
    workspace.tokens_appended.emit()
    workspace.selection.select_token(workspace.selection.positions[-1])
    pause()
    assert bar.value() == away, "the user scrolled"
    bar.setValue(0)
    workspace.growing = None
    workspace.tokens_appended.emit()
    workspace.growing, workspace.following = run, False  # a word was selected
    workspace.tokens_appended.emit()
    pause()
    assert bar.value() == 0


def test_stop_leaves_the_selection_and_tells_what_it_took_off(
    demo: MainWindow, qtbot: QtBot, gate: Gate
) -> None:
    totals: list[tuple[int, int]] = []
    demo.follower.progress.connect(lambda done, total: totals.append((done, total)))
    press(qtbot, demo.setup.run_pair_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    qtbot.waitUntil(lambda: demo.workspace.selection.position is not None, timeout=PATIENCE)
    settle(qtbot)
    most = demo.workspace.generation.stored.max_new_tokens
    qtbot.waitUntil(lambda: (1, most) in totals, timeout=PATIENCE)
    selection = demo.workspace.selection
    gate.open()
    demo.stop()
    wait_idle(qtbot, demo)
    run = demo.workspace.runs[0]
    if run.reason == "cancelled":  # else it was faster than Stop
        assert selection.position == selection.positions[-1]
        assert "2 waiting runs taken off the queue" in demo.status.activity.text()


def test_a_scored_answer_is_not_called_an_answer(demo: MainWindow, qtbot: QtBot) -> None:
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    said = demo.status.activity.text()
    assert said.startswith("Scored: ") and "before that, answered: " in said
    assert "tokens/s)" in said
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    assert demo.status.activity.text().startswith("Answered: ")


class _Named:
    """What `told_apart` asks of a run."""

    tau_default, hidden_size, n_layers, sink_dims = 5.0, 64, 2, ()

    def __init__(self, model: str, image: str, prompt: str = "what is left?") -> None:
        self.provenance = {"model": model, "checkpoint": model, "prompt": prompt}
        self.image_entries = [type("Entry", (), {"name": image})()]


def _names(*runs: _Named) -> list[tuple[str, str]]:
    return told_apart([[run] for run in runs])  # type: ignore[list-item]


def test_questions_are_told_apart_by_what_differs() -> None:
    assert _names(_Named("one", "a.png")) == [("", "what is left?")]
    assert _names(_Named("one", "a.png"), _Named("two", "a.png")) == [
        ("one", "what is left?"),
        ("two", "what is left?"),
    ]
    both = _names(_Named("one", "a.png"), _Named("two", "b.png"), _Named("two", "b.png", "why?"))
    assert both == [
        ("one", "a.png: what is left?"),
        ("two", "b.png: what is left?"),
        ("two", "why?"),
    ]


def test_a_token_without_text_has_one_sign_everywhere(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", layers=1, heads=1)
    at = int(run.generated_positions[2])
    tokens = tuple(replace(t, text="") if t.position == at else t for t in run.tokens)
    monkeypatch.setattr(Recording, "tokens", property(lambda _: tokens))
    panel, workspace = shown(qtbot, run)
    workspace.selection.select_token(at)
    pause()
    entry = next(e for e in panel.answer.tokens.entries if e.position == at)
    reading = workspace.reading
    assert reading is not None
    said = (entry.text, subject(reading, at, "query"), token_line(reading), bare(""))
    assert all("∅" in text for text in said), said
    assert bare(" ") == "␣" and bare("\n") == "⏎" and bare(" cup") == "cup"
