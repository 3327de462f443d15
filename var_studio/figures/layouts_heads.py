"""Composed figures of one word: heads sorted by r (Fig. 4), hidden states with their cells (Fig. 2
and 7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.profiles import TokenProfile, profile, profiles
from var_studio.analysis.scale import robust_limits
from var_studio.analysis.sorted_heads import SortedHeads, share_of_image, sorted_heads
from var_studio.analysis.views import ShownViews, choose_views
from var_studio.errors import VarStudioError
from var_studio.figures.curves import profile_panel
from var_studio.figures.map_panels import heat_panel, picture_panel, sink_boxes
from var_studio.figures.origin import dims_of
from var_studio.figures.scene import Scene, token_name
from var_studio.figures.spec import (
    CENTRIC_COLOUR,
    PLAIN_COLOUR,
    ColourScale,
    Figure,
    Gap,
    ImagePanel,
    Level,
    Marks,
    Panel,
    PlotPanel,
    Scale,
    Width,
)
from var_studio.figures.words import (
    beyond_line,
    hatched_line,
    image_line,
    sinks_line,
    sinks_rule,
    token_line,
)

_SIDE_BY_SIDE: dict[Width, int] = {"column": 3, "two-columns": 6, "slide": 5}
_CURVE: dict[Width, float] = {"column": 0.35, "two-columns": 0.18, "slide": 0.13}
"""Height over width of the curve of r."""


def build_sorted_heads(scene: Scene) -> Figure:
    """The heads with the largest r and those with the smallest, with their maps (Fig. 4).

    Raises VarStudioError where no head looks at the image.
    """
    reading = scene.reading
    found = sorted_heads(reading)
    n = len(found.ratio)
    if not n:
        raise VarStudioError(
            f"No head has a visual mass of {reading.settings.mass_min:g} at {token_line(reading)}.",
            "Choose another token, or a smaller least visual mass.",
        )
    each = min(_SIDE_BY_SIDE[scene.width], max(n // 2, 1))
    ranks = (range(each), range(n - each, n)) if n > 1 else (range(1),)
    views = choose_views(scene.run.layout, scene.options.image, scene.options.view)
    panels, notes, drawn = _head_maps(scene, found, [list(part) for part in ranks], views)
    order = np.arange(1, n + 1)
    centric = reading.image_centric[found.layers, found.heads]
    curve = PlotPanel(
        title="",
        marks=tuple(
            Marks(name, "dots", order[mask], found.ratio[mask], colour, 2.4)
            for name, mask, colour in (
                ("other heads", ~centric, PLAIN_COLOUR),
                ("image-centric", centric, CENTRIC_COLOUR),
            )
        ),
        x=Scale("rank of the head by r", 0.0, n + 1.0, whole=True),
        y=Scale("r", 0.0, 1.05),
        levels=(Level(reading.settings.rho, f"ρ = {reading.settings.rho:g}", upright=False),),
        aspect=_CURVE[scene.width],
    )
    left = [f"{found.below} others below it"] if found.below else []
    left += [f"{found.bare} in layers without visual sinks left out"] if found.bare else []
    rest = f" ({', '.join(left)})" if left else ""
    columns: dict[str, npt.NDArray[Any]] = {
        "rank": order,
        "layer": found.layers,
        "head": found.heads,
        "non_sink_ratio": found.ratio,
        "visual_mass": found.mass,
        "image_centric": centric,
    }
    parts = (token_line(reading), "heads by visual non-sink ratio r", image_line(reading, views))
    return Figure(
        rows=(*panels, (curve,)),
        title=" · ".join(part for part in parts if part),
        notes=(
            f"{n} heads with a visual mass of at least "
            f"{reading.settings.mass_min:g}{rest}. L, H: layer, head.",
            *notes,
        ),
        metadata=scene.about("sorted_heads", [reading.chosen]),
        arrays={**columns, **drawn},
        table=columns,
    )


def _head_maps(
    scene: Scene, found: SortedHeads, parts: list[list[int]], views: ShownViews
) -> tuple[tuple[tuple[Panel, ...], ...], tuple[str, ...], dict[str, npt.NDArray[Any]]]:
    """A row of maps for each part of the order, what is to be said of them, and their numbers."""
    reading, options = scene.reading, scene.options
    ranks = [rank for part in parts for rank in part]
    shares = {r: share_of_image(reading, found.layers[r], found.heads[r]) for r in ranks}
    sinks = {r: (reading.sinks[found.layers[r]] & reading.visual)[reading.positions] for r in ranks}
    drawn = np.concatenate([shares[r][views.tokens] for r in ranks])
    hidden = np.concatenate([sinks[r][views.tokens] for r in ranks])
    limits = options.limits or robust_limits(drawn, hide=hidden)
    scale = ColourScale(
        limits,
        options.colour_map,
        "share of visual mass (%)",
        percent=True,
        gamma=options.gamma,
    )
    picture = picture_panel(reading, options, views)
    rows = []
    for part in parts:
        row = []
        for r in part:
            base = replace(picture, sinks=sink_boxes(reading, sinks[r], options, views))
            name = f"r = {found.ratio[r]:.2f} · L{found.layers[r]} H{found.heads[r]}"
            row.append(heat_panel(base, name, reading, shares[r], scale, views))
        rows.append(tuple(row))
    beyond = beyond_line(limits, hidden, drawn).replace("token", "cell")
    boxed = "Boxed: the visual sinks of its layer." if options.sinks_boxed else ""
    told = "Maps: each cell's share of all attention that the head gives to visual tokens."
    lines = (
        " ".join(part for part in (told, boxed, sinks_rule(reading)) if part),
        beyond,
        hatched_line(picture),
    )
    arrays: dict[str, npt.NDArray[Any]] = {
        "maps": np.stack([shares[r] for r in ranks]),
        "maps_rank": np.array(ranks) + 1,
        "sinks": np.stack([sinks[r] for r in ranks]),
        "visual_positions": reading.positions,
        "boxes": scene.run.layout.boxes,
    }
    return tuple(rows), tuple(line for line in lines if line), arrays


def build_hidden_tokens(scene: Scene) -> Figure:
    """Hidden states of BOS, a visual sink, another visual token and text tokens, the sink
    dimensions in colour, beside the map in which the visual two are boxed (Fig. 2 and 7)."""
    reading, run = scene.reading, scene.run
    views = choose_views(run.layout, scene.options.image, scene.options.view)
    compared = profiles(reading)
    texts = [p for p in (scene.tokens_named or (reading.chosen,)) if not run.visual[p]]
    shown = [*compared, *(profile(reading, p, "chosen") for p in texts if p)]
    top = 1.08 * max([1.0, *(float(p.magnitudes.max(initial=0.0)) for p in shown)])
    column = scene.width == "column"
    panels: list[Panel] = []
    for each in shown:
        panel = profile_panel(each, run.hidden_size, top, 0.3 if column else 0.6)
        if each.kind == "chosen":
            panel = replace(panel, title=token_name(run, each.position))
        panels.append(panel)
    map_ = _boxed_map(scene, compared, views)
    rows: list[tuple[Panel, ...]]
    if column:
        picture = replace(picture_panel(reading, scene.options, views), title="image")
        beside: Panel = picture if run.layout.known else Gap()
        rows = [(beside, map_), *((panel,) for panel in panels)]
    else:
        firsts: list[Panel] = [map_, *(Gap() for _ in range(2, len(panels), 2))]
        rows = [(first, *_pair(panels[2 * n : 2 * n + 2])) for n, first in enumerate(firsts)]
    columns: dict[str, npt.NDArray[Any]] = {
        "position": np.concatenate([np.full(len(p.dims), p.position) for p in shown]),
        "token": np.concatenate([np.full(len(p.dims), p.token) for p in shown]),
        "kind": np.concatenate([np.full(len(p.dims), p.kind) for p in shown]),
        "dimension": np.concatenate([p.dims for p in shown]),
        "magnitude": np.concatenate([p.magnitudes for p in shown]),
    }
    layer, hatched = reading.focus.layer, hatched_line(map_)
    parts = (
        f"Hidden states at the input of layer {layer}",
        token_line(reading),
        image_line(reading, views),
    )
    return Figure(
        rows=tuple(rows),
        title=" · ".join(part for part in parts if part),
        notes=(
            f"Sink dimensions {dims_of(reading)} in colour. Hatched foot: below the 16th largest, "
            f"not recorded. {sinks_line(reading, views)} {sinks_rule(reading)}".rstrip(),
            "Visual non-sink: the one with the most attention, "
            + ("boxed in yellow." if map_.others else "which lies outside the picture shown."),
            *((hatched,) if hatched else ()),
        ),
        metadata=scene.about("hidden_tokens", [p.position for p in shown]),
        arrays={
            **columns,
            "sink_dims": np.array(shown[0].sink_dims, dtype=np.int64),
            "sink_magnitudes": np.stack([p.sink_magnitudes for p in shown]),
            "token_positions": np.array([p.position for p in shown], dtype=np.int64),
            "floors": np.array([np.nan if p.floor is None else p.floor for p in shown]),
            "map": reading.map_before,
            "sinks": reading.visual_sinks,
            "visual_positions": reading.positions,
            "boxes": run.layout.boxes,
        },
        table=columns,
    )


def _boxed_map(scene: Scene, shown: tuple[TokenProfile, ...], views: ShownViews) -> ImagePanel:
    reading, options = scene.reading, scene.options
    values, sinks = reading.map_before, reading.visual_sinks
    limits = options.limits or robust_limits(
        values[views.tokens], hide=sinks[views.tokens] if options.hide_sinks else None
    )
    scale = ColourScale(limits, options.colour_map, "attention α (% of the row)", percent=True)
    ordinary = np.zeros(len(values), dtype=bool)
    ordinary[[p.token for p in shown if p.kind == "ordinary"]] = True
    boxes = sink_boxes(reading, ordinary, replace(options, sinks_boxed=True), views)
    base = replace(picture_panel(reading, options, views), others=boxes)
    return heat_panel(base, token_name(scene.run, reading.chosen), reading, values, scale, views)


def _pair(panels: list[Panel]) -> tuple[Panel, Panel]:
    return (panels[0] if panels else Gap()), (panels[1] if len(panels) > 1 else Gap())
