"""The panels as docks: built from the list of panels, movable, remembered, restorable."""

from __future__ import annotations

import zlib

from PySide6.QtCore import QByteArray, QChildEvent, QEvent, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabBar, QTabWidget, QWidget

from var_studio.gui.panels import PANELS, PanelEntry, Place
from var_studio.gui.panels.base import Panel
from var_studio.gui.widgets.image_well import ImageWell, dropped_files
from var_studio.gui.widgets.wheel_guard import WheelGuard

_PANEL_NAMES = " ".join(f"{entry.class_name} {entry.place}" for entry in PANELS)
_LAYOUT_VERSION = zlib.crc32(_PANEL_NAMES.encode()) & 0x7FFFFFFF
"""A layout of other panels is not restored: Qt would hide those that it does not know."""


class PanelDock(QDockWidget):
    """A panel with its header as title bar; keys it does not want go to the window.

    The panel is made when it is first seen or asked for: most stand behind tabs at first.

    `dropped(QMimeData)`: files or a picture were dropped on it, also where it floats.
    `made(Panel)`: the panel is there from now on.
    """

    dropped = Signal(object)
    made = Signal(object)

    def __init__(self, entry: PanelEntry) -> None:
        super().__init__(entry.title)
        self.setObjectName(f"dock.{entry.name}")
        self.setAcceptDrops(True)
        self._entry = entry
        self._panel: Panel | None = None
        self._seen = False
        self.visibilityChanged.connect(self._show_panel)

    @property
    def has_panel(self) -> bool:
        """Whether the panel was made."""
        return self._panel is not None

    @property
    def panel(self) -> Panel:
        """The panel, made now if it was not."""
        return self._make() if self._panel is None else self._panel

    def _make(self) -> Panel:
        # Known before it is put in: a dock that floats tells anew that it is seen.
        panel = self._panel = self._entry.kind()()
        policy = panel.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        panel.setSizePolicy(policy)
        self.setTitleBarWidget(panel.header)
        self.setWidget(panel)
        panel.hide()
        self.made.emit(panel)
        panel.setVisible(self._seen)
        return panel

    @Slot(bool)
    def _show_panel(self, seen: bool) -> None:
        # Qt calls a panel behind another tab visible: it would compute what nobody sees.
        self._seen = seen
        if seen or self._panel is not None:
            self.panel.setVisible(seen)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event.mimeData()) or event.mimeData().hasImage():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.dropped.emit(event.mimeData())
        event.acceptProposedAction()


