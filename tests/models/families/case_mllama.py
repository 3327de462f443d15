"""Llama 3.2 Vision: tiles of a padded canvas, read by cross-attention layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.models.families.kit import Array, Case
from tests.models.tiny import build_tokenizer

# As the hub's template has it, in fewer words.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: "
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|image|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
CROSS_LAYERS = [1, 3]
TILES = 4
_SIDES = (33, 97, 150, 211, 280, 336, 420, 500)
SIZES = [*((w, h) for w in _SIDES for h in _SIDES), (1024, 768), (1200, 60), (60, 1200)]


def _write(folder: Path, side: int, patch: int, layers: int) -> Path:
    from transformers import (
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessor,
        MllamaProcessor,
    )

    tokenizer = build_tokenizer(template=TEMPLATE, named={"image_token": "<|image|>"})
    config = MllamaConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_global_layers": 1, "attention_heads": 2, "image_size": side,
            "patch_size": patch, "max_num_tiles": TILES, "vision_output_dim": 64,
            "intermediate_layers_indices": [1], "initializer_range": 0.15,
        },
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": layers, "num_attention_heads": 4, "num_key_value_heads": 2,
            "cross_attention_layers": [i for i in CROSS_LAYERS if i < layers],
            "max_position_embeddings": 512, "initializer_range": 0.15, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )  # fmt: skip
    torch.manual_seed(0)
    model = MllamaForConditionalGeneration(config).eval()
    with torch.no_grad():
        # Closed at the start of training: the image would have no say.
        for name, parameter in model.named_parameters():
            if name.endswith(("_gate", ".gate")):
                parameter.fill_(0.8)
    model.save_pretrained(folder)
    image_processor = MllamaImageProcessor(
        size={"height": side, "width": side}, max_image_tiles=TILES
    )
    MllamaProcessor(image_processor, tokenizer, chat_template=TEMPLATE).save_pretrained(folder)
    return folder


def save(folder: Path) -> Path:
    return _write(folder, 32, 8, 4)


def _fine(folder: Path) -> Path:
    # 40 x 40 patches a tile, as with 560 and 14.
    return _write(folder, 360, 9, 2)


def _visual(inputs: Any, side: int) -> Array:
    """Keys of tiles that are not there only to fill up, (V,)."""
    seen = np.repeat(inputs["aspect_ratio_mask"][0].bool().numpy(), side**2 + 1, axis=-1)
    return np.flatnonzero(seen)


def _side(lmm: Any) -> int:
    config = lmm.hf_model.config.vision_config
    return int(config.image_size // config.patch_size)


def _cross(lmm: Any, encoded: Any) -> tuple[list[int], Array]:
    return CROSS_LAYERS, _visual(encoded.inputs, _side(lmm))


def _embedded(lmm: Any, encoded: Any) -> Array:
    """What the first cross-attention layer reads, (V, D)."""
    found: list[torch.Tensor] = []
    layer = lmm.hf_model.get_decoder().layers[CROSS_LAYERS[0]]
    handle = layer.register_forward_pre_hook(
        lambda module, args, kwargs: found.append(kwargs["cross_attention_states"]),
        with_kwargs=True,
    )
    try:
        with torch.inference_mode():
            lmm.hf_model(**encoded.inputs, use_cache=False)
    finally:
        handle.remove()
    return found[0].flatten(0, 1)[_visual(encoded.inputs, _side(lmm))].float().numpy()


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    processor, side = lmm.processor.image_processor, _side(lmm)
    white = Image.new("RGB", picture.size, (255, 255, 255))
    planes = []
    for image in (picture, white):
        inputs = processor(images=[[image]], return_tensors="pt")
        red = inputs["pixel_values"][0, 0, :, :1] * processor.image_std[0]
        red = red + processor.image_mean[0]
        patches = torch.nn.functional.avg_pool2d(red, red.shape[-1] // side).flatten(1)
        cls = torch.full((len(patches), 1), float("nan"))
        values = torch.cat([cls, patches], 1).flatten().numpy()
        planes.append(values[_visual(inputs, side)])
    # Padding is not white.
    return planes[0], planes[1] > 0.999


def _views(lmm: Any, size: tuple[int, int]) -> int:
    """Of all canvases of at most four tiles: least enlarged, else least reduced; then smallest."""
    width, height = size
    tile = lmm.hf_model.config.vision_config.image_size
    grids = [(r, c) for r in range(1, 5) for c in range(1, 5) if r * c <= TILES]
    scales = {(r, c): min(r * tile / height, c * tile / width) for r, c in grids}
    enlarged = [s for s in scales.values() if s >= 1]
    best = min(enlarged) if enlarged else max(scales.values())
    return min(r * c for (r, c), s in scales.items() if s == best)


CASES = [
    Case(
        "mllama",
        save,
        _fine,
        dye_sizes=((150, 110), (60, 30), (30, 90), (31, 30)),
        coordinate_sizes=SIZES,
        means=_means,
        views=_views,
        embedded=_embedded,
        cross=_cross,
        phi=False,
    )
]
