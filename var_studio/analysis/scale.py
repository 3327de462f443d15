"""Limits of a colour scale: full, robust to a few sinks, or symmetric about zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """The values at the two ends of a colour scale; `low < high`, both finite.

    `clipped` is True where some value lies above `high` or below `low`, so that a colour bar can
    say so with a pointed end.
    """

    low: float
    high: float
    clipped: bool = False

    def normalise(self, values: Values, gamma: float = 1.0) -> npt.NDArray[np.float32]:
        """Values mapped to 0..1 and clipped there, as `placed`. Same shape, float32."""
        return placed(values, self.low, self.high, gamma)


def full_limits(*values: Values, low: float | None = 0.0) -> Limits:
    """From `low` (None: the smallest value) to the largest finite value of all arrays."""
    finite = _finite(values)
    if finite.size == 0:
        return Limits(0.0, 1.0)
    bottom = float(finite.min()) if low is None else low
    return _limits(bottom, float(finite.max()), finite)


def robust_limits(
    *values: Values,
    share: float = 0.99,
    hide: npt.NDArray[np.bool_] | None = None,
    low: float | None = 0.0,
) -> Limits:
    """Limits that one sink cannot stretch: the top is the `share` quantile of the finite values.

    `hide` (same shape as each array, or broadcast to it) leaves tokens out, for instance sinks.
    With fewer values than 1 / (1 - share) the second largest value is the top. Values above it
    are drawn in the last colour. Raises ValueError where share is outside (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share is {share}; it must lie in (0, 1]")
    kept = values
    if hide is not None:
        kept = tuple(np.asarray(v)[~np.broadcast_to(hide, np.shape(v))] for v in values)
    finite = _finite(kept)
    if finite.size == 0:
        return full_limits(*values, low=low)
    bottom = float(finite.min()) if low is None else low
    return _limits(bottom, float(np.quantile(finite, share, method="lower")), _finite(values))


def symmetric_limits(*values: Values, share: float = 1.0) -> Limits:
    """-m to m, m the `share` quantile of the absolute finite values: zero is in the middle."""
    finite = _finite(values)
    if finite.size == 0:
        return Limits(-1.0, 1.0)
    top = float(np.quantile(np.abs(finite), share, method="lower"))
    if top <= 0.0:
        top = float(np.abs(finite).max())
    if top <= 0.0:
        return Limits(-1.0, 1.0)
    return Limits(-top, top, bool((np.abs(finite) > top).any()))


def placed(values: Values, low: float, high: float, gamma: float = 1.0) -> npt.NDArray[np.float32]:
    """Where on a colour scale values stand, 0 to 1, those beyond its limits at its ends.

    Gamma bends the scale from 0 on, on both sides where the limits enclose it: below 1 it spreads
    the small values apart. NaN stays NaN. Returns the shape of `values`, float32.
    """
    span = high - low if high > low else 1.0
    place = np.clip((np.asarray(values, dtype=np.float32) - np.float32(low)) / span, 0.0, 1.0)
    if gamma == 1.0:
        return np.asarray(place, dtype=np.float32)
    zero = min(max(-low / span, 0.0), 1.0)
    reach = np.where(place < zero, zero, 1.0 - zero)
    away = (place - zero) / np.maximum(reach, 1e-12)
    return np.asarray(zero + np.sign(away) * np.abs(away) ** gamma * reach, dtype=np.float32)


def value_at(place: Values, low: float, high: float, gamma: float = 1.0) -> npt.NDArray[np.float64]:
    """The value that stands at a place (0 to 1) of a colour scale: the inverse of `placed`."""
    place = np.asarray(place, dtype=np.float64)
    span = high - low
    zero = min(max(-low / span, 0.0), 1.0)
    reach = np.maximum(np.where(place < zero, zero, 1.0 - zero), 1e-12)
    away = (place - zero) / reach
    bent = np.sign(away) * np.abs(away) ** (1 / gamma) * reach
    return np.asarray(low + (zero + bent) * span)


def _limits(low: float, high: float, finite: Values) -> Limits:
    if high <= low:
        top = float(finite.max())
        # All equal, or nothing above the bottom: any width will do, as long as it is not zero.
        high = top if top > low else low + (abs(low) or 1.0)
    return Limits(low, high, bool((finite > high).any() or (finite < low).any()))


def _finite(values: Iterable[Values]) -> Values:
    flat = [np.asarray(v).ravel() for v in values]
    joined = np.concatenate(flat) if flat else np.empty(0)
    return joined[np.isfinite(joined)]
