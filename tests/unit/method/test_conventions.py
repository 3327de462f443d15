"""Each line of "where the paper and the released code differ", worked out by hand.

Every example is chosen so that taking one convention for the other changes the result.
"""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest

from tests.unit.method.conftest import Library
from var_studio.method import conventions, heads, redistribution, sinks

# One head, one query. Keys: BOS (sink), two visual sinks, two visual non-sinks, one word.
ROW = np.array([[[0.30, 0.05, 0.05, 0.10, 0.40, 0.10]]])
VISUAL = np.array([False, True, True, True, True, False])
SINK = np.array([True, True, True, False, False, False])
ALL = np.array([[True]])


def test_p_is_lost_in_the_paper_and_kept_in_the_released_code(library: Library) -> None:
    # Sinks hold 0.4. Paper, p = 0.25: they keep 3/4, Omega = 0.1, shared 1 : 4 by 0.1 and 0.4.
    expected = {
        "paper": [0.225, 0.0375, 0.0375, 0.12, 0.48, 0.10],
        # They keep 1/4, Omega = 0.3.
        "released-code": [0.075, 0.0125, 0.0125, 0.16, 0.64, 0.10],
    }
    for convention, row in expected.items():
        result = redistribution.redistribute(
            library(ROW),
            library(VISUAL),
            library(SINK),
            library(ALL),
            p=0.25,
            convention=convention,
        )
        np.testing.assert_allclose(library.numpy(result), [[row]], atol=1e-15)
    assert conventions.share_taken(0.25, "paper") == conventions.share_kept(0.25, "released-code")
    assert conventions.share_kept(0.25, "paper") == conventions.share_taken(0.25, "released-code")
    assert conventions.share_taken(0.25, "paper") == 0.25


def test_phi_at_tau_is_a_sink_in_the_paper_only(library: Library) -> None:
    phi = library(np.array([19.999, 20.0, 20.001], dtype=np.float32))
    paper = library.numpy(sinks.sink_mask(phi, 20.0, "paper"))
    code = library.numpy(sinks.sink_mask(phi, 20.0, "released-code"))
    assert paper.tolist() == [False, True, True]
    assert code.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("convention", "rho", "chosen"),
    [
        # Non-sinks hold 0.5 of 0.6: r = 5/6. Sink share 0.1 / (0.6 + 4e-6) < 1/6.
        ("paper", 0.8, True),
        ("paper", 0.84, False),
        ("paper", 0.2, True),
        ("released-code", 0.2, True),
        ("released-code", 0.16, False),
        ("released-code", 0.84, True),
    ],
)
def test_rho_bounds_r_below_or_the_sink_share_above(
    library: Library, convention: conventions.Convention, rho: float, chosen: bool
) -> None:
    selected = heads.image_centric(
        library(ROW), library(VISUAL), library(SINK), rho=rho, convention=convention
    )
    assert library.numpy(selected).tolist() == [[chosen]]


def test_released_code_adds_a_millionth_per_visual_token(library: Library) -> None:
    arrays = library(ROW), library(VISUAL), library(SINK)
    assert library.numpy(heads.sink_share(*arrays, "paper")) == pytest.approx(0.1 / 0.6, rel=1e-14)
    share = library.numpy(heads.sink_share(*arrays, "released-code"))
    assert share == pytest.approx(0.1 / 0.600004, rel=1e-14)
    at_rho = heads.image_centric(*arrays, rho=share.item(), convention="released-code")
    assert library.numpy(at_rho).all()
    # rho between the two shares: only with those millionths does the head pass.
    rho = 0.1 / 0.600002
    assert library.numpy(heads.image_centric(*arrays, rho=rho, convention="released-code")).all()
    assert not (library.numpy(heads.sink_share(*arrays, "paper")) <= rho).any()


def test_mass_threshold_is_the_same_in_both(library: Library) -> None:
    # Visual mass 0.25, a fifth of it on a visual sink.
    row = np.array([[[0.75, 0.05, 0.20]]])
    visual, sink = np.array([False, True, True]), np.array([True, True, False])
    for convention, rho in (("paper", 0.5), ("released-code", 0.5)):
        for mass_min, chosen in ((0.2, True), (0.25, True), (0.26, False)):
            selected = heads.image_centric(
                library(row),
                library(visual),
                library(sink),
                rho=rho,
                mass_min=mass_min,
                convention=convention,
            )
            assert library.numpy(selected).item() is chosen, (convention, mass_min)


