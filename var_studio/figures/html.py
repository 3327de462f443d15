"""Panels of a figure as HTML: the same plain data that `render` draws, for a page in a browser.

All text is escaped. Cells are one pixel each in a PNG that the browser enlarges without smoothing.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import placed
from var_studio.figures.draw_words import WordsPanel
from var_studio.figures.spec import BOS_COLOUR, ColourScale, HeadsPanel, HistogramPanel, ImagePanel
from var_studio.figures.words import hatched_line
from var_studio.recording.layout import Box

_INSET = 0.16
"""From the edge of a cell to the frame in it, in cells."""
LARGEST_SIDE = 1000
"""Pixels of the longer side of a picture on a page; a larger one is reduced."""


def picture_url(picture: npt.NDArray[np.uint8]) -> str:
    """A picture (h, w, 3) as a data URL: PNG, or JPEG where that is much smaller."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    image.save(jpeg, "JPEG", quality=88)
    if len(png.getvalue()) <= 2 * len(jpeg.getvalue()):
        return _url(png.getvalue(), "png")
    return _url(jpeg.getvalue(), "jpeg")


def image_panel(panel: ImagePanel, picture: str) -> str:
    """A picture with its map and boxed sinks. `picture`: the class whose background it is; empty
    where there is none."""
    left, top, right, bottom = panel.extent
    inside = ""
    if picture:
        grey = " grey" if panel.grey and panel.heats else ""
        whole = (0.0, 0.0, float(panel.size[0]), float(panel.size[1]))
        inside = f'<div class="{picture}{grey}" style="{_at(whole, panel)}"></div>'
    for heat in panel.heats if panel.scale is not None else ():
        assert panel.scale is not None
        fade = panel.scale.centred and panel.picture is not None
        pixels = heat_pixels(heat.values, panel.scale, panel.opacity, fade)
        inside += (
            f'<img class="heat" alt="" src="{pixels_url(pixels)}" style="{_at(heat.box, panel)}">'
        )
    boxes = "".join(_box_path(box) for box in panel.sinks)
    hatched = "".join(_box_path(box) for box in (*panel.unseen, *panel.padding))
    inside += (
        f'<svg aria-hidden="true" viewBox="{left:g} {top:g} {right - left:g} {bottom - top:g}" '
        f'preserveAspectRatio="none"><path class="unseen" d="{hatched}"/>'
        f'<path class="sink" d="{boxes}"/></svg>'
    )
    bar = colour_bar(panel.scale) if panel.scale is not None else ""
    said = escape(f"{panel.title}. {_largest(panel)}{len(panel.sinks)} sinks boxed.")
    return (
        f'<figure class="map"><figcaption>{escape(panel.title)}</figcaption>'
        f'<div class="stage" role="img" aria-label="{said}" '
        f'style="aspect-ratio:{right - left:g}/{bottom - top:g}">{inside}</div>{bar}</figure>'
    )


def unseen_key(panel: ImagePanel) -> str:
    """What is grey in a map; nothing where nothing is."""
    words = hatched_line(panel).removeprefix("Hatched: ").removesuffix(".")
    if not words:
        return ""
    return f'<p class="legend"><span class="key"><i class="grey"></i>{escape(words)}</span></p>'


def heads_panel(panel: HeadsPanel, outline: str, defines: bool) -> str:
    """Layers from top to bottom, heads from left to right; outlined ones in a frame each.

    `outline`: the id of that frame on the page, which the first panel that has it `defines`.
    """
    n_layers, n_heads = panel.values.shape
    pixels = heat_pixels(panel.values, panel.scale, 1.0, False)
    frame, side = "", 1 - 2 * _INSET
    if defines:
        lines = "".join(
            f"M{head + _INSET:g} {layer + _INSET:g}h{side:g}v{side:g}h-{side:g}z"
            for layer, head in np.argwhere(panel.outlined).tolist()
        )
        frame = (
            f'<defs><path id="{outline}" vector-effect="non-scaling-stroke" d="{lines}"/></defs>'
        )
    count, fine = int(panel.outlined.sum()), " fine" if max(n_layers, n_heads) > 16 else ""
    said = escape(f"{panel.scale.label}, {n_layers} layers by {n_heads} heads; {count} outlined.")
    return (
        f'<figure class="heads{fine}"><figcaption>{escape(panel.scale.label)}</figcaption>'
        f'<div class="atlas">{_numbers(n_layers, "top")}'
        f'<div class="stage" role="img" aria-label="{said}" '
        f'style="aspect-ratio:{n_heads}/{n_layers}">'
        f'<img class="heat" alt="" src="{pixels_url(pixels)}" style="inset:0">'
        f'<svg aria-hidden="true" viewBox="0 0 {n_heads} {n_layers}" preserveAspectRatio="none">'
        f'{frame}<use class="around" href="#{outline}"/><use class="centric" href="#{outline}"/>'
        f'</svg></div>{_numbers(n_heads, "left")}</div><p class="axis">layer ↓ · head →</p>'
        f"{colour_bar(panel.scale, name=False)}</figure>"
    )


