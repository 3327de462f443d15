"""The forms and colours of a plot in words."""

from __future__ import annotations

from html import escape

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme


class Legend(QtWidgets.QLabel):
    """Entries (colour role, form, name) in a line, then a quiet note; cut off where there is no
    room."""

    def __init__(self, *entries: tuple[str, str, str], note: str = "") -> None:
        super().__init__()
        self.setTextFormat(QtCore.Qt.TextFormat.RichText)
        self.setMinimumWidth(1)
        self._entries, self._note = entries, note
        self._write()

    def set_entries(self, *entries: tuple[str, str, str], note: str = "") -> None:
        """Show other entries."""
        if (entries, note) != (self._entries, self._note):
            self._entries, self._note = entries, note
            self._write()

    def _write(self) -> None:
        present = theme.colours(self.palette())
        words = [
            f"<span style='color:{getattr(present, role)}'>{form}</span>&nbsp;{escape(name)}"
            for role, form, name in self._entries
        ]
        text = "&nbsp;&nbsp; ".join([*words, *([escape(self._note)] if self._note else [])])
        self.setText(f"<span style='color:{present.text_dim}'>{text}</span>")

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Wear the new palette."""
        super().changeEvent(event)
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self._write()


class Swatch(QtWidgets.QWidget):
    """A small empty square in a colour role: what an outline of that colour stands for follows."""

    def __init__(self, role: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._role = role
        self.setFixedSize(14, 14)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the square."""
        painter = QtGui.QPainter(self)
        pen = QtGui.QPen(QtGui.QColor(getattr(theme.colours(self.palette()), self._role)), 2.0)
        painter.setPen(pen)
        painter.drawRect(QtCore.QRectF(2, 2, 10, 10))
