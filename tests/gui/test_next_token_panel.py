"""The Next token panel: candidates of the recorded tokens, and what it says without them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.answers import PART, answered
from tests.gui.fixtures import PATIENCE, wait_idle
from tests.gui.panel_stage import settle, stage
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.next_token import NextTokenPanel
from var_studio.gui.widgets.candidates_view import CandidatesView, Line, nats, percent
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import Token

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch, layers=2, heads=2)


def word(run: Recording, number: int) -> int:
    return int(run.generated_positions[number])


def agrees(panel: NextTokenPanel, before: Token, after: Token | None) -> None:
    """Each line against the two tokens' own lists."""
    lines = {line.word: line for line in panel.candidates.lines()}
    olds = {a.text.strip(): a.logprob for a in before.top}
    news = {a.text.strip(): a.logprob for a in after.top} if after else {}
    assert set(lines) == {*olds, *news}
    order = {
        side: sorted(top, key=lambda w, top=top: -top[w]) for side, top in enumerate((olds, news))
    }
    for name, line in lines.items():
        old, new = olds.get(name), news.get(name)
        for shown, logprob in ((line.before, old), (line.after, new)):
            assert (shown is None) == (logprob is None)
            if logprob is not None:
                assert shown == pytest.approx(math.exp(logprob))
        if after is None:
            assert line.change == "" and line.ranks == str(order[0].index(name) + 1)
            continue
        if old is not None and new is not None:
            assert float(line.change.replace("−", "-")) == pytest.approx(new - old, abs=0.006)
            assert line.ranks == f"{order[0].index(name) + 1} → {order[1].index(name) + 1}"
        else:
            assert line.change[0] == ("≤" if new is None else "≥") and ">" in line.ranks
    chosen = {name for name, line in lines.items() if line.chosen}
    assert chosen == {before.text.strip(), *([after.text.strip()] if after else [])}


