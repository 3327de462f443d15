"""A Reading on a real recording says what the recording itself says, also while that grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.reading import Focus, Reading
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_run(tmp_path_factory.mktemp("reading") / "run", rows=6, cols=7, queries=10)


@pytest.mark.parametrize(
    "settings",
    [
        Redistribution(),
        Redistribution(rho=0.3, p=0.9, target="both"),
        Redistribution(rho=0.3, source="visual"),
        Redistribution(heads="all", source="text", target="text"),
        Redistribution(heads="all", target="region", region=(0, 1, 2, 20)),
        Redistribution(convention="released-code", rho=0.4),
        Redistribution(heads="all", first_layer=1, last_layer=5),
    ],
)
def test_it_agrees_with_the_recording(run, settings):
    for query in (0, 5, 9):
        reading = Reading(run, Focus(query, 2), settings)
        np.testing.assert_array_equal(reading.image_centric, run.image_centric(query, settings))
        expected = run.redistributed(query, settings)
        np.testing.assert_allclose(reading.redistributed, expected, atol=1e-6)
        before = run.attention(query)[..., run.layout.positions]
        after = expected[..., run.layout.positions]
        np.testing.assert_allclose(reading.map_before, before.mean((0, 1)), atol=1e-6)
        np.testing.assert_allclose(reading.map_after, after.mean((0, 1)), atol=1e-6)
        np.testing.assert_array_equal(
            reading.sinks, run.sinks(tau=settings.tau, convention=settings.convention)
        )
        np.testing.assert_array_equal(
            reading.head_maps(0),
            run.attention(query)[..., run.layout.positions].reshape(6, 6, 6, 7),
        )


def test_other_sink_dimensions_change_the_sinks(run):
    own = Reading(run, Focus(0, 2), Redistribution())
    one = Reading(run, Focus(0, 2), Redistribution(sink_dims=run.sink_dims[:1]), own)
    np.testing.assert_array_equal(one.phi, np.abs(run.signed_values[..., 0]))
    assert not np.array_equal(one.phi, own.phi)


def test_a_growing_run_is_read_anew_after_a_refresh(tmp_path: Path):
    """The same focus before and after two more tokens: longer rows, the same numbers."""
    whole = make_run(tmp_path / "whole", rows=3, cols=3, queries=8)
    grown = Recording.open(whole.path)
    first = Reading(grown, Focus(2, 1), Redistribution())
    shown = first.map_after.copy()

    class Shorter:
        """The recording as it was two tokens ago."""

        tokens = whole.tokens[:-2]
        query_positions = whole.query_positions[:-2]
        finished = False

        def __getattr__(self, name: str) -> object:
            return getattr(whole, name)

        @property
        def visual(self) -> np.ndarray:
            return whole.visual[: len(self.tokens)]

        def attention(self, query: int) -> np.ndarray:
            return whole.attention(query)[..., : len(self.tokens)]

        def phi(self) -> np.ndarray:
            return whole.phi()[:, : len(self.tokens)]

    run = Shorter()
    before = Reading(run, Focus(2, 1), Redistribution())
    assert before.attention.shape[-1] == before.phi.shape[-1] == whole.length - 2
    np.testing.assert_allclose(before.map_after, shown, atol=1e-7)
    asked_late = Reading(run, Focus(2, 1), Redistribution(rho=0.5, heads="all"))
    run.tokens, run.query_positions = whole.tokens, whole.query_positions
    assert asked_late.phi.shape[-1] == asked_late.redistributed.shape[-1] == whole.length - 2
    assert asked_late.contribution.shape == (whole.n_layers, whole.n_heads)
    assert asked_late.visual_sinks.shape == (9,)
    after = Reading(run, Focus(2, 1), Redistribution(), before)
    assert after.attention.shape[-1] == after.phi.shape[-1] == whole.length
    np.testing.assert_allclose(after.map_after, shown, atol=1e-7)
