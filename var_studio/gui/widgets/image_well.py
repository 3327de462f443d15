"""The picture that will be asked about: shows it, takes drops and clicks."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from var_studio.gui import theme


class ImageWell(QWidget):
    """A frame for one picture. `clicked()` asks for a file dialog, `dropped(paths)` brings files,
    `pixels_dropped(QImage)` a picture without a file (from a browser)."""

    clicked = Signal()
    dropped = Signal(list)
    pixels_dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.setFixedHeight(132)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Image")
        self._pixmap: QPixmap | None = None
        self._over = False

    def show_picture(self, pixmap: QPixmap | None, name: str = "") -> None:
        """Show this picture (None: the invitation to bring one)."""
        self._pixmap = pixmap
        self.setToolTip(
            f"{name}\nClick to open another image, or drop one here."
            if pixmap is not None
            else "Click to open an image, drop one here, or paste one (Ctrl+V)."
        )
        self.setAccessibleDescription(name)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(260, 132)

    def paintEvent(self, event: QPaintEvent) -> None:
        colours = theme.colours(self.palette())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        frame = self.rect().adjusted(1, 1, -2, -2)
        empty = self._pixmap is None
        lively = self._over or self.hasFocus()
        pen = QPen(QColor(colours.accent if lively else colours.border), 1.4)
        if empty:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(QColor(colours.accent_soft if self._over else colours.canvas))
        painter.drawRoundedRect(frame, 6, 6)
        if self._pixmap is None:
            painter.setPen(QColor(colours.text_dim))
            painter.drawText(
                frame, Qt.AlignmentFlag.AlignCenter, "Drop an image here\nor click to open one"
            )
            return
        room = frame.adjusted(6, 6, -6, -6)
        size = self._pixmap.size().scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(room.topLeft(), size)
        place.moveCenter(room.center())
        painter.drawPixmap(place, self._pixmap)

    # ------------------------------------------------------------------------------- the user
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasImage() or dropped_files(event.mimeData()):
            self._over = True
            self.update()
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._over = False
        self.update()

    def dropEvent(self, event: QDropEvent) -> None:
        self._over = False
        self.update()
        files = dropped_files(event.mimeData())
        if files:
            self.dropped.emit(files)
        elif event.mimeData().hasImage():
            self.pixels_dropped.emit(event.mimeData().imageData())
        event.acceptProposedAction()


def dropped_files(mime: QMimeData) -> list[Path]:
    """Local files and folders of a drop."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]
