"""DeepSeek-VL with one vision tower and with two, and Janus: squares padded around the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.models.families.kit import Array, Case, default_sizes
from tests.models.tiny import build_tokenizer

TEMPLATE = (
    "A chat.\n\n{% for m in messages %}"
    "{% if m['role'] == 'user' %}User: {% else %}Assistant: {% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image_placeholder>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'user' %}\n\n{% else %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
JANUS_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}<|User|>: {% else %}<|Assistant|>: {% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image_placeholder>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'user' %}\n\n{% else %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)
_SIDES = (150, 180, 211, 280, 336, 351, 420, 500)
# The last ones come to the least side.
SIZES = [*default_sizes(), (2000, 40), (30, 1500)]


def _text(tokenizer: Any, fine: bool) -> dict[str, Any]:
    return {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 1 if fine else 3,
        "num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.15,
        "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip


def _tower(side: int, patch: int, fine: bool) -> dict[str, Any]:
    return {
        "hidden_size": 32, "num_hidden_layers": 1 if fine else 2, "num_attention_heads": 2,
        "image_size": side, "patch_size": patch,
    }  # fmt: skip


def _deepseek(*, fine: bool = False) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import transformers

        side, patch = (384, 16) if fine else (48, 8)
        tokenizer = build_tokenizer(template=TEMPLATE, named={"image_token": "<image_placeholder>"})
        config = transformers.DeepseekVLConfig(
            text_config=_text(tokenizer, fine),
            vision_config={
                "model_type": "siglip_vision_model", **_tower(side, patch, fine),
                "intermediate_size": 48, "vision_use_head": False,
            },
            image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
            tie_word_embeddings=False,
        )  # fmt: skip
        torch.manual_seed(0)
        transformers.DeepseekVLForConditionalGeneration(config).eval().save_pretrained(folder)
        transformers.DeepseekVLProcessor(
            transformers.DeepseekVLImageProcessorPil(
                size={"height": side, "width": side}, min_size=4
            ),
            tokenizer,
            chat_template=TEMPLATE,
            num_image_tokens=(side // patch) ** 2,
        ).save_pretrained(folder)
        return folder

    return save


def _hybrid(*, fine: bool = False) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import transformers

        side, patch, high = (384, 16, 1024) if fine else (48, 8, 128)
        tokenizer = build_tokenizer(template=TEMPLATE, named={"image_token": "<image_placeholder>"})
        config = transformers.DeepseekVLHybridConfig(
            text_config=_text(tokenizer, fine),
            vision_config={
                "model_type": "siglip_vision_model", **_tower(side, patch, fine),
                "intermediate_size": 48, "vision_use_head": False,
            },
            high_res_vision_config={
                "model_type": "sam_vision_model", **_tower(high, 16, fine), "mlp_dim": 48,
                "output_channels": 16, "window_size": 3, "global_attn_indexes": [0],
            },
            image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
            tie_word_embeddings=False,
        )  # fmt: skip
        torch.manual_seed(0)
        model = transformers.DeepseekVLHybridForConditionalGeneration(config).eval()
        with torch.no_grad():
            model.model.high_res_vision_alpha.fill_(0.5)
            _keep_to_the_cell(model.model)
        model.save_pretrained(folder)
        transformers.DeepseekVLHybridProcessor(
            transformers.DeepseekVLHybridImageProcessorPil(
                size={"height": side, "width": side},
                high_res_size={"height": high, "width": high},
                min_size=4,
            ),
            tokenizer,
            chat_template=TEMPLATE,
            num_image_tokens=(side // patch) ** 2,
        ).save_pretrained(folder)
        return folder

    return save


def _keep_to_the_cell(model: Any) -> None:
    """Let the convolutions over the second tower's features see no other cell.

    Those that keep the size: the middle of the kernel; those that halve it: its last two rows and
    columns.
    """
    for neck in (model.high_res_vision_neck, model.high_res_vision_model.vision_encoder.neck):
        middle = neck.conv2.weight[:, :, 1, 1].clone()
        neck.conv2.weight.zero_()
        neck.conv2.weight[:, :, 1, 1] = middle
    for conv in (model.high_res_vision_proj.conv1, model.high_res_vision_proj.conv2):
        conv.weight[:, :, 0] = 0
        conv.weight[:, :, :, 0] = 0


def _all_but_the_second_tower(hf_model: Any) -> list[torch.nn.Module]:
    """Attention in it, and the first tower altogether: that one's pixels `means` are about."""
    model = hf_model.model
    attention = [layer.attn.proj for layer in model.high_res_vision_model.vision_encoder.layers]
    return [*attention, model.aligner.vision_proj]


def _janus(*, fine: bool = False) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import transformers

        side, patch = (384, 16) if fine else (48, 8)
        tokenizer = build_tokenizer(
            template=JANUS_TEMPLATE,
            named={
                "image_token": "<image_placeholder>",
                "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>",
            },
            special=("<|User|>", "<|Assistant|>"),
        )  # fmt: skip
        config = transformers.JanusConfig(
            text_config=_text(tokenizer, fine),
            vision_config={
                **_tower(side, patch, fine), "mlp_ratio": 1.5, "projection_dim": 64,
                "num_image_tokens": (side // patch) ** 2,
            },
            vq_config={
                "embed_dim": 4, "num_embeddings": 16, "latent_channels": 32, "base_channels": 32,
                "channel_multiplier": [1, 1], "num_res_blocks": 1, "projection_dim": 64,
                "image_token_embed_dim": 64,
            },
            image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
            tie_word_embeddings=False,
        )  # fmt: skip
        torch.manual_seed(0)
        model = transformers.JanusForConditionalGeneration(config).eval()
        # As checkpoints on the hub have it, for drawing images.
        model.generation_config.guidance_scale = 5
        model.save_pretrained(folder)
        transformers.JanusProcessor(
            transformers.JanusImageProcessorPil(size={"height": side, "width": side}, min_size=4),
            tokenizer,
            chat_template=JANUS_TEMPLATE,
            use_default_system_prompt=True,
            num_image_tokens=(side // patch) ** 2,
        ).save_pretrained(folder)
        return folder

    return save


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Of the patches that the (first) tower gets."""
    processor = lmm.processor.image_processor
    patch = lmm.hf_model.config.vision_config.patch_size
    # Padding is not white: a white second channel tells it apart.
    pixels = np.array(picture)
    pixels[..., 1] = 255
    values = processor(images=Image.fromarray(pixels), return_tensors="np")["pixel_values"][0, :2]
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    values = values * std[:2, None, None] + mean[:2, None, None]
    rows, cols = (n // patch for n in values.shape[1:])
    red, white = values.reshape(2, rows, patch, cols, patch).mean((2, 4)).reshape(2, -1)
    return red, white > 0.999


def _case(name: str, save: Any, **options: Any) -> Case:
    return Case(
        name,
        save(),
        save(fine=True),
        **{"coordinate_sizes": SIZES, **options},
        means=_means,
        views=lambda lmm, size: 1,
    )


CASES = [
    _case("deepseek-vl", _deepseek),
    _case(
        "deepseek-vl-hybrid",
        _hybrid,
        silence=_all_but_the_second_tower,
        # Fewer: each image is made at 1024 pixels first.
        coordinate_sizes=[*((w, h) for w in _SIDES for h in _SIDES), *SIZES[-3:]],
    ),
    _case("janus", _janus),
]
