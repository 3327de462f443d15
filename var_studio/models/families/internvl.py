"""InternVL 2.5 and 3 in their native class (`InternVLForConditionalGeneration`).

Geometry: the canvas of whole tiles whose ratio is nearest to the image's is chosen, the image is
squashed onto it and cut into tiles, row by row. With more than one tile the whole image follows,
squashed into one more. Each tile is a raster of patches, merged by pixel shuffle.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, edge, laid_out, misfit, raster, tiles
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch


class InternVL(Family):
    """InternVL with any language model that transformers knows."""

    name = "internvl"
    model_types = ("internvl",)
    fallback = "<|im_start|>user\n{images}{prompt}<|im_end|>\n<|im_start|>assistant\n"

    @classmethod
    def claims(cls, config: Mapping[str, Any]) -> bool:
        """The native class, and the original, to say what to do with it."""
        return config.get("model_type") in (*cls.model_types, "internvl_chat")

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Tell the native class from the original repositories, which come with code."""
        if config.get("model_type") == "internvl_chat":
            raise UnsupportedModelError(
                "This is an original InternVL repository, which only its own code can load.",
                "Use the transformers conversion of the model (its name ends in -hf), or, for "
                "InternVL2-8B and others with InternLM2, run: var-studio convert FOLDER NEW_FOLDER",
            )

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Refuse features that are no raster: a kept CLS token, tiles that are not square."""
        config = hf_model.config
        height, width = config.vision_config.image_size
        if config.vision_feature_select_strategy != "default" or height != width:
            raise UnsupportedModelError(
                "The vision features of this checkpoint are no square raster of patches "
                f"(strategy {config.vision_feature_select_strategy!r}, tiles {width}×{height}).",
                "Choose a checkpoint with square tiles that drops its CLS token.",
            )

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """`<img>` and `</img>` around each image."""
        return frozenset({processor.start_image_token_id, processor.end_image_token_id})

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """Tiles of a grid, then the thumbnail, for each image."""
        n_tiles, _, height, width = (int(n) for n in inputs["pixel_values"].shape)
        canvases = [_canvas(processor.image_processor, size) for size in sizes]
        if n_tiles == len(sizes):  # tiling is switched off, or no image needs it
            canvases = [(1, 1)] * len(sizes)
        expected = sum(_tile_count(canvas) for canvas in canvases)
        if n_tiles != expected:
            raise misfit(n_tiles, expected)
        rows, cols = _grid(hf_model.config, height, width)
        check_count(positions, n_tiles * rows * cols)
        views: list[View] = []
        for image, (canvas, size) in enumerate(zip(canvases, sizes, strict=True)):
            for name, box in _tiles(canvas, size):
                tokens = raster(rows, cols, len(views) * rows * cols)
                views.append(View(name, image, box, tokens))
        return laid_out(sizes, positions, views)


def _canvas(image_processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """(columns, rows) of tiles, by the function that the image processor itself asks."""
    choose = sys.modules[type(image_processor).__module__].get_optimal_tiled_canvas
    width, height = size
    tile = int(edge(image_processor.size, "height")), int(edge(image_processor.size, "width"))
    columns, rows = choose(
        (height, width), tile, image_processor.min_patches, image_processor.max_patches
    )
    return int(columns), int(rows)


def _tile_count(canvas: tuple[int, int]) -> int:
    columns, rows = canvas
    return columns * rows + (columns * rows > 1)


def _grid(config: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of visual tokens of a tile of so many pixels."""
    patch_height, patch_width = config.vision_config.patch_size
    ratio = config.downsample_ratio
    return int(height // patch_height * ratio), int(width // patch_width * ratio)


def _tiles(
    canvas: tuple[int, int], size: tuple[int, int]
) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Names and boxes of an image's tiles in their order."""
    columns, rows = canvas
    width, height = size
    whole = (0.0, 0.0, float(width), float(height))
    if columns * rows == 1:
        return [("image", whole)]
    return [*tiles(size, rows, columns), ("thumbnail", whole)]
