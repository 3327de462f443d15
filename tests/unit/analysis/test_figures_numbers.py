"""Numbers that only composed figures ask for, against plain loops over a recording."""

from __future__ import annotations

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.over_rows import layer_contributions
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.shares import looking_words
from var_studio.analysis.sorted_heads import share_of_image, sorted_heads
from var_studio.recording.settings import Redistribution


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("numbers") / "run"
    return make_run(folder, rows=5, cols=8, queries=16, layers=4, heads=5, varied=True)


def test_contributions_by_layer_are_means_over_rows_heads_and_tokens(run):
    settings = Redistribution()
    found = layer_contributions(run, settings)
    norm = run.value_norm()
    everything = {"sinks": [], "others": [], "every": []}
    for layer in range(run.n_layers):
        here = {"sinks": [], "others": [], "every": []}
        for query in range(len(run.query_positions)):
            for head in range(run.n_heads):
                row = run.attention(query, layer, head)
                for position in map(int, run.layout.positions):
                    added = float(row[position]) * float(norm[layer, head, position])
                    kind = "sinks" if run.sinks(layer)[position] else "others"
                    here[kind].append(added)
                    here["every"].append(added)
        for kind, values in here.items():
            mine = getattr(found, kind)[layer]
            if values:
                assert mine == pytest.approx(np.mean(values), rel=1e-4), (layer, kind)
            else:
                assert np.isnan(mine)
            # Like with like: only layers that have sinks count in the means over layers.
            everything[kind] += values if here["sinks"] else []
        assert found.compared[layer] == bool(here["sinks"])
    assert any(np.isnan(found.sinks)) and not all(np.isnan(found.sinks))
    assert found.mean_sinks == pytest.approx(np.mean(everything["sinks"]), rel=1e-4)
    assert found.mean_others == pytest.approx(np.mean(everything["others"]), rel=1e-4)
    assert found.mean_every == pytest.approx(np.mean(everything["every"]), rel=1e-4)
    # Sinks and others are not each other's.
    assert found.mean_sinks != pytest.approx(found.mean_others, rel=0.1)


def test_heads_are_sorted_by_the_ratio_and_only_those_that_look(run):
    reading = Reading(run, Focus(7, 2), Redistribution())
    found = sorted_heads(reading)
    expected = []
    below = bare = 0
    for layer in range(run.n_layers):
        for head in range(run.n_heads):
            row = run.attention(7, layer, head)
            mass = float(row[run.visual].sum())
            left = float(row[run.visual & ~run.sinks(layer)].sum())
            n_sinks = int((run.visual & run.sinks(layer)).sum())
            if mass >= 0.2 and n_sinks:
                expected.append((left / mass, layer, head))
            bare += mass >= 0.2 and not n_sinks
            below += mass < 0.2
    assert 1 < len(expected) < 20 and bare and below
    assert (found.below, found.bare) == (below, bare)
    np.testing.assert_allclose(found.ratio, sorted((r for r, *_ in expected), reverse=True), 1e-5)
    for ratio, layer, head in zip(found.ratio, found.layers, found.heads, strict=True):
        at = expected[[(a, b) for _, a, b in expected].index((layer, head))]
        assert ratio == pytest.approx(at[0], rel=1e-5)


def test_a_share_of_the_image_sums_to_one(run):
    reading = Reading(run, Focus(7, 2), Redistribution())
    share = share_of_image(reading, 2, 3)
    row = run.attention(7, 2, 3)[run.layout.positions]
    assert float(share.sum()) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(share, row / row.sum(), rtol=1e-5)


def test_the_words_that_look_most_are_found(run):
    settings = Redistribution()
    shares = {}
    for query, position in enumerate(run.query_positions):
        token = run.tokens[int(position)]
        if token.role == "generated" and token.text.strip().isalnum():
            shares.setdefault(token.text, []).append((run.image_centric(query).mean(), position))
    best = sorted(((max(s)[0], text) for text, s in shares.items()), reverse=True)
    found = looking_words(run, settings, 3)
    assert list(found) == sorted(found) and len(found) == 3
    texts = {run.tokens[p].text for p in found}
    assert len(texts) == 3
    least = min(max(shares[text])[0] for text in texts)
    assert least >= best[2][0] and least > best[-1][0]
    assert len(looking_words(run, settings, 99)) == len(shares)
