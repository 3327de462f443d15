"""Who gave and who received attention, averaged over the heads in focus (Section 5.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import (
    TEXT,
    TEXT_SINK,
    VISUAL,
    VISUAL_SINK,
    Floats,
    visual_non_sinks,
)

HeadIndex = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Account:
    """Attention mass of one kind of key, before and after redistribution."""

    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """What it received (positive) or gave (negative)."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Ledger:
    """Five accounts that together hold the whole row: BOS (the first token), other text sinks,
    visual sinks, visual non-sinks, other text. BOS has an account of its own, sink or not. NaN:
    over weights that were left out of the session."""

    bos: Account
    text_sinks: Account
    visual_sinks: Account
    visual_non_sinks: Account
    other_text: Account

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All five, in reading order."""
        return (
            self.bos,
            self.text_sinks,
            self.visual_sinks,
            self.visual_non_sinks,
            self.other_text,
        )

    @property
    def budget(self) -> float:
        """Omega: what the receivers got, together; NaN where that is not known."""
        # An account that is not known took no part, or no other is known after it.
        known = [account for account in self.accounts if not math.isnan(account.before)]
        return sum(max(account.change, 0.0) for account in known)

    @property
    def sum_before(self) -> float:
        """The whole row before: 1, up to the precision of the recording."""
        return sum(account.before for account in self.accounts)

    @property
    def sum_after(self) -> float:
        """The whole row after; equal to `sum_before`."""
        return sum(account.after for account in self.accounts)


def mean_ledger(
    bos: Floats,
    bos_after: Floats,
    before: Floats,
    after: Floats,
    bos_visual: bool | np.bool_,
    bos_sink: npt.NDArray[np.bool_],
    heads: HeadIndex | None,
) -> Ledger:
    """Average over `heads` (None: all).

    `bos`, `bos_after` (L, H): attention on the first token. `before`, `after` (L, H, 4 or 5):
    masses of the groups. `bos_sink` (L,): whether the first token is a sink there.
    """

    def mean(values: Floats) -> float:
        return float((values if heads is None else values[heads]).mean(dtype=np.float64))

    sink_group, other_group = (VISUAL_SINK, VISUAL) if bos_visual else (TEXT_SINK, TEXT)
    as_sink, as_sink_after = (values * bos_sink[:, None] for values in (bos, bos_after))
    as_other, as_other_after = bos - as_sink, bos_after - as_sink_after

    def account(name: str, group: int) -> Account:
        inside: Floats | float = 0.0
        inside_after: Floats | float = 0.0
        if group == sink_group:
            inside, inside_after = as_sink, as_sink_after
        elif group == other_group:
            inside, inside_after = as_other, as_other_after
        total, total_after = (
            visual_non_sinks(masses) if group == VISUAL else masses[..., group]
            for masses in (before, after)
        )
        return Account(name, mean(total - inside), mean(total_after - inside_after))

    return Ledger(
        bos=Account("BOS", mean(bos), mean(as_sink_after + as_other_after)),
        text_sinks=account("other text sinks", TEXT_SINK),
        visual_sinks=account("visual sinks", VISUAL_SINK),
        visual_non_sinks=account("visual non-sinks", VISUAL),
        other_text=account("other text", TEXT),
    )
