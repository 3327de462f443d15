"""A tiny InternVL2 in the layout of its original repository, and a plain forward pass of it.

The forward pass is written from the published architecture (InternViT, pixel shuffle, `mlp1`,
InternLM2 with packed `wqkv`), over the original tensors. It shares nothing with the conversion.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional as nn

Tensors = dict[str, torch.Tensor]

PIECES = Path(__file__).parent / "piece_models"
SPECIAL = [
    "<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>",
    "<|im_start|>",
]  # fmt: skip
BEYOND = [
    "<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
]  # fmt: skip
PATCH, SIDE, VISION, LAYERS = 7, 28, 24, 2


SIX_BILLION = {"norm_type": "rms_norm", "qk_normalization": True, "qkv_bias": False}
"""What is otherwise in the tower of InternVL2-26B."""


def config(*, tower: Mapping[str, Any] = MappingProxyType({}), **llm: Any) -> dict[str, Any]:
    """config.json as OpenGVLab/InternVL2-8B has it, with tiny numbers."""
    return {
        "_name_or_path": "OpenGVLab/InternVL2-8B",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": SIDE,
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "use_thumbnail": True,
        "torch_dtype": "bfloat16",
        "llm_config": {
            "architectures": ["InternLM2ForCausalLM"],
            "model_type": "internlm2",
            "bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": 64,
            "intermediate_size": 80,
            "max_position_embeddings": 512,
            "num_attention_heads": 8,
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": 2,
            "pad_token_id": 2,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 2.0, "type": "dynamic"},
            "rope_theta": 1000000,
            "tie_word_embeddings": False,
            "vocab_size": 360 + len(BEYOND),
            **llm,
        },
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "hidden_act": "gelu",
            "hidden_size": VISION,
            "image_size": SIDE,
            "initializer_factor": 0.1,
            "intermediate_size": 40,
            "layer_norm_eps": 1e-06,
            "norm_type": "layer_norm",
            "num_attention_heads": 3,
            "num_hidden_layers": LAYERS,
            "patch_size": PATCH,
            "qk_normalization": False,
            "qkv_bias": True,
            **tower,
        },
    }


def tensors(settings: dict[str, Any], seed: int = 0) -> Tensors:
    """Random weights under the original names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.2, mean: float = 0.0) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale + mean

    llm, vision = settings["llm_config"], settings["vision_config"]
    width, inner = llm["hidden_size"], llm["intermediate_size"]
    heads, keys = llm["num_attention_heads"], llm["num_key_value_heads"]
    made: Tensors = {
        "vision_model.embeddings.class_embedding": draw(1, 1, VISION),
        "vision_model.embeddings.position_embedding": draw(1, (SIDE // PATCH) ** 2 + 1, VISION),
        "vision_model.embeddings.patch_embedding.weight": draw(VISION, 3, PATCH, PATCH),
        "vision_model.embeddings.patch_embedding.bias": draw(VISION),
        "mlp1.0.weight": draw(4 * VISION, mean=1), "mlp1.0.bias": draw(4 * VISION),
        "mlp1.1.weight": draw(width, 4 * VISION), "mlp1.1.bias": draw(width),
        "mlp1.3.weight": draw(width, width), "mlp1.3.bias": draw(width),
        "language_model.model.tok_embeddings.weight": draw(llm["vocab_size"], width, scale=1),
        "language_model.model.norm.weight": draw(width, mean=1),
        "language_model.output.weight": draw(llm["vocab_size"], width),
    }  # fmt: skip
    for layer in range(vision["num_hidden_layers"]):
        name = f"vision_model.encoder.layers.{layer}"
        for part, shape in {
            "attn.qkv": (3 * VISION, VISION), "attn.proj": (VISION, VISION),
            "mlp.fc1": (40, VISION), "mlp.fc2": (VISION, 40),
        }.items():  # fmt: skip
            made[f"{name}.{part}.weight"] = draw(*shape)
            made[f"{name}.{part}.bias"] = draw(shape[0])
        if not vision["qkv_bias"]:
            del made[f"{name}.attn.qkv.bias"]
        for norm in ("norm1", "norm2"):
            made[f"{name}.{norm}.weight"] = draw(VISION, mean=1)
            if vision["norm_type"] == "layer_norm":
                made[f"{name}.{norm}.bias"] = draw(VISION)
        if vision["qk_normalization"]:
            made[f"{name}.attn.q_norm.weight"] = draw(VISION, mean=1)
            made[f"{name}.attn.k_norm.weight"] = draw(VISION, mean=1)
        made[f"{name}.ls1"], made[f"{name}.ls2"] = draw(VISION, mean=1), draw(VISION, mean=1)
    packed = (heads + 2 * keys) * (width // heads)
    for layer in range(llm["num_hidden_layers"]):
        name = f"language_model.model.layers.{layer}"
        made[f"{name}.attention.wqkv.weight"] = draw(packed, width)
        made[f"{name}.attention.wo.weight"] = draw(width, width)
        if llm["bias"]:
            made[f"{name}.attention.wqkv.bias"] = draw(packed)
            made[f"{name}.attention.wo.bias"] = draw(width)
        made[f"{name}.feed_forward.w1.weight"] = draw(inner, width)
        made[f"{name}.feed_forward.w2.weight"] = draw(width, inner)
        made[f"{name}.feed_forward.w3.weight"] = draw(inner, width)
        made[f"{name}.attention_norm.weight"] = draw(width, mean=1)
        made[f"{name}.ffn_norm.weight"] = draw(width, mean=1)
    return made


def save(
    folder: Path, settings: dict[str, Any], weights: Tensors, *, pieces: str = "plain"
) -> Path:
    """Write a repository in two shards, with a tokenizer and code that must not be run."""
    folder.mkdir(parents=True)
    names = list(weights)
    shards = [names[::2], names[1::2]]
    where = {}
    for number, part in enumerate(shards, 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    write(folder / "config.json", settings)
    shutil.copy(PIECES / f"{pieces}.model", folder / "tokenizer.model")
    # As in the original, the last pieces are unused ones that the added tokens take over.
    first = 360 - len(SPECIAL)
    added = {0: "<unk>", 1: "<s>", 2: "</s>", **dict(enumerate([*SPECIAL, *BEYOND], first))}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    write(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {
                str(i): {"content": text, "special": True, **flags} for i, text in added.items()
            },
            "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
            "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>",
            "tokenizer_class": "InternLM2Tokenizer",
        },
    )  # fmt: skip
    for code in ("modeling_internvl_chat", "tokenization_internlm2"):
        (folder / f"{code}.py").write_text("raise SystemExit('this code was run')\n")
    return folder


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))


# ------------------------------------------------------------------------- the forward pass


def logits(
    settings: dict[str, Any],
    weights: Tensors,
    ids: torch.Tensor,
    pixels: torch.Tensor | None = None,
    image: int = -1,
) -> torch.Tensor:
    """(T, vocabulary) logits for ids (T,); `image` stands for the tokens of tiles (n, 3, H, W)."""
    x = weights["language_model.model.tok_embeddings.weight"][ids].clone()
    if pixels is not None:
        x[ids == image] = visual_tokens(settings, weights, pixels).flatten(0, 1)
    llm = settings["llm_config"]
    for layer in range(llm["num_hidden_layers"]):
        name = f"language_model.model.layers.{layer}"
        normed = _rms(x, weights[f"{name}.attention_norm.weight"], llm["rms_norm_eps"])
        x = x + _attention(llm, weights, f"{name}.attention", normed)
        normed = _rms(x, weights[f"{name}.ffn_norm.weight"], llm["rms_norm_eps"])
        gate = nn.silu(normed @ weights[f"{name}.feed_forward.w1.weight"].T)
        up = normed @ weights[f"{name}.feed_forward.w3.weight"].T
        x = x + (gate * up) @ weights[f"{name}.feed_forward.w2.weight"].T
    x = _rms(x, weights["language_model.model.norm.weight"], llm["rms_norm_eps"])
    return x @ weights["language_model.output.weight"].T


def visual_tokens(settings: dict[str, Any], weights: Tensors, pixels: torch.Tensor) -> torch.Tensor:
    """(n, tokens, width): InternViT without its class token, 2 x 2 patches joined, `mlp1`."""
    vision = settings["vision_config"]
    at = "vision_model.embeddings"
    patches = nn.conv2d(
        pixels,
        weights[f"{at}.patch_embedding.weight"],
        weights[f"{at}.patch_embedding.bias"],
        stride=vision["patch_size"],
    )
    tiles, width, side, _ = patches.shape
    first = weights[f"{at}.class_embedding"].expand(tiles, 1, width)
    x = torch.cat([first, patches.flatten(2).transpose(1, 2)], 1)
    x = x + weights[f"{at}.position_embedding"]
    heads, eps = vision["num_attention_heads"], vision["layer_norm_eps"]
    for layer in range(vision["num_hidden_layers"]):
        name = f"vision_model.encoder.layers.{layer}"

        def linear(value: torch.Tensor, part: str, name: str = name) -> torch.Tensor:
            return nn.linear(
                value, weights[f"{name}.{part}.weight"], weights.get(f"{name}.{part}.bias")
            )

        def norm(value: torch.Tensor, part: str, name: str = name) -> torch.Tensor:
            scale, shift = weights[f"{name}.{part}.weight"], weights.get(f"{name}.{part}.bias")
            if vision["norm_type"] == "rms_norm":
                return _rms(value, scale, eps)
            return nn.layer_norm(value, (width,), scale, shift, eps)

        q, k, v = linear(norm(x, "norm1"), "attn.qkv").chunk(3, -1)
        if vision["qk_normalization"]:
            q = _rms(q, weights[f"{name}.attn.q_norm.weight"], eps)
            k = _rms(k, weights[f"{name}.attn.k_norm.weight"], eps)
        q, k, v = (y.view(tiles, -1, heads, width // heads).transpose(1, 2) for y in (q, k, v))
        share = (q @ k.transpose(-1, -2) / math.sqrt(width // heads)).softmax(-1)
        mixed = (share @ v).transpose(1, 2).flatten(2)
        x = x + linear(mixed, "attn.proj") * weights[f"{name}.ls1"]
        inner = nn.gelu(linear(norm(x, "norm2"), "mlp.fc1"))
        x = x + linear(inner, "mlp.fc2") * weights[f"{name}.ls2"]
    grid = x[:, 1:].view(tiles, side, side, width)
    # Four neighbours of a 2 x 2 block, row by row, side by side in one vector.
    joined = torch.cat([grid[:, i::2, j::2] for i in range(2) for j in range(2)], -1)
    joined = joined.flatten(1, 2)
    joined = nn.layer_norm(
        joined, (4 * width,), weights["mlp1.0.weight"], weights["mlp1.0.bias"], 1e-5
    )
    hidden = nn.gelu(nn.linear(joined, weights["mlp1.1.weight"], weights["mlp1.1.bias"]))
    return nn.linear(hidden, weights["mlp1.3.weight"], weights["mlp1.3.bias"])


def _rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def _attention(llm: dict[str, Any], weights: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    """One key head at a time: its rows of `wqkv` are its queries', then its key's, its value's."""
    heads, keys = llm["num_attention_heads"], llm["num_key_value_heads"]
    size, group = llm["hidden_size"] // heads, heads // keys
    length = len(x)
    packed = nn.linear(x, weights[f"{name}.wqkv.weight"], weights.get(f"{name}.wqkv.bias"))
    blocks = packed.view(length, keys, group + 2, size)
    turn = _rotation(llm, length, size)
    causal = torch.full((length, length), -torch.inf).triu(1)
    outputs = []
    for head in range(heads):
        block = blocks[:, head // group]
        q, k, v = turn(block[:, head % group]), turn(block[:, group]), block[:, group + 1]
        outputs.append((q @ k.T / math.sqrt(size) + causal).softmax(-1) @ v)
    return nn.linear(
        torch.cat(outputs, -1), weights[f"{name}.wo.weight"], weights.get(f"{name}.wo.bias")
    )


def _rotation(llm: dict[str, Any], length: int, size: int) -> Any:
    """Rotary embedding: halves of a vector are the parts of complex numbers."""
    base, most = float(llm["rope_theta"]), llm["max_position_embeddings"]
    scaling = llm["rope_scaling"] or {"type": "none", "factor": 1.0}
    factor = scaling["factor"]
    position = torch.arange(length, dtype=torch.float64)
    if scaling["type"] == "linear":
        position = position / factor
    if scaling["type"] == "dynamic" and length > most:
        base *= (factor * length / most - (factor - 1)) ** (size / (size - 2))
    speed = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    turned = torch.polar(
        torch.ones(length, size // 2, dtype=torch.float64), position[:, None] * speed
    )

    def turn(x: torch.Tensor) -> torch.Tensor:
        half = torch.complex(*x.double().chunk(2, -1)) * turned
        return torch.cat([half.real, half.imag], -1).float()

    return turn
