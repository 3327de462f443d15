"""The paper's equations as plain loops over Python floats: what the array code is checked against.

Written from the paper (and, where named, from the table of differences), with no array operation
and no import from ``var_studio``. One layer at a time: attention[h][q][j], visual[j], sink[j].
``layers`` applies any of them along one leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Rows = Any


def phi(hidden: Rows, dims: Iterable[int]) -> np.ndarray:
    """Section 4.1: max over d of | x[d] / sqrt(1/D · sum x²) |."""
    found = []
    for token in hidden:
        squares = 0.0
        for coordinate in token:
            squares += float(coordinate) ** 2
        rms = math.sqrt(squares / len(token))
        best = 0.0
        for d in dims:
            best = max(best, abs(float(token[d]) / rms))
        found.append(best)
    return np.array(found)


def total(row: Rows, keys: Iterable[Any]) -> float:
    """Sum of a row over the keys that are marked."""
    return math.fsum(float(weight) for weight, marked in zip(row, keys, strict=True) if marked)


def ratio(row: Rows, visual: Rows, sink: Rows) -> float:
    """Eq. 3; 0 for a row with no visual mass."""
    mass = total(row, visual)
    if mass == 0:
        return 0.0
    return total(row, [v and not s for v, s in zip(visual, sink, strict=True)]) / mass


def code_share(row: Rows, visual: Rows, sink: Rows) -> float:
    """The released code's sink share: 1e-6 per visual token in the denominator."""
    above = total(row, [v and s for v, s in zip(visual, sink, strict=True)])
    below = math.fsum(float(w) + 1e-6 for w, v in zip(row, visual, strict=True) if v)
    return above / below if below else 0.0


def image_centric(
    row: Rows, visual: Rows, sink: Rows, rho: float, mass_min: float, convention: str
) -> bool:
    """Section 5.1, or the table's line for the released code."""
    mass = total(row, visual)
    if mass < mass_min or mass == 0:
        return False
    if convention == "paper":
        return ratio(row, visual, sink) >= rho
    if not any(v and s for v, s in zip(visual, sink, strict=True)):
        return False
    return code_share(row, visual, sink) <= rho


def redistribute(
    row: Rows,
    visual: Rows,
    sink: Rows,
    *,
    p: float,
    target: Any = "visual",
    source: str = "all",
    convention: str = "paper",
    sign: float = 1.0,
) -> list[float]:
    """Section 5.2, Eq. 4, for a selected row. ``sign`` -1 is wrong on purpose."""
    taken, kept = (p, 1.0 - p) if convention == "paper" else (1.0 - p, p)
    n_keys = len(row)
    gives, receives = [], []
    for j in range(n_keys):
        kind = "visual" if visual[j] else "text"
        gives.append(bool(sink[j]) and source in ("all", kind))
        wanted = target in ("both", kind) if isinstance(target, str) else bool(target[j])
        receives.append(wanted and not sink[j])
    omega = taken * total(row, gives)
    pool = total(row, receives)
    if omega == 0 or pool == 0:
        return [float(weight) for weight in row]
    new = []
    for j in range(n_keys):
        weight = float(row[j])
        if gives[j]:
            weight = kept * weight
        elif receives[j]:
            weight = weight + sign * omega * weight / pool
        new.append(weight)
    return new


def softmax(logits: Rows, hidden_keys: Iterable[Any]) -> list[float]:
    """Eq. 6 with M = -inf at the hidden keys; all zeros if nothing is left."""
    open_logits = [
        float(logit) for logit, hidden in zip(logits, hidden_keys, strict=True) if not hidden
    ]
    if not open_logits:
        return [0.0 for _ in logits]
    top = max(open_logits)
    below = math.fsum(math.exp(logit - top) for logit in open_logits)
    return [
        0.0 if hidden else math.exp(float(logit) - top) / below
        for logit, hidden in zip(logits, hidden_keys, strict=True)
    ]


def contribution(weight: float, value: Rows, output_weight: Rows) -> float:
    """Section 4.2: the norm of alpha · v W_O for one head and key."""
    d, size = len(value), len(output_weight[0])
    squares = []
    for column in range(size):
        mixed = math.fsum(float(value[k]) * float(output_weight[k][column]) for k in range(d))
        squares.append((weight * mixed) ** 2)
    return math.sqrt(math.fsum(squares))


def rows(attention: np.ndarray, of_row: Callable[[Any, int, int], Any]) -> np.ndarray:
    """Apply ``of_row(row, h, q)`` to each row of attention (H, Q, T)."""
    return np.array(
        [
            [of_row(attention[h, q], h, q) for q in range(attention.shape[1])]
            for h in range(attention.shape[0])
        ]
    )
