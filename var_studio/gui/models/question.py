"""What will be asked next: a picture and a question. And the samples that ship with the demo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from var_studio.assets import ResourceMissingError, resource

if TYPE_CHECKING:
    from var_studio.recording.images import StoredImage


class QuestionModel(QObject):
    """The image (None: none chosen yet) and the prompt of the next run."""

    image_changed = Signal()
    prompt_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.image: StoredImage | None = None
        self.prompt = ""
        self.suggestions: tuple[str, ...] = ()

    def set_image(self, image: StoredImage | None, suggestions: tuple[str, ...] = ()) -> None:
        """Take another picture, with questions that suit it."""
        self.image = image
        self.suggestions = suggestions
        self.image_changed.emit()

    def set_prompt(self, prompt: str) -> None:
        """Take another question."""
        if prompt != self.prompt:
            self.prompt = prompt
            self.prompt_changed.emit()


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture that ships with VAR Studio. `note`: what one should know of it, or ""."""

    path: Path
    title: str
    questions: tuple[str, ...]
    note: str = ""


def shipped_samples() -> tuple[Sample, ...]:
    """The samples of resources/samples/samples.json; none where the folder is missing."""
    try:
        index = resource("samples", "samples.json")
    except ResourceMissingError:
        return ()
    document: Any = json.loads(index.read_text(encoding="utf-8"))
    entries = document["samples"] if isinstance(document, dict) else document
    return tuple(
        Sample(
            path=index.parent / entry["file"],
            title=str(entry.get("title") or Path(entry["file"]).stem),
            questions=tuple(_question(q) for q in entry.get("questions", ())),
            note=_note(entry),
        )
        for entry in entries
    )


def _note(entry: Any) -> str:
    """What to say of a picture that is not like those the demo learned from."""
    if entry.get("note"):
        return str(entry["note"])
    if entry.get("kind", "training-like") != "training-like":
        return "Unlike the pictures the demo learned from: expect wrong answers."
    return ""


def _question(entry: Any) -> str:
    return str(entry["question"] if isinstance(entry, dict) else entry)
