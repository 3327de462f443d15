"""Two answers under each other, word under word: live text, broken into lines together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from var_studio.figures.measure import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST, SECOND, DIVERGENCE, GAP = "#b34700", "#0072b2", "#c92a2a", "#7a7a7a"
_SPACE, _LINE, _BETWEEN, _NAMES = 0.55, 1.5, 0.9, 1.2
"""Widths of a letter: between words, from line to line, between pairs of lines, after names."""


@dataclass(frozen=True, slots=True)
class WordPair:
    """The words of one column; None: that answer has nothing there. `parts`: the first that
    differs."""

    first: str | None
    second: str | None
    differs: bool = False
    parts: bool = False


@dataclass(frozen=True, slots=True)
class WordsPanel:
    """Two answers in columns, `names` before their lines."""

    names: tuple[str, str]
    columns: tuple[WordPair, ...]
    title: str = ""


def split_words(
    panel: WordsPanel, width: float, em: float, room: float
) -> tuple[WordsPanel, WordsPanel] | None:
    """As many lines as `room` inches hold, at least one, and the rest; None where all fit."""
    lines = _lines(panel, width, em)
    fitting = max(int((room / em + _BETWEEN) / (2 * _LINE + _BETWEEN)), 1)
    if fitting >= len(lines):
        return None
    kept = sum(map(len, lines[:fitting]))
    first, rest = panel.columns[:kept], panel.columns[kept:]
    return replace(panel, columns=first), replace(panel, columns=rest, title="")


def words_height(panel: WordsPanel, width: float, em: float) -> float:
    """Height in inches of all lines at this width, in a font of `em` inches."""
    lines = len(_lines(panel, width, em))
    return em * (2 * _LINE * lines + _BETWEEN * (lines - 1))


def draw_words(axes: Axes, panel: WordsPanel, width: float, em: float) -> None:
    """Words that differ are coloured and underlined, a gap is a dash, a bar stands where the
    answers part. The axes are `width` inches wide and as high as `words_height` says."""
    height = words_height(panel, width, em)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    top = 0.0
    for number, line in enumerate(_lines(panel, width, em)):
        for row, colour in ((0, FIRST), (1, SECOND)):
            base = top + em * (_LINE * row + 1.05)
            if number == 0:
                _write(axes, 0, base, panel.names[row], em, GAP)
            for x, pair in line:
                word = (pair.first, pair.second)[row]
                ink = GAP if word is None else colour if pair.differs else "#1a1a1a"
                _write(axes, x, base, "–" if word is None else word, em, ink)
                if pair.differs and word is not None:
                    ends = x, x + text_width(word, em)
                    under = base + 0.22 * em
                    axes.plot(ends, (under, under), color=colour, linewidth=0.7)
        for x, pair in line:
            if pair.parts:
                at = x - 0.8 * _SPACE * em
                axes.plot((at, at), (top, top + 2 * _LINE * em), color=DIVERGENCE, linewidth=1.4)
        top += em * (2 * _LINE + _BETWEEN)


def _lines(panel: WordsPanel, width: float, em: float) -> list[list[tuple[float, WordPair]]]:
    """Each line's columns with where they begin, in inches."""
    left = max(text_width(name, em) for name in panel.names) + _NAMES * em
    lines: list[list[tuple[float, WordPair]]] = [[]]
    x = left
    for pair in panel.columns:
        wide = max(text_width(word or "–", em) for word in (pair.first, pair.second))
        x += _SPACE * em if pair.parts and lines[-1] else 0.0  # room for the bar
        if x + wide > width and lines[-1]:
            lines.append([])
            x = left
        lines[-1].append((x, pair))
        x += wide + _SPACE * em
    return lines


def _write(axes: Axes, x: float, y: float, text: str, em: float, colour: str) -> None:
    written = axes.text(x, y, text, fontsize=em * 72, color=colour, ha="left", va="baseline")
    # A token may hold a dollar sign: nothing a model wrote is parsed as mathematics.
    written.set_parse_math(False)
