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
from PySide6.QtGui import (
    QColor,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from var_studio.gui import theme
from var_studio.gui.models.token_list import NOWHERE, Entry, TokenListModel, TokenRole
from var_studio.gui.widgets.tints import LEAST, Hues, tint

_PAD = 3
_CHIP_PAD = 8
_SMOOTH = QPainter.RenderHint.Antialiasing
_CENTRED = Qt.AlignmentFlag.AlignCenter
_NO_PEN, _NO_BRUSH = Qt.PenStyle.NoPen, Qt.BrushStyle.NoBrush
_BETWEEN = 8
"""Room between the lines of two answers under each other and the next two."""


class _TokenDelegate(QStyledItemDelegate):
    """Draws a token: its tint, its outline when selected, a mark where the answers part.

    A scroll paints some two hundred words, so what is the same for all of them is kept.
    """

    def __init__(self, strip: TokenStrip) -> None:
        super().__init__(strip)
        self._strip = strip
        self.forget_sizes()
        self.forget_colours()

    def forget_sizes(self) -> None:
        """The font has changed, or the lines."""
        self._sizes: dict[tuple[str, str, str], QSize] = {}
        self._widths: dict[str, int] = {}
        metrics = self._strip.fontMetrics()
        self._metrics = metrics
        self._gap = max(metrics.horizontalAdvance(" ") - 1, 2)
        self._line = self._strip.line

    def forget_colours(self) -> None:
        """The palette has changed."""
        self._colours = theme.colours(self._strip.palette())
        self._inks = {
            name: QColor(getattr(self._colours, name))
            for name in ("text", "text_dim", "text_faint")
        }

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        entry = self._strip.tokens.entries[index.row()]
        key = (entry.kind, entry.text, entry.partner)
        size = self._sizes.get(key)
        if size is None:
            size = self._sizes[key] = self._measured(entry)
        if entry.kind == "divider":
            # As wide as the strip: whatever follows begins on a new line.
            return QSize(max(self._strip.viewport().width() - 4, 40), size.height())
        return size

    def _measured(self, entry: Entry) -> QSize:
        if entry.kind == "chip":
            width = self._metrics.horizontalAdvance(entry.text) + 2 * _CHIP_PAD + 12
        else:
            width = max(
                self._width(text) + (self._gap if text[:1] == " " else 0)
                for text in (entry.text, entry.partner)
            )
        return QSize(width, self._strip.step)

    def _width(self, text: str) -> int:
        """Of a word with its padding, without the space before it."""
        width = self._widths.get(text)
        if width is None:
            width = max(self._metrics.horizontalAdvance(text.strip(" ")) + 2 * _PAD, 8)
            self._widths[text] = width
        return width

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        row = index.row()
        entry = self._strip.tokens.entries[row]
        rect = QRectF(option.rect)
        rect.setHeight(self._line)
        rect.adjust(0, 1, 0, -1)
        painter.setRenderHint(_SMOOTH)
        if entry.token is not None:
            if entry.leading_space:
                rect.setLeft(rect.left() + self._gap)
            # The column may be wider than this word.
            rect.setWidth(min(rect.width(), self._width(entry.text)))
            self._paint_token(painter, rect, entry, row)
        elif entry.kind == "chip":
            self._paint_chip(painter, rect, entry, self._colours)
        elif entry.kind == "divider":
            self._paint_divider(painter, rect, entry, self._colours)
        else:
            painter.setPen(QPen(QColor(self._colours.unseen), 1.4))
            middle = rect.center()
            painter.drawLine(middle - QPoint(3, 0), middle + QPoint(3, 0))

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

    def _paint_token(self, painter: QPainter, rect: QRectF, entry: Entry, row: int) -> None:
        colours, strip = self._colours, self._strip
        tokens = strip.tokens
        live = entry.position in tokens.selectable
        shade = tokens.shade(entry.position)
        if shade is not None and abs(shade) > LEAST:
            painter.setPen(_NO_PEN)
            painter.setBrush(tint(shade, strip.hues, colours))
            painter.drawRoundedRect(rect, 3, 3)
        if entry.position == strip.selected:
            over = QColor(colours.selection)
            over.setAlphaF(0.28)
            painter.setPen(QPen(QColor(colours.selection), 1.6))
            painter.setBrush(over)
            painter.drawRoundedRect(rect.adjusted(0.8, 0.8, -0.8, -0.8), 4, 4)
        elif row == strip.hovered and live:
            painter.setPen(QPen(QColor(colours.text_faint), 1))
            painter.setBrush(_NO_BRUSH)
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        if entry.differs and strip.tokens.parted:
            painter.setPen(QPen(QColor(colours.sink), 1.2, Qt.PenStyle.DotLine))
            painter.drawLine(rect.bottomLeft() + QPoint(2, -1), rect.bottomRight() - QPoint(2, 1))
        if entry.position == strip.divergence:
            painter.setPen(QPen(QColor(colours.sink), 2))
            painter.drawLine(rect.topLeft() + QPoint(0, 2), rect.bottomLeft() - QPoint(0, 2))
        painter.setPen(self._inks[_ink(entry, live, shade)])
        painter.drawText(rect, _CENTRED, entry.text.strip(" "))


def _ink(entry: Entry, live: bool, shade: float | None) -> str:
    assert entry.token is not None
    if shade is not None and abs(shade) > 0.2:
        return "text"  # a faint ink would drown in the tint
    if entry.token.special or not live:
        return "text_faint"
    return "text" if entry.token.role == "generated" else "text_dim"


class TokenStrip(QListView):
    """One paragraph. `token_clicked(position)` for tokens that have an attention row,
    `dead_token_clicked(position)` for the others, `chip_clicked(position)` for the image; `home()`,
    `end()` and `typed()`, a letter that is no key of the window, from the keys; `fitted()` when the
    paragraph has another height.

    With `lines` 2 it leaves room for another paragraph of the same columns under each line.
    """

    token_clicked = Signal(int)
    dead_token_clicked = Signal(int)
    chip_clicked = Signal(int)
    home = Signal()
    end = Signal()
    typed = Signal()
    fitted = Signal()

    def __init__(self, model: TokenListModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.selected: int | None = None
        self.hues = Hues()
        self.lines = 1
        self.hovered = NOWHERE
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
        model.modelReset.connect(self.fit)
        model.restyled.connect(self.viewport().update)

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

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.fit()  # the list itself would wait for a tenth of a second

    def showEvent(self, event: QShowEvent) -> None:
        # While it was hidden it may have been laid out for another width.
        super().showEvent(event)
        self.doItemsLayout()
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
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_delegate"):
            self._delegate.forget_colours()
        super().changeEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        index = self.indexAt(event.position().toPoint())
        self._hover(index.row())
        live = bool(index.data(TokenRole.SELECTABLE)) or self._is_chip(index)
        self.setCursor(Qt.CursorShape.PointingHandCursor if live else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover(NOWHERE)

    def _hover(self, row: int) -> None:
        before, self.hovered = self.hovered, row
        for number in {before, row} - {NOWHERE}:
            self.update(self.tokens.index(number))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Home:
            self.home.emit()
        elif event.key() == Qt.Key.Key_End:
            self.end.emit()
        elif event.text().isprintable() and event.text().strip() and not _with_ctrl(event):
            self.typed.emit()
        else:
            event.ignore()  # arrows belong to the window

    def wheelEvent(self, event: QEvent) -> None:
        event.ignore()  # the panel scrolls, never the paragraph

    def _is_chip(self, index: QModelIndex) -> bool:
        return index.isValid() and self.tokens.entries[index.row()].kind == "chip"

    def _clicked(self, index: QModelIndex) -> None:
        position = int(index.data(TokenRole.POSITION))
        if position == NOWHERE:
            return
        if self._is_chip(index):
            self.chip_clicked.emit(position)
        elif index.data(TokenRole.SELECTABLE):
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
