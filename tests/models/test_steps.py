"""The short forms used in decode steps equal the method's own functions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from var_studio.engine.attention import add_mixed, mixed, row_of, rows_of
from var_studio.engine.interventions import Redistributor
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


def test_a_window_shifts_the_keys() -> None:
    """A layer that keeps the last keys only sees the masks of those."""
    acts = redistributor({"heads": "all"}, True)
    acts.observe(2, 0, torch.randn(PROMPT, D, generator=torch.Generator().manual_seed(1)))
    rows = torch.softmax(torch.randn(HEADS, 1, 20), -1)
    found, expected = acts.step_change(2, rows, 10), acts.change(2, rows, 10)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-7)
    assert expected.abs().max() > 1e-3
    assert not np.allclose(found.numpy(), acts.step_change(2, rows, 0).numpy(), atol=1e-4)


@pytest.mark.parametrize("kv_heads", [8, 2])
def test_the_row_of_a_step_and_what_it_mixes(kv_heads: int) -> None:
    query, key = torch.randn(8, 1, 16), torch.randn(kv_heads, 20, 16)
    value = torch.randn(kv_heads, 20, 16)
    row = row_of(query, key, None, 0.25)
    torch.testing.assert_close(row, rows_of(query, key, None, 0.25, None, 0))
    shared = 8 // kv_heads
    expected = torch.stack(
        [torch.softmax(query[h] @ key[h // shared].T * 0.25, -1) for h in range(8)]
    )
    torch.testing.assert_close(row, expected)
    output = torch.zeros(1, 1, 8, 16)
    add_mixed(output, row, value)
    torch.testing.assert_close(output[0], mixed(row, value))
    torch.testing.assert_close(
        output[0, 0], torch.stack([row[h, 0] @ value[h // shared] for h in range(8)])
    )


def test_a_masked_key_gets_nothing() -> None:
    query, key = torch.randn(4, 1, 16), torch.randn(4, 6, 16)
    mask = torch.tensor([[[False, True, True, True, False, True]]])
    row = row_of(query, key, mask, 0.25)
    assert (row[..., [0, 4]] == 0).all()
    torch.testing.assert_close(row.sum(-1), torch.ones(4, 1))
    added = torch.zeros(1, 1, 6).masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(row_of(query, key, added, 0.25), row)


def test_narrow_keys_are_widened() -> None:
    query, key = torch.randn(4, 1, 16).bfloat16(), torch.randn(4, 6, 16).bfloat16()
    row = row_of(query, key, None, 0.25)
    assert row.dtype == torch.float32
    torch.testing.assert_close(row, row_of(query.float(), key.float(), None, 0.25))
