"""Which views of an image a map shows: grids of cells that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.errors import VarStudioError
from var_studio.recording.layout import Box, VisualLayout


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


def _overlap(a: Box, b: Box) -> bool:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide > 1e-6 and high > 1e-6
