"""A mask image as a picture's True pixels: a segmentation, a drawing, a cut-out."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from var_studio.recording.images import decode, load_image, open_encoded
from var_studio.recording.regions import RegionError


def load_mask(path: str | os.PathLike[str], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Read a mask image and scale it to a picture of `size` (width, height), nearest pixel.

    True is, whichever the file has: where it is not transparent; where the label is not 0 (a
    picture with a palette, as segmentations have); else where it is brighter than half of its
    brightest pixel. Returns (height, width) bool. Raises ImageError for a file that is no image,
    RegionError for a mask that marks nothing.
    """
    from PIL import Image

    stored = load_image(path)
    with open_encoded(stored.bytes) as opened:
        labelled = opened.mode == "P" and "transparency" not in opened.info
        labels = np.array(opened) if labelled else np.zeros((1, 1), np.uint8)
        alpha = np.asarray(opened.convert("RGBA"))[..., 3] if not labelled else labels
    if labelled:
        marked = labels > 0
    elif (alpha < 255).any():
        marked = alpha > 127
    else:
        bright = np.asarray(decode(stored).convert("L"))
        marked = bright > bright.max() / 2
    if not marked.any():
        raise RegionError(
            f"{stored.name} marks nothing: all its pixels are dark or transparent.",
            "A mask is bright where the region is.",
        )
    scaled = Image.fromarray(marked).resize(size, Image.Resampling.NEAREST)
    return np.asarray(scaled, dtype=bool)
