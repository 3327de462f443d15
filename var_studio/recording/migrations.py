"""Bringing what an older version wrote up to this version's schema, one function a step.

When the schema changes: raise its number, add the step from the number before, keep a file of
the old version among the tests. A step may change the attributes only; chunks stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from var_studio.recording.arrays import FormatError

RUN_SCHEMA: Final = 3
"""Schema of a run's group, in `RunDocument`."""
SESSION_SCHEMA: Final = 2
"""Schema of a session's root group, in `SessionDocument`."""

Step = Callable[[dict[str, Any]], dict[str, Any]]


def _several_interventions(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 2: a list of interventions in place of one or none."""
    one = document.pop("intervention", None)
    return {**document, "interventions": [] if one is None else [one]}


def _all_of_the_run(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 3: rows and weights may be left out, and are named then."""
    return {**document, "left_out": {}}


def _all_of_the_session(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 of sessions: the choice of content, and pictures that may be left out."""
    return {**document, "content": {}}


RUN_STEPS: Final[dict[int, Step]] = {1: _several_interventions, 2: _all_of_the_run}
"""For each old schema, the function that makes the next one of its attributes."""
SESSION_STEPS: Final[dict[int, Step]] = {1: _all_of_the_session}


class NewerSchemaError(FormatError):
    """Written by a version that is newer than this one."""


def migrate_run(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A run's attributes in this version's schema. Raises FormatError."""
    return _migrate(attributes, RUN_SCHEMA, RUN_STEPS)


def migrate_session(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A session's attributes in this version's schema. Raises FormatError."""
    return _migrate(attributes, SESSION_SCHEMA, SESSION_STEPS)


def _migrate(
    attributes: Mapping[str, Any], newest: int, steps: Mapping[int, Step]
) -> dict[str, Any]:
    if not isinstance(attributes, Mapping):
        raise FormatError("its description is missing")
    document = dict(attributes)
    schema = document.get("schema")
    if type(schema) is not int or not 1 <= schema <= 10_000:
        raise FormatError("its schema version is missing")
    if schema > newest:
        raise NewerSchemaError(
            f"it has schema {schema}, and this version of VAR Studio knows {newest}"
        )
    while schema < newest:
        try:
            document = steps[schema](document)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise FormatError(f"it cannot be brought up from schema {schema}") from error
        schema += 1
        document["schema"] = schema
    return document
