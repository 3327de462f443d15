"""Colours with a meaning, for a light and a dark window; never the only difference there is.

From the Okabe-Ito set, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from PySide6 import QtCore, QtGui

_VISUAL = ("#0072b2", "#56b4e9")
_TEXT = ("#b85600", "#f0a04b")
_BOS = ("#3c3c3c", "#e4e4e4")
_TAU = ("#c2185b", "#ff7eb6")


def is_dark(palette: QtGui.QPalette) -> bool:
    """Whether the window's ground is dark."""
    return palette.color(QtGui.QPalette.ColorRole.Window).lightness() < 128


def _pick(pair: tuple[str, str], palette: QtGui.QPalette) -> QtGui.QColor:
    return QtGui.QColor(pair[is_dark(palette)])


def visual(palette: QtGui.QPalette) -> QtGui.QColor:
    """Visual tokens."""
    return _pick(_VISUAL, palette)


def text(palette: QtGui.QPalette) -> QtGui.QColor:
    """Text tokens other than the first."""
    return _pick(_TEXT, palette)


def bos(palette: QtGui.QPalette) -> QtGui.QColor:
    """The first token of the sequence."""
    return _pick(_BOS, palette)


def tau(palette: QtGui.QPalette) -> QtGui.QColor:
    """The threshold τ."""
    return _pick(_TAU, palette)


def faint(palette: QtGui.QPalette, alpha: int = 150) -> QtGui.QColor:
    """Axis numbers and other secondary text."""
    colour = QtGui.QColor(palette.color(QtGui.QPalette.ColorRole.WindowText))
    colour.setAlpha(alpha)
    return colour


def outline(
    painter: QtGui.QPainter,
    rects: list[QtCore.QRectF],
    colour: QtGui.QColor,
    width: float = 1.5,
    casing: QtGui.QColor | None = None,
) -> None:
    """Draw boxes that are seen on any ground: a line of `colour` inside a dark casing."""
    if not rects:
        return
    painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
    pen = QtGui.QPen(casing or QtGui.QColor(0, 0, 0, 190), width + 2.0)
    pen.setJoinStyle(QtCore.Qt.PenJoinStyle.MiterJoin)
    painter.setPen(pen)
    painter.drawRects(rects)
    pen.setColor(colour)
    pen.setWidthF(width)
    painter.setPen(pen)
    painter.drawRects(rects)
