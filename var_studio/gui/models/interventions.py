"""What is done to the next run besides asking: which interventions act, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, ValidationError
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from var_studio.gui.models.method_settings import LayersModel, MethodModel, SettingsModel
from var_studio.recording.failures import SettingsError
from var_studio.recording.interventions import KINDS, NAMES, check_combination, run_name_for
from var_studio.recording.settings import (
    Contrast,
    HeadAblation,
    Intervention,
    Interventions,
    Knockout,
    Settings,
)


class Acting(Settings):
    """Which interventions act in a run."""

    redistribution: bool = Field(
        True,
        title="Redistribution (VAR)",
        description="Visual attention redistribution in every layer and step (Sec. 5).",
    )
    knockout: bool = Field(
        False,
        title="Knockout",
        description="Hide visual sinks, or as many random tokens, from every text query "
        "(Sec. 4.2, App. D.3).",
    )
    head_ablation: bool = Field(
        False,
        title="Head ablation",
        description="Hide the image from image-centric heads, from as many random ones, or from "
        "all the others (App. A.3, Fig. 9).",
    )
    contrast: bool = Field(
        False,
        title="Contrast (VCD)",
        description="Contrastive decoding: the image against a noised image (App. B.1, Table 7).",
    )


@dataclass(frozen=True, slots=True)
class Preset:
    """An experiment of the paper in one choice: which kinds act, and with what changed from their
    defaults (fields of Redistribution, Knockout, HeadAblation)."""

    name: str
    source: str
    kinds: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)


PRESETS: tuple[Preset, ...] = (
    Preset("VAR, the method", "Sec. 5", ("redistribution",)),
    Preset("VAR in all heads", "Table 4", ("redistribution",), {"heads": "all"}),
    Preset("VAR to text", "Table 5", ("redistribution",), {"target": "text"}),
    Preset("VAR to image and text", "Table 5", ("redistribution",), {"target": "both"}),
    Preset("Knockout of visual sinks", "Sec. 4.2", ("knockout",)),
    Preset(
        "Knockout of as many random tokens", "App. D.3", ("knockout",), {"tokens": "random-visual"}
    ),
    Preset("Image hidden from image-centric heads", "Fig. 9", ("head-ablation",)),
    Preset(
        "Image hidden from as many random heads", "Fig. 9", ("head-ablation",), {"heads": "random"}
    ),
    Preset(
        "Image hidden from all other heads", "Fig. 9", ("head-ablation",), {"heads": "complement"}
    ),
    Preset("Contrastive decoding", "Table 7", ("contrast",)),
    Preset("Contrastive decoding with VAR", "Table 7", ("redistribution", "contrast")),
)
"""Thresholds (τ, ρ, p, visual mass, sink dimensions, convention) and layers stay as they are."""

_OF_PRESETS: dict[str, dict[str, Any]] = {
    "redistribution": {"heads": "selected", "source": "all", "target": "visual", "region": ()},
    "knockout": {"tokens": "visual-sinks", "positions": ()},
    "head-ablation": {"heads": "image-centric"},
    "contrast": {},
}


class InterventionsModel(QObject):
    """The interventions of the next run, every change undoable.

    What a sink and an image-centric head is (τ, ρ, visual mass, convention, sink dimensions) is
    said once, in `method`, and holds for all of them. `changed` once per change of anything here;
    the redistribution's own settings are `method`'s.
    """

    changed = Signal()

    def __init__(
        self, method: MethodModel, undo_stack: QUndoStack, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.method = method
        self._undo_stack = undo_stack
        self.acting = SettingsModel(Acting(), undo_stack, self)
        self.knockout = LayersModel(Knockout(), undo_stack, self)
        self.head_ablation = LayersModel(HeadAblation(), undo_stack, self)
        self.contrast = SettingsModel(Contrast(), undo_stack, self)
        self._positions: tuple[int, ...] = ()
        for model in (self.acting, self.knockout, self.head_ablation, self.contrast):
            model.changed.connect(self.changed)

    # ------------------------------------------------------------------------------- reading
    def acts(self, kind: str) -> bool:
        """Whether the intervention of this kind ("head-ablation") acts in a run."""
        return bool(getattr(self.acting.stored, _field(kind)))

    @property
    def current(self) -> Interventions:
        """What acts, in the order in which it acts. Raises SettingsError if it cannot together."""
        return check_combination([self.of_kind(kind) for kind in KINDS if self.acts(kind)])

    @property
    def name(self) -> str:
        """What acts, in a word or two: "VAR", "knockout + contrast"; "" for nothing."""
        current = self.current
        return run_name_for(current) if current else ""

    def of_kind(self, kind: str) -> Intervention:
        """The settings of a kind, with the method's τ, ρ and so on; a τ of None is that of the
        model that makes the run."""
        method = self.method.for_a_run
        if kind == "redistribution":
            return method
        if kind == "contrast":
            return self.contrast.stored
        chosen: Knockout | HeadAblation
        chosen = self.knockout.stored if kind == "knockout" else self.head_ablation.stored
        shared = {"tau", "convention", "sink_dims", "rho", "mass_min"} & set(
            type(chosen).model_fields
        )
        changes: dict[str, Any] = {name: getattr(method, name) for name in shared}
        if isinstance(chosen, Knockout) and chosen.tokens == "chosen" and self._positions:
            changes["positions"] = self._positions
        return chosen.model_copy(update=changes)

    def refusal(self, kind: str) -> str:
        """Why a kind cannot act beside those that do; "" if it can, or does already."""
        if self.acts(kind):
            return ""
        return self._conflict([other for other in KINDS if self.acts(other)], kind)

    def rivals(self, kind: str) -> list[str]:
        """The names of those that act and leave no room for a kind that does not."""
        others = [other for other in KINDS if other != kind and self.acts(other)]
        return [NAMES[other] for other in others if self._conflict([other], kind)]

    def _conflict(self, kinds: list[str], kind: str) -> str:
        try:
            check_combination([self.of_kind(each) for each in (*kinds, kind)])
        except SettingsError as error:
            return error.what
        return ""

    # ------------------------------------------------------------------------------ changing
    def set_acting(self, kind: str, acts: bool) -> None:
        """Let a kind act or not, as one undo step."""
        if not (acts and self.refusal(kind)):
            self.acting.set(**{_field(kind): acts})

    def choose(self, preset: Preset) -> None:
        """Let exactly a preset's kinds act, with its settings, as one undo step."""
        models: dict[str, SettingsModel[Any]] = {
            "redistribution": self.method,
            "knockout": self.knockout,
            "head-ablation": self.head_ablation,
            "contrast": self.contrast,
        }
        self._undo_stack.beginMacro(f"preset {preset.name}")
        for kind in preset.kinds:
            changes = _OF_PRESETS[kind] | (dict(preset.changes) if kind != "contrast" else {})
            models[kind].set(**changes)
        self.acting.set(**{_field(kind): kind in preset.kinds for kind in KINDS})
        self._undo_stack.endMacro()

    def set_tokens(self, tokens: str) -> None:
        """Choose what a knockout hides; "chosen" is the active region, nothing without one."""
        if tokens != "chosen":
            self.knockout.set(tokens=tokens, positions=())
        elif self._positions:
            self.knockout.set(tokens=tokens, positions=self._positions)

    def set_region(self, positions: tuple[int, ...]) -> None:
        """Tell where in the sequence the tokens of the active region stand: what a knockout of
        chosen tokens hides."""
        if positions != self._positions:
            self._positions = positions
            self.changed.emit()

    @property
    def region_positions(self) -> tuple[int, ...]:
        """What `set_region` told."""
        return self._positions

    # -------------------------------------------------------------------------- session files
    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the session file."""
        return {name: getattr(self, name).stored.model_dump(mode="json") for name in _MODELS}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Read what `to_json` wrote, without an undo step; what does not fit is left as it is."""
        for name in _MODELS:
            model: SettingsModel[Any] = getattr(self, name)
            try:
                model.reset(type(model.stored).model_validate(document.get(name, {})))
            except ValidationError:
                continue


_MODELS = ("acting", "knockout", "head_ablation", "contrast")


def _field(kind: str) -> str:
    return kind.replace("-", "_")
