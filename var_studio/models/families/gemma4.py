"""Gemma 4: the image in its own proportions, as many tokens as a budget allows.

Geometry: the image is resized to whole cells (`pooling_kernel_size` patches a side), rounded down
in each direction, so that all of it is seen and slightly squashed. Patches are averaged over cells.
Later layers may share the keys of earlier ones; local layers see a window, and in larger models
the tokens of one image attend to each other in both directions there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, laid_out, raster, unknown
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch


class Gemma4(Family):
    """`Gemma4ForConditionalGeneration`."""

    name = "gemma4"
    model_types = ("gemma4",)
    # Pretrained checkpoints have no template: the image, then the text.
    fallback = "{images}{prompt}"
    fallback_image = "{image}"

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse a checkpoint without its vision part."""
        if not config.get("vision_config"):
            raise UnsupportedModelError(
                "This Gemma 4 checkpoint has no vision part.",
                "Choose one that takes images.",
            )

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """Start and end of an image."""
        tokenizer = processor.tokenizer
        return frozenset({int(tokenizer.boi_token_id), int(tokenizer.eoi_token_id)})

    def gap_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """White space that chat templates write between two images."""
        ids = processor.tokenizer(["\n", "\n\n", "\n\n\n\n"], add_special_tokens=False)["input_ids"]
        return frozenset(i for row in ids for i in row)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster per image, as large as its patches' places say."""
        cell = int(hf_model.config.vision_config.pooling_kernel_size)
        places = inputs["image_position_ids"]  # (images, patches, 2): x, y; -1 for padding
        views: list[View] = []
        first = 0
        for image, (size, grid) in enumerate(zip(sizes, places, strict=True)):
            cols, rows = ((int(last) + 1) // cell for last in grid.amax(0))
            box = (0.0, 0.0, float(size[0]), float(size[1]))
            views.append(View("image", image, box, raster(rows, cols, first)))
            first += rows * cols
        check_count(positions, first)
        if not processor.image_processor.do_resize:
            return unknown(sizes, positions)
        return laid_out(sizes, positions, views)
