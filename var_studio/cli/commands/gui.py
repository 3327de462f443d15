"""The command `gui`: the window."""

from __future__ import annotations

from typing import Annotated

import typer

from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio gui --demo", "var-studio gui cup.vars", "var-studio gui cup.png plate.png"
)


def gui(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="A session, images, the folder of a recording or of a model; or their file URLs.",
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo model at once.")] = False,
    quit_after_first_paint: Annotated[
        bool, typer.Option(help="Print how long the first paint took, as JSON, and close.")
    ] = False,
) -> None:
    """Open the window."""
    from var_studio.cli import open_window

    raise typer.Exit(open_window(files or (), demo, quit_after_first_paint))
