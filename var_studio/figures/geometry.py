"""Where cells and borders of an image lie, for drawing."""

from __future__ import annotations

from var_studio.recording.layout import Box, VisualLayout


def unseen_and_padding(layout: VisualLayout, image: int) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """Boxes the model never saw, and boxes of its views that lie outside the image."""
    width, height = layout.image_sizes[image]
    unseen = layout.unseen[image] if image < len(layout.unseen) else ()
    padding: list[Box] = []
    for view in layout.views:
        left, top, right, bottom = view.box
        if view.image != image:
            continue
        inside_left, inside_right = max(left, 0.0), min(right, float(width))
        candidates = (
            (left, top, 0.0, bottom),
            (float(width), top, right, bottom),
            (inside_left, top, inside_right, 0.0),
            (inside_left, float(height), inside_right, bottom),
        )
        padding += [box for box in candidates if box[2] - box[0] > 1e-6 and box[3] - box[1] > 1e-6]
    return tuple(unseen), tuple(dict.fromkeys(padding))


def cell_box(layout: VisualLayout, cell: tuple[int, int, int]) -> Box:
    view, row, col = cell
    x, y = layout.views[view].edges()
    return float(x[col]), float(y[row]), float(x[col + 1]), float(y[row + 1])
