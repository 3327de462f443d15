"""Families that take patches as rows of pixels, several of which the model merges into a token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.models.families import kit
from tests.models.tiny import build_tokenizer

_SIDES = (180, 211, 250, 280, 336, 351, 420, 500)
SIZES = [
    *((w, h) for w in _SIDES for h in _SIDES),
    *((33, 33), (20, 47), (1200, 60), (60, 1200), (1500, 200), (200, 1500), (1024, 768)),
]
"""Cells of 28 or 32 pixels: at least six of them a side, or too few to judge, or extreme shapes."""


def save_processor(
    folder: Path,
    *,
    owner: str,
    image_processor: str,
    patch: int,
    cells: tuple[int, int],
    template: str,
    named: Mapping[str, str],
    special: Sequence[str],
) -> Any:
    """Write a processor as repositories on the hub have it; returns its tokenizer.

    `cells`: fewest and most visual tokens of an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(template=template, named=named, special=special, bos=False)
    tokenizer.save_pretrained(folder)
    cell = (2 * patch) ** 2
    settings = {
        "processor_class": f"{owner}Processor",
        "image_processor_type": image_processor,
        "size": {"shortest_edge": cells[0] * cell, "longest_edge": cells[1] * cell},
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return tokenizer


def means(lmm: Any, picture: Image.Image) -> tuple[kit.Array, kit.Array]:
    """What `Case.means` asks for: the patches' means carried through the model by hooks.

    The vision part reorders and merges them with its own code. Nothing of these is padding.
    """
    inputs = lmm.encode(picture, "?").inputs
    tower = lmm.hf_model.model.visual
    with _carrying(tower), torch.inference_mode():
        features = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    processor = lmm.processor.image_processor
    red = features[:, 0].numpy() * processor.image_std[0] + processor.image_mean[0]
    return red, np.ones(len(red), dtype=bool)


@contextmanager
def _carrying(tower: Any) -> Iterator[None]:
    """Let the first channel of a patch be the mean of its red, and each module keep it."""
    channels = tower.config.in_channels

    def first(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        carried = torch.zeros_like(output)
        carried[:, 0] = args[0].view(len(args[0]), channels, -1)[:, 0].mean(-1)
        return carried

    def unchanged(module: Any, args: Any, kwargs: Any, output: Any) -> torch.Tensor:
        return args[0] if args else kwargs["hidden_states"]

    def merged(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        carried = torch.zeros_like(output)
        if module is getattr(tower, "downsample", None):
            carried[:, 0] = args[0][:, 0].mean((1, 2), keepdim=True)
        else:
            carried[:, 0] = args[0][..., 0].reshape(len(output), -1).mean(1)
        return carried

    with ExitStack() as stack:

        def hook(module: Any, act: Any, **options: Any) -> None:
            stack.callback(module.register_forward_hook(act, **options).remove)

        hook(tower.patch_embed, first)
        if hasattr(tower, "pos_embed"):
            hook(tower.pos_embed, lambda module, args, output: torch.zeros_like(output))
        norms = ("post_conv_layernorm", "embeddings", "post_layernorm")
        for module in [*tower.blocks, *(getattr(tower, n) for n in norms if hasattr(tower, n))]:
            hook(module, unchanged, with_kwargs=True)
        for name in ("downsample", "merger"):
            if hasattr(tower, name):
                hook(getattr(tower, name), merged)
        yield
