"""Image-centric heads: which heads look at the image, for each query (Section 5.1)."""

from __future__ import annotations

from array_api_compat import array_namespace

from var_studio.method.arrays import Array, constant, masked_sum, over_heads, widened
from var_studio.method.conventions import DEFAULT, Convention, rules


def visual_mass(attention: Array, visual: Array) -> Array:
    """Return each row's attention on the image: its sum over visual keys.

    ``attention`` (..., H, Q, T) and ``visual`` (..., T) -> (..., H, Q), 0 to 1, float32 at least.
    """
    return masked_sum(widened(attention), visual)


def sink_mass(attention: Array, sink: Array) -> Array:
    """Return each row's attention on sinks: its sum over the keys of ``sink``, text and visual.

    ``attention`` (..., H, Q, T) and ``sink`` (..., T) -> (..., H, Q), 0 to 1, float32 at least.
    """
    return masked_sum(widened(attention), sink)


def non_sink_ratio(attention: Array, visual: Array, sink: Array) -> Array:
    """Return the visual non-sink ratio r: non-sinks' part of the visual mass (Eq. 3).

    ``attention`` (..., H, Q, T), ``visual`` and ``sink`` (..., T) -> (..., H, Q), 0 to 1, float32
    at least. A row with no visual mass has r = 0: it does not look at the image at all.
    """
    attention = widened(attention)
    return _part_of(masked_sum(attention, visual & ~sink), masked_sum(attention, visual))


def sink_share(
    attention: Array, visual: Array, sink: Array, convention: Convention = DEFAULT
) -> Array:
    """Return visual sinks' part of the visual mass, the number the released code thresholds.

    ``attention`` (..., H, Q, T), ``visual`` and ``sink`` (..., T) -> (..., H, Q), float32 at
    least. In the released code the denominator is the sum of (alpha + 1e-6) over visual keys, so
    the share is a little under 1 - r. A row with no visual mass has share 0.
    """
    attention = widened(attention)
    mass = masked_sum(attention, visual)
    return _sink_share(attention, mass, visual, sink, convention)


def image_centric(
    attention: Array,
    visual: Array,
    sink: Array,
    *,
    rho: float,
    mass_min: float = 0.2,
    convention: Convention = DEFAULT,
) -> Array:
    """Return which heads are image-centric, chosen anew for each query (Section 5.1).

    ``attention`` (..., H, Q, T), ``visual`` and ``sink`` (..., T) -> (..., H, Q) bool.

    Both conventions ask for visual mass >= ``mass_min``. Then the paper asks for r >= ``rho``
    (so a layer with no visual sink has r = 1). The released code asks for sink share <= ``rho``
    (see :func:`sink_share`) and selects no head in a layer with no visual sink. ``rho`` is the
    convention's own number: 0.8 of the paper is about 0.2 of the released code.

    Never image-centric: a row with no visual mass, even at ``rho = mass_min = 0``, and a NaN row.
    """
    xp = array_namespace(attention, visual, sink)
    rule = rules(convention)
    attention = widened(attention)
    # Once for all tests: in a decode step the cost is in the number of operations.
    mass = masked_sum(attention, visual)
    looks_at_image = (mass >= mass_min) & (mass > 0)
    if rule.rho_bounds_sink_share:
        passes = _sink_share(attention, mass, visual, sink, convention) <= rho
    else:
        passes = _part_of(masked_sum(attention, visual & ~sink), mass) >= rho
    selected = looks_at_image & passes
    if rule.selects_without_visual_sink:
        return selected
    return selected & over_heads(xp.any(visual & sink, axis=-1))


def image_centric_share(selected: Array) -> Array:
    """Return the share of image-centric heads for each query (Appendix A.3, Fig. 10).

    ``selected`` (..., L, H, Q) bool -> (..., Q), 0 to 1, float32: selected heads / (L·H).
    """
    xp = array_namespace(selected)
    n_layers, n_heads = selected.shape[-3:-1]
    counts = xp.sum(xp.astype(selected, xp.float32), axis=(-3, -2))
    return counts / max(n_layers * n_heads, 1)


def _sink_share(
    attention: Array, mass: Array, visual: Array, sink: Array, convention: Convention
) -> Array:
    xp = array_namespace(attention, visual, sink)
    epsilon = rules(convention).epsilon_per_visual_token
    n_visual = xp.astype(xp.sum(xp.astype(visual, xp.int32), axis=-1), attention.dtype)
    return _part_of(masked_sum(attention, visual & sink), mass + over_heads(n_visual * epsilon))


def _part_of(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where the whole is 0."""
    xp = array_namespace(part, whole)
    return part / xp.where(whole == 0, constant(whole, 1.0), whole)
