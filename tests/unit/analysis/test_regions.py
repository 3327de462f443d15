"""Sinks and attention inside a region, against loops (Table 6)."""

from __future__ import annotations

import numpy as np
import pytest

from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.regions import inside, region_attention, region_counts
from var_studio.recording.settings import Redistribution

REGION = (0, 1, 3, 5)


def test_counts_equal_the_loops(make_small_run) -> None:
    """With separators: tokens 3, 7 and 11 of the 3 × 4 are no patches."""
    run = make_small_run(separators=True)
    reading = Reading(run, Focus(1, 3), Redistribution())
    counts = region_counts(reading, REGION)
    patches = [k for k in range(12) if k % 4 != 3]
    assert counts.tokens == 9 and counts.tokens_inside == 3
    for layer in range(run.n_layers):
        sinks = [k for k in patches if run.values[layer, run.layout.positions[k]] >= 4.0]
        assert counts.sinks[layer] == len(sinks)
        assert counts.sinks_inside[layer] == sum(k in REGION for k in sinks)
        share = counts.share_of_sinks(layer)
        if sinks:
            assert share == pytest.approx(sum(k in REGION for k in sinks) / len(sinks))
        else:
            assert np.isnan(share)
    assert counts.share_of_tokens == pytest.approx(3 / 9)
    total = counts.sinks_inside.sum() / counts.sinks.sum()
    assert 0 < total < 1 and counts.share_of_sinks() == pytest.approx(total)


def test_attention_inside_equals_the_loops(make_small_run) -> None:
    run = make_small_run()
    settings = Redistribution(p=0.9, rho=0.1, mass_min=0.0, heads="all")
    reading = Reading(run, Focus(2, 3, ((2, 1), (3, 0))), settings)
    found = region_attention(reading, (1, 2, 7))
    before = after = 0.0
    for layer, head in ((2, 1), (3, 0)):
        for k in (1, 2, 7):
            position = int(run.layout.positions[k])
            before += float(run.rows[2, layer, head, position]) / 2
            after += float(reading.redistributed[layer, head, position]) / 2
    assert found.before == pytest.approx(before, rel=1e-5)
    assert found.after == pytest.approx(after, rel=1e-4)
    assert abs(found.after - found.before) > 1e-4
    assert found.visual_before > found.before and found.visual_after > found.after


def test_what_does_not_exist_is_left_out() -> None:
    assert inside((0, 2, 9, -1), 3).tolist() == [True, False, True]
