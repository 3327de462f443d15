"""The list of regions: colour, name, size; one of them active."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.figures.words import count
from var_studio.gui.widgets.inks import region_colour
from var_studio.gui.widgets.item_keys import keeps_key
from var_studio.recording.regions import Region

TOO_SMALL = "too small here"
TOO_SMALL_TIP = (
    "It covers no cell of this map by half, so nothing is left of it here; it is kept with the map "
    "that it was painted on."
)


class RegionList(QtWidgets.QTreeWidget):
    """Click to choose, double click or F2 to rename, Delete to remove."""

    chosen = QtCore.Signal(str)
    renamed = QtCore.Signal(str, str)
    """The name it had, the one that was typed."""
    removal_wanted = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[Region, ...] = ()
        self._left_out: tuple[str, ...] = ()
        self.setAccessibleName("Regions")
        self.setToolTip("The regions of this picture; F2 gives the active one another name.")
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(
            QtWidgets.QAbstractItemView.EditTrigger.DoubleClicked
            | QtWidgets.QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setItemDelegateForColumn(1, _Fixed(self))
        self.header().setStretchLastSection(False)
        self.header().setSectionResizeMode(0, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.header().setSectionResizeMode(1, QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        self.setMinimumSize(150, 60)
        self.currentItemChanged.connect(self._chosen)
        self.itemChanged.connect(self._edited)

    def show_regions(
        self, regions: Sequence[Region], active: str, left_out: Sequence[str] = ()
    ) -> None:
        """Show these, and below them the names of those that are left out; emits nothing."""
        with QtCore.QSignalBlocker(self):
            if (tuple(regions), tuple(left_out)) != (self._shown, self._left_out):
                self._shown, self._left_out = tuple(regions), tuple(left_out)
                self._fill()
            for index, region in enumerate(self._shown):
                item = self.topLevelItem(index)
                if item is not None and region.name == active:
                    self.setCurrentItem(item)

    def _fill(self) -> None:
        for index in reversed(range(self.topLevelItemCount())):
            item = self.topLevelItem(index)
            listed = item is not None and item.flags() & QtCore.Qt.ItemFlag.ItemIsEditable
            if index >= len(self._shown) or not listed:  # those left out are made anew
                self.takeTopLevelItem(index)
        for index, region in enumerate(self._shown):
            item = self.topLevelItem(index)
            if item is None:
                item = QtWidgets.QTreeWidgetItem(self)
                item.setFlags(item.flags() | QtCore.Qt.ItemFlag.ItemIsEditable)
                item.setIcon(0, _swatch(region_colour(index)))
                item.setTextAlignment(1, QtCore.Qt.AlignmentFlag.AlignRight)
            item.setText(0, region.name)
            item.setText(1, count(len(region.tokens), "token"))
        for name in self._left_out:
            left_out = QtWidgets.QTreeWidgetItem(self, [name, TOO_SMALL])
            left_out.setFlags(QtCore.Qt.ItemFlag.ItemNeverHasChildren)
            left_out.setTextAlignment(1, QtCore.Qt.AlignmentFlag.AlignRight)
            for column in (0, 1):
                left_out.setToolTip(column, TOO_SMALL_TIP)

    def forget(self) -> None:
        """A typed name may not be the one that was taken: write all anew next time."""
        self._shown = ()

    def event(self, event: QtCore.QEvent) -> bool:
        """Its own keys first."""
        return keeps_key(event) or super().event(event)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Delete removes the region."""
        item = self.currentItem()
        if event.key() == QtCore.Qt.Key.Key_Delete and item is not None:
            self.removal_wanted.emit(item.text(0))
        else:
            super().keyPressEvent(event)

    def _chosen(self, item: QtWidgets.QTreeWidgetItem | None) -> None:
        if item is not None:
            self.chosen.emit(item.text(0))

    def _edited(self, item: QtWidgets.QTreeWidgetItem, column: int) -> None:
        index = self.indexOfTopLevelItem(item)
        if column != 0 or not 0 <= index < len(self._shown):
            return
        old = self._shown[index].name
        if item.text(0) != old:
            self.renamed.emit(old, item.text(0))


class _Fixed(QtWidgets.QStyledItemDelegate):
    """A column that cannot be typed in."""

    def createEditor(self, *_: object) -> None:  # type: ignore[override]
        return None


def _swatch(colour: str) -> QtGui.QIcon:
    pixmap = QtGui.QPixmap(12, 12)
    pixmap.fill(QtGui.QColor(20, 20, 20))  # a frame: seen on a selected row too
    painter = QtGui.QPainter(pixmap)
    painter.fillRect(1, 1, 10, 10, QtGui.QColor(colour))
    painter.end()
    icon = QtGui.QIcon(pixmap)
    icon.addPixmap(pixmap, QtGui.QIcon.Mode.Selected)  # else it is tinted there
    return icon
