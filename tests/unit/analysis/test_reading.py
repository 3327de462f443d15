"""Every number of a Reading against loops over plain Python floats, with negative controls."""

from __future__ import annotations

import math

import numpy as np
import pytest

from var_studio.analysis.reading import Focus, Reading
from var_studio.errors import VarStudioError
from var_studio.method import heads as method_heads
from var_studio.method import redistribution, sinks
from var_studio.recording.settings import Redistribution

CASES = [
    Redistribution(rho=0.5),
    Redistribution(rho=0.8, p=0.3, mass_min=0.3),
    Redistribution(rho=0.3, target="text"),
    Redistribution(rho=0.3, target="both"),
    Redistribution(heads="all"),
    Redistribution(rho=0.2, first_layer=2, last_layer=4),
    Redistribution(rho=0.6, convention="released-code"),
    Redistribution(rho=0.6, convention="released-code", target="both", p=0.25),
    Redistribution(tau=1.5, rho=0.1),
    Redistribution(tau=1000.0),
    Redistribution(tau=0.0),
    Redistribution(p=0.0),
    Redistribution(rho=0.3, target="region", region=(0, 1, 4)),
    Redistribution(heads="all", p=0.35, target="region", region=(1, 2, 7, 8)),
    Redistribution(heads="all", target="region", region=(1,)),  # a sink alone
    Redistribution(rho=0.3, target="region", region=(0, 3, 5)),  # 3: a separator, where there are
    Redistribution(rho=0.6, convention="released-code", target="region", region=(4, 5)),
    Redistribution(tau=0.0, target="region", region=(4, 5)),
]


def loops(run, query, settings):
    """The paper's and the released code's definitions, one float at a time."""
    code = settings.convention == "released-code"
    tau = settings.tau if settings.tau is not None else run.tau_default
    layers, heads, length = run.n_layers, run.n_heads, len(run.tokens)
    patches = {int(run.layout.positions[k]) for v in run.layout.views for k in v.tokens.ravel()}
    first_generated = min(t.position for t in run.tokens if t.role == "generated")
    sink = np.zeros((layers, length), bool)
    ratio, mass, sink_mass, entropy = (np.zeros((layers, heads)) for _ in range(4))
    centric, after = np.zeros((layers, heads), bool), run.rows[query].astype(np.float64)
    for layer in range(layers):
        for j in range(length):
            phi = float(run.values[layer, j])
            sink[layer, j] = phi > tau if code else phi >= tau
            if code and (layer < 2 or j >= first_generated):
                sink[layer, j] = False
        for head in range(heads):
            alpha = [float(a) for a in run.rows[query, layer, head]]
            visual_sink = sum(alpha[j] for j in patches if sink[layer, j])
            visual = sum(alpha[j] for j in patches)
            mass[layer, head] = visual
            ratio[layer, head] = (visual - visual_sink) / visual
            sink_mass[layer, head] = sum(a for j, a in enumerate(alpha) if sink[layer, j])
            entropy[layer, head] = -sum(a * math.log(a) for a in alpha if a > 0)
            if code:
                passes = visual_sink / (visual + 1e-6 * len(patches)) <= settings.rho
                passes = passes and any(sink[layer, j] for j in patches)
            else:
                passes = ratio[layer, head] >= settings.rho
            centric[layer, head] = passes and visual >= settings.mass_min
            active = settings.first_layer <= layer
            if settings.last_layer is not None:
                active = active and layer <= settings.last_layer
            elif not code:
                active = active and layer < layers - 1
            if code:
                active = active and layer >= 2
            if not active or not (centric[layer, head] or settings.heads == "all"):
                continue
            receivers = {
                "visual": [j for j in patches if not sink[layer, j]],
                "text": [j for j in range(length) if j not in patches and not sink[layer, j]],
                "both": [j for j in range(length) if not sink[layer, j]],
                "region": [
                    j
                    for k, j in enumerate(run.layout.positions)
                    if k in settings.region and not sink[layer, j]
                ],
            }[settings.target]
            keep = settings.p if code else 1 - settings.p
            budget = (1 - keep) * sink_mass[layer, head]
            pool = sum(alpha[j] for j in receivers)
            if budget <= 0 or pool <= 0:
                continue
            for j in range(length):
                if sink[layer, j]:
                    after[layer, head, j] = keep * alpha[j]
            for j in receivers:
                after[layer, head, j] = alpha[j] + budget * alpha[j] / pool
    return sink, mass, ratio, sink_mass, entropy, centric, after


