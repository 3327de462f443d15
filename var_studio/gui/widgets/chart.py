"""A chart: axes, thresholds to drag, a rectangle to pull up around marks. Subclasses draw marks."""

from __future__ import annotations

import re

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.chart_axes import Axis, Guide

GRASP = 5
"""A guide is taken up from this many pixels away."""
PULL = 4
"""A press that moves further than this pulls up a rectangle; else it is a click."""
TALL = 150
"""From this height on the horizontal axis has its name under its numbers, else among them."""


class Chart(QtWidgets.QWidget):
    """Axes and guides, and what the mouse does in between.

    PageUp and PageDown move the first guide, with Ctrl the second, with Shift in small steps.
    """

    guide_dragged = QtCore.Signal(str, float)
    guide_released = QtCore.Signal(str)
    brushed = QtCore.Signal(QtCore.QRectF, bool)
    """A rectangle in pixels of this widget, and whether it adds to what is selected."""
    clicked = QtCore.Signal(QtCore.QPointF, bool)
    hovered = QtCore.Signal(object)
    """The place under the pointer as a QPointF, or None outside the plot."""

    brushing = False
    """Whether a press pulls up a rectangle."""
    numbered = True
    """Whether numbers stand at the vertical axis; not where the chart beside it shows them."""

    def __init__(self, name: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(120, 72)
        self.x_axis, self.y_axis = Axis(0.0, 1.0), Axis(0.0, 1.0)
        self.guides: tuple[Guide, ...] = ()
        self.heading = ""
        self._held = ""
        self._pressed: QtCore.QPointF | None = None
        self._pointer: QtCore.QPointF | None = None
        self._band = QtCore.QRectF()

    def set_axes(self, x: Axis, y: Axis) -> None:
        """Show these ranges."""
        if (x, y) != (self.x_axis, self.y_axis):
            self.x_axis, self.y_axis = x, y
            self.update()

    def set_guides(self, *guides: Guide) -> None:
        """Show these thresholds, the one that the keys move first."""
        if guides != self.guides:
            self.guides = guides
            self.setAccessibleDescription("; ".join(guide.text for guide in guides))
            self.update()

    # ---------------------------------------------------------------------------- geometry
    def plot_rect(self) -> QtCore.QRectF:
        """Where marks are drawn, in this widget."""
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        line = metrics.height()
        ticks = self.y_axis.ticks(self._most_rows()) if self.numbered else []
        left = max((metrics.horizontalAdvance(text) for _, text in ticks), default=0) + 8
        left += line + 2 if self.y_axis.name and self.numbered else 0
        below = line + 6 + (line if self._named_below() else 0)
        # The last number of the horizontal axis stands half beyond the plot.
        right = max(10.0, metrics.horizontalAdvance(self.x_axis.end or "0.0") / 2 + 3)
        for guide in self.guides:
            if not guide.upright:
                right = max(right, metrics.horizontalAdvance(_widest(guide.text)) + 8.0)
        headed = bool(self.heading) or any(guide.upright for guide in self.guides)
        top = 1.5 * line + 1 if headed else line / 2 + 1
        return QtCore.QRectF(self.rect()).adjusted(left, top, -right, -below)

    def _named_below(self) -> bool:
        return bool(self.x_axis.name) and self.height() >= TALL

    def _most_rows(self) -> int:
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        return max(2, int(self.height() // (2.6 * metrics.height())))

    def x_of(self, value: float) -> float:
        """Where a value of the horizontal axis lies across this widget."""
        room = self.plot_rect()
        return float(room.left() + self.x_axis.shares(value) * room.width())

    def y_of(self, value: float) -> float:
        """How far down this widget a value of the vertical axis lies."""
        room = self.plot_rect()
        return float(room.bottom() - self.y_axis.shares(value) * room.height())

    def value_at(self, point: QtCore.QPointF) -> tuple[float, float]:
        """The values of both axes at a place of this widget, within their ends."""
        room = self.plot_rect()
        return (
            self.x_axis.value((point.x() - room.left()) / room.width()),
            self.y_axis.value((room.bottom() - point.y()) / room.height()),
        )

    # ----------------------------------------------------------------------------- drawing
    def draw_marks(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        """Draw what the chart shows, within `room`. Override."""

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the grid, the marks, the guides, and a frame while the keys go here."""
        painter = QtGui.QPainter(self)
        present, room = theme.colours(self.palette()), self.plot_rect()
        if room.width() < 10 or room.height() < 10:
            return
        painter.setFont(inks.small_font(self.font()))
        self._draw_axes(painter, room, present)
        painter.save()
        # A clip between pixels would make every mark slow.
        painter.setClipRect(room.adjusted(-6, -6, 6, 6).toAlignedRect())
        self.draw_marks(painter, room, present)
        painter.restore()
        self._draw_guides(painter, room, present)
        if not self._band.isNull():
            colour = QtGui.QColor(present.selection)
            painter.setPen(QtGui.QPen(colour, 1.0))
            colour.setAlpha(40)
            painter.setBrush(colour)
            painter.drawRect(self._band)
        if self.hasFocus():
            frame = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], present.accent, 1.0, 0)

    def _draw_axes(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        metrics = painter.fontMetrics()
        line = metrics.height()
        grid = QtGui.QPen(QtGui.QColor(present.border), 1, QtCore.Qt.PenStyle.DotLine)
        ink = QtGui.QPen(QtGui.QColor(present.text_dim))
        if self.heading:
            painter.setPen(ink)
            elide = QtCore.Qt.TextElideMode.ElideRight
            text = metrics.elidedText(self.heading, elide, int(self.width() - room.left()))
            painter.drawText(QtCore.QPointF(room.left(), metrics.ascent()), text)
        right = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        rows = self.y_axis.ticks(self._most_rows())
        for share, (_, text) in zip(self.y_axis.shares([v for v, _ in rows]), rows, strict=True):
            height = round(room.bottom() - share * room.height()) + 0.5
            painter.setPen(grid)
            painter.drawLine(QtCore.QLineF(room.left(), height, room.right(), height))
            if not self.numbered:
                continue
            painter.setPen(ink)
            box = QtCore.QRectF(0, height - line / 2, room.left() - 5, line)
            painter.drawText(box, right, text)
        self._draw_columns(painter, room)
        painter.setPen(QtGui.QColor(present.unseen))
        painter.drawLine(room.bottomLeft(), room.bottomRight())
        painter.setPen(ink)
        if self._named_below():
            box = QtCore.QRectF(room.left(), self.height() - line - 1, room.width(), line)
            if metrics.horizontalAdvance(self.x_axis.name) <= room.width():
                painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, self.x_axis.name)
        if self.y_axis.name and self.numbered:
            painter.save()
            painter.translate(0, room.center().y())
            painter.rotate(-90)
            wide = 2.0 * min(room.center().y(), self.height() - room.center().y())
            name = metrics.elidedText(
                self.y_axis.name, QtCore.Qt.TextElideMode.ElideRight, int(wide)
            )
            box = QtCore.QRectF(-wide / 2, 0, wide, line)
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, name)
            painter.restore()

    def _draw_columns(self, painter: QtGui.QPainter, room: QtCore.QRectF) -> None:
        """The numbers of the horizontal axis, those that keep apart; its end's name first."""
        present, metrics = theme.colours(self.palette()), painter.fontMetrics()
        most = max(2, int(room.width() // (metrics.horizontalAdvance("00.00") + 18)))
        ticks = self.x_axis.ticks(most)
        if self.x_axis.end:
            ticks = [
                (self.x_axis.high, self.x_axis.end),
                *(t for t in ticks if t[0] < self.x_axis.high),
            ]
        painter.setPen(QtGui.QColor(present.text_dim))
        boxes = []
        for value, text in ticks:
            width = metrics.horizontalAdvance(text) + 2
            at = room.left() + float(self.x_axis.shares(value)) * room.width()
            box = QtCore.QRectF(at - width / 2, room.bottom() + 4, width, metrics.height())
            boxes.append((at, text, box))
        taken = self._name_among([box for _, _, box in boxes], room, painter)
        for at, text, box in boxes:
            if any(box.adjusted(-6, 0, 6, 0).intersects(other) for other in taken):
                continue
            taken.append(box)
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, text)
            painter.drawLine(QtCore.QLineF(at, room.bottom(), at, room.bottom() + 2))

    def _name_among(
        self, numbers: list[QtCore.QRectF], room: QtCore.QRectF, painter: QtGui.QPainter
    ) -> list[QtCore.QRectF]:
        """In a low chart the horizontal axis's name stands between its numbers, left of the last
        one, where there is room for at least two of them; the place that it takes."""
        if self._named_below() or not self.x_axis.name or not numbers:
            return []
        metrics = painter.fontMetrics()
        last = max(numbers, key=lambda box: box.right())
        width = metrics.horizontalAdvance(self.x_axis.name) + 2
        box = QtCore.QRectF(last.left() - 14 - width, last.top(), width, last.height())
        first = min(numbers, key=lambda each: each.left())
        if box.left() < first.right() + 14:
            return []
        painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, self.x_axis.name)
        return [box]

    def _draw_guides(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        for guide in self.guides:
            colour = QtGui.QColor(getattr(present, guide.colour))
            painter.setPen(QtGui.QPen(colour, 3.0 if guide.name == self._held else 2.0))
            ends = self._ends(guide, room)
            painter.drawLine(ends)
            painter.setBrush(colour)
            painter.setPen(QtCore.Qt.PenStyle.NoPen)
            painter.drawEllipse(ends.pointAt(0.55), 5, 5)
            painter.setPen(colour)
            box = self._caption_box(guide, room, metrics)
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, guide.text)

    def _caption_box(
        self, guide: Guide, room: QtCore.QRectF, metrics: QtGui.QFontMetrics
    ) -> QtCore.QRectF:
        """Where a guide's text stands: above the plot or beside it, where it covers no mark."""
        ends = self._ends(guide, room)
        width = metrics.horizontalAdvance(guide.text) + 4
        if guide.upright:
            left = ends.x1() + 4 if ends.x1() + 4 + width <= self.width() else ends.x1() - width
            return QtCore.QRectF(max(left, 0.0), 0, width, metrics.height())
        top = min(max(ends.y1() - metrics.height() / 2, 0.0), self.height() - 1.0)
        return QtCore.QRectF(room.right() + 5, top, width, metrics.height())

    def _ends(self, guide: Guide, room: QtCore.QRectF) -> QtCore.QLineF:
        """From one end of a guide to the other; at an edge of the plot where it lies outside."""
        if guide.upright:
            at = min(max(self.x_of(guide.value), room.left()), room.right())
            return QtCore.QLineF(at, room.top(), at, room.bottom())
        at = min(max(self.y_of(guide.value), room.top()), room.bottom())
        return QtCore.QLineF(room.left(), at, room.right(), at)

    # ------------------------------------------------------------------------------ events
    def _guide_at(self, point: QtCore.QPointF) -> Guide | None:
        room = self.plot_rect()
        if not room.adjusted(-GRASP, -GRASP, GRASP, GRASP).contains(point):
            return None
        for guide in self.guides:
            ends = self._ends(guide, room)
            far = point.x() - ends.x1() if guide.upright else point.y() - ends.y1()
            if abs(far) <= GRASP:
                return guide
        return None

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Take up a guide, or begin a rectangle."""
        if event.button() != QtCore.Qt.MouseButton.LeftButton:
            return
        guide = self._guide_at(event.position())
        if guide is not None:
            self._held = guide.name
            self.update()
        else:
            self._pressed = event.position()

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Move what was taken up; else say what lies under the pointer."""
        point = event.position()
        self._pointer = point if self.plot_rect().contains(point) else None
        guide = next((g for g in self.guides if g.name == self._held), None)
        if guide is not None:
            value = self.value_at(point)[0 if guide.upright else 1]
            self.guide_dragged.emit(guide.name, min(max(value, guide.low), guide.high))
            return
        if self._pressed is not None and self.brushing:
            far = point - self._pressed
            if not self._band.isNull() or max(abs(far.x()), abs(far.y())) > PULL:
                pulled = QtCore.QRectF(self._pressed, point).normalized()
                self._band = pulled & QtCore.QRectF(self.rect())
                self.update()
            return
        over = self._guide_at(point)
        if over is None:
            self.unsetCursor()
        else:
            shape = QtCore.Qt.CursorShape
            self.setCursor(shape.SizeHorCursor if over.upright else shape.SizeVerCursor)
        self.hovered.emit(self._pointer)

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Let go: a guide, a rectangle, or a click."""
        if event.button() != QtCore.Qt.MouseButton.LeftButton:
            return
        held, pressed, band = self._held, self._pressed, self._band
        self._held, self._pressed, self._band = "", None, QtCore.QRectF()
        self.update()
        modifiers = QtCore.Qt.KeyboardModifier
        extend = bool(event.modifiers() & (modifiers.ShiftModifier | modifiers.ControlModifier))
        if held:
            self.guide_released.emit(held)
        elif not band.isNull():
            self.brushed.emit(band, extend)
        elif pressed is not None:
            self.clicked.emit(pressed, extend)

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on nothing any more."""
        super().leaveEvent(event)
        self._pointer = None
        self.hovered.emit(None)

    def tell_hovered(self) -> None:
        """Say anew what lies under the pointer: what is drawn there may have changed."""
        if self._pointer is not None:
            self.hovered.emit(self._pointer)

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Wear the new palette or font."""
        super().changeEvent(event)
        self.update()

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """PageUp and PageDown move a guide by 1 % of its range, with Shift by 0.1 %."""
        keys, modifiers = QtCore.Qt.Key, event.modifiers()
        second = bool(modifiers & QtCore.Qt.KeyboardModifier.ControlModifier)
        chosen = self.guides[int(second) : int(second) + 1]
        if event.key() not in (keys.Key_PageUp, keys.Key_PageDown) or not chosen:
            event.ignore()  # the window's
            return
        (guide,) = chosen
        fine = modifiers & QtCore.Qt.KeyboardModifier.ShiftModifier
        step = (guide.high - guide.low) * (0.001 if fine else 0.01)
        moved = guide.value + (step if event.key() == keys.Key_PageUp else -step)
        self.guide_dragged.emit(guide.name, min(max(moved, guide.low), guide.high))
        if not event.isAutoRepeat():
            self.guide_released.emit(guide.name)


def _widest(text: str) -> str:
    """A text with digits in which every number it may show has room: a plot must not jump."""
    return re.sub(r"[\d.]+", "00.00", text)
