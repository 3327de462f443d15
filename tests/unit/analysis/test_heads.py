"""What a map over several heads and a head's value are, against loops over plain floats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.reverse import CellAttention
from var_studio.errors import VarStudioError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Knockout, Redistribution

CHOICES = [(), ((3, 1),), ((2, 0), (3, 1), (3, 3)), ((1, 2), (4, 2))]
SETTINGS = [
    Redistribution(rho=0.3),
    Redistribution(rho=0.3, target="both", p=0.3),
    Redistribution(tau=1000.0),
    Redistribution(heads="all", convention="released-code"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder: Path = tmp_path_factory.mktemp("heads") / "run"
    return make_run(folder, precision="float32")


def largest(rows, pairs, positions):
    """For each visual token the largest of the heads, one float at a time."""
    found = []
    for position in positions:
        best = -1.0
        for layer, head in pairs:
            best = max(best, float(rows[layer][head][position]))
        found.append(best)
    return np.array(found)


@pytest.mark.parametrize("separators", [False, True])
@pytest.mark.parametrize(
    "settings", SETTINGS, ids=lambda s: str(s.model_dump(exclude_defaults=True))
)
@pytest.mark.parametrize("chosen", CHOICES, ids=len)
def test_the_largest_of_the_heads_equals_the_loops(make_small_run, chosen, settings, separators):
    run = make_small_run(seed=2, separators=separators)
    mean = Reading(run, Focus(4, 3, chosen), settings)
    reading = Reading(run, replace(mean.focus, aggregate="max"), settings, mean)
    pairs = chosen or tuple(np.ndindex(5, 4))
    positions = run.layout.positions
    before = largest(run.rows[4], pairs, positions)
    after = largest(reading.redistributed, pairs, positions)
    np.testing.assert_array_equal(reading.map_before, before.astype(np.float32))
    np.testing.assert_allclose(reading.map_after, after, atol=1e-7)
    np.testing.assert_allclose(reading.map_difference, after - before, atol=1e-7)
    if len(pairs) > 1:
        assert (reading.map_before > mean.map_before).any(), "else the loops show nothing"
    # What is remembered for the one must not answer for the other.
    again = Reading(run, mean.focus, settings, reading)
    np.testing.assert_array_equal(again.map_before, mean.map_before)
    np.testing.assert_array_equal(again.map_after, mean.map_after)


def test_the_ledger_stays_a_mean(make_small_run):
    run = make_small_run()
    chosen = ((2, 0), (3, 1), (3, 3))
    mean = Reading(run, Focus(4, 3, chosen), Redistribution(rho=0.3)).ledger
    reading = Reading(run, Focus(4, 3, chosen, "max"), Redistribution(rho=0.3))
    assert reading.ledger == mean
    assert reading.ledger.sum_before == pytest.approx(1, abs=1e-5)


def test_the_largest_of_the_heads_after_a_knockout(run: Recording):
    reading = Reading(run, Focus(3, 2, (), "max"), Redistribution(), acts=[Knockout()])
    after = largest(reading.redistributed, tuple(np.ndindex(6, 6)), run.layout.positions)
    np.testing.assert_allclose(reading.map_after, after, atol=1e-7)
    assert reading.changed.any()


def test_contribution_of_the_image_equals_the_loops(make_small_run):
    run = make_small_run(seed=5, separators=True)
    reading = Reading(run, Focus(3, 2), Redistribution())
    norm, visual = run.value_norm(), run.visual
    for layer, head in np.ndindex(5, 4):
        image = total = 0.0
        for j in range(len(run.tokens)):
            added = float(run.rows[3, layer, head, j]) * float(norm[layer, head, j])
            total += added
            image += added if visual[j] else 0.0
        assert reading.contribution[layer, head] == pytest.approx(image / total, rel=1e-5)
    assert np.abs(reading.contribution - reading.visual_mass).max() > 0.05, "norms must matter"


def test_attention_on_cells_equals_the_loops_and_the_reverse_view(run: Recording):
    cells = [7, 3, 55]
    for query in (0, 12, 29):
        reading = Reading(run, Focus(query, 2), Redistribution())
        row = run.attention(query)
        for layer, head in np.ndindex(run.n_layers, run.n_heads):
            expected = sum(float(row[layer, head, int(run.layout.positions[k])]) for k in cells)
            assert reading.on_cells(cells)[layer, head] == pytest.approx(expected, rel=1e-5)
    reverse = CellAttention(run, cells)
    reverse.advance()
    np.testing.assert_allclose(reading.on_cells(cells), reverse.of_heads(29), rtol=1e-5)
    assert not reading.on_cells([]).any()


def test_an_unknown_value_is_refused(make_small_run):
    reading = Reading(make_small_run(), Focus(3, 2), Redistribution())
    with pytest.raises(VarStudioError, match="head quantity"):
        reading.head_value("ratio")  # type: ignore[arg-type]


@pytest.mark.parametrize("separators", [False, True])
@pytest.mark.parametrize("moment", ["before", "after", "difference"])
def test_maps_of_heads_lie_where_their_tokens_do(make_small_run, separators, moment):
    run = make_small_run(seed=3, separators=separators)
    view = run.layout.views[0]
    view.tokens[0, 1] = -1  # a cell that the model never saw
    reading = Reading(run, Focus(4, 3), Redistribution(rho=0.2))
    maps = reading.head_maps(0, moment)
    after = reading.redistributed
    for layer, head, row, col in np.ndindex(5, 4, *view.tokens.shape):
        token = int(view.tokens[row, col])
        if token < 0:
            assert np.isnan(maps[layer, head, row, col])
            continue
        position = int(run.layout.positions[token])
        was, now = run.rows[4, layer, head, position], after[layer, head, position]
        expected = {"before": was, "after": now, "difference": now - was}[moment]
        assert maps[layer, head, row, col] == expected
    some = reading.some_head_maps([(3, 1), (0, 2)], 0, moment)
    np.testing.assert_array_equal(some, maps[[3, 0], [1, 2]])
    assert np.abs(after - run.rows[4]).max() > 0.01, "else the three are the same"
