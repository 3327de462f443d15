"""The Token map panel: every visual token with its place in the sequence and in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.analysis.token_map import KINDS, merged_boxes
from var_studio.figures.words import STRIP, count
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import subject
from var_studio.gui.widgets.item_keys import KeyedTable
from var_studio.gui.widgets.plot_frame import TableFrame
from var_studio.gui.widgets.segmented import Segmented
from var_studio.gui.widgets.token_table import ALPHA, HEADINGS, PHI, Keep, PlainCells, TokenTable

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.layout import VisualLayout

_NONE = {
    "all": "This run has no visual token.",
    "patches": "No visual token here is a patch.",
    "others": "Every visual token here is a patch: there is no newline, separator or padding.",
    "sinks": "The selected layer has no visual sink under this τ.",
    "picked": "No cell is picked: click one in the picture.",
}


class InspectorPanel(Panel):
    """A table of the visual tokens; its rows and the picked cells are one selection."""

    help_text = (
        "Every visual token in the order of the sequence: its index k, its position, what it "
        "stands for, its view and cell, the pixels of the original image that it sees, and α, "
        "rank, φ of the selected token, heads and layer. A newline or separator sees nothing and "
        "counts as no patch: it is in no mass, map or region. Padding is a cell outside the "
        "picture. Rows that are selected are the cells picked in the picture, both ways. Click a "
        "heading to sort."
    )
    data_file = "token-map.csv"
    empty_text = "Click a word of the answer: the visual tokens it could look at are listed here."

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.keep = Segmented(
            "Tokens listed",
            (
                ("all", "All", "Every visual token."),
                ("patches", "Patches", "Tokens that see a part of an image."),
                ("others", "Others", "Newlines, separators and padding."),
                ("sinks", "Sinks", "Visual sinks of the selected layer, φ ≥ τ (Sec. 4.1)."),
                ("picked", "Picked", "The cells picked in the picture."),
            ),
        )
        self.keep.set_current("all")
        self.keep.chosen.connect(self._choose_keep)
        self.header.add_control(self.keep)
        self._linking = False
        self._widths: dict[int, int] = {}
        self.set_body(self._build_body())

    def _build_body(self) -> QtWidgets.QWidget:
        below = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(below)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.model = TokenTable(self)
        self.table = KeyedTable()
        self.table.setAccessibleName("Visual tokens")
        self.table.setToolTip("Each visual token; select rows to mark their cells in the image.")
        self.table.setModel(self.model)
        self.table.setItemDelegate(PlainCells(self.table))
        font = self.table.font()
        font.setFeature(QtGui.QFont.Tag("tnum"), 1)  # digits of one width
        self.table.setFont(font)
        behaviour = QtWidgets.QAbstractItemView
        self.table.setSelectionBehavior(behaviour.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(behaviour.SelectionMode.ExtendedSelection)
        self.table.setEditTriggers(behaviour.EditTrigger.NoEditTriggers)
        self.table.setVerticalScrollMode(behaviour.ScrollMode.ScrollPerItem)
        self.table.setWordWrap(False)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setCornerButtonEnabled(False)
        self.table.setTabKeyNavigation(False)
        self.table.setMinimumHeight(48)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 5)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSortIndicator(0, QtCore.Qt.SortOrder.AscendingOrder)
        self.table.setSortingEnabled(True)
        self.table.selectionModel().selectionChanged.connect(self._rows_chosen)
        self.model.modelReset.connect(self._show_picked)
        self.table.viewport().installEventFilter(self)
        column.addWidget(self.table, 1)
        self.nothing = QtWidgets.QLabel()
        self.nothing.setObjectName("emptyState")
        self.nothing.setWordWrap(True)
        self.nothing.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        column.addWidget(self.nothing, 1)
        self.unseen = QtWidgets.QLabel()
        self.unseen.setObjectName("quiet")
        self.unseen.setWordWrap(True)
        self.unseen.setAccessibleName("Parts of the picture that the model never saw")
        column.addWidget(self.unseen)
        body = TableFrame(below)
        self.subject, self.summary = body.subject, body.note
        self.subject.setAccessibleName("What α, rank and φ are of")
        self.summary.setAccessibleName("What the tokens are")
        self.summary.set_quiet(True)
        return body

    def data_text(self) -> str:
        """The rows that are listed, as CSV."""
        from var_studio.gui.data_files import csv_of

        return csv_of(self.model.table())

    # ------------------------------------------------------------------------------ listen
    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the picked cells."""
        super().set_workspace(workspace)
        workspace.selection.changed.connect(self._selection_changed)

    def _selection_changed(self) -> None:
        if self.workspace is None or self._linking or not self.isVisible():
            return
        if not self.model.set_picked(self.workspace.selection.cells):
            self._show_picked()
        self._show_nothing()

    def _choose_keep(self, keep: str) -> None:
        self.model.set_keep(cast(Keep, keep))
        self._show_nothing()

    def _rows_chosen(self) -> None:
        """The rows that are selected are the picked cells; those that are filtered out stay."""
        if self.workspace is None or self._linking:
            return
        rows = self.table.selectionModel().selectedRows()
        chosen = {self.model.token_of(index.row()) for index in rows}
        cells = self.workspace.selection.cells
        if self.model.keep != "picked":
            self._linking = True
            self.workspace.selection.select_cells(chosen)
            self._linking = False
        elif chosen < cells and len(chosen) == 1:
            # In this list all rows are picked already: a click says which one is meant.
            self.workspace.selection.select_cells(chosen)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Only a table that is laid out can scroll."""
        super().showEvent(event)
        QtCore.QTimer.singleShot(0, self, self._reveal)

    # ------------------------------------------------------------------------------ repaint
    def refresh(self, reading: Reading | None) -> None:
        """Show the numbers of this reading."""
        if reading is None or self.workspace is None:
            return
        layout = reading.run.layout
        if not layout.count:
            self.show_empty("This run has no image, so it has no visual token.")
            return
        first = self.model.map is None
        self._linking = True
        moved = self.model.show_reading(reading, self.workspace.selection.cells)
        self._linking = False
        if first:
            self._fit_columns()
        if not moved:
            self._show_picked()
        selection = self.workspace.selection
        said = subject(reading, selection.position, selection.row_of)
        self.subject.set_text(f"{said} · φ and sinks of layer {reading.focus.layer}")
        self.summary.set_text(self._summary(layout))
        unseen = _unseen_text(layout)
        self.unseen.setText(unseen)
        self.unseen.setVisible(bool(unseen))
        self._show_nothing()

    def _fit_columns(self) -> None:
        """Wide enough for the heading and the longest text, found without asking every row."""
        metrics = self.fontMetrics()
        for column, (heading, _) in enumerate(HEADINGS):
            texts = [self.model.text(k, column) for k in range(0, self.model.rowCount(), 37)]
            last = max(self.model.rowCount() - 1, 0)
            texts += [self.model.text(last, column), f"{heading} ▾▾"]
            if column in (ALPHA, PHI):
                texts.append("0.000888")  # other tokens bring other digits
            self._widths[column] = max(metrics.horizontalAdvance(text) for text in texts) + 18
        self._spread()

    def _spread(self) -> None:
        """Share what is left of the width among the columns."""
        left = max(self.table.viewport().width() - sum(self._widths.values()), 0)
        for place, (column, width) in enumerate(self._widths.items()):
            share = left // (len(self._widths) - place)
            left -= share
            self.table.setColumnWidth(column, width + share)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """The columns fill the table, however wide it is."""
        if event.type() == QtCore.QEvent.Type.Resize:
            self._spread()
        return super().eventFilter(watched, event)

    def _show_picked(self) -> None:
        """Select the rows of the picked cells, and bring the first into view."""
        if self.workspace is None:
            return
        rows = self.model.rows_of(self.workspace.selection.cells)
        selection = self.table.selectionModel()
        if [index.row() for index in sorted(selection.selectedRows())] == rows:
            return
        chosen = QtCore.QItemSelection()
        last = len(HEADINGS) - 1
        for first, final in _stretches(rows):
            chosen.select(self.model.index(first, 0), self.model.index(final, last))
        self._linking = True
        selection.select(chosen, QtCore.QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._linking = False
        self._reveal()

    def _reveal(self) -> None:
        """Bring the first picked row into view."""
        rows = self.table.selectionModel().selectedRows()
        if rows:
            self.table.scrollTo(min(rows))

    def _show_nothing(self) -> None:
        some = self.model.rowCount() > 0
        self.table.setVisible(some)
        self.nothing.setVisible(not some)
        self.nothing.setText(_NONE[self.model.keep])

    def _summary(self, layout: VisualLayout) -> str:
        placed = self.model.map
        assert placed is not None
        if not layout.known:
            return f"{count(layout.count, 'visual token')} · {STRIP}"
        kinds = ((kind, placed.count(kind)) for kind in KINDS)
        told = [_plural(number, kind) for kind, number in kinds if number]
        views = count(len(layout.views), "view")
        if len(layout.image_sizes) > 1:
            views += f" of {count(len(layout.image_sizes), 'image')}"
        first, last = int(layout.positions[0]), int(layout.positions[-1])
        return " · ".join([*told, views, f"positions {first}–{last}"])


def _plural(number: int, kind: str) -> str:
    if kind == "padding":
        return f"{number:,} padding"
    plural = "patches" if kind == "patch" else f"{kind}s"
    return f"{number:,} {kind if number == 1 else plural}"


def _unseen_text(layout: VisualLayout) -> str:
    """The parts of the pictures that the model never saw, in their pixels."""
    several = len(layout.image_sizes) > 1
    parts = []
    for image, boxes in enumerate(layout.unseen):
        for left, top, right, bottom in merged_boxes(boxes):
            where = f"image {image + 1}: " if several else ""
            parts.append(f"{where}{round(left)}–{round(right)} × {round(top)}–{round(bottom)}")
    return f"Never seen, in pixels: {', '.join(parts)}" if parts else ""


def _stretches(rows: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of consecutive ones: (first, last) each."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found
