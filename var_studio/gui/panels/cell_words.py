"""What the Image panel says of one visual token, of several, and of those it cannot show."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from var_studio.figures.words import count, phi_undefined
from var_studio.gui.panels.image_maps import Maps
from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.focus import TokenReading
    from var_studio.analysis.reading import Reading


def cell_text(reading: Reading, maps: Maps, token: int, sign: str = "α") -> str:
    """Index, position, view and cell, pixels, attention, rank, φ, sink or not. `sign`: that of
    the quantity of the maps."""
    cell = reading.token(token)
    layout = reading.run.layout
    parts = [f"visual token {token}", f"position {cell.position}"]
    if cell.row >= 0 and layout.known:
        view = layout.views[cell.view]
        several = len(layout.image_sizes) > 1
        where = f"image {view.image + 1} " if several else ""
        where += f"{view.name} " if len(layout.views) > 1 else ""
        parts.append(f"{where}cell ({cell.row}, {cell.col})")
        if cell.box is None:
            parts.append("padding")
    elif layout.known:
        parts.append("no patch: newline or separator")
    if cell.box is not None and layout.known:
        left, top, right, bottom = (round(side) for side in cell.box)
        parts.append(f"pixels {left}–{right} × {top}–{bottom}")
    values = maps.first
    rank = 1 + int((values > values[token]).sum())
    parts += [f"{sign} {change_text(maps, token)}", f"rank {rank} of {len(values)}"]
    if sign != "α":
        parts.append(f"α {number_text(cell.alpha)}")
    parts += phi_words(reading, cell)
    return " · ".join(parts)


def phi_words(reading: Reading, cell: TokenReading) -> list[str]:
    """A token's φ or what is known of it, and whether it is a sink, as far as that is known."""
    if phi_undefined(reading):
        return ["φ undefined"]
    if math.isnan(cell.phi_bound):
        return ["φ unknown"]
    phi = f"below {number_text(cell.phi_bound)}" if math.isnan(cell.phi) else number_text(cell.phi)
    kind = "sink or not: unknown" if cell.undecided else "sink" if cell.sink else "not a sink"
    return [f"φ {phi}", kind]


def cells_text(reading: Reading, maps: Maps, cells: Collection[int], sign: str = "α") -> str:
    """What several picked cells get together, and from which head most."""
    tokens = sorted(cells)
    parts = [f"{count(len(tokens), 'cell')} picked", f"{sign} {_sum_text(maps, tokens)}"]
    given = reading.attention[..., reading.positions[tokens]].sum(axis=-1)
    layer, head = np.unravel_index(int(given.argmax()), given.shape)
    parts.append(f"most α from layer {layer} head {head}: {number_text(float(given[layer, head]))}")
    sinks = int(reading.visual_sinks[tokens].sum())
    among = count(sinks, "sink") if sinks else "no sink"
    parts.append(f"{among} of layer {reading.focus.layer} among them")
    return " · ".join(parts)


def change_text(maps: Maps, token: int) -> str:
    """One token's attention; with its change where there is one: in full, or, where the first
    digits stay the same, as the difference."""
    return _change(
        float(maps.first[token]),
        None if maps.before is None or maps.after is None else float(maps.after[token]),
    )


def _sum_text(maps: Maps, tokens: list[int]) -> str:
    return _change(
        float(maps.first[tokens].sum()),
        None if maps.before is None or maps.after is None else float(maps.after[tokens].sum()),
    )


def _change(first: float, after: float | None) -> str:
    text = number_text(first)
    if after is None or after == first:
        return text
    if number_text(after) != text:
        return f"{text} → {number_text(after)}"
    sign = "+" if after > first else ""
    return f"{text} ({sign}{number_text(after - first)})"


def sinks_elsewhere(reading: Reading, scene: HeatScene) -> str:
    """How many of the layer's visual sinks lie in other views than this; empty for none."""
    sinks = np.flatnonzero(reading.visual_sinks)
    away = sum(int(k) not in scene.tokens for k in sinks)
    return f"{away} of {count(len(sinks), 'sink')} elsewhere" if away else ""


def scene_text(scene: HeatScene) -> str:
    """A picture's view as the switcher names it."""
    return f"{scene.title} · {count(len(scene.tokens), 'token')}"
