"""Why settings were refused, in a sentence that names the field by its title and its bounds."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from var_studio.recording.failures import SettingsError

BESIDE_OTHERS: Final = "beside_others"
"""Type of an error that a field has only beside the values of others: the message says which."""
_LONGEST: Final = 60
"""Characters of a value that are quoted."""


def refusal(
    kind: type[BaseModel], given: Mapping[Any, Any], error: ValidationError
) -> SettingsError:
    """What to raise in place of pydantic's error; it speaks of the first fault only."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    field = kind.model_fields.get(name)
    if field is None:
        return SettingsError(
            f"{kind.__name__} has no setting {_quoted(first['loc'][0])}.",
            f"It has {_listed(list(kind.model_fields), 'and')}.",
        )
    beside = first["type"] == BESIDE_OTHERS  # else a matter of the field alone
    advice = f"{first['msg']}." if beside else f"Choose {allowed(field)}."
    value = given.get(name, field.default)
    return SettingsError(f"{field.title or name} ({name}) is {_quoted(value)}.", advice)


def allowed(field: FieldInfo) -> str:
    """What a field takes, e.g. "a whole number from 1 to 100, or None"."""
    optional, kind, metadata = _taken_apart(field.annotation, list(field.metadata))
    end = ", or None" if optional else ""
    if get_origin(kind) is Literal:
        return _listed([repr(choice) for choice in get_args(kind)], "or") + end
    if get_origin(kind) is tuple:
        return "whole numbers" + end
    noun = "a whole number" if kind is int else "a number"
    bounds: dict[str, Any] = {}
    for item in metadata:
        bounds |= {b: getattr(item, b) for b in ("ge", "gt", "le", "lt") if hasattr(item, b)}
    low, high = bounds.get("ge"), bounds.get("le")
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:.10g}{end}"
    words = {"ge": "of at least", "gt": "above", "le": "up to", "lt": "below"}
    parts = [f"{words[bound]} {bounds[bound]:g}" for bound in words if bound in bounds]
    return f"{noun} {' and '.join(parts)}".rstrip() + end


def _taken_apart(annotation: Any, metadata: list[Any]) -> tuple[bool, Any, list[Any]]:
    """Whether None is taken, the type without it, and all that is said of its values."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        optional = type(None) in get_args(annotation)
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        for item in more:
            metadata += item.metadata if isinstance(item, FieldInfo) else [item]
    return optional, annotation, metadata


def _listed(words: list[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
