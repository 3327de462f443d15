"""A line to search words with: it appears where one types, and goes with Esc."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.widgets.icons import icon


class FindBar(QtWidgets.QFrame):
    """A field, "2 of 5", and a button that closes it.

    `wanted(text)` as one types; `further(step)` with Enter or F3 (+1), with Shift (-1); `closed`.
    """

    wanted = QtCore.Signal(str)
    further = QtCore.Signal(int)
    closed = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("helpCard")
        self.setAutoFillBackground(True)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(6, 3, 4, 3)
        row.setSpacing(6)
        self.field = QtWidgets.QLineEdit()
        self.field.setPlaceholderText("Find words")
        self.field.setAccessibleName("Words to find in the transcript")
        self.field.setToolTip("Enter or F3: the next one; with Shift the one before; Esc: close")
        self.field.setFixedWidth(150)
        self.field.textEdited.connect(self.wanted)
        self.field.installEventFilter(self)
        self.count = QtWidgets.QLabel()
        self.count.setObjectName("quiet")
        self.close_button = QtWidgets.QToolButton()
        self.close_button.setAutoRaise(True)
        self.close_button.setIcon(icon("close"))
        self.close_button.setToolTip("Close (Esc)")
        self.close_button.setAccessibleName("Close the search")
        self.close_button.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        self.close_button.clicked.connect(self.leave)
        for widget in (self.field, self.count, self.close_button):
            row.addWidget(widget)
        self.hide()

    def open(self, text: str = "") -> None:
        """Show the field with this text in it, or with the last one to be typed over."""
        self.show()
        self.raise_()
        self.field.setFocus(QtCore.Qt.FocusReason.ShortcutFocusReason)
        if text:
            self.field.setText(text)
            self.wanted.emit(text)
        else:
            self.field.selectAll()
            self.wanted.emit(self.field.text())

    def leave(self) -> None:
        """Close the field."""
        self.hide()
        self.closed.emit()

    def say(self, number: int, count: int) -> None:
        """Which of how many is shown; 0 of 0 is "none"."""
        self.count.setText(f"{number} of {count}" if count else "none" if self.field.text() else "")
        self.adjustSize()
        self.place()

    def place(self) -> None:
        """Stand in the upper right corner of the widget that holds it."""
        holder = self.parentWidget()
        if holder is not None:
            self.move(max(holder.width() - self.width() - 16, 0), 4)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Keys of the field that are otherwise the window's."""
        kinds = (QtCore.QEvent.Type.ShortcutOverride, QtCore.QEvent.Type.KeyPress)
        if event.type() not in kinds or not isinstance(event, QtGui.QKeyEvent):
            return False
        keys = QtCore.Qt.Key
        if event.key() not in (keys.Key_Escape, keys.Key_Return, keys.Key_Enter, keys.Key_F3):
            return False
        event.accept()
        if event.type() == kinds[1]:
            back = bool(event.modifiers() & QtCore.Qt.KeyboardModifier.ShiftModifier)
            if event.key() == keys.Key_Escape:
                self.leave()
            else:
                self.further.emit(-1 if back else 1)
        return True

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Draw the icon in the new palette's ink."""
        super().changeEvent(event)
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self.close_button.setIcon(icon("close"))
