"""A plot with what it shows and its legend above, and a line for what is under the pointer."""

from __future__ import annotations

from PySide6 import QtGui, QtWidgets

from var_studio.gui.widgets.hover_line import HoverLine

LOW = 190
"""Below this height one line beside the legend says what the plot shows, and what is under the
pointer while something is."""

WIDE = 800
"""From this width on two lines have room beside each other."""


class PlotFrame(QtWidgets.QWidget):
    """Gives a low plot all the height there is. `subject` says what it shows: which word, layer
    and heads, as far as they matter."""

    def __init__(self, legend: QtWidgets.QWidget, hover: HoverLine) -> None:
        super().__init__()
        self._legend, self._hover = legend, hover
        self.subject = HoverLine("")
        self.subject.setAccessibleName("What the plot shows")
        self._low: bool | None = None
        self._grid = QtWidgets.QGridLayout(self)
        self._grid.setContentsMargins(10, 2, 10, 6)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._grid.setRowStretch(2, 1)
        self._grid.addWidget(self.subject, 0, 0, 1, 2)
        self._place_texts()

    def set_plot(self, plot: QtWidgets.QWidget) -> None:
        """Put the plot in; once."""
        self._grid.addWidget(plot, 2, 0, 1, 2)

    def say_subject(self, text: str) -> None:
        """Tell what the plot shows now."""
        self.subject.set_text(text)
        self._hover.set_standing(text if self._low else "")

    def _place_texts(self) -> None:
        low = self.height() < LOW
        if low == self._low:
            return
        self._low = low
        for widget in (self._legend, self._hover):
            self._grid.removeWidget(widget)
        if low:
            self._grid.addWidget(self._legend, 1, 0)
            self._grid.addWidget(self._hover, 1, 1)
        else:
            self._grid.addWidget(self._legend, 1, 0, 1, 2)
            self._grid.addWidget(self._hover, 3, 0, 1, 2)
        self.subject.setVisible(not low)
        self.say_subject(self.subject.text())

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Place the texts for the new height."""
        super().resizeEvent(event)
        self._place_texts()


class TableFrame(QtWidgets.QWidget):
    """A table under two lines: what it shows, and a note; they stand side by side in a panel that
    is low and wide."""

    def __init__(self, table: QtWidgets.QWidget) -> None:
        super().__init__()
        self.subject, self.note = HoverLine(""), HoverLine("")
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(10, 2, 10, 6)
        column.setSpacing(4)
        self._lines = QtWidgets.QBoxLayout(QtWidgets.QBoxLayout.Direction.TopToBottom)
        self._lines.setSpacing(0)
        self._lines.addWidget(self.subject, 1)
        self._lines.addWidget(self.note, 1)
        column.addLayout(self._lines)
        column.addWidget(table, 1)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Place the lines for the new height."""
        super().resizeEvent(event)
        directions = QtWidgets.QBoxLayout.Direction
        beside = self.height() < LOW and self.width() >= WIDE
        self._lines.setDirection(directions.LeftToRight if beside else directions.TopToBottom)
