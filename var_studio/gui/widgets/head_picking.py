"""Picking heads with mouse and keys: one, a range, a row, a column, in any order of the heads."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6 import QtCore, QtGui, QtWidgets

Head = tuple[int, int]
NO_HEAD: Head = (-1, -1)

_MODIFIER = QtCore.Qt.KeyboardModifier
_ARROWS = {
    QtCore.Qt.Key.Key_Left: (0, -1),
    QtCore.Qt.Key.Key_Right: (0, 1),
    QtCore.Qt.Key.Key_Up: (-1, 0),
    QtCore.Qt.Key.Key_Down: (1, 0),
}


class HeadPicking(QtWidgets.QWidget):
    """A widget that shows heads, of which the user picks some.

    A click picks a head, a drag from one to another all between them; with Shift they are added,
    with Ctrl those that were picked are dropped and the others added. The same with keys: arrows
    move the frame and pick, with Shift they add, with Ctrl they only move; Enter picks or drops
    the head in the frame, Shift+Space picks its layer, Ctrl+Space its column.

    A subclass says where heads are: `between`, `moved`, `row_of`, `column_of`.
    """

    picked = QtCore.Signal(object, int)
    """All heads that are picked now (frozenset of (layer, head); empty: all of the model), and the
    layer to show, -1 to leave it."""
    head_hovered = QtCore.Signal(int, int)
    """layer and head under the pointer; -1, -1 for none."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self._selected: frozenset[Head] = frozenset()
        self._cursor: Head = (0, 0)
        self._pressed: Head | None = None
        self._reached: Head = NO_HEAD
        self._base: frozenset[Head] = frozenset()
        self._mode = _MODIFIER.NoModifier
        self._hovered: Head = NO_HEAD
        # Whoever listens to `picked` mostly has more to show: both in one paint.
        self._mark_later = QtCore.QTimer(self)
        self._mark_later.setSingleShot(True)
        self._mark_later.setInterval(0)
        self._mark_later.timeout.connect(self.update)

    # ------------------------------------------------------------------- for subclasses to say
    def between(self, first: Head, last: Head) -> frozenset[Head]:
        """The heads from one place to another; places in a margin have -1."""
        raise NotImplementedError

    def moved(self, head: Head, down: int, right: int) -> Head:
        """The head next to one."""
        raise NotImplementedError

    def row_of(self, head: Head) -> frozenset[Head]:
        """All heads of its layer."""
        raise NotImplementedError

    def column_of(self, head: Head) -> frozenset[Head]:
        """The head of this number in every layer."""
        raise NotImplementedError

    # -------------------------------------------------------------------------- what is picked
    def set_selected(self, heads: Iterable[Head]) -> None:
        """Mark the heads that are selected; emits nothing."""
        heads = frozenset(heads)
        if len(heads) == 1 and self._pressed is None:
            (self._cursor,) = heads
        if heads != self._selected:
            self._selected = heads
            self.update()

    def forget_beyond(self, layers: int, heads: int) -> None:
        """Another model is shown: let go of heads that it does not have."""

        def there(head: Head) -> bool:
            return 0 <= head[0] < layers and 0 <= head[1] < heads

        self._selected = frozenset(head for head in self._selected if there(head))
        self._hovered = self._hovered if there(self._hovered) else NO_HEAD
        self._cursor = self._cursor if there(self._cursor) else (0, 0)
        self._pressed = None

    @property
    def stretched(self) -> tuple[Head, Head] | None:
        """Where a drag began and where it is now; None while there is none."""
        if self._pressed is None or self._pressed == self._reached:
            return None
        return self._pressed, self._reached

    def begin(self, place: Head, modifiers: QtCore.Qt.KeyboardModifier) -> None:
        """The mouse went down at a place."""
        self._pressed, self._base, self._mode = place, self._selected, modifiers
        self._reached = NO_HEAD
        self._cursor = place if min(place) >= 0 else self._cursor
        self.stretch(place)

    def stretch(self, place: Head) -> None:
        """The mouse came to a place while it was down."""
        if self._pressed is None or place == self._reached:
            return
        self._reached = place
        self._pick(self.between(self._pressed, place), self._base, self._mode, self._pressed[0])

    def _pick(
        self,
        heads: frozenset[Head],
        base: frozenset[Head],
        modifiers: QtCore.Qt.KeyboardModifier,
        layer: int,
    ) -> None:
        if modifiers & _MODIFIER.ControlModifier:
            heads = base ^ heads
        elif modifiers & _MODIFIER.ShiftModifier:
            heads = base | heads
        self._say(heads, layer)

    def _say(self, heads: frozenset[Head], layer: int) -> None:
        # Marked at once: the next click may come before anybody has answered.
        self._selected = heads
        self.picked.emit(heads, layer)
        self._mark_later.start()

    def hover(self, head: Head) -> None:
        """The pointer is on a head, or on none."""
        if head != self._hovered:
            self._hovered = head
            self.update()
            self.head_hovered.emit(*head)

    # ---------------------------------------------------------------------------------- events
    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """The drag is over."""
        if event.button() == QtCore.Qt.MouseButton.LeftButton:
            banded = self.stretched is not None
            self._pressed = None
            if banded:
                self.update()

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on no head any more."""
        self.hover(NO_HEAD)

    def event(self, event: QtCore.QEvent) -> bool:
        """Keep the keys with Shift or Ctrl, and Enter, from the window's shortcuts."""
        if event.type() == QtCore.QEvent.Type.ShortcutOverride:
            assert isinstance(event, QtGui.QKeyEvent)
            held = event.modifiers() & (_MODIFIER.ShiftModifier | _MODIFIER.ControlModifier)
            key = event.key()
            if held and (key in _ARROWS or key == QtCore.Qt.Key.Key_Space):
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Walk, add, drop; a row, a column, all."""
        key, held = QtCore.Qt.Key(event.key()) if event.key() else None, event.modifiers()
        control = bool(held & _MODIFIER.ControlModifier)
        here = self._cursor
        if event.matches(QtGui.QKeySequence.StandardKey.SelectAll):
            self._say(frozenset(), -1)
        elif key in _ARROWS:
            self._cursor = here = self.moved(here, *_ARROWS[key])
            if control:
                self.update()
            else:
                # Shift adds; a head that is in already stays in.
                self._pick(frozenset({here}), self._selected, held, here[0])
        elif key in (QtCore.Qt.Key.Key_Return, QtCore.Qt.Key.Key_Enter):
            self._pick(frozenset({here}), self._selected, _MODIFIER.ControlModifier, here[0])
        elif key == QtCore.Qt.Key.Key_Space and held & _MODIFIER.ShiftModifier:
            self._say(self.row_of(here), here[0])
        elif key == QtCore.Qt.Key.Key_Space and control:
            self._say(self.column_of(here), -1)
        else:
            super().keyPressEvent(event)
