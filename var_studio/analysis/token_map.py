"""Every visual token in the order of the sequence: what it is, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from var_studio.recording.layout import Box, View, VisualLayout

KINDS: Final = ("patch", "padding", "newline", "separator", "unplaced")
"""patch: sees a part of the image. padding: a cell that saw no pixel of it. newline: ends each row
of a view. separator: any other token without a cell. unplaced: the geometry is not known."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenMap:
    """V visual tokens. `kind` indexes KINDS; `view`, `row`, `col` are -1 and `box` is NaN where a
    token has none."""

    position: Ints  # (V,) in the sequence
    kind: Ints  # (V,)
    view: Ints  # (V,)
    row: Ints  # (V,)
    col: Ints  # (V,)
    box: npt.NDArray[np.float64]  # (V, 4) left, top, right, bottom; pixels of its image

    def count(self, kind: str) -> int:
        """How many tokens are of a kind."""
        return int((self.kind == KINDS.index(kind)).sum())


def token_map(layout: VisualLayout) -> TokenMap:
    """Place every visual token of a layout."""
    view, row, col = np.full((3, layout.count), -1, dtype=np.int64)
    kind = np.full(layout.count, KINDS.index("separator"), dtype=np.int64)
    if not layout.known:
        kind[:] = KINDS.index("unplaced")
        nowhere = np.full((layout.count, 4), np.nan)
        return TokenMap(layout.positions, kind, view, row, col, nowhere)
    for index, each in enumerate(layout.views):
        rows, cols = np.nonzero(each.tokens >= 0)
        tokens = each.tokens[rows, cols]
        view[tokens], row[tokens], col[tokens] = index, rows, cols
    blank = np.isnan(layout.boxes[:, 0]) & (view >= 0)
    kind[view >= 0] = KINDS.index("patch")
    kind[blank] = KINDS.index("padding")
    for each in layout.views:
        kind[_newlines(each, view)] = KINDS.index("newline")
    return TokenMap(layout.positions, kind, view, row, col, layout.boxes)


def merged_boxes(boxes: Sequence[Box]) -> list[Box]:
    """Boxes that cover the same as `boxes` (left, top, right, bottom), in whole pixels and few of
    them: those that touch become one."""
    corners = np.round(np.asarray(boxes, dtype=np.float64).reshape(-1, 4)).astype(np.int64)
    if not len(corners):
        return []
    ways = [_stacked(corners), _stacked(corners[:, [1, 0, 3, 2]])]
    ways[1] = [(left, top, right, bottom) for top, left, bottom, right in ways[1]]
    return min(ways, key=len)


def _stacked(corners: Ints) -> list[Box]:
    """The union of boxes as rows of boxes, those that continue each other downwards as one."""
    xs, ys = np.unique(corners[:, [0, 2]]), np.unique(corners[:, [1, 3]])
    filled = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)
    for left, top, right, bottom in corners:
        rows, cols = np.searchsorted(ys, (top, bottom)), np.searchsorted(xs, (left, right))
        filled[rows[0] : rows[1], cols[0] : cols[1]] = True
    found: list[Box] = []
    open_runs: dict[tuple[int, int], int] = {}
    for row in range(len(ys)):
        edges = np.zeros(0, dtype=np.int64)
        if row < len(filled):
            edges = np.flatnonzero(np.diff(np.pad(filled[row], 1).astype(np.int8)))
        runs = set(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        for run in sorted(set(open_runs) - runs):
            top = open_runs.pop(run)
            box = xs[run[0]], ys[top], xs[run[1]], ys[row]
            found.append(tuple(float(side) for side in box))  # type: ignore[arg-type]
        for run in runs - set(open_runs):
            open_runs[run] = row
    return sorted(found)


def _newlines(view: View, view_of: Ints) -> list[int]:
    """The tokens after a view's rows, where each row but perhaps the last has one."""
    after = []
    for tokens in view.tokens:
        there = tokens[tokens >= 0]
        last = int(there[-1]) + 1 if len(there) else len(view_of)
        after.append(last if last < len(view_of) and view_of[last] < 0 else -1)
    if len(after) < 2 or -1 in after[:-1]:
        return []
    return [token for token in after if token >= 0]
