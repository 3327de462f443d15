"""Settings on recorded rows, against plain loops that follow the paper's text."""

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.recording.apply import active_layers
from var_studio.recording.settings import HeadAblation, Knockout, Redistribution


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    shape = {"layers": 5, "heads": 4, "rows": 6, "cols": 7, "queries": 16}
    return make_run(folder, **shape, precision="float32")


def slow_redistribution(run, query, tau, rho, p, mass_min=0.2, target="visual", every=False):
    """Sec. 4.1, 5.1 and 5.2 word by word, a number at a time. All layers but the last."""
    before = run.attention(query).astype(np.float64)
    after = before.copy()
    n_layers, n_heads, length = before.shape
    visual = [token.role == "visual" for token in run.tokens]
    moved = 0
    for layer in range(n_layers - 1):
        phi = [max(abs(float(v)) for v in run.signed_values[layer, j]) for j in range(length)]
        sink = [value >= tau for value in phi]
        for head in range(n_heads):
            row = before[layer, head]
            mass = sum(row[j] for j in range(length) if visual[j])
            non_sink = sum(row[j] for j in range(length) if visual[j] and not sink[j])
            if not every and not (mass >= mass_min and non_sink / mass >= rho):
                continue
            wanted = {"visual": [True], "text": [False], "both": [True, False]}[target]
            takes = [visual[j] in wanted and not sink[j] for j in range(length)]
            budget = p * sum(row[j] for j in range(length) if sink[j])
            pool = sum(row[j] for j in range(length) if takes[j])
            for j in range(length):
                if sink[j]:
                    after[layer, head, j] = (1 - p) * row[j]
                elif takes[j]:
                    after[layer, head, j] = row[j] + budget * row[j] / pool
            moved += budget > 0
    return after, moved


@pytest.mark.parametrize(
    "settings",
    [
        {"tau": 4.0, "rho": 0.6, "p": 0.6},
        {"tau": 4.0, "rho": 0.9, "p": 1.0},
        {"tau": 2.0, "rho": 0.5, "p": 0.3, "mass_min": 0.5},
        {"tau": 4.0, "rho": 0.6, "p": 0.6, "target": "text"},
        {"tau": 4.0, "rho": 0.6, "p": 0.6, "target": "both"},
    ],
)
def test_redistributed_rows_follow_the_equations(run, settings):
    total = 0
    for query in (0, 7, 15):
        expected, moved = slow_redistribution(run, query, **settings)
        found = run.redistributed(query, Redistribution(**settings))
        assert found.dtype == np.float32 and not found.flags.writeable
        np.testing.assert_allclose(found, expected, atol=2e-6)
        np.testing.assert_allclose(found.sum(-1), run.attention(query).sum(-1), atol=1e-5)
        total += moved
    # The test means something: heads were selected and had sinks.
    assert total > 0


def test_all_heads_are_redistributed_when_asked(run):
    expected, moved = slow_redistribution(run, 3, tau=4.0, rho=0.6, p=0.6, every=True)
    found = run.redistributed(3, Redistribution(tau=4.0, rho=0.6, p=0.6, heads="all"))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    few = run.redistributed(3, Redistribution(tau=4.0, rho=0.99, p=0.6))
    assert moved and not np.allclose(few, expected, atol=1e-3)


def test_selected_heads_by_hand(run):
    settings = Redistribution(tau=4.0, rho=0.7)
    found = run.image_centric(5, settings)
    sinks, rows = run.phi() >= 4.0, run.attention(5)
    for layer in range(run.n_layers):
        for head in range(run.n_heads):
            row = rows[layer, head].astype(np.float64)
            mass = row[run.visual].sum()
            ratio = row[run.visual & ~sinks[layer]].sum() / mass
            assert found[layer, head] == (mass >= 0.2 and ratio >= 0.7)
    assert 0 < found.sum() < found.size


def test_which_layers_are_active():
    def layers(**settings):
        return np.flatnonzero(active_layers(Redistribution(**settings), 6)).tolist()

    assert layers() == [0, 1, 2, 3, 4]
    assert layers(first_layer=2) == [2, 3, 4]
    assert layers(first_layer=1, last_layer=3) == [1, 2, 3]
    # Named, the last layer is meant.
    assert layers(last_layer=5) == [0, 1, 2, 3, 4, 5]
    assert layers(convention="released-code") == [2, 3, 4, 5]


def test_which_layers_are_active_without_heads_or_sinks():
    def layers(settings):
        return np.flatnonzero(active_layers(settings, 6)).tolist()

    assert layers(Knockout()) == layers(HeadAblation()) == [0, 1, 2, 3, 4, 5]
    assert layers(Knockout(first_layer=1, last_layer=3)) == [1, 2, 3]
    # Heads are chosen by their sinks, which the released code looks for from layer 2 on.
    assert layers(HeadAblation(convention="released-code")) == [2, 3, 4, 5]
    chosen = Knockout(convention="released-code", tokens="chosen", positions=(0,))
    assert layers(chosen) == [0, 1, 2, 3, 4, 5]


