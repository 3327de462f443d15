"""DeepSeek-VL: the whole image in a square, padded around its centre (`DeepseekVLFor...`).

Geometry: the longer side is resized to the square's, the other one with it (not below a least
size), and what is missing is padded on both sides; then patches in raster order. Both numbers of
pixels are rounded, so that the two directions have scales of their own. The larger model
(`DeepseekVLHybridFor...`) does this at a high resolution, for a second vision tower (SAM), and
squashes that square to the first tower's; a token has both towers' features of its cell. The
second's come out of strided convolutions, which look beyond the cell, most at its left and top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, edge, laid_out, raster, unknown
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch

_SYSTEM = (
    "You are a helpful language and vision assistant. "
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language.\n\n"
)


class DeepseekVL(Family):
    """`DeepseekVLForConditionalGeneration`, `DeepseekVLHybridForConditionalGeneration`."""

    name = "deepseek-vl"
    model_types: ClassVar[tuple[str, ...]] = ("deepseek_vl", "deepseek_vl_hybrid")
    fallback_start = _SYSTEM
    fallback_image = "{image}"
    fallback = "User: {images}{prompt}\n\nAssistant:"

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster per image; cells that lie in the padding have no box."""
        height, width = (int(n) for n in inputs["pixel_values"].shape[-2:])
        patch = int(hf_model.config.vision_config.patch_size)
        rows, cols = height // patch, width // patch
        check_count(positions, rows * cols * len(sizes))
        views = []
        for image, size in enumerate(sizes):
            square = square_around(processor.image_processor, size)
            if square is None or width != height:
                return unknown(sizes, positions)
            left, top, right, bottom = square
            # A square that is no multiple of the patch ends in a strip that no patch covers.
            right = left + (right - left) * cols * patch / width
            bottom = top + (bottom - top) * rows * patch / height
            tokens = raster(rows, cols, image * rows * cols)
            views.append(View("image", image, (left, top, right, bottom), tokens))
        return laid_out(sizes, positions, views)


def square_around(image_processor: Any, size: tuple[int, int]) -> Box | None:
    """The square that a tower sees, in pixels of the original image of (width, height).

    Follows `resize` and `pad_to_square` of the Janus and DeepSeek-VL image processors, rounding
    included. None if the processor was told not to do the one or the other.
    """
    if not image_processor.do_resize or not image_processor.do_pad:
        return None
    target = edge(getattr(image_processor, "high_res_size", None) or image_processor.size, "height")
    factor = target / max(size)
    width, height = (max(round(n * factor), image_processor.min_size) for n in size)
    side = max(width, height)
    pad_x, pad_y = (side - width) // 2, (side - height) // 2
    scale_x, scale_y = width / size[0], height / size[1]
    return (
        -pad_x / scale_x,
        -pad_y / scale_y,
        (side - pad_x) / scale_x,
        (side - pad_y) / scale_y,
    )