def _numbers(count: int, side: str) -> str:
    """Numbers beside the cells of an axis, at most eight, each at the middle of its cell."""
    step = next(s for s in (1, 2, 4, 5, 8, 10, 16, 20, 32, 50, count) if count <= 8 * s)
    marks = "".join(
        f'<span style="{side}:{100 * (n + 0.5) / count:.3f}%">{n}</span>'
        for n in range(0, count, step)
    )
    return f'<div class="ticks {side}" aria-hidden="true">{marks}</div>'


def histogram_panel(panel: HistogramPanel, title: str) -> str:
    """Bars with a logarithmic count, the threshold a dashed line."""
    wide, high, floor = 640.0, 190.0, 0.7
    end = max(float(panel.bound or panel.edges[-1]), 1e-6)
    top = max(1, *(int(series.counts.max(initial=1)) for series in panel.series)) * 1.6

    def x(value: float) -> float:
        return wide * min(value / end, 1.0)

    def y(count: float) -> float:
        part = np.log(max(count, floor) / floor) / np.log(top / floor)
        return high * (1 - float(part))

    shapes = []
    for series in panel.series:
        bars = "".join(
            f"M{x(a):.2f} {high:g}V{y(n):.2f}H{x(b):.2f}V{high:g}Z"
            for a, b, n in zip(panel.edges, panel.edges[1:], series.counts.tolist(), strict=False)
            if n
        )
        shapes.append(f'<path d="{bars}" fill="{_ink(series.colour)}" class="bars"/>')
    ticks = "".join(
        f'<text x="{x(v):.1f}" y="{high + 16:g}" text-anchor="middle">{v:g}</text>'
        for v in _ticks(end)
    )
    counts = [n for n in (1, 10, 100, 1000, 10000) if n <= top]
    ticks += "".join(
        f'<text x="-6" y="{y(n) + 4:.1f}" text-anchor="end">{n}</text>' for n in counts
    )
    line = x(panel.threshold)
    legend = " ".join(
        f'<span class="key"><i style="background:{_ink(s.colour)}"></i>{escape(s.name)} '
        f"({int(s.counts.sum())})</span>"
        for s in panel.series
    )
    return (
        f'<figure class="histogram"><figcaption>{escape(title)}</figcaption>'
        f'<svg role="img" aria-label="{escape(title)}" viewBox="-46 -18 {wide + 60:g} '
        f'{high + 54:g}">{"".join(shapes)}<path class="threshold" d="M{line:.1f} 0V{high:g}"/>'
        f'<text class="threshold" x="{line:.1f}" y="-5" text-anchor="middle">'
        f"{escape(panel.threshold_label)}</text>"
        f'<path class="line" d="M0 {high:g}H{wide:g}"/>{ticks}'
        f'<text x="{wide / 2:g}" y="{high + 34:g}" text-anchor="middle">{escape(panel.label)}'
        f'</text></svg><p class="legend">{legend}</p></figure>'
    )


