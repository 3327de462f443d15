"""The command `info` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from var_studio.cli.commands.options import SessionFile
from var_studio.cli.terminal import examples

EXAMPLES = examples("var-studio info cup.vars", "var-studio info cup.vars --json")


def info(
    session: SessionFile,
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Say what a session holds: runs, settings, answers, and the tokens with their positions."""
    from var_studio.cli import contents

    contents.show(session, as_json)
