"""Numbers of a session saved with a part of its weights: as from the whole one, or not known."""

import math

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.contributions import contributions, visual_map
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.reverse import cell_attention
from var_studio.analysis.shares import row_masses
from var_studio.recording.content import Content, map_keys
from var_studio.recording.session import open_session, save_session
from var_studio.recording.settings import HeadAblation, Knockout, Redistribution

QUERY = 14
ALWAYS = (
    *("visual_mass", "non_sink_ratio", "image_centric", "map_before", "n_sinks", "visual_sinks"),
    *("phi", "sinks"),
)
AFTER = ("map_after", "map_difference", "changed")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run whose tokens of the answer are in part sinks, whole and with the weights for maps."""
    folder = tmp_path_factory.mktemp("left out")
    whole = make_run(folder / "run", precision="float32", seed=4)
    path = save_session(folder / "maps.vars", [whole], content=Content(maps=True))
    return whole, open_session(path).runs[0]


def readings(pair, settings, heads=(), acts=None, query=QUERY):
    return [Reading(run, Focus(query, 3, heads), settings, acts=acts) for run in pair]


def close(mine, its):
    """Sums of the same numbers in another order."""
    return np.allclose(mine, its, rtol=1e-5, atol=1e-7)


def same_or_unknown(mine, its):
    unknown = np.isnan(mine)
    return close(np.asarray(mine)[~unknown], np.asarray(its)[~unknown])


def test_rows_have_the_weights_that_maps_need(pair):
    whole, part = pair
    kept = map_keys(whole)
    assert kept[whole.layout.positions].all() and kept[0] and 0 < (~kept).sum() < 40
    assert np.array_equal(part.keys_left_out, ~kept)
    for query in range(len(whole.query_positions)):
        seen = np.arange(whole.length) <= whole.query_positions[query]
        row = np.where(~kept & seen, np.nan, whole.attention(query))
        assert np.array_equal(part.attention(query), row, equal_nan=True)
    assert np.array_equal(part.value_norm(), whole.value_norm(), equal_nan=True)
    assert np.array_equal(part.top_dims()[0], whole.top_dims()[0])


@pytest.mark.parametrize("heads", [(), ((2, 1),), tuple((3, h) for h in range(6))])
@pytest.mark.parametrize("convention", ["paper", "released-code"])
@pytest.mark.parametrize("above", [0.51, 1, 1.5])
def test_what_maps_show_is_as_it_was(pair, heads, convention, above):
    tau = pair[0].tau_default * above
    settings = Redistribution(tau=tau, rho=0.2, convention=convention)
    whole, part = readings(pair, settings, heads)
    assert whole.changed.any() and (~whole.changed).any()
    for name in (*ALWAYS, *AFTER):
        assert close(getattr(part, name), getattr(whole, name)), name
    for moment in ("before", "after", "difference"):
        assert close(part.head_maps(0, moment), whole.head_maps(0, moment))
        if moment != "difference":
            seen = visual_map(part, moment, "contribution")
            assert close(seen, visual_map(whole, moment, "contribution"))
    assert close(part.on_cells([3, 44]), whole.on_cells([3, 44]))


def test_what_depends_on_other_text_is_not_known(pair):
    whole, part = readings(pair, Redistribution(rho=0.2))
    for name in ("bos", "text_sinks", "visual_sinks", "visual_non_sinks"):
        mine, its = getattr(part.ledger, name), getattr(whole.ledger, name)
        assert mine.before == pytest.approx(its.before, rel=1e-5)
        assert mine.after == pytest.approx(its.after, rel=1e-5)
    assert part.ledger.budget == pytest.approx(whole.ledger.budget, rel=1e-5) != 0
    assert math.isnan(part.ledger.other_text.before) and math.isnan(part.ledger.sum_before)
    assert np.isnan(part.entropy).all() and np.isnan(part.contribution).all()
    mine, its = contributions(part), contributions(whole)
    for one, other in zip((*mine.groups, mine.visual), (*its.groups, its.visual), strict=True):
        assert math.isnan(one.share) and one.tokens == other.tokens
        if one.name == "other text":
            assert math.isnan(one.sum) and math.isnan(one.attention)
        else:
            assert one.sum == pytest.approx(other.sum, rel=1e-5)
            assert one.per_token == pytest.approx(other.per_token, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    "settings",
    [
        Redistribution(target="text", rho=0.2),
        Redistribution(target="both", rho=0.2),
        Redistribution(tau=0.4, rho=0.05, mass_min=0.01),
        Redistribution(tau=0.4, rho=0.95, mass_min=0.01, convention="released-code"),
        Redistribution(tau=0.4, target="region", region=(3, 4, 5), heads="all"),
    ],
)
def test_a_redistribution_over_unknown_weights_is_not_known(pair, settings):
    whole, part = readings(pair, settings)
    assert (whole.sinks & ~map_keys(whole.run)).any() == (settings.tau is not None)
    for name in ALWAYS:
        assert close(getattr(part, name), getattr(whole, name)), name
    # Layers that are not active, and heads that are not selected, stay known.
    assert np.isnan(part.head_maps(0, "after")).any()
    assert same_or_unknown(part.head_maps(0, "after"), whole.head_maps(0, "after"))
    assert np.isnan(part.map_after).all() and np.isnan(part.map_difference).all()
    assert math.isnan(part.ledger.visual_non_sinks.after) and math.isnan(part.ledger.budget)
    changed = part.run.intervened(QUERY, settings)
    assert same_or_unknown(changed, whole.run.intervened(QUERY, settings))


@pytest.mark.parametrize(
    "acts",
    [
        (Knockout(),),
        (HeadAblation(rho=0.2),),
        (Knockout(), Redistribution(rho=0.2)),
        (Redistribution(rho=0.2), Knockout(tokens="chosen", positions=(107, 108))),
        (Redistribution(rho=0.2, tau=0.4),),
    ],
)
def test_other_interventions(pair, acts):
    whole, part = readings(pair, Redistribution(rho=0.2), acts=acts)
    assert np.isnan(part.redistributed[..., part.positions]).any()
    assert same_or_unknown(part.redistributed, whole.redistributed)
    for account, its in zip(part.ledger.accounts, whole.ledger.accounts, strict=True):
        assert math.isnan(account.after) or account.after == pytest.approx(its.after, abs=1e-6)
    assert same_or_unknown(part.run.intervened(QUERY, acts), whole.run.intervened(QUERY, acts))


def test_a_row_before_all_that_was_left_out_is_whole(tmp_path):
    run = make_run(tmp_path / "run", precision="float32", queries=3)
    path = save_session(tmp_path / "s.vars", [run], content=Content(maps=True))
    part = open_session(path).runs[0]
    first = int(np.flatnonzero(part.keys_left_out)[0])
    # Text before the image is left out, too: no row is before it.
    assert first < run.layout.positions[0]
    assert part.unknown_keys(0).sum() > 0 and run.unknown_keys(0) is None


def test_all_rows_together(pair):
    whole, part = pair
    settings = Redistribution(rho=0.2)
    mine, its = row_masses(part, settings), row_masses(whole, settings)
    assert mine.advance() and its.advance()
    assert close(mine.visual_mass(), its.visual_mass())
    assert close(mine.sink_mass(), its.sink_mass())
    assert close(mine.image_centric_share(settings), its.image_centric_share(settings))
    low = Redistribution(tau=0.4)
    mine, its = row_masses(part, low), row_masses(whole, low)
    assert mine.advance() and its.advance()
    assert np.isnan(mine.sink_mass()).all() and not np.isnan(its.sink_mass()).any()
    assert close(mine.visual_mass(), its.visual_mass())
    cells = [cell_attention(run, [5, 50]) for run in pair]
    assert all(one.advance() for one in cells)
    assert close(cells[0].of_tokens(), cells[1].of_tokens())
