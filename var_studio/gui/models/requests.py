"""What is asked of the model's thread: a model to load, runs to make, a forecast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from var_studio.gui.models.method_settings import SettingsModel
from var_studio.recording.interventions import FORCED, run_name_for
from var_studio.recording.settings import Generation, Intervention, Interventions, Settings

if TYPE_CHECKING:
    from var_studio.recording.images import StoredImage
    from var_studio.recording.layout import VisualLayout
    from var_studio.recording.recording import Recording
    from var_studio.recording.tokens import Exchange


class LoadOptions(Settings):
    """How the next model is loaded."""

    device: str = Field(
        "auto",
        min_length=1,
        title="Device",
        description="Where the model computes. auto: an NVIDIA GPU, else Apple's, else the CPU.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="auto: float32 on the CPU, elsewhere the checkpoint's own.",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none",
        title="Quantisation",
        description="8 or 4 bits for the weights of the decoder layers (bitsandbytes).",
    )


class LoadModel(SettingsModel[LoadOptions]):
    """The LoadOptions of the window, with undo."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A model to load: "demo", a folder or a hub id. `trust`: its own code may run, the user said
    so. `anyway`: also where the forecast says that it does not fit."""

    name: str
    options: LoadOptions = field(default_factory=LoadOptions)
    trust: bool = False
    anyway: bool = False


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class RunRequest:
    """One run to make; each is itself alone, whatever it asks.

    `interventions` empty: the baseline. `scores`: the answer that is fed to the model word by word
    (teacher forcing), of a run that is there or of a request before this one. `cells`: the layout
    whose visual tokens the interventions name; None: they name none. `dims_of`: the keys of the
    models that the sink dimensions were chosen for; empty: for whichever makes the run.
    """

    images: tuple[StoredImage, ...]
    prompt: str
    generation: Generation
    interventions: Interventions = ()
    history: tuple[Exchange, ...] = ()
    scores: Recording | RunRequest | None = None
    cells: VisualLayout | None = None
    dims_of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the run will be called."""
        return run_name_for(self.interventions) + (FORCED if self.scores is not None else "")

    def interventions_with(self, tau: float, model: str) -> Interventions:
        """What acts, with this τ, the model's own, where none was chosen, and without the sink
        dimensions of other models than `model` (a key). Asked when the run starts: it may have
        waited for its model."""
        changes: dict[str, Any] = {}
        if self.dims_of and model not in self.dims_of:
            changes["sink_dims"] = None
        return tuple(_with_own(each, tau, changes) for each in self.interventions)


def _with_own(each: Intervention, tau: float, changes: dict[str, Any]) -> Intervention:
    if getattr(each, "tau", tau) is None:
        changes = {**changes, "tau": tau}
    fitting = {name: value for name, value in changes.items() if hasattr(each, name)}
    return each.model_copy(update=fitting) if fitting else each


@dataclass(frozen=True, slots=True, eq=False)
class ForecastRequest:
    """What the next run would be; nothing is recorded. `runs`: so many like it were asked for."""

    images: tuple[StoredImage, ...]
    prompt: str
    generation: Generation
    history: tuple[Exchange, ...] = ()
    contrast: bool = False
    runs: int = 1
