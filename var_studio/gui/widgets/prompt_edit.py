"""Where the question is typed; a picture pasted here is an image, not text."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QPlainTextEdit

_LINES = 3


class PromptEdit(QPlainTextEdit):
    """Plain text. `picture_pasted()` when the clipboard holds a picture or a file."""

    picture_pasted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Question")
        self.setToolTip("What the model is asked; the family's chat template is put around it.")
        self.setPlaceholderText("Ask something about the image")
        self.setTabChangesFocus(True)
        self.setFixedHeight(QFontMetrics(self.font()).lineSpacing() * _LINES + 14)
        self.setAcceptDrops(False)  # files dropped here are the window's

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        return source.hasImage() or super().canInsertFromMimeData(source)

    def insertFromMimeData(self, source: QMimeData) -> None:
        if source.hasUrls() or (source.hasImage() and not source.hasText()):
            self.picture_pasted.emit()
        else:
            super().insertFromMimeData(source)
