"""Masses, ratio and head choice against loops from Section 5.1, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.method import reference, scenes
from tests.unit.method.conftest import Library
from tests.unit.method.scenes import Scene
from var_studio.method import heads

NAN = float("nan")


@settings(max_examples=80, deadline=None)
@given(scene=scenes.scenes())
def test_masses_and_ratio_are_the_equations(library: Library, scene: Scene) -> None:
    attention, visual, sink = map(library, (scene.attention, scene.visual, scene.sink))

    def expect(found, of_row) -> None:
        wanted = reference.rows(scene.attention, lambda row, h, q: of_row(row))
        np.testing.assert_allclose(library.numpy(found), wanted, rtol=1e-12, atol=1e-15)

    expect(heads.visual_mass(attention, visual), lambda row: reference.total(row, scene.visual))
    expect(heads.sink_mass(attention, sink), lambda row: reference.total(row, scene.sink))
    expect(
        heads.non_sink_ratio(attention, visual, sink),
        lambda row: reference.ratio(row, scene.visual, scene.sink),
    )
    expect(
        heads.sink_share(attention, visual, sink, "released-code"),
        lambda row: reference.code_share(row, scene.visual, scene.sink),
    )
    ratio = library.numpy(heads.non_sink_ratio(attention, visual, sink))
    assert ((ratio >= 0) & (ratio <= 1)).all()


@settings(max_examples=100, deadline=None)
@given(
    scene=scenes.scenes(),
    rho=st.floats(0, 1),
    mass_min=st.floats(0, 1),
    convention=scenes.conventions,
)
def test_choice_is_that_of_the_loops(
    library: Library, scene: Scene, rho: float, mass_min: float, convention: str
) -> None:
    # Sums in another order may fall on the other side of a threshold that they meet exactly.
    for row in scene.attention.reshape(-1, scene.attention.shape[-1]):
        assume(not math.isclose(reference.total(row, scene.visual), mass_min, rel_tol=1e-9))
        assume(not math.isclose(reference.ratio(row, scene.visual, scene.sink), rho, rel_tol=1e-9))
        share = reference.code_share(row, scene.visual, scene.sink)
        assume(not math.isclose(share, rho, rel_tol=1e-9))
    found = heads.image_centric(
        *map(library, (scene.attention, scene.visual, scene.sink)),
        rho=rho,
        mass_min=mass_min,
        convention=convention,
    )
    expected = reference.rows(
        scene.attention,
        lambda row, h, q: reference.image_centric(
            row, scene.visual, scene.sink, rho, mass_min, convention
        ),
    )
    assert library.numpy(found).tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), rho=st.floats(0, 1), more=st.floats(0, 1), low=st.floats(0, 0.5))
def test_choice_is_monotone_in_rho(
    library: Library, scene: Scene, rho: float, more: float, low: float
) -> None:
    def chosen(rho: float, convention: str, mass_min: float = low) -> np.ndarray:
        return library.numpy(
            heads.image_centric(
                *map(library, (scene.attention, scene.visual, scene.sink)),
                rho=rho,
                mass_min=mass_min,
                convention=convention,
            )
        )

    assert not (chosen(rho + more, "paper") & ~chosen(rho, "paper")).any()
    assert not (chosen(rho, "released-code") & ~chosen(rho + more, "released-code")).any()
    for convention in ("paper", "released-code"):
        fewer = chosen(rho, convention, low + more)
        assert not (fewer & ~chosen(rho, convention)).any()


@settings(max_examples=60, deadline=None)
@given(scene=scenes.scenes(), rho=st.floats(0, 1), data=st.data())
def test_fewer_sinks_choose_more_heads(
    library: Library, scene: Scene, rho: float, data: st.DataObject
) -> None:
    """Raising tau drops sinks, so r can only grow: the paper's choice grows with it."""
    keep = data.draw(st.lists(st.booleans(), min_size=len(scene.sink), max_size=len(scene.sink)))
    attention, visual = library(scene.attention), library(scene.visual)
    many, few = library(scene.sink), library(scene.sink & np.array(keep))
    before = library.numpy(heads.non_sink_ratio(attention, visual, many))
    after = library.numpy(heads.non_sink_ratio(attention, visual, few))
    assert (after >= before).all()
    chosen = library.numpy(heads.image_centric(attention, visual, many, rho=rho))
    more = library.numpy(heads.image_centric(attention, visual, few, rho=rho))
    assert not (chosen & ~more).any()


