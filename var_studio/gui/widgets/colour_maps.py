"""Colour maps: perceptually ordered, safe for colour-blind readers, and no rainbow.

Names are matplotlib's, so that an exported figure can use the same map. Each map is kept as 33
anchors and interpolated: at most 5 of 255 steps away from the original, at no import cost.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import placed

_ANCHORS: dict[str, str] = {
    "viridis": (
        "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d "
        "2f6b8e 2c728e 297a8e 26828e 23898e 21918c 1f988b 1fa088 22a785 28ae80 32b67a "
        "3fbc73 4ec36b 5ec962 70cf57 84d44b 98d83e addc30 c2df23 d8e219 ece51b fde725"
    ),
    "cividis": (
        "00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d "
        "5a5f6e 61656f 686a71 6f7073 767676 7d7c78 848279 8c8878 938e78 9b9476 a39a74 "
        "aba072 b4a76f bcae6c c4b468 cdbb63 d5c25e dec958 e7d150 f0d846 f9e03a fee838"
    ),
    "magma": (
        "000004 030312 0a0822 130d34 1d1147 29115a 36106b 440f76 51127c 5d177f 6a1c81 "
        "762181 832681 902a81 9c2e7f aa337d b73779 c43c75 d0416f dc4869 e75263 ef5d5e "
        "f56b5c f9795d fc8961 fd9869 fea772 feb67c fec488 fed395 fde2a3 fcf0b2 fcfdbf"
    ),
    "inferno": (
        "000004 040312 0b0724 150b37 210c4a 2f0a5b 3d0965 4a0c6b 57106e 64156e 71196e "
        "7d1e6d 8a226a 972766 a32c61 b0315b bc3754 c73e4c d24644 db503b e45a31 eb6628 "
        "f1731d f68013 f98e09 fb9d07 fcac11 fbbc21 f9cb35 f5db4c f2ea69 f3f68a fcffa4"
    ),
    "gray": (
        "000000 080808 101010 181818 202020 282828 303030 383838 404040 484848 505050 "
        "585858 606060 686868 707070 787878 808080 888888 909090 989898 a0a0a0 a8a8a8 "
        "b0b0b0 b8b8b8 c0c0c0 c8c8c8 d0d0d0 d8d8d8 e0e0e0 e8e8e8 f0f0f0 f8f8f8 ffffff"
    ),
    "RdBu_r": (
        "053061 0e4179 175290 1f63a8 2a71b2 3480b9 3f8ec0 529dc8 6bacd1 84bcd9 9bc9e0 "
        "aed3e6 c2ddec d4e6f1 e0ecf3 ecf2f5 f7f6f6 f9eee7 fbe5d8 fddcc9 fbccb4 f8bb9e "
        "f5aa89 ee9677 e48066 db6b55 d05548 c53e3d ba2832 ab162a 930e26 7c0722 67001f"
    ),
    "PuOr_r": (
        "2d004b 390c5e 451871 522584 5f3a91 6d529c 7b6aa8 8a7eb3 9990bf a9a1cb b7b1d5 "
        "c3c0dd cfcfe5 dadcec e4e5f0 eeeef3 f7f7f6 f9efe1 fce8cd fee1b9 fed59f fdc885 "
        "fdbc6b f7ac52 ee9b39 e58a20 d97b12 cb6e0d bd6109 ae5506 9e4c07 8d4307 7f3b08"
    ),
    "berlin": (
        "9eb0ff 8caef6 79abed 65a7e2 519fd3 4194c1 3685ad 2e7699 286886 225973 1d4b61 "
        "183d4f 14303e 11242e 111a20 121214 190c09 220c02 2b0e01 351000 411201 4d1602 "
        "5b1d08 6c2711 7d341e 8e422e 9e513f ae6051 be6f63 ce7f76 df8f89 f09f9c ffadad"
    ),
}

SEQUENTIAL: dict[str, str] = {
    "viridis": "Viridis",
    "cividis": "Cividis",
    "magma": "Magma",
    "inferno": "Inferno",
    "gray": "Grey",
}
"""Maps for a quantity that starts at 0: name -> what the chooser shows."""

DIVERGING: dict[str, str] = {
    "RdBu_r": "Blue to red",
    "PuOr_r": "Purple to orange",
    "berlin": "Blue to red, dark centre",
}
"""Maps for a quantity with a meaningful 0 in the middle."""


@lru_cache(maxsize=16)
def colour_table(name: str) -> npt.NDArray[np.uint8]:
    """Colours of a map, from low to high. Returns (256, 3) uint8 RGB, read-only."""
    anchors = np.array([list(bytes.fromhex(word)) for word in _ANCHORS[name].split()])
    places = np.linspace(0.0, 1.0, len(anchors))
    steps = np.linspace(0.0, 1.0, 256)
    table = np.stack([np.interp(steps, places, anchors[:, c]) for c in range(3)], axis=1)
    table = table.round().astype(np.uint8)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=32)
def indexed_colours(name: str) -> tuple[int, ...]:
    """Colour table of an 8-bit QImage: entry 0 is transparent, 1 to 255 the map from low to high.

    Returns 256 packed 0xAARRGGBB numbers.
    """
    table = colour_table(name)
    steps = np.linspace(0, 255, 255).round().astype(int)
    opaque = [0xFF000000 | int(r) << 16 | int(g) << 8 | int(b) for r, g, b in table[steps]]
    return (0, *opaque)


def to_indices(
    values: npt.NDArray[np.floating], low: float, high: float, gamma: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Entries of `indexed_colours` for values between two limits. NaN becomes 0: transparent.

    Values beyond the limits get the end colours; gamma as in `placed`. Returns the shape of
    `values`, uint8.
    """
    scaled = placed(values, low, high, gamma) * 254.0
    scaled[np.isnan(scaled)] = -1.0
    return (scaled + 1.5).astype(np.uint8)
