"""PaliGemma (Gemma: one key head) and PaliGemma 2 (Gemma 2: softcap and windows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import TOWER, text_sizes
from tests.models.families.kit import Array, Case
from tests.models.tiny import build_tokenizer

TEXT: dict[str, dict[str, Any]] = {
    "gemma": {"num_key_value_heads": 1},
    "gemma2": {
        "sliding_window": 24,
        "attn_logit_softcapping": 2.0,  # real ones have 50: here it bites
        "final_logit_softcapping": 30.0,
        "query_pre_attn_scalar": 16,
    },
}


def save(
    folder: Path,
    *,
    text: str = "gemma",
    side: int = 48,
    patch: int = 8,
    layers: int = 4,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint."""
    import transformers

    image_processor = transformers.SiglipImageProcessor(size={"height": side, "width": side})
    image_processor.image_seq_length = (side // patch) ** 2
    tokenizer = build_tokenizer(template=None)
    processor = transformers.PaliGemmaProcessor(image_processor, tokenizer)
    config = transformers.PaliGemmaConfig(
        text_config=transformers.AutoConfig.for_model(
            text,
            **{**text_sizes(len(tokenizer), layers), **TEXT[text]},
            head_dim=16,
            max_position_embeddings=8192,
        ),
        vision_config=transformers.SiglipVisionConfig(
            **TOWER,
            image_size=side,
            patch_size=patch,
            vision_use_head=False,
        ),
        projection_dim=64,
        hidden_size=64,
        vocab_size=len(tokenizer),
        image_token_index=tokenizer.image_token_id,
    )
    torch.manual_seed(seed)
    transformers.PaliGemmaForConditionalGeneration(config).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    processor = lmm.processor.image_processor
    patch = lmm.hf_model.config.vision_config.patch_size
    values = processor(images=picture, return_tensors="np")["pixel_values"][0, 0]
    values = values * processor.image_std[0] + processor.image_mean[0]
    rows, cols = (n // patch for n in values.shape)
    means = values.reshape(rows, patch, cols, patch).mean((1, 3)).ravel()
    return means, means > -1


def _case(name: str, text: str, fine_side: int) -> Case:
    def coarse(folder: Path) -> Path:
        return save(folder, text=text)

    def fine(folder: Path) -> Path:
        return save(folder, text=text, side=fine_side, patch=14, layers=1)

    return Case(name, coarse, fine, means=_means, views=lambda lmm, size: 1)


CASES = [
    _case("paligemma", "gemma", 224),
    _case("paligemma2", "gemma2", 448),
]
