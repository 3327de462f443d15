"""Parts of arrays by name, and arrays with names on their axes (xarray)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from var_studio.errors import VarStudioError, missing_library
from var_studio.recording.questions import checked_index, whole_number

if TYPE_CHECKING:
    import xarray

Array: TypeAlias = npt.NDArray[Any]
Pick: TypeAlias = int | slice | Sequence[int] | Literal["mean"] | None
"""Of an axis: one index (the axis goes), a slice or a list, the mean over it, or None: all. An
array is a list of indices, or of bool a mask as long as the axis; of no dimension an index."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Values with the names of their axes; `index`: what each axis that was chosen from stands for.

    `index` has the numbers along an axis that is still there, and the one number of an axis that
    went; of a mean its numbers, and the axis in `means`.
    """

    values: Array
    dims: tuple[str, ...]
    index: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    means: tuple[str, ...] = ()

    def taken(self, **picks: Pick) -> Labelled:
        """A part, by the name of each axis. Raises VarStudioError for what is not there."""
        values, dims, index, means = self.values, list(self.dims), dict(self.index), self.means
        for dim, chosen in picks.items():
            axis = dims.index(dim)
            numbers = index.get(dim, np.arange(values.shape[axis]))
            at = indices(dim, chosen, len(numbers))
            index[dim] = numbers[at]
            if chosen is None:
                continue
            if isinstance(chosen, str):
                mean = values.take(at, axis).mean(axis=axis, dtype=np.float64)
                values, means = np.asarray(mean, dtype=np.float32), (*means, dim)
                del dims[axis]
            elif several(chosen):
                values = values.take(at, axis)
            else:
                values = values[(slice(None),) * axis + (int(at[0]),)]
                del dims[axis]
        values.setflags(write=False)
        return Labelled(values, tuple(dims), index, means)

    def to_xarray(
        self,
        name: str,
        coords: Mapping[str, tuple[tuple[str, ...], Array]],
        attributes: Mapping[str, Any],
    ) -> xarray.DataArray:
        """As an xarray.DataArray: axes get their numbers, `coords` more. Axes that went are in the
        attributes. Raises VarStudioError where xarray is not installed."""
        try:
            import xarray
        except ImportError as error:
            missing = missing_library(error)
            raise VarStudioError(
                "Arrays with named axes need xarray, which is not installed."
                if missing is None or isinstance(error, ModuleNotFoundError)
                else missing.what,
                "Install it: pip install 'var-studio[xarray]'; without as_xarray you get NumPy.",
            ) from error
        axes = {dim: (dim, self.index[dim]) for dim in self.dims if dim in self.index}
        said = {
            dim: f"mean over {len(numbers)}" if dim in self.means else int(numbers[0])
            for dim, numbers in self.index.items()
            if dim not in self.dims
        }
        return xarray.DataArray(
            self.values,
            dims=self.dims,
            coords={**axes, **dict(coords)},
            name=name,
            attrs={**said, **attributes},
        )


def several(chosen: Any) -> bool:
    """Whether a choice is of a stretch or a list, so that the axis stays, and not of one index."""
    return isinstance(chosen, slice | Sequence) or (
        isinstance(chosen, np.ndarray) and chosen.ndim > 0
    )


def indices(what: str, chosen: Pick, count: int) -> npt.NDArray[np.int64]:
    """The numbers that a choice means, of 0 to count - 1. Raises VarStudioError for none."""
    if isinstance(chosen, str | bytes) and chosen != "mean":
        raise _no_choice(what, chosen)
    if chosen is None or isinstance(chosen, str):
        found = np.arange(count)
    elif isinstance(chosen, slice):
        try:
            found = np.arange(count)[chosen]
        except (TypeError, ValueError):
            raise _no_choice(what, chosen) from None
    elif several(chosen):
        found = _listed(what, chosen, count)
    else:
        try:
            number = whole_number(what, chosen)
        except VarStudioError:
            raise _no_choice(what, chosen) from None
        return np.array([checked_index(what, number, count)])
    if not len(found):
        raise VarStudioError(f"No {what} is chosen.", f"It goes from 0 to {count - 1}.")
    return found


def _listed(what: str, chosen: Any, count: int) -> npt.NDArray[np.int64]:
    """The numbers of a list or an array, or those where a mask is true."""
    listed = list(chosen)
    if listed and all(isinstance(each, bool | np.bool_) for each in listed):
        if len(listed) != count:
            raise VarStudioError(
                f"A mask of {len(listed)} does not fit {count} of a {what}.",
                "Give one as long as the axis, or numbers.",
            )
        return np.flatnonzero(listed)
    return np.array([checked_index(what, each, count) for each in listed], dtype=np.int64)


def _no_choice(what: str, chosen: Any) -> VarStudioError:
    return VarStudioError(
        f"{chosen!r} is no choice of a {what}.",
        'Give a whole number, a slice, a list of numbers, a mask, or "mean".',
    )
