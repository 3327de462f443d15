"""The command `pack` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from var_studio.cli.commands.options import SessionFile
from var_studio.cli.terminal import examples

EXAMPLES = examples(
    "var-studio pack cup.vars --size",
    "var-studio pack cup.vars --maps-only --out maps.vars",
    "var-studio pack cup.vars --token g0 --token 117 --without-images --out two-words.vars",
)


def pack(
    session: SessionFile,
    out: Annotated[Path | None, typer.Option(metavar="FILE.vars", help="File to write.")] = None,
    maps_only: Annotated[
        bool,
        typer.Option(
            "--maps-only",
            help="Keep of every row the weights on visual tokens, on BOS and on text that could "
            "be a sink: what maps need. Entropy and sums over other text are not known then.",
        ),
    ] = False,
    token: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|gN|answer",
            help="Keep only this token's row and that of the step that produced it; more than "
            "once for more. [default: all rows]",
        ),
    ] = None,
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Leave out the pictures; geometry stays.")
    ] = False,
    size: Annotated[
        bool,
        typer.Option("--size", help="Say how large the file would be; with no choice, of each."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="For a script: with --out what was written, else sizes."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Save a session, or a chosen part of it, to another file; needs no model.

    Tokens, candidates, settings, layout, φ and value norms are always kept whole. What was left
    out is named in the file, and shown as missing.
    """
    from var_studio.cli import pack as packing
    from var_studio.errors import VarStudioError
    from var_studio.recording.content import Content

    content = Content(
        maps=maps_only, tokens=tuple(token) if token else None, images=not without_images
    )
    if size and out is not None:
        raise VarStudioError("--size writes no file.", "Leave out --size or --out.")
    if out is not None:
        packing.pack(session, out, content, overwrite, as_json)
    elif size or as_json:
        packing.tell_sizes(session, content, as_json)
    else:
        raise VarStudioError("--out is missing.", "Name the file to write, or add --size.")
