"""A panel as pixels."""

from __future__ import annotations

import numpy as np

from tests.gui.panel_stage import pixels_of, settle
from var_studio.gui.panels.base import Panel


def unfocused(panel: Panel) -> np.ndarray:
    """The panel without its header, and without a focus: (height, width, 3) uint8."""
    focus = panel.window().focusWidget()
    if focus is not None:
        focus.clearFocus()
    settle()
    return pixels_of(panel)
