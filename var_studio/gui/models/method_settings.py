"""Settings that can be undone: of the method (τ, ρ, p, ...) and of the generation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from var_studio.recording.settings import Generation, Redistribution, Settings

S = TypeVar("S", bound=Settings)

GIVEN, NONE_FOUND, UNKNOWN = "given by the user", "none found", "not discovered yet"
"""Where sink dimensions come from, as a model and a run's provenance say it."""


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


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model says of the method's settings; `key` tells models apart, `name` is for people.

    The values given here are LLaMA's; `n_layers` 0: no model is known yet.
    """

    tau_default: float = 20.0
    hidden_size: int = 4096
    n_layers: int = 0
    sink_dims: tuple[int, ...] = ()
    key: str = ""
    name: str = ""
    origin: str = ""

    @property
    def known(self) -> bool:
        """Whether this is a model, so that its τ, D and layers are not a guess."""
        return self.n_layers > 0

    @property
    def tau_max(self) -> float:
        """φ is at most √D."""
        return math.sqrt(self.hidden_size)


class MethodModel(LayersModel[Redistribution]):
    """The redistribution's settings, with what models say about τ, dimensions and layers.

    `shown` made the run on screen, which is read with `current`. `coming` makes the next run, with
    `for_a_run`: the model that is loaded, or without one that of the run on screen. Sink dimensions
    belong to the model that they were chosen for; another one has its own.
    """

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(Redistribution(), undo_stack, parent)
        self._of_run = ModelFacts()
        self._loaded: ModelFacts | None = None
        self._dims_models: dict[tuple[int, ...], set[str]] = {}
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
    def shown(self) -> ModelFacts:
        """The model of the run on screen; without a run, the one that is loaded."""
        return self._of_run if self._of_run.known else self._loaded or ModelFacts()

    @property
    def coming(self) -> ModelFacts:
        """The model that makes the next run."""
        return self._loaded or self._of_run

    @property
    def sink_dims_models(self) -> list[str]:
        """The keys of the models that the sink dimensions were chosen for; none: for whichever."""
        return sorted(self._dims_models.get(self._value.sink_dims or (), ()))

    def dims_elsewhere(self, model: ModelFacts) -> bool:
        """Whether sink dimensions were chosen, and for other models than this one."""
        chosen_for = self.sink_dims_models
        return model.known and bool(chosen_for) and model.key not in chosen_for

    @property
    def current(self) -> Redistribution:
        """The settings for the run on screen, with τ resolved (never None)."""
        return _with_tau(self._settings_for(self.shown), self.shown)

    @property
    def for_a_run(self) -> Redistribution:
        """The settings of the next run. τ may be None: the model that makes the run has its own."""
        return self._settings_for(self.coming)

    @property
    def for_a_run_resolved(self) -> Redistribution:
        """As `for_a_run`, with the τ of the model that is expected to make the run."""
        return _with_tau(self.for_a_run, self.coming)

    def _settings_for(self, model: ModelFacts) -> Redistribution:
        """With the region as it is painted now, without one that belongs to another picture, nor
        sink dimensions of another model."""
        changes: dict[str, Any] = {}
        if self.dims_elsewhere(model):
            changes["sink_dims"] = None
        if self._value.target == "region" and self.region:
            changes["region"] = self.region
        elif self.region_elsewhere:
            changes |= {"target": "visual", "region": ()}
        return self._value.model_copy(update=changes) if changes else self._value

    @property
    def tau(self) -> float:
        """τ in force for the run on screen."""
        return self.shown.tau_default if self._value.tau is None else self._value.tau

    def set(self, *, drag: bool = False, **changes: Any) -> None:
        """Change fields as in LayersModel; a region is one of the picture on screen, and
        sink dimensions those of the model that makes the next run."""
        if changes.get("region"):
            self._pictures.setdefault(tuple(changes["region"]), set()).add(self._picture)
        if changes.get("sink_dims"):
            self._choose_dims(tuple(changes["sink_dims"]), self.coming)
        super().set(drag=drag, **changes)

    def set_dims_of_shown(self, dims: tuple[int, ...] | None) -> None:
        """Choose the sink dimensions of the model of the run on screen."""
        if dims:
            self._choose_dims(dims, self.shown)
        super().set(sink_dims=dims)

    def _choose_dims(self, dims: tuple[int, ...], model: ModelFacts) -> None:
        chosen_for = self._dims_models.setdefault(dims, set())
        if model.known and model.key not in chosen_for:
            chosen_for.add(model.key)
            if dims == self._value.sink_dims:
                self.changed.emit()  # the same numbers, for one model more

    def restore(
        self, value: Redistribution, pictures: Iterable[str] = (), models: Iterable[str] = ()
    ) -> None:
        """Take the settings of a session, as `reset`, the pictures that their region is of, and the
        models that their sink dimensions are of."""
        self._pictures = {value.region: set(pictures)} if value.region else {}
        self._dims_models = {value.sink_dims: set(models)} if value.sink_dims else {}
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

    def set_model(self, model: ModelFacts) -> None:
        """Tell which model made the run on screen; one that is not known: there is no run."""
        if model != self._of_run:
            self._of_run = model
            self.changed.emit()

    def set_loaded(self, model: ModelFacts | None) -> None:
        """Tell which model is loaded; None: none is."""
        if model != self._loaded:
            self._loaded = model
            self.changed.emit()


def _with_tau(settings: Redistribution, model: ModelFacts) -> Redistribution:
    if settings.tau is not None:
        return settings
    return settings.model_copy(update={"tau": model.tau_default})


class GenerationModel(SettingsModel[Generation]):
    """How the next answer is produced."""

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(Generation(max_new_tokens=64), undo_stack, parent)
