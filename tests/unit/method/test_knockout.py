"""Knockout against a masked softmax (Eq. 6-7), ablation, and the random choices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.method import reference, scenes
from tests.unit.method.conftest import Library
from tests.unit.method.scenes import Scene
from var_studio.method import knockout

NAN = float("nan")


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_keys=st.integers(1, 8))
def test_knockout_is_minus_infinity_before_the_softmax(
    library: Library, data: st.DataObject, n_keys: int
) -> None:
    logits = data.draw(hnp.arrays(np.float64, (2, 3, n_keys), elements=st.floats(-20, 20)))
    mask = data.draw(hnp.arrays(np.bool_, (2, 3, n_keys)))
    nothing = [False] * n_keys
    attention = reference.rows(logits, lambda row, h, q: reference.softmax(row, nothing))
    expected = reference.rows(logits, lambda row, h, q: reference.softmax(row, mask[h, q]))
    result = library.numpy(knockout.apply(library(attention), library(mask)))
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    assert (result[mask] == 0).all()
    again = library.numpy(knockout.apply(library(result), library(mask)))
    assert again.tobytes() == result.tobytes()


def test_knockout_by_hand_and_controls(library: Library) -> None:
    attention = np.array([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]])
    mask = np.array([True, False, False])
    result = library.numpy(knockout.apply(library(attention), library(mask)))
    np.testing.assert_allclose(result, [[[0, 0.6, 0.4], [0, 1 / 9, 8 / 9]]], rtol=1e-14)
    # Control: zeroing without renormalising, and the complementary mask, are something else.
    assert np.abs(result - attention * ~mask).max() > 0.01
    other = library.numpy(knockout.apply(library(attention), library(~mask)))
    assert np.abs(result - other).max() > 0.01


def test_a_row_that_loses_nothing_is_the_same_bits(library: Library) -> None:
    # A sum that is not exactly 1 would show a needless division.
    attention = np.array([[[0.5, 0.3, 0.19], [0.0, 0.7, 0.2]]], dtype=np.float32)
    mask = np.array([[[False] * 3, [True, False, False]]])
    result = library.numpy(knockout.apply(library(attention), library(mask)))
    assert result.tobytes() == attention.tobytes()


def test_a_row_that_loses_everything_is_zero(library: Library) -> None:
    attention = np.array([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]])
    mask = np.array([[[True, True, False], [True, True, True]]])
    result = library.numpy(knockout.apply(library(attention), library(mask)))
    assert (result == 0).all()


def test_nan_rows_touch_no_other(library: Library) -> None:
    attention = np.array([[[NAN, NAN], [0.25, 0.75]]])
    mask = np.array([True, False])
    result = library.numpy(knockout.apply(library(attention), library(mask)))
    assert np.isnan(result[0, 0, 1])
    assert result[0, 1].tolist() == [0, 1]
    untouched = library.numpy(knockout.apply(library(attention), library(np.zeros(2, bool))))
    assert np.isnan(untouched[0, 0]).all()


def test_mask_of_keys_and_queries(library: Library) -> None:
    keys = np.array([[True, False, True], [False, True, False]])  # one row per layer
    per_head = np.array([[True, False], [False, False]])  # heads, queries
    mask = library.numpy(knockout.knockout_mask(library(keys), library(per_head)))
    assert mask.shape == (2, 2, 2, 3)
    for index in np.ndindex(mask.shape):
        layer, h, q, j = index
        assert mask[index] == (keys[layer, j] and per_head[h, q])
    queries = np.array([False, True])
    mask = library.numpy(knockout.knockout_mask(library(keys), library(queries)))
    assert mask.shape == (2, 1, 2, 3)
    assert not mask[:, :, 0].any()
    assert (mask[:, 0, 1] == keys).all()
    sinks = knockout.visual_sinks(library(np.array([True, True, False])), library(keys))
    assert library.numpy(sinks).tolist() == [[True, False, False], [False, True, False]]


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes())
def test_ablated_heads_do_not_see_the_image(library: Library, scene: Scene) -> None:
    result = library.numpy(
        knockout.ablate_heads(*map(library, (scene.attention, scene.visual, scene.selected)))
    )
    for h, q in np.ndindex(scene.selected.shape):
        row, new = scene.attention[h, q], result[h, q]
        if not scene.selected[h, q]:
            assert (new == row).all()
            continue
        rest = reference.total(row, ~scene.visual)
        expected = [
            w / rest if rest and not v else 0 for w, v in zip(row, scene.visual, strict=True)
        ]
        np.testing.assert_allclose(new, expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_keys=st.integers(1, 12))
def test_random_tokens_are_as_many_visual_ones(
    library: Library, data: st.DataObject, n_keys: int
) -> None:
    visual = data.draw(hnp.arrays(np.bool_, (n_keys,)))
    sink = data.draw(hnp.arrays(np.bool_, (3, n_keys)))
    scores = data.draw(hnp.arrays(np.float32, (3, n_keys), elements=st.floats(0, 0.5, width=32)))
    drawn = library.numpy(knockout.random_visual(*map(library, (visual, sink, scores))))
    for layer in range(3):
        count = sum(bool(v and s) for v, s in zip(visual, sink[layer], strict=True))
        candidates = [j for j in range(n_keys) if visual[j]]
        lowest = sorted(candidates, key=lambda j: (scores[layer, j], j))[:count]
        assert np.flatnonzero(drawn[layer]).tolist() == sorted(lowest)


def test_random_tokens_may_be_sinks_and_change_with_layer_and_seed(library: Library) -> None:
    visual = np.zeros(60, bool)
    visual[5:55] = True
    sink = np.zeros(60, bool)
    sink[[0, 10, 20, 30, 40, 50]] = True

    def draw(seed: int, layer: int, n: int = 60) -> tuple[int, ...]:
        like = library(np.zeros(1, np.float16))
        scores = knockout.uniform_scores(n, seed=seed, layer=layer, like=like)
        padded = [library(np.concatenate([m, np.zeros(n - 60, bool)])) for m in (visual, sink)]
        return tuple(np.flatnonzero(library.numpy(knockout.random_visual(*padded, scores))))

    draws = {draw(seed, layer) for seed in range(4) for layer in range(8)}
    assert len(draws) == 32
    assert all(len(d) == 5 for d in draws)
    assert draw(1, 2) == draw(1, 2)
    # A later step of the same run sees more keys and still draws the same tokens.
    assert draw(1, 2, n=75) == draw(1, 2)
    # Every visual token is drawn at some time, the sinks among them, and about equally often.
    often = np.zeros(60)
    for seed in range(400):
        often[list(draw(seed, 7))] += 1
    assert not often[~visual].any()
    # 400 draws of 5 from 50: 40 each, standard deviation 6.
    assert often[visual].min() > 12
    assert often[visual].max() < 70
    assert often[visual].sum() == 2000


def test_uniform_scores_are_uniform(library: Library) -> None:
    like = library(np.zeros(1))
    scores = library.numpy(knockout.uniform_scores(20_000, seed=123456789012, layer=3, like=like))
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert (scores < 1).all()
    assert (scores * 2.0**24 % 1 == 0).all()
    counts, _ = np.histogram(scores, bins=20, range=(0, 1))
    # Chi-squared with 19 degrees of freedom: 43.8 is the 0.1 % point.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(scores[:-1], scores[1:])[0, 1]) < 0.03
    others = [
        library.numpy(knockout.uniform_scores(20_000, seed=seed, layer=layer, like=like))
        for seed, layer in ((-1, 3), (0, 3), (2**32, 3), (0, 4), (1, 3))
    ]
    # Standard deviation of a correlation of 20,000 pairs: 0.007.
    correlations = np.corrcoef([scores, *others]) - np.eye(6)
    assert np.abs(correlations).max() < 0.035


def test_scores_per_query_do_not_depend_on_the_step(library: Library) -> None:
    like = library(np.zeros(1))

    def scores(positions: list[int]) -> np.ndarray:
        queries = library(np.array(positions, dtype=np.int64))
        made = knockout.uniform_scores(8, seed=5, layer=1, like=like, queries=queries)
        return library.numpy(made)

    whole = scores([40, 41, 42, 43])
    assert whole.shape == (8, 4)
    assert (np.concatenate([scores([40, 41]), scores([42]), scores([43])], axis=1) == whole).all()
    assert len({tuple(column) for column in whole.T}) == 4
    plain = library.numpy(knockout.uniform_scores(8, seed=5, layer=1, like=like))
    assert not any((plain == column).all() for column in whole.T)


@settings(max_examples=40, deadline=None)
@given(selected=hnp.arrays(np.bool_, (2, 5, 3)), seed=st.integers(0, 99))
def test_random_heads_are_as_many_for_each_query(
    library: Library, selected: np.ndarray, seed: int
) -> None:
    scores = np.random.default_rng(seed).random((2, 5, 3))
    drawn = library.numpy(knockout.random_heads(library(selected), library(scores)))
    assert (drawn.sum(axis=1) == selected.sum(axis=1)).all()
    for layer, query in np.ndindex(2, 3):
        count = int(selected[layer, :, query].sum())
        lowest = np.argsort(scores[layer, :, query])[:count]
        assert set(np.flatnonzero(drawn[layer, :, query])) == set(lowest)


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 3, 0)])
def test_nothing_to_hide(library: Library, shape: tuple[int, int, int]) -> None:
    attention = library(np.ones(shape))
    mask = library(np.ones(shape[-1], bool))
    assert library.numpy(knockout.apply(attention, mask)).shape == shape
    scores = library(np.zeros(shape[-1]))
    assert library.numpy(knockout.random_visual(mask, mask, scores)).all()
