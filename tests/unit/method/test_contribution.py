"""Contributions and value norms against loops from Section 4.2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.method import reference
from tests.unit.method.conftest import Library
from var_studio.method import contribution

shapes = st.tuples(*[st.integers(1, 3)] * 4, st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(shape=shapes, seed=st.integers(0, 999))
def test_contribution_is_the_equation(
    library: Library, shape: tuple[int, int, int, int, int], seed: int
) -> None:
    n_value_heads, group, n_keys, d, size = shape
    n_heads, n_queries = n_value_heads * group, 2
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(n_value_heads, n_keys, d))
    weight = rng.normal(size=(size, n_heads * d))
    attention = rng.dirichlet(np.ones(n_keys), size=(n_heads, n_queries))

    per_head = contribution.head_output_weights(library(weight), n_heads)
    direct = contribution.value_norm(library(value), per_head)
    gram = contribution.output_gram(per_head)
    cheap = contribution.value_norm_from_gram(library(value), gram)
    assert library.numpy(gram).shape == (n_heads, d, d)
    for norm in (direct, cheap):
        assert library.numpy(norm).shape == (n_heads, n_keys)
        whole = library.numpy(contribution.contribution(library(attention), norm))
        for h, q, j in np.ndindex(n_heads, n_queries, n_keys):
            # The columns of head h in the projection, and the value head that it shares.
            w_o = weight[:, h * d : (h + 1) * d].T
            alone = reference.contribution(attention[h, q, j], value[h // group, j], w_o)
            assert whole[h, q, j] == pytest.approx(alone, rel=1e-6, abs=1e-12)


def test_by_hand(library: Library) -> None:
    # Two heads of two dimensions into three: head 0 copies, head 1 doubles the first coordinate.
    weight = np.array([[1, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    per_head = contribution.head_output_weights(library(weight), 2)
    value = library(np.array([[[3, 4], [0, 1]], [[3, 4], [0, 1]]], dtype=np.float32))
    norm = library.numpy(contribution.value_norm(value, per_head))
    assert norm.tolist() == [[5, 1], [6, 0]]
    gram = contribution.output_gram(per_head)
    assert library.numpy(contribution.value_norm_from_gram(value, gram)).tolist() == norm.tolist()
    attention = library(np.array([[[0.5, 0.5]], [[0.1, 0.9]]], dtype=np.float32))
    result = library.numpy(contribution.contribution(attention, library(norm)))
    np.testing.assert_allclose(result, [[[2.5, 0.5]], [[0.6, 0.0]]], rtol=1e-6)


def test_query_heads_share_value_heads_in_blocks(library: Library) -> None:
    """Head h reads value head h // group (as transformers repeats them), not h % Hkv."""
    weight = library(np.ones((4, 1, 1)))
    value = library(np.array([[[1.0]], [[10.0]]]))
    for norm in (
        contribution.value_norm(value, weight),
        contribution.value_norm_from_gram(value, contribution.output_gram(weight)),
    ):
        assert library.numpy(norm).ravel().tolist() == [1, 1, 10, 10]


def test_leading_axes(library: Library) -> None:
    rng = np.random.default_rng(0)
    value, weight = rng.normal(size=(2, 3, 2, 5, 4)), rng.normal(size=(4, 4, 6))
    attention = rng.dirichlet(np.ones(5), size=(2, 3, 4, 2))
    norm = contribution.value_norm(library(value), library(weight))
    gram = contribution.output_gram(library(weight))
    whole = library.numpy(contribution.contribution(library(attention), norm))
    for i, j in np.ndindex(2, 3):
        one = contribution.value_norm(library(value[i, j]), library(weight))
        np.testing.assert_allclose(library.numpy(norm)[i, j], library.numpy(one), rtol=1e-12)
        one = contribution.value_norm_from_gram(library(value[i, j]), gram)
        np.testing.assert_allclose(library.numpy(norm)[i, j], library.numpy(one), rtol=1e-9)
        expected = attention[i, j] * library.numpy(norm)[i, j][:, None, :]
        np.testing.assert_allclose(whole[i, j], expected, rtol=1e-12)


def test_a_value_that_the_projection_cancels_is_not_nan(library: Library) -> None:
    rng = np.random.default_rng(3)
    thin = rng.normal(size=(1, 8, 1)).astype(np.float32)  # rank one: most values are cancelled
    value = rng.normal(size=(1, 500, 8)).astype(np.float32)
    value -= (value @ thin[0]) * thin[0].T / (thin[0] ** 2).sum()
    norm = library.numpy(
        contribution.value_norm_from_gram(library(value), contribution.output_gram(library(thin)))
    )
    assert np.isfinite(norm).all()
    assert (norm < 0.01).all()


def test_nan_stays_at_its_key(library: Library) -> None:
    value = np.ones((1, 3, 2))
    value[0, 1, 0] = np.nan
    weight = library(np.ones((1, 2, 2)))
    for norm in (
        contribution.value_norm(library(value), weight),
        contribution.value_norm_from_gram(library(value), contribution.output_gram(weight)),
    ):
        assert np.isnan(library.numpy(norm)).tolist() == [[False, True, False]]


def test_heads_that_do_not_divide(library: Library) -> None:
    with pytest.raises(ValueError, match="do not divide into 4 heads"):
        contribution.head_output_weights(library(np.ones((3, 6))), 4)
    with pytest.raises(ValueError, match="cannot share 2 value heads"):
        contribution.value_norm(library(np.ones((2, 5, 4))), library(np.ones((3, 4, 6))))


def test_no_keys(library: Library) -> None:
    value, weight = library(np.ones((2, 0, 4))), library(np.ones((2, 4, 6)))
    norm = contribution.value_norm(value, weight)
    assert library.numpy(norm).shape == (2, 0)
    gram = contribution.output_gram(weight)
    assert library.numpy(contribution.value_norm_from_gram(value, gram)).shape == (2, 0)
