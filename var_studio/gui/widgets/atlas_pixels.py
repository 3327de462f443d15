"""The pixels of the head atlas as arrays: 1,024 heads cost a few milliseconds, not 200."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from var_studio.gui.widgets.colour_maps import indexed_colours, to_indices

LEAST_WITH_GAP = 5
"""Cells smaller than this many pixels touch each other."""
ROOMY = 48
"""From this many pixels on a cell has room for two outlines beside its map."""


class CellShape(NamedTuple):
    """Pixels of one head's cell, its gap included. `margin`: pixels left free on each side for
    outlines, so that they hide nothing of a map; else a cell has its outline within."""

    height: int
    width: int
    margin: int = 0

    @property
    def gap(self) -> int:
        """Pixels left free on the right and below, so that neighbours keep apart."""
        return 1 if self.smaller >= LEAST_WITH_GAP and not self.margin else 0

    @property
    def smaller(self) -> int:
        """The smaller side."""
        return min(self.height, self.width)

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of what is drawn, without gap and margins."""
        around = self.gap + 2 * self.margin
        return max(1, self.height - around), max(1, self.width - around)


def margin_of(smaller: float) -> int:
    """Free pixels on each side of a map in a cell of that smaller side: room for the outline of
    image-centric heads and, in large cells, outside it for that of selected ones."""
    if smaller >= ROOMY:
        return 5
    if smaller >= 24:
        return 4
    return 2 if smaller >= 16 else int(smaller >= 7)


def value_indices(
    values: npt.NDArray[np.floating], low: float, high: float
) -> npt.NDArray[np.uint8]:
    """Colour entries of one value for each head: (L, H) -> (L, H, 1, 1) uint8, 0 for NaN."""
    return to_indices(values, low, high)[:, :, None, None]


def map_indices(
    maps: npt.NDArray[np.floating],
    high: npt.NDArray[np.floating] | float,
    cell: CellShape,
    signed: bool = False,
) -> npt.NDArray[np.uint8]:
    """Colour entries of small maps, averaged over the area of each pixel.

    (L, H, rows, cols) -> (L, H, height, width) uint8 of `cell.inner`. `high` is the
    upper limit of all, or of each head (L, H); the lower one is 0, or -high of `signed` maps,
    whose middle entry is then 0. Dropping samples instead of averaging would lose
    a sink that falls between two pixels.
    """
    layers, heads, rows, cols = maps.shape
    height, width = cell.inner
    down, across = _average(rows, height), _average(cols, width)
    flat = maps.reshape(-1, cols).astype(np.float32, copy=False)
    small = np.matmul(flat, across.T)
    if np.isnan(small.sum()):  # one NaN makes it NaN; quicker to tell than from all samples
        small = np.matmul(np.nan_to_num(flat, nan=0.0), across.T)
    small = np.matmul(down, small.reshape(-1, rows, width)).reshape(layers, heads, height, width)
    limit = np.asarray(high, dtype=np.float32)
    limit = np.where(limit > 0, limit, 1.0)
    if limit.ndim == 2:
        limit = limit[:, :, None, None]
    if signed:
        small *= 127.0 / limit
        small += 127.0
        np.maximum(small, 0.0, out=small)
    else:
        small *= 254.0 / limit
    np.minimum(small, 254.0, out=small)
    small += 1.5
    return small.astype(np.uint8)


@lru_cache(maxsize=32)
def _average(samples: int, pixels: int) -> npt.NDArray[np.float32]:
    """Weights (pixels, samples): the share of each sample in each pixel. Rows sum to 1."""
    edges = np.linspace(0.0, samples, pixels + 1)
    low = np.maximum(edges[:-1, None], np.arange(samples)[None, :])
    high = np.minimum(edges[1:, None], np.arange(1, samples + 1)[None, :])
    share = np.clip(high - low, 0.0, None)
    return (share / share.sum(axis=1, keepdims=True)).astype(np.float32)


