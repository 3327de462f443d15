"""Pictures that the model saw in several views."""

from __future__ import annotations

import numpy as np

from var_studio.recording.layout import View, VisualLayout


def tiled_layout() -> VisualLayout:
    """400 × 200 pixels: a thumbnail of 2 × 2 tokens, then two tiles of 3 × 3 side by side."""
    thumbnail = View("thumbnail", 0, (0.0, 0.0, 400.0, 200.0), np.arange(4).reshape(2, 2))
    left = View("tile 1", 0, (0.0, 0.0, 200.0, 200.0), 4 + np.arange(9).reshape(3, 3))
    right_tokens = 13 + np.arange(9).reshape(3, 3)
    right_tokens[2, 2] = -1
    right = View("tile 2", 0, (200.0, 0.0, 400.0, 200.0), right_tokens)
    return VisualLayout(
        image_sizes=((400, 200),),
        positions=np.arange(22) + 5,
        views=(thumbnail, left, right),
        boxes=np.zeros((22, 4)),
        unseen=((),),
    )


def two_pictures() -> VisualLayout:
    """A picture with a newline after each row, and one with a tile and a thumbnail."""
    one = View("image", 0, (0.0, 0.0, 100.0, 100.0), np.array([[0, 1], [3, 4]]))
    tile = View("tile", 1, (0.0, 0.0, 60.0, 60.0), 6 + np.arange(9).reshape(3, 3))
    small = View("thumbnail", 1, (0.0, 0.0, 60.0, 60.0), 15 + np.arange(4).reshape(2, 2))
    boxes = np.full((19, 4), np.nan)
    for view in (one, tile, small):
        xs, ys = view.edges()
        for row, col in np.ndindex(view.tokens.shape):
            boxes[view.tokens[row, col]] = xs[col], ys[row], xs[col + 1], ys[row + 1]
    return VisualLayout(
        image_sizes=((100, 100), (60, 60)),
        positions=6 + np.arange(19),
        views=(one, tile, small),
        boxes=boxes,
        unseen=((), ()),
    )
