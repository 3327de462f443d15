"""A click or a step of a drag paints each panel that it concerns once, and no other."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6 import QtCore, QtTest, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.widgets.atlas_view import AtlasView
from var_studio.gui.widgets.heat_view import HeatView
from var_studio.gui.widgets.histogram_view import HistogramView

pytestmark = IGNORE_QT


class Paints(QtCore.QObject):
    """Counts the paint events of the parts that cost something."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.Paint and isinstance(watched, QtWidgets.QWidget):
            for kind in (AtlasView, HeatView, HistogramView):
                if isinstance(watched, kind) or (
                    isinstance(watched.parentWidget(), kind)
                    and watched is watched.parentWidget().viewport()
                ):
                    self.counts[kind.__name__] += 1
        return False

    def of(self, change: Callable[[], object]) -> dict[str, int]:
        """How often each was painted because of a change."""
        self._wait()
        self.counts.clear()
        change()
        self._wait()
        return dict(self.counts)

    def _wait(self) -> None:
        """Until nothing is painted any more: on a slow machine paints come late."""
        for _ in range(50):
            before = dict(self.counts)
            QtTest.QTest.qWait(120)
            if dict(self.counts) == before:
                return


@pytest.fixture
def paints(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> Iterator[Paints]:
    window.workspace.add_run(make_run(tmp_path / "run"))
    window.resize(1400, 900)
    window.show()
    qtbot.waitExposed(window)
    qtbot.waitUntil(lambda: window.area.panel("phi_histogram").histogram is not None)
    found = Paints()
    app = QtWidgets.QApplication.instance()
    assert app is not None
    app.installEventFilter(found)
    yield found
    app.removeEventFilter(found)
    window.workspace.modified = False


def test_each_visible_panel_is_painted_once(paints: Paints, window: MainWindow) -> None:
    workspace = window.workspace
    atlas = window.area.panel("heads").atlas  # type: ignore[attr-defined]

    def click(layer: int, head: int) -> None:
        left, at = QtCore.Qt.MouseButton.LeftButton, atlas.cell_rect(layer, head).center()
        QtTest.QTest.mouseClick(atlas, left, pos=at.toPoint())

    click(1, 1)
    all_three = {"AtlasView": 1, "HeatView": 1, "HistogramView": 1}
    without_phi = {"AtlasView": 1, "HeatView": 1}
    selection, positions = workspace.selection, workspace.selection.positions
    assert paints.of(lambda: selection.select_token(positions[14])) == without_phi
    assert paints.of(lambda: click(3, 4)) == all_three
    assert paints.of(lambda: click(3, 2)) == without_phi
    assert paints.of(lambda: workspace.method.set(drag=True, tau=3.0)) == all_three
    assert paints.of(lambda: workspace.method.set(drag=True, p=0.2)) == {"HeatView": 1}
    assert paints.of(lambda: workspace.view.set(opacity=0.4)) == {"HeatView": 1}
    # Many changes in one turn of the event loop are one.
    assert paints.of(lambda: [selection.step_token(1) for _ in range(5)]) == without_phi
    assert paints.of(lambda: None) == {}
