"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: pictures of any size, two by two patches in one token.

Geometry: the whole image is resized to a multiple of the cell (patch times merge, 28 or 32 px),
its shape nearly kept, and cut into cells in raster order: one view, nothing unseen. Qwen2.5-VL
reorders patches for its windowed attention, and puts them back before the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from var_studio.models.errors import one_line
from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, laid_out, raster
from var_studio.recording.images import ImageError
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class QwenVL(Family):
    """`Qwen2VLFor...`, `Qwen2_5_VLFor...`, `Qwen3VLForConditionalGeneration` and its `Moe`."""

    name = "qwen-vl"
    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
    fallback_image = "<|vision_start|>{image}<|vision_end|>"
    fallback = "<|im_start|>user\n{images}{prompt}<|im_end|>\n<|im_start|>assistant\n"
    fallback_answer = "{answer}<|im_end|>\n"

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """The marks before and after each image."""
        config = hf_model.config
        return frozenset({int(config.vision_start_token_id), int(config.vision_end_token_id)})

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """As ever; of the processor's own, `mm_token_type_ids` gives cells their row and column.

        Raises ImageError for shapes that the image processor refuses (longer than 200 : 1).
        """
        try:
            return super().inputs(processor, images, text)
        except ValueError as error:
            if "aspect ratio" not in str(error):
                raise
            sizes = ", ".join(f"{image.width} × {image.height}" for image in images)
            raise ImageError(
                f"The model takes no image as long and thin as this ({sizes} pixels): "
                f"{one_line(error)}",
                "Cut it into pieces, or make it wider.",
            ) from error

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster per image over all of it."""
        tower = hf_model.config.vision_config
        merge = int(tower.spatial_merge_size)
        pixels = tower.in_channels * tower.temporal_patch_size * (tower.patch_size * merge) ** 2
        check_count(positions, inputs["pixel_values"].numel() // int(pixels))
        views = []
        first = 0
        for image, (_, height, width) in enumerate(inputs["image_grid_thw"].tolist()):
            rows, cols = height // merge, width // merge
            box = (0.0, 0.0, float(sizes[image][0]), float(sizes[image][1]))
            views.append(View("image", image, box, raster(rows, cols, first)))
            first += rows * cols
        check_count(positions, first)
        return laid_out(sizes, positions, views)
