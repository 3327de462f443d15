"""What each kind of token adds to the residual stream, beside its attention (Fig. 3c, App. D.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from var_studio.analysis.groups import Bools, Floats, sums_over
from var_studio.analysis.reading import Reading
from var_studio.recording.questions import check_choice

KINDS = (
    "BOS",
    "other text sinks",
    "visual sinks",
    "visual non-sinks",
    "other text",
)
"""The groups, in this order: each key of the row is in one of them, as in the ledger. BOS is the
first token of the sequence, whatever it is."""


Quantity = Literal["attention", "contribution"]
"""What a map shows of each visual token: its attention, or attention times the norm of v W_O."""


def visual_map(
    reading: Reading, moment: Literal["before", "after"], quantity: Quantity = "attention"
) -> Floats:
    """(V,) float32: what the row in focus gives or takes from each visual token, over the heads in
    focus. A contribution is in units of the residual stream (Sec. 4.2); redistribution leaves
    v W_O as it is, so that after it only the attention is another (Sec. 5.2)."""
    check_choice("quantity", quantity, Quantity)
    if quantity == "attention":
        return reading.map(moment)
    rows = reading.attention if moment == "before" else reading.redistributed
    norm, positions = reading.run.value_norm(), reading.positions
    if reading.focus.heads:
        layers, heads = np.array(reading.focus.heads).T
        rows, norm = rows[layers, heads], norm[layers, heads]
    added = rows[..., positions] * norm[..., positions]
    over = tuple(range(added.ndim - 1))
    found = added.mean(axis=over) if reading.focus.aggregate == "mean" else added.max(axis=over)
    return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class GroupContribution:
    """A group of keys, over the heads in focus.

    `tokens`: how many keys, mean over the heads. `attention`: their part of the row. `sum`: sum of
    their contributions alpha · norm(v W_O), mean over the heads; norms, so what two keys add may
    cancel in the stream. `share`: the part of all keys' sum. `per_token`: mean contribution of one
    key of the group, NaN without any. Contributions are in units of the residual stream.
    """

    name: str
    tokens: float
    attention: float
    sum: float
    share: float
    per_token: float


@dataclass(frozen=True, slots=True)
class Contributions:
    """The five groups of `KINDS`, and `visual`: all visual tokens, the baseline of Fig. 3c."""

    groups: tuple[GroupContribution, ...]
    visual: GroupContribution


def contributions(reading: Reading) -> Contributions:
    """Attention and contribution of each group of keys, over the heads in focus (Sec. 4.2)."""
    chosen, seen = reading.focus.heads, reading.position + 1
    rows, norm = reading.attention[..., :seen], reading.run.value_norm()[..., :seen]
    groups = _groups(reading, seen)
    if chosen:
        layers, heads = np.array(chosen).T
        rows, norm, groups = (
            rows[layers, heads][:, None],
            norm[layers, heads][:, None],
            groups[layers],
        )
    # Heads of one layer share its groups.
    unknown = None if reading.unknown is None else reading.unknown[:seen]
    mass, amount = sums_over(rows, groups, unknown), sums_over(rows * norm, groups, unknown)
    counts = np.broadcast_to(groups.sum(axis=1)[:, None], mass.shape)
    return _summed(mass.reshape(-1, 5), amount.reshape(-1, 5), counts.reshape(-1, 5))


def _groups(reading: Reading, seen: int) -> Floats:
    """(L, seen, 5) float32 of 0 and 1: the kind of each key that the row sees."""
    visual, sinks = reading.visual[:seen], reading.sinks[:, :seen]
    first: Bools = np.arange(seen) == 0
    weights = np.empty((*sinks.shape, 5), dtype=np.float32)
    weights[..., 0] = first & ~visual
    weights[..., 1] = sinks & ~visual & ~first
    weights[..., 2] = sinks & visual
    weights[..., 3] = ~sinks & visual
    weights[..., 4] = ~sinks & ~visual & ~first
    return weights


def _summed(mass: Floats, amount: Floats, counts: Floats) -> Contributions:
    """From sums over keys (n, 5) for each of n heads, and the keys they are over."""
    total = float(amount.mean(axis=0, dtype=np.float64).sum())

    def group(name: str, which: list[int]) -> GroupContribution:
        added = amount[:, which].astype(np.float64).sum(axis=1)
        keys = counts[:, which].astype(np.float64).sum(axis=1)
        return GroupContribution(
            name=name,
            tokens=float(keys.mean()),
            attention=float(mass[:, which].astype(np.float64).sum(axis=1).mean()),
            sum=float(added.mean()),
            share=0.0 if total == 0 else float(added.mean() / total),
            per_token=float(added.sum() / keys.sum()) if keys.any() else float("nan"),
        )

    return Contributions(
        groups=tuple(group(name, [index]) for index, name in enumerate(KINDS)),
        visual=group("all visual tokens", [2, 3]),
    )
