"""The Transcript panel: answers under each other, search, turns, images."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.answers import PART, answered
from tests.gui.fixtures import click_word, words
from tests.gui.panel_stage import settle
from tests.gui.transcript_stage import shown
from tests.synthetic import make_layout, make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.token_list import TokenListModel, TokenRole, matches
from var_studio.gui.widgets.token_strip import TokenStrip
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import Token

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
Key = QtCore.Qt.Key


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch, layers=3, heads=3, queries=40)


def boxes(strip: TokenStrip) -> list[QtCore.QRect]:
    """Where each entry stands, in the panel's paragraphs."""
    origin = strip.mapTo(strip.window(), QtCore.QPoint(0, 0))
    return [
        strip.visualRect(strip.tokens.index(n)).translated(origin)
        for n in range(strip.tokens.rowCount())
    ]


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
    with qtbot.assertNotEmitted(panel.note):
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


def test_typing_selects_the_first_word_found_and_enter_the_next(
    qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    baseline, second, _ = answers
    panel, workspace = shown(qtbot, baseline, second)
    bar = panel.search.bar
    panel.answer.setFocus()
    click_word(qtbot, panel.answer, 0)
    panel.search.open()  # as / and Ctrl+F do
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
    window: MainWindow, qtbot: QtBot, answers: tuple[Recording, ...]
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
    # Letters are keys of the window, also while a word has the focus: none of them searches, so
    # that "red" never begins with a run. Another letter says how to search.
    qtbot.keyClick(transcript.answer, "m")
    assert not bar.isVisible()
    assert window.status.activity.text() == "To search the words press / and type"
    boxed = workspace.view.current.sinks_boxed
    qtbot.keyClick(transcript.answer, "s")
    assert workspace.view.current.sinks_boxed != boxed and not bar.isVisible()


def test_a_click_on_the_image_goes_to_its_map(
    window: MainWindow, qtbot: QtBot, answers: tuple[Recording, ...]
) -> None:
    window.workspace.add_run(answers[0])
    settle()
    position = window.workspace.selection.position
    question = window.transcript.question
    kinds = [entry.kind for entry in question.tokens.entries]
    click_word(qtbot, question, kinds.index("chip"))
    assert window.workspace.selection.position == position
    assert window.area.panel("image").views["before"].hasFocus()  # type: ignore[attr-defined]
    # A token before the image has no row: the status line says why.
    before = next(e for e in question.tokens.entries if e.token and e.position < 5)
    assert before.position not in question.tokens.selectable
    click_word(qtbot, question, question.tokens.entries.index(before))
    assert window.workspace.selection.position == position
    assert "no attention row is kept" in window.status.activity.text().lower()


@pytest.mark.parametrize(
    ("total", "mean", "said"),
    [
        (-1.07e-6, -1.8e-7, "by −1.1·10⁻⁶, −1.8·10⁻⁷ a token"),
        (0.3124, 0.0521, "by +0.312, +0.0521 a token"),
        (0.0, 0.0, "by 0, 0 a token"),
    ],
)
def test_scores_are_written_as_people_read_them(
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    total: float,
    mean: float,
    said: str,
) -> None:
    scores = SimpleNamespace(total_change=total, mean_change=mean)
    monkeypatch.setattr("var_studio.analysis.scores.score", lambda *_: scores)
    baseline = make_run(tmp_path / "baseline", queries=16)
    acts = Redistribution(tau=5.0)
    forced = make_run(tmp_path / "forced", queries=16, intervention=acts, teacher=baseline.id)
    panel, workspace = shown(qtbot, baseline, forced)
    workspace.look_at(forced)
    settle()
    assert said in panel.parting.text()