def paint_cells(
    indices: npt.NDArray[np.uint8],
    cell: CellShape,
    colours: str,
    *,
    gap: str,
    empty: str,
    outlined: npt.NDArray[np.bool_] | None = None,
    outline: str = "#ffffff",
    inner_line: str = "#101010",
    thick: int = 1,
) -> npt.NDArray[np.uint32]:
    """The whole atlas: (L, H, h, w) entries -> (L * height, H * width) uint32 pixels 0xffRRGGBB.

    h and w are those of a cell without its gap and margins, or 1 for a cell of one colour. Cells
    where `outlined` (L, H) get a frame of `thick` pixels: in their margin, or else within, with an
    `inner_line` inside it.
    """
    layers, heads = indices.shape[:2]
    table = np.array(indexed_colours(colours), dtype=np.uint32)
    table[0] = _pixel(empty)
    height, width, margin = *cell.inner, cell.margin
    pixels = np.full((layers, cell.height, heads, cell.width), _pixel(gap), dtype=np.uint32)
    inner = pixels[:, margin : margin + height, :, margin : margin + width]
    inner[:] = table[indices].transpose(0, 2, 1, 3)
    if outlined is not None and outlined.any() and min(height, width) >= 3:
        if margin:
            first, thick = (margin - 1 - thick, thick) if margin > thick else (0, 1)
            frame = np.zeros((cell.height, cell.width), dtype=np.uint32)
            frame[first : cell.height - first, first : cell.width - first] = _pixel(outline)
            inside = first + thick
            frame[inside : cell.height - inside, inside : cell.width - inside] = 0
        else:
            frame = _frame(height, width, thick, outline, inner_line)
        line, (down, across) = frame > 0, frame.shape
        chosen = np.nonzero(outlined)
        cells = pixels[chosen[0], :down, chosen[1], :across]
        cells[:, line] = frame[line]
        pixels[chosen[0], :down, chosen[1], :across] = cells
    return pixels.reshape(layers * cell.height, heads * cell.width)


def _frame(
    height: int, width: int, thick: int, colour: str, inner_line: str
) -> npt.NDArray[np.uint32]:
    """A cell's frame, 0 inside; where there is room, with a line on its inner side."""
    frame = np.full((height, width), _pixel(colour), dtype=np.uint32)
    if min(height, width) >= 2 * thick + 6:
        frame[thick:-thick, thick:-thick] = _pixel(inner_line)
        thick += 1
    frame[thick:-thick, thick:-thick] = 0
    return frame


def _pixel(colour: str) -> int:
    return 0xFF000000 | int(colour.removeprefix("#"), 16)


def profile_pixels(
    values: npt.NDArray[np.floating],
    limits: tuple[float, float],
    marked: npt.NDArray[np.bool_],
    size: CellShape,
    colours: str,
    *,
    ground: str,
    mark: str,
    thick: int,
) -> npt.NDArray[np.uint32]:
    """Bars side by side that fill a picture: (n,) values -> (height, width) uint32 0xffRRGGBB.

    Each bar has the colour of its value; `marked` (n,) ones get a `thick` line at their foot, which
    no narrower neighbour hides. NaN leaves the ground.
    """
    low, high = limits
    entries = np.array(indexed_colours(colours), dtype=np.uint32)[to_indices(values, low, high)]
    share = np.nan_to_num((values - low) / (high - low if high > low else 1.0), nan=0.0)
    tops = np.round(size.height * (1.0 - np.clip(share, 0.0, 1.0))).astype(int)
    of_pixel = np.minimum(np.arange(size.width) * len(values) // size.width, len(values) - 1)
    rows = np.arange(size.height)[:, None]
    pixels = np.where(rows >= tops[of_pixel], entries[of_pixel], np.uint32(_pixel(ground)))
    foot = marked[of_pixel]
    foot[np.flatnonzero(marked) * size.width // len(values)] = True  # bars narrower than a pixel
    pixels[-thick:, foot] = _pixel(mark)
    return np.ascontiguousarray(pixels, dtype=np.uint32)
