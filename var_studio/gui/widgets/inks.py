"""Lines and faint texts that stay legible on any ground, light window or dark."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme

# Over a heat map the window's scheme does not matter: always the bright set, in a dark casing.
ON_MAP = theme.DARK

# Okabe and Ito's, told apart under the common colour-vision deficiencies.
_REGIONS = ("#56b4e9", "#e69f00", "#00c08b", "#f0e442", "#cc79a7", "#d55e00")


def region_colour(index: int) -> str:
    """The colour of the region of that number, on the picture and in lists."""
    return _REGIONS[index % len(_REGIONS)]


def faint(palette: QtGui.QPalette) -> QtGui.QColor:
    """Axis numbers and other secondary text."""
    return QtGui.QColor(theme.colours(palette).text_dim)


def outline(
    painter: QtGui.QPainter,
    boxes: list[QtCore.QRectF],
    colour: str,
    width: float = 1.5,
    casing: int = 200,
) -> None:
    """Draw boxes that are seen on any ground: a line of `colour` in a dark casing (its alpha)."""
    if not boxes:
        return
    painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
    pen = QtGui.QPen(QtGui.QColor(0, 0, 0, casing), width + 2.0)
    pen.setJoinStyle(QtCore.Qt.PenJoinStyle.MiterJoin)
    if casing:
        painter.setPen(pen)
        painter.drawRects(boxes)
    pen.setColor(QtGui.QColor(colour))
    pen.setWidthF(width)
    painter.setPen(pen)
    painter.drawRects(boxes)


def clear_pixmap(widget: QtWidgets.QWidget) -> QtGui.QPixmap:
    """A transparent pixmap of a widget's size, sharp on its screen."""
    ratio = widget.devicePixelRatioF()
    pixmap = QtGui.QPixmap(widget.size() * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(QtCore.Qt.GlobalColor.transparent)
    return pixmap


def small_font(font: QtGui.QFont) -> QtGui.QFont:
    """A step smaller than the window's text, for axis numbers."""
    smaller = QtGui.QFont(font)
    if font.pointSizeF() > 0:
        smaller.setPointSizeF(max(6.5, font.pointSizeF() * 0.86))
    else:
        smaller.setPixelSize(max(9, round(font.pixelSize() * 0.86)))
    return smaller
