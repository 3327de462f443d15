"""Scenes: tiles come together, thumbnails apart, padding beyond the picture, strips."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.layouts import tiled_layout
from var_studio.gui.widgets.colour_maps import (
    DIVERGING,
    SEQUENTIAL,
    colour_table,
    indexed_colours,
    to_indices,
)
from var_studio.gui.widgets.heat_paint import interpolate
from var_studio.gui.widgets.heat_scene import MOST_PIXELS, scenes_of, to_qimage
from var_studio.gui.widgets.heat_view import HeatView
from var_studio.gui.widgets.ticks import number_text, tick_values
from var_studio.recording.layout import View, VisualLayout

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


def test_tiles_come_together_and_the_thumbnail_apart() -> None:
    scenes = scenes_of(tiled_layout(), [None])
    assert [scene.view_indices for scene in scenes] == [(0,), (1, 2)]
    assert [scene.title for scene in scenes] == ["thumbnail", "tile 1 to tile 2"]
    # 250 across, 150 down: second tile, first column of three, last row.
    assert scenes[1].token_at(250.0, 150.0) == 13 + 2 * 3 + 0
    assert scenes[0].token_at(250.0, 150.0) == 3
    assert scenes[1].token_at(390.0, 190.0) is None, "no token in that cell"


def test_hits_agree_with_the_layout() -> None:
    layout = tiled_layout()
    thumbnail, tiles = scenes_of(layout, [None])
    rng = np.random.default_rng(0)
    for x, y in rng.uniform((0, 0), (400, 200), (200, 2)):
        found = {thumbnail.token_at(x, y), tiles.token_at(x, y)}
        assert found - {None} == set(layout.token_at(0, x, y))


def test_several_pictures_are_several_scenes() -> None:
    one = View("crop", 0, (0.0, 0.0, 100.0, 100.0), np.arange(4).reshape(2, 2))
    two = View("crop", 1, (0.0, 0.0, 60.0, 60.0), 4 + np.arange(4).reshape(2, 2))
    layout = VisualLayout(
        image_sizes=((100, 100), (60, 60)),
        positions=np.arange(8),
        views=(one, two),
        boxes=np.zeros((8, 4)),
        unseen=((), ()),
    )
    scenes = scenes_of(layout, [None, None])
    assert [scene.title for scene in scenes] == ["image 1: crop", "image 2: crop"]
    assert [scene.size for scene in scenes] == [(100, 100), (60, 60)]


def test_padding_widens_the_bounds() -> None:
    # 300 × 100 pixels padded to a square: 100 above and below.
    view = View("padded", 0, (0.0, -100.0, 300.0, 200.0), np.arange(9).reshape(3, 3))
    layout = VisualLayout(((300, 100),), np.arange(9), (view,), np.zeros((9, 4)), ((),))
    (scene,) = scenes_of(layout, [None])
    assert scene.bounds == QtCore.QRectF(0, -100, 300, 300)
    assert scene.token_at(150.0, 50.0) == 4
    assert scene.token_at(150.0, -50.0) == 1


def test_a_strip_holds_every_token_once() -> None:
    nowhere = np.full((100, 4), np.nan)
    layout = VisualLayout(((300, 200),), np.arange(100), (), nowhere, ((),), known=False)
    (scene,) = scenes_of(layout, [])
    shown = scene.views[0].tokens
    assert sorted(shown[shown >= 0].tolist()) == list(range(100))
    assert scene.strip


def test_neighbours_stay_in_their_grid() -> None:
    tiles = scenes_of(tiled_layout(), [None])[1]
    assert tiles.neighbour(4, 0, 1) == 5
    assert tiles.neighbour(6, 0, 1) == 6, "the tile ends there"
    assert tiles.neighbour(4, 1, 0) == 7


def test_large_pictures_are_reduced_and_keep_their_colours() -> None:
    picture = Image.new("RGB", (2 * MOST_PIXELS, 40), (200, 30, 10))
    image = to_qimage(picture)
    assert max(image.width(), image.height()) <= MOST_PIXELS
    assert image.pixelColor(5, 5).getRgb()[:3] == (200, 30, 10)
    grey = to_qimage(Image.new("L", (7, 5), 90))
    assert (grey.width(), grey.height()) == (7, 5)
    assert grey.pixelColor(3, 3).getRgb()[:3] == (90, 90, 90)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_colour_of_a_cell_is_that_of_its_value(qtbot: QtBot, smooth: bool) -> None:
    view = HeatView()
    qtbot.addWidget(view)
    view.resize(400, 200)
    (_, tiles) = scenes_of(tiled_layout(), [to_qimage(Image.new("RGB", (400, 200)))])
    view.set_scene(tiles)
    values = np.zeros(22)
    values[13 + 3] = 1.0  # Second tile, second row, first column.
    view.set_opacity(1.0)
    view.set_smooth(smooth)
    view.set_map(values, 0.0, 1.0, "viridis")
    image = view.grab().toImage()
    high, low = (tuple(int(v) for v in colour_table("viridis")[k]) for k in (255, 0))
    assert image.pixelColor(200 + 33, 100).getRgb()[:3] == pytest.approx(high, abs=8)
    assert image.pixelColor(100, 33).getRgb()[:3] == pytest.approx(low, abs=2)
    assert image.pixelColor(390, 190).getRgb()[:3] == (0, 0, 0), "no token: the bare picture"


def test_a_difference_of_zero_shows_the_picture(qtbot: QtBot) -> None:
    view = HeatView()
    qtbot.addWidget(view)
    view.resize(400, 200)
    (_, tiles) = scenes_of(tiled_layout(), [to_qimage(Image.new("RGB", (400, 200), (9, 200, 9)))])
    view.set_scene(tiles)
    values = np.zeros(22)
    values[4] = 0.5
    view.set_opacity(1.0)
    view.set_map(values, -0.5, 0.5, "RdBu_r")
    image = view.grab().toImage()
    assert image.pixelColor(300, 100).getRgb()[:3] == pytest.approx((9, 200, 9), abs=3)
    red = tuple(int(v) for v in colour_table("RdBu_r")[255])
    assert image.pixelColor(33, 33).getRgb()[:3] == pytest.approx(red, abs=3)


def test_interpolation_passes_through_values_and_leaves_gaps() -> None:
    grid = np.array([[0.0, 1.0], [np.nan, 3.0]])
    fine = interpolate(grid, 8)
    assert fine.shape == (16, 16)
    assert np.isnan(fine[8:, :8]).all() and np.isfinite(fine[:8]).all()
    # Halfway between the middles of the two upper cells lies the border between them.
    assert fine[0, 7] < 0.5 < fine[0, 8]
    assert fine[0, 0] == 0.0


def test_colour_maps_are_close_to_those_of_their_name() -> None:
    import matplotlib

    for name in (*SEQUENTIAL, *DIVERGING):
        original = matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
        assert np.abs(colour_table(name) - original).max() <= 5.5, name


def test_sequential_maps_grow_lighter_all_the_way() -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])
    for name in SEQUENTIAL:
        light = (colour_table(name) / 255.0) ** 2.2 @ weights
        assert (np.diff(light[::8]) > 0).all(), name


def test_indices_and_colours_fit_together() -> None:
    values = np.array([np.nan, -5.0, 0.0, 0.5, 1.0, 9.0])
    indices = to_indices(values, 0.0, 1.0)
    assert indices.tolist() == [0, 1, 1, 128, 255, 255]
    colours = indexed_colours("cividis")
    assert colours[0] == 0, "NaN is transparent"
    assert [f"{colours[k]:x}" for k in (1, 255)] == ["ff00224e", "fffee838"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (-0.5, "−0.5"),
        (12.34, "12.3"),
        (0.000012, "1.2·10⁻⁵"),
        (0.00005, "5·10⁻⁵"),
        (100 * 0.000001, "0.0001"),
        (float("nan"), "–"),
        (576.0, "576"),
    ],
)
def test_numbers_as_people_read_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_ticks_are_round_and_inside() -> None:
    ticks = tick_values(0.0, 0.0123, 5)
    assert ticks[0] == 0.0 and ticks[-1] <= 0.0123 and 3 <= len(ticks) <= 7
    assert np.allclose(np.diff(ticks), ticks[1])


_SEEN_AS = {
    # Machado, Oliveira and Fernandes 2009, complete deficiency, on linear RGB.
    "all": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def brightness(table: np.ndarray, eyes: str) -> np.ndarray:
    """L* (256,) of the colours (256, 3) uint8 as such eyes see them."""
    share = table / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(_SEEN_AS[eyes]).T, 0, 1)
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


@pytest.mark.parametrize("eyes", _SEEN_AS)
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_more_is_brighter_to_all_eyes(name: str, eyes: str) -> None:
    seen = brightness(colour_table(name), eyes)
    steps = np.diff(seen[::8])
    assert (steps > 0).all(), "no value looks like a smaller one"
    assert seen[-1] - seen[0] > 60


@pytest.mark.parametrize("eyes", _SEEN_AS)
@pytest.mark.parametrize("name", DIVERGING)
def test_differences_turn_at_zero_to_all_eyes(name: str, eyes: str) -> None:
    seen = brightness(colour_table(name), eyes)
    turn = -1 if seen[128] < seen[0] else 1
    assert (turn * np.diff(seen[:128:8]) > 0).all() and (turn * np.diff(seen[255:128:-8]) > 0).all()


def test_a_rainbow_would_not_pass() -> None:
    """Negative control."""
    import matplotlib

    rainbow = (matplotlib.colormaps["jet"](np.linspace(0, 1, 256))[:, :3] * 255).round()
    assert (np.diff(brightness(rainbow, "all")[::8]) < 0).any()
