"""Newlines, separators, padding and patches, each told apart."""

from __future__ import annotations

import numpy as np

from var_studio.analysis.token_map import KINDS, token_map
from var_studio.recording.layout import View, VisualLayout

NOWHERE = [np.nan] * 4


def test_each_kind_of_token_is_told() -> None:
    """A thumbnail of 1 × 2, a separator, two rows of three each with a newline; the upper right
    cell saw only padding."""
    thumbnail = View("thumbnail", 0, (0, 0, 30, 20), np.array([[0, 1]]))
    tile = View("tile", 0, (0, 0, 30, 20), np.array([[3, 4, 5], [7, 8, 9]]))
    boxes = [[0, 0, 15, 20], [15, 0, 30, 20], NOWHERE]
    boxes += [[0, 0, 10, 10], [10, 0, 20, 10], NOWHERE, NOWHERE]
    boxes += [[0, 10, 10, 20], [10, 10, 20, 20], [20, 10, 30, 20], NOWHERE]
    layout = VisualLayout(
        image_sizes=((30, 20),),
        positions=np.arange(11) + 4,
        views=(thumbnail, tile),
        boxes=np.array(boxes, dtype=float),
        unseen=((),),
    )
    found = token_map(layout)
    patch, padding, newline, separator = KINDS[:4]
    assert [KINDS[k] for k in found.kind] == [
        *(patch, patch, separator),
        *(patch, patch, padding, newline),
        *(patch, patch, patch, newline),
    ]
    for k in range(11):
        cell = layout.cell_of(k)
        expected = (-1, -1, -1) if cell is None else cell
        assert (found.view[k], found.row[k], found.col[k]) == expected
    assert found.position.tolist() == list(range(4, 15))
    assert (found.count("patch"), found.count("newline"), found.count("padding")) == (7, 2, 1)


def test_one_token_after_a_picture_is_a_separator() -> None:
    view = View("image", 0, (0, 0, 20, 20), np.arange(4).reshape(2, 2))
    layout = VisualLayout(
        ((20, 20),), np.arange(5), (view,), np.array([[0.0, 0, 1, 1]] * 4 + [NOWHERE]), ((),)
    )
    assert KINDS[token_map(layout).kind[4]] == "separator"


def test_unknown_geometry_places_nothing() -> None:
    layout = VisualLayout(((9, 9),), np.arange(3), (), np.zeros((3, 4)), ((),), known=False)
    found = token_map(layout)
    assert found.count("unplaced") == 3 and (found.view == -1).all() and np.isnan(found.box).all()
