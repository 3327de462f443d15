"""The way back from the reverse view, where it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6 import QtCore, QtWidgets

if TYPE_CHECKING:
    from var_studio.gui.models.workspace import Workspace


class LetGo(QtWidgets.QToolButton):
    """Lets go of the selected cells: words and heads show again what they did before. Hidden while
    no cell is selected, or neither shows who looks there."""

    def __init__(self) -> None:
        super().__init__()
        self.setText("✕ Let go")
        self.setObjectName("toggle")
        self.setAutoRaise(True)
        self.setToolTip(
            "Select no cell: words and heads show again what they did before. A second click on "
            "the cell does the same."
        )
        self.setAccessibleName("Let go of the selected cells")
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        self.setFixedHeight(self.fontMetrics().height() + 6)  # that of a line: nothing jumps
        self.hide()

    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the cells and the view; called once."""

        def follow() -> None:
            view = workspace.view
            reverse = view.words_reversed or view.heads_reversed
            self.setVisible(reverse and bool(workspace.selection.cells))

        workspace.view.changed.connect(follow)
        workspace.selection.changed.connect(follow)
        self.clicked.connect(lambda: workspace.selection.select_cells(()))
        follow()
