"""8-bit and 4-bit weights: which modules, what is said without the library, and a run."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import var_studio as vs
from tests.models.tiny import noise
from var_studio.models import quantization
from var_studio.models.errors import DeviceError, MissingLibraryError, UnsupportedModelError
from var_studio.models.skeleton import build_skeleton, decoder_layers_path
from var_studio.models.value_grams import output_weight

needs_library = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def test_the_decoder_layers_alone_are_packed(checkpoint: Any) -> None:
    """By the rule with which transformers reads the list, over every linear module."""
    from transformers.quantizers.quantizers_utils import should_convert_module

    skeleton = build_skeleton(checkpoint("gqa"), torch.float32)
    assert next(skeleton.parameters()).is_meta
    left = quantization.modules_to_leave(skeleton)
    assert {"lm_head", "model.vision_tower", "model.multi_modal_projector"} <= set(left)
    layers = decoder_layers_path(skeleton)
    assert layers == "model.language_model.layers"
    linears = [n for n, m in skeleton.named_modules() if isinstance(m, torch.nn.Linear)]
    packed = {name for name in linears if should_convert_module(name, left)}
    assert packed == {name for name in linears if name.startswith(f"{layers}.")}
    assert len(packed) == 4 * 7 < len(linears)


def test_the_configuration_names_the_bits_and_the_precision(checkpoint: Any) -> None:
    skeleton = build_skeleton(checkpoint("crop"), torch.bfloat16)
    eight = quantization.quantization_config("8bit", skeleton, torch.bfloat16)
    four = quantization.quantization_config("4bit", skeleton, torch.bfloat16)
    assert (eight.load_in_8bit, eight.load_in_4bit) == (True, False)
    assert (four.load_in_8bit, four.load_in_4bit) == (False, True)
    assert four.quantization_method() == "nf4"
    assert four.bnb_4bit_compute_dtype == torch.bfloat16
    assert "lm_head" in eight.llm_int8_skip_modules == four.llm_int8_skip_modules


def test_what_cannot_be_packed_is_said_before_anything_is_loaded(
    checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match=r"'3bit'.*8bit or 4bit"):
        vs.load_model(checkpoint("crop"), quantization="3bit")  # type: ignore[arg-type]
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(MissingLibraryError, match=r"4bit weights.*pip install bitsandbytes"):
        vs.load_model(checkpoint("crop"), quantization="4bit")
    copy = Path(shutil.copytree(checkpoint("crop"), tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    for stored, wanted, match in [
        ({"quant_method": "gptq", "bits": 4}, None, "'gptq'.*original checkpoint"),
        ({"load_in_8bit": True}, "4bit", "8bit already"),
        ({"load_in_8bit": True}, None, "pip install bitsandbytes"),
    ]:
        config["quantization_config"] = stored
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises((UnsupportedModelError, MissingLibraryError), match=match):
            vs.load_model(copy, quantization=wanted)  # type: ignore[arg-type]


@needs_library
@pytest.mark.parametrize(("bits", "error"), [("8bit", 0.006), ("4bit", 0.2)])
def test_a_packed_model_runs_and_its_weights_read_as_numbers(
    checkpoint: Any, bits: Any, error: float
) -> None:
    plain = vs.load_model(checkpoint("gqa"))
    packed = vs.load_model(checkpoint("gqa"), quantization=bits)
    assert packed.quantization == bits and bits in repr(packed)
    tower = packed.hf_model.model.vision_tower
    assert {type(m) for m in tower.modules() if "Linear" in type(m).__name__} == {torch.nn.Linear}
    assert type(packed.hf_model.lm_head) is torch.nn.Linear
    exact = plain.decoder_layers[1].self_attn.o_proj.weight
    held = packed.decoder_layers[1].self_attn.o_proj
    # Before the first pass and after it: bitsandbytes lays the bits out anew then.
    for _ in range(2):
        read = output_weight(held)
        assert read.shape == exact.shape
        worst = float((read - exact).abs().max() / exact.abs().max())
        assert 0 < worst < error
        encoded = packed.encode(noise(60, 60), "what is left?")
        with torch.inference_mode():
            logits = packed.hf_model(**encoded.inputs).logits
            wanted = plain.hf_model(**encoded.inputs).logits
        agreement = torch.nn.functional.cosine_similarity(logits, wanted, dim=-1).mean()
        assert agreement > (0.99 if bits == "8bit" else 0.8)
