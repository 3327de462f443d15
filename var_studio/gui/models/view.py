"""How things are shown: no number depends on it, and a session remembers it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from PySide6.QtCore import QObject, Signal

Shown = Literal["before", "after", "difference", "all"]
Compare = Literal["local", "run"]
Scale = Literal["map", "token", "shared"]
ColourBy = Literal[
    "probability", "visual_mass", "sink_mass", "image_centric_share", "delta_logprob", "reverse"
]
Aggregate = Literal["mean", "max"]
Tool = Literal["select", "rectangle", "brush", "erase"]
Quantity = Literal["attention", "contribution"]
HeadOrder = Literal["grid", "sorted"]
HeadKey = Literal[
    "non_sink_ratio", "visual_mass", "sink_mass", "entropy", "contribution", "cells", "cells_all"
]
ColourMap = Literal["viridis", "cividis", "magma", "inferno", "gray"]
DifferenceMap = Literal["RdBu_r", "PuOr_r", "berlin"]

BRUSH_MOST = 15
_RANGES = {"opacity": (0.0, 1.0), "gamma": (0.1, 10.0), "brush": (1, BRUSH_MOST)}


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """`quantity`: what of each visual token the maps show. `shown`: map before, after, their
    difference, or all three side by side. `compare`: after is
    the same row redistributed ("local") or the paired run with VAR ("run").
    `sinks_boxed`: boxes around visual sinks. `hide_sinks`: leave them out of the colours.
    `scale`: what the upper limit is taken over; `gamma`: the exponent of the colours.
    `head_order`: the heads as layers × heads, or as a strip sorted by their value.
    `colour_by`: what colours the words of the transcript; "reverse": how much each looks at the
    selected cells. `aggregate`: mean or maximum over the heads selected. `tool`: what the mouse
    does in the image; `brush`: how many cells across it paints or erases, 1 to `BRUSH_MOST`."""

    quantity: Quantity = "attention"
    shown: Shown = "before"
    compare: Compare = "local"
    sinks_boxed: bool = True
    hide_sinks: bool = False
    opacity: float = 0.65
    colour_map: ColourMap = "inferno"
    difference_map: DifferenceMap = "RdBu_r"
    smooth: bool = False
    scale: Scale = "map"
    robust: bool = True
    gamma: float = 1.0
    head_value: HeadKey = "non_sink_ratio"
    head_order: HeadOrder = "grid"
    thumbnails: bool = False
    colour_by: ColourBy = "probability"
    aggregate: Aggregate = "mean"
    tool: Tool = "select"
    brush: int = 1


ON_CELLS = ("cells", "cells_all")
"""Values of the heads that are about the selected cells."""


class ViewModel(QObject):
    """The present ViewSettings; `set(shown="after")` replaces fields; `changed` once per change.

    The reverse view is words and heads coloured by how much they look at the selected cells:
    `reverse` begins it, `end_reverse` brings back what either showed before.
    `part`: the views (of the layout) that the Image panel shows; empty before it showed any.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.current = ViewSettings()
        self.part: tuple[int, ...] = ()
        self._words: ColourBy = self.current.colour_by  # the last ones that were not reversed
        self._heads = self.current.head_value, self.current.thumbnails

    def set(self, **changes: Any) -> None:
        """Replace some fields."""
        new = replace(self.current, **changes)
        if new != self.current:
            if not self.words_reversed:
                self._words = self.current.colour_by
            if not self.heads_reversed:
                self._heads = self.current.head_value, self.current.thumbnails
            self.current = new
            self.changed.emit()

    def show_part(self, views: tuple[int, ...]) -> None:
        """Tell the other panels which views the Image panel shows."""
        if views != self.part:
            self.part = views
            self.changed.emit()

    @property
    def words_reversed(self) -> bool:
        """Whether the words show how much they look at the cells."""
        return self.current.colour_by == "reverse"

    @property
    def heads_reversed(self) -> bool:
        """Whether the heads do."""
        return self.current.head_value in ON_CELLS and not self.current.thumbnails

    def reverse(self) -> None:
        """Colour words and heads by how much they look at the selected cells."""
        value = self.current.head_value if self.heads_reversed else ON_CELLS[0]
        self.set(colour_by="reverse", head_value=value, thumbnails=False)

    def end_reverse(self) -> None:
        """No cell is selected any more: words and heads show again what they did before."""
        changes: dict[str, Any] = {}
        if self.words_reversed:
            changes["colour_by"] = self._words
        if self.heads_reversed:
            changes["head_value"], changes["thumbnails"] = self._heads
        self.set(**changes)

    def resize_brush(self, step: int) -> None:
        """A brush of more (or, below 0, fewer) cells across."""
        self.set(brush=min(max(self.current.brush + step, 1), BRUSH_MOST))

    def flip(self) -> None:
        """Before ↔ after (space). From the difference: back to before."""
        self.set(shown="after" if self.current.shown == "before" else "before")

    def toggle_sinks(self) -> None:
        """Boxes around the visual sinks on or off (S)."""
        self.set(sinks_boxed=not self.current.sinks_boxed)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the session file."""
        return asdict(self.current)

    def restore(self, document: dict[str, Any]) -> None:
        """Read what `to_json` wrote; what is unknown (another version's) is left out."""
        hints = get_type_hints(ViewSettings)
        known = {field.name: hints[field.name] for field in fields(ViewSettings)}
        self.set(
            **{
                name: value
                for name, value in document.items()
                if name in known and _fits(value, known[name], _RANGES.get(name))
            }
        )


def _fits(value: Any, kind: Any, within: tuple[float, float] | None) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if within is not None:
        number = isinstance(value, int if kind is int else int | float)
        return number and not isinstance(value, bool) and within[0] <= value <= within[1]
    return isinstance(value, kind)
