"""From a reading to what is drawn: the map, the φ histogram and the atlas of heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from var_studio.analysis.reading import HeadValue, Moment, Reading
from var_studio.analysis.scale import Limits, full_limits, robust_limits, symmetric_limits
from var_studio.errors import VarStudioError
from var_studio.figures.curves import (
    build_contribution,
    build_head_scatter,
    build_hidden,
    build_layers,
    build_scatter,
    build_shares,
)
from var_studio.figures.geometry import (
    ShownViews,
    cell_box,
    choose_views,
    unseen_and_padding,
)
from var_studio.figures.origin import dims_of, origin, tau_of
from var_studio.figures.spec import (
    BOS_COLOUR,
    TEXT_COLOUR,
    VISUAL_COLOUR,
    ColourScale,
    Figure,
    HeadsPanel,
    Heat,
    HistogramPanel,
    ImagePanel,
    Panel,
    Series,
    Width,
)
from var_studio.figures.words import (
    STRIP_NOTE,
    acts_line,
    beyond_line,
    focus_line,
    heads_line,
    image_line,
    sinks_by_kind,
    sinks_line,
    token_line,
)

ATTENTION_COLOURS = "viridis"
DIFFERENCE_COLOURS = "RdBu_r"
HEAD_COLOURS = "cividis"

_HEAD_LABELS: Mapping[HeadValue, str] = {
    "non_sink_ratio": "visual non-sink ratio r",
    "visual_mass": "visual mass (% of the row)",
    "sink_mass": "mass on sinks (% of the row)",
    "entropy": "entropy of the row (nats)",
}


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map is shown. `robust`: the 99 % quantile is the last colour, so that a few tokens do
    not darken the rest. `hide_sinks`: sinks, which are boxed anyway, play no part in that.

    `image` and `view` count from 0. `view` None: all finest views of the image; a number: that
    view alone, whose image goes before `image`. `gamma` bends the colours (`scale.placed`).
    `limits` and `difference_limits`: those of a scale made elsewhere, of which `scale_name` tells
    in the notes; None: made for the tokens shown. `bare_sinks` leaves sinks uncoloured; `grey`
    takes the colours off the picture under before and after, as under the difference always.
    """

    opacity: float = 0.8
    smooth: bool = False
    robust: bool = True
    hide_sinks: bool = True
    colour_map: str = ATTENTION_COLOURS
    image: int = 0
    view: int | None = None
    difference_map: str = DIFFERENCE_COLOURS
    gamma: float = 1.0
    limits: Limits | None = None
    difference_limits: Limits | None = None
    scale_name: str = ""
    sinks_boxed: bool = True
    bare_sinks: bool = False
    grey: bool = True


def build(
    name: str,
    reading: Reading,
    *,
    width: Width = "two-columns",
    options: MapOptions | None = None,
    **about: Any,
) -> Figure:
    """Build a figure by name; `about` joins its metadata. Raises VarStudioError if unknown.

    `options` are those of a map; other figures have none.
    """
    builder = FIGURES.get(name)
    if builder is None:
        raise VarStudioError(f"There is no figure {name!r}.", f"Choose {', '.join(FIGURES)}.")
    extra = {"options": options} if builder is build_map else {}
    figure = builder(reading, width=width, **extra)
    return replace(figure, metadata={**figure.metadata, **about})


def build_map(
    reading: Reading, *, width: Width = "two-columns", options: MapOptions | None = None
) -> Figure:
    """The picture with its sinks boxed, then attention before, after and their difference.

    Before and after share one scale; the difference is centred on 0. Scales and counts are those
    of the image shown. Raises VarStudioError for an image or a view that the run does not have.
    """
    options = options or MapOptions()
    shown = choose_views(reading.run.layout, options.image, options.view)
    drawn = shown.tokens
    before, after, difference = reading.map_before, reading.map_after, reading.map_difference
    hide = reading.visual_sinks[drawn] if options.hide_sinks else None
    limits = options.limits or _limits(before[drawn], after[drawn], options.robust, hide)
    apart = options.difference_limits or _difference_limits(
        difference[drawn], limits, options.robust
    )
    bent = f", gamma {options.gamma:g}" if options.gamma != 1.0 else ""
    label = f"attention α (% of the row){bent}"
    attention = ColourScale(limits, options.colour_map, label, percent=True, gamma=options.gamma)
    change = ColourScale(
        apart,
        options.difference_map,
        f"change (% of the row){bent}",
        percent=True,
        centred=True,
        gamma=options.gamma,
    )
    picture = _picture_panel(reading, options, shown)
    bare = reading.visual_sinks & options.bare_sinks
    before, after, difference = (
        np.where(bare, np.float32(np.nan), values) for values in (before, after, difference)
    )
    grey = replace(picture, grey=True)
    panels = {
        "before": _heat_panel(picture, "before", reading, before, attention, shown),
        "after": _heat_panel(picture, "after (local)", reading, after, attention, shown),
        "difference": _heat_panel(grey, "after − before", reading, difference, change, shown),
    }
    plain = replace(picture, title="image, sinks boxed" if options.sinks_boxed else "image")
    rows: tuple[tuple[Panel, ...], ...]
    if not reading.run.layout.known:
        rows = ((panels["before"], panels["after"], panels["difference"]),)
    elif width == "column":
        rows = ((panels["before"], panels["after"]), (plain, panels["difference"]))
    else:
        rows = ((plain, panels["before"], panels["after"], panels["difference"]),)
    about = {"image": shown.image, "view": options.view}
    return Figure(
        rows=rows,
        title=" · ".join(
            part
            for part in (token_line(reading), focus_line(reading), image_line(reading, shown))
            if part
        ),
        notes=_map_notes(reading, shown, picture, attention, change, options),
        metadata={**origin("map", reading), **about},
        arrays=_map_arrays(reading),
        table=_map_table(reading),
    )


