import json

import numpy as np
import pytest

from tests.synthetic import make_layout
from var_studio.recording.layout import View, VisualLayout


def tiled():
    """Two views of a 100 x 60 image: a transposed thumbnail, and a canvas with padding.

    Tokens 0-5: thumbnail, 3 columns x 2 rows, column by column. 6: a separator. 7-9: the right
    part of the image in a row of four cells, the last of which holds no token.
    """
    thumbnail = View("base", 0, (0.0, 0.0, 100.0, 60.0), np.arange(6).reshape(3, 2).T.copy())
    canvas = View("tile", 0, (40.0, 10.0, 120.0, 50.0), np.array([[7, 8, 9, -1]]))
    boxes = np.full((10, 4), np.nan)
    for k in range(6):
        col, row = divmod(k, 2)
        boxes[k] = [100 / 3 * col, 30 * row, 100 / 3 * (col + 1), 30 * (row + 1)]
    for k in range(3):
        boxes[7 + k] = [40 + 20 * k, 10, 60 + 20 * k, 50]
    return VisualLayout(
        image_sizes=((100, 60),),
        positions=np.array([5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
        views=(thumbnail, canvas),
        boxes=boxes,
        unseen=(((0.0, 0.0, 100.0, 5.0),),),
    )


def test_json_round_trip_keeps_everything():
    layout = tiled()
    again = VisualLayout.from_json(json.loads(json.dumps(layout.to_json())))
    assert again.image_sizes == layout.image_sizes
    assert again.unseen == layout.unseen
    assert again.known is True
    assert np.array_equal(again.positions, layout.positions)
    assert np.array_equal(again.boxes, layout.boxes, equal_nan=True)
    assert [(v.name, v.image, v.box) for v in again.views] == [
        (v.name, v.image, v.box) for v in layout.views
    ]
    for mine, its in zip(layout.views, again.views, strict=True):
        assert np.array_equal(mine.tokens, its.tokens) and its.tokens.dtype == np.int64


def test_separators_are_not_in_the_mask():
    mask = tiled().mask(20)
    assert np.flatnonzero(mask).tolist() == [5, 6, 7, 8, 9, 10, 12, 13, 14]
    assert tiled().mask(8).tolist() == [False] * 5 + [True] * 3


def test_the_token_at_a_pixel_is_the_one_whose_box_holds_it():
    layout = tiled()
    hits = 0
    for x in np.arange(-3.5, 110, 7):
        for y in np.arange(-3.5, 70, 7):
            expected = [
                k
                for k, (left, top, right, bottom) in enumerate(layout.boxes)
                if left <= x < right and top <= y < bottom
            ]
            assert layout.token_at(0, x, y) == expected
            hits += len(expected)
    assert hits > 100
    assert layout.token_at(1, 50, 30) == []


def test_cells_and_boxes_agree():
    layout = tiled()
    assert layout.cell_of(6) is None
    for k in [0, 1, 2, 3, 4, 5, 7, 8, 9]:
        view, row, col = layout.cell_of(k)
        x, y = layout.views[view].edges()
        assert np.allclose(layout.boxes[k], [x[col], y[row], x[col + 1], y[row + 1]])


def test_grids_put_each_value_in_its_cell():
    layout = tiled()
    values = np.arange(10) * 10
    assert layout.grid(0, values).tolist() == [[0, 20, 40], [10, 30, 50]]
    tile = layout.grid(1, np.stack([values, values + 1]))
    assert tile.shape == (2, 1, 4)
    assert tile[1, 0, :3].tolist() == [71, 81, 91] and np.isnan(tile[:, 0, 3]).all()


def test_a_transposed_map_gives_other_cells():
    """Negative control of the tests above."""
    layout, square = tiled(), make_layout(3, 3, (90, 90))
    assert layout.cell_of(1) == (0, 1, 0) != (0, 0, 1)
    assert square.token_at(0, 75, 15) == [2] and square.token_at(0, 15, 75) == [6]


@pytest.mark.parametrize("missing", ["views", "positions", "boxes", "image_sizes", "unseen"])
def test_a_damaged_document_is_refused(missing):
    document = tiled().to_json()
    del document[missing]
    with pytest.raises((KeyError, TypeError, ValueError)):
        VisualLayout.from_json(document)
