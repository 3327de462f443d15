"""What comes out of the drawing: colours of cells, fonts, live text, the same bytes."""

from __future__ import annotations

import base64
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import make_run
from tests.unit.figures.two_processes import drawn_alike
from var_studio.analysis.choice import read
from var_studio.analysis.scale import Limits
from var_studio.figures.build import FIGURES, MapOptions, build, build_map
from var_studio.figures.page import page_of, styled
from var_studio.figures.render import FigureError, render, save, to_bytes
from var_studio.figures.spec import WIDTHS, ColourScale, Figure, Heat, ImagePanel
from var_studio.recording.settings import Redistribution


def colour_of(value: float, low: float, high: float, colour_map: str) -> np.ndarray:
    """A colour of the map's own table, looked up by hand."""
    from matplotlib import colormaps

    table = colormaps[colour_map].resampled(256)(np.arange(256))
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return np.round(table[min(int(share * 256), 255)][:3] * 255)


def pixels_of(figure: Figure, dpi: int = 200) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(to_bytes(figure, "png", dpi=dpi))).convert("RGB"))


def cell_centres(figure: Figure, axes_index: int, pixels: np.ndarray, rows: int, cols: int):
    """Pixel (y, x) at the centre of each cell of an axes that the cells fill."""
    box = render(figure).axes[axes_index].get_position()
    height, width = pixels.shape[:2]
    y = (1 - box.y1 + (np.arange(rows) + 0.5) / rows * (box.y1 - box.y0)) * height
    x = (box.x0 + (np.arange(cols) + 0.5) / cols * (box.x1 - box.x0)) * width
    return y.astype(int), x.astype(int)


@pytest.mark.parametrize("axes_index", [1, 2])
def test_every_cell_of_a_map_has_the_colour_of_its_attention(run, axes_index):
    options = MapOptions(opacity=1.0, robust=False, hide_sinks=False)
    reading = read(run, token=run.length - 3, layer=3, head=2)
    figure = build_map(reading, options=options)
    figure = replace(figure, rows=(tuple(replace(p, sinks=()) for p in figure.rows[0]),))
    row = run.attention(reading.focus.query, 3, 2)
    if axes_index == 2:
        row = run.redistributed(reading.focus.query, reading.settings, 3, 2)
    first = int(run.layout.positions[0])
    values = np.array([[row[first + 8 * r + c] for c in range(8)] for r in range(5)])
    both = np.maximum(
        run.attention(reading.focus.query, 3, 2)[run.visual].max(),
        run.redistributed(reading.focus.query, reading.settings, 3, 2)[run.visual].max(),
    )
    pixels = pixels_of(figure)
    y, x = cell_centres(figure, axes_index, pixels, 5, 8)
    found = pixels[y][:, x].astype(float)

    def worst(grid: np.ndarray) -> float:
        colours = [[colour_of(v, 0.0, both, "viridis") for v in line] for line in grid]
        return float(np.abs(found - np.array(colours)).max())

    assert worst(values) <= 4
    # Controls: the same cells read in column order, mirrored, or one cell on are seen.
    assert worst(values.ravel().reshape(8, 5).T) > 40
    assert worst(values[:, ::-1]) > 40
    assert worst(np.roll(values, 1, axis=1)) > 40


def heat_figure(values: np.ndarray, **panel) -> Figure:
    scale = ColourScale(Limits(0.0, 1.0), "viridis", "α")
    rows, cols = values.shape
    heat = Heat(values, (0.0, 0.0, cols * 10.0, rows * 10.0))
    blank = np.full((rows * 10, cols * 10, 3), 255, dtype=np.uint8)
    shown = {"picture": blank, "opacity": 1.0, **panel}
    image = ImagePanel("", (cols * 10, rows * 10), heats=(heat,), scale=scale, **shown)
    return Figure(rows=((image,),), title="t")


def test_cells_without_a_token_are_left_open():
    values = np.array([[0.0, np.nan], [1.0, 0.5]])
    figure = heat_figure(values)
    pixels = pixels_of(figure)
    y, x = cell_centres(figure, 0, pixels, 2, 2)
    assert pixels[y[0], x[1]].tolist() == [255, 255, 255]
    assert np.abs(pixels[y[1], x[0]] - colour_of(1.0, 0, 1, "viridis")).max() <= 2


def test_a_picture_under_a_map_is_grey_and_alone_in_colour():
    red = np.zeros((20, 20, 3), dtype=np.uint8)
    red[..., 0] = 200
    figure = heat_figure(np.full((2, 2), np.nan), picture=red)
    under = pixels_of(figure)
    alone = replace(figure, rows=((replace(figure.rows[0][0], heats=(), scale=None),),))
    pixels = pixels_of(alone)
    y, x = cell_centres(alone, 0, pixels, 1, 1)
    assert pixels[y[0], x[0]].tolist() == [200, 0, 0]
    y, x = cell_centres(figure, 0, under, 1, 1)
    assert len(set(under[y[0], x[0]].tolist())) == 1


