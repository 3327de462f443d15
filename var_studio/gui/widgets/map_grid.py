"""One map, or several in as many columns as leave the picture largest."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.gui.widgets.heat_view import HeatView

GAP = 8


class MapGrid(QtWidgets.QWidget):
    """Places HeatViews with a caption above each, when there are several, and colour bars below.

    `parts`: (key, view, colour bar) each; parts with the same bar share it.
    """

    def __init__(
        self,
        parts: Sequence[tuple[str, HeatView, ColourBar]],
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._parts = tuple(parts)
        self._captions: dict[str, QtWidgets.QLabel] = {}
        self._shown: tuple[str, ...] = ()
        self._aspect = 1.0
        for key, view, bar in parts:
            caption = QtWidgets.QLabel(self)
            caption.setObjectName("quiet")
            caption.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
            self._captions[key] = caption
            for widget in (caption, view, bar):
                widget.setParent(self)
                widget.hide()
        self.setMinimumSize(160, 140)

    def show_parts(self, shown: Sequence[str], captions: dict[str, str], aspect: float) -> None:
        """Show these parts. `aspect`: width of the scene over its height."""
        for key, text in captions.items():
            self._captions[key].setText(text)
        if (tuple(shown), aspect) == (self._shown, self._aspect):
            return
        self._shown, self._aspect = tuple(shown), aspect
        self._place()

    def filled(self, body: QtWidgets.QWidget) -> QtCore.QRect:
        """What the maps and their bars fill, in `body`; empty where none is shown."""
        area = QtCore.QRect()
        for widget in [each for _, view, bar in self._parts for each in (view, bar)]:
            if widget.isVisible():
                place = widget.mapTo(body, QtCore.QPoint(0, 0))
                area = area.united(QtCore.QRect(place, widget.size()))
        return area

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Place everything anew."""
        self._place()

    def columns(self) -> int:
        """How many maps stand beside each other: as many as leave the picture largest."""
        count = max(len(self._shown), 1)
        return max(range(count, 0, -1), key=self._picture_height)

    def _picture_height(self, columns: int) -> float:
        rows = -(-len(self._shown) // columns)
        across = (self.width() - GAP * (columns - 1)) / columns
        down = (self.height() - self._bars_below(columns)) / rows - self._line()
        return min(across / self._aspect, down)

    def _line(self) -> int:
        return self.fontMetrics().height() + 3 if len(self._shown) > 1 else 0

    def _bars_below(self, columns: int) -> int:
        """Height kept under the maps: none where a place in the last row is free for the bars."""
        shown = [bar for key, _, bar in self._parts if key in self._shown]
        if self._free_place(columns):
            return 0
        rows = 1 if columns == len(shown) else len(dict.fromkeys(shown))
        return rows * self._bar_height()

    def _free_place(self, columns: int) -> bool:
        return len(self._shown) % columns != 0

    def _bar_height(self) -> int:
        return self._parts[0][2].sizeHint().height() + 3

    def _place(self) -> None:
        parts = [part for part in self._parts if part[0] in self._shown]
        bars = list(dict.fromkeys(part[2] for part in parts))
        for key, view, bar in self._parts:
            view.setVisible(key in self._shown)
            self._captions[key].setVisible(key in self._shown and len(parts) > 1)
            bar.setVisible(bar in bars)
        if not parts:
            return
        columns, line = self.columns(), self._line()
        rows = -(-len(parts) // columns)
        height = max(self.height() - self._bars_below(columns), 40)
        across = (self.width() - GAP * (columns - 1)) // columns  # the same pixels each
        down = height / rows
        for place, (key, view, _) in enumerate(parts):
            row, column = divmod(place, columns)
            box = QtCore.QRectF(column * (across + GAP), row * down, across, down)
            if row < rows - 1:
                box.adjust(0, 0, 0, -2)
            self._captions[key].setGeometry(
                QtCore.QRect(int(box.left()), int(box.top()), int(box.width()), line)
            )
            view.setGeometry(box.adjusted(0, line, 0, 0).toRect())
        if self._free_place(columns):
            used = len(parts) % columns
            left, top = used * (across + GAP), (rows - 1) * down + line
            self._stack_bars(bars, QtCore.QRectF(left, top, self.width() - left, down - line))
        elif columns < len(parts):
            self._stack_bars(bars, QtCore.QRectF(0, height, self.width(), self.height() - height))
        else:
            self._bars_under_maps(parts, bars, height + 3)

    def _stack_bars(self, bars: list[ColourBar], box: QtCore.QRectF) -> None:
        each = self._bar_height()
        top = box.top() + max((box.height() - each * len(bars)) / 2, 0) + 3
        for row, bar in enumerate(bars):
            bar.setGeometry(int(box.left()), int(top + row * each), int(box.width()), each - 3)

    def _bars_under_maps(
        self, parts: list[tuple[str, HeatView, ColourBar]], bars: list[ColourBar], top: int
    ) -> None:
        """Each bar under the maps that it belongs to."""
        for bar in bars:
            boxes = [view.geometry() for _, view, own in parts if own is bar]
            left, right = boxes[0].left(), boxes[-1].right()
            bar.setGeometry(left, top, right - left + 1, self._bar_height() - 3)
