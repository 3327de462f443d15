"""The pure part of discovery: arrays in, dimensions and evidence out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from var_studio.analysis.discovery import (
    find_sink_dims,
    middle_layers,
    ordinary_magnitude,
)

D = 512


def largest(hidden: npt.NDArray[np.float64], n: int = 16) -> tuple[npt.NDArray, npt.NDArray]:
    """What a recording keeps of hidden states (L, T, D)."""
    normed = hidden / np.sqrt((hidden**2).mean(-1, keepdims=True))
    dims = np.argsort(-np.abs(normed), axis=-1)[..., :n]
    return dims.astype(np.int32), np.take_along_axis(normed, dims, -1).astype(np.float32)


def states(seed: int = 0, layers: int = 12, tokens: int = 20) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(layers, tokens, D))


def test_ordinary_states_have_none() -> None:
    found = find_sink_dims(*largest(states()), D)
    assert found.dims == () and found.evidence == ()
    assert found.to_json()["dims"] == []


def test_planted_dimensions_are_found_strongest_first() -> None:
    hidden = states()
    for token in (0, 5, 11):
        hidden[2:11, token, 300] = -400.0
        hidden[2:11, token, 17] = 250.0
    found = find_sink_dims(*largest(hidden), D)
    assert found.dims == (300, 17)
    assert found.evidence[0].carriers == (5, 11)
    assert found.evidence[0].layers_share == 1.0 and found.evidence[0].ratio > 100


@pytest.mark.parametrize("where", ["late layers", "another token", "mild", "one layer"])
def test_what_is_no_sink_dimension(where: str) -> None:
    hidden = states()
    if where == "late layers":
        hidden[9:, 0, 7] = 400.0
    elif where == "another token":
        hidden[:, 3, 7] = 400.0
    elif where == "mild":
        hidden[:, 0, 7] = 8.0
    else:
        hidden[5, 0, 7] = 400.0
    assert find_sink_dims(*largest(hidden), D).dims == ()


def test_a_minor_dimension_beside_a_massive_one_is_left_out() -> None:
    hidden = states()
    hidden[:, 0, 7] = 1000.0
    hidden[:, 0, 8] = 60.0
    assert find_sink_dims(*largest(hidden), D).dims == (7,)


def test_the_ordinary_magnitude_is_about_the_median() -> None:
    hidden = states(layers=1, tokens=50)
    hidden[:, ::2, 3] = 100.0
    _, values = largest(hidden)
    normed = np.abs(hidden) / np.sqrt((hidden**2).mean(-1, keepdims=True))
    estimate = ordinary_magnitude(values, D)
    np.testing.assert_allclose(estimate, np.median(normed, -1), rtol=0.25)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 32])
def test_there_are_always_middle_layers(n: int) -> None:
    layers = middle_layers(n)
    assert layers and 0 <= layers[0] <= layers[-1] < n


def test_nan_is_not_massive() -> None:
    dims, values = largest(states())
    values[:] = np.nan
    assert find_sink_dims(dims, values, D).dims == ()
