"""Two answers under each other: each line of the first above the same columns of the second."""

from __future__ import annotations

from PySide6.QtCore import QRect
from PySide6.QtGui import QRegion, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from var_studio.gui.widgets.token_strip import TokenStrip


class AnswerPair(QWidget):
    """Both paragraphs have the same columns, so they break at the same places; the second stands
    a line lower, over the room that the first leaves, and takes the mouse only there."""

    def __init__(self, first: TokenStrip, second: TokenStrip) -> None:
        super().__init__()
        self.first, self.second = first, second
        for strip in (first, second):
            strip.setParent(self)
            strip.fitted.connect(self._fit)
        second.hide()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._fit()

    def show_second(self, shown: bool) -> None:
        """Show both answers, or only the first."""
        for strip in (self.first, self.second):
            strip.set_lines(2 if shown else 1)
        self.second.setVisible(shown)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Both are as wide as there is room."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        first, second = self.first, self.second
        first.setGeometry(0, 0, self.width(), first.height())
        height = first.height()
        if not second.isHidden():
            line, step = second.line, second.step
            second.setGeometry(0, line, self.width(), second.height())
            stripes = QRegion()
            for top in range(0, max(second.height(), step), step):
                stripes += QRect(0, top, self.width(), line)
            second.setMask(stripes)
            # The last line needs no room for yet another answer under it.
            height = max(height, line + second.height() - step + line)
        if self.minimumHeight() != height:
            self.setFixedHeight(height)
