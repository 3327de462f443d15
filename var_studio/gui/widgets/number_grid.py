"""A small table of numbers under headings, its columns aligned."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6 import QtCore, QtWidgets


class NumberGrid(QtWidgets.QWidget):
    """Rows of a name and one number for each heading."""

    def __init__(self, headings: Sequence[str], parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QtWidgets.QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(3)
        self._labels: dict[tuple[int, int], QtWidgets.QLabel] = {}
        for column, heading in enumerate(headings, 1):
            self._label(0, column, "quiet").setText(heading)
        self._grid.setColumnStretch(len(headings) + 1, 1)
        self._columns = len(headings)

    def set_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these rows: the name first."""
        for row, texts in enumerate(rows, 1):
            for column, text in enumerate(texts):
                self._label(row, column, "quiet" if column == 0 else "").setText(text)

    def text(self, row: int, column: int) -> str:
        """What a cell says; row 0 holds the headings, column 0 the names."""
        return self._labels[row, column].text()

    def _label(self, row: int, column: int, name: str) -> QtWidgets.QLabel:
        label = self._labels.get((row, column))
        if label is None:
            label = QtWidgets.QLabel()
            label.setObjectName(name)
            label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
            side = (
                QtCore.Qt.AlignmentFlag.AlignRight
                if column
                else (QtCore.Qt.AlignmentFlag.AlignLeft)
            )
            self._grid.addWidget(label, row, column, side)
            self._labels[row, column] = label
        return label
