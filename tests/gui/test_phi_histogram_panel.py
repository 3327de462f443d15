"""The φ histogram: true counts, and τ as a line that a real mouse can drag."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse, turn_wheel
from tests.synthetic import make_run
from var_studio.gui import theme
from var_studio.gui.appearance import Appearance
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.recording.recording import Recording

LEFT = QtCore.Qt.MouseButton.LeftButton


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=5, heads=4, precision="float32")


def drag(qtbot: QtBot, panel: PhiHistogramPanel, taus: list[float]) -> None:
    """Press on the line, move it through places for `taus`, let it go."""
    view = panel.histogram
    middle = view.plot_rect().center().y()
    start = QtCore.QPointF(view.x_of(view.tau), middle)
    qtbot.mousePress(view.viewport(), LEFT, pos=start.toPoint())
    for tau in taus:
        move_mouse(view.viewport(), QtCore.QPointF(view.x_of(tau), middle), buttons=True)
        settle()
    end = QtCore.QPointF(view.x_of(taus[-1]), middle)
    qtbot.mouseRelease(view.viewport(), LEFT, pos=end.toPoint())
    settle()


def pixel(panel: PhiHistogramPanel) -> float:
    """φ of one pixel, the finest that a mouse can tell, and half a step of τ's two decimals."""
    view = panel.histogram
    return view.phi_at(201.0) - view.phi_at(200.0) + 0.006


def sinks_at(run: Recording, layer: int, tau: float) -> tuple[int, int]:
    """Visual and text sinks of a layer, counted one token at a time."""
    visual = text = 0
    for position, phi in enumerate(run.phi(layer)):
        if phi >= tau:
            visual += bool(run.visual[position])
            text += not run.visual[position]
    return visual, text


