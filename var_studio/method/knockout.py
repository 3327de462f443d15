"""Knockout and head ablation: keys hidden from queries (Section 4.2, D.3, Eq. 6-7, App. A.3).

Hiding a key means -inf before the softmax. With the weights at hand that is the same as setting
the key to 0 and dividing the rest by what is left, which is how it is done here: a softmax without
some of its terms is the old one renormalised.

Random choices take ``scores``, uniform numbers that the caller owns; :func:`uniform_scores` makes
them from a seed by hashing, so that a layer draws the same tokens at every step of a run, other
layers draw others, and NumPy and torch agree on every device.
"""

from __future__ import annotations

from typing import Final

from array_api_compat import array_namespace, device

from var_studio.method.arrays import Array, constant, over_rows, widened

_WORD: Final = 0xFFFFFFFF


def visual_sinks(visual: Array, sink: Array) -> Array:
    """Return the visual sinks, the keys that the paper knocks out: (..., T) bool."""
    return visual & sink


def knockout_mask(keys: Array, queries: Array) -> Array:
    """Return which keys each query loses, to be given to :func:`apply`.

    ``keys`` (..., T) bool: the keys to hide. ``queries`` (..., H, Q) bool: from which head and
    query; (Q,) does for all heads. Returns bool that broadcasts to (..., H, Q, T).
    """
    return over_rows(keys) & queries[..., None]


def apply(attention: Array, mask: Array) -> Array:
    """Return attention as if the masked keys had been -inf before the softmax (Eq. 6-7).

    ``attention`` (..., H, Q, T) and ``mask`` (bool, broadcasting to it) -> the same shape and
    dtype. Masked keys are exactly 0 and the row sums to 1. A row that loses no attention comes
    back bit for bit, so applying a mask twice is applying it once.

    A row whose keys are all masked (or whose other weights are all 0) becomes **all zeros**: the
    head adds nothing. A softmax over nothing but -inf would be NaN and spoil every later layer.
    """
    xp = array_namespace(attention, mask)
    alpha = widened(attention)
    nothing = constant(alpha, 0.0)
    kept = xp.where(mask, nothing, alpha)
    left = xp.sum(kept, axis=-1, keepdims=True)
    lost = xp.sum(xp.where(mask, alpha, nothing), axis=-1, keepdims=True)
    renormalised = kept / xp.where(left == 0, constant(left, 1.0), left)
    return xp.where(lost == 0, attention, xp.astype(renormalised, attention.dtype, copy=False))


def ablate_heads(attention: Array, visual: Array, selected: Array) -> Array:
    """Return attention with the image hidden from the selected heads (App. A.3, Fig. 9).

    ``attention`` (..., H, Q, T), ``visual`` (..., T), ``selected`` (..., H, Q) -> the same shape
    and dtype as ``attention``. Pass the image-centric heads, :func:`random_heads` of them, or
    their complement ``~selected``.
    """
    return apply(attention, knockout_mask(visual, selected))


def random_visual(visual: Array, sink: Array, scores: Array) -> Array:
    """Return as many random visual tokens as there are visual sinks (D.3): (..., T) bool.

    Drawn from *all* visual tokens, sinks included, by the lowest ``scores`` ((..., T), uniform in
    [0, 1); below infinity is what counts). Draw new scores for each layer.
    """
    xp = array_namespace(visual, sink, scores)
    count = xp.sum(xp.astype(visual & sink, xp.int32), axis=-1)
    return _lowest(scores, visual, count, axis=-1)


def random_heads(selected: Array, scores: Array) -> Array:
    """Return as many random heads per query as are selected (App. A.3): (..., H, Q) bool.

    Drawn from all heads of the layer, selected ones included, by the lowest ``scores``
    ((..., H, Q), uniform in [0, 1)).
    """
    xp = array_namespace(selected, scores)
    count = xp.sum(xp.astype(selected, xp.int32), axis=-2)
    return _lowest(scores, xp.ones_like(selected), count, axis=-2)


def uniform_scores(
    n: int, *, seed: int, layer: int, like: Array, queries: Array | None = None
) -> Array:
    """Return n pseudo-random numbers in [0, 1) that depend on seed, layer and place alone.

    Returns (n,) float32 on the device of ``like`` (any array: only its library and device count).
    With ``queries``, integer positions (Q,) in the sequence, returns (n, Q): another draw for each
    query, the same however the queries are cut into steps.

    Longer draws extend shorter ones. This is a hash, made for choosing tokens, not a statistician's
    generator; pass your own scores where that matters.
    """
    xp = array_namespace(like)
    start = _mixed(_mixed(_mixed(seed) ^ (seed >> 32)) ^ layer)
    place = xp.arange(n, dtype=xp.int64, device=device(like))
    if queries is None:
        state = place + start
    else:
        state = _mixed(xp.astype(queries, xp.int64) ^ start)[None, :] + place[:, None]
    # 24 bits: every value is exact in float32, and none rounds up to 1.
    return xp.astype(_mixed(state) >> 8, xp.float32) * 2.0**-24


def _lowest(scores: Array, among: Array, count: Array, *, axis: int) -> Array:
    """Mark the ``count`` candidates with the lowest scores along ``axis``, ties by position."""
    xp = array_namespace(scores, among)
    last = xp.where(among, scores, constant(scores, float("inf")))
    rank = xp.argsort(xp.argsort(last, axis=axis), axis=axis)
    return among & (rank < xp.expand_dims(count, axis=axis))


def _mixed(state: Array) -> Array:
    """A 32-bit mixing hash ("lowbias32") of the low word, for ints and int64 arrays alike.

    The products pass 63 bits; wrapping leaves the low word, all that is kept, as it should be.
    """
    word = state & _WORD
    word = (word ^ (word >> 16)) * 0x7FEB352D & _WORD
    word = (word ^ (word >> 15)) * 0x846CA68B & _WORD
    return word ^ (word >> 16)
