"""The command `demo` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from var_studio.cli.terminal import examples

EXAMPLES = examples("var-studio demo --out demo-output")


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.")] = Path(
        "demo-output"
    ),
) -> None:
    """A tour with no display: ask the demo model, record, export figures, say where they are."""
    from var_studio.cli import demo as tour

    tour.demo(out)
