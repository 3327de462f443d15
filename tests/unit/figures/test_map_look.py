"""A map in a figure looks as the map on screen: gamma, limits, opacity, bare sinks, smoothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import make_run
from var_studio.analysis.choice import read
from var_studio.analysis.scale import Limits, placed, value_at
from var_studio.figures.build import MapOptions, build, build_map
from var_studio.figures.render import render, to_bytes
from var_studio.recording.recording import Recording


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", precision="float32")


def drawn(figure, axes_index: int, rows: int, cols: int, at: float = 0.5) -> np.ndarray:
    """RGB of the point `at` (0 to 1) across and down each cell, from the PNG."""
    pixels = np.asarray(Image.open(io.BytesIO(to_bytes(figure, "png", dpi=200))).convert("RGB"))
    box = render(figure).axes[axes_index].get_position()
    height, width = pixels.shape[:2]
    y = (1 - box.y1 + (np.arange(rows) + at) / rows * (box.y1 - box.y0)) * height
    x = (box.x0 + (np.arange(cols) + at) / cols * (box.x1 - box.x0)) * width
    return pixels[y.astype(int)][:, x.astype(int)].astype(float)


def blended(value: float, high: float, gamma: float, opacity: float, under: np.ndarray):
    """One cell's colour by hand: the map's own table over the picture."""
    from matplotlib import colormaps

    table = colormaps["magma"].resampled(256)(np.arange(256))[:, :3] * 255
    share = min(max(value / high, 0.0), 1.0) ** gamma
    return opacity * table[min(int(share * 256), 255)] + (1 - opacity) * under


def test_cells_have_the_colours_of_the_screen_s_settings(run: Recording) -> None:
    reading = read(run, token=run.length - 3, layer=3, head=2)
    high, gamma, opacity = 0.6 * float(reading.map_before.max()), 0.4, 0.65
    options = MapOptions(
        opacity=opacity,
        colour_map="magma",
        gamma=gamma,
        limits=Limits(0.0, high, True),
        sinks_boxed=False,
        bare_sinks=True,
        grey=False,
    )
    figure = build_map(reading, options=options)
    picture = np.asarray(run.image(0).convert("RGB")).astype(float)
    rows, cols = run.layout.views[0].tokens.shape
    height, width = picture.shape[:2]

    def expected(gamma: float, opacity: float, bare: bool) -> np.ndarray:
        out = np.zeros((rows, cols, 3))
        for k in range(run.layout.count):
            _, r, c = run.layout.cell_of(k)
            under = picture[int((r + 0.5) * height / rows), int((c + 0.5) * width / cols)]
            hidden = bare and reading.visual_sinks[k]
            value = float(reading.map_before[k])
            out[r, c] = under if hidden else blended(value, high, gamma, opacity, under)
        return out

    found = drawn(figure, 1, rows, cols)

    def off(want: np.ndarray) -> float:
        return float(np.median(np.abs(found - want).max(axis=-1)))

    assert reading.visual_sinks.any()
    assert off(expected(gamma, opacity, True)) <= 4
    sinks = reading.visual_sinks.reshape(rows, cols)
    assert np.abs(found - expected(gamma, opacity, True))[sinks].max() <= 12
    # Controls: without gamma, with the former opacity, sinks coloured.
    assert off(expected(1.0, opacity, True)) > 10
    assert off(expected(gamma, 1.0, True)) > 15
    assert np.abs(found - expected(gamma, opacity, False))[sinks].max() > 40


@pytest.mark.parametrize("gamma", [0.3, 2.5])
def test_ticks_stand_where_the_colour_of_their_value_is(run: Recording, gamma: float) -> None:
    reading = read(run, token=run.length - 3, layer=3, head=2)
    figure = build_map(reading, options=MapOptions(gamma=gamma))
    before, difference = figure.rows[0][1].scale, figure.rows[0][3].scale
    drawing = render(figure)
    bars = [axes for axes in drawing.axes if axes.get_xlabel()]
    drawing.canvas.draw()
    assert len(bars) == 2
    for bar, scale in zip(bars, (before, difference), strict=True):
        assert f"gamma {gamma:g}" in bar.get_xlabel()
        low, high = 100 * scale.limits.low, 100 * scale.limits.high
        ticks = [t for t in bar.get_xticks() if low <= t <= high]
        assert len(ticks) >= 3 and (low == 0 or 0.0 in ticks)
        left, right = bar.bbox.x0, bar.bbox.x1
        for tick in ticks:
            at = (bar.transData.transform((tick, 0))[0] - left) / (right - left)
            share = (tick / high) ** gamma if tick >= 0 else -((-tick / high) ** gamma)
            assert at == pytest.approx(share if low == 0 else (1 + share) / 2, abs=0.01)
        places = np.sort(placed(np.array(ticks), low, high, gamma))
        assert np.diff(places).min() > 0.08  # no two numbers on each other


def test_a_smooth_map_is_exact_in_the_middle_of_its_cells(run: Recording) -> None:
    reading = read(run, token=run.length - 3, layer=3, head=2)
    shown = {"opacity": 1.0, "sinks_boxed": False, "robust": False, "hide_sinks": False}
    crisp = build_map(reading, options=MapOptions(**shown))
    smooth = build_map(reading, options=MapOptions(smooth=True, **shown))
    rows, cols = run.layout.views[0].tokens.shape
    one, other = (drawn(figure, 1, rows, cols) for figure in (crisp, smooth))
    assert np.abs(one - other).max() <= 8
    one, other = (drawn(figure, 1, rows, cols, at=0.95) for figure in (crisp, smooth))
    assert np.abs(one - other).max() > 40


@pytest.mark.parametrize("low", [0.0, -2.0])
@pytest.mark.parametrize("gamma", [0.2, 1.0, 5.0])
def test_a_value_is_found_again_at_its_place(low: float, gamma: float) -> None:
    values = np.linspace(low, 2.0, 9)
    back = value_at(placed(values, low, 2.0, gamma), low, 2.0, gamma)
    np.testing.assert_allclose(back, values, atol=2e-5)


@pytest.mark.parametrize("name", ["map", "maps", "before_after"])
def test_boxed_and_without_colour_are_said_as_one(run, name):
    said = {
        boxed: " ".join(
            build(name, read(run), options=MapOptions(bare_sinks=True, sinks_boxed=boxed)).notes
        )
        for boxed in (True, False)
    }
    assert "The boxed cells are left without colour." in said[True]
    assert "Visual sinks are left without colour." in said[False]
    assert "left without colour" not in " ".join(build(name, read(run)).notes)
