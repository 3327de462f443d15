"""Mask images of every kind become the same pixels; what is no mask says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from var_studio.recording.images import ImageError
from var_studio.recording.masks import load_mask
from var_studio.recording.regions import RegionError

WIDTH, HEIGHT = 12, 8


def corner() -> np.ndarray:
    """The lower left: 5 across, 3 down. Neither transposed nor mirrored is it the same."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[5:, :5] = True
    return mask


def as_grey(mask: np.ndarray) -> Image.Image:
    return Image.fromarray((mask * 200).astype(np.uint8))


def as_zero_and_one(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8))


def as_bits(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask)


def as_labels(mask: np.ndarray) -> Image.Image:
    """As segmentations are saved: label 15 may well have a dark colour."""
    image = Image.fromarray((mask * 15).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0] * 15 + [20, 0, 20] + [0, 0, 0] * 240)
    return image


def as_cut_out(mask: np.ndarray) -> Image.Image:
    """Black pixels, seen only where the object is."""
    pixels = np.zeros((*mask.shape, 4), dtype=np.uint8)
    pixels[..., 3] = mask * 255
    return Image.fromarray(pixels)


KINDS = [as_grey, as_zero_and_one, as_bits, as_labels, as_cut_out]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_mask_is_read_and_scaled(tmp_path: Path, kind) -> None:
    path = tmp_path / "mask.png"
    kind(corner()).save(path)
    np.testing.assert_array_equal(load_mask(path, (WIDTH, HEIGHT)), corner())
    larger = load_mask(path, (3 * WIDTH, 2 * HEIGHT))
    expected = np.array(
        [[corner()[y // 2, x // 3] for x in range(3 * WIDTH)] for y in range(2 * HEIGHT)]
    )
    np.testing.assert_array_equal(larger, expected)


def test_nothing_marked_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "black.png"
    Image.new("L", (20, 10)).save(path)
    with pytest.raises(RegionError, match=r"black.png marks nothing"):
        load_mask(path, (WIDTH, HEIGHT))


def test_what_is_no_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("no picture")
    with pytest.raises(ImageError):
        load_mask(path, (WIDTH, HEIGHT))
    with pytest.raises(ImageError):
        load_mask(tmp_path / "missing.png", (WIDTH, HEIGHT))
