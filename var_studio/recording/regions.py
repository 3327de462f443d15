"""Regions: named sets of visual tokens, painted by hand or taken from a mask.

A region belongs to a picture as a model saw it: the same images cut into the same cells. Runs that
share it share its regions, whatever they asked; `picture_key` says which runs these are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.recording.failures import RecordingError
from var_studio.recording.layout import Box, VisualLayout
from var_studio.recording.settings import Intervention, Knockout, Redistribution

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording


class RegionError(RecordingError):
    """A mask that does not fit its picture, or a region that cannot be."""


@dataclass(frozen=True, slots=True)
class Region:
    """A named set of visual tokens: indices k of the layout, ascending, each once."""

    name: str
    tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(sorted({int(k) for k in self.tokens})))
        if self.tokens and self.tokens[0] < 0:
            raise ValueError(f"a visual token is counted from 0, not {self.tokens[0]}")


def picture_key(run: Recording) -> str:
    """Names the images of a run and their cells; "" while the run has no visual token yet.

    Where the tokens stand in the sequence does not matter, so that another question about the same
    picture has the same key.
    """
    if run.layout.count == 0:
        return ""
    images = "".join(entry.sha256 for entry in run.image_entries)
    return hashlib.sha256(images.encode() + _cells(run.layout)).hexdigest()[:32]


def placed_on(settings: Intervention, layout: VisualLayout, other: VisualLayout) -> Intervention:
    """An intervention that names visual tokens of `layout`, as it is for `other`: the same images,
    but the question or the model may be another one.

    A redistribution's region keeps its tokens and a knockout's positions follow theirs; where the
    images are cut into other cells, these are the ones of `carried_over`. What names no visual
    token is returned as it is. Raises RegionError where nothing is left of them.
    """
    if isinstance(settings, Redistribution) and settings.target == "region":
        return settings.model_copy(update={"region": _moved(settings.region, layout, other)})
    if isinstance(settings, Knockout) and settings.tokens == "chosen":
        tokens = np.flatnonzero(np.isin(layout.positions, settings.positions))
        moved = _moved([int(k) for k in tokens], layout, other)
        return settings.model_copy(
            update={"positions": tuple(int(other.positions[k]) for k in moved)}
        )
    return settings


def _moved(tokens: Sequence[int], layout: VisualLayout, other: VisualLayout) -> tuple[int, ...]:
    if _cells(layout) == _cells(other):
        return tuple(tokens)
    moved = carried_over(tokens, layout, other)
    if not moved:
        raise RegionError(
            "This model cuts the picture into other cells, and the region covers none by half.",
            "Press Run, and paint the region on the map of this model's answer.",
        )
    return moved


def _cells(layout: VisualLayout) -> bytes:
    """What the visual tokens are, wherever they stand in the sequence."""
    parts = [repr((layout.count, layout.known, layout.image_sizes)).encode()]
    for view in layout.views:
        box = tuple(float(edge) for edge in view.box)
        parts.append(repr((view.name, view.image, box, view.tokens.shape)).encode())
        parts.append(np.ascontiguousarray(view.tokens, dtype="<i8").tobytes())
    return b"".join(parts)


def tokens_in_box(
    layout: VisualLayout, image: int, box: Box, least: float = 0.5
) -> tuple[int, ...]:
    """Visual tokens of `image` of which at least the share `least` lies inside `box` (pixels of
    the original image). The share is of the area that the token sees; with `least` 0 a token
    counts as soon as any of it lies inside. All views count: tiles and thumbnails alike."""
    left, top, right, bottom = box
    tokens, boxes = _patches(layout, image)
    width = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
    height = np.minimum(boxes[:, 3], bottom) - np.maximum(boxes[:, 1], top)
    inside = np.maximum(width, 0) * np.maximum(height, 0)
    return _enough(tokens, inside, boxes, least)


def tokens_of_mask(
    layout: VisualLayout, image: int, mask: npt.NDArray[np.bool_], least: float = 0.5
) -> tuple[int, ...]:
    """Visual tokens of `image` of which at least the share `least` lies on True pixels.

    `mask` (height, width) bool has the size of the original image, or RegionError is raised. The
    share is exact also where a cell ends within a pixel.
    """
    width, height = layout.image_sizes[image]
    if mask.shape != (height, width):
        found = " × ".join(str(side) for side in mask.shape[::-1])
        raise RegionError(
            f"The mask has {found} pixels, its image {width} × {height}.",
            "A mask has the size of the original image.",
        )
    summed = np.zeros((height + 1, width + 1))
    summed[1:, 1:] = np.cumsum(np.cumsum(mask.astype(np.float64), axis=0), axis=1)
    tokens, boxes = _patches(layout, image)
    left, top, right, bottom = boxes.T
    inside = (
        _integral(summed, right, bottom)
        - _integral(summed, left, bottom)
        - _integral(summed, right, top)
        + _integral(summed, left, top)
    )
    return _enough(tokens, inside, boxes, least)


def in_all_views(layout: VisualLayout, tokens: Iterable[int]) -> tuple[int, ...]:
    """These visual tokens, and those of other views of which at least half is what they see: a
    thumbnail's where its tiles are painted, and the other way round. To the pixel."""
    found = set(tokens)
    return tuple(sorted(found.union(carried_over(found, layout, layout))))


def carried_over(
    tokens: Iterable[int], layout: VisualLayout, other: VisualLayout
) -> tuple[int, ...]:
    """Visual tokens of `other`, the same images cut into other cells, of which at least half is
    what `tokens` of `layout` see. To the pixel; none where a geometry is not known or the images
    have other sizes."""
    known = layout.known and other.known
    if not known or layout.image_sizes != other.image_sizes:
        return ()
    found: list[int] = []
    wanted = list(tokens)
    for image, (width, height) in enumerate(layout.image_sizes):
        of_image, boxes = _patches(layout, image)
        mask = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in boxes[np.isin(of_image, wanted)].round().astype(int):
            mask[max(top, 0) : bottom, max(left, 0) : right] = True
        found.extend(tokens_of_mask(other, image, mask))
    return tuple(sorted(found))


def _patches(
    layout: VisualLayout, image: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The patches of one image that see some of it: indices k (n,), boxes (n, 4)."""
    views = [view.tokens[view.tokens >= 0] for view in layout.views if view.image == image]
    tokens = np.unique(np.concatenate([np.zeros(0, np.int64), *views]))
    boxes = layout.boxes[tokens]
    sees = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # False for NaN
    return tokens[sees], boxes[sees]


def _enough(
    tokens: npt.NDArray[np.int64],
    inside: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.float64],
    least: float,
) -> tuple[int, ...]:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # Half of a cell is half of it, whichever way the sums were rounded.
    enough = (inside > 0) & (inside >= (least - 1e-9) * area)
    return tuple(int(k) for k in tokens[enough])


def _integral(
    summed: npt.NDArray[np.float64], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The mask's integral over (0, 0)–(x, y): between the sums at pixel corners it is bilinear."""
    rows, cols = summed.shape
    col = np.clip(np.floor(x).astype(np.int64), 0, cols - 2)
    row = np.clip(np.floor(y).astype(np.int64), 0, rows - 2)
    u, v = np.clip(x - col, 0, 1), np.clip(y - row, 0, 1)
    upper = summed[row, col] * (1 - u) + summed[row, col + 1] * u
    lower = summed[row + 1, col] * (1 - u) + summed[row + 1, col + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)
