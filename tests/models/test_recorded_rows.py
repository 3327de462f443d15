"""What is recorded is what the model computed, and recording changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.families import kit
from tests.models.tiny import QUESTION, noise

MODELS = ["crop", "gqa", "pad", "mistral", "softcap", "gpt-oss", "demo"]
DIMS = (5, 17)


def rerun(lmm: Any, encoded: Any, run: Any, **options: Any) -> Any:
    """Feed the whole finished sequence at once, on a plain model."""
    ids = torch.tensor([[token.id for token in run.tokens]])
    inputs = {k: v for k, v in encoded.inputs.items() if k == "pixel_values"}
    with torch.inference_mode():
        return lmm.hf_model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **inputs, **options
        )


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_those_of_eager_attention(loaded: Any, tmp_path: Path, name: str) -> None:
    """Every recorded row, of the prompt and of every step, to 1e-5."""
    lmm = loaded(name)
    assert lmm.kernel == ("eager" if name in ("softcap", "gpt-oss") else "sdpa")
    image = noise(90, 70)
    run = vs.record(
        lmm,
        image,
        QUESTION,
        directory=tmp_path / "run",
        generation=vs.Generation(max_new_tokens=9, temperature=1.0, seed=3),
    )
    encoded = lmm.encode(image, QUESTION)
    with kit.kernel(lmm.hf_model, "eager"):
        attentions = rerun(lmm, encoded, run, output_attentions=True).attentions
    expected = np.stack([a[0].numpy() for a in attentions])

    text = [t.position for t in run.tokens if t.role in ("prompt", "generated")]
    assert run.query_positions.tolist() == text
    assert run.query_of(run.length - 1) is not None, "the last token has a row too"
    assert not np.allclose(expected[:, :, text[0], : text[0]].std(), 0, atol=1e-4)
    for query, position in enumerate(text):
        recorded = run.attention(query)
        np.testing.assert_allclose(recorded, expected[:, :, position], atol=1e-5)
        assert (recorded[..., position + 1 :] == 0).all()
        if name == "gpt-oss":  # a score beside the keys takes its part
            assert (recorded.sum(-1) < 1).all()
        else:
            np.testing.assert_allclose(recorded.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_recording_does_not_change_the_run(
    loaded: Any, tmp_path: Path, name: str, temperature: float
) -> None:
    """Same ids and, bit for bit, same logits as plain `generate`."""
    lmm = loaded(name)
    image = noise(90, 70, seed=1)
    generation = vs.Generation(max_new_tokens=12, temperature=temperature, top_p=0.9, seed=11)
    recorded: list[torch.Tensor] = []
    hook = lmm.hf_model.register_forward_hook(
        lambda module, args, output: recorded.append(output.logits[:, -1].clone())
    )
    try:
        run = vs.record(lmm, image, QUESTION, directory=tmp_path / "run", generation=generation)
    finally:
        hook.remove()

    inputs = lmm.encode(image, QUESTION).inputs
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_p": 0.9, "top_k": 0}
        if temperature
        else {"do_sample": False}
    )
    torch.manual_seed(11)
    plain = lmm.hf_model.generate(
        **inputs, max_new_tokens=12, output_logits=True, return_dict_in_generate=True, **sampling
    )
    assert [t.id for t in run.tokens] == plain.sequences[0].tolist()
    # A first run discovers sink dimensions before; every run has a closing step after.
    recorded = recorded[-len(plain.logits) - 1 :]
    for ours, theirs in zip(recorded, plain.logits, strict=False):
        assert torch.equal(ours.float(), theirs)
    logprobs = [torch.log_softmax(step[0].float(), -1) for step in plain.logits]
    generated = [t for t in run.tokens if t.role == "generated"]
    for token, expected in zip(generated, logprobs, strict=True):
        assert token.logprob == pytest.approx(float(expected[token.id]), abs=1e-5)
        best = expected.topk(10)
        assert [a.id for a in token.top] == best.indices.tolist()
        assert [a.logprob for a in token.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_sampling_leaves_the_callers_random_state_alone(loaded: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    vs.record(
        loaded("crop"),
        noise(50, 50),
        QUESTION,
        directory=tmp_path / "run",
        generation=vs.Generation(max_new_tokens=3, temperature=1.0, seed=1),
    )
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["crop", "gqa", "demo"])
def test_phi_and_value_norms_are_those_of_the_definition(
    loaded: Any, tmp_path: Path, name: str
) -> None:
    """phi on the layers' inputs, value norms as norm(v W_O), both computed directly."""
    lmm = loaded(name)
    image = noise(70, 90)
    settings = vs.Redistribution(sink_dims=DIMS, p=0.0, tau=1.0)
    run = vs.record(
        lmm,
        image,
        QUESTION,
        directory=tmp_path / "run",
        generation=vs.Generation(max_new_tokens=6),
        intervention=settings,
    )
    inputs: dict[int, Any] = {}
    values: dict[int, Any] = {}
    handles = []
    for index, layer in enumerate(lmm.decoder_layers):
        handles += [
            layer.register_forward_pre_hook(
                lambda m, args, kwargs, i=index: inputs.update(
                    {i: (args[0] if args else kwargs["hidden_states"])[0].double().numpy()}
                ),
                with_kwargs=True,
            ),
            layer.self_attn.v_proj.register_forward_hook(
                lambda m, args, output, i=index: values.update({i: output[0].double().numpy()})
            ),
        ]
    try:
        rerun(lmm, lmm.encode(image, QUESTION), run)
    finally:
        for handle in handles:
            handle.remove()

    assert run.sink_dims == DIMS
    for index, layer in enumerate(lmm.decoder_layers):
        x = inputs[index]
        rms = np.sqrt((x**2).mean(-1))
        phi = np.abs(x[:, DIMS]).max(-1) / rms
        np.testing.assert_allclose(run.phi(index), phi, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            run.signed_values[index], x[:, DIMS] / rms[:, None], rtol=1e-4, atol=1e-4
        )
        dims, magnitudes = (array[index] for array in run.top_dims())
        largest = np.argsort(-np.abs(x), axis=-1)[:, :3]
        for position in range(0, run.length, 7):
            expected = x[position, largest[position]] / rms[position]
            np.testing.assert_allclose(magnitudes[position, :3], expected, rtol=1e-3)
            assert set(largest[position]) <= set(dims[position].tolist())
        weight = layer.self_attn.o_proj.weight.double().numpy()
        size = weight.shape[1] // lmm.n_heads
        shared = lmm.n_heads // (values[index].shape[1] // size)
        for head in range(lmm.n_heads):
            kv = head // shared
            v = values[index][:, kv * size : (kv + 1) * size]
            norm = np.linalg.norm(v @ weight[:, head * size : (head + 1) * size].T, axis=-1)
            # Stored in half precision.
            np.testing.assert_allclose(run.value_norm(index, head), norm, rtol=2e-3, atol=1e-3)