def test_hidden_keys_get_nothing_and_the_rest_grows_alike(run):
    before = run.attention(9)
    sinks = run.sinks()
    after = run.intervened(9, Knockout())
    hidden = np.broadcast_to((sinks & run.visual)[:, None], before.shape)
    assert hidden.any() and (after[hidden] == 0).all() and (before[hidden] > 0).any()
    np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
    left = 1 / np.where(hidden, 0, before).sum(-1, keepdims=True)
    np.testing.assert_allclose(after[~hidden], (before * left)[~hidden], rtol=1e-5)


def test_random_tokens_are_as_many_visual_ones_and_others_in_each_layer(run):
    before, sinks = run.attention(9), run.sinks()
    drawn = {}
    for seed in (0, 1):
        settings = Knockout(tokens="random-visual", seed=seed)
        after = run.intervened(9, settings)
        gone = ((after == 0) & (before > 0)).all(axis=1)
        assert not gone[:, ~run.visual].any()
        assert gone.sum(-1).tolist() == (sinks & run.visual).sum(-1).tolist()
        assert len({tuple(layer) for layer in gone}) > 1
        drawn[seed] = gone
    assert (drawn[0] != drawn[1]).any()
    # A token draws the same for every query of a run.
    again = run.intervened(12, Knockout(tokens="random-visual"))
    assert (again[np.broadcast_to(drawn[0][:, None], again.shape)] == 0).all()


def test_heads_lose_the_image(run):
    settings = HeadAblation(rho=0.7)
    before, centric = run.attention(5), run.image_centric(5, Redistribution(rho=0.7))
    assert 0 < centric.sum() < centric.size

    def blind(**changes):
        after = run.intervened(5, settings.model_copy(update=changes))
        np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
        lost = (after[..., run.visual] == 0).all(-1)
        assert np.array_equal(after[~lost], before[~lost])
        return lost

    assert np.array_equal(blind(), centric)
    assert np.array_equal(blind(heads="complement"), ~centric)
    random = blind(heads="random")
    assert random.sum(-1).tolist() == centric.sum(-1).tolist()
    assert (random != centric).any() and (random != blind(heads="random", seed=1)).any()
    assert not blind(first_layer=2)[:2].any()


def test_what_is_hidden_is_not_redistributed(run):
    var, knockout = Redistribution(rho=0.3, last_layer=4), Knockout()
    both = run.intervened(9, [var, knockout])
    hidden = np.broadcast_to((run.sinks() & run.visual)[:, None], both.shape)
    assert (both[hidden] == 0).all()
    np.testing.assert_allclose(both.sum(-1), 1, atol=1e-5)
    assert not np.allclose(both, run.intervened(9, knockout), atol=1e-3)
    # With the visual sinks hidden every visual key left is a non-sink: text sinks give.
    alone = run.intervened(9, knockout)
    text = run.sinks() & ~run.visual
    gave = np.broadcast_to(text[:, None], both.shape) & (both < alone - 1e-6)
    np.testing.assert_allclose(both[gave], 0.4 * alone[gave], rtol=1e-4)
    assert gave.any()


def test_a_region_receives_and_one_kind_of_sink_gives(run):
    region = tuple(range(10, 20))
    before, sinks = run.attention(9), run.sinks()
    for source, gives in (("visual", sinks & run.visual), ("text", sinks & ~run.visual)):
        settings = Redistribution(target="region", region=region, source=source, heads="all")
        after = run.redistributed(9, settings)
        np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
        takes = np.zeros(run.length, bool)
        takes[run.layout.positions[list(region)]] = True
        changed = (np.abs(after - before) > 1e-6).any(axis=1)
        assert not (changed & ~(gives | (takes & ~sinks))).any() and changed[gives].any()


def test_released_code_looks_for_sinks_in_the_prompt_from_layer_2_on(run):
    tau = float(np.nanmedian(run.phi()))
    paper, code = run.sinks(tau=tau), run.sinks(tau=tau, convention="released-code")
    assert not code[:2].any() and paper[:2].any()
    assert not code[:, run.prompt_length :].any() and paper[2:, run.prompt_length :].any()
    phi = run.phi()[2:, : run.prompt_length]
    assert np.array_equal(code[2:, : run.prompt_length], phi > tau)
    # The two tests differ at tau itself, which a median of an odd count is.
    at_tau = run.phi() == tau
    assert np.array_equal(paper, (run.phi() >= tau)) and not (code & at_tau).any()


def test_the_default_settings_use_the_run_s_tau(run):
    by_name = run.redistributed(9, Redistribution(tau=run.tau_default))
    assert np.array_equal(run.redistributed(9), by_name)
    other = run.redistributed(9, Redistribution(tau=run.tau_default / 4))
    assert not np.array_equal(other, by_name)