@pytest.mark.parametrize("settings", CASES, ids=lambda s: str(s.model_dump(exclude_defaults=True)))
@pytest.mark.parametrize("separators", [False, True])
@pytest.mark.parametrize("query", [0, 4])
def test_every_number_equals_the_loops(make_small_run, settings, separators, query):
    run = make_small_run(seed=query, separators=separators)
    sink, mass, ratio, sink_mass, entropy, centric, after = loops(run, query, settings)
    reading = Reading(run, Focus(query, 3), settings)
    before = run.rows[query]

    np.testing.assert_array_equal(reading.sinks, sink)
    np.testing.assert_array_equal(reading.n_sinks, sink.sum(1))
    np.testing.assert_allclose(reading.visual_mass, mass, atol=1e-6)
    np.testing.assert_allclose(reading.non_sink_ratio, ratio, atol=1e-6)
    np.testing.assert_allclose(reading.sink_mass, sink_mass, atol=1e-6)
    np.testing.assert_allclose(reading.entropy, entropy, atol=1e-5)
    np.testing.assert_array_equal(reading.image_centric, centric)
    np.testing.assert_allclose(reading.redistributed, after, atol=1e-6)
    np.testing.assert_array_equal(reading.changed, (np.abs(after - before) > 1e-7).any(-1))
    np.testing.assert_allclose(reading.redistributed.sum(-1), 1, atol=1e-5)

    positions = run.layout.positions
    for chosen in [(), ((3, 1),), ((2, 0), (3, 1), (3, 3)), tuple(np.ndindex(5, 4)) * 4]:
        focused = Reading(run, Focus(query, 3, chosen), settings, reading)
        pairs = chosen or tuple(np.ndindex(5, 4))
        expected = np.mean([before[pair][positions] for pair in pairs], axis=0)
        moved = np.mean([after[pair][positions] for pair in pairs], axis=0)
        np.testing.assert_allclose(focused.map_before, expected, atol=1e-6)
        np.testing.assert_allclose(focused.map_after, moved, atol=1e-6)
        np.testing.assert_allclose(focused.map_difference, moved - expected, atol=1e-6)
        check_ledger(focused.ledger, before, after, sink, run, pairs)


@pytest.mark.parametrize("region", [(0, 4), (3, 4)])
def test_a_region_with_the_first_token_of_all(make_small_run, region):
    """No text before the image: the ledger's first account may itself be among the receivers."""
    run = make_small_run(seed=3, system=0)
    settings = Redistribution(heads="all", target="region", region=region)
    sink, *_, after = loops(run, 4, settings)
    reading = Reading(run, Focus(4, 0), settings)
    assert not sink[0, 0]
    assert sink[1:, 0].all()
    np.testing.assert_allclose(reading.redistributed, after, atol=1e-6)
    for chosen in [(), ((0, 0),), ((0, 1), (2, 2))]:
        focused = Reading(run, Focus(4, 0, chosen), settings, reading)
        pairs = chosen or tuple(np.ndindex(5, 4))
        check_ledger(focused.ledger, run.rows[4], after, sink, run, pairs)


