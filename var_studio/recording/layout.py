"""Where each visual token lies in the original image, in its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

STRIP_COLUMNS = 48

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the original image (after EXIF rotation)."""


@dataclass(frozen=True, slots=True)
class View:
    """A rectangular grid of visual tokens over a part of one image (a crop, a tile, a thumbnail).

    `box` is the part of the original image that the grid covers; it may reach beyond the image
    where the model saw padding. `tokens` (rows, cols) int64: index k of the visual token in each
    cell, -1 where the model has none.
    """

    name: str
    image: int
    box: Box
    tokens: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def cols(self) -> int:
        return int(self.tokens.shape[1])

    def edges(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Cell borders: (cols + 1,) x and (rows + 1,) y, in pixels of the original image."""
        left, top, right, bottom = self.box
        return np.linspace(left, right, self.cols + 1), np.linspace(top, bottom, self.rows + 1)


@dataclass(frozen=True, slots=True)
class VisualLayout:
    """Which sequence positions are visual tokens and what each one sees.

    `positions` (V,) int64: position in the sequence of the k-th visual token. `boxes` (V, 4)
    float64: what it sees of its image, clipped to the image; NaN for a token that is no patch
    (newline, separator) or that saw only padding. `image_sizes`: (width, height) of each image.
    `unseen`: for each image the boxes the model never saw (cropped borders). `known` is False
    when the geometry of the family is not known: show a strip, never an overlay; every visual
    token counts as a patch then.
    """

    image_sizes: tuple[tuple[int, int], ...]
    positions: npt.NDArray[np.int64]
    views: tuple[View, ...]
    boxes: npt.NDArray[np.float64]
    unseen: tuple[tuple[Box, ...], ...] = ()
    known: bool = True
    _cell_of: dict[int, tuple[int, int, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for index, view in enumerate(self.views):
            for row, col in zip(*np.nonzero(view.tokens >= 0), strict=True):
                self._cell_of[int(view.tokens[row, col])] = (index, int(row), int(col))

    @property
    def count(self) -> int:
        """Number V of visual tokens."""
        return len(self.positions)

    def strip(self) -> View:
        """All visual tokens in the order of the sequence, in rows of cells that stand for no place.

        What is shown where `known` is False.
        """
        cols = max(1, min(STRIP_COLUMNS, self.count))
        rows = max(1, -(-self.count // cols))
        tokens = np.full(rows * cols, -1, dtype=np.int64)
        tokens[: self.count] = np.arange(self.count)
        return View("strip", 0, (0.0, 0.0, cols * 10.0, rows * 10.0), tokens.reshape(rows, cols))

    def mask(self, length: int) -> npt.NDArray[np.bool_]:
        """`vis` of the paper: (length,) bool, True at image patches, False at separators."""
        mask = np.zeros(length, dtype=bool)
        tokens = self._cell_of if self.known else range(self.count)
        patches = [k for k in tokens if self.positions[k] < length]
        mask[self.positions[patches]] = True
        return mask

    def cell_of(self, token: int) -> tuple[int, int, int] | None:
        """(view, row, col) of the k-th visual token; None where it is no patch."""
        return self._cell_of.get(token)

    def token_at(self, image: int, x: float, y: float) -> list[int]:
        """Visual tokens k whose cell holds the pixel (x, y) of an image, one for each view."""
        found = []
        for view in self.views:
            left, top, right, bottom = view.box
            if view.image != image or not (left <= x < right and top <= y < bottom):
                continue
            col = min(int((x - left) / (right - left) * view.cols), view.cols - 1)
            row = min(int((y - top) / (bottom - top) * view.rows), view.rows - 1)
            token = int(view.tokens[row, col])
            if token >= 0:
                found.append(token)
        return found

    def grid(self, view: int, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Arrange values of the visual tokens (..., V) as (..., rows, cols); NaN where no token."""
        tokens = self.views[view].tokens
        grid = np.asarray(values)[..., np.maximum(tokens, 0)].astype(np.float64)
        grid[..., tokens < 0] = np.nan
        return grid

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` reads it back."""
        return {
            "image_sizes": [list(size) for size in self.image_sizes],
            "positions": self.positions.tolist(),
            "views": [
                {
                    "name": view.name,
                    "image": view.image,
                    "box": list(view.box),
                    "tokens": view.tokens.tolist(),
                }
                for view in self.views
            ],
            "boxes": [[None if np.isnan(v) else v for v in box] for box in self.boxes.tolist()],
            "unseen": [[list(box) for box in boxes] for boxes in self.unseen],
            "known": self.known,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> VisualLayout:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError on bad input."""
        boxes = [[np.nan if v is None else float(v) for v in box] for box in document["boxes"]]
        return cls(
            image_sizes=tuple((int(w), int(h)) for w, h in document["image_sizes"]),
            positions=np.asarray(document["positions"], dtype=np.int64).reshape(-1),
            views=tuple(
                View(
                    name=str(view["name"]),
                    image=int(view["image"]),
                    box=_box(view["box"]),
                    tokens=np.asarray(view["tokens"], dtype=np.int64).reshape(
                        len(view["tokens"]), -1
                    ),
                )
                for view in document["views"]
            ),
            boxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
            unseen=tuple(tuple(_box(box) for box in boxes) for boxes in document["unseen"]),
            known=bool(document["known"]),
        )


def _box(values: Any) -> Box:
    left, top, right, bottom = (float(v) for v in values)
    return left, top, right, bottom
