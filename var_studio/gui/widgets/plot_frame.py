"""A plot with its legend above and a line for what is under the pointer, also where it is low."""

from __future__ import annotations

from PySide6 import QtGui, QtWidgets

LOW = 190
"""Below this height the line under the pointer stands beside the legend, not under the plot."""


class PlotFrame(QtWidgets.QWidget):
    """Gives a low plot all the height there is."""

    def __init__(self, legend: QtWidgets.QWidget, hover: QtWidgets.QWidget) -> None:
        super().__init__()
        self._legend, self._hover = legend, hover
        self._low: bool | None = None
        self._grid = QtWidgets.QGridLayout(self)
        self._grid.setContentsMargins(10, 2, 10, 6)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._grid.setRowStretch(1, 1)
        self._place_texts()

    def set_plot(self, plot: QtWidgets.QWidget) -> None:
        """Put the plot in; once."""
        self._grid.addWidget(plot, 1, 0, 1, 2)

    def _place_texts(self) -> None:
        low = self.height() < LOW
        if low == self._low:
            return
        self._low = low
        for widget in (self._legend, self._hover):
            self._grid.removeWidget(widget)
        if low:
            self._grid.addWidget(self._legend, 0, 0)
            self._grid.addWidget(self._hover, 0, 1)
        else:
            self._grid.addWidget(self._legend, 0, 0, 1, 2)
            self._grid.addWidget(self._hover, 2, 0, 1, 2)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Place the texts for the new height."""
        super().resizeEvent(event)
        self._place_texts()
