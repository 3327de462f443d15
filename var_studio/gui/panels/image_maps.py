"""The maps of the Image panel as arrays: which rows are compared, their scale, and in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import Limits, full_limits, robust_limits, symmetric_limits
from var_studio.figures.words import count
from var_studio.gui.models.view import Compare, Quantity, ViewSettings
from var_studio.recording.interventions import run_name_for
from var_studio.recording.tokens import bare

if TYPE_CHECKING:
    from var_studio.analysis.across import AcrossRuns
    from var_studio.analysis.focus import Aggregate
    from var_studio.analysis.reading import Reading
    from var_studio.recording.recording import Recording
    from var_studio.recording.settings import Redistribution

Floats = npt.NDArray[np.float32]

ROBUST_SHARE = 0.99
_SAMPLE = 1 << 16
"""Values looked at for the robust limit over all heads: a quantile needs no more."""

LOCAL = "LOCAL – same hidden states, this row redistributed (Sec. 5.2)"
NOTHING_MOVES = "LOCAL – nothing moves: no head shown is redistributed (Sec. 5.1)"
BEFORE_NOTE = "As the model computed it, before any redistribution"
BEFORE_SHORT = "Before any redistribution"
GLOBAL = "GLOBAL – model run again with {what}"
GLOBAL_BEFORE = "GLOBAL – the baseline run; “After” is the model run again with {what}"
AGAINST = " against the baseline"
PAST = " · here after other words: past the first divergence"
NO_PAIR = "No second run to compare with: press “Run pair” in Setup."
NOT_YET = "The other run has not come to this word."
NO_MATCH = "The two answers differ at this word, so it has no counterpart in the other run."
UNCHANGED = "No visual token gets more or less."
BAR_NAMES = {
    "attention": ("attention α (share of the row)", "change of α (share of the row)"),
    "contribution": ("contribution α·‖v Wₒ‖", "change of α·‖v Wₒ‖"),
}
"""What the colours of a map, and of a difference, stand for."""


@dataclass(frozen=True, slots=True)
class Maps:
    """Values of the visual tokens (V,) before and after, and the sinks boxed with each.

    One of the two is None where there is nothing to compare with: `before` for a word that only
    the run with VAR has, else `after`. `note` then says why, else what the comparison is. `what`:
    what the second run was made with; empty where there is no second run. `past_divergence`: its
    word comes after other words. `target`: where the second run moved attention to, if not to the
    whole image.
    """

    before: Floats | None
    after: Floats | None
    sinks_before: npt.NDArray[np.bool_]
    sinks_after: npt.NDArray[np.bool_]
    note: str
    what: str = ""
    past_divergence: bool = False
    target: str = ""

    @property
    def difference(self) -> Floats | None:
        """After minus before, (V,); None where one of them is missing."""
        return None if self.after is None or self.before is None else self.after - self.before

    @property
    def first(self) -> Floats:
        """Before, or after where there is no before."""
        shown = self.after if self.before is None else self.before
        assert shown is not None
        return shown


class MapSource:
    """Finds the maps for a reading, and keeps what stays the same between two of them."""

    def __init__(self) -> None:
        self._across: AcrossRuns | None = None
        self._largest: dict[tuple[object, ...], float] = {}
        self._all_heads: tuple[tuple[object, ...], float] | None = None

    # --------------------------------------------------------------------------- which rows
    def maps(
        self,
        reading: Reading,
        how: Compare,
        baseline: Recording | None,
        paired: Recording | None,
        quantity: Quantity = "attention",
    ) -> Maps:
        """Local: the reading's own before and after. Global: baseline against the second run."""
        from var_studio.analysis.contributions import visual_map

        here = visual_map(reading, "before", quantity)
        sinks = reading.visual_sinks
        if how == "local":
            note = LOCAL if _moves(reading) else NOTHING_MOVES
            return Maps(here, visual_map(reading, "after", quantity), sinks, sinks, note)
        if baseline is None or paired is None:
            return Maps(here, None, sinks, sinks, NO_PAIR)
        if self._across is None:
            from var_studio.analysis.across import AcrossRuns

            self._across = AcrossRuns()
        found = self._across.rows(reading, baseline, paired)
        before, after = found.before, found.after
        what = run_name_for(paired.interventions)
        note = GLOBAL.format(what=what)
        if found.missing:
            note = NO_MATCH if found.missing == "no match" else NOT_YET
        shown = before or after
        assert shown is not None
        return Maps(
            None if before is None else visual_map(before, "before", quantity),
            None if after is None else visual_map(after, "after", quantity),
            (before or shown).visual_sinks,
            (after or shown).visual_sinks,
            note,
            what,
            found.past_divergence,
            _to_region(paired.redistribution),
        )

    # ------------------------------------------------------------------------------- scales
    def limits(self, maps: Maps, reading: Reading, view: ViewSettings) -> Limits:
        """One scale for before and after, from 0; its upper end by the view's choice.

        Robust: the largest attention but for sinks and the top 1 %, so that one sink does not
        black out the rest. "map": the heads shown; "token": any single head of this token;
        "shared": the largest scale shown so far in this run.
        """
        both = ((maps.before, maps.sinks_before), (maps.after, maps.sinks_after))
        seen = np.concatenate([values for values, _ in both if values is not None])
        hide = np.concatenate([sinks for values, sinks in both if values is not None])
        limits = _upper(seen, hide, view.robust, view.hide_sinks)
        if view.scale == "map":
            return limits
        if view.scale == "token":
            high = self._over_heads(reading, view.robust, view.quantity)
        else:
            key = (id(reading.run), view.robust, view.hide_sinks, view.quantity)
            high = max(limits.high, self._largest.get(key, 0.0))
            self._largest[key] = high
        kept = seen[~hide] if view.hide_sinks else seen
        return Limits(0.0, high, bool((kept > high).any()))

    def _over_heads(self, reading: Reading, robust: bool, quantity: Quantity) -> float:
        focus, settings = reading.focus, reading.settings
        key = (id(reading.run), focus.query, focus.layer, settings.tau, robust, quantity)
        if self._all_heads is None or self._all_heads[0] != key:
            keys = reading.positions[~reading.visual_sinks] if robust else reading.positions
            values = reading.attention[..., keys]
            if quantity == "contribution":
                values = values * reading.run.value_norm()[..., keys]
            values = values.ravel()
            if robust and len(values) > _SAMPLE:
                values = values[:: len(values) // _SAMPLE]
            limits = robust_limits(values, share=ROBUST_SHARE) if robust else full_limits(values)
            self._all_heads = key, limits.high
        return self._all_heads[1]


def _moves(reading: Reading) -> bool:
    changed, heads = reading.changed, reading.focus.heads
    return bool(changed.any()) if not heads else any(bool(changed[head]) for head in heads)


def second_run(paired: Recording | None, short: bool = False) -> str:
    """What the run is called that a global map compares with; `short` for little room."""
    if paired is None:
        return "Run 2" if short else "Second run"
    name = run_name_for(paired.interventions)
    return name if short else f"Run with {name}"


def captions(how: Compare, paired: Recording | None) -> tuple[str, str, str]:
    """What stands over the maps before, after, and of the difference."""
    if how == "local":
        return "Before", "After, local", "Difference, local"
    return "Baseline run", second_run(paired), "Difference of runs"


def note_text(maps: Maps, shown: Sequence[str], reading: Reading) -> str:
    """Which run or redistribution the maps shown are of ("before", "after", "difference")."""
    alone = tuple(shown) == ("before",)
    if not maps.what:
        if maps.note == NO_PAIR:
            return NO_PAIR
        if alone:
            return BEFORE_NOTE
        to = _to_region(reading.settings) if maps.note == LOCAL else ""
        return f"{maps.note} ·{to}" if to else maps.note
    # In the order in which they matter: where there is no room the end is cut.
    target = f" ·{maps.target}" if maps.target else ""
    if alone and maps.before is not None:
        return f"{GLOBAL_BEFORE.format(what=maps.what)}{target}"
    both = maps.difference is not None and tuple(shown) != ("after",)
    past = PAST if maps.past_divergence else ""
    return f"{maps.note}{AGAINST if both else ''}{past}{target}"


def missing_text(maps: Maps, moment: str) -> str:
    """Why a map is empty; "" where it is not."""
    if getattr(maps, moment) is None:
        return maps.note
    changed = moment != "difference" or maps.difference is None or maps.difference.any()
    return "" if changed else UNCHANGED


def _to_region(settings: Redistribution | None) -> str:
    if settings is None or settings.target != "region":
        return ""
    return f" to a region of {count(len(settings.region), 'token')}"


def difference_limits(maps: Maps, view: ViewSettings) -> Limits | None:
    """Symmetric about 0; None where nothing differs. Robust: sinks and the top 1 % of the others
    do not stretch it."""
    if maps.difference is None or not maps.difference.any():
        return None
    sinks = maps.sinks_before | maps.sinks_after
    others = maps.difference[~sinks]
    if not view.robust or others.size == 0 or not np.abs(others).max() > 0:
        return symmetric_limits(maps.difference[~sinks] if view.hide_sinks else maps.difference)
    limits = symmetric_limits(others, share=ROBUST_SHARE)
    seen = others if view.hide_sinks else maps.difference
    return Limits(limits.low, limits.high, bool((np.abs(seen) > limits.high).any()))


def _upper(values: Floats, sinks: npt.NDArray[np.bool_], robust: bool, hide_sinks: bool) -> Limits:
    pick: Callable[..., Limits] = robust_limits if robust else full_limits
    others = values[~sinks]
    limits = pick(others if (robust or hide_sinks) and others.size else values)
    seen = others if hide_sinks else values
    return Limits(limits.low, limits.high, bool((seen > limits.high).any()))


def subject(
    reading: Reading,
    position: int | None,
    row_of: str,
    sinks_boxed: bool = False,
    heads: str = "",
) -> str:
    """Which token, layer and heads are shown: ‘dog’ (position 131) · layer 3 · head 2 · as query.

    In the order in which they matter: where there is no room the end is cut.

    `position` is the token selected, which may be the one that this row produced. With
    `sinks_boxed`, the layer of the sinks is named where the heads do not say it. `heads`: what to
    say of the heads in place of those selected.
    """
    position = reading.position if position is None else position
    row = "as query" if row_of == "query" else "step that produced it"
    boxes = f"{_boxes_text(reading)} · " if sinks_boxed and _boxes_text(reading) else ""
    return f"{word_text(reading, position)} · {heads or heads_text(reading)} · {boxes}{row}"


def short_subject(reading: Reading, position: int | None, sinks_boxed: bool = False) -> str:
    """As `subject`, for little room: the word, whose sinks are boxed, the heads."""
    word = _quoted(reading, reading.position if position is None else position)
    boxes = _boxes_text(reading) if sinks_boxed else ""
    return " · ".join(part for part in (word, boxes, heads_text(reading)) if part)


def word_text(reading: Reading, position: int | None) -> str:
    """The token selected (None: the one whose row this is) and its position."""
    position = reading.position if position is None else position
    return f"{_quoted(reading, position)} (position {position})"


def _quoted(reading: Reading, position: int) -> str:
    return f"‘{bare(reading.run.tokens[position].text)}’"


def _boxes_text(reading: Reading) -> str:
    """Whose sinks are boxed; "" where the heads say it."""
    layer = reading.focus.layer
    told = {of for of, _ in reading.focus.heads} == {layer}
    return "" if told else f"sinks of layer {layer}"


def heads_text(reading: Reading, aggregate: Aggregate | None = None) -> str:
    """Layer and head, or what the maps are a mean or a maximum over; `aggregate` for what is
    put together another way than the maps."""
    heads, run = reading.focus.heads, reading.run
    if len(heads) == 1:
        return f"layer {heads[0][0]} · head {heads[0][1]}"
    over = "mean over" if (aggregate or reading.focus.aggregate) == "mean" else "maximum over"
    if not heads:
        return f"{over} all {run.n_layers * run.n_heads:,} heads"
    layers = sorted({layer for layer, _ in heads})
    columns = sorted({head for _, head in heads})
    if len(layers) == 1 and len(heads) == run.n_heads:
        return f"layer {layers[0]} · {over} its {run.n_heads} heads"
    if len(columns) == 1 and len(heads) == run.n_layers:
        return f"head {columns[0]} · {over} {run.n_layers} layers"
    where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"
    return f"{over} {len(heads)} heads of {where}"
