"""From a run to figure files in one call: what the window and the command line use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from var_studio.analysis.choice import RowOf, read
from var_studio.analysis.focus import Aggregate
from var_studio.analysis.reading import Reading
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions, build
from var_studio.figures.data import DATA_SUFFIXES, save_beside
from var_studio.figures.drawing import DRAWING, Drawing, drawing_of
from var_studio.figures.map_rows import MapRows, across_runs
from var_studio.figures.render import FORMATS, FigureError, save
from var_studio.figures.script import script_text
from var_studio.figures.spec import Figure, Width
from var_studio.figures.two_answers import ANSWERS, build_answers
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure that is built, what draws it again, and the runs it is of, by id."""

    figure: Figure
    drawing: Drawing
    runs: Mapping[str, Recording]


def export_figure(
    run: Recording,
    figure: str,
    path: str | os.PathLike[str],
    *,
    token: int | str | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
    width: Width = "two-columns",
    dpi: int = 300,
    with_data: bool = False,
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    forced: Recording | None = None,
    **about: Any,
) -> list[Path]:
    """Draw one figure of a run into a file, by the suffix PDF, SVG or PNG.

    `figure` is "answers" or a name in `build.FIGURES`; the choice of token, layer, head, heads,
    aggregate and settings is that of `choice.read`; `options` are those of a map. `compare_with` is
    a second run of the same question: a map then is global, baseline against the row that the other
    run used (without it local, the row and its redistribution); "answers" needs it, and `forced`
    scores the first answer there: see `two_answers.build_answers`. `with_data` writes NPZ, CSV,
    JSON and a script that draws it again (`script.script_text`) beside it. `about` joins the
    metadata. Files that exist are replaced; `files_of` tells which these are. Returns the files
    written, the figure first. Raises VarStudioError.
    """
    # Before any work: a bad name must not cost the reader a wait.
    if Path(path).suffix.lower().lstrip(".") not in FORMATS:
        raise FigureError(f"{path} names no figure format.", "Use .pdf, .svg or .png.")
    drawn = draw_figure(
        run,
        figure,
        token=token,
        row_of=row_of,
        layer=layer,
        head=head,
        heads=heads,
        aggregate=aggregate,
        settings=settings,
        width=width,
        options=options,
        compare_with=compare_with,
        forced=forced,
        **about,
    )
    return export(drawn, path, dpi, with_data)


def draw_figure(
    run: Recording,
    figure: str,
    *,
    token: int | str | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
    width: Width = "two-columns",
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    forced: Recording | None = None,
    **about: Any,
) -> Drawn:
    """Build a figure by name, to be written by `export`; the choices are those of `export_figure`.

    Raises VarStudioError.
    """
    if figure == ANSWERS:
        if compare_with is None:
            raise FigureError("One run has one answer.", "Name a second run to compare it with.")
        return draw_answers(run, compare_with, forced, width=width, **about)
    if compare_with is not None and figure != "map":
        raise FigureError(f"A {figure} shows one run.", "Compare two runs in a map or in answers.")
    reading = read(
        run,
        token=token,
        row_of=row_of,
        layer=layer,
        head=head,
        heads=heads,
        aggregate=aggregate,
        settings=settings,
    )
    return draw(figure, reading, width=width, options=options, compare_with=compare_with, **about)


def draw(
    figure: str,
    reading: Reading,
    *,
    width: Width = "two-columns",
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    **about: Any,
) -> Drawn:
    """Build a figure of a reading, to be written by `export`; see `export_figure`."""
    across = None if compare_with is None else _across(reading, compare_with)
    built = build(figure, reading, width=width, options=options, across=across, **about)
    drawing = drawing_of(
        figure, reading, width=width, options=options, compare_with=compare_with, more=about
    )
    runs = (reading.run,) if compare_with is None else (reading.run, compare_with)
    return _drawn(built, drawing, *runs)


def draw_answers(
    first: Recording,
    second: Recording,
    forced: Recording | None = None,
    *,
    width: Width = "two-columns",
    **about: Any,
) -> Drawn:
    """Build the figure of two answers, to be written by `export`; see `build_answers`."""
    built = build_answers(first, second, forced, width=width)
    drawing = Drawing(
        ANSWERS,
        first.id,
        width,
        compare_with=second.id,
        forced=None if forced is None else forced.id,
        more=about,
    )
    built = replace(built, metadata={**built.metadata, **about})
    return _drawn(built, drawing, first, second, *(() if forced is None else (forced,)))


def _drawn(built: Figure, drawing: Drawing, *runs: Recording) -> Drawn:
    metadata = {**built.metadata, DRAWING: drawing.to_json()}
    return Drawn(replace(built, metadata=metadata), drawing, {run.id: run for run in runs})


def _across(reading: Reading, other: Recording) -> MapRows:
    """The rows of a global map, whichever of the two is the baseline."""
    baseline, second = reading.run, other
    if baseline.interventions:
        baseline, second = second, baseline
    if baseline.interventions or not second.interventions:
        both = "were made with interventions" if baseline.interventions else "are baselines"
        raise FigureError(
            f"{reading.run.name} and {other.name} both {both}.",
            "A global map needs one run without interventions and one with them.",
        )
    return across_runs(reading, baseline, second)


def files_of(path: str | os.PathLike[str], with_data: bool = False) -> list[Path]:
    """The files that an export to `path` writes, the figure first."""
    figure = Path(path)
    return [figure] + [figure.with_suffix(s) for s in DATA_SUFFIXES if with_data]


def export(
    drawn: Drawn, path: str | os.PathLike[str], dpi: int = 300, with_data: bool = False
) -> list[Path]:
    """Write a figure that is built already; see `export_figure`."""
    written = [save(drawn.figure, path, width=drawn.drawing.width, dpi=dpi)]
    if not with_data:
        return written
    try:
        script = script_text(drawn.drawing, drawn.runs, path, dpi)
        return written + save_beside(drawn.figure, path, script)
    except VarStudioError as error:
        raise FigureError(
            f"{written[0]} was written, but: {error.what}", error.next_step
        ) from error
