"""Fonts for letters that the style's own font does not have."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

from var_studio.figures.spec import Figure

# Read like sans-serif text, and seen on Linux, Windows and macOS; others come after these.
_PREFERRED = (
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "Droid Sans Fallback",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Meiryo",
    "Malgun Gothic",
    "Segoe UI",
    "Hiragino Sans",
    "Hiragino Sans GB",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Nirmala UI",
    "Leelawadee UI",
    "Noto Emoji",
    "Symbola",
    "FreeSans",
)
# Whose shapes stand for "no glyph", or for mathematics under the code of letters.
_NEVER = ("Last Resort", "Standard Symbols", "STIXNonUnicode", "STIXSize", "D050000L", "cm")
_NO_GLYPH = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Mn", "Me")
"""Kinds of characters that show nothing by themselves."""


def missing_letters(figure: Figure) -> str:
    """Letters of a figure's texts that no font in force has, each once, in order."""
    known = _letters_of_style()
    letters = {letter for text in _texts(figure) for letter in text}
    return "".join(sorted(x for x in letters - known if unicodedata.category(x) not in _NO_GLYPH))


def fallbacks(letters: str) -> tuple[str, ...]:
    """Installed families that together have as many of these letters as can be had.

    The same answer every time on one machine; a family is taken for what those before it lack.
    """
    from matplotlib.font_manager import fontManager

    wanted, chosen = set(letters), []
    candidates = sorted(
        {(entry.name, entry.fname) for entry in fontManager.ttflist if _plain(entry)},
        key=lambda found: (found[1].lower().endswith((".otf", ".ttc")), _rank(found[0]), found),
    )
    while wanted:
        has = [(len(wanted & _letters_of(path)), -n) for n, (_, path) in enumerate(candidates)]
        most, place = max(has, default=(0, 0))
        if not most:
            break
        name, path = candidates[-place]
        chosen.append(name)
        wanted -= _letters_of(path)
    return tuple(chosen)


def missing_line(letters: str) -> str:
    """What a figure says of letters that it cannot show; empty where there are none."""
    if not letters:
        return ""
    codes = [f"U+{ord(letter):04X}" for letter in letters]
    shown = ", ".join(codes[:6]) + (f" and {len(codes) - 6} more" if len(codes) > 6 else "")
    return (
        f"No font on this machine has {shown}: boxes stand there. Install one, for instance Noto."
    )


def _texts(part: Any) -> Iterator[str]:
    """Every text of a spec that may be drawn."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, tuple):
        for each in part:
            yield from _texts(each)
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            if field.name not in ("metadata", "arrays", "table"):
                yield from _texts(getattr(part, field.name))


def _plain(entry: Any) -> bool:
    upright = entry.style == "normal" and entry.stretch == "normal" and entry.weight in (400, 500)
    return bool(upright) and not entry.name.startswith(_NEVER)


def _rank(name: str) -> int:
    return _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)


def _letters_of_style() -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, fontManager

    family = FontProperties().get_family()
    paths = [fontManager.findfont(FontProperties(family=[name])) for name in family]
    return frozenset().union(*map(_letters_of, paths))


@cache
def _letters_of(path: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()  # a font file that cannot be read has nothing to offer
