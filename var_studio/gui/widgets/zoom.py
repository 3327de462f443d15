"""Where several views of one picture look: one zoom, shared by all that are linked."""

from __future__ import annotations

from PySide6 import QtCore

MOST = 40.0


class Zoom(QtCore.QObject):
    """A magnification (1 = the whole scene fits) and the point of the scene in the middle.

    `centre` is in fractions of the scene, so that views of different size stay linked.
    """

    changed = QtCore.Signal()

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self.factor = 1.0
        self.centre = QtCore.QPointF(0.5, 0.5)

    def set(self, factor: float, centre: QtCore.QPointF) -> None:
        """Look elsewhere. The scene cannot be moved out of sight."""
        factor = min(max(factor, 1.0), MOST)
        # At magnification f, 1/f of the scene is visible: the middle stays half of that inside.
        margin = 0.5 / factor
        centre = QtCore.QPointF(
            min(max(centre.x(), margin), 1.0 - margin), min(max(centre.y(), margin), 1.0 - margin)
        )
        if factor == self.factor and centre == self.centre:
            return
        self.factor, self.centre = factor, centre
        self.changed.emit()

    def reset(self) -> None:
        """Show the whole scene."""
        self.set(1.0, QtCore.QPointF(0.5, 0.5))

    def around(self, fixed: QtCore.QPointF, times: float) -> None:
        """Magnify by `times` so that the point `fixed` (fractions of the scene) stays in place."""
        factor = min(max(self.factor * times, 1.0), MOST)
        ratio = self.factor / factor
        self.set(factor, fixed + (self.centre - fixed) * ratio)

    def shift(self, by: QtCore.QPointF) -> None:
        """Move the middle by fractions of the scene."""
        self.set(self.factor, self.centre + by)
