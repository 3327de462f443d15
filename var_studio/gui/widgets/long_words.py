"""A label whose long words, such as paths, break too; copied, they are whole again."""

from __future__ import annotations

import re

from PySide6 import QtCore, QtGui, QtWidgets

BREAK = "\u200b"
"""No width; a line may end there."""
LONG = 24
"""Characters from which on a word may break inside."""


def breakable(text: str) -> str:
    """The text with breaks inside its long words: after separators, else anywhere."""
    return re.sub(rf"\S{{{LONG},}}", lambda found: _broken(found[0]), text)


def _broken(word: str) -> str:
    parts = re.split(r"(?<=[/\\_.:-])", word)
    return BREAK.join(part if len(part) < LONG else BREAK.join(part) for part in parts)


class LongWords(QtWidgets.QLabel):
    """Plain text that can be selected; what is copied has no breaks inside."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)

    def say(self, text: str) -> None:
        """Show this text."""
        self.setText(breakable(text))

    def copy_selected(self, mode: QtGui.QClipboard.Mode = QtGui.QClipboard.Mode.Clipboard) -> None:
        """Copy what is selected, as it was said."""
        text = self.selectedText().replace(BREAK, "")
        if text:
            QtGui.QGuiApplication.clipboard().setText(text, mode)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Ctrl+C copies."""
        if event.matches(QtGui.QKeySequence.StandardKey.Copy):
            self.copy_selected()
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Where the middle button pastes what is selected."""
        super().mouseReleaseEvent(event)
        if QtGui.QGuiApplication.clipboard().supportsSelection():
            self.copy_selected(QtGui.QClipboard.Mode.Selection)

    def contextMenuEvent(self, event: QtGui.QContextMenuEvent) -> None:
        """The one thing to do."""
        menu = QtWidgets.QMenu(self)
        menu.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)
        copy = menu.addAction("Copy")
        copy.setEnabled(self.hasSelectedText())
        copy.triggered.connect(lambda: self.copy_selected())
        menu.popup(event.globalPos())
