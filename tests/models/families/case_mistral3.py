"""Mistral 3 (patches merged two by two), and Pixtral (LLaVA's class with its tower)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import TOWER, text_sizes, write_processor
from tests.models.families.kit import Array, Case, default_sizes
from tests.models.tiny import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}[IMG]{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}[/INST]{% else %}{{ m['content'][0]['text'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
MORE = (230, 301, 413, 444)
SPECIAL = ("[INST]", "[/INST]", "[IMG_BREAK]", "[IMG_END]")


def save(
    folder: Path,
    *,
    merge: int,
    patch: int = 8,
    longest: int = 120,
    layers: int = 4,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint of Mistral 3, or with merge 1 of Pixtral."""
    import transformers

    tokenizer = build_tokenizer(template=None, named={"image_token": "[IMG]"}, special=SPECIAL)
    parts = {
        "text_config": transformers.MistralConfig(
            **text_sizes(len(tokenizer), layers),
            head_dim=16,
            max_position_embeddings=8192,
            sliding_window=None,
        ),
        "vision_config": transformers.PixtralVisionConfig(
            **TOWER,
            head_dim=16,
            image_size=longest,
            patch_size=patch,
            initializer_range=0.15,
        ),
        "image_token_index": tokenizer.image_token_id,
        "vision_feature_layer": -1,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(seed)
    model: Any
    if merge > 1:
        config = transformers.Mistral3Config(**parts, spatial_merge_size=merge)
        model = transformers.Mistral3ForConditionalGeneration(config)
    else:
        llava = transformers.LlavaConfig(**parts, vision_feature_select_strategy="full")
        model = transformers.LlavaForConditionalGeneration(llava)
    model.eval().save_pretrained(folder)
    # Written by hand: transformers guards its own processor class with torchvision.
    image = {
        "image_processor_type": "PixtralImageProcessor",
        "size": {"longest_edge": longest},
        "patch_size": {"height": patch, "width": patch},
    }
    settings = {
        "processor_class": "PixtralProcessor",
        "patch_size": patch,
        "spatial_merge_size": merge,
    }
    files = {"preprocessor_config": image, "processor_config": settings}
    write_processor(folder, tokenizer, TEMPLATE, **files)
    return folder


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Patch means through the model's own merging."""
    processor = lmm.processor.image_processor
    inputs = lmm.encode(picture, "?").inputs
    config = lmm.hf_model.config.vision_config
    red = inputs["pixel_values"][:, :1] * processor.image_std[0] + processor.image_mean[0]
    patches = torch.nn.functional.avg_pool2d(red, config.patch_size)[0, 0].reshape(-1, 1)
    projector = lmm.hf_model.model.multi_modal_projector
    if hasattr(projector, "patch_merger"):
        merged = []
        handle = projector.patch_merger.merging_layer.register_forward_pre_hook(
            lambda module, args: merged.append(args[0].mean(-1))
        )
        with handle, torch.inference_mode():
            projector.patch_merger(patches.repeat(1, config.hidden_size), inputs["image_sizes"])
        patches = merged[0]
    values = patches.flatten().numpy()
    return values, values > -1


def _case(name: str, merge: int, fine_grid: dict[str, int]) -> Case:
    def coarse(folder: Path) -> Path:
        return save(folder, merge=merge)

    def fine(folder: Path) -> Path:
        return save(folder, merge=merge, layers=1, **fine_grid)

    return Case(
        name,
        coarse,
        fine,
        means=_means,
        views=lambda lmm, size: 1,
        # Small images have too few cells to judge: others in place of them.
        coordinate_sizes=[*default_sizes(), *((w, h) for w in MORE for h in MORE)],
    )


CASES = [
    _case("mistral3", 2, {"patch": 14, "longest": 1540}),
    _case("pixtral", 1, {"patch": 16, "longest": 1024}),
]
