"""The runs of a session, in order and by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from var_studio.recording.failures import RecordingError, clipped
from var_studio.recording.html import runs_html
from var_studio.recording.recording import Recording


class Runs(Sequence[Recording]):
    """The runs of a session, in order: by number, by name, or one after the other.

    Of several runs of one name, the second goes by "name (2)", and so on: in `names`, as a key
    here, and in the file.
    """

    def __init__(self, runs: Iterable[Recording] = ()) -> None:
        self._runs = list(dict.fromkeys(runs))

    @overload
    def __getitem__(self, key: int | str) -> Recording: ...
    @overload
    def __getitem__(self, key: slice) -> list[Recording]: ...
    def __getitem__(self, key: int | str | slice) -> Recording | list[Recording]:
        """A run by number (negative from the end) or name (one of `names`)."""
        if isinstance(key, slice):
            return self._runs[key]
        if isinstance(key, str):
            for name, run in zip(self.names, self._runs, strict=True):
                if name == key:
                    return run
            names = clipped(", ".join(map(repr, self.names))) or "none"
            raise RecordingError(f"There is no run named {clipped(key)!r}.", f"There are: {names}.")
        try:
            key = operator.index(key)
        except TypeError:
            raise RecordingError(
                f"A run goes by a number or a name, not {type(key).__name__}."
            ) from None
        try:
            return self._runs[key]
        except IndexError:
            if not self._runs:
                raise RecordingError(f"There is no run {key}: there are none.") from None
            count = len(self._runs)
            raise RecordingError(
                f"There is no run {key}.", f"It goes from 0 to {count - 1}, or -{count} to -1."
            ) from None

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Recording]:
        return iter(self._runs)

    def __contains__(self, key: object) -> bool:
        return key in self.names if isinstance(key, str) else any(r is key for r in self._runs)

    @property
    def names(self) -> list[str]:
        """What each run goes by here: its name, with a number where another has it already."""
        return _distinct([run.name for run in self._runs])

    def append(self, run: Recording) -> None:
        if not any(run is kept for kept in self._runs):
            self._runs.append(run)

    def remove(self, run: Recording) -> None:
        """Take a run out of the session; its files stay where they are."""
        self._runs = [kept for kept in self._runs if kept is not run]

    def __repr__(self) -> str:
        return f"Runs({self._runs!r})"

    def _repr_html_(self) -> str:
        return runs_html(self)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with a number that makes them new."""
    taken, given = set(names), set[str]()
    distinct = []
    for name in names:
        number, told = 1, name
        while told in given or (number > 1 and told in taken):
            number += 1
            told = f"{name} ({number})"
        given.add(told)
        distinct.append(told)
    return distinct
