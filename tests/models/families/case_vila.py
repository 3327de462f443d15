"""VILA-1.5: three folders with the names of the published checkpoints, an odd number of patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.case_llava_next import text_config
from tests.models.families.kit import Array, Case
from tests.models.tiny import build_tokenizer


def _save(folder: Path, *, side: int, patch: int, layers: int = 3, kv_heads: int = 4) -> Path:
    """Tensors are named as in Efficient-Large-Model/VILA1.5-13b, whatever transformers calls them
    today; the tower's unused pooling head is left out."""
    from safetensors.torch import save_file
    from transformers import (
        LlamaForCausalLM,
        SiglipImageProcessor,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    tokenizer = build_tokenizer(named={}, special=("<unk>",), template=None)
    tokenizer.unk_token = "<unk>"
    text = text_config("llama", kv_heads, len(tokenizer), layers)
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
        vision_use_head=False,
    )
    torch.manual_seed(0)
    wide = 4 * vision.hidden_size
    projector = {
        "layers.1.weight": 1 + 0.2 * torch.randn(wide),
        "layers.1.bias": 0.2 * torch.randn(wide),
        "layers.2.weight": torch.randn(text.hidden_size, wide) / wide**0.5,
        "layers.2.bias": 0.2 * torch.randn(text.hidden_size),
        "layers.4.weight": torch.randn(text.hidden_size, text.hidden_size) / 8,
        "layers.4.bias": 0.2 * torch.randn(text.hidden_size),
    }
    parts = {
        "llm": LlamaForCausalLM(text).state_dict(),
        "vision_tower": {
            f"vision_model.{name.removeprefix('vision_model.')}": tensor
            for name, tensor in SiglipVisionModel(vision).state_dict().items()
        },
        "mm_projector": projector,
    }
    configs = {
        "llm": {**text.to_dict(), "architectures": ["LlamaForCausalLM"]},
        "vision_tower": {
            name: value for name, value in vision.to_dict().items() if name != "vision_use_head"
        },
        "mm_projector": {"model_type": "v2l_projector", "mm_projector_type": "mlp_downsample"},
    }
    for part, tensors in parts.items():
        (folder / part).mkdir(parents=True)
        _write(folder / part / "config.json", configs[part])
        _save_shards(save_file, folder / part, tensors, n=2 if part == "llm" else 1)
    tokenizer.save_pretrained(folder / "llm")
    SiglipImageProcessor(size={"height": side, "width": side}).save_pretrained(
        folder / "vision_tower"
    )
    _write(
        folder / "config.json",
        {
            "_name_or_path": "./vlm",
            "architectures": ["LlavaLlamaModel"],
            "model_type": "llava_llama",
            "model_dtype": "torch.float32",
            "hidden_size": text.hidden_size,
            "mm_hidden_size": vision.hidden_size,
            "image_aspect_ratio": "resize",
            "mm_use_im_start_end": False,
            "mm_vision_select_feature": "cls_patch",
            "mm_vision_select_layer": -2,
            "s2": False,
            **{f"{part}_cfg": config for part, config in configs.items()},
        },
    )
    return folder


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))


def _save_shards(save_file: Any, folder: Path, tensors: dict[str, torch.Tensor], n: int) -> None:
    if n == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for k in range(n):
        shard = f"model-{k + 1:05}-of-{n:05}.safetensors"
        own = names[k::n]
        save_file({name: tensors[name] for name in own}, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(own, shard)
    _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """What reaches the projector's first layer, where each patch carries the mean of its pixels.

    Tokens of the last row and column have zeros in place of patches that are not there.
    """
    model, processor = lmm.hf_model.model, lmm.processor.image_processor
    pixel_values = lmm.family.inputs(lmm.processor, [picture], "<image>")["pixel_values"]
    red = pixel_values[:, :1] * processor.image_std[0] + processor.image_mean[0]
    cells = torch.nn.functional.avg_pool2d(red, model.config.vision_config.patch_size).flatten(1)
    found: list[torch.Tensor] = []
    handles = [
        model.multi_modal_projector.register_forward_pre_hook(
            lambda module, args: (cells[..., None].expand(args[0].shape),)
        ),
        model.multi_modal_projector.layers[1].register_forward_pre_hook(
            lambda module, args: found.append(args[0][0].unflatten(-1, (4, -1))[..., 0])
        ),
    ]
    try:
        with torch.inference_mode():
            model.get_image_features(pixel_values, return_dict=True)
    finally:
        for handle in handles:
            handle.remove()
    pixels = found[0].double().numpy()
    n = round(len(pixels) ** 0.5)
    whole = [k % n < n - 1 and k // n < n - 1 for k in range(n * n)]
    return pixels.mean(1), torch.tensor(whole).numpy()


CASES = [
    Case(
        "vila-1.5",
        lambda folder: _save(folder, side=56, patch=6),
        lambda folder: _save(folder, side=384, patch=14, layers=1),
        means=means,
        views=lambda lmm, size: 1,
    ),
]
