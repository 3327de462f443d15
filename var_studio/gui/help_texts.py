"""The panels' help, told once: F1 shows it whole, the README's table its first sentences."""

from __future__ import annotations

import re

from var_studio.gui.panels import PANELS

_ABBREVIATED = r"(?<!\bSec)(?<!\bFig)(?<!\bEq)(?<!\bApp)(?<!\bTable)"


def first_sentence(text: str) -> str:
    """A text up to its first full stop; "Sec. 4.1" and the like do not end it."""
    end = re.search(_ABBREVIATED + r"[.!?](?=\s|$)", text)
    return text if end is None else text[: end.end()]


def panel_table() -> str:
    """The README's table: each panel and the first sentence of its help, in Markdown."""
    rows = ["| panel | what it shows |", "|---|---|"]
    for entry in PANELS:
        panel = entry.kind()
        told = first_sentence(panel.help_text).removesuffix(".").replace("|", "\\|")
        rows.append(f"| {panel.title} | {told} |")
    return "\n".join(rows) + "\n"
