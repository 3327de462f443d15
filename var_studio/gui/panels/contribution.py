"""The Contribution panel: sinks take attention, but what do they give? (Fig. 3c)"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6 import QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import heads_text
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.ledger_view import LedgerView, Line
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.contributions import GroupContribution
    from var_studio.analysis.reading import Reading

# The order of contributions.KINDS, with the theme's colour for each.
_COLOURS = ("bos", "text_tokens", "sink", "visual", "text_tokens")


class ContributionPanel(Panel):
    """Each kind of token's part of the attention beside its part of the contributions."""

    help_text = (
        "What each kind of token adds to the residual stream of the selected token: the "
        "attention contribution α · ‖v W_O‖ (Sec. 4.2, App. D.3). Outline: the kind's part of the "
        "attention. Filled: its part of the sum of all contributions. The last column is the mean "
        "contribution of one token, in units of the residual stream. In the paper's Fig. 3c visual "
        "sinks take much attention and contribute little; other models may differ. Contributions "
        "are norms: what two tokens add may cancel. The row is the recorded one, before "
        "redistribution."
    )
    empty_text = "Click a word of the answer: what each kind of token contributes appears here."
    figure_name = "contribution"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        body = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(body)
        column.setContentsMargins(10, 2, 10, 6)
        column.setSpacing(4)
        self.subject = HoverLine("")
        self.subject.setAccessibleName("What the contributions are of")
        column.addWidget(self.subject)
        self.ledger = LedgerView(
            headings=("attention", "contribution", "per token"),
            name="Attention and contribution of each kind of token",
        )
        self.ledger.setToolTip("α · ‖v W_O‖, Sec. 4.2. Outline: attention. Filled: contribution.")
        column.addWidget(self.ledger.scrolled(), 1)
        self.set_body(body)

    def refresh(self, reading: Reading | None) -> None:
        """Show the contributions of this reading."""
        if reading is None:
            return
        from var_studio.analysis.contributions import contributions

        found = contributions(reading)
        if any(math.isnan(group.sum) for group in found.groups):
            self.show_empty("The value norms of these tokens are not recorded yet.")
            return
        sinks, every = found.groups[2].per_token, found.visual.per_token
        parts = [
            heads_text(reading, "mean"),
            "outline: attention, filled: contribution α · ‖v W_O‖",
        ]
        if not math.isnan(sinks) and every > 0:
            times = number_text(sinks / every)
            parts.insert(0, f"A visual sink adds {times} × the mean visual token")
        self.subject.set_text(" · ".join(parts))
        self.ledger.set_lines(
            [
                Line(_name(group), group.attention, group.share, colour, third=_mean(group))
                for group, colour in zip(found.groups, _COLOURS, strict=True)
            ]
        )


def _name(group: GroupContribution) -> str:
    name = group.name[:1].upper() + group.name[1:]
    return f"{name} ({number_text(group.tokens)})" if "first" not in name.lower() else name


def _mean(group: GroupContribution) -> str:
    return number_text(group.per_token)
