"""How a heat map is drawn: the ground with its unseen parts, the map, the marks on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui

from var_studio.analysis.smoothing import SMOOTH_STEPS, interpolate
from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.colour_maps import indexed_colours, to_indices
from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.recording.layout import View

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Scale:
    """The colours of values: between two limits, bent by gamma, of the map of that name."""

    low: float = 0.0
    high: float = 1.0
    colours: str = "viridis"
    gamma: float = 1.0


def draw_ground(
    painter: QtGui.QPainter,
    scene: HeatScene,
    transform: QtGui.QTransform,
    unseen: str,
    grey: bool,
    ratio: float,
    whole: bool,
) -> None:
    """The picture, padding and unseen parts: what stays while tokens and settings change.

    `ratio`: device pixels a pixel. `whole`: the picture is not magnified.
    """
    painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
    painter.setPen(QtCore.Qt.PenStyle.NoPen)
    if not scene.strip:
        # What lies in a grid but outside the picture is padding.
        _hatch(painter, transform.mapRect(scene.bounds), QtGui.QColor(unseen))
    if scene.picture is not None:
        picture = scene.grey_picture if grey else scene.picture
        target = transform.mapRect(QtCore.QRectF(0, 0, *scene.size))
        if whole and target.width() * ratio < 0.6 * picture.width():
            # Qt's transform samples only four pixels; this one averages.
            picture = picture.scaled(
                (target.size() * ratio).toSize(),
                QtCore.Qt.AspectRatioMode.IgnoreAspectRatio,
                QtCore.Qt.TransformationMode.SmoothTransformation,
            )
        painter.drawImage(target, picture)
    elif not scene.strip:
        painter.fillRect(
            transform.mapRect(QtCore.QRectF(0, 0, *scene.size)), QtGui.QColor(110, 110, 110)
        )
    painter.fillPath(transform.map(scene.elsewhere), QtGui.QColor(20, 20, 20, 110))
    for left, top, right, bottom in scene.unseen:
        box = transform.mapRect(QtCore.QRectF(left, top, right - left, bottom - top))
        painter.fillRect(box, QtGui.QColor(20, 20, 20, 120))
        _hatch(painter, box, QtGui.QColor(255, 255, 255, 170))


def _hatch(painter: QtGui.QPainter, box: QtCore.QRectF, colour: QtGui.QColor) -> None:
    painter.fillRect(box, QtGui.QBrush(colour, QtCore.Qt.BrushStyle.BDiagPattern))


def hatch_padding(painter: QtGui.QPainter, scene: HeatScene, transform: QtGui.QTransform) -> None:
    """Lines over what of the map lies outside the picture: the model saw padding there."""
    picture = QtCore.QRectF(0, 0, *scene.size)
    if scene.strip or picture == scene.bounds:
        return
    outside = QtGui.QPainterPath()
    outside.addRect(transform.mapRect(scene.bounds))
    outside.addRect(transform.mapRect(picture))
    # White beside black lines: seen on bright cells and on dark ones.
    for shift, colour in ((1, QtGui.QColor(0, 0, 0, 150)), (0, QtGui.QColor(255, 255, 255, 150))):
        painter.setBrushOrigin(shift, 0)
        painter.fillPath(outside, QtGui.QBrush(colour, QtCore.Qt.BrushStyle.BDiagPattern))
    painter.setBrushOrigin(0, 0)


def map_image(view: View, values: Floats, scale: Scale, smooth: bool, strip: bool) -> QtGui.QImage:
    """The map of one grid, a pixel a cell (`SMOOTH_STEPS` squared with `smooth`)."""
    grid = np.asarray(values, dtype=np.float32)[np.maximum(view.tokens, 0)]
    grid[view.tokens < 0] = np.nan
    if smooth:
        # Clipped first: a sink far beyond the scale would flood the cells around it.
        grid = interpolate(np.clip(grid, scale.low, scale.high), SMOOTH_STEPS)
    indices = to_indices(grid, scale.low, scale.high, scale.gamma)
    rows, cols = indices.shape
    image = QtGui.QImage(cols, rows, QtGui.QImage.Format.Format_Indexed8)
    image.setColorTable(_colour_table(scale, strip))
    pixels = np.frombuffer(image.bits(), dtype=np.uint8).reshape(rows, image.bytesPerLine())
    pixels[:, :cols] = indices
    # Indexed images are converted again on every draw; this once.
    return image.convertToFormat(QtGui.QImage.Format.Format_ARGB32_Premultiplied)


def _colour_table(scale: Scale, strip: bool) -> tuple[int, ...]:
    """Differences fade out towards 0: where nothing changes, the picture is seen."""
    colours = indexed_colours(scale.colours)
    if strip or scale.low >= 0 or scale.high <= 0:
        return colours
    zero = 1 + 254 * -scale.low / (scale.high - scale.low)
    reach = 0.4 * max(zero - 1, 255 - zero)
    alphas = (min(255, round(255 * abs(entry - zero) / reach)) for entry in range(256))
    return tuple(
        alpha << 24 | colour & 0xFFFFFF if entry else 0
        for entry, (alpha, colour) in enumerate(zip(alphas, colours, strict=True))
    )


def box_sinks(
    painter: QtGui.QPainter,
    scene: HeatScene,
    transform: QtGui.QTransform,
    sinks: npt.NDArray[np.bool_],
) -> None:
    """Boxes around the visual tokens where (V,) bool is True."""
    cells = [scene.cell(int(k)) for k in np.flatnonzero(sinks)]
    boxes = [transform.mapRect(cell) for cell in cells if cell is not None]
    small = min((min(b.width(), b.height()) for b in boxes), default=0.0)
    # Around small cells, whose colour a box inside would hide.
    inset, width = (-1.0, 1.0) if small < 12 else (1.0, 1.6)
    boxes = [box.adjusted(inset, inset, -inset, -inset) for box in boxes]
    inks.outline(painter, boxes, inks.ON_MAP.sink, width)


def draw_border(
    painter: QtGui.QPainter,
    lines: Sequence[QtCore.QLineF],
    transform: QtGui.QTransform,
    colour: str,
    width: float,
    dashed: bool = False,
) -> None:
    """Lines of the scene in a dark casing, of the same width at any zoom."""
    if not lines:
        return
    mapped = [transform.map(line) for line in lines]
    pen = QtGui.QPen(QtGui.QColor(0, 0, 0, 190), width + 2.0)
    pen.setCapStyle(QtCore.Qt.PenCapStyle.SquareCap)
    painter.setPen(pen)
    painter.drawLines(mapped)
    pen.setColor(QtGui.QColor(colour))
    pen.setWidthF(width)
    if dashed:
        pen.setCapStyle(QtCore.Qt.PenCapStyle.FlatCap)
        pen.setDashPattern([3.0, 2.0])
    painter.setPen(pen)
    painter.drawLines(mapped)


def draw_brush(painter: QtGui.QPainter, box: QtCore.QRectF) -> None:
    """The outline of a round brush, seen on any ground."""
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
    for colour, width in ((QtGui.QColor(0, 0, 0, 190), 3.0), (QtGui.QColor("white"), 1.2)):
        painter.setPen(QtGui.QPen(colour, width))
        painter.drawEllipse(box)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)


def draw_sentence(
    painter: QtGui.QPainter, rect: QtCore.QRect, sentence: str, palette: QtGui.QPalette
) -> None:
    """A sentence in the middle of a view, on a ground of its own."""
    present = theme.colours(palette)
    flags = QtCore.Qt.AlignmentFlag.AlignCenter | QtCore.Qt.TextFlag.TextWordWrap
    room = QtCore.QRectF(rect).adjusted(14, 10, -14, -10)
    room.setWidth(min(room.width(), 320.0))
    room.moveCenter(QtCore.QRectF(rect).center())
    text = painter.boundingRect(room, int(flags), sentence)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setPen(QtGui.QColor(present.border))
    painter.setBrush(QtGui.QColor(present.surface))
    painter.drawRoundedRect(text.adjusted(-10, -6, 10, 6), 5, 5)
    painter.setPen(QtGui.QColor(present.text))
    painter.drawText(room, int(flags), sentence)


def frame_focus(painter: QtGui.QPainter, rect: QtCore.QRect, palette: QtGui.QPalette) -> None:
    """The line around a view that has the keyboard."""
    frame = QtCore.QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5)
    inks.outline(painter, [frame], theme.colours(palette).accent, 1.0, 0)
