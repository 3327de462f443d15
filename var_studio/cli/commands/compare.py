"""The command `compare` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from var_studio.cli.commands.options import SessionFile
from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio compare cup.vars",
    "var-studio compare cup.vars --run VAR --token g3",
    "var-studio compare cup.vars --json",
)


def compare(
    session: SessionFile,
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name or number. [default: all with that question]"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name or number. [default: the first without an intervention]"
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="N|gN|WORD", help="Show what the model would say there, before and after."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For a script, with the candidates of every token.")
    ] = False,
) -> None:
    """Compare answers of a session: where they part, and how likely the baseline's own still is.

    Scores need a teacher-forced run: `var-studio record --pair`. They are log-probabilities in
    nats, before temperature.
    """
    from var_studio.cli import compare as comparing

    comparing.show(session, baseline, run, token, as_json)
