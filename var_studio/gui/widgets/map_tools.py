"""The strip of tools beside the picture: what the mouse does in it."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.models.view import ViewModel
from var_studio.gui.widgets.icons import icon

TOOLS = (
    ("select", "Pick cells", "Click a cell: who looks there. Ctrl-click adds; dragging moves."),
    ("rectangle", "Rectangle", "Add what a rectangle encloses to the region; with Ctrl, take it."),
    ("brush", "Brush", "Paint cells into the region."),
    ("erase", "Erase", "Take cells from the region."),
)

_SIZES = (1, 2, 3, 5, 7, 10, 15)


class MapTools(QtWidgets.QWidget):
    """Shows and changes a ViewModel's `tool`."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._view: ViewModel | None = None
        self.setAccessibleName("Tools of the image")
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        group = QtWidgets.QButtonGroup(self)
        self.buttons: dict[str, QtWidgets.QToolButton] = {}
        for tool, name, tip in TOOLS:
            button = QtWidgets.QToolButton()
            button.setObjectName("toggle")
            button.setProperty("tool", tool)
            button.setIcon(icon(tool))
            button.setToolTip(f"{name}. {tip}")
            button.setAccessibleName(name)
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
            button.clicked.connect(self._clicked)
            group.addButton(button)
            self.buttons[tool] = button
            column.addWidget(button)
        self.across = QtWidgets.QToolButton()
        self.across.setObjectName("toggle")
        self.across.setAutoRaise(True)
        self.across.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        self.across.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.across.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QtWidgets.QMenu(self.across)
        for across in _SIZES:
            text = "One cell" if across == 1 else f"{across} cells across"
            menu.addAction(text).setData(across)
        menu.triggered.connect(self._size_chosen)
        self.across.setMenu(menu)
        column.addWidget(self.across)
        column.addStretch(1)

    def set_view(self, view: ViewModel) -> None:
        """Follow and change this view's tool."""
        self._view = view
        view.changed.connect(self._show)
        self._show()

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Icons in the new theme's colour."""
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            for tool, button in self.buttons.items():
                button.setIcon(icon(tool))
        super().changeEvent(event)

    def _show(self) -> None:
        assert self._view is not None
        current = self._view.current
        self.buttons[current.tool].setChecked(True)
        across = current.brush
        self.across.setVisible(current.tool in ("brush", "erase"))
        self.across.setText(f"⌀{across}")
        told = "1 cell" if across == 1 else f"{across} cells across"
        self.across.setToolTip(
            f"Size of the brush: {told}. Keys: comma and full stop, or Shift and the wheel."
        )
        self.across.setAccessibleName(f"Size of the brush: {told}")

    def _size_chosen(self, action: QtGui.QAction) -> None:
        if self._view is not None:
            self._view.set(brush=action.data())

    def _clicked(self) -> None:
        for tool, button in self.buttons.items():
            if button is self.sender() and self._view is not None:
                self._view.set(tool=tool)
