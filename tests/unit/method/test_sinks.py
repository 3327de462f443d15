"""phi and the sink mask against loops from Section 4.1, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.method import reference
from tests.unit.method.conftest import Library
from var_studio.method import sinks

hidden_states = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(2, 7)),
    elements=st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-3 else 1.0),
)


@settings(max_examples=60, deadline=None)
@given(hidden=hidden_states, choice=st.lists(st.integers(0, 6), min_size=1, max_size=3))
def test_phi_is_the_equation(library: Library, hidden: np.ndarray, choice: list[int]) -> None:
    dims = [d % hidden.shape[1] for d in choice]
    found = library.numpy(sinks.phi(library(hidden), dims))
    np.testing.assert_allclose(found, reference.phi(hidden, dims), rtol=1e-12)
    # Control: the norm instead of the root of the mean is another number.
    assert not np.allclose(found, reference.phi(hidden, dims) / math.sqrt(hidden.shape[1]))
    assert (found <= math.sqrt(hidden.shape[1]) * (1 + 1e-12)).all()

    values = sinks.signed_values(library(hidden), dims)
    assert library.numpy(values).shape == (hidden.shape[0], len(dims))
    assert (np.sign(library.numpy(values)) == np.sign(hidden[:, dims])).all()
    assert (library.numpy(sinks.phi_from_values(values)) == found).all()


@settings(max_examples=40, deadline=None)
@given(hidden=hidden_states, scale=st.floats(1e-3, 1e3))
def test_phi_ignores_scale_and_sign(library: Library, hidden: np.ndarray, scale: float) -> None:
    phi = library.numpy(sinks.phi(library(hidden), [0, 1]))
    for factor in (scale, -scale):
        np.testing.assert_allclose(
            library.numpy(sinks.phi(library(hidden * factor), [0, 1])), phi, rtol=1e-10
        )


def test_phi_by_hand(library: Library) -> None:
    # rms of (3, 4, 0, 0) = sqrt(25 / 4) = 2.5; of a one-hot vector in 4 dimensions = 1/2.
    hidden = np.array([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]], dtype=np.float32)
    assert library.numpy(sinks.phi(library(hidden), [0])).tolist() == pytest.approx([1.2, 0.0])
    assert library.numpy(sinks.phi(library(hidden), [0, 1])).tolist() == pytest.approx([1.6, 0.0])
    assert library.numpy(sinks.phi(library(hidden), [2])).tolist() == pytest.approx([0.0, 2.0])
    values = library.numpy(sinks.signed_values(library(hidden), [1, 0]))
    assert values[0].tolist() == pytest.approx([-1.6, 1.2])


@settings(max_examples=60, deadline=None)
@given(
    phi=hnp.arrays(np.float64, (3, 5), elements=st.floats(0, 64) | st.just(float("nan"))),
    tau=st.floats(0, 64),
    more=st.floats(0, 64),
    convention=st.sampled_from(["paper", "released-code"]),
)
def test_sinks_only_disappear_as_tau_grows(
    library: Library, phi: np.ndarray, tau: float, more: float, convention: str
) -> None:
    fewer = library.numpy(sinks.sink_mask(library(phi), tau + more, convention))
    sink = library.numpy(sinks.sink_mask(library(phi), tau, convention))
    assert not (fewer & ~sink).any()
    passes = {"paper": lambda x: x >= tau, "released-code": lambda x: x > tau}[convention]
    assert sink.tolist() == [[passes(x) for x in row] for row in phi.tolist()]


def test_nan_is_never_a_sink(library: Library) -> None:
    for convention in ("paper", "released-code"):
        for tau in (0.0, -1.0, 20.0):
            phi = np.array([np.nan, 30.0], dtype=np.float32)
            sink = library.numpy(sinks.sink_mask(library(phi), tau, convention))
            assert sink.tolist() == [False, True]


def test_states_that_are_zero_or_not_finite(library: Library) -> None:
    hidden = np.ones((5, 4), dtype=np.float32)
    hidden[0] = 0
    hidden[1, 0] = np.nan
    hidden[2, 1] = np.inf  # in a sink dimension
    hidden[3, 3] = -np.inf  # elsewhere
    phi = library.numpy(sinks.phi(library(hidden), [1]))
    assert phi[0] == 0
    assert np.isnan(phi[1:4]).all()
    assert phi[4] == 1


def test_no_sink_dimension_means_undefined(library: Library) -> None:
    hidden = library(np.ones((2, 3, 4), dtype=np.float32))
    assert library.numpy(sinks.signed_values(hidden, [])).shape == (2, 3, 0)
    phi = sinks.phi(hidden, [])
    assert library.numpy(phi).shape == (2, 3)
    assert np.isnan(library.numpy(phi)).all()
    assert not library.numpy(sinks.sink_mask(phi, 0.0)).any()


@pytest.mark.parametrize("dims", [[4], [0, 99], [-1]])
def test_dimension_out_of_range(library: Library, dims: list[int]) -> None:
    with pytest.raises(IndexError, match="no dimension"):
        sinks.phi(library(np.ones((3, 4))), dims)


def test_no_tokens_and_leading_axes(library: Library) -> None:
    assert library.numpy(sinks.phi(library(np.ones((2, 0, 4))), [1])).shape == (2, 0)
    hidden = np.random.default_rng(0).normal(size=(2, 3, 5, 8))
    batch = library.numpy(sinks.phi(library(hidden), [1, 6]))
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(batch[i, j], reference.phi(hidden[i, j], [1, 6]), rtol=1e-12)