def test_unseen_borders_are_veiled_and_hatched():
    dark = np.zeros((40, 80, 3), dtype=np.uint8)
    panel = ImagePanel("", (80, 40), dark, unseen=((0.0, 0.0, 20.0, 40.0),))
    figure = Figure(rows=((panel,),))
    pixels = pixels_of(figure)
    box = render(figure).axes[0].get_position()
    height, width = pixels.shape[:2]
    inside = pixels[
        int((1 - box.y1) * height) + 3 : int((1 - box.y0) * height) - 3,
        int(box.x0 * width) + 3 : int(box.x1 * width) - 3,
        0,
    ]
    unseen, seen = np.split(inside, [inside.shape[1] // 4 - 2], axis=1)
    assert unseen.min() > 100 and len(np.unique(unseen)) > 3
    assert (seen[:, 8:] == 0).all()


def test_sinks_are_boxed_where_they_are(run):
    reading = read(run, layer=3)
    figure = build_map(reading)
    cells = np.flatnonzero(reading.visual_sinks)
    assert len(cells)
    boxes = figure.rows[0][0].sinks
    assert boxes == tuple(
        (c % 8 * 40.0, c // 8 * 48.0, c % 8 * 40.0 + 40.0, c // 8 * 48.0 + 48.0) for c in cells
    )
    pixels = pixels_of(figure).astype(int)
    cyan = (pixels[..., 0] < 60) & (pixels[..., 1] > 190) & (pixels[..., 2] > 220)
    box = render(figure).axes[0].get_position()
    height, width = pixels.shape[:2]
    for index in range(40):
        row, col = divmod(index, 8)
        y = int((1 - box.y1 + (row + 0.5) / 5 * (box.y1 - box.y0)) * height)
        left = int((box.x0 + col / 8 * (box.x1 - box.x0)) * width)
        edge_of_sink = index in cells or (col > 0 and index - 1 in cells)
        assert cyan[y, max(left - 2, 0) : left + 3].any() == edge_of_sink, (row, col)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pdf_has_truetype_fonts_its_printed_width_and_its_settings(run, name, width):
    content = to_bytes(build(name, read(run, layer=3), width=width), "pdf", width=width)
    assert b"/Type3" not in content
    assert b"/FontFile2" in content and b"/ToUnicode" in content
    page = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert page and float(page[1]) == pytest.approx(WIDTHS[width] * 72)
    assert b"CreationDate" not in content
    assert b"redistribution" in content


def test_type_3_fonts_would_be_seen(run):
    import matplotlib

    drawing = render(build("histogram", read(run)))
    buffer = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 3}):
        drawing.savefig(buffer, format="pdf")
    assert b"/Type3" in buffer.getvalue()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_text_of_a_pdf_can_be_copied(run, tmp_path):
    path = save(build("histogram", read(run, layer=3)), tmp_path / "f.pdf")
    said = subprocess.run(
        ["pdftotext", path, "-"], capture_output=True, text=True, check=True
    ).stdout
    for words in ("Sinks of layer 3", "τ = 4.33", "sink-dimension value φ", "tokens"):
        assert words in said


def test_svg_has_live_text_and_lossless_cells(run):
    reading = read(run, layer=3, head=2)
    figure = build_map(reading, options=MapOptions(opacity=1.0, robust=False, hide_sinks=False))
    root = ET.fromstring(to_bytes(figure, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    said = " ".join("".join(node.itertext()) for node in root.iter(f"{space}text"))
    for words in ("layer 3, head 2", "before", "attention α (% of the row)"):
        assert words in said
    assert b"DejaVuSans-" not in to_bytes(figure, "svg")  # letters as outlines
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(node.get(link).split(",")[1])))
        for node in root.iter(f"{space}image")
        if (link := "{http://www.w3.org/1999/xlink}href")
    ]
    before = np.asarray(pictures[2].convert("RGB"))
    values = reading.map_before.reshape(5, 8)
    top = max(reading.map_before.max(), reading.map_after.max())
    tall, wide = before.shape[0] // 5, before.shape[1] // 8
    assert (tall * 5, wide * 8) == before.shape[:2]
    upright = (
        before
        if abs(int(before[0, 0, 0]) - colour_of(values[0, 0], 0, top, "viridis")[0]) < 2
        else before[::-1]
    )
    for row in range(5):
        for col in range(8):
            cell = upright[row * tall : (row + 1) * tall, col * wide : (col + 1) * wide]
            assert (cell == cell[0, 0]).all()
            assert np.abs(cell[0, 0] - colour_of(values[row, col], 0, top, "viridis")).max() <= 2


