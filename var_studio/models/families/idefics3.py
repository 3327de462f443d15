"""Idefics3 and SmolVLM: the image in square tiles, row by row, and then as a whole.

Geometry: the image is resized to the processor's longest edge, then squashed to whole tiles in
both directions. Each tile, and the whole image squashed to one tile, become a square raster:
patches are merged `scale_factor` by `scale_factor` (pixel shuffle).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, edge, laid_out, raster, tiles, unknown
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch

_SEPARATOR = re.compile(r"<fake_token_around_image>|<global-img>|<row_\d+_col_\d+>")
_LARGEST: Final = 4096  # MAX_IMAGE_SIZE of the image processors


class Idefics3(Family):
    """`Idefics3ForConditionalGeneration` and `SmolVLMForConditionalGeneration`."""

    name = "idefics3"
    model_types = ("idefics3", "smolvlm")
    fallback = "User:{images}{prompt}<end_of_utterance>\nAssistant:"
    fallback_image = "{image}"
    fallback_answer = " {answer}<end_of_utterance>\n"

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Leave the chat template to the tokenizer: a SmolVLM processor would ask its video
        processor first, which it may not have."""
        if processor.chat_template:
            processor.tokenizer.chat_template = processor.chat_template
            processor.chat_template = None

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """The marks around an image, and the names of its tiles."""
        added = processor.tokenizer.added_tokens_decoder.items()
        return frozenset(i for i, token in added if _SEPARATOR.fullmatch(str(token)))

    def gap_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """The newlines after a row of tiles, and before the whole image."""
        ids = processor.tokenizer(["\n", "\n\n"], add_special_tokens=False)["input_ids"]
        return frozenset(i for row in ids for i in row)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """The tiles row by row and the whole image last, or the whole image alone."""
        _, frames, _, height, width = (int(n) for n in inputs["pixel_values"].shape)
        config = hf_model.config
        merged = config.vision_config.patch_size * config.scale_factor
        rows, cols = height // merged, width // merged
        check_count(positions, frames * rows * cols)
        seen_x, seen_y = cols * merged / width, rows * merged / height
        views: list[View] = []
        for image, size in enumerate(sizes):
            for name, (left, top, right, bottom) in parts(processor.image_processor, size):
                # Pixels that do not fill a patch are dropped, at the right and bottom.
                box = (left, top, left + (right - left) * seen_x, top + (bottom - top) * seen_y)
                tokens = raster(rows, cols, len(views) * rows * cols)
                views.append(View(name, image, box, tokens))
        if len(views) != frames:
            return unknown(sizes, positions)
        return laid_out(sizes, positions, views)


def parts(image_processor: Any, size: tuple[int, int]) -> list[tuple[str, Box]]:
    """Names and boxes of what the vision tower sees of an image of (width, height), in order.

    Follows `_preprocess` of the Idefics3 and SmolVLM image processors, rounding included.
    """
    width, height = size
    whole = (0.0, 0.0, float(width), float(height))
    if not image_processor.do_image_splitting:
        return [("image", whole)]
    canvas = (width, height)
    if image_processor.do_resize:
        canvas = _resized(image_processor.size, canvas)
    cols, rows = _tiles(canvas, int(edge(image_processor.max_image_size, "longest_edge")))
    if rows == cols == 1:
        return [("image", whole)]
    return [*tiles(size, rows, cols), ("whole image", whole)]


def _resized(to: Any, size: tuple[int, int]) -> tuple[int, int]:
    """The longer side becomes `longest_edge`, the other one an even number, or one more."""
    longest = edge(to, "longest_edge")
    if not longest:
        return int(edge(to, "width")), int(edge(to, "height"))
    width, height = _to_longer(size, int(longest))
    if width >= height:
        height += height % 2
    else:
        width += width % 2
    width, height = max(width, 1), max(height, 1)
    if max(width, height) > _LARGEST:
        width, height = _to_longer((width, height), _LARGEST)
    return max(width, 1), max(height, 1)


def _tiles(size: tuple[int, int], tile: int) -> tuple[int, int]:
    """Columns and rows of tiles: the longer side is rounded up first, the other one follows."""
    longer = math.ceil(max(size) / tile) * tile
    width, height = (math.ceil(n / tile) for n in _to_longer(size, longer))
    return width, height


def _to_longer(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Scale a size so that its longer side is `longer`; the other is cut to a whole number."""
    width, height = size
    ratio = width / height
    return (longer, int(longer / ratio)) if width >= height else (int(longer * ratio), longer)
