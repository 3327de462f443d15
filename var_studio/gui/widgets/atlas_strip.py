"""All heads in a line, sorted by a value (Fig. 4): a profile, and maps where there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.atlas_pixels import CellShape, map_indices, paint_cells, profile_pixels
from var_studio.gui.widgets.head_picking import NO_HEAD, Head, HeadPicking
from var_studio.gui.widgets.ticks import number_text, tick_values

LEAST_PROFILE = 64
LEAST_THUMBNAIL = 46
"""Pixels: below it a map is not legible, and none is drawn."""
MARGIN = 6
"""Pixels on each side of a thumbnail, for the outlines of image-centric and selected heads."""


@dataclass(frozen=True)
class Thumbnails:
    """Maps of some heads: `maps` (n, rows, cols), `high` (n,) the upper limit of each. `aspect`:
    width of a map over its height. `signed`: from -high to high. `caption`: what they are."""

    maps: npt.NDArray[np.floating]
    high: npt.NDArray[np.floating]
    colours: str
    aspect: float
    signed: bool = False
    caption: str = ""


class Places(NamedTuple):
    """Where the strip's parts stand, in its pixels: the profile, the height of a line of words,
    where the maps begin, how many stand side by side and under each other, a cell's size with its
    words, and a map's height."""

    profile: QtCore.QRectF
    line: int
    top: float
    columns: int
    rows: int
    cell: tuple[float, float]
    map_height: float


