"""VAR in the running model = an independent slow loop over a plain forward, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.against_slow_loop import (
    assert_same,
    recorded_logits,
    slow_logits,
    slow_method,
)
from tests.models.tiny import QUESTION, noise

# A random model has no massive values: two dimensions and a low tau make about a third of the
# tokens sinks, low thresholds make some heads image-centric and leave others.
TINY = {"sink_dims": (5, 17), "tau": 1.6, "rho": 0.6, "p": 0.6, "mass_min": 0.3}
DEMO = {"rho": 0.5, "p": 0.6}

CASES = [
    ("crop", {**TINY}),
    ("gqa", {**TINY, "p": 1.0}),
    ("gqa", {**TINY, "convention": "released-code", "rho": 0.4, "p": 0.3}),
    ("crop", {**TINY, "convention": "released-code", "rho": 0.4, "p": 0.0}),
    ("pad", {**TINY, "target": "text"}),
    ("crop", {**TINY, "target": "both", "heads": "all"}),
    ("crop", {**TINY, "first_layer": 1, "last_layer": 1}),
    ("crop", {**TINY, "last_layer": 3}),
    ("gqa", {**TINY, "source": "visual"}),
    ("crop", {**TINY, "source": "text", "heads": "all"}),
    ("crop", {**TINY, "source": "visual", "target": "both"}),
    ("gqa", {**TINY, "target": "region", "region": tuple(range(3, 20))}),
    ("mistral", {**TINY, "target": "region", "region": (8, 30), "heads": "all"}),
    ("demo", DEMO),
    ("demo", {**DEMO, "convention": "released-code", "p": 0.4, "tau": 1.5}),
]


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_the_engine_agrees_with_the_slow_loop(
    loaded: Any, tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    lmm = loaded(name)
    image = noise(90, 70, seed=2)
    settings = vs.Redistribution(**fields)
    run, logits = recorded_logits(lmm, image, settings, tmp_path / "run")

    method = slow_method(lmm, run)
    expected = slow_logits(lmm, run, image, method)
    assert method.rows_changed > 0, "nothing was redistributed: the test would show nothing"
    if not method.all_heads:
        assert method.rows_kept > 0, "every head was selected: the test would show little"
    assert_same(logits, expected)
    # Negative control: without the method the logits are clearly others.
    assert np.abs(slow_logits(lmm, run, image, None) - logits).max() > 1e-2


@pytest.mark.parametrize(
    "fields",
    [
        {**TINY, "p": 0.0},
        {**TINY, "convention": "released-code", "p": 1.0},
        {**TINY, "tau": 1000.0},
        {**TINY, "sink_dims": None},
        {**TINY, "mass_min": 1.0},
    ],
    ids=["p=0", "released p=1", "no sinks", "no sink dimensions", "no head selected"],
)
def test_what_moves_nothing_changes_nothing(
    loaded: Any, tmp_path: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit the plain run's logits."""
    lmm = loaded("gqa")
    if fields["sink_dims"] is None:
        monkeypatch.setattr(lmm, "sink_dims", ())  # as where discovery found none
    image = noise(90, 70, seed=2)
    run, logits = recorded_logits(lmm, image, vs.Redistribution(**fields), tmp_path / "var")
    plain_run, plain = recorded_logits(lmm, image, None, tmp_path / "plain")
    assert np.array_equal(logits, plain)
    assert [t.id for t in run.tokens] == [t.id for t in plain_run.tokens]


@pytest.mark.parametrize("convention", ["paper", "released-code"])
def test_rows_are_recorded_before_and_redistributed_after(
    loaded: Any, tmp_path: Path, convention: str
) -> None:
    """The recording's own (local) redistribution is what the engine did in the first layer."""
    lmm = loaded("crop")
    settings = vs.Redistribution(
        **{**TINY, "convention": convention, "rho": 0.5, "p": 0.5, "heads": "all"}
    )
    first = 2 if convention == "released-code" else 0
    outputs: dict[str, torch.Tensor] = {}
    values: dict[str, torch.Tensor] = {}
    attention = lmm.decoder_layers[first].self_attn
    hooks = [
        attention.o_proj.register_forward_pre_hook(
            lambda m, args: None if outputs else outputs.update(prefill=args[0][0].clone())
        ),
        attention.v_proj.register_forward_hook(
            lambda m, args, output: None if values else values.update(prefill=output[0].clone())
        ),
    ]
    try:
        run = vs.record(
            lmm,
            noise(60, 80, seed=4),
            QUESTION,
            intervention=settings,
            generation=vs.Generation(max_new_tokens=1),
            directory=tmp_path / "run",
        )
    finally:
        for hook in hooks:
            hook.remove()
    length = run.prompt_length
    size = lmm.hidden_size // lmm.n_heads
    v = values["prefill"].numpy().reshape(length, -1, size)
    mixed = outputs["prefill"].numpy().reshape(length, lmm.n_heads, size)
    changed = 0
    for query, position in enumerate(run.query_positions):
        if position >= length:
            continue
        before = run.attention(query, first)
        after = run.redistributed(query, settings, first)
        changed += not np.allclose(before, after, atol=1e-4)
        np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
        expected = np.einsum("hk,khd->hd", after[:, :length], v)
        np.testing.assert_allclose(mixed[position], expected, atol=1e-5)
    assert changed > 0


def test_a_layer_range_outside_the_model_is_refused(loaded: Any, tmp_path: Path) -> None:
    for fields in ({"first_layer": 4}, {"last_layer": 9}, {"sink_dims": (64,)}):
        with pytest.raises(vs.VarStudioError, match="0 to"):
            vs.record(
                loaded("crop"),
                noise(60, 60),
                QUESTION,
                intervention=vs.Redistribution(**fields),
                directory=tmp_path / str(fields),
            )


def test_a_token_without_a_state_has_phi_0(loaded: Any, tmp_path: Path) -> None:
    """The embedding of a padding token is all zero: in the prompt, and as a generated token."""
    lmm, image = loaded("crop"), noise(60, 60)
    settings = vs.Redistribution(**TINY)
    teacher = vs.record(
        lmm, image, QUESTION, generation=vs.Generation(max_new_tokens=3), directory=tmp_path / "a"
    )
    empty = [int(teacher.generated_positions[0]), teacher.prompt_length - 1]
    weight = lmm.hf_model.get_input_embeddings().weight
    before = weight.data.clone()
    try:
        weight.data[[teacher.tokens[position].id for position in empty]] = 0.0
        run = vs.record(
            lmm, image, QUESTION, intervention=settings, teacher=teacher, directory=tmp_path / "b"
        )
    finally:
        weight.data.copy_(before)
    for position in empty:
        assert run.phi(0)[position] == 0.0 and not run.sinks(0, tau=1.6)[position]
        assert (run.top_dims()[1][0, position] == 0.0).all()
        assert run.phi(1)[position] > 0.0
