"""Idefics3 in tiles and without; SmolVLM, whose tiles have a border that no patch covers."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.models.families.checkpoint import TOWER, text_sizes, write_processor
from tests.models.families.kit import Array, Case, default_sizes
from tests.models.tiny import build_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] | capitalize }}:"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
NAMED = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
TILES = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
PER_SIDE = 3  # tiles along the longer side of the canvas


def save(
    folder: Path,
    *,
    kind: str = "Idefics3",
    split: bool = True,
    tile: int = 32,
    patch: int = 4,
    scale: int = 2,
    layers: int = 4,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint."""
    import transformers

    tokenizer = build_tokenizer(template=None, named=NAMED, special=TILES)
    config = getattr(transformers, f"{kind}Config")(
        text_config=transformers.LlamaConfig(
            **text_sizes(len(tokenizer), layers),
            max_position_embeddings=16384,
        ),
        vision_config=getattr(transformers, f"{kind}VisionConfig")(
            **TOWER,
            image_size=tile,
            patch_size=patch,
        ),
        scale_factor=scale,
        image_token_id=tokenizer.image_token_id,
    )
    torch.manual_seed(seed)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    model.save_pretrained(folder)
    # Written by hand: SmolVLM's processor owns a video processor, which needs torchvision.
    image = {
        "processor_class": f"{kind}Processor",
        "image_processor_type": f"{kind}ImageProcessor",
        "size": {"longest_edge": PER_SIDE * tile},
        "max_image_size": {"longest_edge": tile},
        "do_image_splitting": split,
    }
    settings = {
        "processor_class": f"{kind}Processor",
        "image_seq_len": (tile // patch // scale) ** 2,
    }
    files = {"preprocessor_config": image, "processor_config": settings}
    if kind == "SmolVLM":
        files["video_preprocessor_config"] = {"video_processor_type": "SmolVLMVideoProcessor"}
    write_processor(folder, tokenizer, TEMPLATE, **files)
    return folder


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    """Patch means through the model's own pixel shuffle."""
    processor = lmm.processor.image_processor
    model, config = lmm.hf_model.model, lmm.hf_model.config.vision_config
    pixels = lmm.encode(picture, "?").inputs["pixel_values"][0]
    red = pixels[:, :1] * processor.image_std[0] + processor.image_mean[0]
    means = torch.nn.functional.avg_pool2d(red, config.patch_size).flatten(2).transpose(1, 2)
    shuffled = []
    handle = model.connector.modality_projection.register_forward_pre_hook(
        lambda module, args: shuffled.append(args[0].mean(-1))
    )
    with handle, torch.inference_mode():
        model.connector(means.repeat(1, 1, config.hidden_size))
    values = shuffled[0].flatten().numpy()
    return values, values > -1


def _views(lmm: Any, size: tuple[int, int]) -> int:
    low, high = sorted(size)
    return PER_SIDE * ceil(PER_SIDE * low / high) + 1


def _case(name: str, fine_grid: dict[str, int], *, split: bool = True, **options: Any) -> Case:
    def coarse(folder: Path) -> Path:
        return save(folder, split=split, **options)

    def fine(folder: Path) -> Path:
        return save(folder, split=split, **{**options, **fine_grid, "layers": 1})

    return Case(
        name,
        coarse,
        fine,
        dye_sizes=((150, 110), (150, 90), (90, 140), (200, 60)),
        # Three tiles of 13 cells: below 117 pixels a cell is smaller than three of them.
        coordinate_sizes=[size for size in default_sizes() if max(size) > 117],
        means=_means,
        views=_views if split else lambda lmm, size: 1,
    )


CASES = [
    # As many patches as real checkpoints have, of a third of their size.
    _case("idefics3", {"tile": 130, "patch": 5}),
    _case("idefics3-whole", {"tile": 130, "patch": 5}, split=False),
    _case("smolvlm", {"tile": 137, "patch": 5, "scale": 3}, kind="SmolVLM", tile=34, seed=1),
]