def test_free_running_up_to_where_the_answers_part(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    baseline, second, _ = answers
    panel = NextTokenPanel()
    workspace = stage(qtbot, panel, baseline, second)
    for run in (baseline, second):
        for number in (0, PART):
            workspace.look_at(run, word(run, number))
            settle()
            agrees(
                panel, baseline.tokens[word(baseline, number)], second.tokens[word(second, number)]
            )
            assert "free-running" in panel.subject.text()
    assert f"after: “{second.tokens[word(second, PART)].text.strip()}”" in panel.subject.text()
    workspace.look_at(baseline, word(baseline, PART + 1))
    settle()
    agrees(panel, baseline.tokens[word(baseline, PART + 1)], None)
    assert f"part at word {PART + 1}" in panel.subject.text()
    workspace.look_at(second, word(second, PART + 2))
    settle()
    agrees(panel, second.tokens[word(second, PART + 2)], None)
    assert "different texts" in panel.subject.text()


def test_teacher_forced_compares_every_word(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    baseline, second, forced = answers
    panel = NextTokenPanel()
    workspace = stage(qtbot, panel, baseline, second)
    workspace.add_run(forced, look=False)
    settle()
    for number in (0, PART, PART + 4):
        workspace.look_at(baseline, word(baseline, number))
        settle()
        at = word(baseline, number)
        agrees(panel, baseline.tokens[at], forced.tokens[at])
        assert "teacher-forced" in panel.subject.text()
    # A word of the second answer that follows the same text is the same step.
    workspace.look_at(second, word(second, PART))
    settle()
    agrees(panel, baseline.tokens[word(baseline, PART)], forced.tokens[word(forced, PART)])


def test_the_two_ways_can_be_chosen(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    baseline, second, forced = answers
    panel = NextTokenPanel()
    workspace = stage(qtbot, panel, baseline, second)
    at = word(baseline, 2)
    workspace.look_at(baseline, at)
    settle()
    left = QtCore.Qt.MouseButton.LeftButton
    qtbot.mouseClick(panel.way.button("forced"), left)
    assert "Run pair" in panel.subject.text()
    agrees(panel, baseline.tokens[at], None)
    workspace.add_run(forced, look=False)
    settle()
    agrees(panel, baseline.tokens[at], forced.tokens[at])
    qtbot.mouseClick(panel.way.button("free"), left)
    agrees(panel, baseline.tokens[at], second.tokens[at])


def test_what_it_says_where_nothing_can_be_compared(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    baseline, second, _ = answers
    empty = NextTokenPanel()
    stage(qtbot, empty)
    assert empty._stack.currentWidget() is empty._empty and "Run pair" in empty._empty.text()
    panel = NextTokenPanel()
    workspace = stage(qtbot, panel, baseline)
    settle()
    agrees(panel, baseline.tokens[word(baseline, 0)], None)
    assert "no second answer yet" in panel.subject.text()
    workspace.selection.select_token(workspace.selection.positions[0])
    settle()
    assert panel._stack.currentWidget() is panel._empty
    assert "given to the model" in panel._empty.text()
    alone = NextTokenPanel()
    workspace = stage(qtbot, alone, second)
    settle()
    agrees(alone, second.tokens[word(second, 0)], None)
    assert "no baseline" in alone.subject.text()


@pytest.mark.parametrize("size", [(1092, 170), (520, 200), (1092, 420)])
def test_lines_never_overlap(
    qtbot: QtBot, answers: tuple[Recording, ...], size: tuple[int, int]
) -> None:
    panel = NextTokenPanel()
    stage(qtbot, panel, *answers[:2], size=size)
    view = panel.candidates
    rows = -(-len(view.lines()) // view.columns())
    assert view.height() >= (rows + 1) * view.fontMetrics().height()
    assert view.columns() == (2 if size == (1092, 170) else 1)


def test_a_pair_of_the_demo_is_compared_at_every_word(demo: MainWindow, qtbot: QtBot) -> None:
    """Run pair on the real model: three runs, and each word's candidates from both ways."""
    window, workspace = demo, demo.workspace
    window.run_pair()
    qtbot.waitUntil(lambda: len(workspace.runs) == 3, timeout=PATIENCE)
    wait_idle(qtbot, window)
    baseline, second, forced = workspace.runs
    assert forced.teacher == baseline.id and second.teacher is None
    assert (workspace.baseline, workspace.paired) == (baseline, second)
    panel = window.area.panel("next_token")
    assert isinstance(panel, NextTokenPanel)
    window.area.docks["next_token"].show()
    window.area.docks["next_token"].raise_()
    for position in (int(p) for p in baseline.generated_positions[:-1]):
        workspace.look_at(baseline, position)
        settle()
        before, after = baseline.tokens[position], forced.tokens[position]
        lines = panel.candidates.lines()
        assert len(lines) >= 10 and lines[0].before == pytest.approx(
            math.exp(before.top[0].logprob)
        )
        own = next(line for line in lines if line.chosen)
        assert before.logprob is not None and after.logprob is not None
        assert own.before == pytest.approx(math.exp(before.logprob))
        assert own.after == pytest.approx(math.exp(after.logprob))
        assert "teacher-forced" in panel.subject.text()
    workspace.view.set(colour_by="delta_logprob")
    settle()
    colours = window.transcript.colours
    assert colours is not None
    for position, change in colours.values(baseline).items():
        before, after = baseline.tokens[position], forced.tokens[position]
        assert change == pytest.approx(after.logprob - before.logprob)  # type: ignore[operator]
    assert len(colours.values(baseline)) == len(baseline.generated_positions)


def test_small_and_large_probabilities_can_be_told_apart() -> None:
    assert percent(0.25, None) == "25.0 %" and percent(None, 0.003) == "≤ 0.30 %"
    assert percent(2e-5, None) == "0.002 %" and percent(None, 2e-5) == "≤ 0.002 %"
    assert percent(1.26e-9, None) == "1.3·10⁻⁷ %" and percent(0.0, None) == "0 %"
    assert percent(0.99998, None) == "99.998 %" and percent(1 - 1e-9, None) == "99.9999 %"
    assert percent(1.0, None) == "100 %"
    assert percent(None, float("nan")) == percent(None, None) == "–"
    assert nats(math.exp(-9.21), None) == "−9.21" and nats(None, math.exp(-9.21)) == "≤ −9.21"
    assert nats(0.0, None) == "−∞" and nats(1.0, None) == "0" and nats(None, None) == "–"
    assert nats(math.exp(-2e-6), None) == "−2·10⁻⁶"


def candidates_of(count: int) -> list[Line]:
    """Lines of a model that is sure of itself, with bounds on both sides."""
    return [Line("square", 0.99998, 0.97, "−0.03", "1 → 1", "●")] + [
        Line(f"w{n}", 1e-9, None, "≤ −12.34", f"{n} → >10", below_after=2e-10)
        for n in range(2, count + 1)
    ]


@pytest.mark.parametrize("width", [360, 560, 800, 1092, 1900])
def test_no_number_runs_into_the_next(qtbot: QtBot, width: int) -> None:
    """Between the numbers of a line there are empty columns of pixels, wherever they stand."""
    view = CandidatesView()
    qtbot.addWidget(view)
    view.resize(width, 400)
    for both in (True, False):
        view.set_lines(candidates_of(13), both)
        shown = view._shown(view.width())
        metrics = view.fontMetrics()
        for heading, widest in shown.items():
            room = max(metrics.horizontalAdvance(t) for t in (heading, widest)) + 14
            for line in view.lines():
                assert metrics.horizontalAdvance(line.numbers()[heading]) <= room - 10


@pytest.mark.parametrize("size", [(1092, 120), (560, 160), (1092, 90)])
def test_more_than_ten_candidates_can_be_scrolled_to(qtbot: QtBot, size: tuple[int, int]) -> None:
    """A knockout brings other candidates in: the panel grows after it was laid out for ten."""
    view = CandidatesView()
    area = view.scrolled()
    qtbot.addWidget(area)
    area.resize(*size)
    area.show()
    for count in (10, 13, 20):
        view.set_lines(candidates_of(count), True)
        settle()
        line = view.fontMetrics().height()
        rows = -(-count // view.columns())
        assert view.height() >= (rows + 1) * line
        bar = area.verticalScrollBar()
        assert bar.maximum() == max(0, view.height() - area.viewport().height())
