"""What matplotlib leaves to do in an SVG: its fonts inside it, and characters that XML allows."""

from __future__ import annotations

import base64
import html
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

_TEXT: Final = re.compile(r'<text\b[^>]*?style="([^"]*)"[^>]*>(.*?)</text>', re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_CHOICE: Final = re.compile(r"(font-(?:family|weight|style)): ([^;]*)")
_CSS: Final = '<style type="text/css">'
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_GENERIC: Final = ("serif", "sans-serif", "monospace", "cursive", "fantasy")

_TABLES: Final = (
    *("head", "hhea", "hmtx", "maxp", "name", "OS/2", "post", "cmap", "glyf", "loca", "cvt "),
    *("fpgm", "prep", "gasp", "kern", "GDEF", "GPOS", "GSUB", "CFF ", "vhea", "vmtx", "VORG"),
)
"""Of a font what draws letters; an editor's own tables cannot be cut."""

Face = tuple[str, str, str]
"""Family, weight (400 is normal) and style of a font."""


def finish(svg: bytes) -> bytes:
    """The SVG with its letters inside as TrueType, so that it looks the same where the fonts are
    not installed. Its text stays text. A character that XML forbids becomes U+FFFD.

    The same SVG gives the same bytes.
    """
    text = _NOT_XML.sub("\ufffd", svg.decode("utf-8"))
    letters: dict[Face, set[str]] = {}
    for style, content in _TEXT.findall(text):
        shown = set(html.unescape(_TAG.sub("", content)))
        for face in _faces(html.unescape(style)):
            letters.setdefault(face, set()).update(shown)
    rules = [_rule(face, "".join(sorted(shown))) for face, shown in sorted(letters.items())]
    return text.replace(_CSS, _CSS + "".join(rules), 1).encode("utf-8")


def _faces(style: str) -> list[Face]:
    chosen = dict(_CHOICE.findall(style))
    names = [name.strip().strip("'\"") for name in chosen.get("font-family", "").split(",")]
    weight, slant = chosen.get("font-weight", "400"), chosen.get("font-style", "normal")
    return [(name, weight, slant) for name in names if name and name not in _GENERIC]


def _rule(face: Face, letters: str) -> str:
    """The CSS that brings these letters of a font along; empty where it has none of them."""
    from matplotlib.font_manager import FontProperties, findfont

    family, weight, slant = face
    wanted = FontProperties(family=[family], weight=weight, style=cast(Any, slant))
    try:
        cut = _cut(findfont(wanted, fallback_to_default=False), letters)
    # A name that is no installed font's; fonts that cannot be read or cut, in many ways.
    except Exception:
        return ""
    if not cut:
        return ""
    data = base64.b64encode(cut).decode("ascii")
    return (
        f"@font-face{{font-family:'{family}';font-weight:{weight};font-style:{slant};"
        f"src:url(data:font/ttf;base64,{data})}}"
    )


def _cut(path: str, letters: str) -> bytes:
    """A font file with these letters alone; empty where it has none, or only pictures of them."""
    from fontTools import subset  # matplotlib comes with it

    options = subset.Options(hinting=False, notdef_outline=True, font_number=0)
    with _unheard("fontTools"), subset.load_font(path, options) as font:
        known, tables = font.getBestCmap() or {}, set(font.keys())
        if not tables & {"glyf", "CFF "} or not any(ord(letter) in known for letter in letters):
            return b""
        options.drop_tables += sorted(tables - set(_TABLES))
        cut = subset.Subsetter(options)
        cut.populate(text=letters)
        cut.subset(font)
        content = io.BytesIO()
        font.save(content)
    return content.getvalue()


@contextmanager
def _unheard(name: str) -> Iterator[None]:
    """Keep a library's warnings off stderr: an odd date in a font is nobody's concern."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
