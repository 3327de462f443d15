"""Every visual token in the order of the sequence: what it is, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from var_studio.recording.layout import View, VisualLayout

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
