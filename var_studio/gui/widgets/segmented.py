"""A few alternatives side by side, one of them chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6 import QtCore, QtWidgets


class Segmented(QtWidgets.QWidget):
    """A row of joined buttons. `options`: (key, label, tooltip) each."""

    chosen = QtCore.Signal(str)
    """Key of the alternative that the user chose."""

    def __init__(
        self,
        name: str,
        options: Sequence[tuple[str, str, str]],
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self._group = QtWidgets.QButtonGroup(self)
        self._buttons: dict[str, QtWidgets.QToolButton] = {}
        for key, label, tip in options:
            button = QtWidgets.QToolButton()
            button.setObjectName("segment")
            button.setText(label)
            button.setToolTip(tip)
            button.setAccessibleName(f"{name}: {label}")
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
            button.clicked.connect(self._clicked)
            self._group.addButton(button)
            self._buttons[key] = button
            row.addWidget(button)

    def set_current(self, key: str) -> None:
        """Show which alternative holds; emits nothing."""
        if key in self._buttons:
            self._buttons[key].setChecked(True)

    def button(self, key: str) -> QtWidgets.QToolButton:
        """The button of an alternative."""
        return self._buttons[key]

    def _clicked(self) -> None:
        for key, button in self._buttons.items():
            if button is self.sender():
                self.chosen.emit(key)
