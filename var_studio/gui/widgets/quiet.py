"""A sentence in the fainter ink."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel


class QuietLabel(QLabel):
    """Wraps; takes no room while it says nothing."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setObjectName("quiet")
        self.setWordWrap(True)
        self.setVisible(bool(text))

    def say(self, text: str) -> None:
        """Say this, or nothing."""
        self.setText(text)
        self.setVisible(bool(text))
