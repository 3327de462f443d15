"""What the scatter plots, curves and bars of a figure are made of, and where they are drawn."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.synthetic import make_run
from tests.unit.figures.test_render import assert_nothing_is_cut_off_or_overlaps
from var_studio.analysis.choice import read
from var_studio.analysis.reading import Focus, Reading
from var_studio.cli.commands.export import FigureName
from var_studio.figures.build import COMPOSED, FIGURES, build
from var_studio.figures.data import csv_text, npz_bytes
from var_studio.figures.draw_plot import draw_plot
from var_studio.figures.names import FIGURE_NAMES, LIKE
from var_studio.figures.render import render
from var_studio.figures.spec import WIDTHS, Level, Marks, PlotPanel, Scale
from var_studio.figures.two_answers import ANSWERS
from var_studio.recording.settings import Redistribution


def test_the_scatter_shows_each_visual_token_once(run):
    reading = read(run, layer=3, head=1)
    (panel,) = build("scatter", reading).rows[0]
    others, sinks = panel.marks
    row = run.attention(reading.focus.query, 3, 1)
    expected = {
        (round(float(run.phi(3)[p]), 5), round(float(row[p]), 7)): bool(run.sinks(3)[p])
        for p in run.layout.positions
    }
    found = {}
    for marks, sink in ((others, False), (sinks, True)):
        for phi, alpha in zip(marks.x.tolist(), marks.y.tolist(), strict=True):
            found[round(phi, 5), round(alpha, 7)] = sink
    assert found == expected and {True, False} == set(found.values())
    assert panel.levels[0].value == run.tau_default


@pytest.mark.parametrize(
    ("settings", "line"),
    [(Redistribution(rho=0.7), 0.7), (Redistribution(rho=0.7, convention="released-code"), 0.3)],
)
def test_the_head_scatter_has_its_thresholds_where_they_act(run, settings, line):
    reading = read(run, layer=3, settings=settings)
    (panel,) = build("head_scatter", reading).rows[0]
    others, centric = panel.marks
    assert len(others.x) + len(centric.x) == 36
    assert len(centric.x) == reading.image_centric.sum() > 0
    rho, mass = panel.levels
    assert rho.value == pytest.approx(line) and rho.upright
    assert mass.value == 0.2 and not mass.upright
    assert (centric.x >= line - 1e-4).all() and (centric.y >= 0.2).all()
    beyond = (others.x >= line + 1e-4) & (others.y >= 0.2)
    # The released code asks for a sink besides.
    assert not beyond.any() or settings.convention == "released-code"


def test_layers_are_counted_by_the_definition(run):
    phi, counts = build("layers", read(run, layer=3)).rows[0]
    first, sinks, others = phi.marks
    for layer in range(6):
        mask = run.sinks(layer) & run.visual
        assert counts.marks[0].y[layer] == mask.sum()
        assert first.y[layer] == run.phi(layer)[0]
        if mask.any():
            assert sinks.high[layer] == run.phi(layer)[mask].max()
        else:
            assert np.isnan(sinks.y[layer])
        assert others.y[layer] == pytest.approx(run.phi(layer)[run.visual & ~mask].mean())


def test_stems_are_the_recorded_dimensions(run):
    panels = build("hidden", read(run, layer=3)).rows[0]
    assert [panel.title.split()[0] for panel in panels] == ["BOS", "visual", "visual"]
    dims, values = run.top_dims()
    plain, sinks = panels[0].marks
    assert sinks.x.tolist() == list(run.sink_dims)
    np.testing.assert_array_equal(sinks.y, np.abs(run.signed_values[3, 0]))
    assert set(plain.x.tolist()) <= set(dims[3, 0].tolist()) - set(run.sink_dims)
    assert panels[0].hatched == np.abs(values[3, 0]).min()


def test_bars_of_the_ledger_follow_the_rows(run):
    reading = read(run, layer=3, head=1, settings=Redistribution(tau=3.0, heads="all"))
    figure = build("ledger", reading)
    before, after = figure.rows[0][0].marks
    row = run.attention(reading.focus.query, 3, 1)
    moved = run.redistributed(reading.focus.query, reading.settings, 3, 1)
    sinks = run.phi(3) >= 3.0
    first = np.arange(run.length) == 0
    masks = (
        first,
        sinks & ~run.visual & ~first,
        sinks & run.visual,
        ~sinks & run.visual,
        ~sinks & ~run.visual & ~first,
    )
    for marks, values in ((before, row), (after, moved)):
        np.testing.assert_allclose(marks.y, [values[mask].sum() for mask in masks], atol=1e-3)
    assert np.abs(after.y - before.y).max() > 0.01, "nothing moves"
    np.testing.assert_allclose(figure.table["change"], after.y - before.y)
    budget = f"{100 * float(np.clip(after.y - before.y, 0, None).sum()):.3g} %"
    assert budget in figure.notes[0]
    assert figure.rows[0][0].x.names[0] == "BOS"


def test_bars_of_contributions_follow_the_rows(run):
    reading = read(run, layer=3, head=2)
    figure = build("contribution", reading)
    shares, each = figure.rows[0]
    row = run.attention(reading.focus.query, 3, 2)
    norm = run.value_norm(3, 2)
    seen = np.arange(run.length) <= reading.position
    sinks = run.sinks(3) & run.visual & seen
    added = np.where(seen, row * norm, 0)
    assert shares.marks[0].y[2] == pytest.approx(row[sinks].sum(), abs=1e-5)
    assert shares.marks[1].y[2] == pytest.approx(added[sinks].sum() / added.sum(), abs=1e-5)
    assert each.marks[0].y[2] == pytest.approx(added[sinks].mean(), abs=1e-6)
    assert shares.x.names[2] == "visual\nsinks"


def test_a_figure_says_whether_it_shows_the_mean_or_the_largest(run):
    query = read(run).focus.query
    for heads in ((), ((1, 0), (1, 2)), ((1, 0), (2, 2))):
        reading = Reading(run, Focus(query, 1, heads, "max"), Redistribution())
        for name in ("map", "scatter"):
            figure = build(name, reading)
            assert "largest of" in figure.title and "mean of" not in figure.title
            assert figure.metadata["aggregate"] == "max"
        # Contributions are sums over keys: their mean over the heads is shown all the same.
        assert "mean of" in build("contribution", reading).title


def test_words_of_the_answer_are_told_from_the_question(tmp_path):
    run = make_run(tmp_path / "run", rows=3, cols=4, queries=14, varied=True)
    figure = build("shares", read(run))
    (panel,) = figure.rows[0]
    question, answer = panel.marks
    n_answer = len(run.generated_positions)
    assert answer.x.tolist() == list(range(14 - n_answer, 14)) and len(question.x) == 14 - n_answer
    expected = [run.image_centric(query).mean() for query in range(14)]
    assert len(set(expected)) > 2
    np.testing.assert_allclose([*question.y, *answer.y], expected, atol=1e-6)
    table = list(csv.DictReader(io.StringIO(csv_text(figure))))
    assert [line["text"] for line in table] == [run.tokens[p].text for p in run.query_positions]
    with np.load(io.BytesIO(npz_bytes(figure)), allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["image_centric_share"], expected, atol=1e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_many_long_words_keep_apart(tmp_path, width):
    run = make_run(tmp_path / "run", rows=3, cols=4, queries=180, layers=2, heads=2)
    figure = build("shares", read(run), width=width)
    assert_nothing_is_cut_off_or_overlaps(render(figure, width), 150)
    words = [label.get_text() for label in render(figure, width).axes[0].get_xticklabels()]
    assert 10 < len(words) < 180


def test_marks_are_drawn_where_their_values_say():
    from matplotlib.figure import Figure as Drawing

    axes = Drawing().add_axes((0.1, 0.1, 0.8, 0.8))
    x, y = np.array([1.0, 2.0, 3.0]), np.array([1e-9, 0.1, np.nan])
    panel = PlotPanel(
        "t",
        (Marks("$dots$", "dots", x, y, "#000000"), Marks("", "bars", x, y, "#000000", 0.5)),
        Scale("x", 0.0, 4.0),
        Scale("y", 1e-6, 1.0, log=True, percent=True),
        (Level(2.0, "here", True), Level(9.0, "outside", True)),
    )
    draw_plot(axes, panel)
    dots = next(line for line in axes.lines if line.get_label() == "$dots$")
    np.testing.assert_array_equal(dots.get_ydata(), [1e-6, 0.1, np.nan])  # at the bottom, not lost
    assert [text.get_text() for text in axes.texts] == ["here"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["$dots$"]
    assert [bar.get_height() for bar in axes.patches][1] == pytest.approx(0.1)


def test_the_command_line_and_the_window_know_every_figure():
    keys = [name.key for name in FIGURE_NAMES]
    assert sorted(keys) == sorted([*FIGURES, *COMPOSED, ANSWERS])
    assert {name.key for name in FIGURE_NAMES[-len(COMPOSED) :]} == set(COMPOSED)
    assert [each.value for each in FigureName] == [*keys, *LIKE]
    assert set(LIKE.values()) <= set(keys)
