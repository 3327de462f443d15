"""The Transcript panel: answers under each other, colours against the recordings, search, turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.answers import PART, answered
from tests.gui.fixtures import click_word, window, words  # noqa: F401
from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_layout, make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.token_list import TokenListModel, TokenRole, matches
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.gui.widgets.token_strip import TokenStrip
from var_studio.recording.failures import RecordingError
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import Token

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
Key = QtCore.Qt.Key
WIDE = (900, 260)


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch, layers=3, heads=3, queries=40)


def shown(
    qtbot: QtBot, *runs: Recording, size: tuple[int, int] = WIDE
) -> tuple[TranscriptPanel, Workspace]:
    panel = TranscriptPanel()
    workspace = stage(qtbot, panel, *runs, size=size)
    return panel, workspace


def boxes(strip: TokenStrip) -> list[QtCore.QRect]:
    """Where each entry stands, in the panel's paragraphs."""
    origin = strip.mapTo(strip.window(), QtCore.QPoint(0, 0))
    return [
        strip.visualRect(strip.tokens.index(n)).translated(origin)
        for n in range(strip.tokens.rowCount())
    ]


# ------------------------------------------------------------------------- two answers
@pytest.mark.parametrize("width", [1400, 620, 380])
def test_answers_stand_under_each_other_word_by_word(
    qtbot: QtBot, answers: tuple[Recording, ...], width: int
) -> None:
    panel, _ = shown(qtbot, *answers[:2], size=(width, 400))
    above, below = boxes(panel.answer), boxes(panel.second)
    assert len(above) == len(below)
    assert [b.left() for b in above] == [b.left() for b in below]
    line = panel.answer.line
    assert all(b.top() - a.top() == line for a, b in zip(above, below, strict=True))
    assert len({box.top() for box in above}) > 1 or width == 1400, "the answer does not wrap"
    first, second = (
        [e.token.id if e.token else None for e in strip.tokens.entries]
        for strip in (panel.answer, panel.second)
    )
    ids = [[t.id for t in run.tokens if t.role == "generated"] for run in answers[:2]]
    assert [[i for i in side if i is not None] for side in (first, second)] == ids
    blocks = SequenceMatcher(None, *ids, autojunk=False).get_matching_blocks()
    common = sum(block.size for block in blocks)
    assert sum(a == b for a, b in zip(first, second, strict=True)) >= common > PART
    assert None in first and not any(a is b is None for a, b in zip(first, second, strict=True))


