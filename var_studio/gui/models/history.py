"""Undo of what is looked at: the run, the token, the layer, the heads, the cells."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtGui import QUndoCommand

from var_studio.gui.models.selection import Head, RowOf

if TYPE_CHECKING:
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording

MERGE_WITHIN = 0.6
"""Seconds: steps of one kind that follow each other faster are one undo step."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that a click can change of what is looked at.

    The run weakly: a step back does not keep a run that was removed, and its rows, in memory.
    """

    run: weakref.ref[Recording] | None
    position: int | None
    row_of: RowOf
    layer: int
    heads: frozenset[Head]
    cells: frozenset[int]


class LookHistory:
    """Puts the user's steps through runs and selections on the workspace's undo stack.

    What the program selects by itself (a run grows, a session opens) is done inside `unrecorded`.
    """

    def __init__(self, workspace: Workspace, clock: Callable[[], float] = time.monotonic) -> None:
        # A strong one would make a cycle: the workspace then dies within a garbage collection, its
        # undo stack with it, and the steps on it crash (PySide6 6.11).
        self._the_workspace = weakref.ref(workspace)
        self._clock = clock
        self._depth = 0
        self._known = self._look()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes inside are one step."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self.record()

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Changes inside are no step of the user's."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._known = self._look()

    def record(self) -> None:
        """Something may have changed: one step, if it has."""
        if self._depth:
            return
        before, after = self._known, self._look()
        if before == after:
            return
        self._known = after
        if before.run is None or after.run is None:
            return  # There is nothing to go back to.
        self._workspace.undo_stack.push(_Step(self, before, after, self._clock()))

    @property
    def _workspace(self) -> Workspace:
        workspace = self._the_workspace()
        assert workspace is not None
        return workspace

    def _look(self) -> Look:
        selection = self._workspace.selection
        run = self._workspace.run
        return Look(
            None if run is None else weakref.ref(run),
            selection.position,
            selection.row_of,
            selection.layer,
            selection.heads,
            selection.cells,
        )

    def _show(self, look: Look) -> None:
        workspace = self._workspace
        if look == self._look():
            return
        with self.unrecorded():
            workspace.selection.set_row_of(look.row_of)
            run = None if look.run is None else look.run()
            if run is not None and any(each is run for each in workspace.runs):
                workspace.look_at(run)
            workspace.selection.restore(
                look.position, look.row_of, look.layer, look.heads, look.cells
            )


class _Step(QUndoCommand):
    def __init__(self, history: LookHistory, before: Look, after: Look, when: float) -> None:
        super().__init__()
        self._history, self._before, self._after, self._when = history, before, after, when
        self._kind = _difference(before, after)
        self.setText(f"selection of {self._kind}")

    def id(self) -> int:
        return 2

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Step):
            return False
        same = other._kind == self._kind and other._when - self._when <= MERGE_WITHIN
        if same:
            self._after, self._when = other._after, other._when
            self.setObsolete(self._before == self._after)
        return same

    def redo(self) -> None:
        self._history._show(self._after)

    def undo(self) -> None:
        self._history._show(self._before)


def _difference(before: Look, after: Look) -> str:
    """What changed, in a word."""
    if before.run != after.run:
        return "run"
    if before.position != after.position:
        return "token"
    if before.row_of != after.row_of:
        return "row"
    if before.layer != after.layer:
        return "layer"
    return "heads" if before.heads != after.heads else "cells"
