"""``var-studio gallery``: a session as one page for a browser."""

from __future__ import annotations

from pathlib import Path

from var_studio.cli.export import keep_existing, tell
from var_studio.cli.interventions import changed_settings
from var_studio.cli.terminal import Progress
from var_studio.errors import VarStudioError
from var_studio.figures.batch import tokens_named
from var_studio.figures.gallery import save_gallery
from var_studio.recording.session import open_session


def gallery(
    session: Path,
    out: Path,
    *,
    tokens: str | None,
    layer: int | None,
    head: int | None,
    settings_file: Path | None,
    title: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the page, and print its name and size. Raises VarStudioError."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise VarStudioError(f"{out} is no page.", "Use .html.")
    keep_existing([out], overwrite)
    progress = Progress()
    try:
        with open_session(session) as opened:
            save_gallery(
                opened,
                out,
                tokens=None if tokens is None else lambda run: tokens_named(run, tokens),
                layer=layer,
                head=head,
                settings=changed_settings(None, settings_file, {}),
                title=title or "",
                progress=lambda done, total: progress.say("Drawing", f"{done + 1} of {total}"),
            )
    finally:
        progress.end()
    tell([out], as_json)
    size = out.stat().st_size
    progress.say(f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB")
    progress.end()
