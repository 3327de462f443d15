"""Settings on recorded rows, against plain loops that follow the paper's text."""

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.recording.apply import active_layers
from var_studio.recording.settings import Redistribution


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), layers=5, heads=4, rows=6, cols=7, queries=16)


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
