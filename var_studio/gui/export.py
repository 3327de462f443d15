"""Exporting a figure: which one, which formats, with its numbers beside it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import Qt
from PySide6.QtGui import QCursor, QGuiApplication, QIcon
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.figures.names import BY_KEY, FIGURE_NAMES
from var_studio.gui import memory
from var_studio.gui.models.answers import scored
from var_studio.gui.models.problems import as_known
from var_studio.gui.widgets.wheel_guard import WheelGuard

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.figures.export import Drawn
    from var_studio.figures.spec import Width
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.models.workspace import Workspace
    from var_studio.gui.panels.image import ImagePanel
    from var_studio.recording.recording import Recording

FIGURES = tuple((name.key, name.title) for name in FIGURE_NAMES)
_TOKENS = (
    ("", "The figure's own choice"),
    ("answer", "All of the answer"),
    ("one", "The one chosen in Transcript"),
)
_WIDTHS = (("column", "One column"), ("two-columns", "Two columns"), ("slide", "Slide"))
_FORMATS = (("pdf", "PDF", True), ("png", "PNG", True), ("svg", "SVG", False))


class ExportDialog(QDialog):
    """Choices for an export. `paths()` are the figures' files, one for each format."""

    def __init__(self, figure: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export figure")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.figure = _combo(FIGURES, figure, "Figure")
        self.words = _combo(_TOKENS, "", "Words")
        self.width_of = _combo(_WIDTHS, "two-columns", "Width")
        self.formats = {}
        formats = QHBoxLayout()
        formats.setSpacing(16)
        for suffix, name, on in _FORMATS:
            box = QCheckBox(name)
            box.setChecked(on)
            box.toggled.connect(self._check)
            formats.addWidget(box)
            self.formats[suffix] = box
        formats.addStretch(1)
        self.dpi = QSpinBox()
        self.dpi.setRange(72, 1200)
        self.dpi.setValue(300)
        self.dpi.setSuffix(" dpi")
        self.with_data = QCheckBox(
            "Its numbers (NPZ, CSV), settings (JSON) and script (Python) beside it"
        )
        self.with_data.setChecked(True)
        self.file = QLineEdit(str(Path(memory.last_folder("figure")) / figure))
        self.file.setMinimumWidth(360)
        self.file.setAccessibleName("File, without ending")
        self.file.textChanged.connect(self._check)
        self.figure.activated.connect(self._name_after_figure)
        self.figure.currentIndexChanged.connect(self._words_of_figure)
        self._words_of_figure()
        choose = QPushButton("Choose…")
        choose.clicked.connect(self._choose)
        file = QHBoxLayout()
        file.addWidget(self.file, 1)
        file.addWidget(choose)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.addRow("Figure", self.figure)
        form.addRow("Words", self.words)
        form.addRow("Width", self.width_of)
        form.addRow("Formats", formats)
        form.addRow("PNG at", self.dpi)
        form.addRow("", self.with_data)
        form.addRow("File", file)
        note = QLabel("Drawn in light colours for print, whatever the window's theme.")
        note.setObjectName("quiet")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.export_button = self.buttons.addButton(
            "Export", QDialogButtonBox.ButtonRole.AcceptRole
        )
        for button in self.buttons.buttons():
            button.setIcon(QIcon())
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(14)
        column.addLayout(form)
        column.addWidget(note)
        column.addWidget(self.buttons)
        WheelGuard(self).watch(self)

    def paths(self) -> list[Path]:
        """The files of the chosen formats."""
        base = Path(os.path.expanduser(self.file.text()))  # leaves "~nobody" as it is
        if not base.name:
            return []  # a folder's path so far: its file is still to be typed
        if base.suffix.lower().lstrip(".") in self.formats:
            base = base.with_suffix("")
        return [
            base.with_name(f"{base.name}.{suffix}")
            for suffix, box in self.formats.items()
            if box.isChecked()
        ]

    def _check(self) -> None:
        self.export_button.setEnabled(bool(self.file.text().strip() and self.paths()))

    def _name_after_figure(self) -> None:
        old = Path(self.file.text())
        if old.name in {name for name, _ in FIGURES}:
            self.file.setText(str(old.with_name(self.figure.currentData())))

    def _words_of_figure(self) -> None:
        """Only some figures show several words."""
        self.words.setEnabled(BY_KEY[self.figure.currentData()].many)

    def _choose(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Export figure", self.file.text())
        if path:
            self.file.setText(path)


def ask_export(window: MainWindow, workspace: Workspace, figure: str) -> ExportDialog | None:
    """Open the dialog for one figure of what is on screen; None, with a notice, if nothing is."""
    if workspace.reading is None:
        window.show_problem(
            VarStudioError(
                "There is nothing to export yet.", "Ask a question, then click one of its words."
            )
        )
        return None
    dialog = ExportDialog(figure, window)
    dialog.accepted.connect(lambda: export_now(window, workspace, dialog))
    dialog.open()
    return dialog


def export_now(window: MainWindow, workspace: Workspace, dialog: ExportDialog) -> list[Path]:
    """Write the files of the dialog's choices; tell the window. Returns what was written."""
    reading = workspace.reading
    if reading is None:
        return []
    written: list[Path] = []
    QGuiApplication.setOverrideCursor(QCursor(Qt.CursorShape.WaitCursor))
    try:
        # matplotlib is imported here, at the first export: about a second.
        from var_studio.figures.export import draw, export

        name, width = dialog.figure.currentData(), dialog.width_of.currentData()
        if name == "map":
            image = cast("ImagePanel", window.area.panel("image"))
            options, other = image.map_options(reading), _compared(workspace, reading)
            drawn = draw(name, reading, width=width, options=options, compare_with=other)
        elif name == "answers":
            drawn = _answers(workspace, width)
        else:
            drawn = _composed(window, workspace, reading, dialog)
        for number, path in enumerate(dialog.paths()):
            # The numbers are the same for each format: they are written once.
            with_data = dialog.with_data.isChecked() and number == 0
            written += export(drawn, path, dialog.dpi.value(), with_data)
    except Exception as error:
        window.show_problem(as_known(error))
        return written
    finally:
        QGuiApplication.restoreOverrideCursor()
    memory.remember_folder("figure", written[0])
    names = ", ".join(path.name for path in written)
    window.notices.show_notice("note", f"Exported {names}", f"to {written[0].parent}.")
    return written


def _composed(
    window: MainWindow, workspace: Workspace, reading: Reading, dialog: ExportDialog
) -> Drawn:
    """A figure of the reading on screen, with what more it asks for."""
    from var_studio.figures.export import draw

    name = BY_KEY[dialog.figure.currentData()]
    asked: dict[str, Any] = {}
    if name.pictures:
        options = cast("ImagePanel", window.area.panel("image")).map_options(reading)
        # Made for the one map on screen, these limits are none for others.
        if options is not None:
            asked["options"] = replace(options, limits=None, difference_limits=None, scale_name="")
    if name.many and dialog.words.currentData():
        whole = dialog.words.currentData() == "answer"
        asked["tokens"] = "answer" if whole else [reading.position]
    if name.runs:
        asked["others"] = [run for run in workspace.runs if run is not reading.run]
    return draw(name.key, reading, width=dialog.width_of.currentData(), **asked)


def _compared(workspace: Workspace, reading: Reading) -> Recording | None:
    """The other run, where the maps on screen are global."""
    if workspace.view.current.compare == "local":
        return None
    baseline, second = _two_runs(workspace)
    return second if reading.run is baseline else baseline


def _answers(workspace: Workspace, width: Width) -> Drawn:
    from var_studio.figures.export import draw_answers

    return draw_answers(*_two_runs(workspace), scored(workspace), width=width)


def _two_runs(workspace: Workspace) -> tuple[Recording, Recording]:
    baseline, second = workspace.baseline, workspace.paired
    if baseline is None or second is None:
        raise VarStudioError(
            "There is no second run to compare with.",
            "Press Run pair (Ctrl+R), or choose Local in Image.",
        )
    return baseline, second


def _combo(choices: tuple[tuple[str, str], ...], current: str, name: str) -> QComboBox:
    combo = QComboBox()
    for key, text in choices:
        combo.addItem(text, key)
    combo.setCurrentIndex(max(combo.findData(current), 0))
    combo.setAccessibleName(name)
    return combo
