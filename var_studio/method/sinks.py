"""Sink tokens: how massive a token's sink dimensions are, and which tokens pass tau (Section 4.1).

``hidden`` is the residual stream that *enters* a decoder layer, before the layer's norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from array_api_compat import array_namespace, device

from var_studio.method.arrays import Array, constant, widened
from var_studio.method.conventions import DEFAULT, Convention, rules


def rms(hidden: Array) -> Array:
    """Return the root mean square that hidden states are divided by: (..., D) -> (...).

    float32 at least. 1 for a state that is all zero, so that its quotients are 0; NaN for one that
    is not finite, or whose square overflows.
    """
    xp = array_namespace(hidden)
    x = widened(hidden)
    found = xp.linalg.vector_norm(x, axis=-1) / x.shape[-1] ** 0.5
    found = xp.where(found == 0, constant(found, 1.0), found)
    return xp.where(found < float("inf"), found, constant(found, float("nan")))


def signed_values(hidden: Array, sink_dims: Sequence[int]) -> Array:
    """Return x[d] / rms(x) for every sink dimension d, with its sign: what a recording stores.

    ``hidden`` (..., T, D) -> (..., T, n), unitless, float32 at least; n = len(sink_dims), in the
    order given. ``sink_dims`` are plain ints (an array on a device would have to be read back).

    A token whose hidden state is all zero gives 0; one that is not finite, or whose square
    overflows, gives NaN. Raises IndexError for a dimension outside 0..D-1.
    """
    xp = array_namespace(hidden)
    size = hidden.shape[-1]
    outside = [d for d in sink_dims if not 0 <= d < size]
    if outside:
        raise IndexError(f"no dimension {outside[0]} in a hidden state of size {size}")

    x = widened(hidden)
    if not sink_dims:
        return xp.zeros((*x.shape[:-1], 0), dtype=x.dtype, device=device(x))
    divisor = rms(x)
    # Slices, not a gather: an index array would have to be copied to the device.
    return xp.stack([x[..., d] / divisor for d in sink_dims], axis=-1)


def phi_from_values(values: Array) -> Array:
    """Return phi from signed values: the largest magnitude over the sink dimensions.

    ``values`` (..., T, n) -> (..., T), float32 at least. With no sink dimension (n = 0) phi is
    undefined: NaN, so that no token is ever a sink.
    """
    xp = array_namespace(values)
    values = widened(values)
    if values.shape[-1] == 0:
        return xp.full(values.shape[:-1], float("nan"), dtype=values.dtype, device=device(values))
    return xp.max(xp.abs(values), axis=-1)


def phi(hidden: Array, sink_dims: Sequence[int]) -> Array:
    """Return the sink-dimension value phi(x) = max over d of abs(x[d]) / rms(x) (Section 4.1).

    ``hidden`` (..., T, D) -> (..., T), unitless, 0 to sqrt(D), float32 at least. NaN where the
    hidden state is not finite and where there is no sink dimension; see :func:`signed_values`.
    """
    return phi_from_values(signed_values(hidden, sink_dims))


def sink_mask(phi: Array, tau: float, convention: Convention = DEFAULT) -> Array:
    """Return which tokens are sinks: phi >= tau, or phi > tau in the released code.

    ``phi`` (..., T) -> (..., T) bool, visual and text tokens alike. NaN is never a sink. The
    other two limits of the released code (no sink before layer 2, none among generated tokens)
    need to know the layer and the prompt: :func:`restrict_sinks`.
    """
    phi = widened(phi)
    return phi >= tau if rules(convention).sink_at_tau else phi > tau


def restrict_sinks(
    sink: Array,
    *,
    layers: int | range,
    prompt_length: int,
    convention: Convention = DEFAULT,
) -> Array:
    """Drop the sinks that a convention never looks for; the paper's lose none.

    ``sink`` is (..., T) for one layer (``layers`` an int) or (..., L, T) with ``layers`` the
    range of layers along that axis. Returns the same shape. In the released code, layers 0 and 1
    have no sinks, nor have the keys from ``prompt_length`` on.
    """
    xp = array_namespace(sink)
    rule = rules(convention)
    on = device(sink)
    if not rule.generated_sinks:
        sink = sink & (xp.arange(sink.shape[-1], device=on) < prompt_length)
    if isinstance(layers, range):
        layer = xp.arange(layers.start, layers.stop, layers.step, device=on)[:, None]
        return sink & (layer >= rule.first_sink_layer)
    if layers < rule.first_sink_layer:
        return xp.zeros_like(sink)
    return sink
