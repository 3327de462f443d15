"""Small pictures of the images of a question, in their order; one can be moved or removed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QIcon, QPixmap
from PySide6.QtWidgets import QButtonGroup, QGridLayout, QHBoxLayout, QToolButton, QWidget

from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.image_well import dropped_files

_COLUMNS = 5
_SIZE = 40


class ImageStrip(QWidget):
    """`chosen(number)`, `removed(number)`, `moved(number, place)`, `dropped(paths)`: what the user
    did."""

    chosen = Signal(int)
    removed = Signal(int)
    moved = Signal(int, int)
    dropped = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.current = 0
        self.thumbnails: list[QToolButton] = []
        self._group = QButtonGroup(self)
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        self._grid.setColumnStretch(_COLUMNS, 1)
        self.earlier = self._button("earlier", "Earlier in the prompt", -1)
        self.later = self._button("later", "Later in the prompt", 1)
        self.remove = self._button("close", "Remove this image", 0)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(self._grid, 1)
        for button in (self.earlier, self.later, self.remove):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_images(self, images: Sequence[tuple[QPixmap, str]]) -> None:
        """Show these pictures with their names; nothing to see where there is one only."""
        for old in self.thumbnails:
            self._group.removeButton(old)
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.thumbnails = []
        for number, (pixmap, name) in enumerate(images if len(images) > 1 else ()):
            button = QToolButton()
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.setIcon(QIcon(pixmap))
            button.setIconSize(QSize(_SIZE, _SIZE))
            button.setToolTip(f"Image {number + 1}: {name}")
            button.setAccessibleName(f"Image {number + 1} of {len(images)}: {name}")
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(partial(self._chosen, number))
            self._group.addButton(button)
            row, column = divmod(number, _COLUMNS)
            self._grid.addWidget(button, row, column)
            self.thumbnails.append(button)
        self.setVisible(bool(self.thumbnails))
        self.choose(min(self.current, max(len(images) - 1, 0)))

    def choose(self, number: int) -> None:
        """Mark an image as the one that the buttons act on."""
        self.current = number
        for index, button in enumerate(self.thumbnails):
            button.setChecked(index == number)
        self.earlier.setEnabled(number > 0)
        self.later.setEnabled(number < len(self.thumbnails) - 1)

    def _chosen(self, number: int) -> None:
        self.choose(number)
        self.chosen.emit(number)

    def _button(self, name: str, tip: str, step: int) -> QToolButton:
        button = QToolButton()
        button.setAutoRaise(True)
        button.setIcon(icon(name))
        button.setProperty("iconName", name)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.clicked.connect(partial(self._act, step))
        return button

    def _act(self, step: int) -> None:
        number = self.current
        if not step:
            self.removed.emit(number)
            return
        self.current = number + step  # what was marked stays marked at its new place
        self.moved.emit(number, number + step)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.dropped.emit(dropped_files(event.mimeData()))
        event.acceptProposedAction()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "remove"):
            for button in (self.earlier, self.later, self.remove):
                button.setIcon(icon(button.property("iconName")))
        super().changeEvent(event)
