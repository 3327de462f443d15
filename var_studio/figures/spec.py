"""What a figure shows, as plain data: no Qt, no matplotlib, no recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import Limits
from var_studio.figures.draw_words import WordsPanel
from var_studio.recording.layout import Box

# Okabe and Ito's palette, told apart by colour-blind readers too.
VISUAL_COLOUR, TEXT_COLOUR, BOS_COLOUR = "#56b4e9", "#e69f00", "#1a1a1a"
SINK_COLOUR, CENTRIC_COLOUR, PLAIN_COLOUR = "#d55e00", "#009e73", "#999999"

Width = Literal["column", "two-columns", "slide"]

WIDTHS: dict[Width, float] = {"column": 3.35, "two-columns": 6.9, "slide": 10.0}
"""Width of a figure in inches, as printed."""


@dataclass(frozen=True, slots=True)
class ColourScale:
    """How values become colours. Panels that carry an equal scale share one colour bar.

    `colour_map` is a matplotlib name: perceptual and colour-blind safe. `label` names the
    quantity and its unit. `percent` writes 0.01 as 1; `centred` writes signs: zero is the middle,
    and cells of a picture fade out towards it. `gamma` bends the colours as in `scale.placed`.
    """

    limits: Limits
    colour_map: str
    label: str
    percent: bool = False
    centred: bool = False
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class Heat:
    """Values (rows, cols) over a box in pixels of the image; NaN cells are left open."""

    values: npt.NDArray[np.floating[Any]]
    box: Box


@dataclass(frozen=True, slots=True)
class ImagePanel:
    """A picture in its true geometry with a heat map over it.

    `size` is (width, height) of the image in pixels and `picture` (h, w, 3) uint8 the same image,
    perhaps with fewer pixels; None draws the heat map alone. `unseen` boxes were cropped away,
    `padding` boxes lie outside the image: both are hatched. `sinks` are boxed, and `others` in
    another colour. `grey`: under a heat map the picture loses its colours.
    """

    title: str
    size: tuple[int, int]
    picture: npt.NDArray[np.uint8] | None
    heats: tuple[Heat, ...] = ()
    scale: ColourScale | None = None
    sinks: tuple[Box, ...] = ()
    others: tuple[Box, ...] = ()
    unseen: tuple[Box, ...] = ()
    padding: tuple[Box, ...] = ()
    opacity: float = 0.75
    smooth: bool = False
    grey: bool = True

    @property
    def extent(self) -> Box:
        """Everything there is to see, in pixels: the image and the cells that reach beyond it."""
        boxes = ((0.0, 0.0, float(self.size[0]), float(self.size[1])), *self.padding)
        boxes += tuple(heat.box for heat in self.heats)
        left, top, right, bottom = np.asarray(boxes).T
        return float(left.min()), float(top.min()), float(right.max()), float(bottom.max())


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of one kind of token, one for each bin."""

    name: str
    counts: npt.NDArray[np.int64]
    colour: str


@dataclass(frozen=True, slots=True)
class HistogramPanel:
    """A histogram with a logarithmic count and a threshold line. `edges` (bins + 1,).

    `bound`: no value can lie above it, nor does the axis go further; None: it is not known.
    """

    title: str
    edges: npt.NDArray[np.float64]
    series: tuple[Series, ...]
    threshold: float
    threshold_label: str
    label: str
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class HeadsPanel:
    """One cell for each head: `values` (L, H), `outlined` (L, H) bool, `chosen` (layer, head)."""

    title: str
    values: npt.NDArray[np.floating[Any]]
    scale: ColourScale
    outlined: npt.NDArray[np.bool_]
    chosen: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`; `log` by powers of ten, where smaller values lie at `low`.

    `percent` writes 0.01 as 1; `whole` writes whole numbers. `names` stand at 0, 1, 2 in place of
    numbers, upright with `turned`, as many as keep apart. `like`: numbers are written as on an
    axis that reaches so far, as on the one beside it; 0: as this one needs.
    """

    label: str
    low: float
    high: float
    log: bool = False
    percent: bool = False
    whole: bool = False
    names: tuple[str, ...] = ()
    turned: bool = False
    like: float = 0.0


Form = Literal["dots", "squares", "diamonds", "rings", "line", "bars", "stems"]


@dataclass(frozen=True, slots=True)
class Marks:
    """Values `y` (n,) at `x` (n,), drawn in one form; NaN is left out. `name` is for the legend,
    empty for none. `low` and `high` (n,) are the band around a line; `size` in points for dots,
    in units of the axis for bars."""

    name: str
    form: Form
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    colour: str
    size: float = 3.0
    low: npt.NDArray[Any] | None = None
    high: npt.NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A threshold: a dashed line at a value of the horizontal axis (`upright`) or the vertical."""

    value: float
    label: str
    upright: bool


@dataclass(frozen=True, slots=True)
class PlotPanel:
    """Points, lines or bars over two axes. `hatched`: nothing is known below this height.

    `aspect` is height over width.
    """

    title: str
    marks: tuple[Marks, ...]
    x: Scale
    y: Scale
    levels: tuple[Level, ...] = ()
    hatched: float | None = None
    aspect: float = 0.55

    @property
    def legend(self) -> int:
        """How many entries the legend has."""
        return sum(bool(mark.name) for mark in self.marks)


@dataclass(frozen=True, slots=True)
class TextWord:
    """A piece of text with its own blanks, as the model wrote it. `value` colours the paper behind
    it by the panel's scale, None or NaN leaves it white; `colour` is the ink on white paper."""

    text: str
    value: float | None = None
    colour: str = BOS_COLOUR
    underlined: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words in one flow, with a short `name` before its first line."""

    name: str
    words: tuple[TextWord, ...]


@dataclass(frozen=True, slots=True)
class TextPanel:
    """Paragraphs of live text under each other, broken where the page ends."""

    paragraphs: tuple[Paragraph, ...]
    scale: ColourScale | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """An empty place in a row, as wide as the panels beside it."""

    title: str = ""


Panel = ImagePanel | HistogramPanel | HeadsPanel | PlotPanel | WordsPanel | TextPanel | Gap


@dataclass(frozen=True, slots=True)
class Figure:
    """A whole figure: rows of panels, a heading, and all that a reader needs to check it.

    `metadata` is plain JSON and goes into the file itself; `arrays` and `table` (equally long
    columns) are what the figure shows, for NPZ and CSV. `notes` are short lines under the panels.
    """

    rows: tuple[tuple[Panel, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    table: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