def test_a_drag_is_one_step_of_undo(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    before = workspace.method.tau
    drag(qtbot, panel, [3.0, 2.0, 1.0, 1.5])
    assert workspace.method.tau == pytest.approx(1.5, abs=pixel(panel))
    assert panel.histogram.tau == workspace.method.tau
    assert workspace.undo_stack.count() == 1
    drag(qtbot, panel, [2.5, 3.5])
    assert workspace.undo_stack.count() == 2
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.tau == pytest.approx(1.5, abs=pixel(panel))
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.tau == before
    assert panel.histogram.tau == before


def test_everything_follows_while_dragging(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view, layer = panel.histogram, workspace.selection.layer
    middle = view.plot_rect().center().y()
    qtbot.mousePress(
        view.viewport(), LEFT, pos=QtCore.QPointF(view.x_of(view.tau), middle).toPoint()
    )
    seen = set()
    for tau in (8.0, 1.0, 0.2):
        move_mouse(view.viewport(), QtCore.QPointF(view.x_of(tau), middle), buttons=True)
        settle()
        visual, text = sinks_at(run, layer, workspace.method.tau)
        first = int(run.phi(layer)[0] >= workspace.method.tau)
        named = ((visual, "visual"), (text - first, "text"), (first, "BOS"))
        words = ", ".join(f"{n} {kind}" for n, kind in named if n) or "none"
        assert panel.histogram._caption.endswith(f"sinks: {words}")
        seen.add((visual, text))
    qtbot.mouseRelease(view.viewport(), LEFT)
    assert len(seen) == 3, "τ must have made a difference"


def test_a_press_beside_the_line_changes_nothing(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view, before = panel.histogram, workspace.method.tau
    middle = view.plot_rect().center().y()
    point = QtCore.QPointF(view.x_of(before) + 30, middle)
    qtbot.mousePress(view.viewport(), LEFT, pos=point.toPoint())
    move_mouse(view.viewport(), QtCore.QPointF(view.x_of(1.0), middle), buttons=True)
    qtbot.mouseRelease(view.viewport(), LEFT)
    settle()
    assert workspace.method.tau == before
    assert workspace.undo_stack.count() == 0


def test_tau_cannot_leave_the_range_of_phi(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view = panel.histogram
    middle = view.plot_rect().center().y()
    for beyond, expected in ((-500.0, 0.0), (5000.0, math.sqrt(run.hidden_size))):
        start = QtCore.QPointF(min(view.x_of(view.tau), view.plot_rect().right()), middle)
        qtbot.mousePress(view.viewport(), LEFT, pos=start.toPoint())
        move_mouse(view.viewport(), QtCore.QPointF(beyond, middle), buttons=True)
        settle()
        end = QtCore.QPointF(beyond, middle).toPoint()
        qtbot.mouseRelease(view.viewport(), LEFT, pos=end)
        settle()
        assert workspace.method.tau == pytest.approx(expected, abs=0.01)


def test_counts_and_bound_are_those_of_the_layer(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    totals = []
    for layer in (1, 4):
        workspace.selection.set_layer(layer)
        settle()
        counts = panel.histogram._counts
        assert counts is not None
        phi = run.phi(layer)
        known = np.isfinite(phi)
        others = known & ~run.visual
        others[0] = False
        assert counts.visual.sum() == (known & run.visual).sum()
        assert counts.text.sum() == others.sum()
        assert counts.bos.sum() == 1
        edges = counts.edges
        bos = int(np.flatnonzero(counts.bos)[0])
        assert edges[bos] <= phi[0] <= edges[bos + 1]
        totals.append(counts.visual.tolist())
        assert panel.layer.value() == layer
    assert totals[0] != totals[1], "layers differ"
    assert panel.histogram._bound == pytest.approx(math.sqrt(run.hidden_size))


def test_the_layer_box_moves_the_selection(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    panel.layer.setValue(4)
    assert workspace.selection.layer == 4


def test_keys_move_tau(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    before, bound = workspace.method.tau, math.sqrt(run.hidden_size)
    qtbot.keyClick(panel.histogram, QtCore.Qt.Key.Key_PageUp)
    settle()
    assert workspace.method.tau == pytest.approx(before + bound / 100, abs=0.006)
    assert workspace.undo_stack.count() == 1


def test_hover_reads_a_bar(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace: Workspace = stage(qtbot, panel, run)
    counts = panel.histogram._counts
    assert counts is not None
    fullest = int(np.argmax(counts.visual))
    middle = float(counts.edges[fullest : fullest + 2].mean())
    plot = panel.histogram.plot_rect()
    point = QtCore.QPointF(panel.histogram.x_of(middle), plot.bottom() - 3)
    move_mouse(panel.histogram.viewport(), point)
    phi = run.phi(workspace.selection.layer)[run.visual]
    low, high = counts.edges[fullest : fullest + 2]
    number = int(((phi >= low) & (phi < high)).sum())
    assert f"{number} visual" in panel.hover.text()


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel = PhiHistogramPanel()
    stage(qtbot, panel)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")


NOT_YET = """
import sys
from PySide6 import QtWidgets
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
app = QtWidgets.QApplication([])
panel = PhiHistogramPanel()
panel.show()
app.processEvents()
assert panel.histogram is None
print("pyqtgraph" in sys.modules)
"""


def test_the_plotting_library_waits_for_something_to_plot() -> None:
    done = subprocess.run([sys.executable, "-c", NOT_YET], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


def test_wheel_and_other_buttons_leave_the_view_alone(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view = panel.histogram
    tau, ends = workspace.method.tau, (view.x_of(0.0), view.x_of(3.0))
    place = view.plot_rect().center()
    turn_wheel(view.viewport(), 240, place)
    for button in (QtCore.Qt.MouseButton.RightButton, QtCore.Qt.MouseButton.MiddleButton):
        qtbot.mouseClick(view.viewport(), button, pos=place.toPoint())
    qtbot.mouseDClick(view.viewport(), LEFT, pos=place.toPoint())
    settle()
    assert QtWidgets.QApplication.activePopupWidget() is None
    assert (view.x_of(0.0), view.x_of(3.0)) == ends
    assert workspace.method.tau == tau


def test_a_drag_works_in_every_layer(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    for layer, tau in ((1, 2.0), (4, 6.0)):
        workspace.selection.set_layer(layer)
        settle()
        drag(qtbot, panel, [4.0, tau])
        assert workspace.method.tau == pytest.approx(tau, abs=pixel(panel))


@pytest.mark.parametrize("size", [(1092, 110), (420, 150), (700, 400)])
def test_nothing_is_cut_off(qtbot: QtBot, run: Recording, size: tuple[int, int]) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    panel.window().resize(*size)
    view = panel.histogram
    for tau in (0.0, 5.0, math.sqrt(run.hidden_size)):
        workspace.method.set(tau=tau)
        settle()
        label, plot = view._label, view.plot_rect()
        said = label.mapRectToScene(label.boundingRect())
        assert plot.adjusted(-1, -1, 1, 1).contains(said)
        counts = view._counts
        assert counts is not None
        highest = view._bars.mapRectToScene(view._bars.boundingRect()).top()
        assert said.bottom() <= highest + 1, "what the line says lies on no bar"
        assert plot.height() > 0.4 * view.height()
        widget = QtCore.QRectF(view.rect())
        assert widget.contains(QtCore.QPointF(view.x_of(tau), plot.center().y()))


@pytest.fixture
def appearance(qapp: QtWidgets.QApplication) -> Iterator[Appearance]:
    """The theme, as the menu switches it; what other tests need is restored."""
    palette, sheet = qapp.palette(), qapp.styleSheet()
    switch = Appearance()
    yield switch
    qapp.setPalette(palette)
    qapp.setStyleSheet(sheet)


def test_a_new_theme_is_worn_at_once(qtbot: QtBot, run: Recording, appearance: Appearance) -> None:
    panel = PhiHistogramPanel()
    stage(qtbot, panel, run)
    for scheme, colours in (("dark", theme.DARK), ("light", theme.LIGHT), ("dark", theme.DARK)):
        appearance.choose(scheme)
        settle()
        image = panel.histogram.grab().toImage()
        found = {
            image.pixelColor(x, y).name()
            for x in range(image.width())
            for y in range(0, image.height(), 3)
        }
        assert {colours.window, colours.visual, colours.text, colours.sink} <= found
        assert colours.visual in panel.legend.text()
