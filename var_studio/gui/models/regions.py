"""The regions of the picture on screen, and those of the session's other pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from var_studio.recording.regions import Region, carried_over, picture_key

if TYPE_CHECKING:
    from var_studio.recording.layout import VisualLayout
    from var_studio.recording.recording import Recording


class RegionsModel(QObject):
    """Named regions; every change goes through the undo stack.

    `current` are the regions of the picture of the run on screen. Where the same picture is cut
    into other cells, they are those of the other cells, carried over in pixels, until they are
    changed here. `active` is the one that
    painting changes; without one, painting makes a new region. `changed` once per change, also
    when another picture comes on screen.
    """

    changed = Signal()
    edited = Signal()  # after `changed`, where regions were made, painted, named or removed

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.undo_stack = undo_stack if undo_stack is not None else QUndoStack(self)
        self._by_picture: dict[str, tuple[Region, ...]] = {}
        self._active: dict[str, str] = {}
        self._key = ""
        self._n_visual = 0
        self._seen: dict[str, tuple[tuple[str, ...], VisualLayout]] = {}
        self._carried: set[str] = set()
        self._too_small: tuple[str, ...] = ()
        self._stroke = 0

    # ------------------------------------------------------------------------------- reading
    @property
    def current(self) -> tuple[Region, ...]:
        """The regions of the picture on screen, in the order they were made."""
        return self._by_picture.get(self._key, ())

    @property
    def active(self) -> Region | None:
        """The region that painting changes."""
        return self.find(self._active.get(self._key, ""))

    @property
    def available(self) -> bool:
        """Whether there is a picture that regions can be painted on."""
        return bool(self._key)

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Names of the regions that belong to other pictures: they do not apply to this one."""
        mine = self._seen[self._key][0] if self._key in self._seen else None
        return tuple(
            region.name
            for key, kept in self._by_picture.items()
            if key != self._key and (mine is None or self._seen.get(key, ((), None))[0] != mine)
            for region in kept
        )

    @property
    def too_small(self) -> tuple[str, ...]:
        """Names of the regions of this picture that cover no cell of this run by half: they are
        left out here, and kept with the other cells."""
        return tuple(name for name in self._too_small if self.find(name) is None)

    @property
    def picture(self) -> str:
        """Names the picture on screen and its cells, as `recording.regions.picture_key`."""
        return self._key

    def find(self, name: str) -> Region | None:
        """The region of that name on this picture."""
        return next((region for region in self.current if region.name == name), None)

    def containing(self, token: int) -> tuple[Region, ...]:
        """The regions of this picture that hold visual token k."""
        return tuple(region for region in self.current if token in region.tokens)

    # ------------------------------------------------------------------------------ changing
    def add(self, tokens: Iterable[int] = (), name: str = "") -> str:
        """Add a region, make it the active one, and return its name: `name`, or "region 1" and so
        on; with a number where the name is taken. "" without a picture."""
        if not self._key:
            return ""
        name = self._free(name.strip() or "region", numbered=not name.strip())
        region = Region(name, self._within(tokens))
        self._push((*self.current, region), name, f"new region {name}")
        return name

    def rename(self, name: str, new: str) -> str:
        """Give a region another name; returns the name it has now."""
        new = new.strip()
        if not new or new == name or self.find(name) is None:
            return name
        new = self._free(new)
        changed = tuple(Region(new, r.tokens) if r.name == name else r for r in self.current)
        active = new if self._active.get(self._key) == name else self._active.get(self._key, "")
        self._push(changed, active, f"new name of region {name}")
        return new

    def set_tokens(self, name: str, tokens: Iterable[int]) -> None:
        """Give a region exactly these visual tokens, and paint on in it."""
        if self.find(name) is None:
            return
        new = Region(name, self._within(tokens))
        changed = tuple(new if region.name == name else region for region in self.current)
        if changed != self.current:
            self._push(changed, name, f"change of region {name}")

    def remove(self, name: str) -> None:
        """Remove a region."""
        kept = tuple(region for region in self.current if region.name != name)
        if kept != self.current:
            active = self._active.get(self._key, "")
            if active == name:
                active = kept[-1].name if kept else ""
            self._push(kept, active, f"removal of region {name}")

    def activate(self, name: str) -> None:
        """Paint this region from now on ("": a new one). No undo step."""
        if (not name or self.find(name) is not None) and self._active.get(self._key, "") != name:
            self._active[self._key] = name
            self.changed.emit()

    def paint(self, tokens: Iterable[int], *, erase: bool = False, drag: bool = False) -> None:
        """Add visual tokens to the active region, or take them from it. With `drag` the steps of a
        stroke are one undo step, until `end_stroke`."""
        if not self._key:
            return
        painted = set(self._within(tokens))
        region, before = self.active, self.current
        if region is None:
            if erase or not painted:
                return
            name = self._free("region", numbered=True)
            after = (*before, Region(name, tuple(painted)))
        else:
            name = region.name
            held = set(region.tokens)
            held = held - painted if erase else held | painted
            new = Region(name, tuple(held))
            after = tuple(new if r.name == name else r for r in before)
        if after != before:
            verb = "erasing from" if erase else "painting of"
            self._push(after, name, f"{verb} region {name}", self._stroke if drag else None)

    def end_stroke(self) -> None:
        """The mouse button was let go: the next stroke is an undo step of its own."""
        self._stroke += 1

    # --------------------------------------------------------------------- the window's part
    def show_run(self, run: Recording | None, runs: Iterable[Recording] = ()) -> bool:
        """The run on screen: its picture's regions are `current`. `runs`: all there are, whose
        regions may be of the same picture. True if the picture changed."""
        key = picture_key(run) if run is not None else ""
        if key == self._key:
            return False
        self._key = key
        self._too_small = ()
        self._n_visual = run.layout.count if run is not None else 0
        if run is not None and key:
            for each in (*runs, run):
                images = tuple(entry.sha256 for entry in each.image_entries)
                self._seen[picture_key(each)] = (images, each.layout)
            self._carry_over(key)
            self._too_small = self._find_too_small(key)
        if key in self._by_picture:
            # What a damaged file adds does not exist in the picture.
            self._by_picture[key] = tuple(
                Region(r.name, self._within(r.tokens)) for r in self._by_picture[key]
            )
        self.changed.emit()
        return True

    def restore(self, regions: Mapping[str, Iterable[Region]]) -> None:
        """Take the regions of a session, without an undo step."""
        self._by_picture = {key: tuple(kept) for key, kept in regions.items()}
        self._seen, self._carried = {}, set()
        self._active = {key: kept[0].name for key, kept in self._by_picture.items() if kept}
        self.changed.emit()

    def to_save(self) -> dict[str, tuple[Region, ...]]:
        """The regions of all pictures, for the session file; not those carried over."""
        own = (item for item in self._by_picture.items() if item[0] not in self._carried)
        return {key: kept for key, kept in own if kept}

    # ------------------------------------------------------------------------------ plumbing
    def _carry_over(self, key: str) -> None:
        """Take the regions of the same picture in other cells, unless this one has its own."""
        if key in self._by_picture and key not in self._carried:
            return
        images, layout = self._seen[key]
        for other, kept in self._by_picture.items():
            there = self._seen.get(other)
            if other == key or other in self._carried or there is None or there[0] != images:
                continue
            moved = (Region(r.name, carried_over(r.tokens, there[1], layout)) for r in kept)
            found = tuple(region for region in moved if region.tokens)
            if found:
                self._by_picture[key] = found
                self._carried.add(key)
                active = self._active.get(other, "")
                named = any(region.name == active for region in found)
                self._active[key] = active if named else found[0].name
                return
        self._by_picture.pop(key, None)
        self._carried.discard(key)

    def _find_too_small(self, key: str) -> tuple[str, ...]:
        images, layout = self._seen[key]
        found = []
        for other, kept in self._by_picture.items():
            there = self._seen.get(other)
            if other == key or other in self._carried or there is None or there[0] != images:
                continue
            for region in kept:
                if region.tokens and not carried_over(region.tokens, there[1], layout):
                    found.append(region.name)
        return tuple(found)

    def _within(self, tokens: Iterable[int]) -> tuple[int, ...]:
        return tuple(int(k) for k in tokens if 0 <= k < self._n_visual)

    def _free(self, name: str, numbered: bool = False) -> str:
        taken = {region.name for region in self.current}
        number = 1
        told = f"{name} 1" if numbered else name
        while told in taken:
            number += 1
            told = f"{name} {number}"
        return told

    def _push(
        self, after: tuple[Region, ...], active: str, text: str, stroke: int | None = None
    ) -> None:
        before = (self.current, self._active.get(self._key, ""))
        self.undo_stack.push(_Painted(self, self._key, before, (after, active), text, stroke))

    def _apply(self, key: str, state: tuple[tuple[Region, ...], str]) -> None:
        self._by_picture[key], self._active[key] = state
        self._carried.discard(key)
        self.changed.emit()
        self.edited.emit()


class _Painted(QUndoCommand):
    def __init__(
        self,
        model: RegionsModel,
        key: str,
        before: tuple[tuple[Region, ...], str],
        after: tuple[tuple[Region, ...], str],
        text: str,
        stroke: int | None,
    ) -> None:
        super().__init__(text)
        self._model, self._key, self._stroke = model, key, stroke
        self._before, self._after = before, after

    def id(self) -> int:
        return -1 if self._stroke is None else 3

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Painted):
            return False
        same = (
            other._model is self._model
            and other._key == self._key
            and other._stroke == self._stroke
        )
        if same:
            self._after = other._after
        return same

    def redo(self) -> None:
        self._model._apply(self._key, self._after)

    def undo(self) -> None:
        self._model._apply(self._key, self._before)
