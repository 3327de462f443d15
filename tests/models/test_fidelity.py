"""The parity stored with each run: small for the true kernel and rows, large for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.tiny import QUESTION, noise
from var_studio.engine import attention, capture, fidelity


def figures(lmm: Any, folder: Path, tokens: int = 4) -> dict[str, Any]:
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        directory=folder,
        generation=vs.Generation(max_new_tokens=tokens),
    )
    found: dict[str, Any] = run.provenance["fidelity"]
    assert run.provenance["kernel"] == found["kernel"]
    return found


@pytest.mark.parametrize("name", ["crop", "gqa", "mistral", "softcap", "gpt-oss"])
def test_true_rows_agree_with_both(loaded: Any, tmp_path: Path, name: str) -> None:
    lmm = loaded(name)
    found = figures(lmm, tmp_path / "run")
    assert found["kernel"] == ("eager" if name in ("softcap", "gpt-oss") else "sdpa")
    assert (found["dtype"], found["device"]) == ("float32", "cpu")
    # Of the prompt 4 rows and the 1st step in each layer; with explicit attention 1, and a layer.
    assert found["rows"] == 5 * lmm.n_layers * lmm.n_heads
    assert found["attention_rows"] == (lmm.n_layers + 1) * lmm.n_heads
    assert found["largest_output"] > 0.05
    assert found["worst_difference"] < 1e-5 * max(1.0, found["largest_output"])
    assert 0 < found["worst_attention_difference"] < 1e-5


def test_bfloat16_is_as_close_as_its_precision(checkpoint: Any, tmp_path: Path) -> None:
    lmm = vs.load_model(checkpoint("gqa"), dtype="bfloat16")
    found = figures(lmm, tmp_path / "run")
    assert found["dtype"] == "bfloat16"
    assert 1e-6 < found["worst_attention_difference"] < 2e-2
    lmm.release()


def shifted(kernel: Any) -> Any:
    """A kernel that mixes the value of each key's neighbour: off by one key."""

    def off_by_one(module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        return kernel(module, query, key, value.roll(1, dims=2), *args, **kwargs)

    return off_by_one


def test_a_kernel_that_is_off_by_one_key_shows(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention.register()
    true = attention._sdpa
    monkeypatch.setattr(attention, "register", lambda: None)
    monkeypatch.setattr(attention, "_sdpa", shifted(true))
    found = figures(loaded("crop"), tmp_path / "run")
    assert found["worst_difference"] > 0.05 * found["largest_output"]


@pytest.mark.parametrize("which", ["rows_of", "row_of"])
def test_rows_that_are_off_by_one_key_show(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """In the prompt alone, or in decode steps alone."""
    true = getattr(capture, which)
    monkeypatch.setattr(capture, which, lambda *args: true(*args).roll(1, dims=-1))
    found = figures(loaded("crop"), tmp_path / "run")
    assert found["worst_attention_difference"] > 0.05
    assert found["worst_difference"] > 0.05 * found["largest_output"]


def test_wrong_weights_show_even_where_values_hide_them(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are too sharp, in a model whose values are all alike."""
    lmm = loaded("gqa")
    projections = [layer.self_attn.v_proj.weight for layer in lmm.decoder_layers]
    kept = [weight.detach().clone() for weight in projections]
    true = capture.rows_of
    monkeypatch.setattr(
        capture, "rows_of", lambda c, rows: true(c._replace(scaling=1.3 * c.scaling), rows)
    )
    try:
        with torch.no_grad():
            for weight in projections:
                weight.zero_()
        found = figures(lmm, tmp_path / "run")
    finally:
        with torch.no_grad():
            for weight, old in zip(projections, kept, strict=True):
                weight.copy_(old)
    assert found["worst_difference"] == 0
    assert found["worst_attention_difference"] > 1e-3


def test_a_model_without_explicit_attention_says_so(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "eager_function", lambda module: None)
    found = figures(loaded("crop"), tmp_path / "run")
    assert found["worst_attention_difference"] is None and found["attention_rows"] == 0
    assert found["worst_difference"] < 1e-5


def test_explicit_weights_follow_the_calls_mask(loaded: Any) -> None:
    """Of some queries: causal, bool and additive masks give the same, by a plain loop."""
    module = loaded("gqa").decoder_layers[0].self_attn
    query, key = torch.randn(4, 6, 16), torch.randn(2, 6, 16)
    seen = torch.ones(6, 6, dtype=torch.bool).tril()
    added = torch.zeros(6, 6).masked_fill(~seen, float("-inf"))
    queries = torch.tensor([1, 4])
    expected = np.zeros((4, 2, 6))
    for head in range(4):
        for row, at in enumerate(queries.tolist()):
            scores = (key[head // 2, : at + 1] @ query[head, at] * 0.25).double().exp().numpy()
            expected[head, row, : at + 1] = scores / scores.sum()
    output = torch.zeros(6, 4, 16)
    for mask, causal in ((None, True), (seen[None], False), (added[None], False)):
        call = attention.Call(module, query, key, key, mask, 0.25, causal, {}, output)
        found = fidelity.explicit_weights(call, queries)
        assert found is not None
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(attention.rows_of(call, queries).numpy(), expected, atol=1e-6)