def words_panel(panel: WordsPanel) -> str:
    """Two answers word under word; those that differ are underlined, in a colour for each."""

    def cell(text: str | None, differs: bool, parts: bool) -> str:
        kinds = (("differs", differs), ("parts", parts), ("none", text is None))
        kind = " ".join(name for name, on in kinds if on)
        shown = "–" if text is None else escape(text)
        told = f"<mark>{shown}</mark>" if differs and text is not None else shown
        return f'<td class="{kind}">{told}</td>'

    blocks = []
    for start in range(0, len(panel.columns), _COLUMNS):
        columns = panel.columns[start : start + _COLUMNS]
        lines = ""
        for name, side in zip(panel.names, ("first", "second"), strict=True):
            cells = "".join(cell(getattr(c, side), c.differs, c.parts) for c in columns)
            lines += f'<tr class="{side}"><th scope="row">{escape(name)}</th>{cells}</tr>'
        blocks.append(f"<table>{lines}</table>")
    return f'<div class="words">{"".join(blocks)}</div>'


_COLUMNS = 8
"""Words of one line of two answers: as many as fit on a page; a phone scrolls it."""


def heat_pixels(
    values: npt.NDArray[Any], scale: ColourScale, opacity: float, fade: bool
) -> npt.NDArray[np.uint8]:
    """(rows, cols, 4): a pixel for each cell, clear where there is no value. `fade`: the nearer to
    the middle of the scale, the clearer."""
    from matplotlib import colormaps

    low, high = scale.limits.low, scale.limits.high
    at = placed(values, low, high, scale.gamma)
    known = np.isfinite(values)
    colours = colormaps[scale.colour_map](np.where(known, at, 0.0))
    clear = np.abs(2 * at - 1) if fade else 1.0
    colours[..., 3] = np.where(known, opacity * clear, 0.0)
    return np.round(255 * colours).astype(np.uint8)


def pixels_url(pixels: npt.NDArray[np.uint8]) -> str:
    """An image (rows, cols, 4) as a data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return _url(buffer.getvalue(), "png")


def colour_bar(scale: ColourScale, name: bool = True) -> str:
    """The colours from the lowest to the highest value, with both numbers."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    values = np.linspace(scale.limits.low, scale.limits.high, 13)
    at = placed(values, scale.limits.low, scale.limits.high, scale.gamma)
    stops = ",".join(to_hex(colour) for colour in colormaps[scale.colour_map](at))
    factor = 100.0 if scale.percent else 1.0
    low, high = (_number(factor * end) for end in (scale.limits.low, scale.limits.high))
    more = "≥ " if scale.limits.clipped else ""
    less = "≤ " if scale.limits.clipped and scale.centred else ""
    label = f"<b>{escape(scale.label)}</b>" if name else ""
    return (
        f'<p class="bar"><i style="background:linear-gradient(90deg,{stops})"></i>'
        f"<span>{less}{low}</span><span>{more}{high}</span>{label}</p>"
    )


def _ink(colour: str) -> str:
    """What is black on paper has the colour of the text on a page, which may be dark."""
    return "currentColor" if colour == BOS_COLOUR else escape(colour)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _largest(panel: ImagePanel) -> str:
    """Where the map is largest, in words."""
    if not panel.heats or panel.scale is None:
        return ""
    heat = max(panel.heats, key=lambda heat: float(np.nanmax(np.abs(heat.values), initial=0.0)))
    if not np.isfinite(heat.values).any():
        return ""
    row, col = np.unravel_index(np.nanargmax(np.abs(heat.values)), heat.values.shape)
    factor, unit = (100.0, " %") if panel.scale.percent else (1.0, "")
    value = _number(factor * float(heat.values[row, col]))
    return f"Largest: {value}{unit} in row {row + 1}, column {col + 1} of the cells. "


def _at(box: Box, panel: ImagePanel) -> str:
    left, top, right, bottom = panel.extent
    wide, high = right - left, bottom - top
    x, y = 100 * (box[0] - left) / wide, 100 * (box[1] - top) / high
    w, h = 100 * (box[2] - box[0]) / wide, 100 * (box[3] - box[1]) / high
    return f"left:{x:.4f}%;top:{y:.4f}%;width:{w:.4f}%;height:{h:.4f}%"


def _box_path(box: Box) -> str:
    left, top, right, bottom = (f"{edge:.6g}" for edge in box)
    return f"M{left} {top}H{right}V{bottom}H{left}Z"


def _ticks(end: float) -> list[float]:
    step = 10 ** np.floor(np.log10(end))
    for part in (0.1, 0.2, 0.5, 1.0):
        if end / (step * part) <= 8:
            return [float(v) for v in np.arange(0, end * 1.0001, step * part)]
    return [0.0]


def _url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
