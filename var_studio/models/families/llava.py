"""LLaVA-1.5: a vision tower's patches, projected, in place of `<image>` (`LlavaFor...`).

Geometry: the image is (padded to a square and) resized (and cropped around its centre), then cut
into patches in raster order. Every number of that comes from the image processor and the config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Family
from var_studio.models.families.geometry import check_count, edge, laid_out, raster, unknown
from var_studio.recording.layout import View, VisualLayout

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Geometry:
    """From the original image to the pixels that the vision tower sees.

    x_seen = (x + pad_x) * scale_x - crop_x, likewise y; the tower sees width x height pixels.
    """

    pad_x: int
    pad_y: int
    scale_x: float
    scale_y: float
    crop_x: int
    crop_y: int
    width: int
    height: int

    def original(self, x: float, y: float) -> tuple[float, float]:
        """Take a point that the tower sees back to the original image."""
        return (
            (x + self.crop_x) / self.scale_x - self.pad_x,
            (y + self.crop_y) / self.scale_y - self.pad_y,
        )


class Llava(Family):
    """Any `LlavaForConditionalGeneration` with a tower of one fixed size (CLIP, SigLIP, ViT)."""

    name = "llava"
    model_types = ("llava",)
    architecture: ClassVar[str] = "LlavaForConditional"

    @classmethod
    def claims(cls, config: Mapping[str, Any]) -> bool:
        """All but those with a Pixtral tower, whose patches are no fixed square."""
        tower = config.get("vision_config") or {}
        return super().claims(config) and tower.get("model_type") != "pixtral"

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Tell the transformers conversion from the original repositories of the same type."""
        architectures = config.get("architectures") or []
        if not any(self.architecture in name for name in architectures):
            raise UnsupportedModelError(
                f"This is not a {self.architecture}Generation checkpoint "
                f"({architectures or 'none'}).",
                "Use the transformers conversion of the model (for LLaVA-1.5: llava-hf on the "
                "hub).",
            )

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Fill patch size and feature strategy where an old processor has none."""
        config = hf_model.config
        tower = config.vision_config
        if not isinstance(tower.patch_size, int):
            raise UnsupportedModelError(
                f"The vision tower has patches of {tower.patch_size!r}, not one square size.",
                "Choose a checkpoint with square patches.",
            )
        if getattr(processor, "patch_size", None) is None:
            processor.patch_size = tower.patch_size
            processor.num_additional_image_tokens = int(_has_cls(hf_model))
        if getattr(processor, "vision_feature_select_strategy", None) is None:
            processor.vision_feature_select_strategy = config.vision_feature_select_strategy

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster of patches per image; a kept CLS token has no box."""
        # With "default" the first feature (the CLS token, if the tower has one) is dropped.
        dropped = hf_model.config.vision_feature_select_strategy == "default"
        leading = int(_has_cls(hf_model)) - int(dropped)
        return rasters(hf_model, processor, sizes, inputs, positions, leading)


def rasters(
    hf_model: Any,
    processor: Any,
    sizes: Sequence[tuple[int, int]],
    inputs: dict[str, torch.Tensor],
    positions: Sequence[int],
    leading: int = 0,
) -> VisualLayout:
    """One raster of a tower's patches per image, as `Family.layout`.

    `leading`: tokens of an image before its first patch; -1 where that patch itself is dropped.
    """
    height, width = (int(n) for n in inputs["pixel_values"].shape[-2:])
    patch = int(hf_model.config.vision_config.patch_size)
    rows, cols = height // patch, width // patch
    per_image = rows * cols + leading
    check_count(positions, per_image * len(sizes))
    views = []
    for image, size in enumerate(sizes):
        geometry = geometry_of(processor.image_processor, size)
        if (geometry.width, geometry.height) != (width, height):
            return unknown(sizes, positions)
        tokens = raster(rows, cols, leading)
        tokens[tokens < 0] = -1
        tokens[tokens >= 0] += image * per_image
        box = (*geometry.original(0, 0), *geometry.original(cols * patch, rows * patch))
        views.append(View("image", image, box, tokens))
    return laid_out(sizes, positions, views)


def geometry_of(image_processor: Any, size: tuple[int, int]) -> Geometry:
    """Return what an image processor does to an image of (width, height).

    Follows `_preprocess` of the LLaVA, CLIP and SigLIP image processors, rounding included.
    """
    width, height = size
    pad_x = pad_y = 0
    if getattr(image_processor, "do_pad", None) and _pads_to_square(image_processor):
        side = max(width, height)
        pad_x, pad_y = (side - width) // 2, (side - height) // 2
        width = height = side
    new_width, new_height = width, height
    if image_processor.do_resize:
        new_width, new_height = _resized(image_processor.size, width, height)
    seen_width, seen_height, crop_x, crop_y = new_width, new_height, 0, 0
    if getattr(image_processor, "do_center_crop", None):
        seen_width = int(edge(image_processor.crop_size, "width"))
        seen_height = int(edge(image_processor.crop_size, "height"))
        crop_x = _crop_offset(image_processor, new_width, seen_width)
        crop_y = _crop_offset(image_processor, new_height, seen_height)
    return Geometry(
        pad_x,
        pad_y,
        new_width / width,
        new_height / height,
        crop_x,
        crop_y,
        seen_width,
        seen_height,
    )


def _pads_to_square(image_processor: Any) -> bool:
    # Others pad after the resize, at the right and bottom, to the size of the batch: no change
    # for one image.
    return hasattr(image_processor, "pad_to_square")


def _resized(size: Any, width: int, height: int) -> tuple[int, int]:
    shortest, longest = edge(size, "shortest_edge"), edge(size, "longest_edge")
    if shortest and longest:
        return _within(width, height, shortest, longest)
    if shortest:
        if width <= height:
            return shortest, int(shortest * height / width)
        return int(shortest * width / height), shortest
    if edge(size, "height") and edge(size, "width"):
        return int(edge(size, "width")), int(edge(size, "height"))
    raise UnsupportedModelError(
        f"The image processor resizes to {size!r}, which is not known here.",
        "Choose a checkpoint that resizes to its shortest edge or to a fixed size.",
    )


def _within(width: int, height: int, shortest: int, longest: int) -> tuple[int, int]:
    """Resize the shortest edge, but never beyond `longest` for the longer one."""
    low, high = min(width, height), max(width, height)
    exact: float = shortest
    if high / low * shortest > longest:
        exact = longest * low / high
        shortest = round(exact)
    if low == shortest:
        return width, height
    other = int(exact * high / low)
    return (shortest, other) if width < height else (other, shortest)


def _crop_offset(image_processor: Any, size: int, crop: int) -> int:
    # The two backends round half a pixel differently where the image is smaller than the crop.
    if crop > size and getattr(image_processor, "backend", "pil") == "torchvision":
        return -((crop - size) // 2)
    return (size - crop) // 2


def _has_cls(hf_model: Any) -> bool:
    names = ("class_embedding", "cls_token")
    return any(name.endswith(names) for name, _ in hf_model.model.vision_tower.named_parameters())
