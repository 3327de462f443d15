"""Visual attention redistribution: sinks give a budget, others receive it (Section 5.2).

A row is redistributed where its head is selected, its giving sinks have something to give and its
receivers have some attention to grow by. Every other row comes back bit for bit:

- ``p`` that takes nothing, no sinks, or sinks without attention: no budget;
- no receivers, or receivers without attention: the budget has nowhere to go, so the sinks keep it
  (handing it out evenly would invent attention, and on keys after the query too);
- NaN in the budget or among the receivers.

Once is not twice: a second pass takes from what the first left, and p1 then p2 equals one pass
with 1 - (1 - p1)(1 - p2). Only p = 1 and taking nothing are idempotent.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

from array_api_compat import array_namespace, device

from var_studio.method.arrays import Array, constant, masked_sum, over_rows, widened
from var_studio.method.conventions import DEFAULT, Convention, share_kept, share_taken

Target: TypeAlias = Literal["visual", "text", "both"]
Source: TypeAlias = Literal["all", "visual", "text"]


class Ledger(NamedTuple):
    """Who lost and gained what, per row: every field is (..., H, Q), float32 at least.

    bos + text_sinks + visual_sinks gave what visual + text received, which is ``budget``.
    """

    budget: Array
    """Omega, as handed out: 0 in a row that is left as it was."""
    bos_gave: Array
    text_sinks_gave: Array
    """Text sinks other than BOS."""
    visual_sinks_gave: Array
    visual_received: Array
    text_received: Array
    sum_before: Array
    """The row's sum over all keys, as it came in."""
    sum_after: Array
    """The row's sum over all keys after redistribution, in the dtype of the attention."""
    redistributed: Array
    """Bool: whether the row changed."""


def receivers(visual: Array, sink: Array, target: Target | Array = "visual") -> Array:
    """Return the keys that receive the budget, (..., T) bool: those of the target minus all sinks.

    ``target`` is "visual" (the method), "text" (every key that is not visual: system,
    instruction, generated), "both" (Table 5), or a bool array (..., T) of keys, for example the
    tokens of a painted region. Raises ValueError for another word.
    """
    if not isinstance(target, str):
        return target & ~sink
    if target == "visual":
        return visual & ~sink
    if target == "text":
        return ~(visual | sink)
    if target == "both":
        return ~sink
    raise ValueError(f"no target {target!r}: it is one of {', '.join(get_args(Target))}, or keys")


def givers(visual: Array, sink: Array, source: Source = "all") -> Array:
    """Return the sinks that give, (..., T) bool: all of them (the method), or one kind.

    Sinks that do not give keep their attention, and receive nothing. Raises ValueError for a word
    other than "all", "visual" and "text".
    """
    if source == "all":
        return sink
    if source == "visual":
        return sink & visual
    if source == "text":
        return sink & ~visual
    raise ValueError(f"no source {source!r}: it is one of {', '.join(get_args(Source))}")


def redistribute(
    attention: Array,
    visual: Array,
    sink: Array,
    selected: Array,
    *,
    p: float,
    target: Target | Array = "visual",
    convention: Convention = DEFAULT,
    source: Source = "all",
) -> Array:
    """Return attention with the sinks' budget moved to the receivers (Section 5.2, Eq. 4).

    ``attention`` (..., H, Q, T), ``visual`` and ``sink`` (..., T), ``selected`` (..., H, Q) ->
    (..., H, Q, T) in the dtype of ``attention``. Each row keeps its sum.

    In a selected row a giving sink keeps (1 - p)·alpha, the budget is Omega = p · their sum, and a
    receiver gets alpha + Omega · alpha / (sum over receivers). In the released code p is the
    share that sinks *keep*. Which queries to touch (text only) is the caller's choice, made by the
    rows passed or by ``selected``. The module says which rows come back unchanged.

    Raises ValueError unless 0 <= p <= 1, or for an unknown target, source or convention.
    """
    xp = array_namespace(attention, visual, sink, selected)
    gives, receives = givers(visual, sink, source), receivers(visual, sink, target)
    alpha = widened(attention)
    budget, pool, moves = _movement(alpha, gives, receives, selected, share_taken(p, convention))

    # Each receiver's share first: budget / pool overflows when they all have next to nothing.
    divisor = xp.where(moves, pool, constant(pool, 1.0))[..., None]
    share = xp.where(over_rows(receives), alpha, constant(alpha, 0.0)) / divisor
    moved = alpha + budget[..., None] * share
    moved = xp.where(over_rows(gives), alpha * share_kept(p, convention), moved)
    return xp.where(moves[..., None], xp.astype(moved, attention.dtype, copy=False), attention)


def ledger(
    attention: Array,
    visual: Array,
    sink: Array,
    selected: Array,
    *,
    p: float,
    target: Target | Array = "visual",
    convention: Convention = DEFAULT,
    source: Source = "all",
    bos: int | None = 0,
) -> Ledger:
    """Return who gave and received what in each row of :func:`redistribute` (same arguments).

    ``bos`` is the key of the BOS token, None if there is none. Gifts and receipts follow from the
    equations; ``sum_after`` is summed over the redistributed rows, as a check on them.
    """
    xp = array_namespace(attention, visual, sink, selected)
    gives, receives = givers(visual, sink, source), receivers(visual, sink, target)
    alpha = widened(attention)
    taken = share_taken(p, convention)
    budget, pool, moves = _movement(alpha, gives, receives, selected, taken)
    nothing = constant(alpha, 0.0)
    is_bos = xp.arange(alpha.shape[-1], device=device(alpha)) == (-1 if bos is None else bos)

    def gave(keys: Array) -> Array:
        return xp.where(moves, taken * masked_sum(alpha, gives & keys), nothing)

    def received(keys: Array) -> Array:
        part = masked_sum(alpha, receives & keys) / xp.where(moves, pool, constant(pool, 1.0))
        return xp.where(moves, budget * part, nothing)

    after = redistribute(
        attention, visual, sink, selected, p=p, target=target, convention=convention, source=source
    )
    return Ledger(
        budget=xp.where(moves, budget, nothing),
        bos_gave=gave(~visual & is_bos),
        text_sinks_gave=gave(~visual & ~is_bos),
        visual_sinks_gave=gave(visual),
        visual_received=received(visual),
        text_received=received(~visual),
        sum_before=xp.broadcast_to(xp.sum(alpha, axis=-1), moves.shape),
        sum_after=xp.sum(widened(after), axis=-1),
        redistributed=moves,
    )


def _movement(
    alpha: Array, gives: Array, receives: Array, selected: Array, taken: float
) -> tuple[Array, Array, Array]:
    """Return Omega, the receivers' sum, and whether the row moves: each (..., H, Q)."""
    budget = taken * masked_sum(alpha, gives)
    pool = masked_sum(alpha, receives)
    return budget, pool, selected & (budget > 0) & (pool > 0)
