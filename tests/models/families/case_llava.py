"""LLaVA-1.5 in its hub form (crop), padded to a square, squashed; grouped keys, a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tests.models.families.kit import Array, Case
from tests.models.tiny import save_checkpoint


def _means(lmm: Any, picture: Image.Image) -> tuple[Array, Array]:
    processor = lmm.processor.image_processor
    patch = lmm.hf_model.config.vision_config.patch_size
    white = Image.new("RGB", picture.size, (255, 255, 255))
    planes = []
    for image in (picture, white):
        values = processor(images=image, return_tensors="np")["pixel_values"][0, 0]
        values = values * processor.image_std[0] + processor.image_mean[0]
        rows, cols = (n // patch for n in values.shape)
        planes.append(values.reshape(rows, patch, cols, patch).mean((1, 3)).ravel())
    # Padding is not white.
    return planes[0], planes[1] > 0.999


def _case(name: str, **options: Any) -> Case:
    def save(folder: Path) -> Path:
        return save_checkpoint(folder, **options)

    def fine(folder: Path) -> Path:
        return save_checkpoint(folder, **{**options, "side": 336, "patch": 14, "layers": 1})

    return Case(f"llava-{name}", save, fine, means=_means, views=lambda lmm, size: 1)


CASES = [
    _case("crop", kind="crop", kv_heads=2),
    _case("pad", kind="pad", seed=2),
    _case("squash", kind="squash", seed=3, text="mistral", kv_heads=2, sliding_window=24),
]
