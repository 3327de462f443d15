"""The look of the maps: several pictures and views, borders, gamma and its bar, their places."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.layouts import tiled_layout, two_pictures
from tests.gui.panel_stage import COLS, middle, on_widget, region_tokens, settle, stage
from tests.gui.pointer import drag, move_mouse
from var_studio.gui.panels.image import UNSEEN, ImagePanel
from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.gui.widgets.colour_maps import placed, to_indices
from var_studio.gui.widgets.heat_scene import scenes_of
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton
KEY = QtCore.Qt.Key


def test_views_are_switched_and_follow_what_is_picked_elsewhere(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = two_pictures()
    monkeypatch.setattr(Recording, "layout", property(lambda run: layout))
    panel = ImagePanel()
    workspace = stage(qtbot, panel)
    workspace.problem.connect(lambda _: None)  # the second picture is none of this run's
    workspace.add_run(run)
    settle()
    assert [panel.part.itemText(i) for i in range(panel.part.count())] == [
        "image 1: image · 4 tokens",
        "image 2: tile · 9 tokens",
        "image 2: thumbnail · 4 tokens",
    ]
    view = panel.views["before"]
    qtbot.keyClick(view, KEY.Key_PageDown)
    assert panel.part.currentIndex() == 1
    # The whole of the second picture: tile and thumbnail alike.
    workspace.view.set(tool="rectangle")
    settle()
    drag(qtbot, view, QtCore.QPointF(2, 2), QtCore.QPointF(view.width() - 2, view.height() - 2))
    assert region_tokens(panel) == set(range(6, 19))
    workspace.selection.select_cells({16})
    settle()
    assert panel.part.currentIndex() == 2
    workspace.selection.select_cells({2})
    settle()
    assert panel.part.currentIndex() == 2, "a newline lies in no view"
    assert "no patch: newline or separator" in panel.hover.text()


def test_the_hatched_border_says_why(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    stage(qtbot, panel, run)
    view = panel.views["before"]
    move_mouse(view, on_widget(view, 60.0, 200.0))
    assert panel.hover.text() == UNSEEN
    move_mouse(view, middle(view, 2, 2))
    assert panel.hover.text().startswith(f"visual token {2 * COLS + 2} ")


def test_the_border_of_a_set_of_cells() -> None:
    _, tiles = scenes_of(tiled_layout(), [None])
    border = tiles.border((4, 5))
    found = [(line.x1(), line.y1(), line.x2(), line.y2()) for line in border]
    third, two = 200 / 3, 400 / 3
    expected = [
        *((0, 0, third, 0), (third, 0, two, 0)),
        *((0, third, third, third), (third, third, two, third)),
        *((0, 0, 0, third), (two, 0, two, third)),
    ]
    lines = [sorted(lines) for lines in (found, expected)]
    np.testing.assert_allclose(*lines, atol=1e-6)
    assert not tiles.border(()) and not tiles.border((0, 1)), "those lie in the thumbnail"


def test_gamma_bends_the_colours_from_zero_on() -> None:
    values = np.array([0.0, 0.25, 1.0, 4.0, np.nan], dtype=np.float32)
    np.testing.assert_allclose(placed(values, 0.0, 1.0, 0.5)[:4], [0.0, 0.5, 1.0, 1.0])
    signed = np.array([-1.0, -0.25, 0.0, 0.25], dtype=np.float32)
    np.testing.assert_allclose(placed(signed, -1.0, 1.0, 0.5), [0.0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(placed(signed, -1.0, 1.0, 1.0), [0.0, 0.375, 0.5, 0.625])
    assert to_indices(values, 0.0, 1.0, 0.5).tolist() == [1, 128, 255, 255, 0]


def test_gamma_reaches_map_and_bar(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.controls.gamma.slider.setValue(-20)
    assert workspace.view.current.gamma == pytest.approx(0.2)
    assert panel.views["before"]._scale.gamma == panel.bar._gamma == pytest.approx(0.2)
    assert "gamma 0.2" in panel.bar.toolTip()
    qtbot.mouseClick(panel.controls.gamma.reset, LEFT)
    assert workspace.view.current.gamma == 1.0 and panel.controls.gamma.slider.value() == 0


def test_the_bars_numbers_stand_at_their_colours(qtbot: QtBot) -> None:
    """With gamma 0.5 the value 0.25 of 1 has the colour of the middle, and stands there."""
    bar = ColourBar()
    qtbot.addWidget(bar)
    bar.resize(500, bar.sizeHint().height())
    ticks: dict[float, np.ndarray] = {}
    for gamma in (1.0, 0.5):
        bar.set_scale(0.0, 1.0, "gray", "x", gamma=gamma)
        image = bar.grab().toImage()
        # Just below the bar, where the ticks are: each a pixel or two wide.
        row = np.array([image.pixelColor(x, 12).lightness() for x in range(image.width())])
        marked = np.flatnonzero(np.abs(row - np.bincount(row).argmax()) > 15)
        groups = np.split(marked, np.flatnonzero(np.diff(marked) > 2) + 1)
        places = np.array([group.mean() for group in groups])
        ticks[gamma] = (places - places[0]) / (places[-1] - places[0])
    assert len(ticks[1.0]) >= 4
    np.testing.assert_allclose(ticks[0.5], np.sqrt(ticks[1.0]), atol=0.01)


def test_same_values_are_not_coloured_again(qtbot: QtBot, run: Recording) -> None:
    """Dragging the opacity only repaints."""
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    view = panel.views["before"]
    before = view._maps
    assert before is not None
    workspace.view.set(opacity=0.2)
    settle()
    assert view._maps is before and view._opacity == 0.2
    workspace.view.set(hide_sinks=True)
    settle()
    assert view._maps is not before


@pytest.mark.parametrize(
    ("size", "columns"), [((1300, 460), 3), ((420, 560), 2), ((330, 1100), 1), ((700, 500), 2)]
)
def test_three_maps_stand_where_the_picture_is_largest(
    qtbot: QtBot, run: Recording, size: tuple[int, int], columns: int
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, size=size)
    workspace.view.set(shown="all")
    settle()
    boxes = [view.geometry() for view in panel.views.values()]
    assert len({box.left() for box in boxes}) == columns == panel.grid.columns()
    assert len({box.width() for box in boxes}) <= 2 and boxes[0].size() == boxes[1].size()
    boxes += [panel.bar.geometry(), panel.difference_bar.geometry()]
    whole = panel.grid.rect()
    for index, box in enumerate(boxes):
        assert whole.contains(box)
        assert not any(box.intersects(other) for other in boxes[:index])
