"""``var-studio pack``: a session, or a part of it, in another file; its size before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from var_studio.cli.record import check_place
from var_studio.cli.stopping import stoppable
from var_studio.cli.terminal import Progress, complain, stopped
from var_studio.errors import VarStudioError
from var_studio.recording.content import ANSWER, Content, size_in_words
from var_studio.recording.failures import StoppedError
from var_studio.recording.session import Session, open_session, save_session, session_size

USUAL = (
    Content(),
    Content(maps=True),
    Content(tokens=(ANSWER,)),
    Content(images=False),
    Content(maps=True, tokens=(ANSWER,), images=False),
)
"""What sizes are told of where no choice was named."""


def tell_sizes(session: Path, content: Content, as_json: bool) -> None:
    """Print how large a file would be: of the choice named, else of the usual ones."""
    with open_session(session) as opened:
        choices = USUAL if content.full else (content,)
        sizes = [(each, session_size(opened, content=each)) for each in choices]
    if as_json:
        print(json.dumps([_told(each, size) for each, size in sizes], indent=2))
        return
    for each, size in sizes:
        print(f"{size_in_words(size):>10}  {each.in_words}")


def _told(content: Content, size: int) -> dict[str, Any]:
    return {**content.model_dump(mode="json"), "bytes": size}


def pack(session: Path, out: Path, content: Content, overwrite: bool, as_json: bool) -> None:
    """Write the file and print its name and size. Raises VarStudioError; Exit after Ctrl-C."""
    if out.exists() and session.exists() and out.samefile(session):
        raise VarStudioError(
            f"{out} is the session itself.", "Choose another name; what is left out is gone else."
        )
    check_place(out, overwrite)
    progress = Progress()
    with open_session(session) as opened, stoppable() as cancel:
        try:
            # The session that was opened stays as it is.
            copy = Session(
                opened.runs, notes=opened.notes, view=opened.view, regions=opened.regions
            )
            written = save_session(
                out, copy, content=content, progress=progress.saving(out), cancel=cancel
            )
        except (StoppedError, KeyboardInterrupt) as error:
            complain("Stopped; nothing was written.")
            raise stopped() from error
        finally:
            progress.end()
    if as_json:
        told = {"path": str(written), **_told(content, written.stat().st_size)}
        print(json.dumps(told, indent=2))
        return
    print(f"{written}  {size_in_words(written.stat().st_size)}, {content.in_words}")
