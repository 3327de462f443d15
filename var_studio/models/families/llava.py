"""LLaVA-1.5: a vision tower's patches, projected, in place of `<image>` (`LlavaFor...`).

Geometry: the image is (padded to a square and) resized (and cropped around its centre), then cut
into patches in raster order. Every number of that comes from the image processor and the config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from var_studio.models.errors import PromptError, UnsupportedModelError
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch

FALLBACK_TEMPLATE = "USER: {images}{prompt} ASSISTANT:"
"""Used for checkpoints without a chat template: LLaVA-1.5's own format. `{images}` is the image
placeholder and a newline for each image."""

# Towers whose patches are not one raster of a fixed square.
_UNSUPPORTED_TOWERS = {"pixtral"}


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


class Llava:
    """Any `LlavaForConditionalGeneration` with a tower of one fixed size (CLIP, SigLIP, ViT)."""

    name = "llava"

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Fill patch size and feature strategy where an old processor has none."""
        config = hf_model.config
        tower = config.vision_config
        if tower.model_type in _UNSUPPORTED_TOWERS:
            raise UnsupportedModelError(
                f"LLaVA with a {tower.model_type} vision tower is not supported yet.",
                "Choose a checkpoint with a CLIP or SigLIP tower.",
            )
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

    def image_token_id(self, hf_model: Any) -> int:
        """Id of `<image>`."""
        return int(hf_model.config.image_token_id)

    def question(self, processor: Any, prompt: str, n_images: int) -> str:
        """The chat template's text, or `FALLBACK_TEMPLATE`. Raises PromptError."""
        image_token = processor.image_token
        if image_token in prompt:
            raise PromptError(
                f"The prompt contains the image placeholder {image_token}.",
                "Remove it: the placeholder is put in place by itself.",
            )
        content: list[dict[str, str]] = [{"type": "image"} for _ in range(n_images)]
        content.append({"type": "text", "text": prompt})
        if getattr(processor, "chat_template", None) or getattr(
            processor.tokenizer, "chat_template", None
        ):
            template = processor if getattr(processor, "chat_template", None) else None
            render = (template or processor.tokenizer).apply_chat_template
            messages = [{"role": "user", "content": content}]
            text = str(render(messages, tokenize=False, add_generation_prompt=True))
            if text.count(image_token) == n_images:
                return text
        return FALLBACK_TEMPLATE.format(images=f"{image_token}\n" * n_images, prompt=prompt)

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster of patches per image; a kept CLS token has no box."""
        height, width = (int(n) for n in inputs["pixel_values"].shape[-2:])
        patch = int(hf_model.config.vision_config.patch_size)
        rows, cols = height // patch, width // patch
        # With "default" the first feature (the CLS token, if the tower has one) is dropped.
        dropped = hf_model.config.vision_feature_select_strategy == "default"
        has_cls = _has_cls(hf_model)
        per_image = rows * cols + int(has_cls) - int(dropped)
        if len(positions) != per_image * len(sizes):
            raise PromptError(
                f"The prompt has {len(positions)} visual tokens; the model makes "
                f"{per_image * len(sizes)} of {len(sizes)} image(s).",
                "The processor and the model of this checkpoint do not fit: check its files.",
            )
        first_patch = int(has_cls) - int(dropped)  # index of patch 0 among the image's tokens
        views, boxes, unseen = [], [], []
        known = True
        for image, size in enumerate(sizes):
            geometry = geometry_of(processor.image_processor, size)
            known = known and (geometry.width, geometry.height) == (width, height)
            tokens = np.arange(rows * cols, dtype=np.int64).reshape(rows, cols) + first_patch
            tokens[(tokens < 0) | (tokens >= per_image)] = -1
            tokens[tokens >= 0] += image * per_image
            box = (*geometry.original(0, 0), *geometry.original(cols * patch, rows * patch))
            view = View("image", image, box, tokens)
            views.append(view)
            boxes.append(_token_boxes(view, size, per_image, image))
            unseen.append(_unseen(box, size))
        return VisualLayout(
            image_sizes=tuple(sizes),
            positions=np.asarray(positions, dtype=np.int64),
            views=tuple(views) if known else (),
            boxes=np.concatenate(boxes) if known else np.full((len(positions), 4), np.nan),
            unseen=tuple(unseen) if known else tuple(() for _ in sizes),
            known=known,
        )


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
        seen_width = int(_edge(image_processor.crop_size, "width"))
        seen_height = int(_edge(image_processor.crop_size, "height"))
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


def _edge(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)


def _resized(size: Any, width: int, height: int) -> tuple[int, int]:
    shortest, longest = _edge(size, "shortest_edge"), _edge(size, "longest_edge")
    if shortest and longest:
        return _within(width, height, shortest, longest)
    if shortest:
        if width <= height:
            return shortest, int(shortest * height / width)
        return int(shortest * width / height), shortest
    if _edge(size, "height") and _edge(size, "width"):
        return int(_edge(size, "width")), int(_edge(size, "height"))
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


def _token_boxes(view: View, size: tuple[int, int], per_image: int, image: int) -> Any:
    """Boxes (per_image, 4) of an image's tokens, clipped to it; NaN for one that sees none."""
    boxes = np.full((per_image, 4), np.nan)
    x, y = view.edges()
    for (row, col), token in np.ndenumerate(view.tokens):
        left, right = np.clip(x[[col, col + 1]], 0, size[0])
        top, bottom = np.clip(y[[row, row + 1]], 0, size[1])
        if token >= 0 and right > left and bottom > top:
            boxes[token - image * per_image] = left, top, right, bottom
    return boxes


def _unseen(box: Box, size: tuple[int, int]) -> tuple[Box, ...]:
    """The strips of an image outside the part that the grid covers."""
    width, height = size
    left, top, right, bottom = box
    middle_top, middle_bottom = max(top, 0.0), min(bottom, float(height))
    strips = [
        (0.0, 0.0, float(width), top),
        (0.0, bottom, float(width), float(height)),
        (0.0, middle_top, left, middle_bottom),
        (right, middle_top, float(width), middle_bottom),
    ]
    # Rounding leaves slivers of a millionth of a pixel.
    return tuple(s for s in strips if s[2] - s[0] > 1e-6 and s[3] - s[1] > 1e-6)
