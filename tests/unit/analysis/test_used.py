"""A row as a run with interventions used it: every number against the row itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.used import as_used
from var_studio.recording.interventions import run_name_for
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

SHAPE = {"layers": 5, "rows": 6, "cols": 7, "queries": 10, "precision": "float32"}
VAR = Redistribution(rho=0.3)
MADE_WITH = [
    [Knockout()],
    [Knockout(tokens="random-visual", seed=4)],
    [Knockout(tokens="chosen", positions=(0, 9, 30))],
    [HeadAblation(rho=0.5)],
    [HeadAblation(heads="random", seed=2, last_layer=3)],
    [HeadAblation(heads="complement")],
    [VAR, Knockout(), Contrast()],
    [Redistribution(target="region", region=(4, 5, 6, 30), heads="all")],
    [Redistribution(source="visual", heads="all")],
    [VAR],
]


@pytest.mark.parametrize("interventions", MADE_WITH, ids=run_name_for)
@pytest.mark.parametrize("heads", [(), ((1, 2),), ((0, 0), (2, 5), (4, 1))], ids=len)
def test_it_is_the_row_that_the_recording_gives(tmp_path, interventions, heads):
    run = make_run(tmp_path / "run", intervention=interventions, **SHAPE)
    for query in (0, 6):
        reading = as_used(run, Focus(query, 2, heads))
        before, after = run.attention(query), run.intervened(query)
        assert not np.allclose(before, after, atol=1e-3)
        np.testing.assert_allclose(reading.redistributed, after, atol=1e-6)
        different = (np.abs(after - before) > 1e-7).any(-1)
        np.testing.assert_array_equal(reading.changed, different)

        shown = heads or tuple(np.ndindex(before.shape[:2]))
        mean = np.mean([after[pair] for pair in shown], axis=0, dtype=np.float64)
        was = np.mean([before[pair] for pair in shown], axis=0, dtype=np.float64)
        positions = run.layout.positions
        np.testing.assert_allclose(reading.map_after, mean[positions], atol=1e-6)
        np.testing.assert_allclose(reading.map_difference, (mean - was)[positions], atol=1e-6)
        maps = reading.head_maps(0, "after").reshape(*before.shape[:2], -1)
        np.testing.assert_allclose(maps, after[..., positions], atol=1e-6)

        sinks = reading.sinks
        for account, keys in (
            (reading.ledger.visual_sinks, sinks & run.visual),
            (reading.ledger.visual_non_sinks, ~sinks & run.visual),
        ):
            masses = [(row * keys[:, None]).sum(-1) for row in (before, after)]
            first, second = (np.mean([mass[pair] for pair in shown]) for mass in masses)
            assert account.before == pytest.approx(first, abs=1e-5)
            assert account.after == pytest.approx(second, abs=1e-5)
        bos = [np.mean([row[pair][0] for pair in shown]) for row in (before, after)]
        assert reading.ledger.bos.before == pytest.approx(bos[0], abs=1e-6)
        assert reading.ledger.bos.after == pytest.approx(bos[1], abs=1e-6)
        assert reading.ledger.sum_after == pytest.approx(1, abs=1e-5)


def test_what_a_sink_is_follows_the_interventions(tmp_path):
    made_with = HeadAblation(tau=4.0, rho=0.4, convention="released-code")
    run = make_run(tmp_path / "run", intervention=made_with, **SHAPE)
    reading = as_used(run, Focus(5, 2))
    sinks = run.sinks(tau=4.0, convention="released-code")
    np.testing.assert_array_equal(reading.sinks, sinks)
    expected = run.image_centric(5, {"tau": 4.0, "rho": 0.4, "convention": "released-code"})
    np.testing.assert_array_equal(reading.image_centric, expected)


@pytest.mark.parametrize("made_with", [None, Contrast()], ids=["baseline", "contrast"])
def test_where_attention_was_left_alone_nothing_changes(tmp_path, made_with):
    run = make_run(tmp_path / "run", intervention=made_with, **SHAPE)
    reading = as_used(run, Focus(5, 2))
    assert not reading.changed.any() and not reading.map_difference.any()
    assert np.array_equal(reading.redistributed, run.attention(5))


def test_results_of_another_intervention_are_not_reused(tmp_path):
    run = make_run(tmp_path / "run", intervention=[Knockout(), VAR], **SHAPE)
    local = Reading(run, Focus(5, 2), VAR)
    moved = local.redistributed
    used = as_used(run, Focus(5, 2), local)
    assert not np.allclose(used.redistributed, moved, atol=1e-3)
    again = Reading(run, Focus(5, 2), VAR, used)
    assert np.array_equal(again.redistributed, moved)
