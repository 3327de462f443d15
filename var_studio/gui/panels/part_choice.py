"""The switcher between the grids of visual tokens: images, tiles, thumbnails."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6 import QtCore, QtWidgets

from var_studio.gui.panels.cell_words import scene_text
from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.gui.widgets.short_combo import ShortCombo

_NARROW, _ANY_WIDTH = 170, 16_777_215
"""Pixels beside the subject, and Qt's word for no limit."""


class PartChoice(ShortCombo):
    """Which scene is shown; hidden where there is only one.

    `activated`, as of any combo box, tells that the user chose another.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.scenes: tuple[HeatScene, ...] = ()
        self._narrow = False
        self.currentIndexChanged.connect(self._bound_width)
        self.setToolTip("Which grid of visual tokens: image, tiles or thumbnail.")
        self.setAccessibleName("Grid of visual tokens")

    @property
    def scene(self) -> HeatScene:
        """The one that is shown. There must be scenes."""
        return self.scenes[max(self.currentIndex(), 0)]

    def set_scenes(self, scenes: Sequence[HeatScene]) -> None:
        """Offer these, the first one shown."""
        self.scenes = tuple(scenes)
        self.clear()
        self.addItems([scene.title for scene in self.scenes])
        self._name_scenes()
        self.setVisible(len(self.scenes) > 1)

    def set_narrow(self, narrow: bool) -> None:
        """Leave the room to others: names without how many tokens each has."""
        self._narrow = narrow
        self._bound_width()

    def _bound_width(self) -> None:
        most = min(_NARROW, self.minimumSizeHint().width()) if self._narrow else _ANY_WIDTH
        self.setMaximumWidth(most)

    def step(self, step: int) -> bool:
        """Show the next one, or the one before; False at the end."""
        index = self.currentIndex() + step
        if not 0 <= index < self.count():
            return False
        self.setCurrentIndex(index)
        return True

    def show_part(self, image: int, view: int | None) -> bool:
        """Show what a figure's options name: a view of an image alone, or (None) its finest
        views; True if that is another one now."""
        before = self.currentIndex()
        found = [
            (len(scene.view_indices), -index)
            for index, scene in enumerate(self.scenes)
            if scene.image == image and (view is None or scene.view_indices == (view,))
        ]
        if found:
            # Tiles come together, and are finer than the whole picture.
            self.setCurrentIndex(-max(found)[1])
        return self.currentIndex() != before

    def show_one_of(self, cells: Collection[int]) -> bool:
        """Show a scene that has one of these cells, if the present one has none; True if it is
        another one now."""
        if not cells or not self.scenes or not self.scene.tokens.isdisjoint(cells):
            return False
        for index, scene in enumerate(self.scenes):
            if not scene.tokens.isdisjoint(cells):
                self.setCurrentIndex(index)
                return True
        return False

    def _name_scenes(self) -> None:
        for index, scene in enumerate(self.scenes):
            text = scene_text(scene)
            self.setItemText(index, text)
            self.set_short(index, scene.title)
            self.setItemData(index, text, QtCore.Qt.ItemDataRole.ToolTipRole)
        self._bound_width()
