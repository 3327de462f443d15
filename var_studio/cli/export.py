"""``var-studio export``: a figure of a session, with no model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from var_studio.analysis.choice import RowOf
from var_studio.cli.interventions import changed_settings
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions
from var_studio.figures.export import export_figure, files_of
from var_studio.figures.spec import Width
from var_studio.figures.two_answers import ANSWERS, check_match
from var_studio.recording.interventions import method_settings
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session

Scale = Literal["robust", "full", "non-sinks"]


def export(
    session: Path,
    run: str | None,
    figure: str,
    out: Path,
    *,
    compare_with: str | None,
    token: str | None,
    row_of: RowOf,
    layer: int | None,
    head: int | None,
    changes: dict[str, Any],
    settings_file: Path | None,
    width: Width,
    dpi: int,
    with_data: bool,
    scale: Scale,
    smooth: bool,
    gamma: float,
    colours: str,
    opacity: float,
    hide_sinks: bool,
    image: int | None,
    view: int | None,
    overwrite: bool,
) -> None:
    """Draw and print the files written; `image` counts from 1. Raises VarStudioError."""
    if figure != "map" and (image is not None or view is not None):
        raise VarStudioError(
            f"--image and --view choose what a map shows; a {figure} shows no picture.",
            "Leave them out.",
        )
    if image is not None and view is not None:
        raise VarStudioError("--view names an image already.", "Leave out --image.")
    there = [str(path) for path in files_of(out, with_data) if path.exists()]
    if there and not overwrite:
        verb = "exists" if len(there) == 1 else "exist"
        raise VarStudioError(
            f"{', '.join(there)} {verb}.", "Choose another name, or add --overwrite."
        )
    with open_session(session) as opened:
        chosen = find_run(opened, run)
        other, forced = _second(opened, chosen, compare_with, figure)
        settings = changed_settings(method_settings(chosen.interventions), settings_file, changes)
        written = export_figure(
            chosen,
            figure,
            out,
            token=None if token is None else position_of(chosen, token),
            row_of=row_of,
            layer=layer,
            head=head,
            settings=settings,
            width=width,
            dpi=dpi,
            with_data=with_data,
            compare_with=other,
            forced=forced,
            options=MapOptions(
                smooth=smooth,
                gamma=gamma,
                colour_map=colours,
                opacity=opacity,
                bare_sinks=hide_sinks,
                robust=scale == "robust",
                hide_sinks=scale != "full",
                image=0 if image is None else image - 1,
                view=view,
            ),
        )
    for path in written:
        print(path)


def _second(
    session: Session, run: Recording, name: str | None, figure: str
) -> tuple[Recording | None, Recording | None]:
    """The run to compare with, and for answers the one that scores them, if there are such."""
    from var_studio.cli.compare import compared_in

    if figure != ANSWERS:
        return (None if name is None else find_run(session, name)), None
    if name is not None:
        check_match(run, find_run(session, name))
    if run.interventions:
        other = None if name is None else find_run(session, name)
        if other is None or other.interventions:
            return other, None
        run, name = other, run.name
    _, found = compared_in(session, run.name, name)
    return found[0].free or found[0].forced, found[0].forced


def find_run(session: Session, name: str | None) -> Recording:
    """A run by name, else by number; None: the first. Raises VarStudioError."""
    if not len(session.runs):
        raise VarStudioError("The session holds no run.", "Record one first.")
    if name is None:
        return session.runs[0]
    if name not in session.runs and re.fullmatch(r"-?\d+", name):
        return session.runs[int(name)]
    return session.runs[name]


def position_of(run: Recording, word: str) -> int:
    """Position of "12" (itself) or "g3" (generated token 3, from 0; g-1 the last).

    Raises VarStudioError for anything else and for a token that the run does not have.
    """
    match = re.fullmatch(r"(g?)(-?\d+)", word.strip())
    if match is None:
        raise VarStudioError(
            f"--token is {word!r}.", "Give a position such as 117, or g0 for a generated token."
        )
    number = int(match[2])
    if not match[1]:
        return number
    generated = run.generated_positions
    if not -len(generated) <= number < len(generated):
        last = f"They go from g0 to g{len(generated) - 1}." if len(generated) else "It has none."
        raise VarStudioError(f"There is no generated token {word}.", last)
    return int(generated[number])
