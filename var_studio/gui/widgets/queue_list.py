"""The runs under way and those that wait, each with a button that takes it off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QToolButton, QVBoxLayout, QWidget

from var_studio.gui.models.requests import RunRequest
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.icons import icon

_ROWS_SHOWN = 4
_ROW = 24


class QueueList(QScrollArea):
    """`cancelled(request)`: the user took a run off. Not to be seen while nothing waits."""

    cancelled = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Runs under way and waiting")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._inner = QWidget()
        self._column = QVBoxLayout(self._inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.setWidget(self._inner)
        self.rows: list[tuple[RunRequest, HoverLine, QToolButton]] = []
        self._widgets: list[QWidget] = []
        self.hide()

    def show_runs(self, current: RunRequest | None, waiting: Sequence[RunRequest]) -> None:
        """List the run under way first, then those that wait."""
        for row in self._widgets:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows, self._widgets = [], []
        listed = [*([] if current is None else [current]), *waiting]
        several = len({tuple(i.sha256 for i in each.images) for each in listed}) > 1
        above = ""
        for request in listed:
            # Said once for runs of the same question: each line has room for one of them.
            asked, above = "" if request.prompt == above else request.prompt, request.prompt
            if request is current:
                tip = "Stop this run; what it recorded is kept"
                self._add(request, asked, several, "▶ ", tip)
            else:
                self._add(request, asked, several, "", "Take this run off the queue")
        # One run alone has its Stop button.
        self.setVisible(bool(waiting))
        shown = min(len(self.rows), _ROWS_SHOWN)
        self.setFixedHeight(_ROW * shown + (_ROW // 2 if len(self.rows) > shown else 0))

    def texts(self) -> list[str]:
        """What the rows say."""
        return [line.text() for _, line, _ in self.rows]

    def _add(self, request: RunRequest, asked: str, with_image: bool, mark: str, tip: str) -> None:
        row = QWidget()
        row.setFixedHeight(_ROW)
        line = HoverLine("")
        line.set_quiet(not mark)
        images = ", ".join(image.name for image in request.images) if with_image else ""
        line.set_text(mark + " · ".join(filter(None, [request.name, images, asked])))
        line.setAccessibleName("Run")
        button = QToolButton()
        button.setAutoRaise(True)
        button.setIcon(icon("close"))
        button.setToolTip(tip)
        button.setAccessibleName(f"{tip}: {request.name}")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(partial(self._cancel, request))
        inside = QHBoxLayout(row)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        inside.addWidget(line, 1)
        inside.addWidget(button)
        self._column.addWidget(row)
        self._widgets.append(row)
        self.rows.append((request, line, button))

    def _cancel(self, request: RunRequest) -> None:
        self.cancelled.emit(request)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "rows"):
            for _, _, button in self.rows:
                button.setIcon(icon("close"))
        super().changeEvent(event)
