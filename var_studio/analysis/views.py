"""Which views of an image a map shows: grids of cells that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.errors import VarStudioError
from var_studio.recording.layout import Box, VisualLayout
from var_studio.recording.questions import whole_number


@dataclass(frozen=True, slots=True)
class ShownViews:
    """What of a layout a map shows: one image, some of its views, the `tokens` (V,) in them."""

    image: int
    views: tuple[int, ...]
    tokens: npt.NDArray[np.bool_]


def choose_views(layout: VisualLayout, image: int = 0, view: int | None = None) -> ShownViews:
    """The finest views of an image, or one view; all tokens where the geometry is not known.

    Raises VarStudioError for an image or a view that is not there.
    """
    image = whole_number("image", image)
    view = None if view is None else whole_number("view", view)
    n_images, n_views = len(layout.image_sizes), len(layout.views)
    if not 0 <= image < n_images:
        raise VarStudioError(f"There is no image {image + 1}.", f"Images go from 1 to {n_images}.")
    if view is not None and not layout.known:
        raise VarStudioError("The geometry is unknown: there are no views.", "Name no view.")
    if view is not None and not 0 <= view < n_views:
        raise VarStudioError(f"There is no view {view}.", f"Views go from 0 to {n_views - 1}.")
    if not layout.known:
        return ShownViews(image, (), np.ones(layout.count, dtype=bool))
    if view is not None:
        image = layout.views[view].image
    views = tuple(finest_views(layout, image)) if view is None else (view,)
    tokens = np.zeros(layout.count, dtype=bool)
    for index in views:
        cells = layout.views[index].tokens
        tokens[cells[cells >= 0]] = True
    return ShownViews(image, views, tokens)


def finest_views(layout: VisualLayout, image: int) -> list[int]:
    """Views of an image that do not overlap, those with the smallest cells first: a thumbnail of
    the whole gives way to its tiles."""

    def cell_area(index: int) -> float:
        view = layout.views[index]
        left, top, right, bottom = view.box
        return (right - left) * (bottom - top) / max(view.tokens.size, 1)

    chosen: list[int] = []
    mine = [index for index, view in enumerate(layout.views) if view.image == image]
    for index in sorted(mine, key=cell_area):
        if not any(_overlap(layout.views[index].box, layout.views[c].box) for c in chosen):
            chosen.append(index)
    return sorted(chosen)


def view_groups(layout: VisualLayout) -> list[tuple[int, ...]]:
    """Views that can be shown together, of one image and without overlap: all tiles of an image, a
    thumbnail alone."""
    groups: list[list[int]] = []
    for image in range(len(layout.image_sizes)):
        of_image: list[list[int]] = []
        for index, view in enumerate(layout.views):
            if view.image != image:
                continue
            for group in of_image:
                if not any(_overlap(view.box, layout.views[other].box) for other in group):
                    group.append(index)
                    break
            else:
                of_image.append([index])
        groups += of_image
    return [tuple(group) for group in groups]


def group_name(layout: VisualLayout, views: Sequence[int]) -> str:
    """Views that are shown together, by name; of several images, which one."""
    names = [layout.views[index].name for index in views]
    name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    if len(layout.image_sizes) > 1:
        return f"image {layout.views[views[0]].image + 1}: {name}"
    return name


@dataclass(frozen=True, slots=True)
class JoinedViews:
    """One grid of the cells of `views`: `tokens` (rows, cols) of visual tokens, -1 where a cell has
    none, and its `box` in pixels of the image."""

    views: tuple[int, ...]
    tokens: npt.NDArray[np.int64]
    box: Box


def joined(layout: VisualLayout, views: Sequence[int]) -> JoinedViews:
    """Views that do not overlap, set together to one grid; the first of them alone where their
    cells differ in size or do not line up. The strip of all tokens where the geometry is not known.

    Raises VarStudioError for a view that the layout does not have.
    """
    known = layout.views if layout.known else (layout.strip(),)
    for index in views:
        if not 0 <= index < len(known):
            raise VarStudioError(
                f"There is no view {index}.", f"Views go from 0 to {len(known) - 1}."
            )
    chosen = [known[index] for index in views]
    first = chosen[0]
    boxes = np.array([view.box for view in chosen], dtype=np.float64)
    shapes = np.array([view.tokens.shape[::-1] for view in chosen])
    sizes = (boxes[:, 2:] - boxes[:, :2]) / np.maximum(shapes, 1)
    starts = (boxes[:, :2] - boxes[:, :2].min(axis=0)) / sizes[0]
    places = np.round(starts).astype(np.int64)
    # Tiles of a resized picture may be off by the rounding of a pixel.
    even = np.abs(sizes / sizes[0] - 1).max() < 0.05 and np.abs(starts - places).max() < 0.25
    if len(chosen) == 1 or not even:
        return JoinedViews((views[0],), first.tokens, first.box)
    across, down = (places + shapes).max(axis=0)
    tokens = np.full((down, across), -1, dtype=np.int64)
    for view, (left, top) in zip(chosen, places, strict=True):
        rows, cols = view.tokens.shape
        tokens[top : top + rows, left : left + cols] = view.tokens
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return JoinedViews(tuple(views), tokens, (*map(float, low), *map(float, high)))  # type: ignore[arg-type]


def _overlap(a: Box, b: Box) -> bool:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide > 1e-6 and high > 1e-6
