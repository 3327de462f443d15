"""Small pictures of the images of a question, in their order; one can be moved or removed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QEvent, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QIcon, QMouseEvent, QPalette, QPixmap
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QToolButton,
    QWidget,
)

from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.image_well import dropped_files

_COLUMNS = 5
_SIZE = 40
_MARK = 3


class Thumbnail(QToolButton):
    """A small picture that can be dragged: `dragged(point)` and `let_go(point)` in its parent."""

    dragged = Signal(QPoint)
    let_go = Signal(QPoint)

    def __init__(self, pixmap: QPixmap) -> None:
        super().__init__()
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setIcon(QIcon(pixmap))
        self.setIconSize(QSize(_SIZE, _SIZE))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._pressed: QPoint | None = None
        self._dragging = False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position().toPoint()
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position().toPoint()
        if self._pressed is None:
            return
        far = (point - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        self._dragging = self._dragging or far
        if self._dragging:
            self.dragged.emit(self.mapToParent(point))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        dragging, self._dragging, self._pressed = self._dragging, False, None
        if dragging:  # and no click
            self.setDown(False)
            self.let_go.emit(self.mapToParent(event.position().toPoint()))
        else:
            super().mouseReleaseEvent(event)


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
        self.thumbnails: list[Thumbnail] = []
        self._group = QButtonGroup(self)
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        self._grid.setColumnStretch(_COLUMNS, 1)
        self.earlier = self._button("earlier", "Earlier in the prompt", -1)
        self.later = self._button("later", "Later in the prompt", 1)
        self.remove = self._button("close", "Remove this image", 0)
        self.mark = QWidget(self)  # where the dragged one will go
        self.mark.setAutoFillBackground(True)
        self.mark.setBackgroundRole(QPalette.ColorRole.Highlight)
        self.mark.hide()
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
            button = Thumbnail(pixmap)
            button.setToolTip(f"Image {number + 1}: {name}\nDrag it to another place.")
            button.setAccessibleName(f"Image {number + 1} of {len(images)}: {name}")
            button.dragged.connect(self._dragged)
            button.let_go.connect(partial(self._let_go, number))
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

    def place_at(self, point: QPoint) -> int:
        """The place in the order that is nearest to a point of the strip."""

        def distance(number: int) -> int:
            return (self.thumbnails[number].geometry().center() - point).manhattanLength()

        return min(range(len(self.thumbnails)), key=distance)

    def _dragged(self, point: QPoint) -> None:
        dragged, place = self.sender(), self.place_at(point)
        here = self.thumbnails[place]
        after = any(each is dragged for each in self.thumbnails[:place])
        edge = here.geometry().right() if after else here.geometry().left() - _MARK
        self.mark.setGeometry(edge, here.y(), _MARK, here.height())
        self.mark.setVisible(here is not dragged)
        self.mark.raise_()

    def _let_go(self, number: int, point: QPoint) -> None:
        self.mark.hide()
        self._move(number, self.place_at(point))

    def _move(self, number: int, place: int) -> None:
        if place != number:
            self.current = place  # what was moved is marked at its new place
            self.moved.emit(number, place)

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
        if step:
            self._move(self.current, self.current + step)
        else:
            self.removed.emit(self.current)

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