def test_an_svg_brings_the_letters_of_its_fonts(run):
    from fontTools.ttLib import TTFont

    svg = to_bytes(replace(build("histogram", read(run)), title="Sinks & ß"), "svg").decode()
    (rule,) = re.findall(r"@font-face{font-family:'DejaVu Sans';.*?base64,(.*?)\)}", svg)
    font = TTFont(io.BytesIO(base64.b64decode(rule)))
    assert "glyf" in font, "no TrueType"
    has = set(map(chr, font.getBestCmap()))
    texts = (node for node in ET.fromstring(svg).iter() if node.tag.endswith("}text"))
    shown = {letter for node in texts for letter in "".join(node.itertext())}
    assert set("Sinks & ßφτ√") <= shown <= has
    assert "Z" not in has, "letters that nobody asked for"


@pytest.mark.slow
def test_the_same_figure_gives_the_same_bytes_in_another_process(run, tmp_path):
    script = (
        "import sys\n"
        "from var_studio.figures.export import export_figure\n"
        "from var_studio.recording.recording import Recording\n"
        "run = Recording.open(sys.argv[2])\n"
        "for figure in ('map', 'histogram', 'heads'):\n"
        "    for suffix in ('pdf', 'svg', 'png'):\n"
        "        path = f'{sys.argv[1]}/{figure}.{suffix}'\n"
        "        export_figure(run, figure, path, layer=3, with_data=True)\n"
    )
    drawn = {path.name: path for path in drawn_alike(script, tmp_path, run.path)}
    assert len(drawn) == 21
    assert drawn["map.pdf"].read_bytes() != drawn["heads.pdf"].read_bytes()


def test_drawing_leaves_the_settings_of_matplotlib_alone_and_ignores_them(run):
    import matplotlib

    figure = build("heads", read(run))
    plain = to_bytes(figure, "svg")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert to_bytes(figure, "svg") == plain
        assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or "pytest" in sys.modules


@pytest.mark.parametrize("text", ["$x^2$ and $", "\n", "猫が", "\x07", "a" * 300, "<&>", ""])
def test_any_token_can_be_drawn(run, text):
    figure = replace(build("histogram", read(run)), title=text, notes=(text,))
    for suffix in ("pdf", "svg", "png"):
        content = to_bytes(figure, suffix, dpi=50)
        assert content
        if suffix == "svg":
            ET.fromstring(content)


def test_dollar_signs_are_printed_not_parsed(run):
    figure = replace(build("histogram", read(run)), title="costs $5 or $6")
    assert b"costs $5 or $6" in to_bytes(figure, "svg")


def test_each_outlined_head_has_a_frame_within_its_own_cell(run):
    from matplotlib.collections import PatchCollection

    figure = build("heads", read(run))
    outlined = figure.rows[0][0].outlined
    assert outlined.any() and not outlined.all()
    axes = render(figure).axes[0]
    frames = [c for c in axes.collections if isinstance(c, PatchCollection)]
    assert len(frames) == 2
    for collection in frames:
        found = set()
        for path in collection.get_paths():
            box = path.get_extents()
            layer, head = round((box.y0 + box.y1) / 2), round((box.x0 + box.x1) / 2)
            assert head - 0.5 < box.x0 < box.x1 < head + 0.5, "a frame leaves its cell"
            assert layer - 0.5 < box.y0 < box.y1 < layer + 0.5, "a frame leaves its cell"
            found.add((layer, head))
        assert found == set(map(tuple, np.argwhere(outlined).tolist()))


def test_a_very_tall_picture_stays_on_the_page():
    panel = ImagePanel("", (10, 1000), np.zeros((1000, 10, 3), dtype=np.uint8))
    drawing = render(Figure(rows=((panel, panel),)))
    assert drawing.get_figheight() < 10
    box = drawing.axes[0].get_position()
    aspect = box.height * drawing.get_figheight() / (box.width * drawing.get_figwidth())
    assert aspect == pytest.approx(100)


def labels_outside(axes):
    """Tick labels beyond the ends of their axis: matplotlib keeps them, and draws none."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        margin = (high - low) * 1e-6
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low - margin <= tick.get_loc() <= high + margin:
                yield from (tick.label1, tick.label2)


def texts_of(drawing, dpi: int) -> list[tuple[str, Any]]:
    """Every text that is drawn, and its box in dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    drawing.set_dpi(dpi)
    canvas = FigureCanvasAgg(drawing)
    with styled(page_of("column")):  # as `save` draws; what decides about widths is in every style
        canvas.draw()
        renderer = canvas.get_renderer()
        boxed = [(t, t.get_window_extent(renderer)) for t in drawing.findobj(Text)]
        unseen = {id(label) for axes in drawing.axes for label in labels_outside(axes)}
    seen = {
        id(t): (t.get_text(), box)
        for t, box in boxed
        if t.get_visible() and t.get_text().strip() and id(t) not in unseen
    }
    return [(s, b) for s, b in seen.values() if b.width > 0 and b.height > 0]


