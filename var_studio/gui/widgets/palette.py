"""The command palette: type a few letters, press Enter. Keyboard alone does."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QRect, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFrame,
    QLabel,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from var_studio.gui import theme
from var_studio.gui.models.commands import Command, search

_WIDTH = 560
_ROWS = 11
_COMMAND = Qt.ItemDataRole.UserRole


class CommandPalette(QFrame):
    """A child of the window, over its upper middle: a line to type in and what it finds."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self._commands: Sequence[Command] = ()
        self._before: QWidget | None = None
        self.setObjectName("helpCard")
        self.setAccessibleName("Command palette")
        self.line = QLineEdit()
        self.line.setPlaceholderText("Type what you want to do")
        self.line.setAccessibleName("Search all commands and panels")
        self.line.setClearButtonEnabled(True)
        self.line.textChanged.connect(self._search)
        self.line.installEventFilter(self)
        self._model = QStandardItemModel(self)
        self.list = QListView()
        self.list.setModel(self._model)
        self.list.setAccessibleName("Commands found")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.setItemDelegate(_Row(self.list))
        self.list.clicked.connect(self._choose)
        self._nothing = QLabel("Nothing is called that.")
        self._nothing.setObjectName("quiet")
        self._nothing.setMargin(8)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.line)
        column.addWidget(self.list, 1)
        column.addWidget(self._nothing)
        self.hide()

    def open(self, commands: Sequence[Command]) -> None:
        """Show it with these commands, the line empty."""
        self._commands = commands
        self._before = QApplication.focusWidget()
        self.line.clear()
        self._search("")
        row = self.list.sizeHintForRow(0)
        height = 8 + self.line.sizeHint().height() + 6 + _ROWS * row + 8
        height = min(height, self._over.height() - 60)
        width = min(_WIDTH, self._over.width() - 40)
        self.setGeometry((self._over.width() - width) // 2, 44, width, height)
        self.show()
        self.raise_()
        self.line.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def close_palette(self) -> None:
        """Hide it; the focus goes back to where it was."""
        self.hide()
        if self._before is not None:
            self._before.setFocus(Qt.FocusReason.OtherFocusReason)
            self._before = None

    def found(self) -> list[str]:
        """The texts of the commands listed."""
        return [self._model.item(row).text() for row in range(self._model.rowCount())]

    # ------------------------------------------------------------------------------ plumbing
    def _search(self, typed: str) -> None:
        self._model.clear()
        for command in search(typed, self._commands):
            item = QStandardItem(command.text)
            item.setData(command, _COMMAND)
            item.setToolTip(command.tip)
            item.setEnabled(command.enabled)
            item.setAccessibleText(" ".join(filter(None, (command.text, command.keys))))
            self._model.appendRow(item)
        any_found = self._model.rowCount() > 0
        self.list.setVisible(any_found)
        self._nothing.setVisible(not any_found)
        self.list.setCurrentIndex(self._model.index(0, 0))

    def _choose(self) -> None:
        index = self.list.currentIndex()
        command = index.data(_COMMAND)
        if not isinstance(command, Command) or not command.enabled:
            return
        self.close_palette()
        command.call()

    def _step(self, step: int) -> None:
        rows = self._model.rowCount()
        if rows:
            row = min(max(self.list.currentIndex().row() + step, 0), rows - 1)
            self.list.setCurrentIndex(self._model.index(row, 0))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusOut and self.isVisible():
            if not self.isAncestorOf(QApplication.focusWidget() or self):
                self._before = None
                self.hide()
            return False
        if not isinstance(event, QKeyEvent):
            return False
        steps = {
            Qt.Key.Key_Down: 1,
            Qt.Key.Key_Up: -1,
            Qt.Key.Key_PageDown: _ROWS - 1,
            Qt.Key.Key_PageUp: 1 - _ROWS,
        }
        key = Qt.Key(event.key())
        wanted = key in steps or key in (
            Qt.Key.Key_Return,
            Qt.Key.Key_Enter,
            Qt.Key.Key_Escape,
            Qt.Key.Key_Tab,
        )
        if not wanted:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()  # Esc and the arrows are the window's shortcuts elsewhere.
            return True
        if event.type() != QEvent.Type.KeyPress:
            return False
        if key in steps:
            self._step(steps[key])
        elif key == Qt.Key.Key_Escape:
            self.close_palette()
        elif key != Qt.Key.Key_Tab:
            self._choose()
        return True


class _Row(QStyledItemDelegate):
    """What it is called, where it comes from, its key."""

    def sizeHint(self, option: QStyleOptionViewItem, index: object) -> QSize:
        return QSize(200, option.fontMetrics.height() + 12)  # type: ignore[attr-defined]

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: object) -> None:
        command = index.data(_COMMAND)  # type: ignore[attr-defined]
        colours = theme.colours(option.palette)  # type: ignore[attr-defined]
        rect: QRect = option.rect  # type: ignore[attr-defined]
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)  # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if chosen:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent_soft))
            painter.drawRoundedRect(rect.adjusted(0, 1, 0, -1), 4, 4)
        inner = rect.adjusted(10, 0, -10, 0)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setPen(QColor(colours.text_faint))
        aside = "   ".join(filter(None, (command.kind, command.keys)))
        metrics = painter.fontMetrics()
        taken = metrics.horizontalAdvance(aside) + 16
        painter.drawText(inner, middle | Qt.AlignmentFlag.AlignRight, aside)
        painter.setPen(QColor(colours.text if command.enabled else colours.text_faint))
        room = inner.adjusted(0, 0, -taken, 0)
        text = metrics.elidedText(command.text, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, middle | Qt.AlignmentFlag.AlignLeft, text)
        painter.restore()
