"""LLaVA-OneVision: one image as in LLaVA-NeXT, shrunk where it is large; several as one grid each.

The tower does not see the last pixels of a tile where its patches do not fill it (384 = 27 * 14 +
6), but tiles stay that far apart. With "anyres_max_9" a grid of many more cells than 9 tiles have
is shrunk bilinearly. Of several images each is padded to a square and seen once, as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, laid_out, raster, uncovered
from var_studio.models.families.llava_next import LlavaNext
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class LlavaOnevision(LlavaNext):
    """Any `LlavaOnevisionForConditionalGeneration`."""

    name = "llava-onevision"
    model_types = ("llava_onevision",)
    architecture = "LlavaOnevisionForConditional"
    fallback_start = ""
    fallback = "<|im_start|>user {images}{prompt}<|im_end|><|im_start|>assistant\n"
    fallback_answer = "{answer}<|im_end|>"

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Besides what LLaVA-NeXT needs: the number of cells of a tile, and the shrinking."""
        super().prepare(hf_model, processor)
        if processor.num_image_tokens is None:
            processor.num_image_tokens = _cells(hf_model) ** 2
        processor.vision_aspect_ratio = hf_model.config.vision_aspect_ratio

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """Several images are told to be of one prompt, as transformers' own chats do."""
        if len(images) == 1:
            return super().inputs(processor, images, text)
        together: Any = [list(images)]
        return Family.inputs(self, processor, together, text)

    def shrunk(self, hf_model: Any, rows: int, cols: int) -> tuple[int, int]:
        """At most about as many cells as the tiles of "anyres_max_N" have."""
        most = int(hf_model.config.vision_aspect_ratio.rpartition("_")[2])
        ratio = math.sqrt(rows * cols / (most * _cells(hf_model) ** 2))
        return (int(rows // ratio), int(cols // ratio)) if ratio > 1.1 else (rows, cols)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """Newline tokens have no box: one at each row's end, or one after each of several."""
        if len(sizes) == 1:
            return super().layout(hf_model, processor, sizes, inputs, positions)
        tower = hf_model.config.vision_config
        cells = _cells(hf_model)
        views, unseen = [], []
        for image, (width, height) in enumerate(sizes):
            square = max(width, height)
            left, top = -((square - width) // 2), -((square - height) // 2)
            seen = square * cells * tower.patch_size / tower.image_size
            box: Box = (left, top, left + seen, top + seen)
            views.append(View("image", image, box, raster(cells, cells, image * (cells**2 + 1))))
            unseen.append(uncovered([box], (width, height)))
        check_count(positions, len(sizes) * (cells**2 + 1))
        return laid_out(sizes, positions, views, unseen)


def _cells(hf_model: Any) -> int:
    """Cells of a tile, in a row."""
    tower = hf_model.config.vision_config
    return int(tower.image_size // tower.patch_size)
