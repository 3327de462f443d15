"""Redistribution and its ledger against loops from Section 5.2 and Eq. 4, and their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.method import reference, scenes
from tests.unit.method.conftest import Library
from tests.unit.method.scenes import Scene
from var_studio.method import redistribution
from var_studio.method.conventions import share_kept

NAN = float("nan")


def run(library: Library, scene: Scene, **options: Any) -> np.ndarray:
    if isinstance(options.get("target"), np.ndarray):
        options["target"] = library(options["target"])
    arrays = (scene.attention, scene.visual, scene.sink, scene.selected)
    return library.numpy(redistribution.redistribute(*map(library, arrays), **options))


def loops(scene: Scene, **options: Any) -> np.ndarray:
    def of_row(row: np.ndarray, h: int, q: int) -> list[float]:
        if not scene.selected[h, q]:
            return row.tolist()
        return reference.redistribute(row, scene.visual, scene.sink, **options)

    return reference.rows(scene.attention, of_row)


@settings(max_examples=150, deadline=None)
@given(
    scene=scenes.scenes(),
    p=scenes.shares,
    target=scenes.targets,
    source=scenes.sources,
    convention=scenes.conventions,
)
def test_redistribution_is_the_equation(
    library: Library, scene: Scene, p: float, target: str, source: str, convention: str
) -> None:
    options = {"p": p, "target": target, "source": source, "convention": convention}
    result = run(library, scene, **options)
    np.testing.assert_allclose(result, loops(scene, **options), rtol=1e-12, atol=1e-300)
    # Rows keep their sum; no weight turns negative; what is not selected is the same bits.
    np.testing.assert_allclose(result.sum(-1), scene.attention.sum(-1), rtol=1e-13)
    assert (result >= 0).all()
    assert (result[~scene.selected] == scene.attention[~scene.selected]).all()
    # The future of a query stays without attention.
    assert (result[scene.attention == 0] == 0).all()


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), p=scenes.shares, data=st.data())
def test_region_of_keys_as_target(
    library: Library, scene: Scene, p: float, data: st.DataObject
) -> None:
    region = data.draw(hnp.arrays(np.bool_, scene.sink.shape))
    result = run(library, scene, p=p, target=region)
    np.testing.assert_allclose(result, loops(scene, p=p, target=region), rtol=1e-12, atol=1e-300)
    outside = ~region & ~scene.sink
    assert (result[..., outside] == scene.attention[..., outside]).all()
    by_name = run(library, scene, p=p, target=scene.visual)
    assert (by_name == run(library, scene, p=p, target="visual")).all()


def moving_scene() -> Scene:
    """Two heads, two queries; every row has sinks of both kinds and receivers of both kinds."""
    attention = np.random.default_rng(5).dirichlet(np.ones(8), size=(2, 2))
    visual = np.array([0, 0, 1, 1, 1, 1, 0, 0], bool)
    sink = np.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
    return Scene(attention, visual, sink, np.array([[True, True], [True, False]]))


def test_controls_wrong_reference_and_swapped_options_differ(library: Library) -> None:
    scene = moving_scene()
    right = run(library, scene, p=0.6)
    np.testing.assert_allclose(right, loops(scene, p=0.6), rtol=1e-13)
    wrong = (
        loops(scene, p=0.6, sign=-1.0),
        loops(scene, p=0.6, convention="released-code"),
        loops(scene, p=0.4),
        loops(scene, p=0.6, target="text"),
        loops(scene, p=0.6, target="both"),
        loops(scene, p=0.6, source="visual"),
        loops(scene, p=0.6, source="text"),
        loops(Scene(scene.attention, scene.visual, scene.sink, ~scene.selected), p=0.6),
    )
    for other in wrong:
        assert np.abs(right - other).max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), target=scenes.targets, source=scenes.sources)
def test_taking_nothing_is_the_identity_bit_for_bit(
    library: Library, scene: Scene, target: str, source: str
) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        exact = Scene(scene.attention.astype(dtype), scene.visual, scene.sink, scene.selected)
        for p, convention in ((0.0, "paper"), (1.0, "released-code")):
            result = run(library, exact, p=p, convention=convention, target=target, source=source)
            assert result.dtype == dtype
            assert result.tobytes() == exact.attention.tobytes()


@settings(max_examples=80, deadline=None)
@given(scene=scenes.scenes(), p=scenes.shares, convention=scenes.conventions)
def test_sinks_keep_exactly_their_share(
    library: Library, scene: Scene, p: float, convention: str
) -> None:
    result = run(library, scene, p=p, convention=convention)
    kept = scene.attention * share_kept(p, convention)
    changed = (result != scene.attention).any(-1)
    assert (result[changed][:, scene.sink] == kept[changed][:, scene.sink]).all()
    if share_kept(p, convention) == 0.0:
        assert (result[changed][:, scene.sink] == 0).all()


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), p=scenes.shares, more=scenes.shares)
def test_more_p_moves_more(library: Library, scene: Scene, p: float, more: float) -> None:
    larger = max(p, more)
    low, high = run(library, scene, p=min(p, more)), run(library, scene, p=larger)
    receives = scene.visual & ~scene.sink
    assert (high[..., receives] >= low[..., receives] - 1e-15).all()
    assert (high[..., scene.sink] <= low[..., scene.sink] + 1e-15).all()


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), first=scenes.shares, second=scenes.shares)
def test_two_passes_compose_and_a_full_pass_is_idempotent(
    library: Library, scene: Scene, first: float, second: float
) -> None:
    def after(p: float, start: np.ndarray) -> np.ndarray:
        return run(library, Scene(start, scene.visual, scene.sink, scene.selected), p=p)

    both = after(second, after(first, scene.attention))
    at_once = after(1 - (1 - first) * (1 - second), scene.attention)
    np.testing.assert_allclose(both, at_once, rtol=1e-10, atol=1e-15)
    full = after(1.0, scene.attention)
    assert after(1.0, full).tobytes() == full.tobytes()
    # Control: a pass with 0 < p < 1 is not idempotent where anything moves.
    moving = moving_scene()
    once = run(library, moving, p=0.5)
    twice = run(library, Scene(once, moving.visual, moving.sink, moving.selected), p=0.5)
    assert np.abs(once - twice).max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), p=scenes.shares, target=scenes.targets, data=st.data())
def test_order_of_keys_does_not_matter(
    library: Library, scene: Scene, p: float, target: str, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(scene.sink))))
    shuffled = Scene(
        scene.attention[..., order], scene.visual[order], scene.sink[order], scene.selected
    )
    np.testing.assert_allclose(
        run(library, shuffled, p=p, target=target),
        run(library, scene, p=p, target=target)[..., order],
        rtol=1e-12,
    )


def test_leading_axes_equal_a_loop(library: Library) -> None:
    rng = np.random.default_rng(2)
    runs, layers, n_heads, queries, keys = 2, 3, 2, 4, 7
    attention = rng.dirichlet(np.ones(keys), size=(runs, layers, n_heads, queries))
    visual = rng.random(keys) < 0.6
    sink = rng.random((runs, layers, keys)) < 0.4
    selected = rng.random((runs, layers, n_heads, queries)) < 0.7
    region = rng.random((runs, layers, keys)) < 0.5
    for target in ("visual", region):
        whole = run(library, Scene(attention, visual, sink, selected), p=0.7, target=target)
        for i in range(runs):
            for j in range(layers):
                one = Scene(attention[i, j], visual, sink[i, j], selected[i, j])
                own = target if isinstance(target, str) else target[i, j]
                np.testing.assert_allclose(whole[i, j], loops(one, p=0.7, target=own), rtol=1e-12)
    # One mask for all layers, and images that differ between runs.
    same = run(library, Scene(attention, visual, sink[0, 0], selected), p=0.7)
    many = run(
        library, Scene(attention, visual, np.broadcast_to(sink[0, 0], sink.shape), selected), p=0.7
    )
    assert (same == many).all()


def test_rows_with_nowhere_to_go_or_nothing_to_give_stay(library: Library) -> None:
    attention = np.array([[[0.5, 0.2, 0.2, 0.1]]])
    some, none, every = np.array([True, False, True, False]), np.zeros(4, bool), np.ones(4, bool)
    chosen, unchosen = np.array([[True]]), np.array([[False]])
    visual = np.array([False, True, True, False])
    unchanged = [
        (Scene(attention, visual, none, chosen), {}),  # no sinks
        (Scene(attention, visual, every, chosen), {}),  # nothing but sinks
        (Scene(attention, visual, visual, chosen), {}),  # every visual token a sink
        (Scene(attention, none, some, chosen), {}),  # no image
        (Scene(attention, every, some, chosen), {"target": "text"}),  # no text
        (Scene(attention, visual, some, chosen), {"target": none}),  # empty region
        (Scene(attention, visual, some, chosen), {"target": some}),  # region of sinks only
        (Scene(attention, visual, visual, chosen), {"source": "text"}),  # no text sink
        (Scene(attention, visual, some, unchosen), {}),
    ]
    for scene, options in unchanged:
        assert run(library, scene, p=0.6, **options).tobytes() == attention.tobytes()
    # Receivers exist, but the query does not see them (zero weight): nowhere to go either.
    blind = np.array([[[0.6, 0.0, 0.4, 0.0]]])
    scene = Scene(blind, visual, some, chosen)
    assert run(library, scene, p=0.6).tobytes() == blind.tobytes()
    # Control: the same masks with weight on the receiver do move.
    assert (run(library, Scene(attention, visual, some, chosen), p=0.6) != attention).any()


def test_receivers_with_next_to_nothing_do_not_overflow(library: Library) -> None:
    attention = np.array([[[1.0, 1e-42, 3e-42]]], dtype=np.float32)
    visual, sink = np.array([False, True, True]), np.array([True, False, False])
    result = run(library, Scene(attention, visual, sink, np.array([[True]])), p=0.5)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(), 1.0, rtol=1e-6)


def test_nan_rows_stay_and_touch_no_other(library: Library) -> None:
    scene = moving_scene()
    dirty = scene.attention.copy()
    dirty[0, 1] = NAN
    result = run(library, Scene(dirty, scene.visual, scene.sink, scene.selected), p=0.6)
    clean = run(library, scene, p=0.6)
    assert np.isnan(result[0, 1]).all()
    for h, q in ((0, 0), (1, 0), (1, 1)):
        assert (result[h, q] == clean[h, q]).all()
    # One NaN in the budget or among the receivers: the row comes back as it was.
    for key in (0, 3):
        dirty = scene.attention.copy()
        dirty[0, 0, key] = NAN
        result = run(library, Scene(dirty, scene.visual, scene.sink, scene.selected), p=0.6)
        np.testing.assert_array_equal(result[0, 0], dirty[0, 0])


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 3, 0), (0, 3, 5)])
def test_nothing_to_redistribute(library: Library, shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape[-1], bool)
    scene = Scene(np.ones(shape, np.float32), mask, mask, np.ones(shape[:2], bool))
    assert run(library, scene, p=0.6).shape == shape
    arrays = (scene.attention, scene.visual, scene.sink, scene.selected)
    for column in redistribution.ledger(*map(library, arrays), p=0.6):
        assert library.numpy(column).shape == shape[:2]


@settings(max_examples=100, deadline=None)
@given(
    scene=scenes.scenes(),
    p=scenes.shares,
    target=scenes.targets,
    source=scenes.sources,
    convention=scenes.conventions,
    bos=st.sampled_from([0, 1, None]),
)
def test_ledger_accounts_for_every_weight(
    library: Library,
    scene: Scene,
    p: float,
    target: str,
    source: str,
    convention: str,
    bos: int | None,
) -> None:
    options = {"p": p, "target": target, "source": source, "convention": convention}
    arrays = map(library, (scene.attention, scene.visual, scene.sink, scene.selected))
    book = redistribution.ledger(*arrays, bos=bos, **options)
    book = type(book)(*map(library.numpy, book))
    moved = loops(scene, **options) - scene.attention  # gained by each key, from the equations
    is_bos = np.arange(len(scene.sink)) == (-1 if bos is None else bos)
    text, lost, gained = ~scene.visual, scene.sink, ~scene.sink
    expected = {
        "bos_gave": -moved[..., text & lost & is_bos].sum(-1),
        "text_sinks_gave": -moved[..., text & lost & ~is_bos].sum(-1),
        "visual_sinks_gave": -moved[..., scene.visual & lost].sum(-1),
        "visual_received": moved[..., scene.visual & gained].sum(-1),
        "text_received": moved[..., text & gained].sum(-1),
        "budget": moved[..., gained].sum(-1),
        "sum_before": scene.attention.sum(-1),
        "sum_after": scene.attention.sum(-1),
    }
    assert set(expected) | {"redistributed"} == set(book._fields)
    for name, column in expected.items():
        np.testing.assert_allclose(getattr(book, name), column, atol=1e-12, err_msg=name)
    gave = book.bos_gave + book.text_sinks_gave + book.visual_sinks_gave
    np.testing.assert_allclose(gave, book.budget, atol=1e-14)
    np.testing.assert_allclose(book.visual_received + book.text_received, book.budget, atol=1e-14)
    assert (book.redistributed == (book.budget > 0)).all()


def test_ledger_by_hand(library: Library) -> None:
    # Keys: BOS sink, comma sink, visual sink, two visual non-sinks, a word.
    row = np.array([[[0.4, 0.1, 0.1, 0.05, 0.15, 0.2]]])
    visual = np.array([0, 0, 1, 1, 1, 0], bool)
    sink = np.array([1, 1, 1, 0, 0, 0], bool)
    arrays = list(map(library, (row, visual, sink, np.array([[True]]))))

    def book(**options: Any) -> dict[str, float]:
        columns = redistribution.ledger(*arrays, **options)._asdict()
        return {name: library.numpy(column).item() for name, column in columns.items()}

    assert book(p=0.5) == pytest.approx(
        {
            "budget": 0.3, "bos_gave": 0.2, "text_sinks_gave": 0.05, "visual_sinks_gave": 0.05,
            "visual_received": 0.3, "text_received": 0.0, "sum_before": 1.0, "sum_after": 1.0,
            "redistributed": True,
        }
    )  # fmt: skip
    # Both kinds receive, in proportion 0.2 (visual) to 0.2 (the word); visual sinks alone give.
    only = book(p=0.5, target="both", source="visual")
    assert only["budget"] == pytest.approx(0.05)
    assert (only["bos_gave"], only["text_sinks_gave"]) == (0, 0)
    assert only["visual_received"] == pytest.approx(0.025) == only["text_received"]
    # Keep a fifth, lose four fifths.
    assert book(p=0.2, convention="released-code")["bos_gave"] == pytest.approx(0.32)
    assert book(p=0.5, bos=None)["bos_gave"] == 0
    assert book(p=0.5, bos=1)["bos_gave"] == pytest.approx(0.05)


def test_unknown_words_are_refused(library: Library) -> None:
    scene = moving_scene()
    with pytest.raises(ValueError, match="no target 'image'"):
        run(library, scene, p=0.5, target="image")
    with pytest.raises(ValueError, match="no source 'bos'"):
        run(library, scene, p=0.5, source="bos")
