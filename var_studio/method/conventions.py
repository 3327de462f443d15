"""Where the paper and its authors' released code differ, and which of the two a run follows.

Equal numbers mean different things in the two: ``p = 0.6`` takes 60 % from a sink in the paper
and leaves 60 % in the released code; ``rho = 0.8`` asks for a non-sink ratio of at least 0.8 in
the paper and for a sink share of at most 0.8 in the released code. No function here converts
one into the other: ``p`` and ``rho`` are always those of the convention named beside them.

Layers are decoder layers counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

Convention: TypeAlias = Literal["paper", "released-code"]

CONVENTIONS: Final[tuple[Convention, ...]] = get_args(Convention)
DEFAULT: Final[Convention] = "paper"


@dataclass(frozen=True, slots=True)
class Rules:
    """One convention, a field for each line of the table in which it can differ."""

    p_is_kept: bool
    """A sink keeps ``p`` of its attention (otherwise it loses ``p``)."""
    sink_at_tau: bool
    """A token with phi exactly tau is a sink."""
    rho_bounds_sink_share: bool
    """Heads need sink share <= rho (otherwise non-sink ratio >= rho)."""
    epsilon_per_visual_token: float
    """Added to the denominator of that share once per visual token."""
    first_sink_layer: int
    """Sinks are looked for from this layer on."""
    last_layer_can_be_exempt: bool
    """Leaving out the last layer is possible."""
    generated_sinks: bool
    """A generated token can be a sink."""
    selects_without_visual_sink: bool
    """A layer that has no visual sink can select heads."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the table, in words, and the function that decides it."""

    point: str
    paper: str
    released_code: str
    decided_by: str
    """Module and function below ``var_studio.method``."""


_RULES: Final[Mapping[str, Rules]] = MappingProxyType(
    {
        "paper": Rules(
            p_is_kept=False,
            sink_at_tau=True,
            rho_bounds_sink_share=False,
            epsilon_per_visual_token=0.0,
            first_sink_layer=0,
            last_layer_can_be_exempt=True,
            generated_sinks=True,
            selects_without_visual_sink=True,
        ),
        "released-code": Rules(
            p_is_kept=True,
            sink_at_tau=False,
            rho_bounds_sink_share=True,
            epsilon_per_visual_token=1e-6,
            first_sink_layer=2,
            last_layer_can_be_exempt=False,
            generated_sinks=False,
            selects_without_visual_sink=False,
        ),
    }
)

DIFFERENCES: Final[tuple[Difference, ...]] = (
    Difference(
        point="meaning of p",
        paper="sinks lose p and keep 1 − p",
        released_code="sinks keep p and lose 1 − p",
        decided_by="conventions.share_taken",
    ),
    Difference(
        point="sink test",
        paper="φ ≥ τ",
        released_code="φ > τ",
        decided_by="sinks.sink_mask",
    ),
    Difference(
        point="head test",
        paper="visual non-sink ratio ≥ ρ",
        released_code=(
            "sink share of the visual mass ≤ ρ, with 1e-6 added per visual token in the denominator"
        ),
        decided_by="heads.image_centric",
    ),
    Difference(
        point="layers",
        paper="all but the last",
        released_code=(
            "sinks are looked for in layers ≥ 2 only; the switch that exempts the last layer "
            "has no effect"
        ),
        decided_by="conventions.layer_active",
    ),
    Difference(
        point="sinks of generated tokens",
        paper="every token of the sequence can be a sink",
        released_code="only tokens of the prompt, found once at prefill",
        decided_by="conventions.generated_tokens_can_be_sinks",
    ),
    Difference(
        point="layer with no visual sink",
        paper="still selects heads (r = 1)",
        released_code="selects no head",
        decided_by="heads.image_centric",
    ),
    Difference(
        point="who gets the budget",
        paper="visual non-sinks",
        released_code="visual non-sinks",
        decided_by="redistribution.redistribute",
    ),
)


def rules(convention: Convention) -> Rules:
    """Return the rules of a convention. Raises ValueError if there is none of that name."""
    try:
        return _RULES[convention]
    except (KeyError, TypeError):
        known = " or ".join(repr(name) for name in CONVENTIONS)
        raise ValueError(f"no convention {convention!r}: it is {known}") from None


def share_taken(p: float, convention: Convention = DEFAULT) -> float:
    """Return the share of its attention that a giving sink loses: p, or 1 − p (released code).

    Raises ValueError unless 0 <= p <= 1. Section 5.2.
    """
    _check_share(p)
    return 1.0 - p if rules(convention).p_is_kept else float(p)


def share_kept(p: float, convention: Convention = DEFAULT) -> float:
    """Return the share of its attention that a giving sink keeps: 1 − p, or p (released code).

    Raises ValueError unless 0 <= p <= 1. Section 5.2.
    """
    _check_share(p)
    return float(p) if rules(convention).p_is_kept else 1.0 - p


def sinks_searched(layer: int, convention: Convention = DEFAULT) -> bool:
    """Whether sinks are looked for in this layer at all: released code, only from layer 2 on."""
    return layer >= rules(convention).first_sink_layer


def generated_tokens_can_be_sinks(convention: Convention = DEFAULT) -> bool:
    """Whether a generated token can be a sink: not in the released code."""
    return rules(convention).generated_sinks


def layer_active(
    layer: int,
    n_layers: int,
    convention: Convention = DEFAULT,
    *,
    first: int = 0,
    last: int | None = None,
    exempt_last: bool = True,
) -> bool:
    """Whether attention is redistributed in this layer (Section 6.1).

    ``first`` and ``last`` (inclusive, default: the model's last) bound the user's range of layers.
    ``exempt_last`` leaves out the model's last layer; in the released code it has no effect.
    Raises ValueError if ``layer`` is not one of the ``n_layers``.
    """
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer {layer} is not one of 0 to {n_layers - 1}")
    if layer < first or (last is not None and layer > last):
        return False
    if exempt_last and rules(convention).last_layer_can_be_exempt and layer == n_layers - 1:
        return False
    return sinks_searched(layer, convention)


def _check_share(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p is a share between 0 and 1, not {p}")