def build_histogram(reading: Reading, *, width: Width = "two-columns", bins: int = 64) -> Figure:
    """Tokens by φ in the layer in focus; τ is a line."""
    layer = reading.focus.layer
    counts = reading.phi_histogram(layer, bins)
    tau = tau_of(reading)
    sinks = sinks_by_kind(reading)
    bound = reading.run.hidden_size**0.5
    panel = HistogramPanel(
        title="",
        edges=counts.edges,
        series=(
            Series("visual", counts.visual, VISUAL_COLOUR),
            Series("text", counts.text, TEXT_COLOUR),
            Series("first token (BOS)", counts.bos, BOS_COLOUR),
        ),
        threshold=tau,
        threshold_label=f"τ = {tau:.4g}",
        label=f"sink-dimension value φ (at most √D = {bound:.1f})",
        bound=bound,
    )
    return Figure(
        rows=((panel,),),
        title=f"Sinks of layer {layer}: {sinks}",
        notes=(f"Sink dimensions {dims_of(reading)}; {reading.settings.convention} convention.",),
        metadata=origin("histogram", reading),
        arrays={
            "edges": counts.edges,
            "visual": counts.visual,
            "text": counts.text,
            "bos": counts.bos,
            "phi": reading.phi[layer],
            "sinks": reading.sinks[layer],
        },
        table={
            "phi_from": counts.edges[:-1],
            "phi_to": counts.edges[1:],
            "visual": counts.visual,
            "text": counts.text,
            "bos": counts.bos,
        },
    )


def build_heads(
    reading: Reading,
    *,
    width: Width = "two-columns",
    values: Sequence[HeadValue] = ("non_sink_ratio", "visual_mass"),
) -> Figure:
    """A quantity of every head, image-centric heads outlined, heads in focus dotted."""
    panels = tuple(
        HeadsPanel(
            title="",
            values=reading.head_value(name),
            scale=_head_scale(name, reading.head_value(name)),
            outlined=reading.image_centric,
            chosen=reading.focus.heads if len(reading.focus.heads) == 1 else (),
        )
        for name in values
    )
    rows = tuple((panel,) for panel in panels) if width == "column" else (panels,)
    dot = f" Dot: {focus_line(reading)}." if panels and panels[0].chosen else ""
    layers, heads = np.divmod(np.arange(reading.image_centric.size), reading.run.n_heads)
    arrays: dict[str, npt.NDArray[Any]] = {
        "non_sink_ratio": reading.non_sink_ratio,
        "visual_mass": reading.visual_mass,
        "sink_mass": reading.sink_mass,
        "entropy": reading.entropy,
        "image_centric": reading.image_centric,
        "changed": reading.changed,
    }
    share = f"{int(reading.image_centric.sum())} of {reading.image_centric.size}"
    return Figure(
        rows=rows,
        title=f"{token_line(reading)} · {share} heads are image-centric",
        notes=(f"Image-centric heads outlined.{dot} {acts_line(reading)}.",),
        metadata=origin("heads", reading),
        arrays=arrays,
        table={"layer": layers, "head": heads, **{k: v.ravel() for k, v in arrays.items()}},
    )


FIGURES: Mapping[str, Callable[..., Figure]] = {
    "map": build_map,
    "histogram": build_histogram,
    "heads": build_heads,
    "scatter": build_scatter,
    "head_scatter": build_head_scatter,
    "layers": build_layers,
    "hidden": build_hidden,
    "contribution": build_contribution,
    "shares": build_shares,
}
"""Figures by name."""