def test_left_padding_is_honoured(loaded: Any) -> None:
    """Rows of a padded prompt give nothing to the padding and match eager attention."""
    from var_studio.engine.capture import Capture

    lmm = loaded("gqa")
    encoded = lmm.encode(noise(60, 60), QUESTION)
    pad = 5
    ids = torch.nn.functional.pad(encoded.inputs["input_ids"], (pad, 0), value=0)
    mask = torch.nn.functional.pad(encoded.inputs["attention_mask"], (pad, 0), value=0)
    pixels = encoded.inputs["pixel_values"]
    queries = [t.position + pad for t in encoded.tokens if t.role == "prompt"]
    capture = Capture(lmm, sink_dims=DIMS, query_positions=queries, prompt_length=ids.shape[1])
    with torch.inference_mode(), capture.attached():
        recorded_logits = lmm.hf_model(
            input_ids=ids, attention_mask=mask, pixel_values=pixels, use_cache=False
        ).logits
        rows = capture.collect()[0].rows
    with torch.inference_mode():
        plain = lmm.hf_model(
            input_ids=ids, attention_mask=mask, pixel_values=pixels, use_cache=False
        ).logits
        with kit.kernel(lmm.hf_model, "eager"):
            attentions = lmm.hf_model(
                input_ids=ids,
                attention_mask=mask,
                pixel_values=pixels,
                use_cache=False,
                output_attentions=True,
            ).attentions
    expected = np.stack([a[0].numpy() for a in attentions])
    assert torch.equal(recorded_logits, plain)
    assert (rows[..., :pad] == 0).all()
    np.testing.assert_allclose(rows, expected[:, :, queries], atol=1e-5)


def test_half_precision_rows_are_close(loaded: Any, tmp_path: Path) -> None:
    lmm = loaded("crop")
    runs = [
        vs.record(
            lmm,
            noise(60, 60),
            QUESTION,
            directory=tmp_path / precision,
            generation=vs.Generation(max_new_tokens=3),
            options=vs.RecordingOptions(precision=precision),
        )
        for precision in ("float16", "float32")
    ]
    assert [run.precision for run in runs] == ["float16", "float32"]
    for query in range(len(runs[0].query_positions)):
        np.testing.assert_allclose(runs[0].attention(query), runs[1].attention(query), atol=5e-4)
