"""Panels side by side: how much room each takes, and where it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from var_studio.figures import draw
from var_studio.figures.draw_plot import draw_plot, plot_room
from var_studio.figures.draw_text import draw_text, split_text, text_height
from var_studio.figures.draw_words import WordsPanel, draw_words, split_words, words_height
from var_studio.figures.page import FigureError
from var_studio.figures.spec import (
    ColourScale,
    Gap,
    HeadsPanel,
    HistogramPanel,
    ImagePanel,
    Panel,
    PlotPanel,
    TextPanel,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Widths of a letter: a model of six layers need not fill a page.
_LARGEST_CELL = 3.5

# Widths of a letter: the label of a colour bar needs as much, however narrow the picture; and no
# more than that, however many pictures share it.
_LEAST_BAR, _LONGEST_BAR = 14.5, 36.0
_BAR = 4.9
"""Widths of a letter that a colour bar takes under its panels."""
_OVER_TEXT = 0.5


@dataclass(frozen=True, slots=True)
class _Insets:
    """Room around the inner axes of a panel, in inches."""

    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, all inner axes equally wide; sizes in inches.

    `slack` is what each panel has to spare: pictures too tall for their width stand apart by it,
    so that titles and colour bars have room; other panels stay together in the middle. No drawn
    panel is higher than `highest`. `scales` are those of the panels; those that have their bar
    elsewhere are in `elsewhere`.
    """

    panels: tuple[Panel, ...]
    insets: tuple[_Insets, ...]
    inner: float
    gap: float
    em: float
    slack: float
    highest: float
    elsewhere: tuple[ColourScale, ...]

    @property
    def scales(self) -> tuple[ColourScale, ...]:
        """Scales whose bar lies under their panels."""
        found = [_scale_below(panel) for panel in self.panels]
        return tuple(dict.fromkeys(scale for scale in found if scale is not None))

    @property
    def is_text(self) -> bool:
        """Whether its height follows from its words alone."""
        return all(isinstance(panel, WordsPanel | TextPanel | Gap) for panel in self.panels)

    @property
    def inner_height(self) -> float:
        return max(self.tall(panel) for panel in self.panels)

    def tall(self, panel: Panel) -> float:
        """Height of the inner axes."""
        if isinstance(panel, WordsPanel):
            return words_height(panel, self.inner, self.em)
        if isinstance(panel, TextPanel):
            return text_height(panel, self.inner, self.em)
        if isinstance(panel, Gap):
            return 0.0
        return min(self.inner * draw.panel_aspect(panel), self.highest)

    @property
    def height(self) -> float:
        return self.inner_height + _around(self.panels, self.insets, self.em, self.elsewhere)

    def draw(self, drawing: Drawing, left: float, top: float, width: float, height: float) -> None:
        """Draw on a page of `width` and `height`, from its `left` and from `top` down."""

        def add(x: float, y: float, w: float, h: float) -> Axes:
            return drawing.add_axes((x / width, y / height, w / width, h / height))

        ceiling = top - max(i.top for i in self.insets)
        pictures = all(isinstance(panel, ImagePanel | Gap) for panel in self.panels)
        apart = self.slack if pictures else 0.0
        x = left + (0.0 if pictures else self.slack * len(self.panels) / 2)
        least = _LEAST_BAR * self.em
        bar_width = max(self.inner, min(self.inner + apart, least))
        spans: list[tuple[ColourScale, float, float]] = []
        for panel, inset in zip(self.panels, self.insets, strict=True):
            x += inset.left
            tall = self.tall(panel)
            scale = _scale_below(panel)
            if scale is not None and scale not in self.elsewhere:
                if spans and spans[-1][0] == scale:
                    longest = max(_LONGEST_BAR * self.em, bar_width)
                    end = min(x + self.inner, spans[-1][1] + longest)
                    spans[-1] = (scale, spans[-1][1], end)
                else:
                    longest = _LONGEST_BAR * self.em if isinstance(panel, TextPanel) else bar_width
                    spans.append((scale, x, x + min(bar_width, longest)))
            if isinstance(panel, Gap) and spans:
                # Nothing is in the way of a bar whose label is wider than its picture.
                scale, start, end = spans[-1]
                spans[-1] = (scale, start, max(end, min(x + self.inner, start + least)))
            elif not isinstance(panel, Gap):
                self._draw(panel, add(x, ceiling - tall, self.inner, tall), apart)
            if isinstance(panel, HeadsPanel):
                bar = add(x + self.inner + 0.9 * self.em, ceiling - tall, 0.9 * self.em, tall)
                draw.draw_colour_bar(drawing, bar, panel.scale, vertical=True)
            x += self.inner + inset.right + self.gap + apart
        base = ceiling - self.inner_height
        for scale, start, end in spans:
            bar = add(start, base - 1.4 * self.em, end - start, 0.8 * self.em)
            draw.draw_colour_bar(drawing, bar, scale, vertical=False)

    def _draw(self, panel: Panel, axes: Axes, apart: float) -> None:
        if isinstance(panel, ImagePanel):
            draw.draw_image(axes, panel, self.inner + apart + 0.5 * self.gap)
        elif isinstance(panel, HistogramPanel):
            draw.draw_histogram(axes, panel)
        elif isinstance(panel, PlotPanel):
            draw_plot(axes, panel)
        elif isinstance(panel, WordsPanel):
            draw_words(axes, panel, self.inner, self.em)
        elif isinstance(panel, TextPanel):
            draw.title(axes, panel.title)
            draw_text(axes, panel, self.inner, self.em)
        elif isinstance(panel, HeadsPanel):
            draw.draw_heads(axes, panel)


