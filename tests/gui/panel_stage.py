"""One panel on a workspace in a window of known size, with a run whose picture is cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests import synthetic
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.base import Panel
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording

SIZE = (640, 400)
"""Width and height of the picture."""
CROP = (120.0, 0.0, 520.0, 400.0)
"""The square in its middle that the model saw: 10 × 8 cells of 50 × 40 pixels (cols 8, rows 10)."""
ROWS, COLS = 10, 8


def cropped_layout(
    rows: int, cols: int, image_size: tuple[int, int] = SIZE, start: int = 0
) -> VisualLayout:
    """The middle square of the picture; the borders left and right were never seen."""
    left, top, right, bottom = CROP
    width, height = (right - left) / cols, (bottom - top) / rows
    boxes = [
        (left + c * width, top + r * height, left + (c + 1) * width, top + (r + 1) * height)
        for r in range(rows)
        for c in range(cols)
    ]
    return VisualLayout(
        image_sizes=(SIZE,),
        positions=start + np.arange(rows * cols, dtype=np.int64),
        views=(View("crop", 0, CROP, np.arange(rows * cols).reshape(rows, cols)),),
        boxes=np.array(boxes),
        unseen=(((0.0, 0.0, left, 400.0), (right, 0.0, 640.0, 400.0)),),
    )


def cropped_run(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Recording:
    """A small run in float32, so that numbers can be compared closely."""
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "make_layout", cropped_layout)
        settings: dict[str, object] = {
            "layers": 5,
            "heads": 4,
            "rows": ROWS,
            "cols": COLS,
            "queries": 16,
            "image_size": SIZE,
            "precision": "float32",
        }
        return synthetic.make_run(folder, **(settings | changes))  # type: ignore[arg-type]


def stage(
    qtbot: QtBot, panel: Panel, *runs: Recording, size: tuple[int, int] = (620, 560)
) -> Workspace:
    """Show the panel with its header above it; the first run is looked at."""
    workspace = Workspace(panel)
    window = QtWidgets.QWidget()
    column = QtWidgets.QVBoxLayout(window)
    column.addWidget(panel.header)
    column.addWidget(panel, 1)
    window.resize(*size)
    panel.set_workspace(workspace)
    qtbot.addWidget(window)
    window.show()
    panel._window = window  # type: ignore[attr-defined]  # Kept alive as long as the panel.
    for run in reversed(runs):
        workspace.add_run(run)
    if runs:
        workspace.look_at(runs[0])
    settle()
    return workspace


def settle() -> None:
    """Let timers of zero, layout and paint events happen."""
    for _ in range(4):
        QtCore.QCoreApplication.processEvents()


def pixels_of(widget: QtWidgets.QWidget) -> np.ndarray:
    """What the widget shows: (height, width, 3) uint8."""
    image = widget.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), -1)
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def on_widget(view: QtWidgets.QWidget, x: float, y: float) -> QtCore.QPointF:
    """Where a pixel of the picture is drawn: fitted and centred, worked out by hand."""
    scale = min(view.width() / SIZE[0], view.height() / SIZE[1])
    left = (view.width() - scale * SIZE[0]) / 2
    top = (view.height() - scale * SIZE[1]) / 2
    return QtCore.QPointF(left + x * scale, top + y * scale)


def middle(view: QtWidgets.QWidget, row: int, col: int) -> QtCore.QPointF:
    """The middle of a cell of `CROP`."""
    return on_widget(view, 120 + (col + 0.5) * 50, (row + 0.5) * 40)


def picked(panel: Panel) -> set[int]:
    """The cells in the selection that all panels share."""
    assert panel.workspace is not None
    return set(panel.workspace.selection.cells)


def region_tokens(panel: Panel) -> set[int]:
    """The visual tokens of the active region."""
    assert panel.workspace is not None and panel.workspace.regions.active is not None
    return set(panel.workspace.regions.active.tokens)


def mean_row(run: Recording, query: int) -> np.ndarray:
    """Attention on the visual tokens, averaged over all heads one by one."""
    row = run.attention(query)
    total = np.zeros(run.layout.count)
    for layer in range(run.n_layers):
        for head in range(run.n_heads):
            total += row[layer, head][run.layout.positions]
    return total / (run.n_layers * run.n_heads)
