"""Grids of visual tokens over original images: what every family's layout is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.models.errors import PromptError
from var_studio.recording.layout import Box, View, VisualLayout


def raster(rows: int, cols: int, first: int = 0) -> npt.NDArray[np.int64]:
    """Token indices of a grid in raster order, (rows, cols), from `first` on."""
    return np.arange(first, first + rows * cols, dtype=np.int64).reshape(rows, cols)


def tiles(size: tuple[int, int], rows: int, cols: int) -> list[tuple[str, Box]]:
    """Names and boxes of an image's equal tiles, row by row; `size` is its (width, height)."""
    width, height = size
    x = [width * col / cols for col in range(cols + 1)]
    y = [height * row / rows for row in range(rows + 1)]
    return [
        (f"tile {row + 1},{col + 1}", (x[col], y[row], x[col + 1], y[row + 1]))
        for row in range(rows)
        for col in range(cols)
    ]


def laid_out(
    sizes: Sequence[tuple[int, int]],
    positions: Sequence[int],
    views: Sequence[View],
    unseen: Sequence[tuple[Box, ...]] | None = None,
) -> VisualLayout:
    """Put views together: boxes of all tokens, and what no view of an image covers.

    `sizes` are (width, height) of the images, `positions` those of the V visual tokens. A token
    that no view holds (newline, separator) has no box. A token of several cells is a mistake.
    `unseen`: for each image the boxes that no view covers; None: what lies outside the rectangle
    around its views.

    Raises PromptError if views and tokens do not fit: processor and model disagree.
    """
    count = len(positions)
    placed = np.concatenate([v.tokens[v.tokens >= 0] for v in views] or [np.zeros(0, np.int64)])
    if len(np.unique(placed)) != len(placed) or (len(placed) and placed.max() >= count):
        raise misfit(count, len(placed))
    boxes = np.full((count, 4), np.nan)
    for view in views:
        _fill_boxes(boxes, view, sizes[view.image])
    if unseen is None:
        unseen = [
            outside([v.box for v in views if v.image == image], size)
            for image, size in enumerate(sizes)
        ]
    return VisualLayout(
        image_sizes=tuple((int(w), int(h)) for w, h in sizes),
        positions=np.asarray(positions, dtype=np.int64),
        views=tuple(views),
        boxes=boxes,
        unseen=tuple(unseen),
    )


def unknown(sizes: Sequence[tuple[int, int]], positions: Sequence[int]) -> VisualLayout:
    """The layout of tokens whose place in the image is not known: shown as a strip."""
    return VisualLayout(
        image_sizes=tuple((int(w), int(h)) for w, h in sizes),
        positions=np.asarray(positions, dtype=np.int64),
        views=(),
        boxes=np.full((len(positions), 4), np.nan),
        unseen=tuple(() for _ in sizes),
        known=False,
    )


def check_count(positions: Sequence[int], expected: int) -> None:
    """Raise PromptError unless the prompt holds as many visual tokens as the model makes."""
    if len(positions) != expected:
        raise misfit(len(positions), expected)


def misfit(found: int, expected: int) -> PromptError:
    """The error for a processor that lays out other tokens than the model makes."""
    return PromptError(
        f"The prompt has {found} visual tokens; the model makes {expected} of the image(s).",
        "The processor and the model of this checkpoint do not fit: check its files.",
    )


def edge(size: Any, name: str) -> Any:
    """An entry of an image processor's size, which is a dict or a `SizeDict`; None without."""
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)


def outside(boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Box, ...]:
    """The strips of an image outside the rectangle that its views cover together."""
    width, height = size
    if not boxes:
        return ()
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, bottom = max(b[2] for b in boxes), max(b[3] for b in boxes)
    middle_top, middle_bottom = max(top, 0.0), min(bottom, float(height))
    strips = [
        (0.0, 0.0, float(width), top),
        (0.0, bottom, float(width), float(height)),
        (0.0, middle_top, left, middle_bottom),
        (right, middle_top, float(width), middle_bottom),
    ]
    # Rounding leaves slivers of a millionth of a pixel.
    return tuple(s for s in strips if s[2] - s[0] > 1e-6 and s[3] - s[1] > 1e-6)


def uncovered(boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Box, ...]:
    """What no box of an image covers, in boxes that do not overlap: one for each run of a row."""
    x, y = (
        # To a millionth of a pixel: rounding leaves slivers.
        np.unique(np.round(np.clip([0, end, *(v for b in boxes for v in b[i::2])], 0, end), 6))
        for i, end in enumerate(size)
    )
    middle_x, middle_y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    free = np.ones((len(middle_y), len(middle_x)), dtype=bool)
    for left, top, right, bottom in boxes:
        inside_x = (left < middle_x) & (middle_x < right)
        free &= ~(((top < middle_y) & (middle_y < bottom))[:, None] & inside_x)
    found: list[Box] = []
    for row, line in enumerate(free):
        steps = np.flatnonzero(np.diff([False, *line, False]))
        found += [
            (float(x[begin]), float(y[row]), float(x[end]), float(y[row + 1]))
            for begin, end in steps.reshape(-1, 2)
        ]
    return tuple(found)


def _fill_boxes(boxes: npt.NDArray[np.float64], view: View, size: tuple[int, int]) -> None:
    """Boxes of a view's tokens, clipped to the image; NaN stays where one sees none of it."""
    x, y = view.edges()
    x, y = np.clip(x, 0, size[0]), np.clip(y, 0, size[1])
    edges = np.broadcast_arrays(x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None])
    cells = np.stack(edges, axis=-1)
    sees = (view.tokens >= 0) & (cells[..., 2] > cells[..., 0]) & (cells[..., 3] > cells[..., 1])
    boxes[view.tokens[sees]] = cells[sees]
