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

    def normalise(self, values: Values) -> npt.NDArray[np.float32]:
        """Values mapped to 0..1 and clipped there; NaN stays NaN. Same shape, float32."""
        scaled = (np.asarray(values, dtype=np.float32) - self.low) / (self.high - self.low)
        return np.asarray(np.clip(scaled, 0.0, 1.0), dtype=np.float32)


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
