"""LLaVA-NeXT as on the hub (grouped keys), and LLaVA-1.5-HD: smaller tiles, up to six of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import text_sizes
from tests.models.families.kit import Array, Case
from tests.models.tiny import TEMPLATE, build_tokenizer

# (rows, columns) of tiles: the grids of llava-hf/llava-v1.6-*, and those of the LLaVA-1.5 paper.
NEXT = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
HD = (
    *((1, k) for k in range(1, 7)), *((k, 1) for k in range(2, 7)), (2, 2), (2, 3), (3, 2),
)  # fmt: skip


def text_config(kind: str, kv_heads: int, vocabulary: int, layers: int, **options: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(
        kind,
        **{**text_sizes(vocabulary, layers), "num_key_value_heads": kv_heads},
        max_position_embeddings=16384,
        **options,
    )


def _save(
    folder: Path,
    *,
    side: int,
    patch: int,
    grids: Any,
    text: str,
    kv_heads: int,
    layers: int = 3,
    seed: int = 0,
) -> Path:
    from transformers import (
        CLIPVisionConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer = build_tokenizer()
    pinpoints = [[rows * side, cols * side] for rows, cols in grids]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=min(layers, 2),
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
        ),
        text_config=text_config(text, kv_heads, len(tokenizer), layers),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-2,
    )
    torch.manual_seed(seed)
    LlavaNextForConditionalGeneration(config).eval().save_pretrained(folder)
    LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_grid_pinpoints=pinpoints,
        ),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    features, _ = packed(lmm, picture)
    return features[:, 0], features[:, 1] > 0.999


def packed(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """The model's own packing of features that carry the mean colours of their pixels.

    It unpads, shrinks and adds newlines (NaN here) as it does with the real ones. (V, 3): the
    red of the picture, 1 where there is a picture and 0 where there is padding, and the number of
    the tile: one of those returned beside, or a blend of several.
    """
    model, processor = lmm.hf_model.model, lmm.processor.image_processor
    patch = model.config.vision_config.patch_size
    white = Image.new("L", picture.size, 255)
    batch = processor(
        images=Image.merge("RGB", (picture.getchannel(0), white, white)), return_tensors="pt"
    )
    std, mean = (torch.tensor(v) for v in (processor.image_std, processor.image_mean))
    pixels = batch["pixel_values"][0] * std[:, None, None] + mean[:, None, None]
    colours = torch.nn.functional.avg_pool2d(pixels, patch).flatten(2)
    numbers = torch.rand(len(pixels), generator=torch.Generator().manual_seed(0))
    colours[:, 2] = numbers[:, None]

    def carry(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        carrying = output.clone()
        carrying[..., :3] = colours.transpose(1, 2)
        return carrying

    handle = model.multi_modal_projector.register_forward_hook(carry)
    newline = model.image_newline.clone()
    try:
        with torch.inference_mode():
            model.image_newline.fill_(float("nan"))
            (features,) = model.get_image_features(**batch, return_dict=True).pooler_output
    finally:
        model.image_newline.copy_(newline)
        handle.remove()
    return features[:, :3].double().numpy(), numbers.double().numpy()


def _case(name: str, side: int, patch: int, real: tuple[int, int], **options: Any) -> Case:
    def save(folder: Path) -> Path:
        return _save(folder, side=side, patch=patch, **options)

    def fine(folder: Path) -> Path:
        return _save(folder, side=real[0], patch=real[1], layers=1, **options)

    return Case(name, save, fine, means=means, views=lambda lmm, size: 2)


CASES = [
    _case("llava-next", 48, 8, (336, 14), grids=NEXT, text="mistral", kv_heads=2),
    _case("llava-1.5-hd", 28, 7, (224, 14), grids=HD, text="llama", kv_heads=4, seed=2),
]
