"""The Ledger panel: who gave attention and who received it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6 import QtWidgets

from var_studio.figures.words import LEFT_OUT, layers_in_focus, no_dims, undecided_line
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import heads_text, subject
from var_studio.gui.widgets.ledger_view import LedgerView, Line
from var_studio.gui.widgets.plot_frame import TableFrame
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading

# The order of Ledger.accounts, with the theme's colour for each.
_COLOURS = ("bos", "text_tokens", "sink", "visual", "text_tokens")


class LedgerPanel(Panel):
    """Five accounts that hold the whole row, before and after redistribution; their sum is 1."""

    help_text = (
        "Where the attention of this token and these heads lies, before (outline) and after "
        "(filled) local redistribution: BOS (the first token), other text sinks, visual sinks, "
        "visual non-sinks and other text. The sinks give the share p of what they hold, the "
        "budget Ω; the target receives it (Sec. 5.2, Eq. 4). The row sums to 1 before and after."
    )
    figure_name = "ledger"
    empty_text = "Click a word of the answer: what sinks give and the image gets appears here."

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.ledger = LedgerView()
        frame = TableFrame(self.ledger.scrolled())
        self.subject, self.note = frame.subject, frame.note
        self.subject.setAccessibleName("What the ledger shows")
        self.note.setAccessibleName("What is moved")
        self.set_body(frame)

    def refresh(self, reading: Reading | None) -> None:
        """Show the accounts of this reading."""
        if reading is None or self.workspace is None:
            return
        ledger, selection = reading.ledger, self.workspace.selection
        over = heads_text(reading, "mean")
        self.subject.set_text(subject(reading, selection.position, selection.row_of, heads=over))
        note = _budget(reading)
        if reading.focus.aggregate == "max" and len(reading.focus.heads) != 1:
            note += " · a mean, whatever the maps show: accounts of maxima would not sum to 1"
        if reading.unknown is not None:
            note += f" · – : {LEFT_OUT}"
        unknown = no_dims(reading) or undecided_line(reading, layers_in_focus(reading))
        self.note.set_text(f"{unknown} · {note}" if unknown else note)
        lines = [
            Line(_capital(account.name), account.before, account.after, colour)
            for account, colour in zip(ledger.accounts, _COLOURS, strict=True)
        ]
        total = Line("Sum of the row", ledger.sum_before, ledger.sum_after, total=True)
        self.ledger.set_lines([*lines, total])


def _budget(reading: Reading) -> str:
    heads = reading.focus.heads
    changed = reading.changed
    touched = sum(bool(changed[head]) for head in heads) if heads else int(changed.sum())
    if not touched:
        return "Nothing moves: no head in view is redistributed"
    budget = reading.ledger.budget
    if math.isnan(budget):
        return "What moves is not known: it takes weights that are not in this session's file"
    return f"Local: Ω = {number_text(budget)} moved"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
