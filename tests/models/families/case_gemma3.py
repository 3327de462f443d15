"""Gemma 3: the image alone, and with crops (pan and scan); windows, grouped keys, image blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import TOWER, text_sizes
from tests.models.families.kit import Array, Case, default_sizes
from tests.models.tiny import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] | trim }}{% endif %}"
    "{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
NAMED = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}
TURNS = ("<start_of_turn>", "<end_of_turn>")


def save(
    folder: Path,
    *,
    pan_and_scan: bool = False,
    side: int = 48,
    patch: int = 4,
    tokens: int = 16,
    layers: int = 4,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint: layers 1 and 3 see a window, 2 and 4 everything."""
    import transformers

    tokenizer = build_tokenizer(template=TEMPLATE, named=NAMED, special=TURNS)
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(
            **text_sizes(len(tokenizer), layers),
            head_dim=16,
            query_pre_attn_scalar=16,
            max_position_embeddings=8192,
            sliding_window=24,
            layer_types=(["sliding_attention", "full_attention"] * 2)[:layers],
        ),
        vision_config=transformers.SiglipVisionConfig(
            **TOWER,
            image_size=side,
            patch_size=patch,
        ),
        mm_tokens_per_image=tokens,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        initializer_range=0.15,
    )
    torch.manual_seed(seed)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    # It starts at zero: images would not be seen.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.3)
    model.save_pretrained(folder)
    transformers.Gemma3Processor(
        transformers.Gemma3ImageProcessor(
            size={"height": side, "width": side},
            do_pan_and_scan=pan_and_scan or None,
            pan_and_scan_min_crop_size=30 if pan_and_scan else None,
        ),
        tokenizer,
        image_seq_length=tokens,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Patch means through the model's own pooling."""
    processor = lmm.processor.image_processor
    model = lmm.hf_model.model
    pixels = lmm.encode(picture, "?").inputs["pixel_values"]
    red = pixels[:, :1] * processor.image_std[0] + processor.image_mean[0]
    patch = lmm.hf_model.config.vision_config.patch_size
    means = torch.nn.functional.avg_pool2d(red, patch).flatten(2).transpose(1, 2)
    pooled = []
    handle = model.multi_modal_projector.mm_soft_emb_norm.register_forward_pre_hook(
        lambda module, args: pooled.append(args[0][..., 0])
    )
    with handle, torch.inference_mode():
        model.multi_modal_projector(
            means.expand(-1, -1, lmm.hf_model.config.vision_config.hidden_size)
        )
    values = pooled[0].flatten().numpy()
    return values, values >= 0


def _views(lmm: Any, size: tuple[int, int]) -> int:
    """From the ratio 1.2 on at least two crops, of which none is narrower than 30 pixels."""
    low, high = sorted(size)
    if high / low < 1.2 or low < 30:
        return 1
    return 1 + min(4, max(2, int(high / low + 0.5)))


def _case(name: str, *, pan_and_scan: bool) -> Case:
    def coarse(folder: Path) -> Path:
        return save(folder, pan_and_scan=pan_and_scan)

    def fine(folder: Path) -> Path:
        # As many tokens as real checkpoints make, of smaller patches.
        return save(folder, pan_and_scan=pan_and_scan, side=224, patch=7, tokens=256, layers=1)

    return Case(
        name,
        coarse,
        fine,
        dye_sizes=((150, 110), (90, 140), (120, 120), (210, 40)),
        means=_means,
        # Cells of crops get as small as two pixels of a picture 33 high: too few to judge.
        coordinate_sizes=[s for s in default_sizes() if min(s) > 33] if pan_and_scan else (),
        views=_views if pan_and_scan else lambda lmm, size: 1,
    )


CASES = [
    _case("gemma3", pan_and_scan=False),
    _case("gemma3-crops", pan_and_scan=True),
]