def measure(
    panels: tuple[Panel, ...],
    width: float,
    gap: float,
    em: float,
    tallest: float,
    elsewhere: tuple[ColourScale, ...] = (),
    highest: float = float("inf"),
) -> Row:
    """A row in `width` inches, no taller than `tallest` unless it is text, and none of its drawn
    panels higher than `highest`. Raises FigureError."""
    insets = tuple(_insets(panel, em) for panel in panels)
    taken = sum(i.left + i.right for i in insets) + gap * (len(panels) - 1)
    inner = (width - taken) / max(len(panels), 1)
    if inner <= 0:
        raise FigureError("The figure is too narrow for its panels.", "Choose a larger width.")
    room = max(tallest - _around(panels, insets, em, elsewhere), 0.2 * width)
    # A tall picture must not make a figure taller than a page.
    highest = min(highest, room, 1.1 * width)
    fitted = inner
    for panel in panels:
        # Pictures and heads keep their shape; the axes of a plot can be flatter.
        if isinstance(panel, ImagePanel | HeadsPanel):
            fitted = min(fitted, highest / draw.panel_aspect(panel))
        if isinstance(panel, HeadsPanel):
            fitted = min(fitted, _LARGEST_CELL * em * max(panel.values.shape))
    return Row(panels, insets, fitted, gap, em, inner - fitted, highest, elsewhere)


def _around(
    panels: tuple[Panel, ...],
    insets: tuple[_Insets, ...],
    em: float,
    elsewhere: tuple[ColourScale, ...],
) -> float:
    """What a row takes above and below its inner axes."""
    bars = any(_scale_below(panel) not in (None, *elsewhere) for panel in panels)
    below = max(i.bottom for i in insets)
    return max(i.top for i in insets) + max(below, _BAR * em if bars else 0.0)


def split(panel: Panel, width: float, em: float, room: float) -> tuple[Panel, Panel] | None:
    """A panel of text in two where `room` inches end; None for what fits or cannot be parted."""
    inset = _insets(panel, em)
    room -= inset.top + inset.bottom
    if isinstance(panel, WordsPanel):
        return split_words(panel, width, em, room)
    if isinstance(panel, TextPanel):
        return split_text(panel, width, em, room - (_BAR * em if panel.scale is not None else 0))
    return None


def _scale_below(panel: Panel) -> ColourScale | None:
    """The scale whose bar lies under the panel; heads have theirs beside them."""
    return panel.scale if isinstance(panel, ImagePanel | TextPanel) else None


def _insets(panel: Panel, em: float) -> _Insets:
    top = 1.9 * em if panel.title else 0.3 * em
    if isinstance(panel, ImagePanel | Gap):
        return _Insets(0, 0, top, 0)
    if isinstance(panel, WordsPanel | TextPanel):
        return _Insets(0, 0, top, _OVER_TEXT * em)
    if isinstance(panel, HeadsPanel):
        return _Insets(3.2 * em, 5.6 * em, top, 3.0 * em)
    if isinstance(panel, PlotPanel):
        over, under = plot_room(panel)
        return _Insets(4.9 * em, 1.0 * em, top + over * em, under * em)
    # Over the axes: the label of τ, and the legend over that.
    return _Insets(4.0 * em, 0.6 * em, 3.0 * em, 3.0 * em)
