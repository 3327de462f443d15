"""Which figure was drawn of which run with which choices: what its settings file says and its
script does again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from var_studio.analysis.focus import Aggregate, RowOf
from var_studio.analysis.reading import Reading
from var_studio.analysis.scale import Limits
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions
from var_studio.figures.scene import Tokens
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

Heads = tuple[tuple[int, int], ...]
DRAWING = "drawing"
"""Where a figure's metadata holds what `Drawing.to_json` says."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The arguments that draw a figure again, runs by their id.

    `token` is a position, `row_of` which row stands for it; `layer` the one whose phi is shown;
    `heads` (layer, head) pairs, empty: all. `settings` None: what was done in the run. `token` and
    `layer` are None in a figure that is made of whole runs. `tokens`: those that a composed figure
    was asked for, and `others` the runs beside its own. `style`: a style file. `more`: further
    arguments of `export_figure`, as plain JSON.
    """

    figure: str
    run: str
    width: str = "two-columns"
    token: int | None = None
    row_of: RowOf = "query"
    layer: int | None = None
    heads: Heads = ()
    aggregate: Aggregate = "mean"
    settings: Redistribution | None = None
    options: MapOptions | None = None
    compare_with: str | None = None
    forced: str | None = None
    tokens: tuple[int, ...] | Literal["all", "answer"] | None = None
    others: tuple[str, ...] = ()
    style: str | None = None
    more: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` reads it back. Options are those that are not as by
        default."""
        return {
            "figure": self.figure,
            "run_id": self.run,
            "width": self.width,
            "token": self.token,
            "row_of": self.row_of,
            "layer": self.layer,
            "heads": [list(pair) for pair in self.heads] or "all",
            "aggregate": self.aggregate,
            "settings": None if self.settings is None else self.settings.model_dump(mode="json"),
            "options": None if self.options is None else options_to_json(self.options),
            "compare_with": self.compare_with,
            "forced": self.forced,
            "tokens": list(self.tokens) if isinstance(self.tokens, tuple) else self.tokens,
            "others": list(self.others),
            "style": self.style,
            "more": dict(self.more or {}),
        }

    @classmethod
    def from_json(cls, document: Any) -> Drawing:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        if not isinstance(document, Mapping):
            raise ValueError("a drawing is an object")
        given = {name: document.get(name) for name in _FIELDS if name in document}
        given["run"] = document.get("run_id")
        if given.get("heads") == "all":
            given["heads"] = ()
        if given.get("options") is not None:
            given["options"] = options_from_json(given["options"])
        return _ADAPTER.validate_python(given)


_FIELDS = tuple(field.name for field in fields(Drawing))
_ADAPTER = TypeAdapter(Drawing)
_OPTIONS = TypeAdapter(MapOptions)


def drawing_of(
    figure: str,
    reading: Reading,
    *,
    width: str = "two-columns",
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    tokens: Tokens | None = None,
    others: Sequence[Recording] = (),
    style: str | os.PathLike[str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Drawing:
    """What draws a figure of a reading again."""
    focus = reading.focus
    as_used = reading.acts != (reading.settings,)
    return Drawing(
        figure,
        reading.run.id,
        width,
        reading.chosen,
        focus.row_of,
        focus.layer,
        focus.heads,
        focus.aggregate,
        None if as_used else reading.settings,
        # Options that are all as by default are none: a script does not repeat them.
        options if options is not None and changed_options(options) else None,
        None if compare_with is None else compare_with.id,
        tokens=tokens if tokens is None or isinstance(tokens, str) else tuple(tokens),
        others=tuple(run.id for run in others),
        style=None if style is None else str(style),
        more=more,
    )


def changed_options(options: MapOptions) -> dict[str, Any]:
    """The fields that are not as by default, by name."""
    plain = MapOptions()
    named = {field.name: getattr(options, field.name) for field in fields(MapOptions)}
    return {name: value for name, value in named.items() if value != getattr(plain, name)}


def options_to_json(options: MapOptions) -> dict[str, Any]:
    """What of a map's options is not as by default, as plain JSON."""
    return {
        name: [float(value.low), float(value.high), bool(value.clipped)]
        if isinstance(value, Limits)
        else value
        for name, value in changed_options(options).items()
    }


def options_from_json(document: Any) -> MapOptions:
    """Read what `options_to_json` wrote. Raises ValueError for anything else."""
    if not isinstance(document, Mapping):
        raise ValueError("options are an object")
    given = dict(document)
    for name in ("limits", "difference_limits"):
        if given.get(name) is not None:
            low, high, clipped = _three(given[name])
            given[name] = {"low": low, "high": high, "clipped": clipped}
    try:
        return _OPTIONS.validate_python(given)
    except ValidationError as error:
        raise ValueError(f"options: {error.errors()[0]['msg']}") from error


def _three(value: Any) -> tuple[float, float, bool]:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise ValueError("limits are three values")
    low, high, clipped = value
    return float(low), float(high), bool(clipped)


def read_drawing(document: Any) -> Drawing | None:
    """The drawing that a figure's settings file tells of; None where it tells of none.

    Raises VarStudioError for one that makes no sense.
    """
    found = document.get(DRAWING) if isinstance(document, Mapping) else None
    if found is None:
        return None
    try:
        return Drawing.from_json(found)
    except (ValueError, TypeError, RecursionError) as error:
        raise VarStudioError(
            "What the file says of its drawing makes no sense.",
            "Choose the .json file that was written beside a figure.",
        ) from error