class DockArea(QMainWindow):
    """All docks. A window inside the window, so that notices can stand above it.

    `panel_made(Panel)`: a panel is there from now on, and not yet visible.
    """

    panel_made = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockNestingEnabled(True)
        self.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
        )
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.wheel_guard = WheelGuard(self)
        self.docks: dict[str, PanelDock] = {}
        self._entries: dict[str, PanelEntry] = {}
        self.own_sizes = False  # whether the user dragged a separator
        self._sizes_before: list[QSize] = []
        # Several panels come or go in one turn.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._keep_proportions)
        for entry in PANELS:
            dock = PanelDock(entry)
            dock.made.connect(self.panel_made)
            dock.topLevelChanged.connect(self._moved)
            self.docks[entry.name] = dock
            self._entries[entry.name] = entry
        self.arrange()
        self._unfinished: list[PanelDock] = []

    def panel(self, name: str) -> Panel:
        """The panel of that name."""
        return self.docks[name].panel

    def finish(self) -> None:
        """Prepare the panels that are there; make the others, one in a turn of the event loop."""
        self._unfinished = [dock for dock in self.docks.values() if not dock.has_panel]
        QTimer.singleShot(0, self, self._finish_all_made)

    @Slot()
    def _finish_all_made(self) -> None:
        for dock in self.docks.values():
            # Qt would give the room of a panel that is hidden to Setup and the map alike.
            dock.toggleViewAction().toggled.connect(self._soon.start)
            if dock not in self._unfinished:
                self._finish(dock)
        self._finish_later()

    def _finish_later(self) -> None:
        # A timer of 0 ms is an event like those that wait: all would come in one turn.
        QTimer.singleShot(1, self, self._finish_next)

    @Slot()
    def _finish_next(self) -> None:
        if self._unfinished:
            self._finish(self._unfinished.pop(0))
            self._finish_later()

    def _finish(self, dock: PanelDock) -> None:
        dock.panel.prepare()
        self.wheel_guard.watch(dock.panel)
        self.wheel_guard.watch(dock.panel.header)
        # Text fields and plots would swallow a dropped file: leave it to the window.
        for widget in dock.findChildren(QWidget):
            if widget.acceptDrops() and not isinstance(widget, ImageWell):
                widget.setAcceptDrops(False)

    def on_screen(self, name: str) -> bool:
        """Whether a panel can be seen: not hidden, nor behind another's tab."""
        dock = self.docks[name]
        # Qt moves a dock behind a tab out of sight, and calls it visible.
        return dock.isVisible() and (dock.isFloating() or self.rect().intersects(dock.geometry()))

    def reveal(self, name: str) -> None:
        """Show a panel, in front of the tabs it shares its place with, and give it the focus."""
        dock = self.docks[name]
        dock.show()
        dock.raise_()
        dock.panel.setFocus(Qt.FocusReason.OtherFocusReason)

    def arrange(self) -> None:
        """Put every panel in its first place."""
        for dock in self.docks.values():
            dock.setFloating(False)
            self.removeDockWidget(dock)
        first: dict[str, PanelDock] = {}
        # Bottom before right: what is split first spans what is split after.
        order = ("left", "top", "centre", "bottom", "right")
        for name in sorted(self.docks, key=lambda name: order.index(self._entries[name].place)):
            dock, place = self.docks[name], self._entries[name].place
            if place in first:
                self.tabifyDockWidget(first[place], dock)
                first[place].raise_()
            else:
                self._place(dock, place, first)
                first[place] = dock
            dock.setVisible(self._entries[name].visible)
        self._first = first
        self.own_sizes = False
        self.proportion()

    def proportion(self) -> None:
        """The sizes of the first arrangement, for the present size of the window.

        The room of a place whose panels are all hidden goes to the maps.
        """
        width, height = self.width(), self.height()
        stands = {entry.place: self._standing(entry.place) for entry in self._entries.values()}
        left = min(max(width * 22 // 100, 304), 380) if stands["left"] is not None else 0
        parts: dict[Place, int] = {"centre": 55, "right": 45}
        maps = {place: parts[place] for place in parts if stands[place] is not None}
        total = sum(maps.values())
        across = {place: (width - left) * part // total for place, part in maps.items()}
        self._resize({"left": left, **across}, stands, Qt.Orientation.Horizontal)
        top = min(max(height * 21 // 100, 172), 240) if stands["top"] is not None else 0
        bottom = min(height * 24 // 100, 300) if stands["bottom"] is not None else 0
        row: Place = next(iter(maps), "centre")
        down: dict[Place, int] = {"top": top, row: height - top - bottom, "bottom": bottom}
        self._resize(down, stands, Qt.Orientation.Vertical)

    def _resize(
        self, sizes: dict[Place, int], stands: dict[Place, PanelDock | None], way: Qt.Orientation
    ) -> None:
        """Give what stands at these places these sizes."""
        there = [(dock, sizes[place]) for place, dock in stands.items() if dock and place in sizes]
        if len(there) > 1:
            self.resizeDocks([dock for dock, _ in there], [size for _, size in there], way)

    def _standing(self, place: str) -> PanelDock | None:
        """A panel that stands at a first place now."""
        docks = (dock for name, dock in self.docks.items() if self._entries[name].place == place)
        return next((d for d in docks if not (d.isHidden() or d.isFloating())), None)

    def _place(self, dock: PanelDock, place: str, first: dict[str, PanelDock]) -> None:
        if place == "left":
            self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        elif place == "top" or not {"top", "centre"} & first.keys():
            self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        elif place == "centre":
            self.splitDockWidget(first["top"], dock, Qt.Orientation.Vertical)
        elif place == "right":
            self.splitDockWidget(first["centre"], dock, Qt.Orientation.Horizontal)
        else:
            self.splitDockWidget(first["centre"], dock, Qt.Orientation.Vertical)

    # ------------------------------------------------------------------------------- memory
    def remember(self) -> QByteArray:
        """The present layout."""
        return self.saveState(_LAYOUT_VERSION)

    def recall(self, layout: QByteArray, own_sizes: bool) -> bool:
        """Restore a layout that `remember` gave; False if it is of another version."""
        before = self.findChildren(QTabBar)
        done = self.restoreState(layout, _LAYOUT_VERSION)
        for bar in before if done else ():
            bar.hide()  # Qt makes others, and would show these too, in the corner
        self.own_sizes = done and own_sizes
        return done

    def childEvent(self, event: QChildEvent) -> None:
        """Name the bars of tabs, which Qt makes as docks are put together."""
        super().childEvent(event)
        # Only then: whoever asks for a child that is being built gets it as a plain QObject.
        if event.polished() and isinstance(bar := event.child(), QTabBar):
            bar.setAccessibleName("Panels in this place")

    # ------------------------------------------------------------------------------- sizes
    def event(self, event: QEvent) -> bool:
        """Tell whether a separator was dragged: from then on the sizes are the user's own."""
        done = super().event(event)
        if event.type() == QEvent.Type.MouseButtonPress:
            self._sizes_before = self._sizes()
        elif event.type() == QEvent.Type.MouseButtonRelease:
            self.own_sizes |= self._sizes_before != self._sizes()
        return done

    @Slot()
    def _moved(self) -> None:
        self.own_sizes = True  # the places that `proportion` knows are not all taken

    def _sizes(self) -> list[QSize]:
        return [dock.size() for dock in self._first.values()]

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the first proportions: Qt would widen Setup as much as the maps."""
        super().resizeEvent(event)
        self._keep_proportions()

    @Slot()
    def _keep_proportions(self) -> None:
        if not self.own_sizes:
            self.proportion()

    def closeEvent(self, event: QCloseEvent) -> None:
        event.ignore()  # the outer window closes, never this
