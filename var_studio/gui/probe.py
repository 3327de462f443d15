"""Whether Qt can open a window here; run in a process of its own by `doctor.probes`."""

from __future__ import annotations

from typing import Any

from var_studio.doctor.probes import step


def probe() -> dict[str, Any]:
    """Qt's version, the platform it draws on, its screens. Aborts where the platform cannot."""
    step("PySide6")
    import PySide6
    from PySide6.QtCore import qVersion
    from PySide6.QtWidgets import QApplication

    app = QApplication(["var-studio"])
    step("pyqtgraph")
    import pyqtgraph

    screens = [f"{screen.size().width()} × {screen.size().height()}" for screen in app.screens()]
    return {
        "pyside": PySide6.__version__,
        "qt": qVersion(),
        "pyqtgraph": pyqtgraph.__version__,
        "platform": app.platformName(),
        "screens": screens,
    }
