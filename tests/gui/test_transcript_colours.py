"""What the words of the transcript are coloured by, against the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.answers import PART, answered
from tests.gui.fixtures import words
from tests.gui.panel_stage import settle
from tests.gui.transcript_stage import shown
from tests.synthetic import make_run
from var_studio.gui.models.token_list import TokenRole
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch, layers=3, heads=3, queries=40)


def wait_read(qtbot: QtBot, panel: TranscriptPanel) -> None:
    qtbot.waitUntil(lambda: panel.colours is not None and not panel.colours.reading)
    settle()


def of_row(run: Recording, query: int, value: Callable[[np.ndarray, int, int], float]) -> float:
    """Mean of a value over all heads, one head at a time."""
    row = run.attention(query)
    each = [
        value(row[layer, head], layer, head)
        for layer in range(run.n_layers)
        for head in range(run.n_heads)
    ]
    return float(np.mean(each))


def test_masses_and_shares_are_those_of_the_rows(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    panel, workspace = shown(qtbot, *answers[:2])
    workspace.method.set(tau=3.0, rho=0.6)
    settings = workspace.method.current
    vis = answers[0].visual
    expected: dict[str, Callable[[Recording, int], float]] = {
        "visual_mass": lambda run, q: of_row(run, q, lambda a, *_: a[run.visual].sum()),
        "sink_mass": lambda run, q: of_row(
            run, q, lambda a, layer, _: a[run.phi(layer) >= 3.0].sum()
        ),
        "image_centric_share": lambda run, q: float(run.image_centric(q, settings).mean()),
    }
    assert vis.any()
    for kind, value in expected.items():
        panel.colour_by.setCurrentIndex(panel.colour_by.findData(kind))
        panel.colour_by.activated.emit(panel.colour_by.currentIndex())
        wait_read(qtbot, panel)
        assert workspace.view.current.colour_by == kind
        top = 0.0
        for run in answers[:2]:
            assert panel.colours is not None
            found = panel.colours.values(run)
            for at in (int(run.query_positions[2]), int(run.query_positions[-1])):
                query = run.query_of(at)
                assert query is not None
                assert found[at] == pytest.approx(value(run, query), abs=2e-5)
            top = max(top, *found.values())
        assert panel.tint_bar.text().endswith(f"to {top:.2g}")
        strip = panel.answer
        at = int(answers[0].generated_positions[1])
        shade = strip.tokens.index_of(at).data(TokenRole.SHADE)
        assert shade == pytest.approx(panel.colours.values(answers[0])[at] / top)
        tip = strip.tokens.index_of(at).data(QtCore.Qt.ItemDataRole.ToolTipRole)
        assert f"{panel.colours.values(answers[0])[at]:.3g}" in tip


def test_the_row_of_the_step_moves_the_colours_by_one(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    panel, workspace = shown(qtbot, answers[0])
    workspace.view.set(colour_by="visual_mass")
    wait_read(qtbot, panel)
    assert panel.colours is not None
    own = dict(panel.colours.values(answers[0]))
    workspace.selection.set_row_of("produced")
    wait_read(qtbot, panel)
    assert panel.colours.values(answers[0]) == {
        at + 1: v for at, v in own.items() if at + 1 < answers[0].length
    }


def test_reverse_colours_follow_cells_and_heads(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    run = answers[0]
    panel, workspace = shown(qtbot, run)
    workspace.view.set(colour_by="reverse")
    settle()
    assert panel.colours is not None and not panel.colours.values(run)
    assert panel.colour_line.text().startswith("Click a cell")
    workspace.selection.select_cells([3, 17])
    keys = run.layout.positions[[3, 17]]
    for heads in ((), ((1, 2),), ((0, 1), (2, 0))):
        workspace.selection.select_heads(heads)
        for aggregate in ("mean", "max"):
            workspace.view.set(aggregate=aggregate)
            wait_read(qtbot, panel)
            every = [(i, h) for i in range(run.n_layers) for h in range(run.n_heads)]
            for query in (0, 20):
                row = run.attention(query)
                sums = [row[i, h, keys[0]] + row[i, h, keys[1]] for i, h in heads or every]
                value = max(sums) if aggregate == "max" else sum(sums) / len(sums)
                at = int(run.query_positions[query])
                assert panel.colours.values(run)[at] == pytest.approx(value, abs=1e-6)
    assert "2 cells" in panel.colour_line.text()


def test_change_of_log_probability_free_and_forced(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    baseline, second, forced = answers
    panel, workspace = shown(qtbot, baseline)
    workspace.view.set(colour_by="delta_logprob")
    settle()
    assert "Run pair" in panel.colour_line.text()
    workspace.add_run(second)
    workspace.look_at(baseline)
    settle()
    assert panel.colours is not None
    assert len(panel.colours.values(baseline)) == len(panel.colours.values(second)) == PART
    assert "free-running" in panel.colour_line.text()
    workspace.add_run(forced, look=False)
    settle()
    found = panel.colours.values(baseline)
    assert "teacher-forced" in panel.colour_line.text()
    assert len(found) == len(baseline.generated_positions)
    for at, change in found.items():
        before, after = baseline.tokens[at].logprob, forced.tokens[at].logprob
        assert before is not None and after is not None
        assert change == pytest.approx(after - before)
    top = max(abs(v) for v in found.values())
    at = next(at for at, v in found.items() if v < 0)
    shade = panel.answer.tokens.index_of(at).data(TokenRole.SHADE)
    assert shade == pytest.approx(found[at] / top) and shade < 0
    assert "−" in panel.tint_bar.text()


def test_rounding_is_no_change(
    qtbot: QtBot, answers: tuple[Recording, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of the same model differ in the seventh digit: that must not glow."""
    from var_studio.analysis import token_values

    at = int(answers[0].generated_positions[0])
    monkeypatch.setattr(token_values, "logprob_changes", lambda *_: ({at: 1e-6}, {at: 1e-6}))
    panel, workspace = shown(qtbot, *answers[:2])
    workspace.view.set(colour_by="delta_logprob")
    settle()
    assert panel.answer.tokens.index_of(at).data(TokenRole.SHADE) < 0.01
    assert panel.tint_bar.text().endswith("from −0.01 to +0.01")


