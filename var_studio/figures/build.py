"""From a reading to what is drawn: the map, the φ histogram and the atlas of heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.reading import HeadValue, Reading
from var_studio.analysis.scale import Limits, full_limits, symmetric_limits
from var_studio.analysis.views import ShownViews, choose_views
from var_studio.errors import VarStudioError
from var_studio.figures.curves import (
    build_contribution,
    build_head_scatter,
    build_hidden,
    build_layers,
    build_ledger,
    build_scatter,
    build_shares,
)
from var_studio.figures.layouts import build_many_tokens, build_maps, build_without_sinks
from var_studio.figures.layouts_heads import build_hidden_tokens, build_sorted_heads
from var_studio.figures.layouts_runs import (
    build_contribution_layers,
    build_knockout,
    build_next_token,
)
from var_studio.figures.layouts_words import build_before_after, build_text_shares
from var_studio.figures.map_panels import (
    MapOptions,
    heat_panel,
    picture_left_out,
    picture_panel,
    shared_limits,
    sink_boxes,
)
from var_studio.figures.map_rows import MapRows
from var_studio.figures.names import key_of
from var_studio.figures.origin import dims_of, origin, tau_of
from var_studio.figures.scene import Scene, Tokens
from var_studio.figures.spec import (
    BOS_COLOUR,
    TEXT_COLOUR,
    VISUAL_COLOUR,
    ColourScale,
    Figure,
    HeadsPanel,
    HistogramPanel,
    ImagePanel,
    Panel,
    Series,
    Width,
)
from var_studio.figures.two_answers import GLOBAL
from var_studio.figures.words import (
    LEFT_OUT,
    PICTURE_LEFT_OUT,
    STRIP_NOTE,
    after_left_out,
    as_made,
    bare_line,
    beyond_line,
    focus_line,
    hatched_line,
    heads_by_line,
    image_line,
    intervened_line,
    phi_notes,
    sinks_by_kind,
    sinks_unknown,
    token_line,
)
from var_studio.recording.recording import Recording

__all__ = [
    "COMPOSED",
    "FIGURES",
    "MapOptions",
    "build",
    "build_heads",
    "build_histogram",
    "build_map",
]

HEAD_COLOURS = "cividis"

_HEAD_LABELS: Mapping[HeadValue, str] = {
    "non_sink_ratio": "visual non-sink ratio r",
    "visual_mass": "visual mass (% of the row)",
    "sink_mass": "mass on sinks (% of the row)",
    "entropy": "entropy of the row (nats)",
}


def build(
    name: str,
    reading: Reading,
    *,
    width: Width = "two-columns",
    options: MapOptions | None = None,
    across: MapRows | None = None,
    tokens: Tokens | None = None,
    second: Recording | None = None,
    others: Sequence[Recording] = (),
    **about: Any,
) -> Figure:
    """Build a figure by name; `about` joins its metadata. Raises VarStudioError if unknown.

    `options` are those of figures with maps, `across` that of a map; `tokens`, `second` and
    `others` are those of composed figures: see `Scene`.
    """
    name = key_of(name)
    if name in COMPOSED:
        scene = Scene(reading, width, tokens, tuple(others), second, options or MapOptions())
        figure = COMPOSED[name](scene)
    elif name in FIGURES:
        extra = {"options": options, "across": across} if name == "map" else {}
        figure = FIGURES[name](reading, width=width, **extra)
    else:
        known = ", ".join((*FIGURES, *COMPOSED))
        raise VarStudioError(f"There is no figure {name!r}.", f"Choose {known}.")
    notes = (*figure.notes, *_intervened(name, reading, figure), *_own_rows(name, reading))
    return replace(figure, notes=notes, metadata={**figure.metadata, **about})


_ACTED = ("map", "ledger", "before_after")
"""Figures that show the row after too, and name what acted on it."""
_ROWLESS = ("histogram", "layers", "hidden", "next_token")
"""Figures of a run in which no attention row plays a part."""


def _intervened(name: str, reading: Reading, figure: Figure) -> tuple[str, ...]:
    """Of a run with interventions: whether the rows are those before them."""
    shown = figure.metadata.get("comparison") == GLOBAL or as_made(reading)
    if name == "knockout" or (name in _ACTED and shown):
        return ()
    line = intervened_line(reading, name not in _ROWLESS)
    return (line,) if line else ()


_OF_WORDS = ("shares", "maps", "many_tokens", "without_sinks", "before_after", "text_shares")
"""Figures of several words, each by its own row."""


def _own_rows(name: str, reading: Reading) -> tuple[str, ...]:
    """That rows are those of the words, where the row chosen is that of a step."""
    if name not in _OF_WORDS or reading.focus.row_of == "query":
        return ()
    return ("Each word by its own row, not by that of the step that produced it.",)


def build_map(
    reading: Reading,
    *,
    width: Width = "two-columns",
    options: MapOptions | None = None,
    across: MapRows | None = None,
) -> Figure:
    """The picture with its sinks boxed, then attention before, after and their difference.

    Before and after share one scale; the difference is centred on 0. Scales and counts are those
    of the image shown. The map is local, the reading before and after; with a second run it is
    global: the same word in two runs. Raises VarStudioError for an image or a view that the run
    does not have.
    """
    options, compared = options or MapOptions(), across or MapRows(reading, reading)
    compared = replace(compared, quantity=options.quantity)
    reading = compared.before
    shown = choose_views(reading.run.layout, options.image, options.view)
    drawn, values, sinks = shown.tokens, compared.values, compared.sinks
    limits = options.limits or shared_limits(values, sinks, drawn, options)
    apart = options.difference_limits or _difference_limits(
        values["difference"][drawn], limits, options.robust
    )
    bent = f", gamma {options.gamma:g}" if options.gamma != 1.0 else ""
    percent = options.quantity == "attention"
    label = "attention α (% of the row)" if percent else "contribution α·‖v Wₒ‖"
    attention = ColourScale(
        limits, options.colour_map, f"{label}{bent}", percent=percent, gamma=options.gamma
    )
    change = ColourScale(
        apart,
        options.difference_map,
        f"change {'(% of the row)' if percent else 'of the contribution'}{bent}",
        percent=percent,
        centred=True,
        gamma=options.gamma,
    )
    picture = picture_panel(reading, options, shown)
    panels = {}
    for name, map_ in values.items():
        bare = np.where(sinks[name] & options.bare_sinks, np.float32(np.nan), map_)
        base = replace(picture, sinks=sink_boxes(reading, sinks[name], options, shown))
        scale = attention
        if name == "difference":
            base, scale = replace(base, grey=True), change
        panels[name] = heat_panel(base, compared.titles[name], reading, bare, scale, shown)
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
        notes=_map_notes(compared, shown, picture, attention, change, options),
        metadata={**compared.about(), **about},
        arrays=compared.arrays(),
        table=compared.table(),
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
            Series("BOS", counts.bos, BOS_COLOUR),
        ),
        threshold=tau,
        threshold_label=f"τ = {tau:.4g}",
        label=f"sink-dimension value φ (at most √D = {bound:.1f})",
        bound=bound,
    )
    return Figure(
        rows=((panel,),),
        title=f"Sinks of layer {layer}: {sinks}",
        notes=(
            f"Sink dimensions {dims_of(reading)}; {reading.settings.convention} convention.",
            *phi_notes(reading, layer),
        ),
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
    missing = [name for name in values if np.isnan(reading.head_value(name)).all()]
    unknown = [f"{_HEAD_LABELS[name].capitalize()} is {LEFT_OUT}." for name in missing]
    share = f"{int(reading.image_centric.sum())} of {reading.image_centric.size}"
    return Figure(
        rows=rows,
        title=f"{token_line(reading)} · {share} heads are image-centric",
        notes=(
            f"Image-centric heads outlined.{dot} {heads_by_line(reading.settings)}.",
            *unknown,
            *sinks_unknown(reading),
        ),
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
    "ledger": build_ledger,
    "shares": build_shares,
}
"""Figures of a reading by name."""

COMPOSED: Mapping[str, Callable[[Scene], Figure]] = {
    "maps": build_maps,
    "many_tokens": build_many_tokens,
    "without_sinks": build_without_sinks,
    "before_after": build_before_after,
    "sorted_heads": build_sorted_heads,
    "hidden_tokens": build_hidden_tokens,
    "text_shares": build_text_shares,
    "contribution_layers": build_contribution_layers,
    "knockout": build_knockout,
    "next_token": build_next_token,
}
"""Composed figures by name."""


def _map_notes(
    compared: MapRows,
    shown: ShownViews,
    picture: ImagePanel,
    attention: ColourScale,
    change: ColourScale,
    options: MapOptions,
) -> tuple[str, ...]:
    drawn = shown.tokens
    sinks = (compared.sinks["before"] | compared.sinks["after"])[drawn]
    values = {name: map_[drawn] for name, map_ in compared.values.items()}
    notes = [
        compared.note(shown),
        beyond_line(
            attention.limits,
            sinks,
            values["before"],
            values["after"],
            percent=attention.percent,
        ),
        beyond_line(
            change.limits, sinks, values["difference"], of="change", percent=change.percent
        ),
        f"Scale: {options.scale_name}." if options.scale_name else "",
        bare_line(options),
    ]
    notes.append(hatched_line(picture))
    notes.append(after_left_out(compared.after))
    notes.append(PICTURE_LEFT_OUT if picture_left_out(compared.before.run, shown) else "")
    if not compared.before.run.layout.known:
        notes.append(STRIP_NOTE)
    return tuple(note for note in notes if note)


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
