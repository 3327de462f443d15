"""The same word in two runs: the baseline's row, and the row that the second run used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from var_studio.analysis.compare import Comparison, compare
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.used import as_used

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

Missing = Literal["", "no match", "not yet"]


@dataclass(frozen=True, slots=True)
class Across:
    """Before is `before.map_before`, after is `after.map_after`: what each model went on with.

    One of them is None where the other run has no such word; `missing` then says whether it has
    parted ("no match") or has not come there ("not yet"), be it cut short. `past_divergence`: both
    have the word, but after different ones.
    """

    before: Reading | None
    after: Reading | None
    missing: Missing = ""
    past_divergence: bool = False


class AcrossRuns:
    """Finds the rows of two runs, and keeps what stays the same from one word to the next."""

    def __init__(self) -> None:
        self._comparison: tuple[tuple[object, ...], Comparison] | None = None
        self._kept: dict[str, Reading] = {}

    def rows(self, reading: Reading, baseline: Recording, other: Recording) -> Across:
        """The rows for the word of `reading`, which is of one of the two runs.

        The two runs must match: see `analysis.matching`.
        """
        on_baseline = reading.run is baseline
        position = self.counterpart(reading.run, reading.position, baseline, other)
        second = other if on_baseline else baseline
        query = None if position is None else second.query_of(position)
        if query is None:
            parted = self._compared(baseline, other).first_divergence is not None
            missing: Missing = "no match" if second.finished and parted else "not yet"
            if on_baseline:
                return Across(reading, None, missing)
            return Across(None, self._used(other, reading.focus), missing)
        focus = replace(reading.focus, query=query)
        if on_baseline:
            before, after = reading, self._used(other, focus)
        else:
            previous = self._previous("before", baseline)
            before = self._kept["before"] = Reading(baseline, focus, reading.settings, previous)
            after = self._used(other, reading.focus)
        apart = self._after_divergence(before.position, baseline, other)
        return Across(before, after, past_divergence=apart)

    def counterpart(
        self, run: Recording, position: int, baseline: Recording, other: Recording
    ) -> int | None:
        """The position of the same word in the other run; None where it has none. `run`: the one
        of the two whose `position` is asked about."""
        if run.tokens[position].role != "generated":
            return position
        for pair in self._compared(baseline, other).pairs:
            ours, theirs = pair.baseline, pair.other
            if run is other:
                ours, theirs = theirs, ours
            if ours is not None and ours.position == position:
                same = pair.relation == "same" and theirs is not None
                return theirs.position if same and theirs is not None else None
        return None

    def _used(self, run: Recording, focus: Focus) -> Reading:
        self._kept["after"] = as_used(run, focus, self._previous("after", run))
        return self._kept["after"]

    def _previous(self, name: str, run: Recording) -> Reading | None:
        previous = self._kept.get(name)
        return previous if previous is not None and previous.run is run else None

    def _compared(self, baseline: Recording, other: Recording) -> Comparison:
        key = (id(baseline), id(other), len(baseline.tokens), len(other.tokens))
        if self._comparison is None or self._comparison[0] != key:
            self._comparison = key, compare(baseline, other)
        return self._comparison[1]

    def _after_divergence(self, position: int, baseline: Recording, other: Recording) -> bool:
        first = self._compared(baseline, other).first_divergence
        answer = baseline.generated_positions
        return first is not None and first < len(answer) and position >= int(answer[first])
