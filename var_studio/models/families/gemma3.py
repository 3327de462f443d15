"""Gemma 3: a squashed image as 16 x 16 tokens, with or without crops of it (pan and scan).

Geometry: SigLIP's patches of the squashed image are averaged over squares of them. With pan and
scan a long image is followed by crops along its longer side, each one squashed and encoded alike.
Text attends causally; the tokens of one image (or crop) attend to each other in both directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, laid_out, raster, unknown
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch

_PAN_AND_SCAN = (
    "do_pan_and_scan",
    "pan_and_scan_min_crop_size",
    "pan_and_scan_max_num_crops",
    "pan_and_scan_min_ratio_to_activate",
)


class Gemma3(Family):
    """`Gemma3ForConditionalGeneration`: local and global layers, SigLIP tower."""

    name = "gemma3"
    model_types = ("gemma3",)
    # Pretrained checkpoints have no template: their card writes the image, then the text.
    fallback = "{images}{prompt}"
    fallback_image = "{image}"

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Take pan and scan from the checkpoint's image processor, where that says anything.

        The processor passes defaults of its own, which would switch it off.
        """
        own = {key: getattr(processor.image_processor, key, None) for key in _PAN_AND_SCAN}
        given = {key: value for key, value in own.items() if value is not None}
        processor.images_kwargs = {**processor.images_kwargs, **given}

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """Start and end of an image."""
        tokenizer = processor.tokenizer
        return frozenset({int(tokenizer.boi_token_id), int(tokenizer.eoi_token_id)})

    def gap_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """White space that the processor writes between two crops, or two images."""
        spaces = ["\n\n \n\n", "\n\n\n\n"]
        ids = processor.tokenizer(spaces, add_special_tokens=False)["input_ids"]
        return frozenset(i for row in ids for i in row)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """The whole image, then its crops if there are any: a raster each."""
        count, _, height, width = (int(n) for n in inputs["pixel_values"].shape)
        config = hf_model.config
        patches = config.vision_config.image_size // config.vision_config.patch_size
        pooled = patches // int(config.mm_tokens_per_image**0.5)
        side = patches // pooled
        check_count(positions, count * side * side)
        seen = side * pooled * config.vision_config.patch_size
        views: list[View] = []
        for image, size in enumerate(sizes):
            crops = pan_and_scan(size, processor.images_kwargs)
            names = ["image"] if not crops else ["whole image"]
            names += [f"crop {number}" for number in range(1, len(crops) + 1)]
            for name, part in zip(names, [(0, 0, *size), *crops], strict=True):
                left, top, right, bottom = part
                # Patches that do not fill a square are dropped, at the right and bottom.
                box = (
                    float(left),
                    float(top),
                    left + (right - left) * seen / width,
                    top + (bottom - top) * seen / height,
                )
                views.append(View(name, image, box, raster(side, side, len(views) * side * side)))
        if len(views) != count:
            return unknown(sizes, positions)
        return laid_out(sizes, positions, views)


def pan_and_scan(size: tuple[int, int], settings: dict[str, Any]) -> list[Box]:
    """Crops of an image of (width, height), as `Gemma3ImageProcessor.pan_and_scan` makes them."""
    width, height = size
    longer, shorter = max(size), min(size)
    smallest = settings["pan_and_scan_min_crop_size"]
    if not settings["do_pan_and_scan"]:
        return []
    if longer / shorter < settings["pan_and_scan_min_ratio_to_activate"]:
        return []
    count = min(longer // smallest, math.floor(longer / shorter + 0.5))
    count = min(settings["pan_and_scan_max_num_crops"], max(2, count))
    step = math.ceil(longer / count)
    if min(step, shorter) < smallest:
        return []
    spans = [(start, min(start + step, longer)) for start in range(0, count * step, step)]
    if width >= height:
        return [(start, 0, end, height) for start, end in spans]
    return [(0, start, width, end) for start, end in spans]
