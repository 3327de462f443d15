"""VILA-1.5 (3B, 13B): SigLIP patches, two by two of them a token, columns before rows.

Geometry: the image is squashed to a square and cut into patches (384 = 27 * 14 + 6: the last
pixels are not seen). An odd side is filled up with zeros, so that the last row and column of
tokens see one row or column of patches. Token k is in column k // n and row k % n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Family, Message
from var_studio.models.families.geometry import check_count, edge, laid_out, raster, uncovered
from var_studio.models.vila_assembly import MODEL_TYPE, is_vila
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

# What the model does not read but others of the same type would do otherwise.
_SETTINGS: dict[str, tuple[Any, ...]] = {
    "image_aspect_ratio": ("resize", None),
    "mm_vision_select_feature": ("cls_patch",),
    "mm_use_im_start_end": (False, None),
    "s2": (False, None),
    "dynamic_s2": (False, None),
}


class Vila(Family):
    """VILA-1.5 with a SigLIP tower and the projector "mlp_downsample"."""

    name = "vila"
    model_types = (MODEL_TYPE,)
    fallback_start = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. "
    )

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Tell VILA-1.5 from the original LLaVA repositories and from VILA's later models."""
        if not is_vila(config):
            raise UnsupportedModelError(
                "This is a checkpoint of the original LLaVA code, which transformers cannot load.",
                "Use the transformers conversion of the model (llava-hf on the hub).",
            )
        found = {
            **{name: config.get(name) for name in _SETTINGS},
            "vision tower": config["vision_tower_cfg"].get("model_type"),
            "projector": config["mm_projector_cfg"].get("mm_projector_type"),
        }
        allowed = {
            **_SETTINGS,
            "vision tower": ("siglip_vision_model",),
            "projector": ("mlp_downsample",),
        }
        for name, value in found.items():
            if value not in allowed[name]:
                raise UnsupportedModelError(
                    f"VILA with {name} {value!r} is not supported.",
                    "Choose VILA1.5-3b or VILA1.5-13b.",
                )

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Let the unknown token stand for visual tokens: no text is tokenised to it.

        VILA's own code splices features in and has no token for them.
        """
        if processor.tokenizer.unk_token_id is None:
            raise UnsupportedModelError(
                "VILA with a tokenizer that has no unknown token is not supported.",
                "Choose VILA1.5-3b or VILA1.5-13b.",
            )
        hf_model.config.image_token_id = int(processor.tokenizer.unk_token_id)
        processor.patch_size = hf_model.config.vision_config.patch_size

    def render(self, processor: Any, messages: Sequence[Message], *, ask: bool) -> str:
        """The format "vicuna_v1" of VILA's code; the language model's template knows no image."""
        return self._rendered_plainly(processor, messages)

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """Tokenise what is between images piece by piece, and squash images with PIL, as VILA does.

        transformers' own resize, with torchvision, is another one.
        """
        import torch

        tokenizer = processor.tokenizer
        size = processor.image_processor.size
        width, height = int(edge(size, "width")), int(edge(size, "height"))
        squashed = [image.resize((width, height)) for image in images]
        pixels = processor.image_processor(images=squashed, return_tensors="pt")
        n_visual = _half(height // processor.patch_size) * _half(width // processor.patch_size)
        ids: list[int] = []
        for index, piece in enumerate(text.split(self.placeholder(processor))):
            found = tokenizer(piece, verbose=False)["input_ids"]
            begins = bool(found) and found[0] == tokenizer.bos_token_id
            if index:
                ids += [tokenizer.unk_token_id] * n_visual
            ids += found[1:] if index and begins else found
        input_ids = torch.tensor([ids])
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "pixel_values": pixels["pixel_values"],
        }

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One grid per image, filled column by column."""
        tower = hf_model.config.vision_config
        side, patch = int(tower.image_size), int(tower.patch_size)
        n = _half(side // patch)
        check_count(positions, len(sizes) * n * n)
        views, unseen = [], []
        ends = np.empty((len(positions), 4))
        for image, (width, height) in enumerate(sizes):
            x, y = width / side, height / side  # original pixels a pixel of the tower
            box: Box = (0.0, 0.0, 2 * n * patch * x, 2 * n * patch * y)
            views.append(View("image", image, box, raster(n, n, image * n * n).T))
            seen = side // patch * patch
            unseen.append(uncovered([(0.0, 0.0, seen * x, seen * y)], (width, height)))
            ends[image * n * n : (image + 1) * n * n] = np.tile([seen * x, seen * y], 2)
        layout = laid_out(sizes, positions, views, unseen)
        return replace(layout, boxes=np.minimum(layout.boxes, ends))


def _half(patches: int) -> int:
    """Tokens along a side of so many patches."""
    return (patches + 1) // 2
