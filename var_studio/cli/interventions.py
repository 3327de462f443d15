"""Options of `var-studio record` and `export` as settings of interventions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from var_studio.cli.terminal import settings_of
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import check_combination
from var_studio.recording.settings import (
    Contrast,
    HeadAblation,
    Intervention,
    Interventions,
    Knockout,
    Redistribution,
)

_SHARED: Final = ("tau", "convention", "first_layer", "last_layer", "sink_dims")
_ON_HEADS: Final = (*_SHARED, "rho", "mass_min")
_OWN: Final[Mapping[type[Intervention], Mapping[str, str]]] = {
    Knockout: {"tokens": "knockout", "positions": "positions"},
    HeadAblation: {"heads": "ablate_heads"},
    Redistribution: {name: name for name in ("p", "heads", "source", "target", "region")},
    Contrast: {"strength": "contrast", "cutoff": "cutoff", "noise_step": "noise_step"},
}
"""For each kind, the option of each field that is its own: such an option asks for the kind."""
_COMMON: Final[Mapping[type[Intervention], Mapping[str, str]]] = {
    Knockout: {**{name: name for name in _SHARED}, "seed": "intervention_seed"},
    HeadAblation: {**{name: name for name in _ON_HEADS}, "seed": "intervention_seed"},
    Redistribution: {name: name for name in _ON_HEADS},
    Contrast: {"seed": "intervention_seed"},
}
"""Likewise of each field that several kinds have."""

_MANY: Final = 1 << 20
"""Numbers that a list on the command line may hold."""


def interventions_of(
    var: bool | None, file: Path | None, options: Mapping[str, Any]
) -> Interventions:
    """What the second run is made with; empty where none is wanted.

    `var`: --var or --no-var; `file`: --settings; `options`: the others by name, None where left
    out. An option that several kinds have goes to all kinds that are asked for, and where none
    is, asks for redistribution. Raises VarStudioError.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "positions" in given:
        given.setdefault("knockout", "chosen")
    if "region" in given:
        given.setdefault("target", "region")
    kinds = [kind for kind, own in _OWN.items() if set(own.values()) & set(given)]
    only_common = not kinds and set(_COMMON[Redistribution].values()) & set(given)
    if Redistribution not in kinds and (var or file is not None or only_common):
        kinds.append(Redistribution)
    if var is False and Redistribution in kinds:
        raise VarStudioError(
            "--no-var records no redistribution, so its settings change nothing.",
            "Leave out --no-var, or the settings.",
        )
    wanted: list[Intervention] = []
    unused = set(given)
    for kind in kinds:
        names = {**_OWN[kind], **_COMMON[kind]}
        values = {field: given[option] for field, option in names.items() if option in given}
        unused -= {names[field] for field in values}
        if kind is Redistribution:
            wanted.append(changed_settings(None, file, values) or Redistribution())
        else:
            wanted.append(settings_of(kind, values, names))
    if unused:
        raise VarStudioError(
            f"--{sorted(unused)[0].replace('_', '-')} belongs to nothing that was asked for.",
            "Leave it out, or ask for it with --var, --knockout, --ablate-heads or --contrast.",
        )
    return check_combination(wanted)


def changed_settings(
    base: Redistribution | None, file: Path | None, given: Mapping[str, Any]
) -> Redistribution | None:
    """`base`, or what the file says, with the given values put in; None where nothing is said."""
    if file is not None:
        from var_studio.figures.data import load_settings

        base = load_settings(file)
    if file is None and all(value is None for value in given.values()):
        return None
    before = {} if base is None else base.model_dump()
    changes = {name: value for name, value in given.items() if value is not None}
    return settings_of(Redistribution, {**before, **changes})


def numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers from text like "0,5-9"; None for None. Raises VarStudioError."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise VarStudioError(
                f"{option} is {text}: it must be whole numbers and ranges, like 0,5-9."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= _MANY:
            raise VarStudioError(f"{option} has the range {part.strip()}.", "Begin with the least.")
        found.extend(range(first, last + 1))
    return tuple(found)
