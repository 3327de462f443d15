"""Widths, styles and fonts of a figure as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from var_studio.analysis.choice import read
from var_studio.figures.build import build
from var_studio.figures.draw_text import paper_and_ink
from var_studio.figures.export import export_figure
from var_studio.figures.measure import fitted, text_width
from var_studio.figures.page import FigureError, ignored_settings, page_of, styled
from var_studio.figures.render import render, to_bytes
from var_studio.figures.spec import (
    ColourScale,
    Figure,
    Limits,
    Paragraph,
    TextPanel,
    TextWord,
)


@pytest.mark.parametrize(
    ("said", "inches", "form"),
    [
        ("column", 3.35, "column"),
        ("88mm", 88 / 25.4, "column"),
        ("8.8 cm", 88 / 25.4, "column"),
        ("180mm", 180 / 25.4, "two-columns"),
        ("469pt", 469 / 72, "two-columns"),
        ("12in", 12.0, "slide"),
    ],
)
def test_a_width_is_a_name_or_a_length(run, said, inches, form):
    page = page_of(said)
    assert page.inches == pytest.approx(inches) and page.width == form
    content = to_bytes(build("histogram", read(run), width=form), "pdf", width=said)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
    assert box and float(box[1]) == pytest.approx(inches * 72, abs=0.01)


@pytest.mark.parametrize("said", ["88", "mm", "-5in", "1in", "3m", "1e9in", "nan in", "", "100in"])
def test_what_is_no_width_is_refused(said):
    with pytest.raises(FigureError, match="width"):
        page_of(said)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_letters_are_as_high_as_their_points_say(run, tmp_path):
    """Boxes of words as printed, from the PDF: they grow with font.size, not with the width."""
    heights = {}
    style = tmp_path / "lab.mplstyle"
    style.write_text("font.size: 10\nxtick.labelsize: 9\nytick.labelsize: 9\n")
    for name, width, extra in (("a", "column", None), ("b", "180mm", None), ("c", "column", style)):
        path = tmp_path / f"{name}.pdf"
        export_figure(run, "histogram", path, width=width, style=extra)
        said = subprocess.run(
            ["pdftotext", "-bbox", path, "-"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r'yMin="([\d.]+)" xMax="[\d.]+" yMax="([\d.]+)">Sinks<', said)
        assert found
        heights[name] = float(found[2]) - float(found[1])
    assert heights["a"] == pytest.approx(heights["b"], rel=1e-3)
    assert heights["c"] == pytest.approx(heights["a"] * 10 / 7, rel=1e-3)


def test_a_style_of_ones_own_is_on_top_of_ours_and_cannot_spoil_the_file(run, tmp_path):
    style = tmp_path / "lab.mplstyle"
    style.write_text(
        "axes.linewidth: 3\npdf.fonttype: 3\nsvg.fonttype: path\nsavefig.bbox: tight\n"
        "image.interpolation: bilinear\nbackend: Qt5Agg\ntext.usetex: True\n"
    )
    figure = build("histogram", read(run))
    page = page_of("column", style)
    with styled(page):
        import matplotlib

        assert matplotlib.rcParams["axes.linewidth"] == 3
        assert matplotlib.rcParams["text.usetex"] is False
    ignored = "backend image.interpolation pdf.fonttype savefig.bbox svg.fonttype text.usetex"
    assert ignored_settings(style) == tuple(ignored.split())
    content = to_bytes(figure, "pdf", width=page)
    assert content != to_bytes(figure, "pdf", width="column")
    assert b"/Type3" not in content and b"/FontFile2" in content
    assert b"<text" in to_bytes(figure, "svg", width=page)
    assert float(re.search(rb"MediaBox \[ 0 0 ([\d.]+)", content)[1]) == pytest.approx(3.35 * 72)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("xtick.labelsize: 4", "at least 5 pt"),
        ("font.size: 5.5\nlegend.fontsize: xx-small", "at least 5 pt"),
        ("axes.nonsense: 3", "no matplotlib style"),
        ("axes.linewidth: thick", "no matplotlib style"),
        ("\x00\xff", "no matplotlib style"),
        (None, "no style file"),
    ],
)
def test_a_style_that_cannot_be_used_is_refused(run, tmp_path, text, said):
    style = tmp_path / "lab.mplstyle"
    if text is not None:
        style.write_text(text, encoding="latin-1")
    with pytest.raises(FigureError, match=said):
        to_bytes(build("histogram", read(run)), "svg", width=page_of("column", style))


def font_with(path: Path, letters: str) -> Path:
    """A TrueType font that has a square for each of these letters, and nothing else."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): n for c, n in zip(letters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(
        {"familyName": "Squares of a Test", "styleName": "Regular", "psName": "SquaresTest"}
    )
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def only_our_fonts(monkeypatch):
    """No font of this machine but those that matplotlib brings."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    ours = [entry for entry in manager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(manager, "ttflist", ours)
    return manager


def text_figure(run, text: str) -> Figure:
    return replace(build("histogram", read(run)), title=text)


def test_letters_that_no_font_has_are_told(run, only_our_fonts):
    svg = to_bytes(text_figure(run, "\u732b \u0b17 Привет"), "svg").decode()
    assert "No font on this machine has U+0B17, U+732B: boxes stand there." in svg
    # Control: what our font has is not told, nor are signs that show nothing.
    assert "No font" not in to_bytes(text_figure(run, "ß Привет\u200b π ≥"), "svg").decode()


def test_a_font_that_has_the_letters_is_taken_and_embedded(run, only_our_fonts, tmp_path):
    only_our_fonts.addfont(str(font_with(tmp_path / "squares.ttf", "\u732b\u0b17")))
    figure = text_figure(run, "a \u732b of \u0b17")
    svg = to_bytes(figure, "svg").decode()
    assert "No font" not in svg and "@font-face{font-family:'Squares of a Test';" in svg
    content = to_bytes(figure, "pdf")
    assert b"SquaresTest" in content
    assert b"/Type3" not in content
    if shutil.which("pdftotext"):
        path = tmp_path / "f.pdf"
        path.write_bytes(content)
        said = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True).stdout
        assert "a \u732b of \u0b17" in said
    # A figure without such letters does not change for it.
    plain = text_figure(run, "a cat")
    assert b"Squares" not in to_bytes(plain, "pdf")


def test_a_title_is_made_to_fit_and_never_smaller_than_it_may_be():
    with styled(page_of("column")):
        em, least = 7.5 / 72, 5 / 72
        assert fitted("short", 1.0, em, least) == ("short", em)
        words = "a little too long"
        said, size = fitted(words, 0.85 * text_width(words, em), em, least)
        assert said == words and least <= size < em
        said, size = fitted("x" * 99, 0.5, em, least)
        assert size == least and "…" in said and text_width(said, size) <= 0.5


def test_words_flow_in_lines_and_stay_in_the_page(run):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    words = tuple(TextWord(f" word{n}", value=n / 60) for n in range(60))
    scale = ColourScale(Limits(0.0, 1.0), "YlGnBu", "share (%)", percent=True)
    long = Paragraph("name", (TextWord("un"), TextWord("broken" * 40), *words, TextWord("\nlast")))
    drawing = render(Figure(rows=((TextPanel((long,), scale),),)), "column")
    axes = drawing.axes[0]
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in axes.texts]
    page = drawing.bbox
    assert all(b.x0 >= page.x0 and b.x1 <= page.x1 and b.y0 >= page.y0 for _, b in boxes)
    said = [text for text, _ in boxes]
    every = "".join(word.text.strip() for word in long.words)
    assert "".join(said[1:]) == every
    # In reading order: down the lines, and from left to right in each.
    places = [(-round(b.y0), b.x0) for t, b in boxes if t.startswith("word")]
    assert places == sorted(places) and len({y for y, _ in places}) > 3
    papers = [tuple(patch.get_facecolor()[:3]) for patch in axes.patches]
    assert papers == [pytest.approx(paper_and_ink(w.value, scale)[0]) for w in words]


def test_ink_can_be_read_on_its_paper():
    scale = ColourScale(Limits(0.0, 1.0), "gray", "x")
    assert paper_and_ink(0.0, scale)[1] == "#ffffff" and paper_and_ink(1.0, scale)[1] == "#000000"
