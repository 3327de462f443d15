"""Scatter, layers, contributions and profiles of a recording, against loops over its arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.contributions import KINDS, contributions
from var_studio.analysis.layers import layer_profile
from var_studio.analysis.profiles import MOST_CHOSEN, profiles
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.scatter import phi_alpha
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

HEADS = [(), ((2, 1),), ((1, 0), (3, 2), (3, 1))]
SETTINGS = [Redistribution(), Redistribution(tau=1.0), Redistribution(convention="released-code")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("curves") / "run"
    return make_run(folder, layers=4, heads=3, rows=4, cols=5, queries=9, precision="float32")


def is_sink(run: Recording, layer: int, position: int, settings: Redistribution) -> bool:
    """The definition, for one token."""
    tau = run.tau_default if settings.tau is None else settings.tau
    phi = max(abs(float(v)) for v in run.signed_values[layer, position])
    if settings.convention == "released-code":
        return phi > tau and layer >= 2 and position < run.prompt_length
    return phi >= tau


def pairs_of(run: Recording, heads: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    return list(heads) or [(i, h) for i in range(run.n_layers) for h in range(run.n_heads)]


# ------------------------------------------------------------------------------------- scatter
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_each_point_is_a_token(run, heads, text, settings):
    query, layer = 4, 2
    reading = Reading(run, Focus(query, layer, heads), settings)
    points = phi_alpha(reading, text)
    position = int(run.query_positions[query])
    visual = [int(p) for p in run.layout.positions]
    expected = visual + [p for p in range(position + 1) if p not in visual] * text
    assert points.positions.tolist() == expected
    row, pairs = run.attention(query), pairs_of(run, heads)
    for i, where in enumerate(expected):
        alpha = sum(float(row[pair][where]) for pair in pairs) / len(pairs)
        assert points.alpha[i] == pytest.approx(alpha, abs=1e-7)
        phi = max(abs(float(v)) for v in run.signed_values[layer, where])
        assert points.phi[i] == pytest.approx(phi)
        assert points.sink[i] == is_sink(run, layer, where, settings)
        assert points.tokens[i] == (visual.index(where) if where in visual else -1)
        assert points.first[i] == (where == 0)
    assert points.visual.sum() == len(visual) and points.unknown == 0
    assert 0 < points.sink.sum() < len(points.sink)


@pytest.mark.parametrize("heads", HEADS)
def test_the_largest_over_heads_is_taken_where_maps_take_it(run, heads):
    focus = Focus(4, 2, heads, "max")
    points = phi_alpha(Reading(run, focus, Redistribution()), text=True)
    row, pairs = run.attention(4), pairs_of(run, heads)
    for where, alpha in zip(points.positions.tolist(), points.alpha.tolist(), strict=True):
        assert alpha == pytest.approx(max(float(row[pair][where]) for pair in pairs), abs=1e-7)


def test_tokens_without_phi_are_counted_and_left_out(run, monkeypatch):
    phi = run.phi().copy()
    phi[2, run.layout.positions[3]] = np.nan
    monkeypatch.setattr(type(run), "phi", lambda self, layer=None, sink_dims=None: phi)
    points = phi_alpha(Reading(run, Focus(0, 2), Redistribution()))
    assert points.unknown == 1 and len(points.phi) == 19
    assert 3 not in points.tokens and {2, 4} <= set(points.tokens.tolist())


# -------------------------------------------------------------------------------------- layers
@pytest.mark.parametrize("settings", [*SETTINGS, Redistribution(tau=1000.0)])
def test_layers_equal_the_loops(run, settings):
    shown = layer_profile(Reading(run, Focus(0, 1), settings))
    visual = [int(p) for p in run.layout.positions]
    seen_empty = False
    for layer in range(run.n_layers):
        phi = {
            p: max(abs(float(v)) for v in run.signed_values[layer, p])
            for p in range(run.length)
            if np.isfinite(run.signed_values[layer, p]).all()
        }
        sinks = [p for p in phi if is_sink(run, layer, p, settings)]
        assert shown.first[layer] == pytest.approx(phi[0])
        assert shown.n_visual[layer] == sum(p in visual for p in sinks)
        assert shown.n_text[layer] == sum(p not in visual for p in sinks)
        for spread, group in (
            (shown.sinks, [phi[p] for p in sinks if p in visual]),
            (shown.others, [phi[p] for p in visual if p not in sinks]),
        ):
            found = (spread.mean[layer], spread.low[layer], spread.high[layer])
            if group:
                mean = sum(group) / len(group)
                assert found == pytest.approx((mean, min(group), max(group)), rel=1e-5)
            else:
                seen_empty = True
                assert all(math.isnan(value) for value in found)
    assert seen_empty == (settings.tau != 1.0)


# ------------------------------------------------------------------------------- contributions
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_contributions_equal_the_loops(run, heads, settings):
    query = 5
    shown = contributions(Reading(run, Focus(query, 0, heads), settings))
    row, norm = run.attention(query), run.value_norm()
    visual = {int(p) for p in run.layout.positions}
    pairs = pairs_of(run, heads)
    mass, amount, count = (dict.fromkeys(range(5), 0.0) for _ in range(3))
    for layer, head in pairs:
        for position in range(int(run.query_positions[query]) + 1):
            sink = is_sink(run, layer, position, settings)
            if position in visual:
                kind = 2 if sink else 3
            elif position == 0:
                kind = 0
            else:
                kind = 1 if sink else 4
            mass[kind] += float(row[layer, head, position])
            amount[kind] += float(row[layer, head, position]) * float(norm[layer, head, position])
            count[kind] += 1
    total = sum(amount.values())
    assert [group.name for group in shown.groups] == list(KINDS)
    for kind, group in enumerate(shown.groups):
        assert group.tokens == pytest.approx(count[kind] / len(pairs))
        assert group.attention == pytest.approx(mass[kind] / len(pairs), abs=1e-6)
        assert group.sum == pytest.approx(amount[kind] / len(pairs), abs=1e-6)
        assert group.share == pytest.approx(amount[kind] / total, abs=1e-6)
        if count[kind]:
            assert group.per_token == pytest.approx(amount[kind] / count[kind], abs=1e-6)
        else:
            assert math.isnan(group.per_token)
    assert sum(group.attention for group in shown.groups) == pytest.approx(1, abs=1e-5)
    assert sum(group.share for group in shown.groups) == pytest.approx(1, abs=1e-5)
    every = (amount[2] + amount[3]) / (count[2] + count[3])
    assert shown.visual.per_token == pytest.approx(every, abs=1e-6)


def test_sinks_contribute_less_than_their_attention(run):
    """The synthetic run gives sinks small values, as models do: Fig. 3c must show it."""
    shown = contributions(Reading(run, Focus(5, 0), Redistribution()))
    sinks, others = shown.groups[2], shown.groups[3]
    assert sinks.share < 0.5 * sinks.attention
    assert others.share > others.attention


def test_keys_after_the_query_play_no_part(run, monkeypatch):
    """Their value norms may be unknown: a token that was never fed has NaN."""
    reading = Reading(run, Focus(2, 0), Redistribution())
    expected = contributions(reading)
    norm = run.value_norm().copy()
    norm[..., int(run.query_positions[2]) + 1 :] = np.nan
    monkeypatch.setattr(type(run), "value_norm", lambda self: norm)
    assert contributions(reading) == expected
    norm[:, :, 0] = np.nan  # Control.
    assert math.isnan(contributions(reading).groups[0].sum)


# ------------------------------------------------------------------------------------ profiles
def test_profiles_are_of_the_tokens_that_the_paper_compares(run):
    query, layer, heads = 4, 3, ((3, 1),)
    reading = Reading(run, Focus(query, layer, heads), Redistribution())
    first, sink, ordinary, *rest = profiles(reading)
    assert not rest and (first.kind, first.position, first.token) == ("first", 0, -1)
    visual = [int(p) for p in run.layout.positions]
    phi = {p: max(abs(float(v)) for v in run.signed_values[layer, p]) for p in visual}
    sinks = [p for p in visual if phi[p] >= run.tau_default]
    assert sink.position == max(sinks, key=lambda p: phi[p])
    alpha = {p: float(run.attention(query, 3, 1)[p]) for p in visual if p not in sinks}
    assert ordinary.position == max(alpha, key=lambda p: alpha[p])
    assert visual[sink.token] == sink.position and visual[ordinary.token] == ordinary.position
    dims, values = run.top_dims()
    for shown in (first, sink, ordinary):
        expected = sorted((abs(float(v)) for v in values[layer, shown.position]), reverse=True)
        assert shown.magnitudes.tolist() == pytest.approx(expected)
        assert shown.floor == pytest.approx(min(expected))
        by_dim = dict(
            zip(dims[layer, shown.position].tolist(), values[layer, shown.position], strict=True)
        )
        if len(by_dim) == 16:  # the synthetic run draws dimensions with replacement
            for dim, size in zip(shown.dims.tolist(), shown.magnitudes, strict=True):
                assert size == abs(by_dim[dim])
        assert shown.sink_dims == run.sink_dims
        own = [abs(float(v)) for v in run.signed_values[layer, shown.position]]
        assert shown.sink_magnitudes.tolist() == pytest.approx(own)


def test_a_layer_without_sinks_shows_none(run):
    reading = Reading(run, Focus(4, 0), Redistribution())
    assert [shown.kind for shown in profiles(reading)] == ["first", "ordinary"]


def test_chosen_cells_come_last_and_once(run):
    reading = Reading(run, Focus(4, 3), Redistribution())
    *_, sink, ordinary = profiles(reading)
    others = [k for k in range(20) if k not in (sink.token, ordinary.token)]
    shown = profiles(reading, [*others[4::-1], sink.token, 1000])  # the last is no cell of this run
    assert [p.token for p in shown[3:]] == others[:MOST_CHOSEN]
    assert {p.kind for p in shown[3:]} == {"chosen"}


def test_other_sink_dimensions_are_known_only_among_the_largest(run):
    dims, _ = run.top_dims()
    largest = int(dims[3, 0, 5])
    elsewhere = next(
        int(d) for d in dims[3].ravel() if d not in dims[3, 0] and d not in run.sink_dims
    )
    settings = Redistribution(sink_dims=(largest, elsewhere, run.sink_dims[0]))
    first = profiles(Reading(run, Focus(4, 3), settings))[0]
    assert first.sink_magnitudes[0] == first.magnitudes[first.dims.tolist().index(largest)]
    assert math.isnan(first.sink_magnitudes[1])
    assert first.sink_magnitudes[2] == abs(run.signed_values[3, 0, 0])
