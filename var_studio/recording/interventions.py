"""What is done to a run as a whole: which interventions go together, and how they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from var_studio.method import conventions
from var_studio.recording.failures import SettingsError
from var_studio.recording.settings import (
    AttentionIntervention,
    Contrast,
    HeadAblation,
    Intervention,
    Interventions,
    Knockout,
    Redistribution,
    settled,
)

T = TypeVar("T", bound=Intervention)

KINDS: Final[Mapping[str, type[Intervention]]] = {
    "redistribution": Redistribution,
    "knockout": Knockout,
    "head-ablation": HeadAblation,
    "contrast": Contrast,
}
"""The settings class of each kind."""

NAMES: Final[Mapping[str, str]] = {
    "redistribution": "VAR",
    "knockout": "knockout",
    "head-ablation": "head ablation",
    "contrast": "contrast",
}
"""What a run is called after what was done to it."""


def interventions_from(given: Any) -> Interventions:
    """Interventions from what a caller gave, checked, and in the order in which they act.

    `given`: None (a baseline), settings, a dict of them with their `kind` (left out:
    "redistribution"), or a list of these. Raises SettingsError, also for a combination that makes
    no sense.
    """
    if given is None:
        return ()
    several = given if isinstance(given, list | tuple) else [given]
    return check_combination([_one(each) for each in several])


def check_combination(interventions: Sequence[Intervention]) -> Interventions:
    """The same in the order in which they act. Raises SettingsError that says why not.

    Knockout comes before redistribution: what is left of the row is redistributed. Contrast,
    which acts on logits, goes with everything.
    """
    kinds = [each.kind for each in interventions]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise SettingsError(
                f"Two interventions of the kind {kind!r} cannot act in one run.",
                "Keep one of them, or record a run for each.",
            )
    other = {"redistribution", "knockout"} & set(kinds)
    if "head-ablation" in kinds and other:
        raise SettingsError(
            f"Head ablation does not go with {' and '.join(sorted(other))}: it chooses heads by "
            "their rows as the model computed them, and these would be others.",
            "Record a run for each.",
        )
    dims = {each.sink_dims for each in interventions if not isinstance(each, Contrast)}
    if len(dims) > 1:
        raise SettingsError(
            "The interventions name different sink dimensions; a run has one set of them.",
            "Give all of them the same sink_dims, or leave them to the model.",
        )
    order = list(_ORDER)
    return tuple(sorted(interventions, key=lambda each: order.index(each.kind)))


FORCED: Final = ", teacher-forced"
"""Ends the name of a run whose answer was given to it."""


def on_attention(interventions: Sequence[Intervention]) -> tuple[AttentionIntervention, ...]:
    """Those that act inside attention, in order."""
    return tuple(each for each in interventions if not isinstance(each, Contrast))


def of_kind(interventions: Sequence[Intervention], kind: type[T]) -> T | None:
    """The one of that class; None where there is none."""
    return next((each for each in interventions if isinstance(each, kind)), None)


def without_effect(interventions: Sequence[Intervention]) -> str:
    """What changes nothing in a model without sink dimensions, in a sentence; empty if all does."""
    idle = [_SAID[each.kind] for each in on_attention(interventions) if _needs_sinks(each)]
    if not idle:
        return ""
    return (
        "No sink dimension of the model is known, so that no token is a sink: "
        f"{' and '.join(idle)} changed nothing."
    )


def _needs_sinks(settings: AttentionIntervention) -> bool:
    if isinstance(settings, Redistribution):
        return True
    if isinstance(settings, Knockout):
        return settings.tokens != "chosen"
    # Without sinks the released code selects no head; the paper's test goes by the image alone.
    selects = conventions.rules(settings.convention).selects_without_visual_sink
    return settings.heads != "complement" and not selects


def method_settings(interventions: Sequence[Intervention]) -> Redistribution:
    """What interventions say of sinks and heads, as a redistribution: theirs, if they have one.

    Of others: the fields that they share with it, the rest as by default.
    """
    acts = on_attention(interventions)
    found = of_kind(acts, Redistribution)
    if found is not None or not acts:
        return found or Redistribution()
    shared = {"tau", "convention", "sink_dims", "rho", "mass_min"} & set(type(acts[0]).model_fields)
    return Redistribution(**acts[0].model_dump(include=shared))


def run_name_for(interventions: Sequence[Intervention]) -> str:
    """What to call a run: "baseline", "VAR", "knockout + VAR" ..."""
    return " + ".join(NAMES[each.kind] for each in interventions) or "baseline"


_SAID: Final = {**NAMES, "redistribution": "redistribution"}
_ORDER: Final = ("knockout", "head-ablation", "redistribution", "contrast")


def _one(given: Any) -> Intervention:
    kind: Any = given.get("kind", "redistribution") if isinstance(given, Mapping) else None
    if kind is None:
        kind = getattr(given, "kind", "redistribution")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingsError(
            f"There is no intervention of the kind {kind!r}.",
            f"Choose {', '.join(map(repr, KINDS))}.",
        )
    found: Intervention = settled(KINDS[kind], given, "intervention")
    return found