def test_a_region_of_patches_never_goes_through_whole_rows(make_small_run):
    """One of patches is a group of keys; a separator is a text key, so its rows are made whole."""
    run = make_small_run(seed=1, separators=True)
    for region, whole in (((0, 4, 5), False), ((0, 3, 5), True)):
        reading = Reading(
            run, Focus(4, 3), Redistribution(heads="all", target="region", region=region)
        )
        assert np.abs(reading.map_difference).max() > 0
        assert reading.ledger.budget > 0
        assert ("redistributed" in reading._memo) == whole


def test_readings_of_two_regions_never_mix_up(make_small_run):
    run = make_small_run(seed=2)
    cases = [
        Redistribution(heads="all", target="region", region=(0, 4)),
        Redistribution(heads="all", target="region", region=(5,)),
        Redistribution(heads="all"),
    ]
    readings, maps = [], []
    for settings in cases * 2:
        previous = readings[-1] if readings else None
        readings.append(Reading(run, Focus(4, 3), settings, previous))
        maps.append(readings[-1].map_after.copy())
    for settings, reading, shown in zip(cases * 2, readings, maps, strict=True):
        after = loops(run, 4, settings)[-1][..., run.layout.positions]
        np.testing.assert_allclose(shown, after.mean((0, 1)), atol=1e-6)
        np.testing.assert_allclose(reading.map_after, shown, atol=0)


def test_loops_would_notice_another_region(make_small_run):
    """Negative control: one token more in the region is seen in map, rows and ledger."""
    run = make_small_run(seed=4)
    one = Redistribution(heads="all", target="region", region=(0, 4))
    more = one.model_copy(update={"region": (0, 4, 5)})
    after = loops(run, 4, one)[-1]
    reading = Reading(run, Focus(4, 3), more)
    expected = after[..., run.layout.positions].mean((0, 1))
    assert np.abs(reading.map_after - expected).max() > 1e-4
    assert np.abs(reading.redistributed - after).max() > 1e-3
    sink, *_, less = loops(run, 4, one.model_copy(update={"p": 0.5}))
    with pytest.raises(AssertionError, match="'after'"):
        check_ledger(reading.ledger, run.rows[4], less, sink, run, tuple(np.ndindex(5, 4)))


def check_ledger(ledger, before, after, sink, run, pairs):
    visual = run.visual
    kinds = {
        "bos": lambda layer, j: j == 0,
        "text_sinks": lambda layer, j: j > 0 and not visual[j] and sink[layer, j],
        "visual_sinks": lambda layer, j: j > 0 and visual[j] and sink[layer, j],
        "visual_non_sinks": lambda layer, j: j > 0 and visual[j] and not sink[layer, j],
        "other_text": lambda layer, j: j > 0 and not visual[j] and not sink[layer, j],
    }
    for name, belongs in kinds.items():
        for moment, rows in (("before", before), ("after", after)):
            total = 0.0
            for layer, head in pairs:
                for j in range(len(run.tokens)):
                    if belongs(layer, j):
                        total += float(rows[layer, head, j])
            found = getattr(getattr(ledger, name), moment)
            assert found == pytest.approx(total / len(pairs), abs=1e-6), (name, moment)
    assert ledger.sum_before == pytest.approx(1, abs=1e-5)
    assert ledger.sum_after == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("settings", CASES[:8])
def test_the_grouped_rules_are_those_of_the_method(make_small_run, settings):
    """The method's own functions on whole rows; many seeds, so that heads fall on both sides."""
    seen = set()
    for seed in range(20):
        run = make_small_run(seed=seed)
        reading = Reading(run, Focus(2, 1), settings)
        rows = run.rows[2][:, :, None]
        expected = method_heads.image_centric(
            rows,
            run.visual,
            reading.sinks,
            rho=settings.rho,
            mass_min=settings.mass_min,
            convention=settings.convention,
        )[..., 0]
        np.testing.assert_array_equal(reading.image_centric, expected)
        seen |= set(expected.ravel().tolist())
        selected = reading.masses.selected(settings, reading.image_centric)
        after = redistribution.redistribute(
            rows,
            run.visual,
            reading.sinks,
            selected[..., None],
            p=settings.p,
            target=settings.target,
            convention=settings.convention,
        )[:, :, 0]
        np.testing.assert_allclose(reading.redistributed, after, atol=1e-6)
    assert seen == {True, False} or settings.heads == "all"


