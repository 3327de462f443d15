"""Llama 3.2 Vision (`MllamaForConditionalGeneration`): the image enters by cross-attention.

Geometry: of the canvases of at most four tiles the one that fits best is chosen; the image is
resized to fit into it, ratio kept, and padded to the right and below. Its tiles, row by row, are
each a CLS token and a raster of patches. They are the keys of a few cross-attention layers and no
positions of the sequence: key ((image · tiles) + tile) · (n² + 1) + position, 0 being CLS. Tiles
that fill up to the largest canvas are masked for every token and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from var_studio.models.families.base import Family
from var_studio.models.families.cross import CrossKeys
from var_studio.models.families.geometry import check_count, edge, laid_out, raster
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Mllama(Family):
    """Llama 3.2 Vision."""

    name = "mllama"
    model_types = ("mllama",)
    phi_undefined = (
        "visual tokens are keys of cross-attention layers alone: they have no state in the "
        "decoder, so that none of them can be told to be a sink"
    )
    fallback = (
        "<|start_header_id|>user<|end_header_id|>\n\n{images}{prompt}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )

    def attention_module(self, layer: Any) -> Any:
        """Each layer has one of the two."""
        return layer.cross_attn if hasattr(layer, "cross_attn") else layer.self_attn

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """As usual, but that this processor itself puts BOS before a text without."""
        import torch

        batch = processor(
            images=[list(images)],
            text=[text],
            return_tensors="pt",
            add_special_tokens=False,
            text_kwargs={"verbose": False},
        )
        return {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}

    def cross_keys(
        self, hf_model: Any, inputs: Mapping[str, torch.Tensor], positions: Sequence[int]
    ) -> CrossKeys:
        """CLS and patches of each image's own tiles, after its placeholder."""
        check_count(positions, inputs["aspect_ratio_mask"].shape[1])
        layers = frozenset(hf_model.config.text_config.cross_attention_layers)
        tiles = inputs["aspect_ratio_mask"][0].bool().numpy()
        seen = np.repeat(tiles, _side(hf_model) ** 2 + 1, axis=-1)
        return CrossKeys.after(layers, positions, seen)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """A raster for each tile; its CLS token has no box."""
        side = _side(hf_model)
        ratios = hf_model.config.vision_config.supported_aspect_ratios
        fit = sys.modules[type(processor.image_processor).__module__].get_image_size_fit_to_canvas
        tile = int(edge(processor.image_processor.size, "height"))
        views: list[View] = []
        for image, (width, height) in enumerate(sizes):
            # Rows first, whatever the names in transformers say.
            rows, cols = ratios[int(inputs["aspect_ratio_ids"][0, image]) - 1]
            seen_height, seen_width = fit(height, width, rows * tile, cols * tile, tile)
            x, y = width / seen_width * tile, height / seen_height * tile
            for row in range(rows):
                for col in range(cols):
                    first = len(views) * (side**2 + 1) + 1
                    box = (col * x, row * y, (col + 1) * x, (row + 1) * y)
                    name = f"tile {row + 1},{col + 1}" if rows * cols > 1 else "image"
                    views.append(View(name, image, box, raster(side, side, first)))
        check_count(positions, len(views) * (side**2 + 1))
        return laid_out(sizes, positions, views)


def _side(hf_model: Any) -> int:
    """Number n of patches along the side of a tile."""
    config = hf_model.config.vision_config
    return int(config.image_size // config.patch_size)
