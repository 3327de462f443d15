"""How wide words are in the fonts in force."""

from __future__ import annotations

import re
from functools import lru_cache


def text_width(text: str, em: float) -> float:
    """Width in inches of one line of text in a font of `em` inches."""
    import matplotlib

    return _width(text, em, tuple(matplotlib.rcParams["font.family"]), _families())


def wrapped(text: str, width: float, em: float) -> list[str]:
    """Lines of `text` no wider than `width` inches in a font of `em` inches."""
    lines: list[str] = []
    # Only at plain blanks: one that is not to break keeps a number with its unit.
    for word in re.split(r"[ \t\r\n]+", text.strip(" \t\r\n")):
        if lines and text_width(f"{lines[-1]} {word}", em) <= width:
            lines[-1] += f" {word}"
            continue
        *full, word = broken(word, width, em)
        lines += [*full, word]
    return lines


def broken(word: str, width: float, em: float) -> list[str]:
    """A word without a blank to break at, in pieces of as many letters as there is room for."""
    pieces: list[str] = []
    while len(word) > 1 and text_width(word, em) > width:
        rooms = range(len(word) - 1, 0, -1)
        room = next(n for n in rooms if n == 1 or text_width(word[:n], em) <= width)
        pieces.append(word[:room])
        word = word[room:]
    return [*pieces, word]


def fitted(text: str, width: float, em: float, least: float) -> tuple[str, float]:
    """A line in one width: the text and its size in inches, smaller where it must be.

    Never below `least`: what is still too wide then loses letters from its middle, where "…"
    stands.
    """
    wide = text_width(text, em)
    if wide <= width:
        return text, em
    em = max(em * width / wide * 0.99, min(least, em))
    kept = len(text)
    shown = text
    while kept > 1 and text_width(shown, em) > width:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return shown, em


def _families() -> tuple[str, ...]:
    import matplotlib

    return tuple(matplotlib.rcParams["font.sans-serif"])


@lru_cache(maxsize=20_000)
def _width(text: str, em: float, family: tuple[str, ...], sans: tuple[str, ...]) -> float:
    """`family` and `sans` are what the answer depends on besides."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=em * 72)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72