def test_layers() -> None:
    n_layers = 5

    def active(convention: conventions.Convention, **options: bool | int) -> list[bool]:
        return [
            conventions.layer_active(layer, n_layers, convention, **options)
            for layer in range(n_layers)
        ]

    assert active("paper") == [True, True, True, True, False]
    assert active("paper", exempt_last=False) == [True] * 5
    assert active("released-code") == [False, False, True, True, True]
    assert active("released-code", exempt_last=False) == active("released-code")
    assert active("paper", first=1, last=2) == [False, True, True, False, False]
    assert active("released-code", first=1, last=2) == [False, False, True, False, False]
    # The exempt layer is the model's last one, not the last of the user's range.
    assert active("paper", last=3) == [True, True, True, True, False]
    assert [conventions.sinks_searched(layer, "released-code") for layer in (0, 1, 2, 3)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert all(conventions.sinks_searched(layer, "paper") for layer in range(4))
    for layer in (-1, n_layers):
        with pytest.raises(ValueError, match="not one of 0 to 4"):
            conventions.layer_active(layer, n_layers)


def test_generated_tokens_and_early_layers_lose_their_sinks_in_the_released_code(
    library: Library,
) -> None:
    assert conventions.generated_tokens_can_be_sinks("paper")
    assert not conventions.generated_tokens_can_be_sinks("released-code")
    everywhere = np.ones((4, 5), bool)  # layers 0 to 3, a prompt of 3 and two generated tokens

    def kept(sink: np.ndarray, layers: int | range, convention: conventions.Convention):
        return library.numpy(
            sinks.restrict_sinks(
                library(sink), layers=layers, prompt_length=3, convention=convention
            )
        ).tolist()

    prompt_only, none = [True] * 3 + [False] * 2, [False] * 5
    assert kept(everywhere, range(4), "paper") == everywhere.tolist()
    assert kept(everywhere, range(4), "released-code") == [none, none, prompt_only, prompt_only]
    assert kept(everywhere, range(1, 5), "released-code") == [none] + [prompt_only] * 3
    for layer, expected in enumerate([none, none, prompt_only, prompt_only]):
        assert kept(everywhere[layer], layer, "released-code") == expected
        assert kept(everywhere[layer], layer, "paper") == [True] * 5
    assert kept(~everywhere, range(4), "released-code") == [none] * 4


def test_layer_without_visual_sink_selects_heads_in_the_paper_only(library: Library) -> None:
    only_bos = np.array([True, False, False, False, False, False])
    arrays = library(ROW), library(VISUAL), library(only_bos)
    assert library.numpy(heads.non_sink_ratio(*arrays)).item() == 1.0
    assert library.numpy(heads.image_centric(*arrays, rho=1.0)).all()
    for rho in (0.0, 0.8, 1.0):
        code = heads.image_centric(*arrays, rho=rho, convention="released-code")
        assert not library.numpy(code).any()


def test_a_visual_sink_in_another_layer_does_not_count(library: Library) -> None:
    attention = library(np.concatenate([ROW[None], ROW[None]]))
    only_bos = np.array([True, False, False, False, False, False])
    selected = heads.image_centric(
        attention,
        library(VISUAL),
        library(np.stack([SINK, only_bos])),
        rho=0.5,
        convention="released-code",
    )
    assert library.numpy(selected).ravel().tolist() == [True, False]


def test_both_give_to_visual_non_sinks_only(library: Library) -> None:
    for convention in conventions.CONVENTIONS:
        result = library.numpy(
            redistribution.redistribute(
                library(ROW),
                library(VISUAL),
                library(SINK),
                library(ALL),
                p=0.5,
                convention=convention,
            )
        )
        assert (result > ROW).ravel().tolist() == [False, False, False, True, True, False]


def test_table_is_complete() -> None:
    assert len(conventions.DIFFERENCES) == 7
    for line in conventions.DIFFERENCES:
        module, function = line.decided_by.split(".")
        assert callable(getattr(importlib.import_module(f"var_studio.method.{module}"), function))
    paper, code = conventions.rules("paper"), conventions.rules("released-code")
    for field in dataclasses.fields(paper):
        assert getattr(paper, field.name) != getattr(code, field.name), field.name
    with pytest.raises(dataclasses.FrozenInstanceError):
        paper.p_is_kept = True  # type: ignore[misc]
    assert conventions.DEFAULT == "paper" == conventions.CONVENTIONS[0]


@pytest.mark.parametrize("name", ["Paper", "", None, "released", ["paper"]])
def test_unknown_convention_is_refused_everywhere(name: object) -> None:
    for call in (
        lambda: conventions.rules(name),
        lambda: conventions.share_taken(0.5, name),
        lambda: sinks.sink_mask(np.ones(2), 1.0, name),
        lambda: heads.image_centric(ROW, VISUAL, SINK, rho=0.5, convention=name),
        lambda: redistribution.redistribute(ROW, VISUAL, SINK, ALL, p=0.5, convention=name),
    ):
        with pytest.raises(ValueError, match="'paper' or 'released-code'"):
            call()


@pytest.mark.parametrize("p", [-0.01, 1.01, float("nan"), float("inf")])
def test_p_outside_0_to_1_is_refused(p: float) -> None:
    for convention in conventions.CONVENTIONS:
        for function in (conventions.share_taken, conventions.share_kept):
            with pytest.raises(ValueError, match="between 0 and 1"):
                function(p, convention)
        with pytest.raises(ValueError, match="between 0 and 1"):
            redistribution.redistribute(ROW, VISUAL, SINK, ALL, p=p, convention=convention)
