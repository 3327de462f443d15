"""Recent sessions, images and models: in the menus and in the command palette."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMenu

from var_studio.gui import memory
from var_studio.gui.models.commands import Command

Open = Callable[[str], object]


class RecentMenu(QObject):
    """One menu of what was opened last, read anew each time it is shown.

    `on_disk`: each entry is a file; those that are gone are left out. (A model may also be a hub
    id.)
    """

    def __init__(self, menu: QMenu, kind: str, what: str, call: Open, on_disk: bool = True) -> None:
        super().__init__(menu)
        self._menu, self._kind, self._what = menu, kind, what
        self._call, self._on_disk = call, on_disk
        menu.aboutToShow.connect(self._fill)
        self._fill()

    def names(self) -> Iterator[str]:
        """What can be opened again, the latest first."""
        for name in memory.recent(self._kind):
            if not self._on_disk or Path(name).exists():
                yield name

    def commands(self) -> list[Command]:
        """The same, for the palette."""
        return [
            Command(f"Recent {self._what}", Path(name).name, partial(self._call, name), tip=name)
            for name in self.names()
        ]

    def _fill(self) -> None:
        self._menu.clear()
        for name in self.names():
            action = self._menu.addAction(Path(name).name.replace("&", "&&"))
            action.setStatusTip(name)
            action.triggered.connect(partial(self._open, name))
        if self._menu.isEmpty():
            self._menu.addAction("None yet").setEnabled(False)

    def _open(self, name: str, _checked: bool = False) -> None:
        self._call(name)
