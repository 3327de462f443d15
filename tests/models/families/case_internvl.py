"""InternVL 2.5 and 3: tiles and a thumbnail; Qwen2 and Llama inside, a tower with q/k norms."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from tests.models import video_slot
from tests.models.families.kit import Array, Case
from tests.models.tiny import build_tokenizer

# As `apply_chat_template` of the hub's conversions has it, in fewer words.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<IMG_CONTEXT>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# A tile of 160 pixels has no common multiple with 255 levels: rounding would add up. Tiny pictures
# get one tile: in more, a token sees less than the pixels that tell where it is.
_SIDES = (128, 150, 211, 280, 336, 420, 500, 610)
SIZES = [*((w, h) for w in _SIDES for h in _SIDES), (34, 33), (48, 46), (400, 90), (90, 400)]


def build(text: str, side: int, patch_size: int, layers: int, **text_options: Any) -> Any:
    """A random model and the config that goes with `tokenizer`."""
    from transformers import AutoConfig, InternVLConfig, InternVLForConditionalGeneration

    names = tokenizer()
    config = InternVLConfig(
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": side, "patch_size": patch_size,
            "use_qk_norm": text == "llama", "attention_bias": text != "llama",
            "norm_type": "rms_norm" if text == "llama" else "layer_norm",
            "initializer_range": 0.15,
        },
        text_config=AutoConfig.for_model(
            text, vocab_size=len(names), hidden_size=64, intermediate_size=128,
            num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=8192, initializer_range=0.15, bos_token_id=1, eos_token_id=2,
            pad_token_id=0, tie_word_embeddings=False, **text_options,
        ).to_dict(),
        image_token_id=names.context_image_token_id,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return InternVLForConditionalGeneration(config).eval()


def tokenizer() -> Any:
    return build_tokenizer(template=TEMPLATE, named=video_slot.TOKENS["internvl"], bos=False)


def _case(
    name: str, text: str, *, max_patches: int = 12, min_patches: int = 1, **text_options: Any
) -> Case:
    def write(folder: Path, side: int, patch_size: int, layers: int) -> Path:
        build(text, side, patch_size, layers, **text_options).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        settings = {
            "processor_class": "InternVLProcessor",
            "image_seq_length": (side // patch_size // 2) ** 2,
            "image_processor": {
                "image_processor_type": "GotOcr2ImageProcessor",
                "size": {"height": side, "width": side},
                # As on the hub: the processor's own default switches it on.
                "crop_to_patches": False,
                "min_patches": min_patches,
                "max_patches": max_patches,
            },
            "video_processor": {"video_processor_type": "InternVLVideoProcessor"},
        }
        video_slot.write(folder / "processor_config.json", settings)
        return folder

    def save(folder: Path) -> Path:
        return write(folder, 32, 4, 3)

    def fine(folder: Path) -> Path:
        # 32 x 32 patches and 16 x 16 tokens a tile, as with 448 and 14.
        return write(folder, 160, 5, 1)

    def views(lmm: Any, size: tuple[int, int]) -> int:
        # Of all grids the one whose ratio is nearest; of equal ones, the smallest for small sizes.
        width, height = size
        grids = [
            (abs(width / height - c / r), c * r)
            for c in range(1, max_patches + 1)
            for r in range(1, max_patches + 1)
            if min_patches <= c * r <= max_patches
        ]
        tiles = min(grids)[1]
        return tiles + (tiles > 1)

    return Case(
        f"internvl-{name}",
        save,
        fine,
        means=_means,
        views=views,
        coordinate_sizes=SIZES,
        dye_sizes=((150, 110), (90, 140), (34, 32)),
    )


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """The model's own pixel shuffle, over mean colours in place of the tower's features."""
    processor, model = lmm.processor.image_processor, lmm.hf_model.model
    pixels = processor(images=[picture], crop_to_patches=True, return_tensors="pt")["pixel_values"]
    red = pixels[:, :1] * processor.image_std[0] + processor.image_mean[0]
    side = model.config.vision_config.patch_size[0]
    patches = torch.nn.functional.avg_pool2d(red, side).flatten(1)
    features = torch.cat([torch.zeros(len(patches), 1), patches], 1)[..., None].repeat(1, 1, 4)
    with ExitStack() as stack:
        tower = SimpleNamespace(last_hidden_state=features)
        stack.enter_context(patch.object(model.vision_tower, "forward", lambda **_: tower))
        stack.enter_context(
            patch.object(model.multi_modal_projector, "forward", lambda x: x.mean(-1))
        )
        means = model.get_image_features(pixels).pooler_output.flatten().numpy()
    return means, np.full(len(means), True)


CASES = [
    _case("qwen2", "qwen2"),
    _case("llama", "llama", max_patches=6, min_patches=2),
]
