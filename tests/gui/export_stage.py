"""The dialog for a figure of the map on screen."""

from __future__ import annotations

from pathlib import Path

from var_studio.gui.export import ExportDialog
from var_studio.gui.main_window import MainWindow


def asked(window: MainWindow) -> ExportDialog:
    """The dialog for a map, also where one was open before."""
    window.export_panel(window.area.panel("image"))
    return next(d for d in window.findChildren(ExportDialog) if d.isVisible())


def asked_for(window: MainWindow, file: Path, *formats: str) -> ExportDialog:
    """The dialog, set to this file in these formats alone."""
    dialog = asked(window)
    for suffix, box in dialog.formats.items():
        box.setChecked(suffix in formats)
    dialog.file.setText(str(file))
    return dialog
