"""Exporting a figure: which one, which formats, with its numbers beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import Qt
from PySide6.QtGui import QCursor, QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
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
from var_studio.figures.data import DATA_SUFFIXES
from var_studio.figures.names import BY_KEY, FIGURE_NAMES
from var_studio.figures.page import LENGTHS, ignored_line, page_of
from var_studio.gui import memory
from var_studio.gui.export_batch import start_export
from var_studio.gui.models.answers import scored
from var_studio.gui.models.problems import as_known
from var_studio.gui.widgets.dialog_buttons import dialog_buttons
from var_studio.gui.widgets.wheel_guard import WheelGuard

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.figures.export import Drawn
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
_EACH = (
    ("", "The word on screen"),
    ("generated", "Each word of the answer, a file each"),
    ("chosen", "Words named here, a file each"),
)
_WIDTHS = (("column", "One column"), ("two-columns", "Two columns"), ("slide", "Slide"))
_FORMATS = (("pdf", "PDF", True), ("png", "PNG", True), ("svg", "SVG", False))


class ExportDialog(QDialog):
    """Choices for an export. `paths()` are the figures' files, one for each format; `several`
    words have a file each in `folder()`."""

    def __init__(self, figure: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export figure")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.figure = _combo(FIGURES, figure, "Figure")
        self.words = _combo(_TOKENS, "", "Words")
        self.each = _combo(_EACH, "", "Files of which words")
        self.chosen = QLineEdit()
        self.chosen.setPlaceholderText("all, 12-20, g0-g5, cup")
        self.chosen.setAccessibleName("Words")
        self.chosen.textChanged.connect(self._check)
        self.replace = QCheckBox("Replace files that exist")
        self.note = QLabel()
        self.note.setObjectName("quiet")
        self.note.setWordWrap(True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        # Room for two lines: nothing moves when it says more.
        self.note.setMinimumHeight(2 * self.note.fontMetrics().lineSpacing())
        self.width_of = _combo(_WIDTHS, "two-columns", "Width")
        self.width_of.setEditable(True)
        self.width_of.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.width_of.setToolTip(
            "3.35, 6.9 and 10 inches; or type a length: 88mm, 8.8cm, 3.5in, 250pt."
        )
        self.width_of.currentTextChanged.connect(self._check)
        self.style_file = QLineEdit(memory.figure_style())
        self.style_file.setPlaceholderText("None: as VAR Studio draws it")
        self.style_file.setAccessibleName("Style file")
        self.style_file.setToolTip(
            "A matplotlib style file on top of ours: fonts, sizes from 5 pt on, lines."
        )
        self.style_file.textChanged.connect(self._check)
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
        self.with_data.toggled.connect(lambda _: self._check())
        self.file = QLineEdit(str(_free(Path(memory.last_folder("figure")) / figure)))
        self.file.setMinimumWidth(360)
        self.file.setAccessibleName("File, without ending")
        self.file.textChanged.connect(self._check)
        self.figure.activated.connect(self._name_after_figure)
        self.figure.currentIndexChanged.connect(self._words_of_figure)
        self.each.currentIndexChanged.connect(self._each_changed)
        self.replace.toggled.connect(self._check)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.addRow("Figure", self.figure)
        form.addRow("Words", self.words)
        form.addRow("Files of", self.each)
        form.addRow("", self.chosen)
        form.addRow("Width", self.width_of)
        form.addRow("Style file", _beside(self.style_file, self._choose_style))
        form.addRow("Formats", formats)
        form.addRow("PNG at", self.dpi)
        form.addRow("", self.with_data)
        self._place = QLabel("File")
        form.addRow(self._place, _beside(self.file, self._choose))
        form.addRow("", self.replace)
        self.buttons, self.export_button = dialog_buttons(self, "Export")
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(14)
        column.addLayout(form)
        column.addWidget(self.note)
        column.addWidget(self.buttons)
        WheelGuard(self).watch(self)
        self._words_of_figure()

    @property
    def several(self) -> bool:
        """Whether each of several words has a file of its own."""
        return self.each.isEnabled() and bool(self.each.currentData())

    def named(self) -> str:
        """Those words, as `batch.tokens_named` reads them."""
        each = self.each.currentData()
        return self.chosen.text() if each == "chosen" else str(each)

    def folder(self) -> Path | None:
        """Where the files of several words go."""
        text = self.file.text().strip()
        return Path(os.path.expanduser(text)) if text else None

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

    def width_asked(self) -> str:
        """A width by name, or a length as it was typed."""
        typed = self.width_of.currentText()
        return next((key for key, text in _WIDTHS if text == typed), typed)

    def style_asked(self) -> Path | None:
        """A person's own style file."""
        text = self.style_file.text().strip()
        return Path(os.path.expanduser(text)).absolute() if text else None

    def _page_problem(self) -> str:
        """What is wrong with the width or the style file, with the next step."""
        style = self.style_asked()
        if style is not None and not style.is_file():
            return f"There is no style file {style}. Choose another, or leave it empty."
        try:
            page_of(self.width_asked())
        except VarStudioError as error:
            return f"{error.what} Choose from the list, or type {LENGTHS}."
        return ""

    def _check(self) -> None:
        paths, there = self.paths(), [] if self.several else self._there()
        named = not self.several or bool(self.named().strip(" ,"))
        kept = bool(there) and not self.replace.isChecked()
        problem = self._page_problem()
        self.export_button.setEnabled(
            bool(self.file.text().strip() and paths) and named and not kept and not problem
        )
        said = "Drawn in light colours for print, whatever the window's theme."
        if problem:
            said = problem
        elif kept:
            said = f"{there[0].name} exists: choose another name, or replace it."
        elif self.several:
            said = "A figure of each word, and index.csv that lists them."
        self.note.setText(said)

    def _there(self) -> list[Path]:
        """Files that an export would replace."""
        if not self.file.text().strip():
            return []
        wanted = self.paths()
        try:
            beside = [p.with_suffix(s) for p in wanted[:1] for s in DATA_SUFFIXES]
            return [
                path
                for path in wanted + (beside if self.with_data.isChecked() else [])
                if path.exists()
            ]
        except (OSError, ValueError):
            return []  # no such path can be: the export says so

    def _each_changed(self) -> None:
        self.chosen.setVisible(self.several and self.each.currentData() == "chosen")
        self._place.setText("Folder" if self.several else "File")
        self._check()
        self.adjustSize()

    def _name_after_figure(self) -> None:
        old = Path(self.file.text())
        if re.sub(r"-\d+$", "", old.name) in {name for name, _ in FIGURES}:
            self.file.setText(str(_free(old.with_name(self.figure.currentData()))))

    def _words_of_figure(self) -> None:
        """Only some figures show several words, and of only some there is one for each word."""
        name = BY_KEY[self.figure.currentData()]
        self.words.setEnabled(name.many)
        self.each.setEnabled("token" in name.of)
        self._each_changed()

    def _choose(self) -> None:
        if self.several:
            path = QFileDialog.getExistingDirectory(self, "Export figures", self.file.text())
        else:
            path, _ = QFileDialog.getSaveFileName(self, "Export figure", self.file.text())
        if path:
            self.file.setText(path)

    def _choose_style(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            "Style file",
            self.style_file.text() or memory.last_folder("style"),
            "matplotlib style (*.mplstyle);;All files (*)",
        )
        if path:
            memory.remember_folder("style", path)
            self.style_file.setText(path)


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
    if dialog.several:
        try:
            image = cast("ImagePanel", window.area.panel("image"))
            options = image.map_options(reading)
            start_export(window, workspace, dialog, options, _compared(workspace, reading))
        except Exception as error:
            window.show_problem(as_known(error))
        return []
    written: list[Path] = []
    QGuiApplication.setOverrideCursor(QCursor(Qt.CursorShape.WaitCursor))
    try:
        # matplotlib is imported here, at the first export: about a second.
        from var_studio.figures.export import draw, draw_answers, export

        name, style = dialog.figure.currentData(), dialog.style_asked()
        ignored = ignored_line(style)  # raises for a file that is no style
        page: dict[str, Any] = {"width": dialog.width_asked(), "style": style}
        if name == "map":
            image = cast("ImagePanel", window.area.panel("image"))
            options, other = image.map_options(reading), _compared(workspace, reading)
            drawn = draw(name, reading, options=options, compare_with=other, **page)
        elif name == "answers":
            drawn = draw_answers(*_two_runs(workspace), scored(workspace), **page)
        else:
            drawn = _composed(window, workspace, reading, dialog, page)
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
    memory.remember_figure_style(style)
    names = ", ".join(path.name for path in written)
    where = f"to {written[0].parent}. {ignored}".rstrip()
    window.notices.show_notice("note", f"Exported {names}", where)
    return written


