"""A titled part of a form, some of it behind "More"."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from var_studio.gui.widgets.icons import icon


class Section(QWidget):
    """Title, rows added with `add`, and rows added with `add_more` that start folded away.

    Rows that are slow to make are left to `later`: they are made when first unfolded, or by
    `make_folded`.
    """

    def __init__(self, title: str, more: str = "") -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.title = QLabel(title)
        self.title.setObjectName("sectionTitle")
        self.unfold = QToolButton()
        self.unfold.setObjectName("unfold")
        self.unfold.setText(more or "More")
        self.unfold.setAccessibleName(f"{more or 'More'}: {title}")
        self.unfold.setToolTip("Show or fold away what is seldom changed")
        self.unfold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.unfold.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.unfold.setCheckable(True)
        self.unfold.setAutoRaise(True)
        self.unfold.setVisible(False)
        self.unfold.toggled.connect(self._fold)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.title)
        head.addStretch(1)
        head.addWidget(self.unfold)
        column.addLayout(head)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(6)
        column.addLayout(self._rows)
        self._more = QWidget()
        self._more_rows = QVBoxLayout(self._more)
        self._more_rows.setContentsMargins(0, 0, 0, 0)
        self._more_rows.setSpacing(6)
        self._more.setVisible(False)
        column.addWidget(self._more)
        self._builders: list[Callable[[], object]] = []
        self._show_arrow()

    def add(self, widget: QWidget) -> None:
        """Add a row that is always there."""
        self._rows.addWidget(widget)
        self._more.raise_()  # last among the children, so last in the order of Tab

    def add_more(self, widget: QWidget) -> None:
        """Add a row that shows once unfolded."""
        self._more_rows.addWidget(widget)
        self.unfold.setVisible(True)

    def later(self, build: Callable[[], object]) -> None:
        """Let `build` make and add rows that start folded away."""
        self._builders.append(build)
        self.unfold.setVisible(True)

    def make_folded(self) -> None:
        """Make what is folded away, where that was not done yet."""
        builders, self._builders = self._builders, []
        for build in builders:
            build()

    def _fold(self, open_: bool) -> None:
        self.make_folded()
        self._more.setVisible(open_)
        self._show_arrow()

    def _show_arrow(self) -> None:
        self.unfold.setIcon(icon("less" if self.unfold.isChecked() else "more"))

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange:
            self._show_arrow()
        super().changeEvent(event)
