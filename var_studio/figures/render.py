"""Draws a figure with matplotlib's object API: PDF, SVG or PNG, byte for byte alike.

The layout is computed here in inches rather than by matplotlib, so that panels keep the picture's
geometry and a column stays a column.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from var_studio import assets
from var_studio.errors import VarStudioError
from var_studio.figures import draw
from var_studio.figures.draw_plot import draw_plot, plot_room
from var_studio.figures.draw_words import WordsPanel, draw_words, words_height
from var_studio.figures.spec import (
    WIDTHS,
    ColourScale,
    Figure,
    HeadsPanel,
    HistogramPanel,
    ImagePanel,
    Panel,
    PlotPanel,
    Width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

FORMATS = ("pdf", "svg", "png")

# Widths of a letter: a model of six layers need not fill a page.
_LARGEST_CELL = 3.5

# Widths of a letter: the label of a colour bar needs as much, however narrow the picture.
_LEAST_BAR = 13.0


class FigureError(VarStudioError):
    """A figure that cannot be drawn or written."""


@dataclass(frozen=True, slots=True)
class _Insets:
    """Room around the inner axes of a panel, in inches."""

    left: float
    right: float
    top: float
    bottom: float


def render(figure: Figure, width: Width = "two-columns") -> Drawing:
    """Return the matplotlib Figure of a spec, at its printed size. Raises FigureError.

    For a notebook. Write files with `save`: matplotlib's own settings at the time of saving would
    decide about fonts.
    """
    with _style(width):
        return _compose(figure, WIDTHS[width])


def to_bytes(figure: Figure, suffix: str, *, width: Width = "two-columns", dpi: int = 300) -> bytes:
    """The file's content. `suffix` is pdf, svg or png; `dpi` counts for PNG only.

    The same figure gives the same bytes: no dates, no random names. Raises FigureError.
    """
    if suffix not in FORMATS:
        raise FigureError(f"Figures cannot be written as {suffix!r}.", "Use .pdf, .svg or .png.")
    if not 10 <= dpi <= 2400:
        raise FigureError(f"{dpi} dpi is out of range.", "Choose 10 to 2400.")
    buffer = io.BytesIO()
    with _style(width):
        drawing = _compose(figure, WIDTHS[width])
        drawing.savefig(buffer, format=suffix, dpi=dpi, metadata=_metadata(figure, suffix))
    return buffer.getvalue()


def save(
    figure: Figure, path: str | os.PathLike[str], *, width: Width = "two-columns", dpi: int = 300
) -> Path:
    """Write the figure; the format follows from the name. Returns the path. Raises FigureError."""
    path = Path(path)
    content = to_bytes(figure, path.suffix.lower().lstrip("."), width=width, dpi=dpi)
    return write_whole(path, content)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file completely or not at all. Raises FigureError."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise FigureError(
            f"{path} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from error
    return path


@contextmanager
def _style(width: Width) -> Iterator[None]:
    import matplotlib

    if width not in WIDTHS:
        raise FigureError(f"There is no width {width!r}.", f"Use {', '.join(WIDTHS)}.")
    names = ["paper", "slide"] if width == "slide" else ["paper"]
    # matplotlib's own defaults first, so that a user's matplotlibrc cannot change a figure.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A token in a script that the font lacks is drawn as a box; that is no reason to fail.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        for name in names:
            path = assets.resource("styles", f"{name}.mplstyle")
            matplotlib.rcParams.update(
                matplotlib.rc_params_from_file(path, use_default_template=False)
            )
        yield


def _compose(figure: Figure, width: float) -> Drawing:
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    em = float(matplotlib.rcParams["font.size"]) / 72
    margin, gap = 0.6 * em, 1.1 * em
    title = _wrapped(figure.title, width - 2 * margin, 1.2 * em)
    notes = [line for note in figure.notes for line in _wrapped(note, width - 2 * margin, 0.9 * em)]
    head = margin + (len(title) * 1.55 * em + 0.2 * em if title else 0)
    foot = margin + (len(notes) * 1.3 * em + 0.5 * em if notes else 0)
    rows = [_measure(row, width - 2 * margin, gap, em) for row in figure.rows]
    height = head + foot + sum(row.height for row in rows) + gap * (len(rows) - 1)
    if not math.isfinite(height) or not rows:
        raise FigureError("There is nothing to draw in this figure.")

    drawing = Drawing(figsize=(width, height))
    for index, line in enumerate(title):
        _text(drawing, margin, height - margin - index * 1.55 * em, line, width, height, 1.2 * em)
    for index, line in enumerate(reversed(notes)):
        y = margin + (index + 1) * 1.3 * em
        _text(drawing, margin, y, line, width, height, 0.9 * em, colour="#4d4d4d")
    top = height - head
    for row in rows:
        row.draw(drawing, margin, top, width, height)
        top -= row.height + gap
    return drawing


@dataclass(frozen=True, slots=True)
class _Row:
    """Panels side by side, all inner axes equally wide; sizes in inches.

    `slack` is what each panel has to spare: pictures too tall for their width stand apart by it,
    so that titles and colour bars have room; other panels stay together in the middle.
    """

    panels: tuple[Panel, ...]
    insets: tuple[_Insets, ...]
    inner: float
    gap: float
    em: float
    slack: float
    bars: bool

    @property
    def inner_height(self) -> float:
        return max(self.tall(panel) for panel in self.panels)

    def tall(self, panel: Panel) -> float:
        """Height of the inner axes."""
        if isinstance(panel, WordsPanel):
            return words_height(panel, self.inner, self.em)
        return self.inner * draw.panel_aspect(panel)

    @property
    def height(self) -> float:
        around = max(i.top for i in self.insets) + max(i.bottom for i in self.insets)
        return self.inner_height + around + (4.9 * self.em if self.bars else 0)

    def draw(self, drawing: Drawing, left: float, top: float, width: float, height: float) -> None:
        def add(x: float, y: float, w: float, h: float) -> Axes:
            return drawing.add_axes((x / width, y / height, w / width, h / height))

        ceiling = top - max(i.top for i in self.insets)
        pictures = all(isinstance(panel, ImagePanel) for panel in self.panels)
        apart = self.slack if pictures else 0.0
        x = left + (0.0 if pictures else self.slack * len(self.panels) / 2)
        bar_width = max(self.inner, min(self.inner + apart, _LEAST_BAR * self.em))
        spans: list[tuple[ColourScale, float, float]] = []
        for panel, inset in zip(self.panels, self.insets, strict=True):
            x += inset.left
            tall = self.tall(panel)
            axes = add(x, ceiling - tall, self.inner, tall)
            if isinstance(panel, ImagePanel):
                draw.draw_image(axes, panel)
                if panel.scale is not None:
                    if spans and spans[-1][0] == panel.scale:
                        spans[-1] = (panel.scale, spans[-1][1], x + self.inner)
                    else:
                        spans.append((panel.scale, x, x + bar_width))
            elif isinstance(panel, HistogramPanel):
                draw.draw_histogram(axes, panel)
            elif isinstance(panel, PlotPanel):
                draw_plot(axes, panel)
            elif isinstance(panel, WordsPanel):
                draw_words(axes, panel, self.inner, self.em)
            else:
                draw.draw_heads(axes, panel)
                bar = add(x + self.inner + 0.9 * self.em, ceiling - tall, 0.9 * self.em, tall)
                draw.draw_colour_bar(drawing, bar, panel.scale, vertical=True)
            x += self.inner + inset.right + self.gap + apart
        base = ceiling - self.inner_height
        for scale, start, end in spans:
            bar = add(start, base - 1.4 * self.em, end - start, 0.8 * self.em)
            draw.draw_colour_bar(drawing, bar, scale, vertical=False)


def _measure(panels: tuple[Panel, ...], width: float, gap: float, em: float) -> _Row:
    insets = tuple(_insets(panel, em) for panel in panels)
    taken = sum(i.left + i.right for i in insets) + gap * (len(panels) - 1)
    inner = (width - taken) / max(len(panels), 1)
    if inner <= 0:
        raise FigureError("The figure is too narrow for its panels.", "Choose a larger width.")
    # A tall picture must not make a figure taller than a page.
    shapes = [draw.panel_aspect(p) for p in panels if not isinstance(p, WordsPanel)]
    fitted = min([inner, *(1.1 * width / shape for shape in shapes)])
    for panel in panels:
        if isinstance(panel, HeadsPanel):
            fitted = min(fitted, _LARGEST_CELL * em * max(panel.values.shape))
    bars = any(isinstance(panel, ImagePanel) and panel.scale is not None for panel in panels)
    return _Row(panels, insets, fitted, gap, em, inner - fitted, bars)


def _insets(panel: Panel, em: float) -> _Insets:
    top = 1.9 * em if panel.title else 0.3 * em
    if isinstance(panel, ImagePanel | WordsPanel):
        return _Insets(0, 0, top, 0)
    if isinstance(panel, HeadsPanel):
        return _Insets(3.2 * em, 5.6 * em, top, 3.0 * em)
    if isinstance(panel, PlotPanel):
        over, under = plot_room(panel)
        return _Insets(4.9 * em, 1.0 * em, top + over * em, under * em)
    # Over the axes: the label of τ, and the legend over that.
    return _Insets(4.0 * em, 0.6 * em, 3.0 * em, 3.0 * em)


def _wrapped(text: str, width: float, em: float) -> list[str]:
    """Lines of `text` no wider than `width` inches in a font of `em` inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=em * 72)

    def fits(line: str) -> bool:
        extent = text_to_path.get_text_width_height_descent(line, font, ismath=False)
        return float(extent[0]) <= width * 72

    lines: list[str] = []
    # Only at plain blanks: one that is not to break keeps a number with its unit.
    for word in re.split(r"[ \t\r\n]+", text.strip(" \t\r\n")):
        if lines and fits(f"{lines[-1]} {word}"):
            lines[-1] += f" {word}"
            continue
        while not fits(word) and len(word) > 1:
            # No blank to break at: as many letters as there is room for.
            room = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or fits(word[:n]))
            lines.append(word[:room])
            word = word[room:]
        lines.append(word)
    return lines


def _text(
    drawing: Drawing,
    x: float,
    y: float,
    line: str,
    width: float,
    height: float,
    em: float,
    colour: str = draw.INK,
) -> None:
    text = drawing.text(
        x / width, y / height, line, ha="left", va="top", fontsize=em * 72, color=colour
    )
    text.set_parse_math(False)


def _metadata(figure: Figure, suffix: str) -> dict[str, str | None]:
    settings = json.dumps(dict(figure.metadata), sort_keys=True, ensure_ascii=True)
    if suffix == "pdf":
        plain = {"Title": figure.title, "Subject": settings, "Creator": "VAR Studio"}
        return {**plain, "CreationDate": None}
    if suffix == "svg":
        plain = {"Title": figure.title, "Description": settings, "Creator": "VAR Studio"}
        return {**plain, "Date": None}
    return {"Title": figure.title, "Description": settings, "Software": "VAR Studio"}
