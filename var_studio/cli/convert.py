"""``var-studio convert``: an original InternVL2 checkpoint, made loadable."""

from __future__ import annotations

import json
from pathlib import Path

import var_studio as vs
from var_studio.cli.terminal import Progress

_GIB = 2**30


def convert(source: str, destination: Path, *, as_json: bool) -> None:
    """Convert and print the folder written. Raises VarStudioError."""
    progress = Progress()

    def follow(done: int, total: int) -> None:
        progress.say("Writing weights", f"{done / _GIB:.2f} of {total / _GIB:.2f} GiB")

    progress.say("Reading the checkpoint")
    try:
        converted = vs.convert(source, destination, on_bytes=follow)
    finally:
        progress.end()
    if as_json:
        document = {
            "folder": str(converted.folder),
            "tensors": converted.tensors,
            "bytes": converted.bytes,
        }
        print(json.dumps(document))
    else:
        print(converted.folder)
