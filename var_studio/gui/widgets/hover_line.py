"""A line or two that say what lies under the pointer; their height never changes."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks


class HoverLine(QtWidgets.QWidget):
    """Text in `lines` lines, broken at " · ". Where it does not fit several lines have smaller
    letters; what is still too long is shortened at the end. The whole is its tooltip."""

    def __init__(self, hint: str, lines: int = 1, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._hint = hint
        self._lines = lines
        self._text = self._short = ""
        self._quiet = False
        self._standing = ""
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setAccessibleName("What is under the pointer")

    def text(self) -> str:
        """What the line says now; empty where only the hint shows."""
        return self._text

    def set_text(self, text: str, short: str = "") -> None:
        """Say something; an empty text brings the hint back. `short`: where there is no room."""
        if (text, short) == (self._text, self._short):
            return
        self._text, self._short = text, short
        self.setAccessibleDescription(text or self._hint)
        self.setToolTip(text)
        self.update()

    def set_standing(self, text: str) -> None:
        """Say this, and no hint, while there is nothing else to say."""
        self._standing = text
        self.update()

    def set_hint(self, hint: str) -> None:
        """Another hint from now on."""
        self._hint = hint
        self.update()

    def set_quiet(self, quiet: bool) -> None:
        """Write in the fainter ink, for what comes second."""
        self._quiet = quiet
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        """As many lines as there may be, whatever the text."""
        return QtCore.QSize(80, self._lines * self.fontMetrics().height() + 6)

    def minimumSizeHint(self) -> QtCore.QSize:
        """As `sizeHint`."""
        return self.sizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the text, or the hint in a fainter ink."""
        painter = QtGui.QPainter(self)
        present = theme.colours(self.palette())
        ink = present.text_faint
        if self._text or self._standing:
            ink = present.text_dim if self._quiet else present.text
        painter.setPen(QtGui.QColor(ink))
        font = self.font()
        if self._lines > 1 and not self._fits(QtGui.QFontMetrics(font)):
            font = inks.small_font(font)  # before anything is cut off
        painter.setFont(font)
        metrics = QtGui.QFontMetrics(font)
        top = 3.0
        if self._lines == 1:
            top = (self.height() - metrics.height()) / 2
        for line in self._broken(metrics):
            painter.drawText(QtCore.QPointF(2, top + metrics.ascent()), line)
            top += metrics.height()

    def _fits(self, metrics: QtGui.QFontMetrics) -> bool:
        return self._broken(metrics) == self._lines_of(metrics)

    def _broken(self, metrics: QtGui.QFontMetrics) -> list[str]:
        """The lines, each cut to the width."""
        elide, width = QtCore.Qt.TextElideMode.ElideRight, self.width() - 4
        return [metrics.elidedText(line, elide, width) for line in self._lines_of(metrics)]

    def _lines_of(self, metrics: QtGui.QFontMetrics) -> list[str]:
        width = self.width() - 4
        lines = [""]
        text = self._text
        if self._short and metrics.horizontalAdvance(text) > self._lines * width:
            text = self._short
        for part in (text or self._standing or self._hint).split(" · "):
            longer = f"{lines[-1]} · {part}" if lines[-1] else part
            if lines[-1] and metrics.horizontalAdvance(longer) > width and len(lines) < self._lines:
                lines.append(part)
            else:
                lines[-1] = longer
        return lines
