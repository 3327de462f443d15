"""The short forms used in decode steps equal the method's own functions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from var_studio.engine.attention import Call, add_mixed, mixed, row_of, rows_of
from var_studio.engine.redistributor import Redistributor
from var_studio.method import sinks
from var_studio.recording.settings import Redistribution

LENGTH, PROMPT, HEADS, D = 40, 30, 8, 64
DIMS = (3, 50)

SETTINGS = [
    {"convention": convention, "target": target, "heads": heads, "rho": rho, "p": 0.4}
    for convention, target, heads, rho in itertools.product(
        ("paper", "released-code"), ("visual", "text", "both"), ("selected", "all"), (0.3, 0.7)
    )
] + [{"rho": 1.0, "mass_min": 0.0}, {"rho": 0.0, "mass_min": 0.0}]


def redistributor(fields: dict[str, Any], numpy_steps: bool, tau: float = 1.6) -> Redistributor:
    visual = torch.zeros(LENGTH, dtype=torch.bool)
    visual[5:21] = True
    return Redistributor(
        Redistribution(**fields, last_layer=3),
        tau=tau,
        sink_dims=DIMS,
        n_layers=4,
        visual=visual,
        visual_positions=range(5, 21),
        prompt_length=PROMPT,
        numpy_steps=numpy_steps,
    )


@pytest.mark.parametrize("numpy_steps", [True, False], ids=["numpy", "torch"])
@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_a_step_is_changed_as_the_method_says(fields: dict[str, Any], numpy_steps: bool) -> None:
    generator = torch.Generator().manual_seed(7)
    acts = redistributor(fields, numpy_steps)
    acts.observe(3, 0, torch.randn(PROMPT, D, generator=generator))
    changed = 0
    for position in range(PROMPT, LENGTH):
        hidden = torch.randn(1, D, generator=generator)
        acts.observe(3, position, hidden)
        # `change` reads the sinks as the method finds them.
        phi = hidden[0, list(DIMS)].abs().max() / hidden[0].square().mean().sqrt()
        if fields.get("convention") != "released-code":
            acts._sinks[3, position] = phi >= 1.6
        scores = 3 * torch.randn(HEADS, 1, position + 1, generator=generator)
        rows = torch.softmax(scores, -1)
        expected = acts.change(3, rows)
        found = acts.step_change(3, rows)
        if found is None:
            assert numpy_steps and (expected == 0).all()
            continue
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-7)
        np.testing.assert_allclose(found.sum(-1).numpy(), 0, atol=1e-6)
        untouched = (expected == 0).all(-1)
        assert (found[untouched] == 0).all()
        changed += int((~untouched).sum())
    assert changed > 0 or fields["rho"] == 1.0


@pytest.mark.parametrize("numpy_steps", [True, False], ids=["numpy", "torch"])
@pytest.mark.parametrize(("tau", "is_sink"), [(1.6, False), (1e-3, False), (0.0, True)])
def test_a_state_of_zeros_is_a_sink_at_no_threshold_but_0(
    tau: float, is_sink: bool, numpy_steps: bool
) -> None:
    """phi is 0: in a prompt and in a step, as `method.sinks` says; also of an underflow."""
    acts = redistributor({"target": "both", "heads": "all"}, numpy_steps, tau)
    prompt = torch.randn(PROMPT, D, generator=torch.Generator().manual_seed(7))
    prompt[25] = 0.0
    acts.observe(3, 0, prompt)
    assert bool(acts._sinks[3, 25]) == is_sink
    for position, state in enumerate([torch.zeros(1, D), torch.full((1, D), 1e-25)], PROMPT):
        phi = sinks.phi(state, DIMS)
        assert bool(sinks.sink_mask(phi, tau)) == is_sink
        acts.observe(3, position, state)
        gives, receives = acts._masks[3, 2:, position].tolist()
        assert (gives, receives) == (float(is_sink), float(not is_sink))


def test_a_window_shifts_the_keys() -> None:
    """A layer that keeps the last keys only sees the masks of those."""
    acts = redistributor({"heads": "all"}, True)
    acts.observe(2, 0, torch.randn(PROMPT, D, generator=torch.Generator().manual_seed(1)))
    rows = torch.softmax(torch.randn(HEADS, 1, 20), -1)
    found, expected = acts.step_change(2, rows, 10), acts.change(2, rows, 10)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-7)
    assert expected.abs().max() > 1e-3
    assert not np.allclose(found.numpy(), acts.step_change(2, rows, 0).numpy(), atol=1e-4)


def step(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    **options: Any,
) -> Call:
    value = key if value is None else value
    output = torch.zeros(1, len(query), value.shape[-1])
    return Call(None, query, key, value, mask, 0.25, False, options, output)


@pytest.mark.parametrize("size", [16, 24], ids=["same size", "wider values"])
@pytest.mark.parametrize("kv_heads", [8, 2])
def test_the_row_of_a_step_and_what_it_mixes(kv_heads: int, size: int) -> None:
    query, key = torch.randn(8, 1, 16), torch.randn(kv_heads, 20, 16)
    value = torch.randn(kv_heads, 20, size)
    call = step(query, key, value)
    row = row_of(call)
    torch.testing.assert_close(row, rows_of(call))
    shared = 8 // kv_heads
    expected = torch.stack(
        [torch.softmax(query[h] @ key[h // shared].T * 0.25, -1) for h in range(8)]
    )
    torch.testing.assert_close(row, expected)
    add_mixed(call.output, row, value)
    torch.testing.assert_close(call.output, mixed(row, value))
    torch.testing.assert_close(
        call.output[0], torch.stack([row[h, 0] @ value[h // shared] for h in range(8)])
    )


def test_a_masked_key_gets_nothing() -> None:
    query, key = torch.randn(4, 1, 16), torch.randn(4, 6, 16)
    mask = torch.tensor([[[False, True, True, True, False, True]]])
    row = row_of(step(query, key, mask=mask))
    assert (row[..., [0, 4]] == 0).all()
    torch.testing.assert_close(row.sum(-1), torch.ones(4, 1))
    added = torch.zeros(1, 1, 6).masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(row_of(step(query, key, mask=added)), row)


def test_narrow_keys_are_widened() -> None:
    query, key = torch.randn(4, 1, 16).bfloat16(), torch.randn(4, 6, 16).bfloat16()
    row = row_of(step(query, key))
    assert row.dtype == torch.float32
    torch.testing.assert_close(row, row_of(step(query.float(), key.float())))


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_capped_score_and_one_beside_the_keys(kv_heads: int) -> None:
    """softcap · tanh(s / softcap), and a last score that takes attention and has no key."""
    query, key = 5 * torch.randn(4, 1, 16), torch.randn(kv_heads, 6, 16)
    apart = torch.randn(4)
    scores = torch.stack([query[h, 0] @ key[h * kv_heads // 4].T * 0.25 for h in range(4)])
    capped = 2 * torch.tanh(scores / 2)
    assert (capped - scores).abs().max() > 0.5
    row = row_of(step(query, key, softcap=2.0))
    torch.testing.assert_close(row[:, 0], torch.softmax(capped, -1))
    exponents = scores.exp()
    expected = exponents / (exponents.sum(-1, keepdim=True) + apart.exp()[:, None])
    row = row_of(step(query, key, s_aux=apart))
    torch.testing.assert_close(row[:, 0], expected)
    assert (row.sum(-1) < 1).all()
