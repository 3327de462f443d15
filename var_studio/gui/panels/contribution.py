"""The Contribution panel: sinks take attention, but what do they give? (Fig. 3c)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6 import QtWidgets

from var_studio.figures.words import LEFT_OUT, layers_in_focus, no_dims, undecided_line
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import heads_text, subject
from var_studio.gui.widgets.ledger_view import LedgerView, Line
from var_studio.gui.widgets.plot_frame import TableFrame
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
        "attention contribution ‖α v Wₒ‖ (Sec. 4.2, App. D.3). Outline: the kind's share of the "
        "attention. Filled: its share of the sum of all contributions. Both are in % and sum to "
        "100. The last column is no share: the mean contribution of one token of the kind, in "
        "units of the residual stream, as in Fig. 3c. In the paper's Fig. 3c visual "
        "sinks take much attention and contribute little; other models may differ. Contributions "
        "are norms: what two tokens add may cancel. The row is the recorded one, before "
        "redistribution."
    )
    empty_text = "Click a word of the answer: what each kind of token contributes appears here."
    figure_name = "contribution"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.ledger = LedgerView(
            headings=("attention %", "contribution %", "per token"),
            name="Attention and contribution of each kind of token",
            percent=True,
        )
        self.ledger.setToolTip(
            "Outline: share of the attention. Filled: share of all contributions ‖α v Wₒ‖ "
            "(Sec. 4.2). Last column: mean contribution of one token, in units of the residual "
            "stream, as in Fig. 3c."
        )
        frame = TableFrame(self.ledger.scrolled())
        self.subject, self.note = frame.subject, frame.note
        self.subject.setAccessibleName("What the contributions are of")
        self.note.setAccessibleName("What the bars are")
        self.set_body(frame)

    def refresh(self, reading: Reading | None) -> None:
        """Show the contributions of this reading."""
        if reading is None or self.workspace is None:
            return
        from var_studio.analysis.contributions import contributions

        found = contributions(reading)
        if reading.unknown is None and any(math.isnan(group.sum) for group in found.groups):
            self.show_empty("The value norms of these tokens are not recorded yet.")
            return
        selection, over = self.workspace.selection, heads_text(reading, "mean")
        self.subject.set_text(subject(reading, selection.position, selection.row_of, heads=over))
        sinks, every = found.groups[2].per_token, found.visual.per_token
        parts = ["per token: ‖α v Wₒ‖, no share"]
        if not math.isnan(sinks) and every > 0:
            times = number_text(sinks / every)
            parts.insert(0, f"visual sink: {times} × the mean visual token")
        if reading.unknown is not None:
            parts.append(f"– : {LEFT_OUT}")
        unknown = no_dims(reading) or undecided_line(reading, layers_in_focus(reading))
        self.note.set_text(" · ".join([unknown, *parts] if unknown else parts))
        lines = [
            Line(_name(group), group.attention, group.share, colour, third=_mean(group))
            for group, colour in zip(found.groups, _COLOURS, strict=True)
        ]
        self.ledger.set_lines([*lines, _total(found.groups)])


def _name(group: GroupContribution) -> str:
    name = group.name[:1].upper() + group.name[1:]
    return name if name == "BOS" else f"{name} ({number_text(group.tokens)})"


def _total(groups: Sequence[GroupContribution]) -> Line:
    """All tokens that the row sees."""
    tokens = sum(group.tokens for group in groups)
    mean = sum(group.sum for group in groups) / tokens
    return Line(
        f"All tokens ({number_text(tokens)})",
        sum(group.attention for group in groups),
        sum(group.share for group in groups),
        total=True,
        third=number_text(mean, zeros=True),
    )


def _mean(group: GroupContribution) -> str:
    return number_text(group.per_token, zeros=True)