def test_probability_is_the_recorded_one(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    panel, _ = shown(qtbot, answers[0])
    for token in answers[0].tokens:
        shade = panel.answer.tokens.index_of(token.position).data(TokenRole.SHADE)
        if token.role == "generated":
            assert token.logprob is not None
            surprise = -token.logprob / math.log(100)
            assert shade == pytest.approx(min(max(surprise, 0.0), 1.0))


def test_rows_are_read_in_slices_and_not_while_hidden(qtbot: QtBot, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=4, heads=4, queries=150)
    panel, workspace = shown(qtbot, run)
    assert panel.colours is not None
    told: list[str] = []
    panel.colours.changed.connect(lambda: told.append(panel.colours.sentence))  # type: ignore[union-attr]
    workspace.view.set(colour_by="sink_mass")
    assert panel.colours.reading, "all rows were read at once"
    wait_read(qtbot, panel)
    assert any("of 150 rows read" in sentence for sentence in told)
    assert "rows read" not in told[-1] and len(panel.colours.values(run)) == 150
    panel.window().hide()
    settle()
    workspace.method.set(tau=2.5)
    qtbot.wait(100)
    assert not panel.colours.reading, "it reads though nobody sees it"
    panel.window().show()
    wait_read(qtbot, panel)


def test_dragging_tau_reads_no_row_before_it_rests(
    qtbot: QtBot, answers: tuple[Recording, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.analysis import shares

    panel, workspace = shown(qtbot, answers[0])
    workspace.view.set(colour_by="sink_mass")
    wait_read(qtbot, panel)
    assert panel.colours is not None
    before = dict(panel.colours.values(answers[0]))
    asked: list[float | None] = []
    original = shares.row_masses
    monkeypatch.setattr(
        shares, "row_masses", lambda run, s: (asked.append(s.tau), original(run, s))[1]
    )
    for step in range(20):
        workspace.method.set(drag=True, tau=2.0 + step / 10)
    assert asked == [] and panel.colours.values(answers[0]) == before
    wait_read(qtbot, panel)
    assert asked == [pytest.approx(3.9)]


def test_a_row_that_cannot_be_read_is_said_and_the_words_stay(
    qtbot: QtBot, answers: tuple[Recording, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, workspace = shown(qtbot, answers[0])
    whole = Recording.attention

    def damaged(run: Recording, query: int, *rest: object, **more: object) -> np.ndarray:
        if query == 30:
            raise RecordingError("Row 30 is damaged.", "Record the run again.")
        return whole(run, query, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Recording, "attention", damaged)
    workspace.view.set(colour_by="visual_mass")
    wait_read(qtbot, panel)
    assert "Row 30 is damaged" in panel.colour_line.text()
    assert panel.colours is not None and not panel.colours.values(answers[0])
    assert len(words(panel.answer)) == len(answers[0].generated_positions)
    workspace.view.set(colour_by="probability")
    assert panel.colours.values(answers[0])
