"""What the Help menu says: the keys, and what this program is."""

from __future__ import annotations

from var_studio.gui import actions

ABOUT = (
    "<b>VAR Studio</b><br>An instrument to see where a multimodal model looks: visual attention "
    "sinks, image-centric heads and their redistribution, after <i>See What You Are Told: Visual "
    "Attention Sink in Large Multimodal Models</i> (ICLR 2025)."
)


def keys_as_html() -> str:
    """The list of keys as a table."""
    rows = "".join(
        f"<tr><td><b>{keys}</b>&nbsp;&nbsp;&nbsp;</td><td>{what}</td></tr>"
        for keys, what in actions.keys_table()
    )
    return f"<table>{rows}</table>"
