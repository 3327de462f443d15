"""Regions: which tokens a box or a mask takes, and their way into a session file and back."""

import json
import zipfile

import numpy as np
import pytest

from tests.synthetic import make_layout, make_run
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.regions import (
    Region,
    RegionError,
    carried_over,
    in_all_views,
    picture_key,
    tokens_in_box,
    tokens_of_mask,
)
from var_studio.recording.session import Session, open_session, save_session

SMALL = {"layers": 2, "heads": 3, "rows": 4, "cols": 5, "queries": 12}


def two_views() -> VisualLayout:
    """Image 0 (30 × 20): a 2 × 3 grid and a thumbnail of one cell. Image 1 (10 × 10): one cell that
    begins within a pixel, a newline token, and a cell that saw padding only."""
    nan = np.nan
    boxes = [(c * 10, r * 10, c * 10 + 10, r * 10 + 10) for r in range(2) for c in range(3)]
    boxes += [(0, 0, 30, 20), (2.5, 2.25, 7.5, 7.25), (nan,) * 4, (nan,) * 4]
    return VisualLayout(
        image_sizes=((30, 20), (10, 10)),
        positions=np.arange(3, 13),
        views=(
            View("tile", 0, (0.0, 0.0, 30.0, 20.0), np.arange(6).reshape(2, 3)),
            View("thumbnail", 0, (0.0, 0.0, 30.0, 20.0), np.array([[6]])),
            View("crop", 1, (2.5, 2.25, 12.5, 7.25), np.array([[7, 9]])),
        ),
        boxes=np.array(boxes, dtype=np.float64),
        unseen=((), ()),
    )


def share_by_counting(box, mask, fine=20):
    """The share of a box on True pixels, by sampling the middle of `fine` × `fine` points."""
    left, top, right, bottom = box
    x = left + (np.arange(fine) + 0.5) / fine * (right - left)
    y = top + (np.arange(fine) + 0.5) / fine * (bottom - top)
    return mask[np.ix_(y.astype(int), x.astype(int))].mean()


def test_a_box_takes_the_tokens_it_holds_half_of():
    layout = two_views()
    assert tokens_in_box(layout, 0, (0, 0, 15, 10)) == (0, 1)
    assert tokens_in_box(layout, 0, (0, 0, 14.9, 10)) == (0,)
    assert tokens_in_box(layout, 0, (0, 0, 30, 10)) == (0, 1, 2, 6)
    assert tokens_in_box(layout, 0, (11, 11, 12, 12), least=0.0) == (4, 6)
    assert tokens_in_box(layout, 0, (-50, -50, -1, -1), least=0.0) == ()
    assert tokens_in_box(layout, 1, (0, 0, 10, 10)) == (7,), "a newline or padding was taken"
    assert tokens_in_box(layout, 1, (0, 0, 30, 20), least=0.0) == (7,), "another image's tokens"


def test_a_mask_takes_what_counting_points_takes():
    rng = np.random.default_rng(4)
    layout = make_layout(7, 9, (65, 47))
    mask = np.zeros((47, 65), bool)
    mask[5:31, 12:50] = True
    mask ^= rng.random(mask.shape) < 0.1
    shares = np.array([share_by_counting(box, mask, 200) for box in layout.boxes])
    for least in (0.2, 0.5, 0.8):
        taken = np.isin(np.arange(63), tokens_of_mask(layout, 0, mask, least))
        clear = np.abs(shares - least) > 0.01
        assert clear.sum() > 50 and np.array_equal(taken[clear], (shares >= least)[clear])


