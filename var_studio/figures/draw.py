"""One panel into one pair of matplotlib axes. matplotlib is imported when something is drawn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import placed, value_at
from var_studio.analysis.smoothing import SMOOTH_STEPS, interpolate
from var_studio.figures.measure import fitted
from var_studio.figures.page import LEAST_POINTS
from var_studio.figures.spec import (
    BOS_COLOUR,
    ColourScale,
    HeadsPanel,
    Heat,
    HistogramPanel,
    ImagePanel,
    PlotPanel,
)
from var_studio.recording.layout import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

INK = BOS_COLOUR
THRESHOLD = "#d55e00"
SINK, OTHER = "#00e5ff", "#ffd23f"
FRAME = "#ffffff"
_HALO = "#000000"

# PDF viewers smooth small pictures when they enlarge them. A cell of many equal pixels stays crisp.
_LEAST_PIXELS = 480
# A picture wider than this is reduced: at 6.9 inches it is 300 dots per inch.
_MOST_PIXELS = 2048
_FADED = 0.4
"""Share of half a centred scale over which cells fade out, as on screen."""


def cell_colours(
    heat: Heat, scale: ColourScale, opacity: float, fade: bool = False
) -> npt.NDArray[np.uint8]:
    """The cells as (rows, cols, 4) uint8 RGBA; a NaN cell is transparent. With `fade` so is zero:
    where nothing changes, the picture is seen."""
    from matplotlib import colormaps

    limits = scale.limits
    scaled = limits.normalise(heat.values, scale.gamma)
    colours = colormaps[scale.colour_map](np.ma.masked_invalid(scaled), bytes=True)
    colours = np.array(colours, dtype=np.uint8)
    alpha = np.where(np.isfinite(scaled), opacity, 0.0)
    if fade and limits.low < 0 < limits.high:
        zero = -limits.low / (limits.high - limits.low)
        away = np.abs(np.nan_to_num(scaled) - zero) / (_FADED * max(zero, 1.0 - zero))
        alpha *= np.minimum(away, 1.0)
    colours[..., 3] = np.round(255 * alpha)
    return colours


def draw_image(axes: Axes, panel: ImagePanel, room: float) -> None:
    """Picture, heat map, hatched borders and boxed sinks, in pixels of the original image.

    `room`: inches that the title may take.
    """
    width, height = panel.size
    left, top, right, bottom = panel.extent
    _fitted_title(axes, panel.title, room)
    if panel.picture is not None:
        picture = _reduced(panel.picture)
        # Colours of the picture would mix with those of the map.
        shown = _grey(picture) if panel.heats and panel.grey else picture
        axes.imshow(shown, extent=(0, width, height, 0), interpolation="antialiased")
    for heat in panel.heats:
        if panel.scale is not None:
            fade = panel.scale.centred and panel.picture is not None
            _draw_heat(axes, heat, panel.scale, panel.opacity, panel.smooth, fade)
    for box in panel.unseen:
        _hatch(axes, box, veil=0.6)
    for box in panel.padding:
        _hatch(axes, box, veil=0.0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    _outline_boxes(axes, panel.sinks, SINK)
    _outline_boxes(axes, panel.others, OTHER)
    axes.set_aspect("auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_histogram(axes: Axes, panel: HistogramPanel) -> None:
    """Step histogram with a logarithmic count; the threshold is a dashed line."""
    from matplotlib import rcParams
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    floor = 0.7  # below a count of 1, so that a bin with one token can be seen
    top = 1
    for index, series in enumerate(panel.series):
        counts = np.where(series.counts > 0, series.counts, floor)
        top = max(top, int(series.counts.max(initial=1)))
        name = f"{series.name} ({int(series.counts.sum())})"
        filled = index == 0
        axes.stairs(
            counts,
            panel.edges,
            baseline=floor,
            fill=filled,
            color=series.colour,
            alpha=0.85 if filled else 1.0,
            label=name,
            zorder=2 + index,
        )
    axes.set_yscale("log")
    right = histogram_end(panel)
    axes.set_xlim(0, right)
    axes.set_ylim(floor, top * 1.6)
    beyond = panel.threshold > right
    if not beyond:
        axes.axvline(panel.threshold, color=THRESHOLD, linestyle=(0, (4, 2)), zorder=6)
    at = min(panel.threshold / right, 1.0)
    text = axes.annotate(
        f"{panel.threshold_label}, beyond √D ▸" if beyond else panel.threshold_label,
        (at, 1.0),
        xycoords="axes fraction",
        xytext=(0, 2),
        textcoords="offset points",
        ha="right" if at > 0.85 else "left" if at < 0.15 else "center",
        va="bottom",
        color=THRESHOLD,
    )
    text.set_parse_math(False)
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(panel.label)
    axes.set_ylabel("tokens")
    # Above the axes and the label of τ: wherever τ is, its line crosses no word.
    em = float(rcParams["font.size"])
    room = axes.bbox.height * 72 / axes.figure.dpi
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1 + 1.5 * em / room), ncols=3, columnspacing=1.2
    )


def histogram_end(panel: HistogramPanel) -> float:
    """Where the φ axis ends: past the values and τ, but hardly past the bound."""
    last = float(panel.edges[-1])
    end = max(last, panel.threshold) * 1.04
    return end if panel.bound is None else min(end, max(panel.bound * 1.02, last))


def draw_heads(axes: Axes, panel: HeadsPanel) -> None:
    """One cell for each head, layer 0 on top; each outlined head has a frame of its own."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    n_layers, n_heads = panel.values.shape
    title(axes, panel.title)
    heat = Heat(panel.values, (-0.5, -0.5, n_heads - 0.5, n_layers - 0.5))
    _draw_heat(axes, heat, panel.scale, 1.0, smooth=False)
    # Inside each cell: a line round several tells no one which side of it they are on.
    points = axes.bbox.width * 72 / axes.figure.dpi / n_heads
    wide = min(max(points / 12, 0.35), 1.0)
    outer = min(0.09, 1.0 / points)
    for colour, line, inset in (
        (INK, 0.9 * wide, outer),
        (FRAME, 1.3 * wide, outer + wide / points),
    ):
        side = 1 - 2 * inset
        frames = [
            Rectangle((head - side / 2, layer - side / 2), side, side)
            for layer, head in np.argwhere(panel.outlined)
        ]
        axes.add_collection(
            PatchCollection(frames, facecolors="none", edgecolors=colour, linewidths=line)
        )
    if 0 < len(panel.chosen) < n_layers * n_heads:
        layers, heads = np.array(panel.chosen).T
        axes.scatter(heads, layers, s=9, c=THRESHOLD, edgecolors="white", linewidths=0.5, zorder=5)
    axes.set_xlim(-0.5, n_heads - 0.5)
    axes.set_ylim(n_layers - 0.5, -0.5)
    axes.set_aspect("auto")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, steps=[1, 2, 4, 5, 8, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, steps=[1, 2, 4, 5, 8, 10]))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_colour_bar(drawing: Drawing, axes: Axes, scale: ColourScale, vertical: bool) -> None:
    """A colour bar with its unit; a pointed end says that larger values share the last colour."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import FuncNorm, Normalize
    from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator

    factor = 100.0 if scale.percent else 1.0
    limits = scale.limits
    low, high = limits.low * factor, limits.high * factor
    norm = Normalize(low, high)
    if scale.gamma != 1.0:
        there = partial(placed, low=low, high=high, gamma=scale.gamma)
        back = partial(value_at, low=low, high=high, gamma=scale.gamma)
        norm = FuncNorm((there, back), low, high)
    colours = ScalarMappable(norm, colormaps[scale.colour_map])
    extend = ("both" if scale.centred else "max") if limits.clipped else "neither"
    # A label at the very end of a horizontal bar would reach over the edge of the page.
    prune: Literal["both", "upper"] | None = "both" if scale.centred or limits.low else "upper"
    prune = None if vertical else prune
    ticks: Locator = MaxNLocator(nbins=4, symmetric=scale.centred, prune=prune)
    if scale.gamma != 1.0:
        ticks = FixedLocator(bent_ticks(low, high, scale.gamma))
    bar = drawing.colorbar(
        colours,
        cax=axes,
        orientation="vertical" if vertical else "horizontal",
        extend=extend,
        ticks=ticks,
        format=FuncFormatter(lambda v, _: _number(v, scale.centred)),
    )
    bar.set_label(scale.label)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # no hairlines between its steps in PDF viewers
    bar.outline.set_linewidth(0.4)


def bent_ticks(low: float, high: float, gamma: float) -> list[float]:
    """Short numbers at about equal distances on a scale bent by gamma."""
    # The ends have no room for a number on a narrow page, but 0 at the left end is short.
    places = np.linspace(0.0, 1.0, 6)[:-1] if low >= 0 else np.linspace(0.0, 1.0, 5)[1:-1]
    values = value_at(places, low, high, gamma)
    found = [0.0 if abs(value) < 1e-9 * high else float(f"{value:.1g}") for value in values]
    return [tick for tick in dict.fromkeys(found) if low <= tick <= high]


def _draw_heat(
    axes: Axes,
    heat: Heat,
    scale: ColourScale,
    opacity: float,
    smooth: bool,
    fade: bool = False,
) -> None:
    left, top, right, bottom = heat.box
    if smooth:
        # Clipped first: a sink far beyond the scale would flood the cells around it.
        clipped = np.clip(heat.values, scale.limits.low, scale.limits.high)
        heat = Heat(interpolate(clipped, SMOOTH_STEPS), heat.box)
    colours = cell_colours(heat, scale, opacity, fade)
    times = -(-_LEAST_PIXELS // max(colours.shape[:2]))
    colours = colours.repeat(times, axis=0).repeat(times, axis=1)
    axes.imshow(colours, extent=(left, right, bottom, top), interpolation="none")


def _outline_boxes(axes: Axes, boxes: tuple[Box, ...], ink: str) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    patches = [
        Rectangle((left, top), right - left, bottom - top) for left, top, right, bottom in boxes
    ]
    if not boxes:
        return
    left, _, right, _ = boxes[0]
    low, high = axes.get_xlim()
    points = axes.bbox.width * 72 / axes.figure.dpi * (right - left) / abs(high - low)
    # Lines of full width would fill a small cell.
    thin = min(max(points / 8.0, 0.4), 1.0)
    for colour, width in ((_HALO, 1.9 * thin), (ink, 1.0 * thin)):
        axes.add_collection(
            PatchCollection(patches, facecolors="none", edgecolors=colour, linewidths=width)
        )


def _hatch(axes: Axes, box: Box, veil: float) -> None:
    """Diagonal lines over a part that is not there for the model; `veil` whitens what is below."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    corner, width, height = (left, top), right - left, bottom - top
    if veil:
        axes.add_patch(Rectangle(corner, width, height, facecolor="white", alpha=veil, linewidth=0))
    axes.add_patch(
        Rectangle(
            corner, width, height, fill=False, hatch="//////", edgecolor="#7f7f7f", linewidth=0
        )
    )


