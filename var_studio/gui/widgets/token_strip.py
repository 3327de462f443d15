"""A paragraph of tokens that can be clicked: wrapped like text, as high as it needs to be."""

from __future__ import annotations

from PySide6.QtCore import (
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from var_studio.gui import theme
from var_studio.gui.models.token_list import Entry, TokenListModel, TokenRole

_PAD = 3
_CHIP_PAD = 8


class _TokenDelegate(QStyledItemDelegate):
    """Draws a token: its shade, its outline when selected, a mark where the answers part."""

    def __init__(self, strip: TokenStrip) -> None:
        super().__init__(strip)
        self._strip = strip
        self._sizes: dict[tuple[str, bool], QSize] = {}

    def forget_sizes(self) -> None:
        self._sizes.clear()

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        entry: Entry = index.data(TokenRole.ENTRY)
        key = (entry.text, entry.token is None)
        size = self._sizes.get(key)
        if size is None:
            metrics = self._strip.fontMetrics()
            height = metrics.height() + 8
            if entry.token is None:
                size = QSize(metrics.horizontalAdvance(entry.text) + 2 * _CHIP_PAD + 12, height)
            else:
                width = metrics.horizontalAdvance(entry.text.lstrip(" ")) + 2 * _PAD
                gap = _gap(metrics) if entry.leading_space else 0
                size = QSize(max(width, 8) + gap, height)
            self._sizes[key] = size
        return size

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        entry: Entry = index.data(TokenRole.ENTRY)
        colours = theme.colours(option.palette)
        rect = QRectF(option.rect).adjusted(0, 1, 0, -1)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if entry.token is None:
            self._paint_chip(painter, rect, entry, colours)
        else:
            if entry.leading_space:
                rect.setLeft(rect.left() + _gap(self._strip.fontMetrics()))
            self._paint_token(painter, rect, entry, index, option, colours)
        painter.restore()

    def _paint_chip(
        self, painter: QPainter, rect: QRectF, entry: Entry, colours: theme.Colours
    ) -> None:
        rect.adjust(6, 1, -6, -1)
        painter.setPen(QPen(QColor(colours.border), 1))
        painter.setBrush(QColor(colours.accent_soft))
        painter.drawRoundedRect(rect, rect.height() / 2, rect.height() / 2)
        painter.setPen(QColor(colours.text_dim))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, entry.text)

    def _paint_token(
        self,
        painter: QPainter,
        rect: QRectF,
        entry: Entry,
        index: QModelIndex | QPersistentModelIndex,
        option: QStyleOptionViewItem,
        colours: theme.Colours,
    ) -> None:
        selected = entry.position == self._strip.selected
        shade = index.data(TokenRole.SHADE)
        if shade is not None and shade > 0.02:
            tint = QColor(colours.warning)
            tint.setAlphaF(0.08 + 0.42 * float(shade))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(tint)
            painter.drawRoundedRect(rect, 3, 3)
        if selected:
            tint = QColor(colours.selection)
            tint.setAlphaF(0.28)
            painter.setPen(QPen(QColor(colours.selection), 1.6))
            painter.setBrush(tint)
            painter.drawRoundedRect(rect.adjusted(0.8, 0.8, -0.8, -0.8), 4, 4)
        elif option.state & QStyle.StateFlag.State_MouseOver and index.data(TokenRole.SELECTABLE):
            painter.setPen(QPen(QColor(colours.text_faint), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        if entry.position == self._strip.divergence:
            painter.setPen(QPen(QColor(colours.sink), 2))
            painter.drawLine(rect.topLeft() + QPoint(0, 2), rect.bottomLeft() - QPoint(0, 2))
        painter.setPen(QColor(self._ink(entry, index, colours)))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, entry.text.strip(" "))

    def _ink(
        self,
        entry: Entry,
        index: QModelIndex | QPersistentModelIndex,
        colours: theme.Colours,
    ) -> str:
        assert entry.token is not None
        if entry.token.special or not index.data(TokenRole.SELECTABLE):
            return colours.text_faint
        return colours.text if entry.token.role == "generated" else colours.text_dim


class TokenStrip(QListView):
    """One paragraph. `token_clicked(position)` for tokens that have an attention row,
    `dead_token_clicked(position)` for the others; `step(n)`, `home()`, `end()` from the keys."""

    token_clicked = Signal(int)
    dead_token_clicked = Signal(int)
    home = Signal()
    end = Signal()

    def __init__(self, model: TokenListModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.selected: int | None = None
        self.setAccessibleName(name)
        self.setObjectName(f"strip.{name.lower().replace(' ', '-')}")
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * 1.12)
        self.setFont(font)
        self._delegate = _TokenDelegate(self)
        self.setItemDelegate(self._delegate)
        self.setModel(model)
        self.clicked.connect(self._clicked)
        model.rowsInserted.connect(self.fit)
        model.modelReset.connect(self.fit)

    @property
    def tokens(self) -> TokenListModel:
        """The list that is shown."""
        model = self.model()
        assert isinstance(model, TokenListModel)
        return model

    @property
    def divergence(self) -> int | None:
        return self.tokens.divergence

    def set_selected(self, position: int | None) -> bool:
        """Outline the token at `position` (None: no token of this strip). Returns whether another
        token of this strip is selected now."""
        if position == self.selected:
            return False
        before = self.tokens.index_of(self.selected)
        if before.isValid():
            self.update(before)
        self.selected = position
        index = self.tokens.index_of(position)
        if index.isValid():
            self.update(index)
            self.setCurrentIndex(index)
        return index.isValid()

    def fit(self) -> None:
        """Become as high as the paragraph is at the present width."""
        self.executeDelayedItemsLayout()
        height = max(self.contentsSize().height(), self.fontMetrics().height() + 8)
        if height != self.height() or self.minimumHeight() != height:
            self.setFixedHeight(height)

    def updateGeometries(self) -> None:
        # Called after each layout, so also when the width has changed.
        super().updateGeometries()
        height = max(self.contentsSize().height(), self.fontMetrics().height() + 8)
        if self.minimumHeight() != height:
            self.setFixedHeight(height)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_delegate"):
            self._delegate.forget_sizes()
            self.scheduleDelayedItemsLayout()
        super().changeEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        live = bool(self.indexAt(event.position().toPoint()).data(TokenRole.SELECTABLE))
        self.setCursor(Qt.CursorShape.PointingHandCursor if live else Qt.CursorShape.ArrowCursor)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Home:
            self.home.emit()
        elif event.key() == Qt.Key.Key_End:
            self.end.emit()
        else:
            # Arrows and letters belong to the window's shortcuts, not to the list.
            event.ignore()

    def wheelEvent(self, event: QEvent) -> None:
        event.ignore()  # the panel scrolls, never the paragraph

    def _clicked(self, index: QModelIndex) -> None:
        position = int(index.data(TokenRole.POSITION))
        if index.data(TokenRole.SELECTABLE):
            self.token_clicked.emit(position)
        else:
            self.dead_token_clicked.emit(position)


def _gap(metrics: QFontMetrics) -> int:
    return max(metrics.horizontalAdvance(" ") - 1, 2)
