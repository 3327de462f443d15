"""``var-studio export`` of many figures: several tokens, layers, heads, runs, into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from var_studio.cli.export import (
    Asked,
    find_run,
    keep_existing,
    pictured,
    position_of,
    second_run,
)
from var_studio.cli.export_options import tell_ignored
from var_studio.cli.interventions import numbers
from var_studio.cli.terminal import Progress, complain, incomplete, stopped
from var_studio.errors import VarStudioError
from var_studio.figures.batch import (
    INDEX,
    Outcome,
    as_record,
    export_batch,
    plan,
    planned_files,
    tokens_named,
)
from var_studio.figures.names import BY_KEY, key_of
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session


def export_several(asked: Asked) -> None:
    """Draw them into the folder, and print the files written; what could not be drawn is said on
    stderr. Raises VarStudioError, also where nothing could be drawn; Exit where some could not, and
    after Ctrl-C."""
    if asked.out.suffix.lower() in (".pdf", ".svg", ".png"):
        raise VarStudioError(
            f"Several figures go into a folder, and {asked.out} is named like a file.",
            "Give a folder, and --format for other files than PDF.",
        )
    formats = tuple(dict.fromkeys(asked.formats or ("pdf",)))
    progress = Progress()
    with open_session(asked.session) as opened:
        runs = runs_named(opened, asked.runs, asked.run)

        def choice(figure: str, run: Recording) -> dict[str, Any]:
            other, forced = None, None
            if figure in ("map", "answers") or (asked.compare_with and BY_KEY[key_of(figure)].runs):
                other, forced = second_run(opened, run, asked.compare_with, figure)
            return {
                "row_of": asked.row_of,
                "settings": asked.settings(run),
                "width": asked.width,
                "style": asked.style,
                "compare_with": other,
                "forced": forced,
                "options": asked.options if pictured(figure) else None,
                **asked.composed(opened, run, figure),
            }

        jobs = plan(
            asked.figures,
            runs,
            asked.out,
            tokens=lambda run: _tokens(asked, run),
            layers=_axis("--layers", asked.layers, asked.layer, lambda run: run.n_layers),
            heads=_axis("--heads", asked.heads, asked.head, lambda run: run.n_heads),
            formats=formats,
            choice=choice,
        )
        keep_existing(planned_files(jobs, asked.out, asked.with_data), asked.overwrite)
        outcomes: list[Outcome] = []
        try:
            export_batch(
                jobs,
                asked.out,
                dpi=asked.dpi,
                with_data=asked.with_data,
                progress=lambda done, total, name: progress.say(
                    "Drawing", f"{done + 1} of {total}: {name}"
                ),
                outcomes=outcomes,
            )
        except KeyboardInterrupt:
            progress.end()
            written = sum(each.state == "written" for each in outcomes)
            complain(f"Stopped: {written} of {len(jobs)} figures written.")
            raise stopped() from None
        finally:
            progress.end()
    tell_ignored(asked.style)
    _tell(asked, outcomes)


def runs_named(
    session: Session, several: str | None, one: str | None
) -> list[tuple[str, Recording]]:
    """Runs and what they go by, from "all" or names and numbers with commas. Raises
    VarStudioError."""
    names = {run.id: name for name, run in zip(session.runs.names, session.runs, strict=True)}
    if several == "all":
        found = list(session.runs)
    elif several is not None:
        found = [find_run(session, name.strip()) for name in several.split(",")]
    else:
        found = [find_run(session, one)]
    if not found:
        raise VarStudioError("The session holds no run.", "Record one first.")
    return [(names[run.id], run) for run in dict.fromkeys(found)]


def axis(option: str, text: str | None, one: int | None, count: int) -> list[int] | None:
    """Numbers from "all" or a list like 0,5-9, else the one that was named; None: nothing was."""
    if text is None:
        return None if one is None else [one]
    if one is not None:
        raise VarStudioError(f"{option} and its singular are both given.", "Leave out one of them.")
    if text == "all":
        return list(range(count))
    found = list(numbers(option, text) or ())
    if any(each >= count for each in found):
        raise VarStudioError(f"{option} is {text}.", f"It goes from 0 to {count - 1}.")
    return found


def _axis(
    option: str, text: str | None, one: int | None, count: Callable[[Recording], int]
) -> Callable[[Recording], Iterable[int | None]]:
    return lambda run: axis(option, text, one, count(run)) or [None]


def _tokens(asked: Asked, run: Recording) -> list[int | None]:
    found: list[int | None] = [None]
    if asked.tokens is not None and asked.token is not None:
        raise VarStudioError("--tokens and --token are both given.", "Leave out one of them.")
    if asked.tokens is not None:
        found = [*tokens_named(run, asked.tokens)]
    elif asked.token is not None:
        found = [position_of(run, asked.token)]
    return found


def _tell(asked: Asked, outcomes: list[Outcome]) -> None:
    files = [path for outcome in outcomes for path in outcome.files]
    missing = [each for each in outcomes if each.state == "no row"]
    failed = [each for each in outcomes if each.state == "failed"]
    if asked.as_json:
        document = {
            "folder": str(asked.out),
            "figures": [as_record(each, asked.out) for each in outcomes],
            "files": [str(path) for path in files],
        }
        print(json.dumps(document, indent=2))
    else:
        for path in files:
            print(path)
    for each in failed:
        complain(f"{each.job.paths[0].name} was not drawn: {each.why}")
    if missing:
        positions = dict.fromkeys(each.job.token for each in missing)
        listed = ", ".join(map(str, positions))
        some = "1 token has" if len(positions) == 1 else f"{len(positions)} tokens have"
        complain(f"{some} no row, and so no figure: {listed}.")
    what = f"{len(failed) + len(missing)} of {len(outcomes)} figures were not drawn."
    why = f"{asked.out / INDEX} says why."
    if not files:
        raise VarStudioError(what, why)
    if failed:
        complain(f"{what} {why}")
        raise incomplete()
