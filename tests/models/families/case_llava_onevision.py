"""LLaVA-OneVision: tiles with an unseen rest, canvases of up to 36 tiles, shrunk above nine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.models.families.case_llava_next import packed, text_config
from tests.models.families.kit import Array, Case, default_sizes, noise
from tests.models.tiny import build_tokenizer
from tests.models.video_slot import write

# The first three are shrunk.
SIZES = [
    (1300, 1100), (1100, 1500), (700, 2000),
    *(size for k, size in enumerate(default_sizes()) if k % 4),
]  # fmt: skip


def _save(folder: Path, *, side: int, patch: int, tiles: int, layers: int = 3) -> Path:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        SiglipVisionConfig,
    )

    tokenizer = build_tokenizer(named={"image_token": "<image>", "video_token": "<video>"})
    sides = [side * k for k in range(1, tiles + 1)]
    pinpoints = [[height, width] for height in sides for width in sides]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=min(layers, 2),
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
            vision_use_head=False,
        ),
        text_config=text_config("qwen2", 2, len(tokenizer), layers),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=pinpoints,
    )
    torch.manual_seed(0)
    LlavaOnevisionForConditionalGeneration(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    LlavaOnevisionImageProcessor(
        size={"height": side, "width": side}, image_grid_pinpoints=pinpoints
    ).save_pretrained(folder)
    settings = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": (side // patch) ** 2,
        "vision_feature_select_strategy": "full",
    }
    write(folder / "processor_config.json", settings)
    video = {"video_processor_type": "LlavaOnevisionVideoProcessor"}
    write(folder / "video_preprocessor_config.json", video)
    return folder


def _tiny(folder: Path) -> Path:
    return _save(folder, side=50, patch=8, tiles=4)


def _real(folder: Path) -> Path:
    return _save(folder, side=384, patch=14, tiles=6, layers=1)


def means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Tokens that the shrinking blends of two tiles have no place of their own: not judged."""
    features, tiles = packed(lmm, picture)
    return features[:, 0], (features[:, 1] > 0.999) & (of_one_tile(features, tiles) >= 0)


def of_one_tile(features: Array, tiles: Array) -> Array:
    """Number of the tile (0: the whole image) that each token is made from; -1: of several."""
    distance = np.abs(features[:, 2:] - tiles)
    nearest = np.nan_to_num(distance, nan=1.0).min(1) < 1e-6
    return np.where(nearest, np.nan_to_num(distance).argmin(1), -1)


def _views(lmm: Any, size: tuple[int, int]) -> int:
    features, tiles = packed(lmm, Image.fromarray(noise(*size)))
    return len(set(of_one_tile(features, tiles)) - {-1})


CASES = [
    Case(
        "llava-onevision",
        _tiny,
        _real,
        # The last is shrunk.
        dye_sizes=((150, 110), (90, 140), (190, 210)),
        coordinate_sizes=SIZES,
        means=means,
        views=_views,
        alone=False,
    )
]
