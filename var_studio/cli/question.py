"""What `var-studio record` asks about: pictures from files, or what an earlier run was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from var_studio.cli.export import find_run
from var_studio.errors import VarStudioError
from var_studio.recording.images import StoredImage, load_image
from var_studio.recording.session import open_session
from var_studio.recording.tokens import Exchange


@dataclass(frozen=True, slots=True)
class Subject:
    """The pictures, what was said about them before, and the model that is to go on."""

    model: str
    images: tuple[StoredImage, ...]
    history: tuple[Exchange, ...] = ()


def subject(model: str | None, images: Sequence[Path], follow_up: str | None) -> Subject:
    """Read pictures, or the run that a question follows up. Raises VarStudioError.

    `follow_up`: SESSION or SESSION#RUN, a run by name or number; the first one where none is
    named. Its model goes on unless another is given.
    """
    if follow_up is None:
        if not images:
            raise VarStudioError(
                "There is no picture.", "Give --image, or --follow-up for one of a session."
            )
        return Subject(model or "demo", tuple(load_image(path) for path in images))
    if images:
        raise VarStudioError(
            "A follow-up is about the pictures of its session.", "Leave out --image."
        )
    path, name = _place(follow_up)
    with open_session(path) as session:
        run = find_run(session, name)
        if not run.text.strip():
            raise VarStudioError(
                f"{run.name} holds no answer that a question could follow.",
                "Choose another run: SESSION#NAME.",
            )
        stored = tuple(run.stored_image(index) for index in range(len(run.image_entries)))
        known = run.provenance.get("checkpoint")
        if model is None and not isinstance(known, str):
            raise VarStudioError(f"{run.name} does not say its model.", "Name it with --model.")
        return Subject(model or str(known), stored, run.exchanges)


def _place(follow_up: str) -> tuple[Path, str | None]:
    """A session and the name of a run; a file may have the sign # in its name."""
    file, sign, name = follow_up.rpartition("#")
    if not sign or Path(follow_up).exists():
        return Path(follow_up), None
    return Path(file), name
