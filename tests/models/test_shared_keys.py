"""Layers that reuse the keys of earlier ones, heads of two sizes, and windows: Gemma 4's text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.families import kit
from var_studio.engine.capture import Capture, Pass
from var_studio.models.families.base import Family
from var_studio.models.value_grams import ValueGrams

PROMPT, STEPS, WINDOW, LAYERS, HEADS = 30, 8, 12, 6, 4
DIMS = (3, 5)


@pytest.fixture(scope="module")
def model() -> Any:
    """The last two layers have no keys of their own; every second one has wider heads.

    In float64: else two kernels round the hidden states so differently that rows differ by 1e-5 on
    some processors.
    """
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    config = Gemma4Config(
        text_config={
            "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 2,
            "head_dim": 16, "global_head_dim": 24, "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"] * 3,
            "num_kv_shared_layers": 2, "vocab_size_per_layer_input": 300,
            "hidden_size_per_layer_input": 8, "max_position_embeddings": 256,
            "initializer_range": 0.1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
            "global_head_dim": 8, "patch_size": 4,
        },
        audio_config=None, image_token_id=290, boi_token_id=291, eoi_token_id=292,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Gemma4ForConditionalGeneration(config).double().eval()
    with torch.no_grad():
        for layer in model.get_decoder().layers:
            # Scores would go up to the size of a head here, and our rows are in float32.
            layer.self_attn.q_norm.weight.fill_(0.4)
    return model


def generate(model: Any, ids: torch.Tensor, **options: Any) -> Any:
    return model.generate(
        ids,
        max_new_tokens=STEPS,
        do_sample=False,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )


def test_rows_norms_and_phi_of_layers_without_keys_of_their_own(model: Any) -> None:
    layers = model.get_decoder().layers
    assert [layer.self_attn.is_kv_shared_layer for layer in layers] == [False] * 4 + [True] * 2
    family = Family()
    grams = ValueGrams([layer.self_attn for layer in layers], HEADS, torch.device("cpu"))
    lmm: Any = SimpleNamespace(
        hf_model=model, family=family, decoder_layers=layers, n_layers=LAYERS, n_heads=HEADS,
        device=torch.device("cpu"), kernel=family.kernel(model), value_grams=lambda: grams,
    )  # fmt: skip
    capture = Capture(lmm, sink_dims=DIMS, query_positions=range(10, PROMPT), prompt_length=PROMPT)
    passes: list[Pass] = []
    inputs: dict[int, torch.Tensor] = {}
    values: dict[int, torch.Tensor] = {}

    def collect(module: Any, args: Any, output: Any) -> None:
        passes.append(capture.collect()[0])

    def keep_input(layer: int) -> Any:
        def hook(module: Any, args: Any) -> None:
            inputs.setdefault(layer, args[0][0].clone())

        return hook

    def keep_value(layer: int) -> Any:
        def hook(module: Any, args: Any, output: torch.Tensor) -> None:
            values.setdefault(layer, output[0].transpose(0, 1).clone())

        return hook

    handles = [model.register_forward_hook(collect)]
    for i, layer in enumerate(layers):
        handles.append(layer.register_forward_pre_hook(keep_input(i)))
        if i < 4:
            handles.append(layer.self_attn.v_norm.register_forward_hook(keep_value(i)))
    ids = torch.randint(3, 280, (1, PROMPT), generator=torch.Generator().manual_seed(1))
    try:
        with torch.inference_mode(), capture.attached():
            ours = generate(model, ids)
    finally:
        for handle in handles:
            handle.remove()

    plain = generate(model, ids)
    assert torch.equal(ours.sequences, plain.sequences)
    # At the prefill plain `generate` runs shared layers for the last query alone: other shapes.
    torch.testing.assert_close(ours.logits[0], plain.logits[0], atol=1e-6, rtol=0)
    # Rows beyond the window: its layers keep the last keys only.
    with kit.kernel(model, "eager"), torch.inference_mode():
        weights = generate(model, ids, output_attentions=True).attentions
    assert len(passes) == len(weights) == STEPS
    for step, (seen, attentions) in enumerate(zip(passes, weights, strict=True)):
        assert seen.positions == (tuple(range(10, PROMPT)) if step == 0 else (PROMPT + step - 1,))
        for layer, full in enumerate(attentions):
            rows = full[0].numpy()
            if step == 0:
                rows = rows[:, 10:]
            elif layer % 2 == 0:
                assert rows.shape[-1] == WINDOW
            expected = np.zeros_like(seen.rows[layer])
            expected[..., expected.shape[-1] - rows.shape[-1] :] = rows
            np.testing.assert_allclose(seen.rows[layer], expected, atol=1e-5)
    first = passes[0]
    for layer, x in inputs.items():
        rms = x.square().mean(-1, keepdim=True).sqrt()
        np.testing.assert_allclose(first.signed_values[layer], x[:, DIMS] / rms, rtol=1e-4)
        # Layers 4 and 5 read the values of the last layers of their kind.
        value = values[layer if layer < 4 else layer - 2]
        output = layers[layer].self_attn.o_proj.weight.detach()
        size = value.shape[-1]
        for head in range(HEADS):
            norm = (value[head // 2] @ output[:, head * size : (head + 1) * size].T).norm(dim=-1)
            np.testing.assert_allclose(first.value_norm[layer, head], norm, rtol=1e-4)
    assert capture.fidelity.worst_difference < 1e-5
    assert capture.fidelity.worst_attention_difference < 1e-5  # type: ignore[operator]
