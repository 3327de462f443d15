"""Both scatter plots: true points, thresholds that a real mouse drags, rectangles that select."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.charts import drag_guide
from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.widgets.chart_axes import Axis
from var_studio.gui.widgets.scatter_view import ScatterView
from var_studio.recording.recording import Recording

LEFT = QtCore.Qt.MouseButton.LeftButton
SHIFT = QtCore.Qt.KeyboardModifier.ShiftModifier
NONE = QtCore.Qt.KeyboardModifier.NoModifier


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=5, heads=4, precision="float32")


def pull(
    qtbot: QtBot,
    view: ScatterView,
    area: QtCore.QRectF,
    modifiers: QtCore.Qt.KeyboardModifier = NONE,
) -> None:
    """Pull up a rectangle from its upper left corner to its lower right."""
    qtbot.mousePress(view, LEFT, modifiers, pos=area.topLeft().toPoint())
    move_mouse(view, area.center(), buttons=True)
    move_mouse(view, area.bottomRight(), buttons=True)
    qtbot.mouseRelease(view, LEFT, modifiers, pos=area.bottomRight().toPoint())
    settle()


def pixel_colour(view: ScatterView, index: int) -> QtGui.QColor:
    across, down = view.places()
    return view.grab().toImage().pixelColor(round(across[index]), round(down[index]))


# ------------------------------------------------------------------------------------- φ × α
def test_points_lie_where_their_numbers_say(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_heads([(3, 1)])
    workspace.selection.set_layer(3)
    settle()
    view, room = panel.scatter, panel.scatter.plot_rect()
    across, down = view.places()
    row = run.attention(workspace.query, 3, 1)
    for k, position in enumerate(run.layout.positions.tolist()):
        phi = max(abs(float(v)) for v in run.signed_values[3, position])
        share = phi / run.hidden_size**0.5
        assert across[k] == pytest.approx(room.left() + share * room.width(), abs=0.01)
        decades = 6 + np.log10(max(float(row[position]), 1e-6))
        assert down[k] == pytest.approx(room.bottom() - decades / 6 * room.height(), abs=0.01)
    panel.log.click()
    settle()
    top = float(row[run.layout.positions].max()) * 1.05
    expected = view.plot_rect().bottom() - row[run.layout.positions] / top * room.height()
    np.testing.assert_allclose(view.places()[1], expected, atol=1.5)


def test_sinks_wear_their_colour_while_tau_is_dragged(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    phi = run.phi(workspace.selection.layer)[run.layout.positions]
    k = int(np.argmax(phi))
    sink, plain = QtGui.QColor("#d6336c"), QtGui.QColor("#2f7fd1")
    near = pixel_colour(panel.scatter, k)
    assert abs(near.red() - sink.red()) < 40
    before = workspace.method.tau
    high = float(phi[k]) + 0.5
    drag_guide(qtbot, panel.scatter, "tau", [1.0, 2.0, high])
    assert workspace.method.tau == pytest.approx(high, abs=0.05)
    assert "0 visual sinks" in panel.scatter.guides[0].text
    far = pixel_colour(panel.scatter, k)
    assert abs(far.blue() - plain.blue()) < 40 and abs(far.red() - plain.red()) < 60
    assert workspace.undo_stack.count() == 1
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.tau == before
    assert panel.scatter.guides[0].value == before


def test_a_rectangle_marks_the_tokens_inside_it(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    panel.text.click()
    settle()
    view = panel.scatter
    room = view.plot_rect()
    across, _ = view.places()
    area = QtCore.QRectF(
        QtCore.QPointF(view.x_of(workspace.method.tau) + 12, room.top() + 1), room.bottomRight()
    )
    pull(qtbot, view, area)
    phi = run.phi(workspace.selection.layer)[run.layout.positions]
    inside = {k for k in range(len(phi)) if across[k] >= area.left()}
    assert inside and workspace.selection.cells == inside  # text points inside are no cells
    low = float(np.sort(phi)[3])
    small = QtCore.QRectF(
        QtCore.QPointF(room.left() - 4, room.top() + 1),
        QtCore.QPointF(view.x_of(low), room.bottom()),
    )
    pull(qtbot, view, small, SHIFT)
    assert workspace.selection.cells == inside | {k for k in range(len(phi)) if phi[k] <= low}
    empty = QtCore.QPointF(room.right() - 4, room.bottom() - 4).toPoint()
    qtbot.mouseClick(view, LEFT, pos=empty)
    settle()
    assert workspace.selection.cells == frozenset()


def test_text_is_shown_when_asked_for(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    visual = len(run.layout.positions)
    assert len(panel.scatter.places()[0]) == visual
    panel.text.click()
    settle()
    seen = int(run.query_positions[workspace.query]) + 1
    assert len(panel.scatter.places()[0]) == seen
    assert "BOS" in panel.legend.text()


def test_the_point_under_the_pointer_is_named(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    across, down = panel.scatter.places()
    phi = run.phi(workspace.selection.layer)[run.layout.positions]
    k = int(np.argmax(phi))
    move_mouse(panel.scatter, QtCore.QPointF(across[k], down[k]))
    assert panel.hover.text().startswith(f"visual token {k} · row {k // 10}, column {k % 10} · φ ")
    assert "sink" in panel.hover.text()
    move_mouse(panel.scatter, panel.scatter.plot_rect().bottomRight())
    assert panel.hover.text() == ""


# -------------------------------------------------------------------------------------- heads
def test_heads_lie_at_their_ratio_and_mass(qtbot: QtBot, run: Recording) -> None:
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    room = panel.scatter.plot_rect()
    across, down = panel.scatter.places()
    row, visual = run.attention(workspace.query), run.visual
    for layer in range(5):
        sinks = run.sinks(layer)
        for head in range(4):
            mass = float(row[layer, head][visual].sum())
            ratio = float(row[layer, head][visual & ~sinks].sum()) / mass
            index = 4 * layer + head
            right, up = (ratio + 0.02) / 1.04, (mass + 0.02) / 1.04
            assert across[index] == pytest.approx(room.left() + right * room.width(), abs=0.02)
            assert down[index] == pytest.approx(room.bottom() - up * room.height(), abs=0.02)


def test_both_thresholds_can_be_dragged(qtbot: QtBot, run: Recording) -> None:
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    seen = {panel.legend.text()}
    drag_guide(qtbot, panel.scatter, "rho", [0.6, 0.3, 0.1])
    assert workspace.method.current.rho == pytest.approx(0.1, abs=0.004)
    seen.add(panel.legend.text())
    drag_guide(qtbot, panel.scatter, "mass_min", [0.5, 0.99])
    assert workspace.method.current.mass_min == pytest.approx(0.99, abs=0.006)
    seen.add(panel.legend.text())
    assert len(seen) == 3, "the thresholds must have made a difference"
    assert workspace.undo_stack.count() == 2
    workspace.undo_stack.undo()
    workspace.undo_stack.undo()
    settle()
    assert (workspace.method.current.rho, workspace.method.current.mass_min) == (0.8, 0.2)


def test_the_line_of_the_released_code_bounds_the_sinks(qtbot: QtBot, run: Recording) -> None:
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    workspace.method.set(convention="released-code", rho=0.3)
    settle()
    guide = panel.scatter.guides[0]
    assert guide.value == pytest.approx(0.7) and guide.text == "ρ = 0.3 of sinks at most"
    drag_guide(qtbot, panel.scatter, "rho", [0.5, 0.4])
    assert workspace.method.current.rho == pytest.approx(0.6, abs=0.004)


def test_a_rectangle_selects_heads(qtbot: QtBot, run: Recording) -> None:
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    view, room = panel.scatter, panel.scatter.plot_rect()
    reading = workspace.reading
    assert reading is not None
    area = QtCore.QRectF(
        QtCore.QPointF(view.x_of(0.83), room.top() - 3),
        QtCore.QPointF(room.right() + 3, view.y_of(0.25)),
    )
    pull(qtbot, view, area)
    expected = {
        (layer, head)
        for layer in range(5)
        for head in range(4)
        if reading.non_sink_ratio[layer, head] >= 0.83 and reading.visual_mass[layer, head] >= 0.25
    }
    assert 0 < len(expected) < 20 and workspace.selection.heads == expected
    across, down = view.places()
    other = next(i for i in range(20) if divmod(i, 4) not in expected)
    point = QtCore.QPointF(across[other], down[other]).toPoint()
    qtbot.mouseClick(view, LEFT, SHIFT, pos=point)
    settle()
    assert len(workspace.selection.heads - expected) == 1
    qtbot.mouseClick(view, LEFT, pos=QtCore.QPointF(view.x_of(0.02), view.y_of(0.98)).toPoint())
    settle()
    assert workspace.selection.heads == frozenset()


# -------------------------------------------------------------------------------------- chart
def test_heads_without_numbers_are_left_out(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-precision overflow makes a row of NaN: the other heads stay where they are."""
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    row = run.attention(workspace.query).copy()
    row[2, 1] = np.nan
    monkeypatch.setattr(type(run), "attention", lambda self, query, **_: row)
    workspace.replace_all([run])
    settle()
    view, room = panel.scatter, panel.scatter.plot_rect()
    assert np.isnan(view.places()[0][9])
    view.grab()
    assert 9 not in view.points_within(QtCore.QRectF(view.rect()))
    assert len(view.points_within(QtCore.QRectF(view.rect()))) == 19
    assert view.point_at(room.center()) != 9


