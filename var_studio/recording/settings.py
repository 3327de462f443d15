"""Settings, each declared once: the window, the command line and the session file read these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from var_studio.recording.failures import SettingsError
from var_studio.recording.refusals import BESIDE_OTHERS, refusal

Convention = Literal["paper", "released-code"]
Source = Literal["all", "visual", "text"]
Target = Literal["visual", "text", "both", "region"]
Heads = Literal["selected", "all"]
Tokens = Literal["visual-sinks", "random-visual", "chosen"]
AblatedHeads = Literal["image-centric", "random", "complement"]
Index = Annotated[int, Field(ge=0)]

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


class _OnAttention(Settings):
    """What every intervention in attention shares: what a sink is, and which layers change."""

    tau: float | None = Field(
        None,
        ge=0.0,
        title="τ sink threshold",
        description="A token is a sink where φ ≥ τ (Sec. 4.1). φ is at most √D. "
        "Empty: the model's own default.",
    )
    convention: Convention = Field(
        "paper",
        title="Convention",
        description="The paper's text, or the authors' released code where the two differ.",
    )
    first_layer: int = Field(0, ge=0, title="First layer", description="First layer changed.")
    last_layer: Index | None = Field(
        None, title="Last layer", description="Last layer changed. Empty: the model's last."
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
                BESIDE_OTHERS,
                "It comes before the first layer, {first}: no layer would change",
                {"first": first},
            )
        return last


class _OnHeads(_OnAttention):
    """What decides which heads are image-centric (Sec. 5.1)."""

    rho: float = Field(
        0.8,
        ge=0.0,
        le=1.0,
        title="ρ head threshold",
        description="A head is image-centric where its visual non-sink ratio r ≥ ρ (Sec. 5.1).",
    )
    mass_min: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        title="Least visual mass",
        description="A head that gives the image less than this is never selected (Sec. 5.1).",
    )


class Redistribution(_OnHeads):
    """Visual Attention Redistribution (Sec. 5, Eq. 3-4): local preview and global run alike."""

    kind: Literal["redistribution"] = "redistribution"
    p: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        title="p share moved",
        description="Share of the sinks' attention that is moved (Sec. 5.2, Eq. 4). "
        "In the released code's convention: the share that the sinks keep.",
    )
    heads: Heads = Field(
        "selected",
        title="Heads",
        description="Image-centric heads only (the method), or all heads (Table 4).",
    )
    source: Source = Field(
        "all",
        title="Source",
        description="Which sinks give: all (the method), visual ones or text ones alone.",
    )
    target: Target = Field(
        "visual",
        title="Target",
        description="Who receives the budget Ω: visual non-sinks (the method), text, or both "
        "(Table 5), or a region of the image.",
    )
    region: tuple[Index, ...] = Field(
        (),
        title="Region",
        description="Visual tokens that receive the budget where the target is a region, "
        "numbered from 0 in the order of the prompt.",
        validate_default=True,
    )
    last_layer: Index | None = Field(
        None,
        title="Last layer",
        description="Last layer changed. Empty: all but the model's last layer (Sec. 6.1).",
    )

    @field_validator("region")
    @classmethod
    def _with_its_target(cls, region: tuple[int, ...], others: ValidationInfo) -> tuple[int, ...]:
        return _only_where(region, others, "target", "region", "visual tokens")


class Knockout(_OnAttention):
    """Keys hidden from every text query before the softmax (Sec. 4.2, D.3, Eq. 6-7).

    The convention says what a sink is; the layers are those of the range, the last one included.
    """

    kind: Literal["knockout"] = "knockout"
    # Not "keys": dict(settings) would take it for the method of a mapping.
    tokens: Tokens = Field(
        "visual-sinks",
        title="Tokens",
        description="Hidden: the layer's visual sinks, as many random visual tokens (drawn anew "
        "for each layer), or chosen tokens.",
    )
    positions: tuple[Index, ...] = Field(
        (),
        title="Positions",
        description="Positions in the sequence, from 0, of the tokens that are hidden where "
        "these are chosen.",
        validate_default=True,
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Knockout seed", description="Seed of the random choice."
    )

    @field_validator("positions")
    @classmethod
    def _with_its_tokens(
        cls, positions: tuple[int, ...], others: ValidationInfo
    ) -> tuple[int, ...]:
        return _only_where(positions, others, "tokens", "chosen", "positions")


class HeadAblation(_OnHeads):
    """The image hidden from some heads, for every text query (App. A.3, Fig. 9).

    Heads are chosen for each layer and query. The layers are those of the range in which the
    convention looks for sinks, the last one included.
    """

    kind: Literal["head-ablation"] = "head-ablation"
    heads: AblatedHeads = Field(
        "image-centric",
        title="Ablated heads",
        description="From which heads the image is hidden: image-centric ones, as many random "
        "ones, or all but the image-centric ones.",
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Ablation seed", description="Seed of the random choice."
    )


class Contrast(Settings):
    """Contrastive decoding (VCD; App. B.1, Table 7): the image against a noised image.

    Each token is chosen by (1 + a)·logits - a·logits of the noised image, among those whose
    probability is at least beta times that of the likeliest one.
    """

    kind: Literal["contrast"] = "contrast"
    strength: float = Field(
        1.0,
        ge=0.0,
        le=100.0,
        title="Contrast a",
        description="How much the logits of the noised image are counted against the image's own.",
    )
    cutoff: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        title="Cut-off β",
        description="Tokens less likely than β times the likeliest one are never chosen.",
    )
    noise_step: int = Field(
        500,
        ge=0,
        le=999,
        title="Noise step",
        description="Step of the diffusion schedule (of 1000) to which the image is noised.",
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Contrast seed", description="Seed of the noise."
    )


AttentionIntervention: TypeAlias = Redistribution | Knockout | HeadAblation
"""What acts inside attention, on the rows of text queries."""
Intervention: TypeAlias = AttentionIntervention | Contrast
"""One thing that can be done to a run."""
Interventions: TypeAlias = tuple[Annotated[Intervention, Field(discriminator="kind")], ...]
"""All that is done to a run, told apart by `kind`; empty for a baseline."""


def _only_where(
    given: tuple[int, ...], others: ValidationInfo, choice: str, value: str, what: str
) -> tuple[int, ...]:
    """A list of tokens that one value of another field needs, and no other takes."""
    wanted = others.data.get(choice) == value
    if wanted and not given:
        raise PydanticCustomError(
            BESIDE_OTHERS, "{choice} is {value}: name the {what}", _words(choice, value, what)
        )
    if given and choice in others.data and not wanted:
        raise PydanticCustomError(
            BESIDE_OTHERS,
            "The {what} are only for {choice}={value}",
            _words(choice, value, what),
        )
    return tuple(sorted(set(given)))


def _words(choice: str, value: str, what: str) -> dict[str, str]:
    return {"choice": choice, "value": repr(value), "what": what}


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

    def row_bytes(self, computed: int) -> int:
        """Bytes of a stored weight, for a model that computes in numbers of `computed` bytes."""
        if self.precision == "auto":
            return 4 if computed >= 4 else 2
        return 4 if self.precision == "float32" else 2