def _composed(
    window: MainWindow,
    workspace: Workspace,
    reading: Reading,
    dialog: ExportDialog,
    page: Mapping[str, Any],
) -> Drawn:
    """A figure of the reading on screen, with what more it asks for."""
    from var_studio.figures.export import draw

    name = BY_KEY[dialog.figure.currentData()]
    asked: dict[str, Any] = dict(page)
    if name.pictures:
        options = cast("ImagePanel", window.area.panel("image")).map_options(reading)
        # Made for the one map on screen, these limits are none for others.
        if options is not None:
            asked["options"] = replace(options, limits=None, difference_limits=None, scale_name="")
    if name.many and dialog.words.currentData():
        whole = dialog.words.currentData() == "answer"
        asked["tokens"] = "answer" if whole else [reading.chosen]
    if name.runs:
        asked["others"] = [run for run in workspace.runs if run is not reading.run]
    return draw(name.key, reading, **asked)


def _compared(workspace: Workspace, reading: Reading) -> Recording | None:
    """The other run, where the maps on screen are global."""
    if workspace.view.current.compare == "local":
        return None
    baseline, second = _two_runs(workspace)
    return second if reading.run is baseline else baseline


def _two_runs(workspace: Workspace) -> tuple[Recording, Recording]:
    baseline, second = workspace.baseline, workspace.paired
    if baseline is None or second is None:
        raise VarStudioError(
            "There is no second run to compare with.",
            "Press Run pair (Ctrl+R), or choose Local in Image.",
        )
    return baseline, second


def _free(path: Path) -> Path:
    """The path, or with a number where a figure or numbers of that name are there already."""
    suffixes = [f".{suffix}" for suffix, _, _ in _FORMATS] + list(DATA_SUFFIXES)
    number, found = 1, path
    try:
        while any(found.with_name(f"{found.name}{suffix}").exists() for suffix in suffixes):
            number += 1
            found = path.with_name(f"{path.name}-{number}")
    except OSError:
        return path
    return found


def _beside(line: QLineEdit, choose: Callable[[], None]) -> QHBoxLayout:
    """A line for a path, with a button that asks for it."""
    button = QPushButton("Choose…")
    button.clicked.connect(choose)
    row = QHBoxLayout()
    row.addWidget(line, 1)
    row.addWidget(button)
    return row


def _combo(choices: tuple[tuple[str, str], ...], current: str, name: str) -> QComboBox:
    combo = QComboBox()
    for key, text in choices:
        combo.addItem(text, key)
    combo.setCurrentIndex(max(combo.findData(current), 0))
    combo.setAccessibleName(name)
    return combo