def test_keys_move_the_guides(qtbot: QtBot, run: Recording) -> None:
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run)
    panel.scatter.setFocus()
    qtbot.keyClick(panel.scatter, QtCore.Qt.Key.Key_PageDown)
    assert workspace.method.current.rho == pytest.approx(0.79)
    settle()
    qtbot.keyClick(panel.scatter, QtCore.Qt.Key.Key_PageUp, SHIFT)
    assert workspace.method.current.rho == pytest.approx(0.791)
    settle()
    control = QtCore.Qt.KeyboardModifier.ControlModifier
    qtbot.keyClick(panel.scatter, QtCore.Qt.Key.Key_PageUp, control)
    assert workspace.method.current.mass_min == pytest.approx(0.21)


def test_guides_stay_within_the_plot(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    drag_guide(qtbot, panel.scatter, "tau", [-3.0])
    assert workspace.method.tau == 0.0
    drag_guide(qtbot, panel.scatter, "tau", [1000.0])
    assert workspace.method.tau == pytest.approx(run.hidden_size**0.5, abs=0.01)


def test_a_press_beside_a_guide_drags_nothing(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run)
    view = panel.scatter
    start = QtCore.QPointF(view.x_of(workspace.method.tau) + 20, view.plot_rect().center().y())
    qtbot.mousePress(view, LEFT, pos=start.toPoint())
    move_mouse(view, QtCore.QPointF(start.x() + 40, start.y()), buttons=True)
    qtbot.mouseRelease(view, LEFT, pos=QtCore.QPointF(start.x() + 40, start.y()).toPoint())
    settle()
    assert workspace.method.stored.tau is None


@pytest.mark.parametrize(
    ("axis", "value", "share"),
    [
        (Axis(0.0, 4.0), 1.0, 0.25),
        (Axis(-0.5, 3.5), 1.5, 0.5),
        (Axis(1e-6, 1.0, log=True), 1e-3, 0.5),
        (Axis(1e-6, 1.0, log=True), 1.0, 1.0),
    ],
)
def test_an_axis_there_and_back(axis: Axis, value: float, share: float) -> None:
    assert float(axis.shares(value)) == pytest.approx(share)
    assert axis.value(share) == pytest.approx(value)
    assert axis.value(-1.0) == pytest.approx(axis.low) and axis.value(2.0) == pytest.approx(
        axis.high
    )
    assert all(axis.low - 1e-9 <= v <= axis.high + 1e-9 for v, _ in axis.ticks(5))