def assert_nothing_is_cut_off_or_overlaps(drawing, dpi: int) -> None:
    shown = texts_of(drawing, dpi)
    page = drawing.bbox
    assert len(shown) > 5
    for said, box in shown:
        assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, said
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, said
    for index, (said, box) in enumerate(shown):
        for other_said, other in shown[index + 1 :]:
            inside = min(box.x1, other.x1) - max(box.x0, other.x0) > 1
            assert not (inside and min(box.y1, other.y1) - max(box.y0, other.y0) > 1), (
                f"{said!r} on {other_said!r}"
            )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_or_overlaps(run, name, width):
    """Texts lie inside the page, and no two of them lie on each other, at any dots per inch."""
    settings = Redistribution(
        heads="all", target="both", first_layer=1, last_layer=3, convention="released-code"
    )
    for given in (None, settings):
        figure = build(name, read(run, layer=3, head=1, settings=given), width=width)
        for dpi in (72, 100, 150, 300):
            assert_nothing_is_cut_off_or_overlaps(render(figure, width), dpi)


@pytest.mark.parametrize("dpi", [72, 100, 150, 300])
def test_the_margin_of_a_png_stays_empty(run, dpi):
    """The longest footer there is, in the file itself."""
    settings = Redistribution(heads="all", target="both", first_layer=1, sink_dims=run.sink_dims)
    figure = build("map", read(run, layer=3, head=1, settings=settings))
    edge = pixels_of(figure, dpi)[:, -max(dpi // 50, 1) :]
    assert (edge == 255).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("rows", "cols", "size"), [(30, 3, (40, 400)), (3, 30, (400, 40))])
def test_a_long_picture_leaves_room_for_words(tmp_path, width, rows, cols, size):
    run = make_run(tmp_path / "r", rows=rows, cols=cols, queries=8, image_size=size)
    drawing = render(build("map", read(run, layer=3), width=width), width)
    assert_nothing_is_cut_off_or_overlaps(drawing, 300)
    box = drawing.axes[0].get_position()
    shape = box.height * drawing.get_figheight() / (box.width * drawing.get_figwidth())
    assert shape == pytest.approx(size[1] / size[0])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tau", [0.0, 0.4, 4.0, 8.0, 11.0, 12.5])
def test_the_line_of_tau_crosses_no_word(run, width, tau):
    reading = read(run, layer=3, settings=Redistribution(tau=tau))
    drawing = render(build("histogram", reading, width=width), width)
    shown = texts_of(drawing, 300)
    (axes,) = drawing.axes
    (line,) = axes.lines
    x, bottom, top = line.get_window_extent().x0, axes.bbox.y0, axes.bbox.y1
    assert line.get_xdata()[0] == tau
    assert len([said for said, _ in shown if said.startswith("τ =")]) == 1
    for said, box in shown:
        crossed = box.x0 < x < box.x1 and box.y0 < top - 1 and box.y1 > bottom + 1
        assert not crossed, said
    assert_nothing_is_cut_off_or_overlaps(drawing, 300)


def test_a_tau_beyond_the_bound_does_not_stretch_the_axis(run):
    bound = run.hidden_size**0.5
    for tau in (100.0, bound * 1.03):
        reading = read(run, layer=3, settings=Redistribution(tau=tau))
        (axes,) = render(build("histogram", reading)).axes
        assert axes.get_xlim()[1] == pytest.approx(bound * 1.02)
        assert not axes.lines
        assert any(f"τ = {tau:.4g}, beyond √D" in text.get_text() for text in axes.texts)
    # Control: a τ that φ can reach has its line.
    (axes,) = render(build("histogram", read(run, settings=Redistribution(tau=bound)))).axes
    assert axes.lines and axes.get_xlim()[1] >= bound


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f, p: save(f, p / "f.jpg"), "pdf, .svg or .png"),
        (lambda f, p: save(f, p / "f"), "pdf, .svg or .png"),
        (lambda f, p: save(f, p / "f.png", dpi=3), "10 to 2400"),
        (lambda f, p: save(f, p / "f.pdf", width="poster"), "column, two-columns, slide"),
        (lambda f, p: save(f, p / "none" / "f.pdf"), "cannot be written"),
        (lambda f, p: save(f, p), "Use .pdf"),
        (lambda f, p: to_bytes(Figure(rows=()), "pdf"), "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_or_written_is_said(run, tmp_path, make, said):
    with pytest.raises(FigureError, match=said):
        make(build("histogram", read(run)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_disk_is_said(run, tmp_path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for call in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(FigureError, match="Read-only file system"):
        save(build("histogram", read(run)), tmp_path / "f.pdf")
