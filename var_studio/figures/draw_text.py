"""Paragraphs of live text, word by word on coloured paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from var_studio.figures.draw_words import GAP
from var_studio.figures.measure import broken, text_width
from var_studio.figures.spec import ColourScale, Paragraph, TextPanel, TextWord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE, _BETWEEN, _NAMES = 1.75, 0.2, 1.0
"""Widths of a letter: from line to line, between paragraphs, after names."""
_MOST_NAMES = 0.3
"""Names that take more of the width than this stand on a line of their own."""
_ABOVE, _BELOW = 1.02, 0.36
"""Widths of a letter that the coloured paper reaches above and below the line of writing."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What of a word stands on one line: `x` and `wide` in inches."""

    x: float
    wide: float
    text: str
    word: TextWord


@dataclass(slots=True)
class _Line:
    name: str
    paragraph: int
    pieces: list[_Piece]


def text_height(panel: TextPanel, width: float, em: float) -> float:
    """Height in inches of all lines at this width, in a font of `em` inches."""
    return _bottom(_lines(panel, width, em), em)


def draw_text(axes: Axes, panel: TextPanel, width: float, em: float) -> None:
    """Names grey, words in their ink or on their colour. The axes are `width` inches wide and as
    high as `text_height` says."""
    lines = _lines(panel, width, em)
    axes.set_xlim(0, width)
    axes.set_ylim(_bottom(lines, em), 0)
    axes.set_axis_off()
    for number, line in enumerate(lines):
        base = _bottom(lines[: number + 1], em) - 0.55 * em
        if line.name:
            _write(axes, 0, base, line.name, em, GAP)
        for piece in line.pieces:
            _draw_piece(axes, piece, panel.scale, base, em)


def split_text(
    panel: TextPanel, width: float, em: float, room: float
) -> tuple[TextPanel, TextPanel] | None:
    """As many lines as `room` inches hold, at least one, and the rest; None where all fit."""
    lines = _lines(panel, width, em)
    kept = next((n for n in range(len(lines), 1, -1) if _bottom(lines[:n], em) <= room), 1)
    if kept == len(lines):
        return None
    halves = (lines[:kept], lines[kept:])
    one, other = (tuple(_paragraphs(half, panel)) for half in halves)
    return replace(panel, paragraphs=one), replace(panel, paragraphs=other, title="")


def _paragraphs(lines: list[_Line], panel: TextPanel) -> Iterator[Paragraph]:
    """Paragraphs that hold the words of these lines, every line begun anew."""
    for index in dict.fromkeys(line.paragraph for line in lines):
        mine = [line for line in lines if line.paragraph == index]
        words: list[TextWord] = []
        for line in mine:
            if words:
                words.append(TextWord("\n"))
            end = 0.0
            for piece in line.pieces:
                apart = " " if words and piece.x > end + 1e-6 and end else ""
                words.append(replace(piece.word, text=apart + piece.text))
                end = piece.x + piece.wide
        yield Paragraph(panel.paragraphs[index].name, tuple(words))


def _draw_piece(
    axes: Axes, piece: _Piece, scale: ColourScale | None, base: float, em: float
) -> None:
    ink = piece.word.colour
    value = piece.word.value
    if scale is not None and value is not None and np.isfinite(value):
        from matplotlib.patches import Rectangle

        paper, ink = paper_and_ink(value, scale)
        corner = piece.x, base - _ABOVE * em
        high = (_ABOVE + _BELOW) * em
        axes.add_patch(
            Rectangle(corner, piece.wide, high, facecolor=paper, edgecolor="white", linewidth=0.6)
        )
    _write(axes, piece.x, base, piece.text, em, ink)
    if piece.word.underlined:
        ends, under = (piece.x, piece.x + piece.wide), base + 0.22 * em
        axes.plot(ends, (under, under), color=ink, linewidth=0.8)


def paper_and_ink(value: float, scale: ColourScale) -> tuple[tuple[float, float, float], str]:
    """The colour of a value, and black or white, whichever is read more easily on it (WCAG)."""
    from matplotlib import colormaps

    place = float(scale.limits.normalise(np.array([value]), scale.gamma)[0])
    red, green, blue, _ = colormaps[scale.colour_map](place)
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (red, green, blue), "#ffffff" if 1.05 / (light + 0.05) > (
        light + 0.05
    ) / 0.05 else "#000000"


def _lines(panel: TextPanel, width: float, em: float) -> list[_Line]:
    names = max((text_width(p.name, em) for p in panel.paragraphs), default=0.0)
    above = names > _MOST_NAMES * width
    left = 0.0 if above or not names else names + _NAMES * em
    found: list[_Line] = []
    for number, paragraph in enumerate(panel.paragraphs):
        first = len(found)
        if above and paragraph.name:
            found.append(_Line("", number, []))
        found += _flow(paragraph, number, left, width, em)
        if paragraph.name:
            found[first].name = paragraph.name
    return found


def _flow(
    paragraph: Paragraph, number: int, left: float, width: float, em: float
) -> Iterator[_Line]:
    """The lines of one paragraph; words that a blank does not part stay together if they can."""
    blank = text_width("n n", em) - text_width("nn", em)
    line, x = _Line("", number, []), left
    units = list(_units(paragraph.words))
    while units and units[0] is None:
        units.pop(0)
    while units and units[-1] is None:
        units.pop()
    for unit in units:
        if unit is None:
            yield line
            line, x = _Line("", number, []), left
            continue
        spaced, parts = unit
        wide = sum(text_width(text, em) for text, _ in parts)
        x += blank if spaced and line.pieces else 0.0
        if x + wide > width and line.pieces:
            yield line
            line, x = _Line("", number, []), left
        for text, word in parts:
            for piece in broken(text, width - left, em) if wide > width - left else [text]:
                long = text_width(piece, em)
                if x + long > width and line.pieces:
                    yield line
                    line, x = _Line("", number, []), left
                line.pieces.append(_Piece(x, long, piece, word))
                x += long
    yield line


_Unit = tuple[bool, list[tuple[str, TextWord]]]


def _units(words: tuple[TextWord, ...]) -> Iterator[_Unit | None]:
    """What lies between two blanks, whether a blank is before it; None for a new line."""
    unit: _Unit = (False, [])
    for word in words:
        for part in re.findall(r"\n|[^\S\n]+|\S+", word.text):
            if part.strip():
                unit[1].append((part, word))
                continue
            if unit[1]:
                yield unit
            if part == "\n":
                yield None
            unit = (part != "\n", [])
    if unit[1]:
        yield unit


def _bottom(lines: list[_Line], em: float) -> float:
    between = len({line.paragraph for line in lines}) - 1
    return em * (_LINE * len(lines) + _BETWEEN * max(between, 0))


def _write(axes: Axes, x: float, y: float, text: str, em: float, colour: str) -> None:
    written = axes.text(x, y, text, fontsize=em * 72, color=colour, ha="left", va="baseline")
    # A token may hold a dollar sign: nothing a model wrote is parsed as mathematics.
    written.set_parse_math(False)
