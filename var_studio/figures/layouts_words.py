"""Composed figures that show what was said: shares as coloured text (Fig. 10), before and after
with the answers (Fig. 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.matching import mismatch
from var_studio.analysis.scale import full_limits
from var_studio.analysis.shares import image_centric_share
from var_studio.analysis.views import choose_views
from var_studio.figures.map_panels import heat_panel, picture_panel, shared_limits, sink_boxes
from var_studio.figures.map_rows import LOCAL, MapRows, NoCounterpartError, across_runs
from var_studio.figures.scene import CHOSEN_NOTE, Scene, question_of, said, token_name
from var_studio.figures.spec import (
    ColourScale,
    Figure,
    Gap,
    Panel,
    Paragraph,
    TextPanel,
    TextWord,
    Width,
)
from var_studio.figures.two_answers import GLOBAL, build_answers, run_names
from var_studio.figures.words import (
    acts_line,
    bare_line,
    beyond_line,
    focus_line,
    hatched_line,
    heads_by_line,
    image_line,
    sinks_line,
    sinks_rule,
)
from var_studio.recording.recording import Recording

_SHARE_COLOURS = "YlGnBu"
_PAIRS_IN_ROW: dict[Width, int] = {"column": 1, "two-columns": 2, "slide": 2}
_WORDS = 2


def build_text_shares(scene: Scene) -> Figure:
    """The share of image-centric heads of each word, as the colour behind it (Fig. 10).

    Words without a row are left white. Reads every row of the run.
    """
    run, settings = scene.run, scene.reading.settings
    share = image_centric_share(run, settings)
    of = {int(p): float(value) for p, value in zip(run.query_positions, share, strict=True)}
    marked = set(scene.tokens_named)
    paragraphs = []
    for name, role in (("question", "prompt"), ("answer", "generated")):
        words = tuple(
            TextWord(t.text, of.get(t.position), underlined=t.position in marked)
            for t in run.tokens
            if t.role == role and not t.special
        )
        if any(word.text.strip() for word in words):
            paragraphs.append(Paragraph(name, words))
    scale = ColourScale(
        full_limits(share, low=None), _SHARE_COLOURS, "image-centric heads (% of all)", percent=True
    )
    tokens = [run.tokens[int(position)] for position in run.query_positions]
    columns: dict[str, npt.NDArray[Any]] = {
        "position": run.query_positions,
        "text": np.array([token.text for token in tokens]),
        "generated": np.array([token.role == "generated" for token in tokens], dtype=bool),
        "image_centric_share": share,
    }
    return Figure(
        rows=((TextPanel(tuple(paragraphs), scale),),),
        title=f"Share of image-centric heads, of {run.n_layers * run.n_heads}",
        notes=(f"{heads_by_line(settings)}.",),
        metadata=scene.about("text_shares", sorted(marked)),
        arrays=columns,
        table=columns,
    )


def build_before_after(scene: Scene) -> Figure:
    """Maps of chosen words before and after, and the answers below (Fig. 6).

    Of two runs, with both answers, where a second one is given; else of one, its rows and
    their redistribution. Raises VarStudioError for runs that do not match, and for a named token
    that only one of them has.
    """
    second = scene.second or _second_of(scene)
    try:
        positions, rows, shared = _rows(scene, second)
    except NoCounterpartError:
        if not scene.by_itself:
            raise
        second = None
        positions, rows, _ = _rows(scene, second)
        shared = _ALONE_NOTE
    first = rows[0]
    views = choose_views(scene.run.layout, scene.options.image, scene.options.view)
    values = {f"{n}{when}": row.values[when] for n, row in enumerate(rows) for when in _WHEN}
    sinks = {f"{n}{when}": row.sinks[when] for n, row in enumerate(rows) for when in _WHEN}
    limits = scene.options.limits or shared_limits(
        values, sinks, views.tokens, scene.options, tuple(values)
    )
    scale = ColourScale(
        limits,
        scene.options.colour_map,
        "attention α (% of the row)",
        percent=True,
        gamma=scene.options.gamma,
    )
    picture = picture_panel(scene.reading, scene.options, views)
    pairs: list[tuple[Panel, Panel]] = []
    for n, (position, row) in enumerate(zip(positions, rows, strict=True)):
        name = token_name(row.before.run, position)
        both: list[Panel] = []
        for when, label in zip(_WHEN, ("before", "after"), strict=True):
            boxes = sink_boxes(scene.reading, sinks[f"{n}{when}"], scene.options, views)
            base = replace(picture, sinks=boxes)
            shown = values[f"{n}{when}"]
            if scene.options.bare_sinks:
                shown = np.where(sinks[f"{n}{when}"], np.float32(np.nan), shown)
            title = f"{name}, {label}"
            both.append(heat_panel(base, title, scene.reading, shown, scale, views))
        pairs.append((both[0], both[1]))
    plain: Panel = replace(picture, title="image") if scene.run.layout.known else Gap()
    each = _PAIRS_IN_ROW[scene.width]
    panels: list[tuple[Panel, ...]] = []
    for start in range(0, len(pairs), each):
        row_of = [panel for pair in pairs[start : start + each] for panel in pair]
        missing = 2 * min(each, len(pairs)) - len(row_of)
        panels.append((plain if start == 0 else Gap(), *row_of, *(Gap() for _ in range(missing))))
    words, notes, about, said_words = _answers(scene, second, positions)
    asked = question_of(scene.run) or "Before and after"
    beyond = beyond_line(
        limits,
        np.logical_or.reduce([s[views.tokens] for s in sinks.values()]),
        *(v[views.tokens] for v in values.values()),
    )
    told = (sinks_line(scene.reading, views), sinks_rule(first.before, first.after))
    heads = " ".join(part for part in (f"Maps of {focus_line(scene.reading)}.", *told) if part)
    return Figure(
        rows=(*panels, (words,)),
        title=" · ".join(part for part in (asked, image_line(scene.reading, views)) if part),
        notes=tuple(
            note
            for note in (
                # Of two runs the lines on the answers begin with what is compared.
                f"{first.comparison.capitalize()}: {heads}" if second is None else heads,
                bare_line(scene.options),
                beyond and f"In all maps together: {beyond}",
                hatched_line(picture),
                shared or (CHOSEN_NOTE if scene.by_itself else ""),
                *notes,
            )
            if note
        ),
        metadata=scene.about("before_after", positions) | {"comparison": first.comparison} | about,
        arrays={
            "before": np.stack([row.values["before"] for row in rows]),
            "after": np.stack([row.values["after"] for row in rows]),
            "sinks_before": np.stack([row.sinks["before"] for row in rows]),
            "sinks_after": np.stack([row.sinks["after"] for row in rows]),
            "token_positions": np.array(positions, dtype=np.int64),
            "visual_positions": scene.run.layout.positions,
            "boxes": scene.run.layout.boxes,
            **said_words,
        },
        table=_table(scene, positions, rows),
    )


_WHEN = ("before", "after")


def _second_of(scene: Scene) -> Recording | None:
    """The first other run of the same question, free-running if there is one."""
    fits = [run for run in scene.others if run.id != scene.run.id and not mismatch(scene.run, run)]
    fits = [run for run in fits if bool(run.interventions) != bool(scene.run.interventions)]
    free = [run for run in fits if run.teacher is None]
    return next(iter(free or fits), None)


_ALONE_NOTE = "The other run has the row of none of these words: this run alone is shown."
_SHARED_NOTE = (
    "The answers share none of the words that look at the image most: shown is the end of the "
    "question, whose row writes the first word of each."
)


def _rows(scene: Scene, second: Recording | None) -> tuple[tuple[int, ...], list[MapRows], str]:
    """Each word that both runs have, with its two rows; where the figure finds none in the answers,
    the last token of the question, and a note that says so."""
    asked = scene.positions(_WORDS if second is None or scene.tokens is not None else 4 * _WORDS)
    if second is None:
        readings = [scene.read(position) for position in asked]
        return asked, [MapRows(reading, reading) for reading in readings], ""
    baseline, other = scene.run, second
    if baseline.interventions and not other.interventions:
        baseline, other = other, baseline
    found: list[tuple[int, MapRows]] = []
    missing: NoCounterpartError | None = None
    for position in asked:
        try:
            found.append((position, across_runs(scene.read(position), baseline, other)))
        except NoCounterpartError as error:
            missing = missing or error
    note = ""
    if missing is not None and not found and scene.tokens is None:
        asked = _end_of_question(scene.run, other if scene.run is baseline else baseline)
        found = [(p, across_runs(scene.read(p), baseline, other)) for p in asked]
        note = _SHARED_NOTE
    if missing is not None and (scene.tokens is not None or not found):
        raise missing
    if scene.tokens is None:
        found = found[:_WORDS]
    return tuple(p for p, _ in found), [row for _, row in found], note


def _end_of_question(*runs: Recording) -> tuple[int, ...]:
    """The last token of the question, where each run has its row."""
    rows = set.intersection(*(set(run.query_positions.tolist()) for run in runs))
    asked = [p for p in rows if runs[0].tokens[p].role != "generated"]
    return (max(asked),) if asked else ()


def _answers(
    scene: Scene, second: Recording | None, positions: tuple[int, ...]
) -> tuple[Panel, tuple[str, ...], dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What was said: its panel, notes, metadata, and the words laid beside each other."""
    if second is None:
        line = f"{acts_line(scene.reading)}."
        return said(scene, positions), (line,), {}, {}
    forced = next((r for r in scene.others if _scores(r, scene.run, second)), None)
    both = build_answers(scene.run, second, forced, width=scene.width)
    one, other = run_names(scene.run, second)
    about = {key: both.metadata[key] for key in ("before", "after", "teacher_forced")}
    kept = ("relation", "first_divergence", "before", "after")
    words = {f"answer_{key}": both.table[key] for key in kept}
    return both.rows[0][0], both.notes, {"runs": [one, other], **about}, words


def _scores(forced: Recording, first: Recording, second: Recording) -> bool:
    return forced.teacher == first.id and forced.interventions == second.interventions


def _table(
    scene: Scene, positions: tuple[int, ...], rows: list[MapRows]
) -> dict[str, npt.NDArray[Any]]:
    count = scene.run.layout.count
    texts = [row.before.run.tokens[row.before.position].text for row in rows]
    kind = GLOBAL if rows[0].before is not rows[0].after else LOCAL
    return {
        "comparison": np.full(count * len(rows), kind),
        "position": np.repeat(np.array(positions, dtype=np.int64), count),
        "text": np.repeat(np.array(texts), count),
        "token": np.tile(np.arange(count), len(rows)),
        "before": np.concatenate([row.values["before"] for row in rows]),
        "after": np.concatenate([row.values["after"] for row in rows]),
        "sink_before": np.concatenate([row.sinks["before"] for row in rows]),
        "sink_after": np.concatenate([row.sinks["after"] for row in rows]),
    }
