"""Gemma 4: small models (shared keys, per-layer inputs) and large ones (image blocks, keys=values).

In both, layers see a window or everything, with heads of two sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import TOWER, text_sizes, write_processor
from tests.models.families.kit import Array, Case
from tests.models.tiny import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}\n\n<|image|>\n\n{% else %}{{ c['text'] | trim }}{% endif %}"
    "{% endfor %}<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
NAMED = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
SPECIAL = ("<|turn>", "<turn|>", "<|video|>")
SMALL = {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8}
LARGE = {
    "use_bidirectional_attention": "vision",
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "hidden_size_per_layer_input": 0,
}


def save(
    folder: Path,
    *,
    tokens: int = 70,
    patch: int = 4,
    layers: int = 4,
    seed: int = 0,
    **text_options: Any,
) -> Path:
    """Write a random checkpoint."""
    import transformers

    tokenizer = build_tokenizer(template=None, named=NAMED, special=SPECIAL)
    config = transformers.Gemma4Config(
        text_config=transformers.Gemma4TextConfig(
            **text_sizes(len(tokenizer), layers),
            vocab_size_per_layer_input=len(tokenizer),
            head_dim=16,
            global_head_dim=32,
            max_position_embeddings=8192,
            sliding_window=24,
            layer_types=["sliding_attention", "full_attention"] * (layers // 2),
            **text_options,
        ),
        vision_config=transformers.Gemma4VisionConfig(
            **TOWER,
            num_key_value_heads=2,
            head_dim=16,
            patch_size=patch,
            position_embedding_size=1024,
            initializer_range=0.15,
        ),
        audio_config=None,
        **{f"{name}_id": getattr(tokenizer, f"{name}_id") for name in NAMED if name != "eoa_token"},
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        initializer_range=0.15,
    )
    torch.manual_seed(seed)
    model = transformers.Gemma4ForConditionalGeneration(config).eval()
    for layer in model.get_decoder().layers:
        # Else scores go up to the size of a head, and how two kernels round them shows in the rows.
        torch.nn.init.constant_(layer.self_attn.q_norm.weight, 0.7)
    model.save_pretrained(folder)
    # Written by hand: the processor owns a video processor, which needs torchvision.
    settings = {
        "processor_class": "Gemma4Processor",
        "image_seq_length": tokens,
        "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor"},
        "image_processor": {
            "image_processor_type": "Gemma4ImageProcessor",
            "patch_size": patch,
            "max_soft_tokens": tokens,
            "pooling_kernel_size": 3,
        },
    }
    write_processor(folder, tokenizer, TEMPLATE, processor_config=settings)
    return folder


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Patch means through the model's own pooling."""
    inputs = lmm.encode(picture, "?").inputs
    places, pixels = inputs["image_position_ids"], inputs["pixel_values"]
    pooler = lmm.hf_model.model.vision_tower.pooler
    red = pixels[..., 0::3].mean(-1, keepdim=True)
    cells, kept = pooler(red, places, (places == -1).all(-1), pixels.shape[1] // 9)
    values = (cells[kept][:, 0] / pooler.root_hidden_size).numpy()
    return values, values > -1


def _silence(hf_model: Any) -> list[torch.nn.Module]:
    layers = hf_model.model.vision_tower.encoder.layers
    return [layer.self_attn.o_proj.linear for layer in layers]


def _small(folder: Path) -> Path:
    return save(folder, **SMALL)


def _large(folder: Path) -> Path:
    return save(folder, **LARGE)


def _fine(folder: Path) -> Path:
    # As many tokens as real checkpoints make, of patches half the size.
    return save(folder, tokens=280, patch=8, layers=2)


def _one_view(lmm: Any, size: tuple[int, int]) -> int:
    return 1


CASES = [
    Case("gemma4", _small, _fine, means=_means, silence=_silence, views=_one_view),
    # The same geometry: it needs no second proof of its coordinates.
    Case("gemma4-large", _large, silence=_silence, views=_one_view),
]
