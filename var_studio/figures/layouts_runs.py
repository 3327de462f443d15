"""Composed figures of whole runs: what sinks contribute (Fig. 3c), and what becomes of the answer
when they are knocked out (Fig. 3b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.candidates import candidates
from var_studio.analysis.matching import mismatch
from var_studio.analysis.over_rows import layer_contributions
from var_studio.analysis.scores import Scores, score
from var_studio.errors import VarStudioError
from var_studio.figures.curves import arranged
from var_studio.figures.origin import dims_of, tau_of
from var_studio.figures.scene import Scene, question_of
from var_studio.figures.spec import (
    BOS_COLOUR,
    PLAIN_COLOUR,
    SINK_COLOUR,
    VISUAL_COLOUR,
    Figure,
    Marks,
    Paragraph,
    PlotPanel,
    Scale,
    TextPanel,
    TextWord,
)
from var_studio.figures.words import count, interventions_line, layers_named, token_said, visible
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Knockout

_WHEN = ("before", "after")
_KINDS = {"visual-sinks": "visual sinks hidden", "random-visual": "as many random ones hidden"}
_LEGEND = {"visual-sinks": "sinks hidden", "random-visual": "random hidden"}
_SHORT = {"visual-sinks": "visual\nsinks", "random-visual": "random\nvisual"}
_INKS = {"visual-sinks": SINK_COLOUR, "random-visual": VISUAL_COLOUR}


def build_contribution_layers(scene: Scene) -> Figure:
    """Mean contribution of a visual sink and of another visual token, over every text row of the
    run: over the layers that have visual sinks, and layer by layer (Fig. 3c). Reads every row."""
    run, settings = scene.run, scene.reading.settings
    found = layer_contributions(run, settings)
    layers = np.arange(run.n_layers)
    means = np.array([found.mean_sinks, found.mean_others, found.mean_every])
    colours = (SINK_COLOUR, VISUAL_COLOUR, PLAIN_COLOUR)
    top = float(np.nanmax(means, initial=0.0))
    curves = (("visual sinks", found.sinks), ("visual non-sinks", found.others))
    highest = max(float(np.nanmax(c, initial=0.0)) for _, c in curves)
    like = min(top, highest)
    label = "mean ‖α v Wₒ‖ per token"
    together = PlotPanel(
        title="",
        marks=tuple(
            Marks("", "bars", np.array([n]), means[n : n + 1], colours[n], 0.7) for n in range(3)
        ),
        x=Scale("", -0.6, 2.6, names=("visual\nsinks", "visual\nnon-sinks", "all visual\ntokens")),
        y=Scale(label, 0.0, 1.08 * top if top > 0 else 1.0, like=like),
    )
    by_layer = PlotPanel(
        title="",
        marks=tuple(
            Marks(name, "line", layers, values, colours[n])
            for n, (name, values) in enumerate(curves)
        ),
        x=Scale("layer", -0.6, len(layers) - 0.4, whole=True),
        y=Scale(label, 0.0, 1.08 * highest if highest > 0 else 1.0, like=like),
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "layer": layers,
        "visual_sinks": found.sinks,
        "visual_non_sinks": found.others,
        "all_visual": found.every,
        "in_bars": found.compared,
    }
    over = f"Bars: all three over {layers_named(layers[found.compared])}, those with visual sinks."
    if np.isnan(found.mean_sinks):
        over = "Bars: all layers; none has a visual sink."
    return Figure(
        rows=arranged((together, by_layer), scene.width),
        title="Attention contribution of visual sinks and other visual tokens",
        notes=(
            f"Mean over {count(found.n_rows, 'text row')}, all heads and tokens, in units of the "
            f"residual stream. Sinks by τ = {tau_of(scene.reading):.4g}, dimensions "
            f"{dims_of(scene.reading)}.",
            over,
        ),
        metadata=scene.about("contribution_layers"),
        arrays={**columns, "means": means},
        table=columns,
    )


def build_knockout(scene: Scene) -> Figure:
    """The baseline's answer when visual sinks are hidden, beside as many random visual tokens:
    change of its log-probability, and what the model answers (Fig. 3b, of one question).

    Needs a session with both, recorded teacher-forced. Raises VarStudioError that says how to
    record them.
    """
    runs = (scene.run, *scene.others)
    baseline, forced = _knockouts(scene.run, runs)
    scores = {kind: score(baseline.tokens, run.tokens) for kind, run in forced.items()}
    kinds = [kind for kind in _KINDS if kind in scores]
    means = np.array([scores[kind].mean_change for kind in kinds])
    bound = 1.1 * max(float(np.abs(means).max(initial=0.0)), 1e-6)
    around = _around(scores)
    like = min(bound, max(-around.low, around.high))
    low = -bound if means.min(initial=0.0) < 0 else -0.05 * bound
    together = PlotPanel(
        title="",
        marks=tuple(
            Marks("", "bars", np.array([n]), means[n : n + 1], _INKS[kind], 0.6)
            for n, kind in enumerate(kinds)
        ),
        x=Scale("", -0.7, len(kinds) - 0.3, names=tuple(_SHORT[kind] for kind in kinds)),
        y=Scale(
            "mean Δ log p (nats)",
            low,
            bound if means.max(initial=0.0) > 0 else 0.05 * bound,
            like=like,
        ),
    )
    words = PlotPanel(
        title="",
        marks=tuple(_per_token(scores[kind], kind, n, len(kinds)) for n, kind in enumerate(kinds)),
        x=Scale("", -0.7, _longest(scores) - 0.3, names=_names(scores), turned=True),
        y=replace(around, like=like),
        aspect=0.55 if scene.width == "column" else 0.4,
    )
    answers = [Paragraph("baseline", (TextWord(baseline.text),))]
    for kind in kinds:
        free = _free(runs, baseline, forced[kind])
        if free is not None:
            answers.append(Paragraph(_LEGEND[kind], (TextWord(free.text),)))
    absent = [kind for kind in _KINDS if kind not in scores]
    each = [(kind, found) for kind in kinds for found in scores[kind].tokens]
    columns: dict[str, npt.NDArray[Any]] = {
        "position": np.array([found.token.position for _, found in each]),
        "text": np.array([found.token.text for _, found in each]),
        "hidden": np.array([kind for kind, _ in each]),
        "logprob_before": np.array([found.logprob_before for _, found in each]),
        "logprob_after": np.array([found.logprob_after for _, found in each]),
        "change": np.array([found.change for _, found in each]),
    }
    return Figure(
        rows=(*arranged((together, words), scene.width), (TextPanel(tuple(answers)),)),
        title=question_of(baseline) or "Visual sinks knocked out",
        notes=(
            "Δ log p of the baseline's own words, teacher-forced: below 0 they became less "
            "likely. One question; the paper's Fig. 3b is a benchmark's score.",
            *(_line(forced[kind]) for kind in kinds),
            *(f"Not in the session: {_KINDS[kind]}." for kind in absent),
        ),
        metadata=scene.about("knockout")
        | {
            "baseline": baseline.id,
            "runs": {kind: run.id for kind, run in forced.items()},
            "mean_change": {kind: scores[kind].mean_change for kind in kinds},
        },
        arrays={**columns, "kinds": np.array(kinds), "mean_change": means},
        table=columns,
    )


def build_next_token(scene: Scene) -> Figure:
    """The likeliest tokens where the chosen one was written, in this run and, where the session
    has one forced to its answer, in that too."""
    run, reading = scene.run, scene.reading
    before = run.tokens[reading.chosen]
    if not before.top:
        raise VarStudioError(
            f"{token_said(run, reading.chosen)} was given, not chosen: it has no candidates.",
            "Choose a word of the answer.",
        )
    forced = scene.second if scene.second is not None and scene.second.teacher == run.id else None
    forced = forced or next((r for r in scene.others if r.teacher == run.id), None)
    has = forced is not None and reading.chosen < forced.length
    after = forced.tokens[reading.chosen] if forced is not None and has else None
    found = candidates(before, after)
    places = np.arange(len(found.rows))
    sides = [("before", [row.before for row in found.rows], BOS_COLOUR)]
    if after is not None and forced is not None:
        sides.append((forced.name, [row.after for row in found.rows], SINK_COLOUR))
    values = [
        np.array([np.nan if p is None else float(np.exp(p)) for p in side]) for _, side, _ in sides
    ]
    step = 0.8 / len(sides)
    highest = max(float(np.nanmax(side, initial=0.01)) for side in values)
    names = tuple(visible(row.text) for row in found.rows)
    panel = PlotPanel(
        title="",
        marks=tuple(
            Marks(
                name if len(sides) > 1 else "",
                "bars",
                places + (n - (len(sides) - 1) / 2) * step,
                values[n],
                colour,
                0.95 * step,
            )
            for n, (name, _, colour) in enumerate(sides)
        ),
        x=Scale("", -0.6, len(places) - 0.4, names=names, turned=True),
        y=Scale("probability (%)", 0.0, 1.08 * highest, percent=True),
        aspect=0.5 if scene.width == "column" else 0.3,
    )
    what = f" {interventions_line(forced.interventions)}." if after is not None and forced else ""
    nan = float("nan")
    columns: dict[str, npt.NDArray[Any]] = {
        "id": np.array([row.id for row in found.rows]),
        "text": np.array([row.text for row in found.rows]),
        "logprob_before": np.array([nan if r.before is None else r.before for r in found.rows]),
        "logprob_after": np.array([nan if r.after is None else r.after for r in found.rows]),
    }
    columns |= {f"probability_{when}": np.exp(columns[f"logprob_{when}"]) for when in _WHEN}
    return Figure(
        rows=((panel,),),
        title=f"Candidates for {token_said(run, reading.chosen)}",
        notes=(
            "Before temperature. A missing bar: below the last candidate that was recorded."
            + (f" {forced.name}:{what}" if what and forced else ""),
        ),
        metadata=scene.about("next_token", [reading.chosen])
        | {"after": None if after is None or forced is None else forced.id},
        arrays=columns,
        table=columns,
    )


def _knockouts(
    asked: Recording, runs: Sequence[Recording]
) -> tuple[Recording, dict[str, Recording]]:
    """The baseline, and the runs forced to its answer by what they hide."""
    plain = [run for run in runs if not run.interventions and run.teacher is None]
    plain.sort(key=lambda run: run.id != asked.id and bool(mismatch(asked, run)))
    for baseline in plain:
        found: dict[str, Recording] = {}
        # Asked twice, the same answer: what was forced to one of them was forced to the other.
        alike = {run.id for run in plain if _same_answer(baseline, run)}
        for run in runs:
            acts = run.interventions
            alone = acts[0] if len(acts) == 1 and isinstance(acts[0], Knockout) else None
            if run.teacher in alike and alone is not None and alone.tokens in _KINDS:
                found.setdefault(alone.tokens, run)
        if found:
            return baseline, found
    raise VarStudioError(
        "The session holds no answer scored with visual sinks knocked out.",
        "Record both kinds beside a baseline: var-studio record with --pair --knockout "
        "visual-sinks --knockout random-visual, or vs.record_pair with "
        'intervention=vs.Knockout(tokens="visual-sinks"), then "random-visual".',
    )


def _same_answer(one: Recording, other: Recording) -> bool:
    """Whether two runs of one question have the same tokens, from the first to the last."""
    same = [t.id for t in one.tokens] == [t.id for t in other.tokens]
    return same and not mismatch(one, other)


def _free(runs: Sequence[Recording], baseline: Recording, forced: Recording) -> Recording | None:
    """The run of the same intervention that answered by itself."""
    alike = [r for r in runs if r.teacher is None and r.interventions == forced.interventions]
    return next((run for run in alike if not mismatch(baseline, run)), None)


def _line(run: Recording) -> str:
    line = interventions_line(run.interventions)
    return f"{line[0].upper()}{line[1:]}."


def _per_token(scores: Scores, kind: str, index: int, sides: int) -> Marks:
    changes = np.array([s.change for s in scores.tokens])
    wide = 0.8 / sides
    x = np.arange(len(changes)) + (index - (sides - 1) / 2) * wide
    return Marks(_LEGEND[kind], "bars", x, changes, _INKS[kind], 0.95 * wide)


def _longest(scores: dict[str, Scores]) -> int:
    return max(len(found.tokens) for found in scores.values())


def _names(scores: dict[str, Scores]) -> tuple[str, ...]:
    longest = max(scores.values(), key=lambda found: len(found.tokens))
    return tuple(s.token.text.strip() or visible(s.token.text) for s in longest.tokens)


def _around(scores: dict[str, Scores]) -> Scale:
    changes = np.array([s.change for found in scores.values() for s in found.tokens])
    changes = changes[np.isfinite(changes)]
    low, high = float(changes.min(initial=0.0)), float(changes.max(initial=0.0))
    room = 0.08 * max(high - low, 1e-6)
    return Scale("Δ log p (nats)", low - room, high + room)