class StripView(HeadPicking):
    """Above, the value of every head by its rank; below, the maps of some of them in that order.

    A click in the profile brings the thumbnails there; the wheel moves them. Keys follow the ranks.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(140, 96)  # with a note below, still in a window of 1100 × 700
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Heads in a line, sorted by their value, the largest first")
        self._order: npt.NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)
        self._sorted = np.zeros(0)
        self._rank: npt.NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
        self._limits = (0.0, 1.0)
        self._colours = "viridis"
        self._guide: tuple[float, str] | None = None
        self._outlined = np.zeros((0, 0), dtype=bool)
        self._first = 0
        self._thumbnails: Callable[[Sequence[Head]], Thumbnails] | None = None
        self._maps_first = False
        self._drawn: tuple[Sequence[Head], Thumbnails] | None = None
        self._places_key: tuple[object, ...] = ()
        self._kept: Places

    # ------------------------------------------------------------------------ what to show
    def set_values(
        self,
        values: npt.NDArray[np.floating],
        low: float,
        high: float,
        colours: str,
        outlined: npt.NDArray[np.bool_],
        guide: tuple[float, str] | None = None,
    ) -> None:
        """Show one value for each head, (L, H), largest first, NaN last. `outlined` (L, H): the
        image-centric heads. `guide`: a value to draw a line at, and its name."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        order = np.argsort(-flat, kind="stable")
        self._sorted = flat[order]
        self._order = np.stack(np.unravel_index(order, values.shape), axis=1)
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        if self._rank.shape != values.shape:
            self.forget_beyond(values.shape[0], values.shape[1])
        self._rank = ranks.reshape(values.shape[0], values.shape[1])
        self._limits, self._colours, self._guide = (low, high), colours, guide
        self._outlined = outlined
        self._drawn = None
        self.update()

    def set_thumbnails(
        self, source: Callable[[Sequence[Head]], Thumbnails] | None, maps_first: bool = False
    ) -> None:
        """Where the maps of the heads in view come from. `maps_first`: give them more room."""
        self._thumbnails, self._maps_first, self._drawn = source, maps_first, None
        self.update()

    def rank_of(self, head: Head) -> int:
        """1 is the head with the largest value; 0 for a head that is not here."""
        layers, heads = self._rank.shape
        inside = 0 <= head[0] < layers and 0 <= head[1] < heads
        return int(self._rank[head]) + 1 if inside else 0

    @property
    def count(self) -> int:
        """Number of heads."""
        return len(self._sorted)

    # ------------------------------------------------------------------------ where heads are
    def head_at(self, rank: int) -> Head:
        """The head of a rank, counted from 0 here."""
        layer, head = self._order[min(max(rank, 0), self.count - 1)]
        return int(layer), int(head)

    def between(self, first: Head, last: Head) -> frozenset[Head]:
        """All heads from one rank to the other."""
        if not self.count:
            return frozenset()
        one, other = sorted((int(self._rank[first]), int(self._rank[last])))
        return frozenset(self.head_at(rank) for rank in range(one, other + 1))

    def moved(self, head: Head, down: int, right: int) -> Head:
        """The next rank, or the thumbnail below."""
        if not self.count:
            return head
        rank = min(int(self._rank[head]) + right + down * self._places().columns, self.count - 1)
        self.reveal(max(rank, 0))
        return self.head_at(rank)

    def row_of(self, head: Head) -> frozenset[Head]:
        """All heads of its layer."""
        return frozenset((head[0], other) for other in range(self._rank.shape[1]))

    def column_of(self, head: Head) -> frozenset[Head]:
        """The head of this number in every layer."""
        return frozenset((other, head[1]) for other in range(self._rank.shape[0]))

    # ---------------------------------------------------------------------------- geometry
    def _places(self) -> Places:
        """Where everything stands; measured anew only where something that matters changed."""
        aspect = self._drawn[1].aspect if self._drawn is not None else 1.0
        maps = self._thumbnails is not None
        key = (self.size(), self.font().key(), self._limits, self.count, maps, self._maps_first)
        if (*key, aspect) != self._places_key:
            self._places_key, self._kept = (*key, aspect), self._measure(aspect)
        return self._kept

    def _measure(self, aspect: float) -> Places:
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        line = metrics.height()
        ticks = tick_values(*self._limits, 3)
        left = max(metrics.horizontalAdvance(number_text(value)) for value in ticks) + 8
        room = self.height() - 2 * line - 14  # without the words between profile and maps
        wanted = min(max(self.width() / 6, LEAST_THUMBNAIL + 6), 112)
        columns = max(1, int((self.width() - 8) // wanted))
        wide = (self.width() - 8) / columns
        high = (wide - 2 * MARGIN) / aspect + line + 2 * MARGIN
        rows = 0
        if self._thumbnails is not None and self.count:
            least = max(LEAST_PROFILE, room * (16 if self._maps_first else 30) // 100)
            rows = max(0, min(int((room - least) // high), -(-self.count // columns)))
        # What the maps leave is the profile's.
        profile = QtCore.QRectF(left, 4, max(self.width() - left - 6, 1), room - rows * high - 4)
        top = profile.bottom() + 2 * line + 12
        return Places(profile, line, top, columns, rows, (wide, high), (wide - 2 * MARGIN) / aspect)

    def profile_rect(self) -> QtCore.QRectF:
        """Where the profile is drawn."""
        return self._places().profile

    def page(self) -> range:
        """Ranks (from 0) whose thumbnails there is room for."""
        places = self._places()
        shown = min(places.rows * places.columns, self.count)
        first = min(self._first, self.count - shown)
        return range(first, first + shown)

    def thumbnail_rect(self, rank: int) -> QtCore.QRectF:
        """Where the map of a rank (from 0) in view is drawn."""
        places = self._places()
        row, column = divmod(rank - self.page().start, places.columns)
        wide, high = places.cell
        left, top = 4 + column * wide + MARGIN, places.top + row * high + MARGIN
        return QtCore.QRectF(left, top, wide - 2 * MARGIN, places.map_height)

    def rank_x(self, rank: int) -> float:
        """Middle of a rank (from 0) in the profile."""
        box = self.profile_rect()
        return box.left() + (rank + 0.5) / max(self.count, 1) * box.width()

    def hit(self, point: QtCore.QPointF, clamped: bool = False) -> int | None:
        """Rank (from 0) at a point, None beside the heads. `clamped`: the nearest."""
        if not self.count:
            return None
        box = self.profile_rect()
        if point.y() <= box.bottom() + self._places().line + 4:
            rank = int((point.x() - box.left()) / box.width() * self.count // 1)
            inside = 0 <= rank < self.count
            return min(max(rank, 0), self.count - 1) if inside or clamped else None
        page = self.page()
        for rank in page:
            if (
                self.thumbnail_rect(rank)
                .adjusted(-MARGIN, -MARGIN, MARGIN, self._places().line + MARGIN)
                .contains(point)
            ):
                return rank
        return page.stop - 1 if clamped and page else None

    def reveal(self, rank: int) -> None:
        """Bring the thumbnail of a rank (from 0) into view."""
        page = self.page()
        if page and rank not in page:
            self.scroll_to(rank - len(page) // 2)

    def scroll_to(self, first: int) -> None:
        """Show the thumbnails from a rank (from 0) on, by whole rows."""
        columns = self._places().columns
        first = min(max(first, 0), max(self.count - len(self.page()), 0)) // columns * columns
        if first != self._first:
            self._first = first
            self.update()

    # ----------------------------------------------------------------------------- drawing
    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the profile, its numbers, and the thumbnails in view."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), self.palette().window())
        if not self.count:
            return
        painter.setFont(inks.small_font(self.font()))
        page = self.page()
        chosen = [self.head_at(rank) for rank in page]
        if chosen and (self._drawn is None or self._drawn[0] != chosen):
            assert self._thumbnails is not None
            self._drawn = chosen, self._thumbnails(chosen)
            page = self.page()  # the aspect of the maps is known only now
            chosen = [self.head_at(rank) for rank in page]
            if chosen != self._drawn[0]:
                self._drawn = chosen, self._thumbnails(chosen)
        self._draw_profile(painter, page)
        self._draw_thumbnails(painter, page)
        if self.hasFocus():
            frame = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], theme.colours(self.palette()).accent, 1.0, 0)

    def _draw_profile(self, painter: QtGui.QPainter, page: range) -> None:
        present, box = theme.colours(self.palette()), self.profile_rect()
        ratio = self.devicePixelRatioF()
        pixels = profile_pixels(
            self._sorted,
            self._limits,
            self._outlined[tuple(self._order.T)],
            CellShape(max(1, round(box.height() * ratio)), max(1, round(box.width() * ratio))),
            self._colours,
            ground=present.canvas,
            mark=present.image_centric,
            thick=round(4 * ratio),
        )
        height, width = pixels.shape
        image = QtGui.QImage(
            pixels.data, width, height, 4 * width, QtGui.QImage.Format.Format_RGB32
        )
        painter.drawImage(box, image)
        self._draw_scale(painter, box)
        if page and len(page) < self.count:
            half = box.width() / self.count / 2
            shown = QtCore.QRectF(box)
            shown.setLeft(self.rank_x(page.start) - half)
            shown.setRight(self.rank_x(page.stop - 1) + half)
            inks.outline(painter, [shown], present.text_dim, 1.0, 0)
        if self._selected:
            painter.setPen(QtGui.QPen(QtGui.QColor(present.selection), 2.0))
            for x in {round(self.rank_x(int(self._rank[head]))) for head in self._selected}:
                painter.drawLine(QtCore.QPointF(x, box.top()), QtCore.QPointF(x, box.bottom()))
        if self._hovered != NO_HEAD:
            here = self.rank_x(int(self._rank[self._hovered]))
            painter.setPen(QtGui.QPen(QtGui.QColor(present.text), 1.0))
            painter.drawLine(QtCore.QPointF(here, box.top()), QtCore.QPointF(here, box.bottom()))

    def _draw_scale(self, painter: QtGui.QPainter, box: QtCore.QRectF) -> None:
        present, line = theme.colours(self.palette()), self._places().line
        metrics = painter.fontMetrics()
        low, high = self._limits
        right = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.setPen(inks.faint(self.palette()))
        for value in tick_values(low, high, max(1, int(box.height() // (line + 6)))):
            y = self._y(value, box)
            place = QtCore.QRectF(0, min(max(y - line / 2, 0), box.bottom() - line + 3), 0, line)
            place.setRight(box.left() - 4)
            painter.drawText(place, right, number_text(value))
        ranks = [1, *(int(v) for v in tick_values(0, self.count, 4) if v > 1)]
        free = -1.0
        for rank in ranks:
            text = f"{rank:,}" if rank > 1 else "rank 1"
            wide = metrics.horizontalAdvance(text)
            x = min(max(self.rank_x(rank - 1) - wide / 2, box.left()), box.right() - wide)
            if x > free:
                painter.drawText(QtCore.QPointF(x, box.bottom() + metrics.ascent() + 2), text)
                free = x + wide + 8
        if self._guide is not None and low <= self._guide[0] <= high:
            y = self._y(self._guide[0], box)
            painter.setPen(
                QtGui.QPen(QtGui.QColor(present.image_centric), 1.2, QtCore.Qt.PenStyle.DashLine)
            )
            painter.drawLine(QtCore.QPointF(box.left(), y), QtCore.QPointF(box.right(), y))
            place = QtCore.QRectF(box.left(), y - line - 2, box.width() - 4, line)
            if place.top() < box.top():
                place.moveTop(y + 2)
            painter.drawText(place, right, self._guide[1])

    def _y(self, value: float, box: QtCore.QRectF) -> float:
        low, high = self._limits
        return box.bottom() - (value - low) / max(high - low, 1e-30) * box.height()

    def _draw_thumbnails(self, painter: QtGui.QPainter, page: range) -> None:
        if self._drawn is None or not page:
            return
        present, found = theme.colours(self.palette()), self._drawn[1]
        ratio = self.devicePixelRatioF()
        places = self._places()
        wide, high = places.cell[0] - 2 * MARGIN, places.map_height
        cell = CellShape(max(1, round(high * ratio)), max(1, round(wide * ratio)))
        entries = map_indices(found.maps[None], found.high[None], cell, signed=found.signed)
        pixels = paint_cells(
            entries,
            cell,
            found.colours,
            gap=present.window,
            empty=present.canvas,
        )
        height, width = pixels.shape
        image = QtGui.QImage(
            pixels.data, width, height, 4 * width, QtGui.QImage.Format.Format_RGB32
        )
        metrics = painter.fontMetrics()
        room = QtCore.QRectF(
            4, self._places().top - self._places().line - 4, self.width() - 8, self._places().line
        )
        ranks = f"Ranks {page.start + 1:,}–{page.stop:,} · {found.caption}"
        ranks = metrics.elidedText(ranks, QtCore.Qt.TextElideMode.ElideRight, int(room.width()))
        painter.setPen(inks.faint(self.palette()))
        painter.drawText(room, QtCore.Qt.AlignmentFlag.AlignLeft, ranks)
        for index, rank in enumerate(page):
            box = self.thumbnail_rect(rank)
            part = QtCore.QRectF(index * cell.width, 0, cell.width, cell.height)
            painter.drawImage(box, image, part)
            layer, head = self._drawn[0][index]
            painter.setPen(inks.faint(self.palette()))
            text = f"{layer}·{head}  {number_text(float(self._sorted[rank]), 2)}"
            text = metrics.elidedText(text, QtCore.Qt.TextElideMode.ElideRight, int(wide) + 4)
            at = QtCore.QRectF(box.left() - 3, box.bottom() + MARGIN, wide + 6, places.line)
            painter.drawText(at, QtCore.Qt.AlignmentFlag.AlignHCenter, text)
        shown = set(self._drawn[0])
        # Beside the maps, which they would hide the borders of.
        centric = [self._around(head, 2.0) for head in shown if self._outlined[head]]
        inks.outline(painter, centric, present.image_centric, 2.0, 0)
        marks = [self._around(head, 5.0) for head in self._selected if head in shown]
        inks.outline(painter, marks, present.selection, 2.0, 0)
        framed = {self._hovered} | ({self._cursor} if self.hasFocus() else set())
        inks.outline(painter, [self._around(head, 5.0) for head in framed & shown], "#ffffff", 1.0)

    def _around(self, head: Head, far: float) -> QtCore.QRectF:
        return self.thumbnail_rect(int(self._rank[head])).adjusted(-far, -far, far, far)

    # ------------------------------------------------------------------------------ events
    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Redraw in the colours of the new palette."""
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self.update()
        super().changeEvent(event)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Choose the head of a rank."""
        rank = self.hit(event.position())
        if event.button() == QtCore.Qt.MouseButton.LeftButton and rank is not None:
            self.reveal(rank)
            self.begin(self.head_at(rank), event.modifiers())

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Say which head lies under the pointer; with the button down, take those between."""
        rank = self.hit(event.position())
        self.hover(NO_HEAD if rank is None else self.head_at(rank))
        if event.buttons() & QtCore.Qt.MouseButton.LeftButton:
            rank = self.hit(event.position(), clamped=True)
            if rank is not None:
                self.stretch(self.head_at(rank))

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Move the thumbnails by a row."""
        turned = event.angleDelta().y() or event.angleDelta().x()
        if turned and self.page():
            self.scroll_to(self.page().start + self._places().columns * (-1 if turned > 0 else 1))
            event.accept()
