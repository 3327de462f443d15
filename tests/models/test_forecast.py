"""What is said before against what is then measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import var_studio as vs
from tests.models.measured_run import NEW, QUESTION, SIZE
from tests.models.tiny import noise, save_checkpoint
from var_studio.models import footprint
from var_studio.models.errors import CheckpointError, PromptError
from var_studio.models.skeleton import build_skeleton
from var_studio.recording.tokens import Exchange

TOLERANCE = 0.1


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 200 MB in float32: large enough that the noise of a process does not matter."""
    return save_checkpoint(
        tmp_path_factory.mktemp("large"), hidden=768, layers=8, heads=12, kv_heads=4,
        intermediate_size=2048, side=192, context=4096, spread=0.02,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_and_disk_are_as_forecast(
    large: Path, checkpoint: Any, tmp_path: Path, dtype: str
) -> None:
    said = vs.forecast(
        large, SIZE, QUESTION, generation=vs.Generation(max_new_tokens=NEW), device="cpu",
        dtype=dtype,
    )  # fmt: skip
    command = [
        sys.executable, "-m", "tests.models.measured_run",
        str(large), str(checkpoint("crop")), str(tmp_path), dtype,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        # Else glibc raises this by itself and keeps what was freed: a fifth more in some runs.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072"},
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["n_new"] == NEW == said.n_new, "the run used all the tokens of the forecast"
    assert said.weights == pytest.approx(measured["weights"], rel=TOLERANCE)
    assert said.run == pytest.approx(measured["run"], rel=TOLERANCE)
    whole = measured["weights"] + measured["run"]
    assert said.ram == said.device_memory == pytest.approx(whole, rel=TOLERANCE)
    assert said.disk == pytest.approx(measured["disk"], rel=TOLERANCE)
    # Not by counting one thing for another: the run is no small part of the whole.
    assert measured["run"] > whole / 4


@pytest.mark.parametrize("variant", ["crop", "gqa", "mistral"])
def test_parts_are_exact(
    checkpoint: Any, loaded: Any, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the tensors of the loaded model and of the cache after a plain `generate`."""
    lmm = loaded(variant)
    # Another test may have found that it has none; the config knows nothing of that.
    monkeypatch.setattr(lmm, "sink_dims", None)
    said = vs.forecast(
        checkpoint(variant), noise(90, 60), "what is left?",
        generation=vs.Generation(max_new_tokens=9), device="cpu", dtype="float32",
    )  # fmt: skip
    again = vs.forecast(lmm, (90, 60), "what is left?", generation=vs.Generation(max_new_tokens=9))
    assert said == again
    assert said.weights == sum(
        t.numel() * t.element_size() for t in [*lmm.hf_model.parameters(), *lmm.hf_model.buffers()]
    )
    encoded = lmm.encode(noise(90, 60), "what is left?")
    assert (said.n_prompt, said.n_visual) == (encoded.length, encoded.layout.count)
    assert said.n_rows == sum(token.role == "prompt" for token in encoded.tokens)
    output = lmm.hf_model.generate(
        **encoded.inputs, max_new_tokens=10, min_new_tokens=10, return_dict_in_generate=True
    )
    held = sum(
        t.numel() * t.element_size()
        for layer in output.past_key_values.layers
        for t in (layer.keys, layer.values)
    )
    assert said.kv_cache == held  # after ten tokens, nine have been fed
    turns = [Exchange("what is this?", "a cat"), Exchange("is it red?", "no , it is blue")]
    follow_up = vs.forecast(lmm, (90, 60), "what is left?", history=turns)
    whole = lmm.encode(noise(90, 60), "what is left?", turns)
    assert follow_up.n_prompt == whole.length > said.n_prompt + 9
    assert follow_up.n_rows == sum(token.role == "prompt" for token in whole.tokens)
    if variant == "mistral":
        longer = vs.forecast(lmm, (90, 60), "what is left?" * 9)
        assert longer.kv_cache == said.kv_cache, "a full window does not grow"


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_packed_weights_are_as_forecast(large: Path, bits: Any) -> None:
    said = vs.forecast(large, quantization=bits, device="cpu").weights
    lmm = vs.load_model(large, quantization=bits, device="cpu")
    held = 0
    for tensor in [*lmm.hf_model.parameters(), *lmm.hf_model.buffers()]:
        held += tensor.numel() * tensor.element_size()
        state = getattr(tensor, "quant_state", None)
        scales = getattr(tensor, "SCB", None) if state is None else state.absmax
        held += 0 if scales is None else scales.numel() * scales.element_size()
    assert said == pytest.approx(held, rel=0.01)
    assert said < 0.7 * vs.forecast(large, device="cpu").weights


def test_a_seven_billion_model_costs_nothing_to_ask_about(tmp_path: Path) -> None:
    """LLaVA-1.5-7B's sizes: 7.06 billion parameters, 14.1 GB in 16 bits."""
    import transformers

    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
            num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768,
        ),
        text_config=transformers.LlamaConfig(vocab_size=32064, max_position_embeddings=4096),
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    skeleton = build_skeleton(tmp_path, torch.bfloat16)
    assert sum(p.numel() for p in skeleton.parameters()) == 7_063_427_072
    assert footprint.weight_bytes(skeleton) == pytest.approx(14.13e9, rel=1e-3)
    from var_studio.models.families.llava import Llava

    # Per position: 32 layers of a key and a value, 32 heads of 128, two bytes each.
    assert footprint.cache_bytes(skeleton, Llava(), 1000, 2) == 1000 * 32 * 2 * 32 * 128 * 2
    # The disk of a token: at most 1.5 MiB.
    assert footprint.row_bytes(skeleton, 700, 2) < 1.5 * 2**20


def test_more_is_asked_more_is_said(checkpoint: Any) -> None:
    folder = checkpoint("crop")
    model = vs.forecast(folder, device="cpu")
    assert (model.run, model.disk, model.n_prompt) == (0, 0, 0)
    assert model.device_memory == model.ram == model.weights > 0
    one = vs.forecast(folder, (60, 60), device="cpu")
    two = vs.forecast(folder, [(60, 60), (90, 60)], device="cpu")
    assert two.n_visual == 2 * one.n_visual and two.run > one.run and two.disk > one.disk
    half = vs.forecast(folder, device="cpu", dtype="bfloat16").weights
    assert half == pytest.approx(model.weights / 2, rel=0.01)  # buffers stay as they are
    assert json.loads(json.dumps(one.to_json()))["device_memory"] == one.device_memory


def test_what_cannot_be_forecast(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        vs.forecast(tmp_path)
    with pytest.raises(PromptError, match="No image has the size"):
        vs.forecast(checkpoint("crop"), (0, 5))
    with pytest.raises(PromptError, match="takes 2048"):
        vs.forecast(checkpoint("crop"), (60, 60), "word " * 3000)
