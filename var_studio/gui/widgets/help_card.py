"""A card with a panel's help, over the window, closed by Esc, its cross, or asking again."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from var_studio.gui.widgets.icons import icon

_WIDTH = 400


class HelpCard(QFrame):
    """A child of the window, not a window of its own: it grabs nothing and blocks nothing."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._over = parent
        self.setObjectName("helpCard")
        self.setAccessibleName("Help")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedWidth(_WIDTH)
        self._title = QLabel()
        self._title.setObjectName("sectionTitle")
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self.close_button = QToolButton()
        self.close_button.setAutoRaise(True)
        self.close_button.setIcon(icon("close"))
        self.close_button.setAccessibleName("Close this help")
        self.close_button.setToolTip("Close this help (Esc)")
        self.close_button.clicked.connect(self.hide)
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        head.addWidget(self.close_button)
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(16, 10, 10, 16)
        column.setSpacing(4)
        column.addLayout(head)
        column.addWidget(self._text)
        self.hide()

    def show_help(self, title: str, text: str, below: QPoint) -> None:
        """Show a text below a point of the parent, inside it; hide if it is shown already."""
        if self.isVisible() and self._title.text() == title:
            self.hide()
            return
        self._title.setText(title)
        self._text.setText(text)
        self.setAccessibleName(f"Help: {title}. {text}")
        self.setFixedHeight(self._column.totalHeightForWidth(_WIDTH))
        room = self._over.rect().adjusted(8, 8, -8, -8)
        x = min(max(below.x() - _WIDTH, room.left()), room.right() - _WIDTH)
        y = min(max(below.y(), room.top()), room.bottom() - self.height())
        self.move(x, y)
        self.show()
        self.raise_()
        self.setFocus()

    def text(self) -> str:
        """What it says."""
        return self._text.text()

    def event(self, event: QEvent) -> bool:
        # Esc is the window's shortcut for Stop; here it closes the card.
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and event.key() == Qt.Key.Key_Escape
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "close_button"):
            self.close_button.setIcon(icon("close"))
        super().changeEvent(event)
