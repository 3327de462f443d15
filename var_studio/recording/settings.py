"""Settings, each declared once: the window, the command line and the session file read these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from var_studio.recording.failures import SettingsError
from var_studio.recording.refusals import refusal

Convention = Literal["paper", "released-code"]
Target = Literal["visual", "text", "both"]
Heads = Literal["selected", "all"]

RHO_PRESETS: dict[str, float] = {"general": 0.8, "hallucination": 0.5, "vision-centric": 0.9}
"""Values of rho used in the paper, Sec. 6.1."""


class Settings(BaseModel):
    """Base: frozen, refuses unknown fields, so that a typing error in a file is seen.

    A call raises SettingsError, one sentence for a reader; `model_validate`, for content of files
    and controls, pydantic's ValidationError, which says where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **given: Any) -> None:
        """Raises SettingsError for a value out of bounds and for a setting that is not there."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise refusal(type(self), given, error) from error

    # As on BaseModel's own: else `model_validate` would come through here, and lose the place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: object) -> None:
        kind = type(self).__name__
        raise SettingsError(
            f"{kind} cannot be changed.", f"Make another: {kind}(**dict(old) | {{{name!r}: ...}})."
        )


S = TypeVar("S", bound=Settings)


def settled(kind: type[S], given: S | Mapping[str, Any] | None, parameter: str) -> S:
    """Settings from what a caller gave as `parameter`: these, a dict of them, None for defaults.

    Raises SettingsError, also for a copy that was changed past its bounds.
    """
    if given is None:
        return kind()
    if isinstance(given, kind):
        # `model_copy(update=...)` checks nothing.
        given = dict(given)
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{parameter} takes a {kind.__name__}, not {type(given).__name__}.",
            f"Write {parameter}=vs.{kind.__name__}(...).",
        )
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise refusal(kind, given, error) from error


class Generation(Settings):
    """How the answer is produced. Temperature 0 is greedy decoding."""

    max_new_tokens: int = Field(
        128, ge=1, le=8192, title="Max new tokens", description="Stop after this many tokens."
    )
    temperature: float = Field(
        0.0, ge=0.0, le=5.0, title="Temperature", description="0 = greedy (the paper's setting)."
    )
    top_p: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Top-p",
        description="Nucleus sampling: keep the smallest set of tokens with this probability.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, title="Seed", description="Seed of the sampling.")

    @property
    def sampled(self) -> bool:
        """Whether tokens are drawn at random rather than greedily."""
        return self.temperature > 0.0


class Redistribution(Settings):
    """Visual Attention Redistribution (Sec. 5, Eq. 3-4): local preview and global run alike."""

    kind: Literal["redistribution"] = "redistribution"
    tau: float | None = Field(
        None,
        ge=0.0,
        title="τ sink threshold",
        description="A token is a sink where φ ≥ τ (Sec. 4.1). φ is at most √D. "
        "Empty: the model's own default.",
    )
    rho: float = Field(
        0.8,
        ge=0.0,
        le=1.0,
        title="ρ head threshold",
        description="A head is image-centric where its visual non-sink ratio r ≥ ρ (Sec. 5.1).",
    )
    p: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        title="p share moved",
        description="Share of the sinks' attention that is moved (Sec. 5.2, Eq. 4). "
        "In the released code's convention: the share that the sinks keep.",
    )
    mass_min: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        title="Least visual mass",
        description="A head that gives the image less than this is never selected (Sec. 5.1).",
    )
    convention: Convention = Field(
        "paper",
        title="Convention",
        description="The paper's text, or the authors' released code where the two differ.",
    )
    heads: Heads = Field(
        "selected",
        title="Heads",
        description="Image-centric heads only (the method), or all heads (Table 4).",
    )
    target: Target = Field(
        "visual",
        title="Target",
        description="Who receives the budget Ω: visual non-sinks (the method), text, or both "
        "(Table 5).",
    )
    first_layer: int = Field(0, ge=0, title="First layer", description="First layer changed.")
    last_layer: Annotated[int, Field(ge=0)] | None = Field(
        None,
        title="Last layer",
        description="Last layer changed. Empty: all but the model's last layer (Sec. 6.1).",
    )
    sink_dims: tuple[int, ...] | None = Field(
        None,
        title="Sink dimensions",
        description="Hidden dimensions that mark sinks. Empty: those of the model.",
    )
    """None: those of the model. An empty tuple: no token is a sink (not for a run: `record`)."""

    @field_validator("last_layer")
    @classmethod
    def _after_the_first(cls, last: int | None, others: ValidationInfo) -> int | None:
        first = others.data.get("first_layer", 0)
        if last is not None and last < first:
            raise PydanticCustomError(
                "empty_range",
                "It comes before the first layer, {first}: no layer would change",
                {"first": first},
            )
        return last


Intervention = Redistribution
"""What can be done to a run. A union of settings classes, told apart by `kind`."""


class RecordingOptions(Settings):
    """What is kept of a run, and how precisely."""

    precision: Literal["auto", "float16", "float32"] = Field(
        "auto",
        title="Precision",
        description="Storage of attention rows. auto: float32 for a model that computes in "
        "float32, float16 otherwise.",
    )
    top: int = Field(
        10, ge=1, le=100, title="Alternatives", description="Next-token candidates kept."
    )
