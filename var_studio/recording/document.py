"""What a run says about itself, beside its arrays: the attributes of its Zarr group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from var_studio.recording.arrays import ArraySpec, FormatError, nested_within
from var_studio.recording.images import MAX_PIXELS
from var_studio.recording.layout import Box, VisualLayout
from var_studio.recording.migrations import RUN_SCHEMA, migrate_run
from var_studio.recording.settings import Generation, Interventions
from var_studio.recording.tokens import Alternative, Token

TOP_DIMS: Final = 16
"""Largest hidden dimensions kept of every token and layer."""
MAX_ELEMENTS: Final = 1 << 28
"""Layers x heads x keys of a run that is believed: 126 x 128 heads of 16,000 keys."""
MAX_NESTED: Final = 64
"""Lists and objects inside one another, in what may be any JSON."""
_MAX_LENGTH: Final = 1 << 22
_LOGPROB_MOST: Final = 0.01
_FARTHEST: Final = 1e9
"""Pixels from the corner of an image to what a model saw of it, padding included."""

Count = Annotated[int, Field(ge=1, le=4096)]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$")]


def _shallow(values: dict[str, Any]) -> dict[str, Any]:
    if not nested_within(values, MAX_NESTED):
        raise ValueError("nested too deeply")
    return values


PlainValues = Annotated[dict[str, Any], AfterValidator(_shallow)]
"""Any JSON object that can be written again: pydantic and json give up on deep ones."""


class ImageEntry(BaseModel):
    """An image of a run or session; its bytes are found by their hash."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    media_type: str
    name: str
    note: str = ""


class LeftOut(BaseModel):
    """What was recorded of a run and is not in its session file, as positions in the sequence.

    `rows`: tokens whose row is not there. `keys`: text tokens whose weights are NaN in the rows
    that are there, from the token itself on. See `content.Content`.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[Annotated[int, Field(ge=0)], ...] = ()
    keys: tuple[Annotated[int, Field(ge=0)], ...] = ()


class RunDocument(BaseModel):
    """The attributes of a run's group. `tokens` and `layout` come from the journal while it runs.

    Fields that a later version adds are ignored.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    kind: Literal["var-studio-run"] = "var-studio-run"
    schema_version: int = Field(RUN_SCHEMA, alias="schema", ge=1)
    id: RunId
    name: str
    created: str = ""
    n_layers: Count
    n_heads: Count
    hidden_size: int = Field(ge=1, le=_MAX_LENGTH)
    length_max: int = Field(ge=1, le=_MAX_LENGTH)
    sink_dims: tuple[Annotated[int, Field(ge=0, lt=_MAX_LENGTH)], ...] = Field(max_length=256)
    tau_default: float = Field(ge=0, le=_MAX_LENGTH)
    precision: Literal["float16", "float32"]
    generation: Generation
    interventions: Interventions = ()
    teacher: RunId | None = None
    history: tuple[tuple[str, str], ...] = ()
    """Questions asked before this one about the same images, and their answers."""
    provenance: PlainValues = {}
    images: tuple[ImageEntry, ...] = ()
    finished: bool = False
    reason: str | None = None
    tokens: list[dict[str, Any]] = []
    query_positions: list[int] = []
    layout: dict[str, Any] | None = None
    n_keys: int = Field(0, ge=0)
    """Keys recorded, from the first on; fewer than tokens where the last was never fed."""
    left_out: LeftOut = LeftOut()

    def to_json(self) -> dict[str, Any]:
        document = self.model_dump(mode="json", by_alias=True, exclude=_LONG)
        # Plain JSON values already, and many.
        return {**document, **{name: getattr(self, name) for name in sorted(_LONG)}}


_LONG: Final = {"tokens", "query_positions", "layout"}


def read_document(attributes: Mapping[str, Any]) -> RunDocument:
    """Read a run's attributes, of this schema or an older one. Raises FormatError."""
    try:
        document = RunDocument.model_validate(migrate_run(attributes))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise FormatError(f"the run's description is wrong at {where or 'its start'}") from error
    if len(set(document.sink_dims)) != len(document.sink_dims):
        raise FormatError("the run's description names a sink dimension twice")
    return document


def check_size(document: RunDocument, length: int) -> None:
    """Refuse a run that no model can have made, before anything is allocated. FormatError."""
    per_key = document.n_layers * max(document.n_heads, TOP_DIMS, len(document.sink_dims))
    if per_key * max(length, 1) > MAX_ELEMENTS:
        raise FormatError("it declares an absurd size")


