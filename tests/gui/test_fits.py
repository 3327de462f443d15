"""What has little room says less, in whole words and whole lines."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6 import QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle
from var_studio.analysis.token_map import merged_boxes
from var_studio.gui.widgets.heat_scene import scenes_of
from var_studio.gui.widgets.ledger_view import LedgerView, Line
from var_studio.gui.widgets.short_combo import ShortCombo
from var_studio.gui.widgets.ticks import number_text
from var_studio.recording.layout import View, VisualLayout


def test_a_narrow_choice_says_its_short_text_and_no_half_a_word(qtbot: QtBot) -> None:
    box = ShortCombo()
    box.addItems(["Local", "Run with VAR"])
    box.set_short(1, "VAR")
    box.setCurrentIndex(1)
    qtbot.addWidget(box)
    box.show()
    box.resize(box.sizeHint())
    assert box.shown_text() == "Run with VAR"
    assert box.minimumSizeHint().width() < box.sizeHint().width()
    box.resize(box.minimumSizeHint())
    assert box.shown_text() == "VAR"


@pytest.mark.parametrize("height", range(60, 150, 7))
def test_a_low_table_shows_whole_lines_and_its_total(qtbot: QtBot, height: int) -> None:
    view = LedgerView()
    area = view.scrolled()
    qtbot.addWidget(area)
    area.resize(300, height)
    area.show()
    lines = [Line(f"account {n}", 0.1, 0.1) for n in range(6)]
    view.set_lines([*lines, Line("Sum", 1.0, 1.0, total=True)])
    settle()
    area.resize(300, height + 1)
    settle()
    seen, heading = area.viewport().height(), view.fontMetrics().height() + 3
    if seen < view.height():
        assert (seen - heading) % view.row_height() == 0
    # The last line seen is the total: its rule is drawn above it, and above nothing else.
    assert view.seen_bottom() == min(seen, view.height())
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum() // 2)
    settle()
    total = view.grab().toImage()
    step = min((view.height() - heading) / 7, view.fontMetrics().height() * 2.0)
    rule = round(min(view.height() - 0.0, view.seen_bottom()) - step) if seen < view.height() else 0
    if rule:
        ground = QtGui.QColor(view.palette().window().color())
        row = {total.pixelColor(x, y).name() for x in range(3, 200) for y in (rule, rule - 1)}
        assert row - {ground.name()}, "no rule above the total"


def test_boxes_that_touch_become_one() -> None:
    strips = [(86, 0, 90, 62), (86, 62, 90, 65), (86, 65, 90, 90), (0, 86, 86, 90)]
    found = merged_boxes(strips)
    assert len(found) == 2
    canvas, merged = np.zeros((2, 100, 100), dtype=int)
    for left, top, right, bottom in strips:
        canvas[top:bottom, left:right] = 1
    for left, top, right, bottom in found:
        merged[int(top) : int(bottom), int(left) : int(right)] += 1
    assert np.array_equal(canvas, merged), "the same pixels, each once"
    assert merged_boxes([]) == []


def test_columns_keep_zeros_at_the_end() -> None:
    assert number_text(0.085, zeros=True) == "0.0850"
    assert number_text(0.085) == "0.085"


def test_a_part_that_only_another_view_sees_is_told_from_one_never_seen() -> None:
    whole = View("thumbnail", 0, (0.0, 0.0, 90.0, 100.0), np.arange(4).reshape(2, 2))
    tile = View("tile", 0, (0.0, 20.0, 90.0, 100.0), 4 + np.arange(4).reshape(2, 2))
    layout = VisualLayout(
        image_sizes=((100, 100),),
        positions=np.arange(8, dtype=np.int64),
        views=(whole, tile),
        boxes=np.zeros((8, 4)),
        unseen=(((90.0, 0.0, 100.0, 100.0),),),
    )
    first, second = scenes_of(layout, [None])
    assert first.bare_at(50, 10) == "" and first.bare_at(95, 10) == "unseen"
    assert second.bare_at(50, 10) == "elsewhere" and second.bare_at(95, 10) == "unseen"
    assert second.bare_at(50, 50) == ""
    assert first.legend == "hatched: never seen"
    assert second.legend == "hatched: never seen, veiled: not in this view"


def test_whole_rows_leave_a_roomy_table_alone(qtbot: QtBot) -> None:
    view = LedgerView()
    area = view.scrolled()
    qtbot.addWidget(area)
    area.resize(600, 400)
    area.show()
    view.set_lines([Line("account", 0.5, 0.5), Line("Sum", 0.5, 0.5, total=True)])
    settle()
    assert area.viewport().height() == 400
    assert isinstance(area, QtWidgets.QScrollArea)
