"""The hidden state of one token: its largest dimensions as stems, the rest as what it is: unknown
below a level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets.chart import Chart
from var_studio.gui.widgets.chart_axes import Axis
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.profiles import TokenProfile


class ProfileChart(Chart):
    """abs(x[d]) / rms(x) over the dimensions d. Hatched: below the least recorded value."""

    told = QtCore.Signal(str)
    """What lies under the pointer; empty for nothing."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__("Hidden state of a token", parent)
        self._shown: TokenProfile | None = None
        self.setMinimumWidth(60)
        self.hovered.connect(self._hover)

    def set_profile(self, shown: TokenProfile, heading: str, hidden_size: int, top: float) -> None:
        """Show the profile of a token, up to `top`."""
        self._shown, self.heading = shown, heading
        self.setAccessibleName(f"Hidden state of {heading}")
        self.setAccessibleDescription(_sinks_text(shown))
        self.set_axes(
            Axis(0.0, float(hidden_size), "dimension", whole=True),
            Axis(0.0, top, "|x| / rms"),
        )
        self.update()

    def draw_marks(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        """The hatched rest, the stems, the sink dimensions over them with their numbers."""
        shown = self._shown
        if shown is None:
            return
        level = float(self.y_axis.shares(shown.floor)) * room.height()
        rest = QtCore.QRectF(room.left(), room.bottom() - level, room.width(), level)
        hatch = QtGui.QBrush(QtGui.QColor(present.unseen), QtCore.Qt.BrushStyle.BDiagPattern)
        painter.fillRect(rest, hatch)
        plain = ~np.isin(shown.dims, shown.sink_dims)
        painter.setPen(QtGui.QPen(QtGui.QColor(present.text_dim), 1.5))
        painter.drawLines(self._stems(room, shown.dims[plain], shown.magnitudes[plain]))
        sizes = np.nan_to_num(shown.sink_magnitudes, nan=shown.floor)
        painter.setPen(QtGui.QPen(QtGui.QColor(present.sink), 2.5))
        painter.drawLines(self._stems(room, np.array(shown.sink_dims), sizes))
        taken: list[QtCore.QRectF] = []
        metrics = painter.fontMetrics()
        for dim, value in zip(shown.sink_dims, sizes.tolist(), strict=True):
            if self.y_axis.shares(value) < 0.3:
                continue  # lost among the others, and so would be its number
            wide, high = metrics.horizontalAdvance(str(dim)) + 4, metrics.height()
            top = max(self.y_of(value) - high / 2, room.top() - 4)
            beside = (self.x_of(dim) + 3, self.x_of(dim) - 3 - wide)
            for box in (QtCore.QRectF(left, top, wide, high) for left in beside):
                within = room.left() <= box.left() and box.right() <= room.right() + 4
                if within and not any(box.intersects(other) for other in taken):
                    taken.append(box)
                    painter.setPen(QtGui.QColor(present.sink))
                    painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, str(dim))
                    break

    def _stems(
        self, room: QtCore.QRectF, dims: npt.NDArray[Any], sizes: npt.NDArray[Any]
    ) -> list[QtCore.QLineF]:
        """A line up from the axis for each dimension."""
        across = room.left() + self.x_axis.shares(dims + 0.5) * room.width()
        tops = room.bottom() - self.y_axis.shares(sizes) * room.height()
        ends = zip(across.tolist(), tops.tolist(), strict=True)
        return [QtCore.QLineF(x, room.bottom(), x, top) for x, top in ends]

    def _hover(self, point: QtCore.QPointF | None) -> None:
        shown = self._shown
        if point is None or shown is None:
            self.told.emit("")
            return
        parts = [self.heading]
        if len(shown.dims):
            room = self.plot_rect()
            places = room.left() + self.x_axis.shares(shown.dims + 0.5) * room.width()
            far = np.abs(places - point.x())
            near = int(np.argmin(far))
            if far[near] <= 6:
                dim, size = int(shown.dims[near]), float(shown.magnitudes[near])
                mark = ", a sink dimension" if dim in shown.sink_dims else ""
                parts.append(f"dimension {dim}{mark}: {number_text(size)}")
        parts.append(_sinks_text(shown))
        parts.append(f"all others below {number_text(shown.floor)}")
        self.told.emit(" · ".join(parts))


def _sinks_text(shown: TokenProfile) -> str:
    """The sink dimensions and their values."""
    said = [
        f"{dim}: " + (f"below {number_text(shown.floor)}" if np.isnan(size) else number_text(size))
        for dim, size in zip(shown.sink_dims, shown.sink_magnitudes.tolist(), strict=True)
    ]
    return f"sink dimensions {', '.join(said)}" if said else "no sink dimension"
