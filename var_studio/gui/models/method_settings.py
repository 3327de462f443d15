"""Settings that can be undone: of the method (τ, ρ, p, ...) and of the generation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from var_studio.recording.settings import Generation, Redistribution, Settings

S = TypeVar("S", bound=Settings)


class SettingsModel(QObject, Generic[S]):
    """One frozen settings object; every change makes a new one, through the undo stack.

    `changed` is emitted once per change, undo and redo included. While a slider is dragged its
    steps (`drag=True`) merge into one undo step, until `end_drag`.
    """

    changed = Signal()

    def __init__(
        self, value: S, undo_stack: QUndoStack | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.undo_stack = undo_stack if undo_stack is not None else QUndoStack(self)
        self._value = value
        self._drag = 0

    @property
    def stored(self) -> S:
        """The settings as the user made them (None still means: the model's default)."""
        return self._value

    def set(self, *, drag: bool = False, **changes: Any) -> None:
        """Change fields. Raises pydantic.ValidationError (and changes nothing) out of bounds."""
        kind = type(self._value)
        new = kind.model_validate(self._value.model_dump() | changes)
        if new == self._value:
            return
        fields = kind.model_fields
        label = ", ".join(str(fields[name].title or name) for name in changes)
        self.undo_stack.push(
            _Change(self, self._value, new, f"change of {label}", self._drag if drag else None)
        )

    def end_drag(self) -> None:
        """The slider was let go: the next change is an undo step of its own."""
        self._drag += 1

    def set_all_default(self) -> None:
        """Back to the declared defaults, as one undo step."""
        new = type(self._value)()
        if new != self._value:
            self.undo_stack.push(_Change(self, self._value, new, "reset to the defaults", None))

    def reset(self, value: S) -> None:
        """Take these settings without an undo step (a session was opened)."""
        if value != self._value:
            self._value = value
            self.changed.emit()

    def _apply(self, value: S) -> None:
        self._value = value
        self.changed.emit()


class _Change(QUndoCommand):
    def __init__(
        self, model: SettingsModel[S], before: S, after: S, text: str, drag: int | None
    ) -> None:
        super().__init__(text)
        self._model, self._before, self._after, self._drag = model, before, after, drag

    def id(self) -> int:
        return -1 if self._drag is None else 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Change):
            return False
        same = (
            other._model is self._model
            and other._drag == self._drag
            and other.text() == self.text()
        )
        if same:
            self._after = other._after
        return same

    def redo(self) -> None:
        self._model._apply(self._after)

    def undo(self) -> None:
        self._model._apply(self._before)


class LayersModel(SettingsModel[S]):
    """Settings with a range of layers."""

    def set(self, *, drag: bool = False, **changes: Any) -> None:
        """Change fields as in SettingsModel; an end of the layer range takes the other along."""
        stored: Any = self._value
        first = changes.get("first_layer", stored.first_layer)
        last = changes.get("last_layer", stored.last_layer)
        if last is not None and last < first:
            if "last_layer" not in changes:
                changes["last_layer"] = first
            elif "first_layer" not in changes:
                changes["first_layer"] = last
        super().set(drag=drag, **changes)


class MethodModel(LayersModel[Redistribution]):
    """The redistribution's settings, with what the present model says about τ and layers."""

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(Redistribution(), undo_stack, parent)
        self.tau_default = 20.0
        self.tau_max = 64.0
        self.hidden_size = 4096
        self.n_layers = 0  # until a model is known: τ and D above are those of LLaMA then
        self.sink_dims_default: tuple[int, ...] = ()
        self.region: tuple[int, ...] = ()
        self._picture = ""
        self._pictures: dict[tuple[int, ...], set[str]] = {}

    @property
    def region_pictures(self) -> list[str]:
        """The pictures that the region to steer to was painted on, as `regions.picture_key`."""
        return sorted(self._pictures.get(self._value.region, ()))

    @property
    def region_elsewhere(self) -> bool:
        """Whether the region to steer to is one of another picture: here it means nothing, and
        the budget goes to all visual non-sinks."""
        stored = self._value
        if stored.target != "region" or self.region:
            return False
        pictures = self.region_pictures
        return bool(pictures) and self._picture not in pictures

    @property
    def model_known(self) -> bool:
        """Whether `set_model` told of a model, so that its τ, D and layers are not a guess."""
        return self.n_layers > 0

    @property
    def current(self) -> Redistribution:
        """As `for_a_run`, with τ resolved (never None) for the model on screen."""
        found = self.for_a_run
        return found if found.tau is not None else found.model_copy(update={"tau": self.tau})

    @property
    def for_a_run(self) -> Redistribution:
        """The settings with the region as it is painted now, without one that belongs to another
        picture. τ may be None: the model that makes the run has its own."""
        changes: dict[str, Any] = {}
        if self._value.target == "region" and self.region:
            changes["region"] = self.region
        elif self.region_elsewhere:
            changes |= {"target": "visual", "region": ()}
        return self._value.model_copy(update=changes) if changes else self._value

    @property
    def tau(self) -> float:
        """τ in force."""
        return self.tau_default if self._value.tau is None else self._value.tau

    def set(self, *, drag: bool = False, **changes: Any) -> None:
        """Change fields as in LayersModel; a region is one of the picture on screen."""
        if changes.get("region"):
            self._pictures.setdefault(tuple(changes["region"]), set()).add(self._picture)
        super().set(drag=drag, **changes)

    def restore(self, value: Redistribution, pictures: Iterable[str] = ()) -> None:
        """Take the settings of a session, as `reset`, and the pictures that their region is of."""
        self._pictures = {value.region: set(pictures)} if value.region else {}
        self.reset(value)

    def set_region(self, tokens: tuple[int, ...], picture: str = "") -> None:
        """Tell the visual tokens of the active region, empty where there is none, and which picture
        is on screen; a target that is a region follows it as it is painted."""
        if (tokens, picture) != (self.region, self._picture):
            self.region, self._picture = tokens, picture
            self.changed.emit()

    def set_target(self, target: str) -> None:
        """Choose who receives the budget; a region is the active one. Nothing changes without."""
        if target != "region":
            self.set(target=target, region=())
        elif self.region:
            self.set(target=target, region=self.region)

    def set_model(
        self,
        tau_default: float,
        hidden_size: int,
        n_layers: int,
        sink_dims: Sequence[int] = (),
    ) -> None:
        """Tell the default τ, the hidden size D (φ ≤ √D), the number of layers, the sink
        dimensions."""
        new = (float(tau_default), int(hidden_size), int(n_layers), tuple(sink_dims))
        if new != (self.tau_default, self.hidden_size, self.n_layers, self.sink_dims_default):
            self.tau_default, self.hidden_size, self.n_layers, self.sink_dims_default = new
            self.tau_max = math.sqrt(hidden_size)
            self.changed.emit()


class GenerationModel(SettingsModel[Generation]):
    """How the next answer is produced."""

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(Generation(max_new_tokens=64), undo_stack, parent)
