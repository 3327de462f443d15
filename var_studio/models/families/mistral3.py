"""Mistral 3 and Pixtral: the image in its own proportions, row by row.

Geometry: the image is made smaller where its longer side is beyond a limit, then stretched to
whole patches (of Mistral 3: squares of patches, which it merges). `[IMG_BREAK]` stands after each
row, `[IMG_END]` after the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, edge, laid_out, raster
from var_studio.recording.images import ImageError
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Mistral3(Family):
    """`Mistral3ForConditionalGeneration`."""

    name = "mistral3"
    model_types = ("mistral3",)
    fallback = "[INST]{images}{prompt}[/INST]"
    fallback_image = "{image}"
    fallback_answer = "{answer}{eos}"

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """End of a row, and of the image."""
        return frozenset({int(processor.image_break_token_id), int(processor.image_end_token_id)})

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """As ever. Raises ImageError for an image whose thinner side would come to nothing."""
        longest = edge(processor.image_processor.size, "longest_edge")
        for image in images:
            if longest and min(image.size) * longest < max(image.size):
                raise ImageError(
                    f"The model takes no image as long and thin as this ({image.width} × "
                    f"{image.height} pixels).",
                    "Cut it into pieces, or make it wider.",
                )
        return super().inputs(processor, images, text)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster per image, of the processed image's own size.

        Raises ImageError for a single cell: `Mistral3Model` drops that axis and fails.
        """
        config = hf_model.config
        cell = config.vision_config.patch_size * getattr(config, "spatial_merge_size", 1)
        views: list[View] = []
        first = 0
        for image, (size, processed) in enumerate(
            zip(sizes, inputs["image_sizes"].tolist(), strict=True)
        ):
            height, width = processed
            rows, cols = height // cell, width // cell
            box = (0.0, 0.0, size[0] * cols * cell / width, size[1] * rows * cell / height)
            views.append(View("image", image, box, raster(rows, cols, first)))
            first += rows * cols
        check_count(positions, first)
        if first == 1 and config.model_type == "mistral3":
            raise ImageError(
                f"The image is too small for this model ({sizes[0][0]} × {sizes[0][1]} pixels).",
                "Choose a larger one.",
            )
        return laid_out(sizes, positions, views)


class Pixtral(Mistral3):
    """`LlavaForConditionalGeneration` with a Pixtral tower: patches are not merged."""

    name = "pixtral"
    model_types = ("llava",)

    @classmethod
    def claims(cls, config: Mapping[str, Any]) -> bool:
        """Of the LLaVA checkpoints, those with this tower."""
        tower = config.get("vision_config") or {}
        return super().claims(config) and tower.get("model_type") == "pixtral"
