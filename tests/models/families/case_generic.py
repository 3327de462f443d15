"""Models that no family of ours names: Aya Vision (Cohere 2 with a window) and Ovis2 (Qwen2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.models import video_slot
from tests.models.families.kit import Case
from tests.models.tiny import TEMPLATE, build_tokenizer

_TEXT = {
    "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 2048, "initializer_range": 0.15, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_AYA_TOKENS = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"]
_OVIS_TOKENS = [f"<IMG_{name}>" for name in ("ATOM", "START", "GRID", "COL", "ROW", "END")]


def save_aya(folder: Path) -> Path:
    """Tiles, a window in all layers but each fourth, logits scaled, no rope in full layers."""
    from transformers import AyaVisionConfig, AyaVisionForConditionalGeneration, Cohere2Config

    tokenizer = build_tokenizer(special=[*_AYA_TOKENS, "TILE", "TILE_GLOBAL"])
    config = AyaVisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
            "vision_use_head": False,
        },
        text_config=Cohere2Config(
            **_TEXT, vocab_size=len(tokenizer), num_hidden_layers=4, sliding_window=24,
            logit_scale=1.0, head_dim=16,
        ).to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
    )  # fmt: skip
    settings = {
        "processor_class": "AyaVisionProcessor", "patch_size": 8, "downsample_factor": 2,
        "img_size": 32,
        "image_processor": {
            "image_processor_type": "GotOcr2ImageProcessor", "crop_to_patches": True,
            "size": {"height": 32, "width": 32}, "max_patches": 4,
        },
    }  # fmt: skip
    return _save(folder, AyaVisionForConditionalGeneration, config, tokenizer, settings)


def save_ovis(folder: Path) -> Path:
    """Indicator tokens in and around the image, whose embeddings the tower gives."""
    from transformers import Ovis2Config, Ovis2ForConditionalGeneration, Qwen2Config

    tokenizer = build_tokenizer(special=_OVIS_TOKENS)
    ids = tokenizer.convert_tokens_to_ids(_OVIS_TOKENS)
    config = Ovis2Config(
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "vocab_size": 40,
            "num_visual_indicator_tokens": 5, "hidden_stride": 2,
        },
        text_config=Qwen2Config(
            **_TEXT, vocab_size=len(tokenizer), num_hidden_layers=3
        ).to_dict(),
        image_token_id=ids[0], visual_indicator_token_ids=ids[1:], hidden_size=64,
        vocab_size=len(tokenizer),
    )  # fmt: skip
    settings = {
        "processor_class": "Ovis2Processor", "image_seq_length": 4,
        "image_processor": {
            "image_processor_type": "Ovis2ImageProcessor", "crop_to_patches": True,
            "size": {"height": 32, "width": 32}, "max_patches": 4,
        },
    }  # fmt: skip
    return _save(folder, Ovis2ForConditionalGeneration, config, tokenizer, settings)


def _save(folder: Path, owner: Any, config: Any, tokenizer: Any, settings: Any) -> Path:
    torch.manual_seed(0)
    owner(config).eval().save_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    video_slot.write(folder / "processor_config.json", settings)
    return folder


CASES = [
    Case("generic-aya", save_aya, known=False),
    Case("generic-ovis2", save_ovis, known=False),
]
