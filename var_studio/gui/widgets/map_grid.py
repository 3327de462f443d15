"""One map, or several beside or above each other: whichever leaves the picture larger."""

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

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Place everything anew."""
        self._place()

    def side_by_side(self) -> bool:
        """Whether several maps stand beside each other rather than above."""
        count, line = max(len(self._shown), 1), self._line()
        height = self.height() - self._bars_height(2)
        beside = min(self.width() / count / self._aspect, height - line)
        above = min(self.width() / self._aspect, height / count - line)
        return beside >= above

    def _line(self) -> int:
        return self.fontMetrics().height() + 3 if len(self._shown) > 1 else 0

    def _bars_height(self, rows: int) -> int:
        return rows * (self._parts[0][2].sizeHint().height() + 3)

    def _place(self) -> None:
        parts = [part for part in self._parts if part[0] in self._shown]
        bars = list(dict.fromkeys(part[2] for part in parts))
        for key, view, bar in self._parts:
            view.setVisible(key in self._shown)
            self._captions[key].setVisible(key in self._shown and len(parts) > 1)
            bar.setVisible(bar in bars)
        if not parts:
            return
        beside, line = self.side_by_side(), self._line()
        rows = 1 if beside else len(bars)
        below = self._bars_height(rows)
        height = max(self.height() - below, 40)
        count = len(parts)
        for place, (key, view, _) in enumerate(parts):
            if beside:
                each = (self.width() - GAP * (count - 1)) / count
                box = QtCore.QRectF(place * (each + GAP), 0, each, height)
            else:
                each = height / count
                box = QtCore.QRectF(0, place * each, self.width(), each - 2)
            self._captions[key].setGeometry(
                QtCore.QRect(int(box.left()), int(box.top()), int(box.width()), line)
            )
            view.setGeometry(box.adjusted(0, line, 0, 0).toRect())
        self._place_bars(parts, bars, beside, height + 3)

    def _place_bars(
        self,
        parts: list[tuple[str, HeatView, ColourBar]],
        bars: list[ColourBar],
        beside: bool,
        top: int,
    ) -> None:
        each = bars[0].sizeHint().height()
        for row, bar in enumerate(bars):
            if beside:
                # A bar lies under the maps that it belongs to.
                boxes = [view.geometry() for _, view, own in parts if own is bar]
                left, right = boxes[0].left(), boxes[-1].right()
                bar.setGeometry(left, top, right - left + 1, each)
            else:
                bar.setGeometry(0, top + row * (each + 3), self.width(), each)
