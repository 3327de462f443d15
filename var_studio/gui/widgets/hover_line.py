"""One line that says what lies under the pointer; its height never changes."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme


class HoverLine(QtWidgets.QWidget):
    """A line of text, shortened in the middle where it does not fit; the rest is its tooltip."""

    def __init__(self, hint: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._hint = hint
        self._text = ""
        self._quiet = False
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setAccessibleName("What is under the pointer")

    def text(self) -> str:
        """What the line says now; empty where only the hint shows."""
        return self._text

    def set_text(self, text: str) -> None:
        """Say something; an empty text brings the hint back."""
        if text == self._text:
            return
        self._text = text
        self.setAccessibleDescription(text or self._hint)
        self.setToolTip(text)
        self.update()

    def set_quiet(self, quiet: bool) -> None:
        """Write in the fainter ink, for what comes second."""
        self._quiet = quiet
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        """One line of text."""
        return QtCore.QSize(80, self.fontMetrics().height() + 6)

    def minimumSizeHint(self) -> QtCore.QSize:
        """One line of text."""
        return self.sizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the text, or the hint in a fainter ink."""
        painter = QtGui.QPainter(self)
        present = theme.colours(self.palette())
        ink = present.text_faint
        if self._text:
            ink = present.text_dim if self._quiet else present.text
        painter.setPen(QtGui.QColor(ink))
        text = self.fontMetrics().elidedText(
            self._text or self._hint, QtCore.Qt.TextElideMode.ElideRight, self.width() - 4
        )
        painter.drawText(
            self.rect().adjusted(2, 0, -2, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, text
        )
