"""A person at the window: clicks and keys; and the numbers of a recording by hand, in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import settle, tab_of, wait_saved
from tests.gui.pointer import drag
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.image import ImagePanel
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

Key = QtCore.Qt.Key
LEFT = QtCore.Qt.MouseButton.LeftButton
CONTROL = QtCore.Qt.KeyboardModifier.ControlModifier
SHIFT = QtCore.Qt.KeyboardModifier.ShiftModifier
NONE = QtCore.Qt.KeyboardModifier.NoModifier
Floats = npt.NDArray[np.floating[Any]]


# ----------------------------------------------------------------------------- by hand, in NumPy
def row_of(run: Recording, position: int) -> Floats:
    """The attention row of the token at `position`, (L, H, keys)."""
    (query,) = np.flatnonzero(run.query_positions == position)
    return np.asarray(run.attention(int(query)), np.float64)


def visual_of(run: Recording) -> npt.NDArray[np.int64]:
    return np.array([t.position for t in run.tokens if t.role == "visual"])


def sinks_by_layer(run: Recording, tau: float) -> list[int]:
    """Visual sinks of each layer: φ ≥ τ."""
    visual = visual_of(run)
    return [int((run.phi(layer)[visual] >= tau).sum()) for layer in range(run.n_layers)]


def redistributed(run: Recording, position: int, settings: Redistribution) -> Floats:
    """Section 5.2 row by row: the visual part (L, H, V) after the budget went to the image, or to
    the region. The last layer is left alone (Section 6.1)."""
    row, visual = row_of(run, position), visual_of(run)
    tau, rho, mass, p = settings.tau, settings.rho, settings.mass_min, settings.p
    assert tau is not None
    region = settings.region if settings.target == "region" else range(len(visual))
    after = row.copy()
    target = [int(visual[k]) for k in sorted(region)]
    for layer in range(run.n_layers - 1):
        phi = run.phi(layer)[: row.shape[-1]]
        sinks = [j for j in range(row.shape[-1]) if phi[j] >= tau]
        to = [j for j in target if j not in sinks]
        for head in range(run.n_heads):
            alpha = row[layer, head]
            image = sum(alpha[j] for j in visual)
            good = sum(alpha[j] for j in visual if j not in sinks)
            pool = sum(alpha[j] for j in to)
            if image < mass or good / image < rho or pool == 0:
                continue
            budget = p * sum(alpha[j] for j in sinks)
            for j in sinks:
                after[layer, head, j] = (1 - p) * alpha[j]
            for j in to:
                after[layer, head, j] = alpha[j] * (1 + budget / pool)
    return after[..., visual]


# ------------------------------------------------------------------------------------- the hands
class Hands:
    """Clicks and keys on the window, as a person makes them."""

    def __init__(self, window: MainWindow, qtbot: QtBot) -> None:
        self.window, self.qtbot = window, qtbot

    def key(self, key: Key, held: QtCore.Qt.KeyboardModifier = NONE) -> None:
        """Press a key where the focus is."""
        app = QtWidgets.QApplication
        widget = app.activeModalWidget() or self.window
        self.qtbot.keyClick(app.focusWidget() or widget, key, held)
        settle(self.qtbot)

    def type(self, text: str) -> None:
        """Type where the focus is."""
        focus = QtWidgets.QApplication.focusWidget()
        assert focus is not None
        self.qtbot.keyClicks(focus, text)
        settle(self.qtbot)

    def back_to_the_window(self) -> None:
        """What a window manager does when a dialog closes."""
        self.window.activateWindow()
        self.qtbot.waitUntil(self.window.isActiveWindow)

    def tab_to(self, wanted: QtWidgets.QWidget) -> None:
        """Press Tab until the focus is there."""
        for _ in range(120):
            if wanted.hasFocus():
                return
            self.key(Key.Key_Tab)
        raise AssertionError(f"Tab never comes to {wanted.accessibleName() or wanted}")

    def command(self, letters: str) -> None:
        """Call a command by the palette."""
        self.key(Key.Key_K, CONTROL)
        self.type(letters)
        self.key(Key.Key_Return)

    def save(self, path: Path) -> None:
        """Save by the keys, where the dialog is answered with this path."""
        self.back_to_the_window()
        self.key(Key.Key_S, CONTROL)
        wait_saved(self.qtbot, self.window)
        assert path.exists()

    def click_tab(self, title: str) -> None:
        bar, index = tab_of(self.window, title)
        self.qtbot.mouseClick(bar, LEFT, pos=bar.tabRect(index).center())
        settle(self.qtbot)

    def stroke(self, widget: QtWidgets.QWidget, *points: QtCore.QPointF) -> None:
        """Press at the first point, draw through the others, let go."""
        drag(self.qtbot, widget, *points)
        settle(self.qtbot)


def image_of(window: MainWindow) -> ImagePanel:
    panel = window.area.panel("image")
    assert isinstance(panel, ImagePanel)
    return panel


def cell_middle(panel: ImagePanel, run: Recording, k: int, moment: str = "before") -> Any:
    """Where the middle of visual token k's box is drawn: the picture is fitted and centred."""
    view = panel.views[moment]
    width, height = run.layout.image_sizes[0]
    left, top, right, bottom = run.layout.boxes[k]
    scale = min(view.width() / width, view.height() / height)
    return QtCore.QPointF(
        (view.width() - scale * width) / 2 + scale * (left + right) / 2,
        (view.height() - scale * height) / 2 + scale * (top + bottom) / 2,
    )


def shown_values(qtbot: QtBot, panel: ImagePanel, moment: str) -> Floats:
    """The values of the map on screen."""
    view = panel.views[moment]
    qtbot.waitUntil(lambda: view.isVisible() and view._values is not None)
    return np.asarray(view._values)


def answer_dialogs(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The system's file dialogs give this file."""
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QtWidgets.QFileDialog, name, lambda *_, **__: (str(path), ""))