def test_loops_would_notice_the_other_convention(make_small_run):
    """Negative control: the loops of one convention disagree with the reading of the other."""
    run = make_small_run(seed=4)
    paper, code = Redistribution(rho=0.6), Redistribution(rho=0.6, convention="released-code")
    *_, centric, after = loops(run, 4, paper)
    reading = Reading(run, Focus(4, 3), code)
    assert (reading.sinks != loops(run, 4, paper)[0]).any()
    assert np.abs(reading.redistributed - after).max() > 1e-3
    assert (reading.image_centric != centric).any()


def test_loops_would_notice_a_shifted_or_transposed_map(make_small_run):
    run = make_small_run(seed=1)
    reading = Reading(run, Focus(4, 3, ((3, 1),)), Redistribution())
    maps = reading.head_maps(0)
    for row in range(3):
        for col in range(3):
            assert maps[3, 1, row, col] == run.rows[4, 3, 1, 3 + 3 * row + col]
    assert not np.allclose(maps[3, 1], maps[3, 1].T)
    assert not np.allclose(reading.map_before, run.rows[4, 3, 1, 2:11])


def test_head_maps_after_and_difference(make_small_run):
    run = make_small_run(seed=2, separators=True)
    reading = Reading(run, Focus(4, 3), Redistribution(heads="all"))
    before, after = reading.head_maps(0), reading.head_maps(0, "after")
    assert before.shape == after.shape == (5, 4, 3, 3)
    positions = run.layout.positions[run.layout.views[0].tokens]
    np.testing.assert_array_equal(after, reading.redistributed[..., positions])
    np.testing.assert_array_equal(reading.head_maps(0, "difference"), after - before)
    assert np.abs(after - before).max() > 0.01


def test_token_reading(make_small_run):
    run = make_small_run(seed=3, separators=True)
    reading = Reading(run, Focus(4, 3, ((3, 0),)), Redistribution(heads="all"))
    alphas = [float(run.rows[4, 3, 0, p]) for p in run.layout.positions]
    for k, position in enumerate(run.layout.positions):
        token = reading.token(k)
        assert token.position == position
        assert token.alpha == pytest.approx(alphas[k])
        assert token.rank == 1 + sum(a > alphas[k] for a in alphas)
        assert token.phi == pytest.approx(float(run.values[3, position]))
        assert token.sink == (run.values[3, position] >= 4.0)
    patch, separator = reading.token(5), reading.token(3)
    assert (patch.view, patch.row, patch.col, patch.box) == (0, 1, 1, (10, 10, 20, 20))
    assert (separator.view, separator.row, separator.col, separator.box) == (-1, -1, -1, None)
    # A separator is no patch: never among the visual sinks, whatever its phi.
    assert not Reading(run, Focus(4, 3), Redistribution(tau=0.0)).visual_sinks[3]


def test_phi_histogram_counts_each_token_once(make_small_run):
    run = make_small_run(seed=5)
    run.values[3, 14] = np.nan  # a token that was never fed
    reading = Reading(run, Focus(0, 3), Redistribution())
    histogram = reading.phi_histogram(3, bins=7)
    expected = {"visual": [0] * 7, "text": [0] * 7, "bos": [0] * 7}
    width = np.nanmax(run.values) / 7
    for j in range(len(run.tokens)):
        value = float(run.values[3, j])
        if not math.isnan(value):
            kind = "bos" if j == 0 else "visual" if run.tokens[j].role == "visual" else "text"
            expected[kind][min(int(value / width), 6)] += 1
    for kind, counts in expected.items():
        assert getattr(histogram, kind).tolist() == counts
    other = reading.phi_histogram(0, bins=7)
    np.testing.assert_array_equal(other.edges, histogram.edges)
    assert other.visual.tolist() != histogram.visual.tolist()


