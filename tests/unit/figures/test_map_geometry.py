"""Where the cells of a map lie on the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import make_layout
from var_studio.analysis.choice import read
from var_studio.analysis.views import finest_views
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions, build_map
from var_studio.figures.geometry import unseen_and_padding
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.settings import Redistribution


def grid_view(name, box, rows, cols, start=0):
    return View(name, 0, box, start + np.arange(rows * cols).reshape(rows, cols))


def layout_of(size, *views, unseen=()):
    count = max(int(v.tokens.max()) for v in views) + 1
    return VisualLayout((size,), np.arange(count), views, np.zeros((count, 4)), (tuple(unseen),))


def test_padding_is_what_lies_outside_the_image():
    wide = layout_of((100, 50), grid_view("image", (0.0, -25.0, 100.0, 75.0), 4, 4))
    assert unseen_and_padding(wide, 0)[1] == ((0.0, -25.0, 100.0, 0.0), (0.0, 50.0, 100.0, 75.0))
    tall = layout_of((50, 100), grid_view("image", (-25.0, 0.0, 75.0, 100.0), 4, 4))
    assert unseen_and_padding(tall, 0)[1] == ((-25.0, 0.0, 0.0, 100.0), (50.0, 0.0, 75.0, 100.0))
    exact = layout_of((100, 50), grid_view("image", (0.0, 0.0, 100.0, 50.0), 4, 4))
    assert unseen_and_padding(exact, 0)[1] == ()


def test_cropped_borders_are_hatched_in_the_figure(run, monkeypatch):
    box = (40.0, 0.0, 280.0, 240.0)
    borders = ((0.0, 0.0, 40.0, 240.0), (280.0, 0.0, 320.0, 240.0))
    layout = run.layout
    cropped = VisualLayout(
        layout.image_sizes,
        layout.positions,
        (View("image", 0, box, layout.views[0].tokens),),
        layout.boxes,
        (borders,),
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: cropped))
    figure = build_map(read(run))
    panel = figure.rows[0][1]
    assert "Hatched: cropped away" in " ".join(figure.notes)
    assert panel.unseen == borders
    assert panel.heats[0].box == box
    assert panel.extent == (0.0, 0.0, 320.0, 240.0)


def test_tiles_are_shown_rather_than_their_thumbnail():
    thumbnail = grid_view("thumbnail", (0.0, 0.0, 200.0, 100.0), 4, 4)
    left = grid_view("left", (0.0, 0.0, 100.0, 100.0), 4, 4, 16)
    right = grid_view("right", (100.0, 0.0, 200.0, 100.0), 4, 4, 32)
    assert finest_views(layout_of((200, 100), thumbnail, left, right), 0) == [1, 2]
    assert finest_views(layout_of((200, 100), thumbnail), 0) == [0]


def test_an_unknown_geometry_is_never_laid_over_the_picture(run, monkeypatch):
    layout = make_layout(5, 8, (320, 240), start=6)
    unknown = VisualLayout(
        layout.image_sizes, layout.positions, layout.views, layout.boxes, ((),), known=False
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: unknown))
    reading = read(run)
    figure = build_map(reading)
    assert all(panel.picture is None and not panel.sinks for panel in figure.rows[0])
    for panel, values in zip(
        figure.rows[0],
        (reading.map_before, reading.map_after, reading.map_difference),
        strict=True,
    ):
        # One row of 40 cells: nobody takes it for the picture's 5 × 8 grid.
        (heat,) = panel.heats
        assert heat.values.shape == (1, 40) and panel.size == (40, 1)
        np.testing.assert_allclose(heat.values[0], values)
    assert "Geometry unknown: shown as a strip" in " ".join(figure.notes)
    with pytest.raises(VarStudioError, match="no views"):
        build_map(reading, options=MapOptions(view=0))


def test_a_long_strip_is_broken_into_rows(run, monkeypatch):
    layout = make_layout(10, 10, (320, 240))
    unknown = VisualLayout(
        layout.image_sizes, layout.positions, (), layout.boxes, ((),), known=False
    )
    strip = unknown.strip()
    assert strip.tokens.shape == (3, 48)
    assert strip.tokens[2, :5].tolist() == [96, 97, 98, 99, -1]


@pytest.fixture
def two_images(run, monkeypatch):
    """The 40 tokens of `run` as two images: 24 in the first; a thumbnail and a tile of 8 each."""
    first, thumbnail, tile = (np.arange(24), np.arange(24, 32), np.arange(32, 40))
    layout = VisualLayout(
        ((320, 240), (200, 100)),
        run.layout.positions,
        (
            View("image", 0, (0.0, 0.0, 320.0, 240.0), first.reshape(3, 8)),
            View("thumbnail", 1, (0.0, 0.0, 200.0, 100.0), thumbnail.reshape(2, 4)),
            View("tile", 1, (0.0, 0.0, 100.0, 100.0), tile.reshape(2, 4)),
        ),
        run.layout.boxes,
        ((), ()),
    )
    sizes = layout.image_sizes
    monkeypatch.setattr(type(run), "layout", property(lambda _: layout))
    monkeypatch.setattr(type(run), "image", lambda _, index: Image.new("RGB", sizes[index]))
    monkeypatch.setattr(type(run), "has_image", lambda *_: True)
    return run


@pytest.mark.parametrize(
    ("options", "views", "size", "said"),
    [
        ({}, [0], (320, 240), "image 1 of 2"),
        ({"image": 0}, [0], (320, 240), "image 1 of 2"),
        ({"image": 1}, [2], (200, 100), "image 2 of 2, view “tile”"),
        ({"view": 1}, [1], (200, 100), "image 2 of 2, view “thumbnail”"),
        ({"view": 0, "image": 1}, [0], (320, 240), "image 1 of 2"),
    ],
)
def test_a_map_counts_what_it_shows(two_images, options, views, size, said):
    # Below the least phi all patches are sinks: the numbers are those of the views.
    reading = read(two_images, layer=3, settings=Redistribution(tau=0.0))
    figure = build_map(reading, options=MapOptions(**options))
    picture, before = figure.rows[0][:2]
    shown = sum(two_images.layout.views[view].tokens.size for view in views)
    assert picture.size == size and len(picture.sinks) == shown
    assert figure.title.endswith(said)
    assert f"{shown} of 40 visual sinks of layer 3 boxed; the rest" in figure.notes[0]
    grids = [two_images.layout.grid(view, reading.map_before) for view in views]
    for heat, grid in zip(before.heats, grids, strict=True):
        np.testing.assert_array_equal(heat.values, grid)
    # What is elsewhere stretches no scale.
    full = MapOptions(robust=False, hide_sinks=False, **options)
    limits = build_map(reading, options=full).rows[0][1].scale.limits
    after = [two_images.layout.grid(view, reading.map_after) for view in views]
    assert limits.high == pytest.approx(max(g.max() for g in grids + after))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": 2}, "There is no image 3. Images go from 1 to 2."),
        ({"image": -1}, "There is no image 0."),
        ({"view": 3}, "There is no view 3. Views go from 0 to 2."),
        ({"view": -1}, "There is no view -1."),
    ],
)
def test_an_image_that_is_not_there_is_refused(two_images, options, said):
    with pytest.raises(VarStudioError) as caught:
        build_map(read(two_images), options=MapOptions(**options))
    assert said in str(caught.value)


def test_one_image_is_not_numbered(run):
    figure = build_map(read(run, layer=3))
    assert "image" not in figure.title
    boxed = int(read(run, layer=3).visual_sinks.sum())
    assert f"{boxed} visual sinks of layer 3 boxed." in figure.notes[0]