def test_no_visual_mass_is_ratio_0_and_never_image_centric(library: Library) -> None:
    attention = library(np.array([[[0.6, 0.4, 0.0, 0.0]]], dtype=np.float32))
    nowhere, sink = np.zeros(4, bool), np.array([True, False, True, False])
    for visual in (nowhere, np.array([False, False, True, True])):
        arrays = attention, library(visual), library(sink)
        assert library.numpy(heads.non_sink_ratio(*arrays)).tolist() == [[0.0]]
        for convention in ("paper", "released-code"):
            assert library.numpy(heads.sink_share(*arrays, convention)).tolist() == [[0.0]]
            chosen = heads.image_centric(*arrays, rho=0.0, mass_min=0.0, convention=convention)
            assert not library.numpy(chosen).any()


def test_all_visual_keys_sinks_and_none(library: Library) -> None:
    attention = library(np.array([[[0.2, 0.3, 0.5]]], dtype=np.float32))
    visual, none = np.array([False, True, True]), np.zeros(3, bool)
    ratio = heads.non_sink_ratio(attention, library(visual), library(visual))
    assert library.numpy(ratio).tolist() == [[0.0]]
    ratio = heads.non_sink_ratio(attention, library(visual), library(none))
    assert library.numpy(ratio).tolist() == [[1.0]]


def test_nan_rows_are_not_chosen_and_touch_no_other(library: Library) -> None:
    rng = np.random.default_rng(1)
    clean = rng.dirichlet(np.ones(6), size=(3, 2))
    visual = np.array([False, True, True, True, True, False])
    sink = np.array([True, True, False, False, False, False])
    dirty = clean.copy()
    dirty[1, 0] = NAN
    masks = library(visual), library(sink)
    for convention, rho in (("paper", 0.0), ("released-code", 1.0)):
        options = {"rho": rho, "mass_min": 0.0, "convention": convention}
        expected = library.numpy(heads.image_centric(library(clean), *masks, **options)).copy()
        assert expected.all()
        expected[1, 0] = False
        found = library.numpy(heads.image_centric(library(dirty), *masks, **options))
        assert found.tolist() == expected.tolist()
    assert np.isnan(library.numpy(heads.non_sink_ratio(library(dirty), *masks))[1, 0])
    # NaN at a key that a sum does not count (a text key here) does not reach it.
    partly = clean.copy()
    partly[..., 5] = NAN
    np.testing.assert_array_equal(
        library.numpy(heads.visual_mass(library(partly), masks[0])),
        library.numpy(heads.visual_mass(library(clean), masks[0])),
    )


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 3, 0), (0, 3, 5), (2, 0, 0)])
def test_nothing_to_look_at(library: Library, shape: tuple[int, int, int]) -> None:
    mask = library(np.zeros(shape[-1], bool))
    attention = library(np.ones(shape))
    for convention in ("paper", "released-code"):
        found = heads.image_centric(
            attention, mask, mask, rho=0.0, mass_min=0.0, convention=convention
        )
        assert library.numpy(found).shape == shape[:2]
        assert not library.numpy(found).any()


def test_share_of_image_centric_heads(library: Library) -> None:
    selected = np.zeros((2, 3, 4), bool)  # layers, heads, queries
    selected[0, :, 1] = True
    selected[1, 2, 1:3] = True
    share = library.numpy(heads.image_centric_share(library(selected)))
    np.testing.assert_allclose(share, [0, 4 / 6, 1 / 6, 0], rtol=1e-6)
