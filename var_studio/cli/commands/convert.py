"""The command `convert` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio convert ~/models/InternVL2-8B ~/models/InternVL2-8B-hf",
    "var-studio convert OpenGVLab/InternVL2-8B InternVL2-8B-hf --json",
)


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The original's folder, or its hub id.")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DESTINATION", help="Folder to make; must not exist.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Make an original InternVL2 (InternLM2 inside) a checkpoint that transformers knows.

    Its Python code is not run. Weights are copied as they are, with little memory. Prints the
    folder.
    """
    from var_studio.cli import convert as converting

    converting.convert(source, destination, as_json=as_json)