def array_specs(document: RunDocument, n_queries: int, length: int) -> dict[str, ArraySpec]:
    """The arrays of a run with so many queries and keys, by name.

    ======================= ===================== =========================================
    attention               (query, layer, head,  weights before any redistribution, 0 after
                            key)                  the query
    sink_dims_value         (layer, key, dim)     x[d] / rms(x) with its sign, d in sink_dims
    top_dims                (layer, key, rank)    the largest hidden dimensions
    top_dims_value          (layer, key, rank)    their x[d] / rms(x)
    value_norm              (layer, head, key)    norm of v W_O
    ======================= ===================== =========================================
    """
    layers, heads = document.n_layers, document.n_heads
    longest = document.length_max
    # One chunk per query, unless a long answer is allowed for: then what is never used costs.
    keys = longest if longest <= 2048 else 1024
    attention = ArraySpec(
        "attention",
        (n_queries, layers, heads, length),
        (1, layers, heads, keys),
        document.precision,
        ("query", "layer", "head", "key"),
        compressed=True,
    )
    block = min(longest, 256)
    n_dims = len(document.sink_dims)

    def per_key(name: str, last: str, size: int, dtype: Literal["float32", "int32"]) -> ArraySpec:
        return ArraySpec(
            name,
            (layers, length, size),
            (layers, block, max(size, 1)),
            dtype,
            ("layer", "key", last),
            compressed=False,
            grows=1,
        )

    value_norm = ArraySpec(
        "value_norm",
        (layers, heads, length),
        (layers, heads, block),
        "float16",
        ("layer", "head", "key"),
        compressed=False,
        grows=2,
    )
    specs = (
        attention,
        per_key("sink_dims_value", "sink_dim", n_dims, "float32"),
        per_key("top_dims", "rank", TOP_DIMS, "int32"),
        per_key("top_dims_value", "rank", TOP_DIMS, "float32"),
        value_norm,
    )
    return {spec.name: spec for spec in specs}


def token_to_json(token: Token) -> dict[str, Any]:
    """As plain JSON values; what a token does not have is left out."""
    document: dict[str, Any] = {"id": token.id, "text": token.text, "role": token.role}
    if token.special:
        document["special"] = True
    if token.logprob is not None:
        document["logprob"] = _number(token.logprob)
    if token.top:
        document["top"] = [[a.id, a.text, _number(a.logprob)] for a in token.top]
    if token.turn:
        document["turn"] = token.turn
    return document


def token_from_json(position: int, document: Mapping[str, Any]) -> Token:
    """Read what `token_to_json` wrote. Raises FormatError."""
    try:
        role = document["role"]
        if role not in ("system", "visual", "prompt", "generated"):
            raise ValueError(f"unknown role {role!r}")
        logprob = document.get("logprob")
        return Token(
            position=position,
            id=int(document["id"]),
            text=str(document["text"]),
            role=role,
            special=bool(document.get("special", False)),
            logprob=None if logprob is None else _logprob(logprob),
            top=tuple(
                Alternative(int(id), str(text), _logprob(logprob))
                for id, text, logprob in document.get("top", ())
            ),
            turn=int(document.get("turn", 0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"token {position} is damaged") from error


def _logprob(given: Any) -> float:
    """At most 0, but for rounding; NaN where a model gave none. Raises ValueError."""
    value = float(given)
    if value > _LOGPROB_MOST:
        raise ValueError(f"a log-probability of {value}")
    return value


def layout_from_json(document: Mapping[str, Any] | None, length: int) -> VisualLayout:
    """Read a layout and check that it speaks of this sequence. Raises FormatError.

    None, as in a run that was stopped before its prompt was laid out, gives an empty layout.
    """
    if document is None:
        return VisualLayout((), np.zeros(0, np.int64), (), np.zeros((0, 4)), known=False)
    try:
        layout = VisualLayout.from_json(document)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise FormatError("the layout of the visual tokens is damaged") from error
    positions, count = layout.positions, layout.count
    cells = [view.tokens for view in layout.views]
    sound = (
        layout.boxes.shape == (count, 4)
        and (bool(cells) == (count > 0) or (count > 0 and not layout.known))
        and (count == 0 or (positions[0] >= 0 and positions[-1] < length))
        and bool((np.diff(positions) > 0).all())
        and all(c.ndim == 2 and c.size and c.min() >= -1 and c.max() < count for c in cells)
        and all(0 <= view.image < len(layout.image_sizes) for view in layout.views)
        and all(w >= 1 and h >= 1 and w * h <= MAX_PIXELS for w, h in layout.image_sizes)
        and all(_is_place(view.box) for view in layout.views)
        and all(_is_place(box) for boxes in layout.unseen for box in boxes)
        and not (np.abs(layout.boxes) > _FARTHEST).any()
    )
    if not sound:
        raise FormatError("the layout of the visual tokens does not fit its run")
    return layout


def _is_place(box: Box) -> bool:
    """Whether a box has an area, near enough to the image to be drawn. False with NaN."""
    left, top, right, bottom = box
    near = min(box) >= -_FARTHEST and max(box) <= _FARTHEST
    return near and left < right and top < bottom


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping in JSON's own types; what has none (a data type, a path) by its name."""
    return {str(key): _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return _number(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def _number(value: float) -> float | str:
    """JSON has no infinity; a forbidden token's log-probability is one."""
    value = float(value)
    return value if math.isfinite(value) else str(value)
