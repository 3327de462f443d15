"""Axes and guides of a chart as plain values: where a number lies, and which numbers to write."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.gui.widgets.ticks import number_text, tick_values


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high` (> low). `log`: by powers of ten, `low` > 0; what lies below it is drawn
    there. `percent` writes 0.01 as 1; `whole` writes whole numbers only. `end`: what to write at
    `high` in place of its number.
    """

    low: float
    high: float
    name: str = ""
    log: bool = False
    percent: bool = False
    whole: bool = False
    end: str = ""

    def shares(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Where values lie between the ends: 0 at `low`, 1 at `high`."""
        wide = np.asarray(values, dtype=np.float64)
        if not self.log:
            return (wide - self.low) / (self.high - self.low)
        low = math.log10(self.low)
        logs = np.log10(np.maximum(wide, self.low))
        return np.asarray((logs - low) / (math.log10(self.high) - low))

    def value(self, share: float) -> float:
        """The number at a place between the ends, kept within them."""
        share = min(max(share, 0.0), 1.0)
        if not self.log:
            return self.low + share * (self.high - self.low)
        return float(self.low * (self.high / self.low) ** share)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Numbers to write, at most about `most`, and how they read."""
        if self.log:
            return self._powers(most)
        factor = 100.0 if self.percent else 1.0
        values = [v / factor for v in tick_values(self.low * factor, self.high * factor, most)]
        if self.whole:
            values = [v for v in values if abs(v - round(v)) < 1e-9]
        return [(v, number_text(factor * v)) for v in values]

    def _powers(self, most: int) -> list[tuple[float, str]]:
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        step = max(1, -(-(last - first + 1) // max(most, 1)))
        factor = 100.0 if self.percent else 1.0
        return [(10.0**k, number_text(factor * 10.0**k)) for k in range(first, last + 1, step)]


@dataclass(frozen=True, slots=True)
class Guide:
    """A line that stands for a threshold, to be dragged between `low` and `high`.

    `upright`: at a value of the horizontal axis. `colour`: a role of the theme.
    """

    name: str
    upright: bool
    value: float
    text: str
    low: float
    high: float
    colour: str = "sink"
