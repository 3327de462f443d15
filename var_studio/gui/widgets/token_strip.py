"""A paragraph of tokens that can be clicked: wrapped like text, as high as it needs to be."""

from __future__ import annotations

from PySide6.QtCore import (
    QEvent,
    QLineF,
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
from var_studio.gui.models.token_list import NOWHERE, Entry, TokenListModel, TokenRole
from var_studio.gui.widgets.tints import LEAST, Hues, tint

_PAD = 3
_CHIP_PAD = 8
_BETWEEN = 8
"""Room between the lines of two answers under each other and the next two."""


class _TokenDelegate(QStyledItemDelegate):
    """Draws a token: its tint, its outline when selected, a mark where the answers part."""

    def __init__(self, strip: TokenStrip) -> None:
        super().__init__(strip)
        self._strip = strip
        self._sizes: dict[tuple[str, str, str], QSize] = {}

    def forget_sizes(self) -> None:
        self._sizes.clear()

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        entry: Entry = index.data(TokenRole.ENTRY)
        key = (entry.kind, entry.text, entry.partner)
        size = self._sizes.get(key)
        if size is None:
            size = self._sizes[key] = self._measured(entry)
        if entry.kind == "divider":
            # As wide as the strip: whatever follows begins on a new line.
            return QSize(max(self._strip.viewport().width() - 4, 40), size.height())
        return size

    def _measured(self, entry: Entry) -> QSize:
        metrics = self._strip.fontMetrics()
        if entry.kind == "chip":
            width = metrics.horizontalAdvance(entry.text) + 2 * _CHIP_PAD + 12
        else:
            words = (entry.text, entry.partner)
            width = max(self._width(metrics, word) for word in words)
        return QSize(width, self._strip.step)

    @staticmethod
    def _width(metrics: QFontMetrics, text: str) -> int:
        gap = _gap(metrics) if text[:1] == " " else 0
        return max(metrics.horizontalAdvance(text.lstrip(" ")) + 2 * _PAD, 8) + gap

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        entry: Entry = index.data(TokenRole.ENTRY)
        colours = theme.colours(option.palette)
        rect = QRectF(option.rect)
        rect.setHeight(self._strip.line)
        rect.adjust(0, 1, 0, -1)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if entry.kind == "chip":
            self._paint_chip(painter, rect, entry, colours)
        elif entry.kind == "divider":
            self._paint_divider(painter, rect, entry, colours)
        elif entry.kind == "gap":
            painter.setPen(QPen(QColor(colours.unseen), 1.4))
            middle = rect.center()
            painter.drawLine(middle - QPoint(3, 0), middle + QPoint(3, 0))
        else:
            if entry.leading_space:
                rect.setLeft(rect.left() + _gap(self._strip.fontMetrics()))
            # The column may be wider than this word.
            width = self._strip.fontMetrics().horizontalAdvance(entry.text.strip(" ")) + 2 * _PAD
            rect.setWidth(min(rect.width(), max(width, 8)))
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

    def _paint_divider(
        self, painter: QPainter, rect: QRectF, entry: Entry, colours: theme.Colours
    ) -> None:
        painter.setPen(QColor(colours.text_faint))
        painter.drawText(rect.adjusted(_PAD, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, entry.text)
        left = painter.fontMetrics().horizontalAdvance(entry.text) + 12
        painter.setPen(QColor(colours.border))
        middle = rect.center().y()
        painter.drawLine(QLineF(rect.left() + left, middle, rect.right(), middle))

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
        if shade is not None and abs(shade) > LEAST:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(tint(float(shade), self._strip.hues, colours))
            painter.drawRoundedRect(rect, 3, 3)
        if selected:
            over = QColor(colours.selection)
            over.setAlphaF(0.28)
            painter.setPen(QPen(QColor(colours.selection), 1.6))
            painter.setBrush(over)
            painter.drawRoundedRect(rect.adjusted(0.8, 0.8, -0.8, -0.8), 4, 4)
        elif option.state & QStyle.StateFlag.State_MouseOver and index.data(TokenRole.SELECTABLE):
            painter.setPen(QPen(QColor(colours.text_faint), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        if entry.differs:
            painter.setPen(QPen(QColor(colours.sink), 1.2, Qt.PenStyle.DotLine))
            painter.drawLine(rect.bottomLeft() + QPoint(2, -1), rect.bottomRight() - QPoint(2, 1))
        if entry.position == self._strip.divergence:
            painter.setPen(QPen(QColor(colours.sink), 2))
            painter.drawLine(rect.topLeft() + QPoint(0, 2), rect.bottomLeft() - QPoint(0, 2))
        painter.setPen(QColor(self._ink(entry, index, shade, colours)))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, entry.text.strip(" "))

    def _ink(
        self,
        entry: Entry,
        index: QModelIndex | QPersistentModelIndex,
        shade: float | None,
        colours: theme.Colours,
    ) -> str:
        assert entry.token is not None
        if shade is not None and abs(shade) > 0.2:
            return colours.text  # a faint ink would drown in the tint
        if entry.token.special or not index.data(TokenRole.SELECTABLE):
            return colours.text_faint
        return colours.text if entry.token.role == "generated" else colours.text_dim


class TokenStrip(QListView):
    """One paragraph. `token_clicked(position)` for tokens that have an attention row,
    `dead_token_clicked(position)` for the others; `home()`, `end()` and `typed(text)` from the
    keys; `fitted()` when the paragraph has another height.

    With `lines` 2 it leaves room for another paragraph of the same columns under each line.
    """

    token_clicked = Signal(int)
    dead_token_clicked = Signal(int)
    home = Signal()
    end = Signal()
    typed = Signal(str)
    fitted = Signal()

    def __init__(self, model: TokenListModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.selected: int | None = None
        self.hues = Hues()
        self.lines = 1
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
        self.setFont(_larger(self.font()))
        self._delegate = _TokenDelegate(self)
        self.setItemDelegate(self._delegate)
        self.setModel(model)
        self.clicked.connect(self._clicked)
        model.rowsInserted.connect(self.fit)
        model.rowsRemoved.connect(self.fit)
        model.modelReset.connect(self.fit)

    @property
    def tokens(self) -> TokenListModel:
        """The list that is shown."""
        model = self.model()
        assert isinstance(model, TokenListModel)
        return model

    @property
    def line(self) -> int:
        """Height of a line of words."""
        return self.fontMetrics().height() + 8

    @property
    def step(self) -> int:
        """From one line of this paragraph to its next."""
        return self.line if self.lines == 1 else self.lines * self.line + _BETWEEN

    def set_lines(self, lines: int) -> None:
        """Leave room under each line for those of other paragraphs."""
        if lines != self.lines:
            self.lines = lines
            self._delegate.forget_sizes()
            self.scheduleDelayedItemsLayout()
            self.fit()

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
        self._take_height()

    def updateGeometries(self) -> None:
        # Called after each layout, so also when the width has changed.
        super().updateGeometries()
        self._take_height()

    def _take_height(self) -> None:
        height = max(self.contentsSize().height(), self.step)
        if height != self.height() or self.minimumHeight() != height:
            self.setFixedHeight(height)
            self.fitted.emit()

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
        elif event.text().isprintable() and event.text().strip() and not _with_ctrl(event):
            self.typed.emit(event.text())
        else:
            event.ignore()  # arrows belong to the window

    def wheelEvent(self, event: QEvent) -> None:
        event.ignore()  # the panel scrolls, never the paragraph

    def _clicked(self, index: QModelIndex) -> None:
        position = int(index.data(TokenRole.POSITION))
        if position == NOWHERE:
            return
        if index.data(TokenRole.SELECTABLE):
            self.token_clicked.emit(position)
        else:
            self.dead_token_clicked.emit(position)


def _larger(font: QFont) -> QFont:
    larger = QFont(font)
    if font.pointSizeF() > 0:
        larger.setPointSizeF(font.pointSizeF() * 1.12)
    else:
        larger.setPixelSize(round(font.pixelSize() * 1.12))
    return larger


def _with_ctrl(event: QKeyEvent) -> bool:
    ctrl, alt = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier
    return bool(event.modifiers() & (ctrl | alt | Qt.KeyboardModifier.MetaModifier))


def _gap(metrics: QFontMetrics) -> int:
    return max(metrics.horizontalAdvance(" ") - 1, 2)