def test_the_share_of_a_mask_is_exact_within_a_pixel():
    layout = two_views()
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True  # x in 2.5–7.5: exactly half
    assert tokens_of_mask(layout, 1, mask, 0.5) == (7,)
    assert tokens_of_mask(layout, 1, mask, 0.51) == ()
    mask[2, 5] = True  # 0.75 of a pixel more, of 25
    assert tokens_of_mask(layout, 1, mask, 0.5 + 0.74 / 25) == (7,)
    assert tokens_of_mask(layout, 1, mask, 0.5 + 0.76 / 25) == ()


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(RegionError, match="20 × 30 pixels, its image 30 × 20"):
        tokens_of_mask(two_views(), 0, np.ones((30, 20), bool))


def test_a_region_holds_each_token_once_in_order():
    assert Region("a", (5, 1, 5, np.int64(2))).tokens == (1, 2, 5)
    with pytest.raises(ValueError, match="counted from 0"):
        Region("a", (-1, 2))


def test_the_same_picture_has_one_key(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    same = make_run(tmp_path / "b", **{**SMALL, "queries": 20})
    other_image = make_run(tmp_path / "c", seed=2, **SMALL)
    other_cells = make_run(tmp_path / "d", **{**SMALL, "rows": 5, "cols": 4})
    assert picture_key(run) == picture_key(same) != ""
    assert len({picture_key(r) for r in (run, other_image, other_cells)}) == 3


def test_regions_live_in_the_session_file(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    regions = {picture_key(run): (Region("cup", (3, 4)), Region("Hintergrund τ"))}
    path = save_session(tmp_path / "s.vars", Session([run], regions=regions))
    with open_session(path) as session:
        assert session.regions == regions
        again = save_session(tmp_path / "t.vars", session)
    assert open_session(again).regions == regions
    with zipfile.ZipFile(path) as archive:
        attributes = json.loads(archive.read("zarr.json"))["attributes"]
    assert attributes["regions"][picture_key(run)][0] == {"name": "cup", "tokens": [3, 4]}
    assert open_session(save_session(tmp_path / "u.vars", [run])).regions == {}


def test_a_region_reaches_the_same_part_in_other_views() -> None:
    """A thumbnail of 2 × 2 over four tiles' 4 × 4 grid: half of a thumbnail's cell is two cells."""
    small = View("thumbnail", 0, (0.0, 0.0, 40.0, 40.0), np.arange(4).reshape(2, 2))
    tiles = View("tiles", 0, (0.0, 0.0, 40.0, 40.0), 4 + np.arange(16).reshape(4, 4))
    boxes = np.zeros((20, 4))
    for view in (small, tiles):
        xs, ys = view.edges()
        for row, col in np.ndindex(view.tokens.shape):
            boxes[view.tokens[row, col]] = xs[col], ys[row], xs[col + 1], ys[row + 1]
    layout = VisualLayout(((40, 40),), np.arange(20), (small, tiles), boxes, ((),))
    assert in_all_views(layout, (4,)) == (4,), "a quarter of the thumbnail's cell"
    assert in_all_views(layout, (4, 5)) == (0, 4, 5)
    assert in_all_views(layout, (3,)) == (3, 14, 15, 18, 19)
    assert in_all_views(layout, ()) == ()


def test_a_region_is_carried_over_in_pixels() -> None:
    """8 × 5 cells, then 4 × 10 of the same picture: what half of a cell sees, by a plain loop."""
    old, new = make_layout(5, 8, (160, 100)), make_layout(10, 4, (160, 100))
    tokens = (9, 10, 11, 17, 18, 19, 26)
    painted = {
        (x, y)
        for k in tokens
        for x in range(20 * (k % 8), 20 * (k % 8 + 1))
        for y in range(20 * (k // 8), 20 * (k // 8 + 1))
    }
    expected = []
    for k in range(40):
        left, top = 40 * (k % 4), 10 * (k // 4)
        seen = sum((x, y) in painted for x in range(left, left + 40) for y in range(top, top + 10))
        if seen >= 200:
            expected.append(k)
    assert expected and carried_over(tokens, old, new) == tuple(expected)
    # Another size is another picture.
    assert carried_over(tokens, old, make_layout(10, 4, (320, 100))) == ()