def _reduced(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if max(picture.shape[:2]) <= _MOST_PIXELS:
        return picture
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    light = picture @ np.array([0.299, 0.587, 0.114])
    return np.repeat(np.round(light)[..., None], 3, axis=2).astype(np.uint8)


def title(axes: Axes, said: str) -> None:
    # A token may hold a dollar sign: nothing a model wrote is parsed as mathematics.
    axes.set_title(said, loc="left").set_parse_math(False)


def _fitted_title(axes: Axes, title: str, room: float) -> None:
    """A title of a picture: smaller, and at last shortened, rather than over its neighbour's."""
    from matplotlib import rcParams
    from matplotlib.font_manager import font_scalings

    points = rcParams["axes.titlesize"]
    if points in font_scalings:
        points = rcParams["font.size"] * font_scalings[points]
    said, em = fitted(title, room, float(points) / 72, LEAST_POINTS / 72)
    axes.set_title(said, loc="left", fontsize=em * 72).set_parse_math(False)


def _number(value: float, signed: bool) -> str:
    text = f"{value:.6g}".replace("-", "\u2212")
    return f"+{text}" if signed and value > 0 else text


def panel_aspect(panel: Any) -> float:
    """Height over width of the inner axes."""
    if isinstance(panel, ImagePanel):
        left, top, right, bottom = panel.extent
        return (bottom - top) / (right - left)
    if isinstance(panel, HeadsPanel):
        n_layers, n_heads = panel.values.shape
        return min(max(n_layers / n_heads, 0.45), 1.0)
    return panel.aspect if isinstance(panel, PlotPanel) else 0.42