def _picture_panel(reading: Reading, options: MapOptions, shown: ShownViews) -> ImagePanel:
    layout = reading.run.layout
    if not layout.known:
        strip = layout.strip()
        return ImagePanel("", (strip.cols, strip.rows), None, opacity=1.0)
    cells = [layout.cell_of(int(k)) for k in np.flatnonzero(reading.visual_sinks)]
    sinks = [cell_box(layout, c) for c in cells if c is not None and c[0] in shown.views]
    if not options.sinks_boxed:
        sinks = []
    unseen, padding = unseen_and_padding(layout, shown.image)
    return ImagePanel(
        title="",
        size=layout.image_sizes[shown.image],
        picture=np.asarray(reading.run.image(shown.image).convert("RGB")),
        sinks=tuple(sinks),
        unseen=unseen,
        padding=padding,
        opacity=options.opacity,
        smooth=options.smooth,
        grey=options.grey,
    )


def _heat_panel(
    base: ImagePanel,
    title: Literal["before", "after (local)", "after − before"],
    reading: Reading,
    values: npt.NDArray[np.float32],
    scale: ColourScale,
    shown: ShownViews,
) -> ImagePanel:
    layout = reading.run.layout
    if layout.known:
        heats = tuple(
            Heat(layout.grid(view, values), layout.views[view].box) for view in shown.views
        )
    else:
        tokens = layout.strip().tokens
        grid = np.where(tokens >= 0, values[np.maximum(tokens, 0)], np.float32(np.nan))
        cols, rows = base.size
        heats = (Heat(grid, (0.0, 0.0, float(cols), float(rows))),)
    return replace(base, title=title, heats=heats, scale=scale)


def _map_notes(
    reading: Reading,
    shown: ShownViews,
    picture: ImagePanel,
    attention: ColourScale,
    change: ColourScale,
    options: MapOptions,
) -> tuple[str, ...]:
    sinks, drawn = reading.visual_sinks, shown.tokens
    notes = [
        " ".join(
            [
                heads_line(reading),
                *([sinks_line(reading, shown)] if options.sinks_boxed else []),
                f"{acts_line(reading)}.",
            ]
        ),
        beyond_line(
            attention.limits, sinks[drawn], reading.map_before[drawn], reading.map_after[drawn]
        ),
        beyond_line(change.limits, sinks[drawn], reading.map_difference[drawn], of="change"),
        f"Scale: {options.scale_name}." if options.scale_name else "",
        "Visual sinks are left bare." if options.bare_sinks else "",
    ]
    words = ["cropped away, never seen by the model"] if picture.unseen else []
    words += ["padding around the image"] if picture.padding else []
    notes += [f"Hatched: {'; '.join(words)}."] if words else []
    if not reading.run.layout.known:
        notes.append(STRIP_NOTE)
    return tuple(note for note in notes if note)


def _limits(
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
    robust: bool,
    hide: npt.NDArray[np.bool_] | None,
) -> Limits:
    if robust or hide is not None:
        return robust_limits(before, after, share=0.99 if robust else 1.0, hide=hide)
    return full_limits(before, after)


def _difference_limits(
    difference: npt.NDArray[np.float32], attention: Limits, robust: bool
) -> Limits:
    if not difference.any():
        # Nothing moved: zero everywhere, on the scale of the attention beside it.
        return Limits(-attention.high, attention.high)
    return symmetric_limits(difference, share=0.98 if robust else 1.0)


def _head_scale(name: HeadValue, values: npt.NDArray[np.float32]) -> ColourScale:
    limits = Limits(0.0, 1.0) if name == "non_sink_ratio" else full_limits(values)
    return ColourScale(limits, HEAD_COLOURS, _HEAD_LABELS[name], percent="mass" in name)


def _map_arrays(reading: Reading) -> dict[str, npt.NDArray[Any]]:
    layout = reading.run.layout
    moments: tuple[Moment, ...] = ("before", "after", "difference")
    arrays: dict[str, npt.NDArray[Any]] = {name: reading.map(name) for name in moments}
    for index in range(len(layout.views)):
        for name in moments:
            arrays[f"view{index}_{name}"] = layout.grid(index, reading.map(name))
    arrays["positions"] = layout.positions
    arrays["boxes"] = layout.boxes
    arrays["phi"] = reading.phi[reading.focus.layer, layout.positions]
    arrays["sinks"] = reading.visual_sinks
    return arrays


def _map_table(reading: Reading) -> dict[str, npt.NDArray[Any]]:
    layout = reading.run.layout
    cells = [layout.cell_of(k) or (-1, -1, -1) for k in range(layout.count)]
    view, row, col = np.asarray(cells, dtype=np.int64).reshape(-1, 3).T
    left, top, right, bottom = layout.boxes.T
    return {
        "token": np.arange(layout.count),
        "position": layout.positions,
        "view": view,
        "row": row,
        "col": col,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
        "before": reading.map_before,
        "after": reading.map_after,
        "difference": reading.map_difference,
        "phi": reading.phi[reading.focus.layer, layout.positions],
        "sink": reading.visual_sinks,
    }