def test_the_word_under_the_pointer_is_the_one_clicked(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    """The second answer lies over the first: it must not take clicks meant for it."""
    panel, workspace = shown(qtbot, *answers[:2], size=(380, 500))
    holder = panel.window()
    for strip, run in ((panel.answer, answers[0]), (panel.second, answers[1])):
        taken = [n for n, e in enumerate(strip.tokens.entries) if e.token and not e.token.special]
        for number in (taken[0], taken[len(taken) // 2], taken[-1]):
            box = boxes(strip)[number]
            place = box.topLeft() + QtCore.QPoint(box.width() // 2, strip.line // 2)
            under = holder.childAt(place)
            assert under is strip.viewport()
            qtbot.mouseClick(
                under, QtCore.Qt.MouseButton.LeftButton, pos=under.mapFrom(holder, place)
            )
            settle()
            entry = strip.tokens.entries[number]
            if entry.position in workspace.selection.positions:
                assert workspace.run is run and workspace.selection.position == entry.position


def test_a_gap_is_no_token(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    panel, workspace = shown(qtbot, *answers[:2])
    before = workspace.run, workspace.selection.position
    gap = next(n for n, e in enumerate(panel.answer.tokens.entries) if e.kind == "gap")
    with qtbot.assertNotEmitted(panel.dead_token):
        click_word(qtbot, panel.answer, gap)
    assert (workspace.run, workspace.selection.position) == before


def test_where_they_part_is_marked_and_said(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    panel, workspace = shown(qtbot, *answers[:2])
    for strip, run in ((panel.answer, answers[0]), (panel.second, answers[1])):
        assert strip.divergence in (None, int(run.generated_positions[PART]))
    assert panel.second.divergence == int(answers[1].generated_positions[PART])
    assert f"part at token {PART + 1}" in panel.parting.text()
    differing = [e for e in panel.answer.tokens.entries if e.differs]
    assert all(e.position < 0 or e.position >= answers[0].prompt_length + PART for e in differing)
    workspace.remove_run(answers[1])
    settle()
    assert not panel.second.isVisible() and panel.answer.divergence is None
    assert words(panel.answer) == [
        t.text.strip() for t in answers[0].tokens if t.role == "generated"
    ]


def test_a_growing_second_answer_keeps_its_columns(
    qtbot: QtBot, tmp_path: Path, answers: tuple[Recording, ...]
) -> None:
    baseline, second, _ = answers
    panel, _ = shown(qtbot, baseline, second)

    class Cut:
        """The second answer when it had come to `n` words."""

        def __init__(self, n: int) -> None:
            self.tokens = second.tokens[: second.prompt_length + n]
            self.finished, self.reason = False, None

    from var_studio.analysis.compare import compare

    for n in (0, 1, PART, PART + 1, PART + 3, 12):
        pairs = compare(baseline, Cut(n)).pairs
        panel.answer.tokens.align(pairs, "baseline")
        panel.second.tokens.align(pairs, "other")
        settle()
        above, below = boxes(panel.answer), boxes(panel.second)
        assert [b.left() for b in above] == [b.left() for b in below]
        written = [e.position for e in panel.second.tokens.entries if e.token]
        assert written == list(range(second.prompt_length, second.prompt_length + n))
        for strip in (panel.answer, panel.second):
            for entry in strip.tokens.entries:
                if entry.token is not None:
                    index = strip.tokens.index_of(entry.position)
                    assert index.data(TokenRole.ENTRY) is entry


# ----------------------------------------------------------------------------- colours
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


# ------------------------------------------------------------------------------ search
def test_typing_selects_the_first_word_found_and_enter_the_next(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    baseline, second, _ = answers
    panel, workspace = shown(qtbot, baseline, second)
    bar = panel.search.bar
    panel.answer.setFocus()
    click_word(qtbot, panel.answer, 0)
    for letter in "cup":
        qtbot.keyClick(QtWidgets.QApplication.focusWidget() or panel.answer, letter)
    settle()
    assert bar.isVisible() and bar.field.text() == "cup"
    cups = [
        (run, t.position)
        for run, role in ((baseline, "prompt"), (baseline, "generated"), (second, "generated"))
        for t in run.tokens
        if t.role == role and t.text.strip() == "cup"
    ]
    assert len(cups) > 2
    start = next(n for n, (_, at) in enumerate(cups) if at >= baseline.prompt_length)
    visited = []
    for _ in cups:
        visited.append((workspace.run, workspace.selection.position))
        qtbot.keyClick(bar.field, Key.Key_Return)
        settle()
    assert visited == cups[start:] + cups[:start]
    assert (workspace.run, workspace.selection.position) == visited[0], "around the end"
    qtbot.keyClick(bar.field, Key.Key_F3, QtCore.Qt.KeyboardModifier.ShiftModifier)
    assert (workspace.run, workspace.selection.position) == visited[-1]
    assert bar.count.text() == f"{cups.index(visited[-1]) + 1} of {len(cups)}"
    qtbot.keyClick(bar.field, Key.Key_Escape)
    assert not bar.isVisible() and panel.answer.hasFocus()
    panel.search.further(1)
    assert (workspace.run, workspace.selection.position) == visited[0]


def test_nothing_found_goes_back_to_where_the_search_began(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    panel, workspace = shown(qtbot, answers[0])
    position = click_word(qtbot, panel.answer, 1)
    qtbot.mouseClick(panel.find_button, QtCore.Qt.MouseButton.LeftButton)
    qtbot.keyClicks(panel.search.bar.field, "left")
    assert workspace.selection.position != position
    qtbot.keyClicks(panel.search.bar.field, "xyz")
    assert workspace.selection.position == position
    assert panel.search.bar.count.text() == "none"


def test_words_of_several_tokens_and_texts_of_several_words_are_found() -> None:
    pieces = ["Str", "aw", "berr", "ies", " and", " cream", "\n", "berry"]
    tokens = TokenListModel(lambda token: True)
    given = tuple(Token(10 + n, n, text, "generated") for n, text in enumerate(pieces))
    entries = tokens._read(given, 0)
    assert matches(entries, "strawberries") == [10]
    assert matches(entries, "BERR") == [12, 17]
    assert matches(entries, "ies and c") == [13]
    assert matches(entries, "") == matches(entries, "creamy") == []


# ------------------------------------------------------------------- turns and images
def test_home_and_end_reach_either_end(qtbot: QtBot, answers: tuple[Recording, ...]) -> None:
    panel, workspace = shown(qtbot, *answers[:2])
    qtbot.keyClick(panel.answer, Key.Key_End)
    assert workspace.selection.position == workspace.selection.positions[-1]
    qtbot.keyClick(panel.answer, Key.Key_Home)
    assert workspace.selection.position == workspace.selection.positions[0]


def test_turns_are_told_apart(qtbot: QtBot) -> None:
    texts = ["USER", " one", " yes", "USER", " two", ":"]
    tokens = [Token(n, n, text, "prompt", turn=0 if n < 3 else 1) for n, text in enumerate(texts)]
    model = TokenListModel(lambda token: token.role != "generated")
    entries = model._read(tokens, 0)
    said = [(e.kind, e.text) for e in entries]
    assert said[0] == ("divider", "Question 1") and said[4] == ("divider", "Question 2")
    assert [text for kind, text in said if kind == "token"] == texts
    assert all(e.kind == "token" for e in model._read([replace(t, turn=1) for t in tokens], 0))


def test_each_image_has_its_own_block_with_its_grid() -> None:
    """Two images in one stretch, the second in two views with an end-of-line token each row."""
    first = make_layout(3, 4)
    tile = np.array([[12, 13], [15, 16]])
    layout = VisualLayout(
        image_sizes=((320, 240), (100, 100)),
        positions=5 + np.arange(22),
        views=(
            first.views[0],
            View("tile", 1, (0.0, 0.0, 100.0, 100.0), tile),
            View("thumbnail", 1, (0.0, 0.0, 100.0, 100.0), np.array([[18, 19], [20, 21]])),
        ),
        boxes=np.full((22, 4), np.nan),
    )

    class Run:
        tokens = tuple(
            [Token(n, n, "w", "system") for n in range(5)]
            + [Token(5 + n, 9, "<image>", "visual") for n in range(22)]
            + [Token(27, 1, "?", "prompt")]
        )

    run = Run()
    run.layout = layout  # type: ignore[attr-defined]
    model = TokenListModel(lambda token: True)
    model.set_run(run)  # type: ignore[arg-type]
    chips = [e for e in model.entries if e.kind == "chip"]
    assert [(c.position, c.count) for c in chips] == [(5, 12), (17, 10)]
    assert [c.text for c in chips] == ["image 1: 3×4", "image 2: 2×2 + 2×2"]
    assert model.index_of(20).data(TokenRole.ENTRY) is chips[1]


# ------------------------------------------------------------------------------- size
def test_a_thousand_words_can_be_walked_and_searched(qtbot: QtBot, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=1, heads=1, rows=4, cols=4, queries=1200)
    panel, workspace = shown(qtbot, run)
    strip = panel.answer
    assert strip.tokens.rowCount() > 1100
    qtbot.keyClick(strip, Key.Key_End)
    settle()
    box = strip.visualRect(strip.currentIndex())
    top = strip.mapTo(panel.scroller.viewport(), box.topLeft()).y()
    assert top >= 0 and top + box.height() <= panel.scroller.viewport().height()
    last = workspace.selection.position
    panel.search.open("square")
    settle()
    assert workspace.selection.position != last
    assert " of " in panel.search.bar.count.text()


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel, _ = shown(qtbot)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")
    assert panel.header.minimumSizeHint().width() < 640


def test_keys_of_the_window_search_and_other_letters_too(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    answers: tuple[Recording, ...],
) -> None:
    workspace, transcript = window.workspace, window.transcript
    workspace.add_run(answers[0])
    settle()
    bar = transcript.search.bar
    reds = [t.position for t in answers[0].tokens if t.text.strip() == "red"]
    transcript.answer.setFocus()
    for opener in (Key.Key_Slash, Key.Key_F):
        modifier = QtCore.Qt.KeyboardModifier.ControlModifier
        modifier = modifier if opener == Key.Key_F else QtCore.Qt.KeyboardModifier.NoModifier
        qtbot.keyClick(window, opener, modifier)
        assert bar.isVisible() and bar.field.hasFocus()
        # R, S and A are typed here, not run, boxed, averaged; Esc closes, it does not stop.
        boxed = workspace.view.current.sinks_boxed
        qtbot.keyClicks(bar.field, "red")
        assert bar.field.text() == "red" and window.controller.state == "idle"
        assert workspace.view.current.sinks_boxed == boxed
        first = workspace.selection.position
        assert first in reds
        qtbot.keyClick(window, Key.Key_F3)
        assert workspace.selection.position in reds and workspace.selection.position != first
        qtbot.keyClick(bar.field, Key.Key_Escape)
        assert not bar.isVisible() and transcript.answer.hasFocus()
    qtbot.keyClick(transcript.answer, "m")
    assert bar.isVisible() and bar.field.text() == "m"
    qtbot.keyClick(bar.field, Key.Key_Escape)
