"""How the questions of a session are named, so that each can be told from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from var_studio.gui.models.workspace import facts_of

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

_LONGEST: Final = 26
"""Characters of a part of a name in a list; its tooltip has them all."""


def told_apart(groups: list[list[Recording]]) -> list[tuple[str, str]]:
    """Of each question its model, where there are several, and its words, with the images where
    the same was asked of others."""
    runs = [group[0] for group in groups]
    models = [facts_of(run).name or facts_of(run).key for run in runs]
    images = [", ".join(entry.name for entry in run.image_entries) for run in runs]
    asked = [_question_of(run) for run in runs]
    found = []
    for model, names, words in zip(models, images, asked, strict=True):
        others = {name for name, word in zip(images, asked, strict=True) if word == words}
        twins = list(zip(models, asked, strict=True)).count((model, words)) > 1
        question = f"{names}: {words}" if len(others) > 1 or twins else words
        found.append((model if len(set(models)) > 1 else "", question))
    return found


def clipped(text: str) -> str:
    """Short enough for a list."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _question_of(run: Recording) -> str:
    """The question as it was typed, on one line."""
    asked = run.provenance.get("prompt") or "".join(
        token.text for token in run.tokens if token.role == "prompt"
    )
    return " ".join(str(asked).split())
