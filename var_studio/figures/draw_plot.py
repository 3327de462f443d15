"""Points, lines and bars into one pair of matplotlib axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from var_studio.figures.spec import Level, Marks, PlotPanel, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THRESHOLD = "#d55e00"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_COLUMNS = 2
"""Entries of a legend side by side: as many as half a page has room for."""
_LINE = 1.35
"""Widths of a letter from one line of a legend to the next."""
_POINTS = 7.0
"""The letters with which marks have the size their spec says; with larger ones they grow."""
_LONGEST = 12
"""Letters of an upright name that are shown."""


def plot_room(panel: PlotPanel) -> tuple[float, float]:
    """Room above and below the axes, in widths of a letter, besides a title."""
    over = 1.4 if any(level.upright for level in panel.levels) else 0.2
    over += _LINE * -(-panel.legend // _COLUMNS)
    lines = max((name.count("\n") for name in panel.x.names), default=0)
    longest = max((len(_short(name)) for name in panel.x.names), default=0)
    if not panel.x.names:
        return over, 3.0
    # Letters of tick labels are six sevenths of an em high, and most of them half that wide.
    return over, 1.4 + (0.56 * longest if panel.x.turned else 1.2 * (lines + 1))


def draw_plot(axes: Axes, panel: PlotPanel) -> None:
    """The marks, one over the other in their order, then the thresholds; the legend is above."""
    from matplotlib import rcParams

    axes.set_title(panel.title, loc="left").set_parse_math(False)
    if panel.hatched is not None:
        axes.axhspan(
            0, panel.hatched, facecolor="none", edgecolor="#9a9a9a", hatch="//////", linewidth=0
        )
    for order, marks in enumerate(panel.marks):
        _draw_marks(axes, marks, panel.y, 2 + order)
    _scale(axes, panel.x, across=True)
    _scale(axes, panel.y, across=False)
    for level in panel.levels:
        _draw_level(axes, level, panel)
    if panel.legend:
        em = float(rcParams["font.size"])
        room = axes.bbox.height * 72 / axes.figure.dpi
        lift = 1.4 * em if any(level.upright for level in panel.levels) else 0.2 * em
        if panel.title:
            # The title stands at the axes; the legend over it.
            lift += 1.9 * em
        legend = axes.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1 + lift / room),
            ncols=_COLUMNS,
            columnspacing=1.2,
            borderpad=0.1,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _draw_marks(axes: Axes, marks: Marks, y: Scale, order: int) -> None:
    from matplotlib import rcParams

    values = np.maximum(marks.y, y.low) if y.log else np.asarray(marks.y)
    name = marks.name or "_"  # matplotlib leaves it out of the legend
    grown = float(rcParams["font.size"]) / _POINTS
    if marks.form in ("dots", "squares", "diamonds", "rings"):
        form = {"dots": "o", "squares": "s", "diamonds": "D", "rings": "o"}[marks.form]
        axes.plot(
            marks.x,
            values,
            form,
            color=marks.colour,
            markersize=marks.size * grown,
            markerfacecolor="none" if marks.form == "rings" else marks.colour,
            markeredgewidth=0.8 if marks.form == "rings" else 0.0,
            label=name,
            zorder=order,
            clip_on=False,
        )
    elif marks.form == "line":
        if marks.low is not None and marks.high is not None:
            axes.fill_between(
                marks.x, marks.low, marks.high, color=marks.colour, alpha=0.25, linewidth=0
            )
        many = len(marks.x) > 40
        axes.plot(
            marks.x,
            values,
            color=marks.colour,
            label=name,
            zorder=order,
            marker="o",
            markersize=(1.2 if many else 2.2) * grown,
        )
    elif marks.form == "bars":
        shown = np.nan_to_num(values)
        axes.bar(marks.x, shown, width=marks.size, color=marks.colour, label=name, zorder=order)
        if y.low < 0 < y.high:
            axes.axhline(0, color="#4d4d4d", linewidth=0.5, zorder=order)
    else:
        axes.vlines(
            marks.x, 0, values, colors=marks.colour, label=name, zorder=order, linewidth=1.2 * grown
        )


def _scale(axes: Axes, scale: Scale, across: bool) -> None:
    from matplotlib import rcParams
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axis = axes.xaxis if across else axes.yaxis
    (axes.set_xlabel if across else axes.set_ylabel)(scale.label)
    if scale.log:
        (axes.set_xscale if across else axes.set_yscale)("log")
    (axes.set_xlim if across else axes.set_ylim)(scale.low, scale.high)
    if scale.names:
        _write_names(axes, scale)
        return
    factor, power = (100.0, 0) if scale.percent else _power(scale)
    if power:
        unit = str(power).replace("-", "\u207b").translate(_RAISED)
        (axes.set_xlabel if across else axes.set_ylabel)(f"{scale.label}, in 10{unit}")
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{factor * value:.4g}".replace("-", "\u2212"))
    )
    if scale.log:
        powers = np.arange(np.ceil(np.log10(scale.low)), np.floor(np.log10(scale.high)) + 1)
        axis.set_major_locator(FixedLocator((10.0**powers).tolist()))
        axis.set_minor_locator(NullLocator())
    else:
        steps, most = [1, 2, 5, 10], 6
        if across:
            room = axes.bbox.width * 72 / axes.figure.dpi
            most = min(max(int(room / (3.5 * float(rcParams["font.size"]))), 1), most)
        axis.set_major_locator(MaxNLocator(integer=scale.whole, nbins=most, steps=steps))


def _power(scale: Scale) -> tuple[float, int]:
    """What ticks are multiplied by, and the power of ten that is said instead: a tick of many
    digits would reach over the label beside it."""
    most = scale.like or max(abs(scale.low), abs(scale.high))
    if scale.log or scale.whole or scale.names or (not 0 < most < 1e-3 and most < 1e5):
        return 1.0, 0
    power = int(np.floor(np.log10(most)))
    return 10.0**-power, power


def _write_names(axes: Axes, scale: Scale) -> None:
    """Names at 0, 1, 2; of upright ones, every n-th, so that they keep apart."""
    from matplotlib import rcParams

    places = np.arange(len(scale.names))
    if scale.turned:
        em = float(rcParams["font.size"])
        each = axes.bbox.width * 72 / axes.figure.dpi / max(len(scale.names), 1)
        places = places[:: max(1, int(np.ceil(1.25 * em / each)))]
    axes.set_xticks(places, [_short(scale.names[i]) for i in places])
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
        if scale.turned:
            label.set_rotation(90)


def _short(name: str) -> str:
    return name if "\n" in name or len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _draw_level(axes: Axes, level: Level, panel: PlotPanel) -> None:
    scale = panel.x if level.upright else panel.y
    if not scale.low <= level.value <= scale.high:
        return
    dashes = (0, (4, 2))
    if level.upright:
        axes.axvline(level.value, color=THRESHOLD, linestyle=dashes, zorder=20)
        at = (level.value - scale.low) / (scale.high - scale.low)
        place, offset, below = (at, 1.0), (0.0, 2.0), "bottom"
        side = "right" if at > 0.8 else "left" if at < 0.2 else "center"
    else:
        axes.axhline(level.value, color=THRESHOLD, linestyle=dashes, zorder=20)
        at = (level.value - scale.low) / (scale.high - scale.low)
        place, side = (1.0, at), "right"
        offset, below = ((0.0, -1.5), "top") if at > 0.85 else ((0.0, 1.5), "bottom")
    text = axes.annotate(
        level.label,
        place,
        xycoords="axes fraction",
        xytext=offset,
        textcoords="offset points",
        ha=side,
        va=below,
        color=THRESHOLD,
    )
    text.set_parse_math(False)
    if not level.upright:
        # To be read where it stands on a band or a curve.
        text.set_bbox({"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.6})
        text.set_zorder(21)
