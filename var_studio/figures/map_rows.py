"""What a map compares: one row and its redistribution, or the same word in two runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.across import Across, AcrossRuns
from var_studio.analysis.contributions import Quantity, visual_map
from var_studio.analysis.reading import Reading
from var_studio.analysis.views import ShownViews
from var_studio.errors import VarStudioError
from var_studio.figures.origin import origin
from var_studio.figures.two_answers import GLOBAL, check_match, run_json, run_names
from var_studio.figures.words import acts_line, heads_line, sinks_line, token_said
from var_studio.recording.recording import Recording

LOCAL = "local (live)"


class NoCounterpartError(VarStudioError):
    """A word that only one of two runs has."""


@dataclass(frozen=True, slots=True)
class MapRows:
    """The readings that before and after are taken from: one and the same for a local map.

    `past_divergence`: see `analysis.across`. `quantity`: what of each token the maps show.
    """

    before: Reading
    after: Reading
    past_divergence: bool = False
    quantity: Quantity = "attention"

    @property
    def comparison(self) -> str:
        """Which of the two kinds of comparison it is, in words."""
        return LOCAL if self.before is self.after else GLOBAL

    @property
    def values(self) -> dict[str, npt.NDArray[np.float32]]:
        """Before, after and after minus before of the visual tokens, each (V,)."""
        before = visual_map(self.before, "before", self.quantity)
        after = visual_map(self.after, "after", self.quantity)
        if self.before is self.after and self.quantity == "attention":
            return {"before": before, "after": after, "difference": self.before.map_difference}
        return {"before": before, "after": after, "difference": after - before}

    @property
    def sinks(self) -> dict[str, npt.NDArray[np.bool_]]:
        """The visual sinks boxed with each map, each (V,)."""
        after = self.after.visual_sinks
        return {"before": self.before.visual_sinks, "after": after, "difference": after}

    @property
    def titles(self) -> dict[str, str]:
        """What stands over each map."""
        if self.before is self.after:
            return {"before": "before", "after": "after (local)", "difference": "after − before"}
        return {"before": "baseline run", "after": "second run", "difference": "second − baseline"}

    def note(self, shown: ShownViews) -> str:
        """What is compared with what, and which sinks are boxed, in sentences."""
        sinks = sinks_line(self.before, shown)
        if self.before is self.after:
            return f"Local (live): {heads_line(self.after)} {sinks} {acts_line(self.after)}."
        one, other = run_names(self.before.run, self.after.run)
        forced = ", teacher-forced" if self.after.run.teacher is not None else ""
        line = f"Global (two runs): baseline run “{one}”, second run “{other}”{forced}."
        here, there = (token_said(each.run, each.chosen) for each in (self.before, self.after))
        if there != here:
            line += f" There the word is {there}."
        if self.past_divergence:
            line += " The answers have parted before this word."
        after = sinks_line(self.after, shown)
        boxed = sinks if after == sinks else f"Baseline: {sinks} Second run: {after}"
        return f"{line} {boxed} {acts_line(self.after)}."

    def about(self) -> dict[str, Any]:
        """The figure's metadata, as plain JSON; `redistribution` is what made after."""
        found = {
            **origin("map", self.after),
            "comparison": self.comparison,
            "quantity": self.quantity,
        }
        if self.before is self.after:
            return found
        before = origin("map", self.before)
        kept = {key: before[key] for key in ("token", "row_position", "query", "tau", "sink_dims")}
        return {
            **found,
            "before": {**run_json(self.before.run), **kept},
            "past_divergence": self.past_divergence,
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Maps whole and view by view, cells, phi and sinks."""
        reading, values = self.before, self.values
        layout = reading.run.layout
        arrays: dict[str, npt.NDArray[Any]] = dict(values)
        for index in range(len(layout.views)):
            for name, map_ in values.items():
                arrays[f"view{index}_{name}"] = layout.grid(index, map_)
        arrays["comparison"] = np.array(self.comparison)
        arrays["positions"] = layout.positions
        arrays["boxes"] = layout.boxes
        return {**arrays, **_phi_and_sinks(self, "sinks")}

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """One line for each visual token."""
        layout = self.before.run.layout
        cells = [layout.cell_of(k) or (-1, -1, -1) for k in range(layout.count)]
        view, row, col = np.asarray(cells, dtype=np.int64).reshape(-1, 3).T
        left, top, right, bottom = layout.boxes.T
        return {
            "comparison": np.full(layout.count, self.comparison),
            "token": np.arange(layout.count),
            "position": layout.positions,
            "view": view,
            "row": row,
            "col": col,
            "left": left,
            "top": top,
            "right": right,
            "bottom": bottom,
            **self.values,
            **_phi_and_sinks(self, "sink"),
        }


def across_runs(
    reading: Reading, baseline: Recording, second: Recording, rows: AcrossRuns | None = None
) -> MapRows:
    """The rows of a global map: `reading` is of one of two runs that match.

    Raises MismatchError where they do not, NoCounterpartError for a word that only one has.
    """
    check_match(baseline, second)
    found: Across = (rows or AcrossRuns()).rows(reading, baseline, second)
    if found.before is not None and found.after is not None:
        return MapRows(found.before, found.after, found.past_divergence)
    word = token_said(reading.run, reading.position)
    if found.missing == "not yet":
        raise NoCounterpartError(
            f"The other run has not come to {word}.",
            "Choose an earlier word, or wait while it is being written.",
        )
    raise NoCounterpartError(
        f"{word} has no counterpart in the other run: the two answers differ there.",
        "Choose a word that both answers have, or one of the question (--token, --tokens); a map "
        "of one run alone (no --compare-with) is local.",
    )


def _phi_and_sinks(rows: MapRows, name: str) -> dict[str, npt.NDArray[Any]]:
    """Of before, and where after is another run, of after too."""
    found: dict[str, npt.NDArray[Any]] = {}
    both = ("", rows.before), ("_after", rows.after)
    for suffix, reading in both if rows.before is not rows.after else both[:1]:
        positions = reading.run.layout.positions
        found[f"phi{suffix}"] = reading.phi[reading.focus.layer, positions]
        found[f"{name}{suffix}"] = reading.visual_sinks
    return found
