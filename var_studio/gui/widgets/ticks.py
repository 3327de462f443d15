"""Numbers on axes: round tick values, short texts, and labels that never collide."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def round_step(least: float) -> float:
    """Smallest of 1, 2, 5 times a power of ten that is at least `least` (> 0)."""
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if factor * power >= least * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def index_step(count: int, pixels_each: float, label_pixels: float) -> int:
    """Label every how many of `count` rows or columns, so that the labels keep apart."""
    if count <= 1 or pixels_each <= 0:
        return 1
    least = label_pixels / pixels_each
    return 1 if least <= 1 else min(count, int(round_step(least)))


def tick_values(low: float, high: float, most: int) -> list[float]:
    """Round values between two finite limits, at most about `most` of them."""
    if not high > low or most < 1:
        return [low]
    step = round_step((high - low) / most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def number_text(value: float, digits: int = 3, zeros: bool = False) -> str:
    """A number as people read it: 0.0123, 12.3, 1.2·10⁻⁵; a dash for NaN. `zeros`: keep those at
    its end, as in a column: 0.0850."""
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    # 100 · 1e-6 lies a rounding error below 1e-4.
    if size < 1e-4 * (1 - 1e-9) or size >= 1e5:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        power = str(int(exponent)).translate(_SUPERSCRIPTS)
        return f"{_minus(mantissa.removesuffix('.0'))}·10{power}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:.{decimals}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text and not zeros else text)


def signed_text(value: float) -> str:
    """A change as people read it: +0.0123, −1.2·10⁻⁵, 0."""
    return ("+" if value > 0 else "") + number_text(value)


def setting_text(value: float, least: int = 0) -> str:
    """A setting as it is used: up to three decimals, of which `least` always stand."""
    whole, _, decimals = f"{value:.3f}".partition(".")
    decimals = decimals.rstrip("0").ljust(least, "0")
    return _minus(f"{whole}.{decimals}" if decimals else whole)


def _minus(text: str) -> str:
    return text.replace("-", "−")