def test_a_chain_of_readings_recomputes_only_what_changed(make_small_run):
    run = make_small_run()
    first = Reading(run, Focus(2, 1), Redistribution())
    first.map_after, first.entropy, first.phi_histogram()
    second = Reading(run, Focus(2, 1), Redistribution(tau=1.0), first)
    assert second.attention is first.attention
    assert second.map_before is first.map_before
    assert run.calls == [2]
    assert second.sinks.sum() > sinks.sink_mask(run.values, 4.0).sum()
    fresh = Reading(run, Focus(2, 1), Redistribution(tau=1.0))
    np.testing.assert_array_equal(second.map_after, fresh.map_after)


def test_readings_that_share_results_never_mix_them_up(make_small_run):
    """Two readings used in turn give what each gives alone, whatever was asked in between."""
    run = make_small_run(seed=6)
    rng = np.random.default_rng(0)
    names = [
        "sinks",
        "non_sink_ratio",
        "image_centric",
        "changed",
        "redistributed",
        "map_before",
        "map_after",
        "map_difference",
        "entropy",
        "visual_mass",
        "sink_mass",
        "masses",
    ]
    previous = None
    readings = []
    for _ in range(40):
        settings = CASES[rng.integers(len(CASES))]
        focus = Focus(int(rng.integers(6)), int(rng.integers(5)), ((int(rng.integers(5)), 1),))
        previous = Reading(run, focus, settings, previous)
        readings.append(previous)
        chosen = readings[rng.integers(len(readings))]
        alone = Reading(run, chosen.focus, chosen.settings)
        for name in rng.permutation(names)[:5]:
            shared, own = getattr(chosen, name), getattr(alone, name)
            if name == "masses":
                shared, own = shared.masses, own.masses
            np.testing.assert_array_equal(shared, own)


def test_another_run_shares_nothing(make_small_run):
    first = Reading(make_small_run(seed=1), Focus(2, 1), Redistribution())
    assert first.map_before.any()
    other = make_small_run(seed=2)
    second = Reading(other, Focus(2, 1), Redistribution(), first)
    np.testing.assert_array_equal(second.attention, other.rows[2])


def test_nothing_moves_means_exactly_zero(make_small_run):
    reading = Reading(make_small_run(), Focus(2, 1), Redistribution(tau=1000.0))
    assert (reading.map_difference == 0).all()
    assert not reading.changed.any()
    assert (reading.non_sink_ratio == 1).all()
    assert reading.ledger.budget == 0


def test_results_cannot_be_written_to(make_small_run):
    reading = Reading(make_small_run(), Focus(2, 1), Redistribution())
    for array in (reading.sinks, reading.map_after, reading.redistributed, reading.image_centric):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize(
    ("focus", "said"),
    [
        (Focus(6, 0), "Rows go from 0 to 5"),
        (Focus(-1, 0), "Rows go from 0 to 5"),
        (Focus(0, 5), "Layers go from 0 to 4"),
        (Focus(0, 0, ((9, 0),)), "Layers go from 0 to 4"),
        (Focus(0, 0, ((0, 4),)), "Heads go from 0 to 3"),
    ],
)
def test_a_focus_outside_the_run_is_refused(make_small_run, focus, said):
    with pytest.raises(VarStudioError, match=said):
        Reading(make_small_run(), focus, Redistribution())


def test_bad_questions_are_refused(make_small_run):
    reading = Reading(make_small_run(), Focus(0, 0), Redistribution())
    with pytest.raises(VarStudioError, match="non_sink_ratio"):
        reading.head_value("colour")
    with pytest.raises(VarStudioError, match="0 to 0"):
        reading.head_maps(1)
    with pytest.raises(VarStudioError, match="0 to 8"):
        reading.token(9)
    with pytest.raises(VarStudioError, match="0 to 4"):
        reading.phi_histogram(5)
