"""The command `gallery` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from var_studio.cli.commands.options import SessionFile, SettingsFile
from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio gallery cup.vars --out cup.html",
    "var-studio gallery cup.vars --tokens generated,cup --layer 3 --out cup.html",
)


def gallery(
    session: SessionFile,
    out: Annotated[Path, typer.Option(metavar="F.html", help="Page to write.")],
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="all, generated, 12-20, g0-g5, or words. [default: the answer, 200 tokens of it]",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="From 0. [default: mean over layers; phi of the middle one]"),
    ] = None,
    head: Annotated[int | None, typer.Option(help="From 0. [default: mean over heads]")] = None,
    title: Annotated[
        str | None, typer.Option(help="What stands on top. [default: the session's name]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page if it exists.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
    settings: SettingsFile = None,
) -> None:
    """Write a session as one page for a browser: for sharing, needs no program and no network.

    It holds the pictures, the questions, the answers side by side, and of each run its words with
    their maps and heads, phi, settings and provenance; 15 to 30 kB a word beside the pictures. Runs
    made with interventions are shown as they were made, whatever --settings says.
    """
    from var_studio.cli import gallery as pages

    pages.gallery(
        session,
        out,
        tokens=tokens,
        layer=layer,
        head=head,
        settings_file=settings,
        title=title,
        overwrite=overwrite,
        as_json=as_json,
    )
