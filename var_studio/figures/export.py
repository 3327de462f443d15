"""From a run to figure files in one call: what the window and the command line use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from var_studio.analysis.choice import TokenName, read
from var_studio.analysis.focus import Aggregate, RowOf
from var_studio.analysis.matching import mismatch
from var_studio.analysis.reading import Reading
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions, build
from var_studio.figures.data import DATA_SUFFIXES, save_beside
from var_studio.figures.drawing import DRAWING, Drawing, drawing_of
from var_studio.figures.map_rows import MapRows, across_runs
from var_studio.figures.names import BY_KEY, key_of
from var_studio.figures.page import page_of
from var_studio.figures.render import FORMATS, FigureError, save
from var_studio.figures.scene import Tokens, checked_tokens
from var_studio.figures.script import script_text
from var_studio.figures.spec import Figure
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
    token: TokenName | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
    width: str = "two-columns",
    style: str | os.PathLike[str] | None = None,
    dpi: int = 300,
    with_data: bool = False,
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    forced: Recording | None = None,
    tokens: Tokens | None = None,
    others: Iterable[Recording] = (),
    **about: Any,
) -> list[Path]:
    """Draw one figure of a run into a file, by the suffix PDF, SVG or PNG.

    `figure` is a name in `names.FIGURE_NAMES`, or one of the paper's ("fig1"); the choice of token,
    layer, head, heads, aggregate and settings is that of `choice.read`; `options` are those of a
    map. `compare_with` is a second run of the same question: a map then is global, baseline against
    the row that the other run used (without it local, the row and its redistribution); "answers"
    needs it, and `forced` scores the first answer there, and there alone: see
    `two_answers.build_answers`. `tokens`
    and `others` are those of a composed figure: see `scene.Scene`. `width` is a name or a length
    ("88mm"), `style` a matplotlib style file on top of ours: see `page.page_of`. `with_data` writes
    NPZ, CSV, JSON and a script that draws it again (`script.script_text`) beside it. `about` joins
    the metadata. Files that exist are replaced; `files_of` tells which these are. Returns the files
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
        style=style,
        options=options,
        compare_with=compare_with,
        forced=forced,
        tokens=tokens,
        others=others,
        **about,
    )
    return export(drawn, path, dpi, with_data)


def draw_figure(
    run: Recording,
    figure: str,
    *,
    token: TokenName | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
    width: str = "two-columns",
    style: str | os.PathLike[str] | None = None,
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    forced: Recording | None = None,
    tokens: Tokens | None = None,
    others: Iterable[Recording] = (),
    **about: Any,
) -> Drawn:
    """Build a figure by name, to be written by `export`; the choices are those of `export_figure`.

    Raises VarStudioError.
    """
    others = tuple(others) if isinstance(others, Iterable) else (others,)
    _check_kinds(run, settings, options, compare_with, forced, *others)
    figure = key_of(figure)
    tokens = None if tokens is None else checked_tokens(tokens)
    if figure == ANSWERS:
        if compare_with is None:
            raise FigureError("One run has one answer.", "Name a second run to compare it with.")
        return draw_answers(run, compare_with, forced, width=width, style=style, **about)
    about_figure = BY_KEY.get(figure)
    if compare_with is not None and figure != "map" and not (about_figure and about_figure.runs):
        raise FigureError(f"A {figure} shows one run.", "Compare two runs in a map or in answers.")
    if options is not None and about_figure is not None and not about_figure.pictures:
        raise FigureError(f"A {figure} shows no map.", "Leave out its options.")
    if forced is not None:
        raise FigureError(f"A {figure} scores no answer.", "Leave out forced.")
    if tokens is not None and about_figure is not None and not about_figure.many:
        raise FigureError(f"A {figure} shows one token.", "Name it with token.")
    if token is None and about_figure is not None and about_figure.many and tokens:
        # Layer, heads and settings are read at a token; which one does not show.
        token = None if isinstance(tokens, str) else tokens[0]
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
    return draw(
        figure,
        reading,
        width=width,
        style=style,
        options=options,
        compare_with=compare_with,
        tokens=tokens,
        others=others,
        **about,
    )


def _check_kinds(run: Any, settings: Any, options: Any, *others: Any) -> None:
    """Raise FigureError for a choice that is no such thing at all."""
    if not isinstance(run, Recording):
        raise FigureError(f"A figure is of a run, not of {run!r}.", "Choose one: session.runs[0].")
    for other in others:
        if other is not None and not isinstance(other, Recording):
            raise FigureError(f"{other!r} is no run.", "Choose one: session.runs[1].")
    if settings is not None and not isinstance(settings, Redistribution):
        raise FigureError(f"settings is {settings!r}.", "Give vs.Redistribution(...), or None.")
    if options is not None and not isinstance(options, MapOptions):
        raise FigureError(f"options is {options!r}.", "Give vs.MapOptions(...), or None.")


def draw(
    figure: str,
    reading: Reading,
    *,
    width: str = "two-columns",
    style: str | os.PathLike[str] | None = None,
    options: MapOptions | None = None,
    compare_with: Recording | None = None,
    tokens: Tokens | None = None,
    others: Iterable[Recording] = (),
    **about: Any,
) -> Drawn:
    """Build a figure of a reading, to be written by `export`; see `export_figure`."""
    figure, form = key_of(figure), page_of(width, style).width
    known = BY_KEY.get(figure)
    beside = tuple(run for run in others if known and known.runs and _fits(reading.run, run))
    local = figure != "map" or compare_with is None
    across = None if local or compare_with is None else _across(reading, compare_with)
    built = build(
        figure,
        reading,
        width=form,
        options=options,
        across=across,
        tokens=tokens,
        second=compare_with,
        others=beside,
        **about,
    )
    drawing = drawing_of(
        figure,
        reading,
        width=width,
        options=options,
        compare_with=compare_with,
        tokens=tokens,
        others=beside,
        style=style,
        more=about,
    )
    runs = (reading.run, *beside) if compare_with is None else (reading.run, compare_with, *beside)
    return _drawn(built, drawing, *runs)


def draw_answers(
    first: Recording,
    second: Recording,
    forced: Recording | None = None,
    *,
    width: str = "two-columns",
    style: str | os.PathLike[str] | None = None,
    **about: Any,
) -> Drawn:
    """Build the figure of two answers, to be written by `export`; see `build_answers`."""
    built = build_answers(first, second, forced, width=page_of(width, style).width)
    drawing = Drawing(
        ANSWERS,
        first.id,
        width,
        compare_with=second.id,
        forced=None if forced is None else forced.id,
        style=None if style is None else str(style),
        more=about,
    )
    built = replace(built, metadata={**built.metadata, **about})
    return _drawn(built, drawing, first, second, *(() if forced is None else (forced,)))


def _fits(run: Recording, other: Recording) -> bool:
    """Whether it is another run of the same question."""
    return run.id != other.id and not mismatch(run, other)


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
    page = page_of(drawn.drawing.width, drawn.drawing.style)
    # First what may be refused: else a figure without its numbers is left behind.
    script = script_text(drawn.drawing, drawn.runs, path, dpi) if with_data else None
    written = [save(drawn.figure, path, width=page, dpi=dpi)]
    if script is None:
        return written
    try:
        return written + save_beside(drawn.figure, path, script)
    except VarStudioError as error:
        raise FigureError(
            f"{written[0]} was written, but: {error.what}", error.next_step
        ) from error
