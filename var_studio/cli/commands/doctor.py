"""The command `doctor` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio doctor", "var-studio doctor --online", "var-studio doctor --json > machine.json"
)


def doctor(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="For a script: schema, ok, checks of id, state, says, fix, facts."
        ),
    ] = False,
    online: Annotated[
        bool, typer.Option("--online", help="See whether the model hub can be reached.")
    ] = False,
) -> None:
    """Say what this machine can do, and what to change: GPU, kernels, window, versions, folders.

    The exit code is 1 where something that VAR Studio needs does not work, else 0.
    """
    from var_studio.cli import doctor as looking

    raise typer.Exit(looking.doctor(as_json, online))
