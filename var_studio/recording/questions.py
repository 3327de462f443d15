"""What a recording can be asked: ranges, thresholds, and sink dimensions other than its own."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from var_studio.method.conventions import CONVENTIONS
from var_studio.recording.failures import RecordingError, SettingsError

Floats = npt.NDArray[np.float32]


def whole_number(what: str, given: Any) -> int:
    """An int of Python or NumPy. Raises RecordingError for anything else, True and False too."""
    try:
        if isinstance(given, bool | np.bool_):
            raise TypeError
        return operator.index(given)
    except TypeError:
        raise RecordingError(f"{given!r} names no {what}.", "Give a whole number.") from None


def checked_index(what: str, index: int, count: int) -> int:
    """An index from 0 to count - 1. Raises RecordingError that says the range."""
    index = whole_number(what, index)
    if 0 <= index < count:
        return index
    if count == 0:
        raise RecordingError(f"There is no {what} {index}: the run has none.")
    raise RecordingError(f"There is no {what} {index}.", f"It goes from 0 to {count - 1}.")


def check_choice(what: str, given: Any, kind: Any) -> None:
    """Raise RecordingError that lists the choices for what is none of `kind`, a Literal."""
    choices = get_args(kind)
    if not isinstance(given, str) or given not in choices:
        raise RecordingError(f"There is no {what} {given!r}.", f"Choose {', '.join(choices)}.")


def checked_dims(given: Sequence[int]) -> tuple[int, ...]:
    """Sink dimensions as a tuple. Raises SettingsError."""
    try:
        return tuple(operator.index(dim) for dim in given)
    except TypeError:
        raise SettingsError(
            f"sink_dims is {given!r}.", "Choose a list of whole numbers, or None."
        ) from None


def check_sinks(tau: Any, convention: Any) -> None:
    """Raise SettingsError for a threshold or a convention that there is not."""
    if convention not in CONVENTIONS:
        raise SettingsError(
            f"There is no convention {convention!r}.",
            f"Choose {' or '.join(map(repr, CONVENTIONS))}.",
        )
    if tau is not None and not (isinstance(tau, Real) and 0 <= float(tau) < math.inf):
        raise SettingsError(f"tau is {tau!r}.", "Choose a number of at least 0, or None.")


def phi_under(
    wanted: Sequence[int],
    own: Sequence[int],
    signed_values: Floats,
    dims: npt.NDArray[np.int32],
    values: Floats,
) -> Floats:
    """phi (L, T) under other dimensions than the run's `own`, NaN where it is not known.

    `signed_values` (L, T, n) are those of `own`; `dims` and `values` (L, T, 16) the largest of
    every token. Raises RecordingError for a dimension that was recorded nowhere.
    """
    known = np.full(dims.shape[:2], np.nan, np.float32)
    if not wanted:
        return known
    sizes = np.abs(values)
    for dim in wanted:
        if dim in own:
            found = np.abs(signed_values[..., list(own).index(dim)])
        else:
            here = dims == dim
            if not here.any():
                raise RecordingError(
                    f"Dimension {dim} was recorded for no token.",
                    "Choose among the recorded ones, or run again with these sink dimensions.",
                )
            found = np.where(here, sizes, np.nan)
            found = np.fmax.reduce(found, axis=-1)
        known = np.fmax(known, found)
    if set(wanted) <= set(own):
        return known
    # A dimension that is not among the largest 16 cannot exceed the least of them.
    known[known < sizes.min(axis=-1)] = np.nan
    return known
