"""The command `gui`: the window."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from var_studio.cli.terminal import examples

EXAMPLES = examples("var-studio gui --demo", "var-studio gui cup.vars")


def gui(
    file: Annotated[
        Path | None, typer.Argument(metavar="[S.vars]", help="Session to open.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo model at once.")] = False,
    quit_after_first_paint: Annotated[
        bool, typer.Option(help="Print how long the first paint took, as JSON, and close.")
    ] = False,
) -> None:
    """Open the window."""
    from var_studio.cli import open_window

    raise typer.Exit(open_window(file, demo, quit_after_first_paint))
