"""A panel as pixels."""

from __future__ import annotations

import numpy as np
from PySide6 import QtGui

from tests.gui.panel_stage import settle
from var_studio.gui.panels.base import Panel


def pixels_of(panel: Panel) -> np.ndarray:
    """The panel without its header, and without a focus: (height, width, 3) uint8."""
    focus = panel.window().focusWidget()
    if focus is not None:
        focus.clearFocus()
    settle()
    image = panel.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), -1)
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
