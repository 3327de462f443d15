"""What will be asked next: images and a question. And the samples that ship with the demo."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from var_studio.assets import ResourceMissingError, resource

if TYPE_CHECKING:
    from var_studio.recording.images import StoredImage
    from var_studio.recording.tokens import Exchange


@dataclass(frozen=True, slots=True)
class Asked:
    """What the question is about: the images, in the order the model gets them; questions that
    suit them; what was said about them before, oldest first. `each`: the question is asked of each
    image alone, a run and an entry of the session for each."""

    images: tuple[StoredImage, ...] = ()
    suggestions: tuple[str, ...] = ()
    history: tuple[Exchange, ...] = ()
    each: bool = False


class QuestionModel(QObject):
    """The images, the prompt and the earlier turns of the next run.

    What the user does to the images and the turns can be undone; the prompt has its own undo,
    where it is typed. A change of the images ends a follow-up: it asks about the same ones.
    """

    image_changed = Signal()  # the images, each alone or not, their suggestions, the earlier turns
    prompt_changed = Signal()

    def __init__(self, undo_stack: QUndoStack | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.undo_stack = undo_stack if undo_stack is not None else QUndoStack(self)
        self.asked = Asked()
        self.prompt = ""

    @property
    def images(self) -> tuple[StoredImage, ...]:
        """The images; empty: none chosen yet."""
        return self.asked.images

    @property
    def image(self) -> StoredImage | None:
        """The first image."""
        return self.asked.images[0] if self.asked.images else None

    @property
    def suggestions(self) -> tuple[str, ...]:
        """Questions that suit the image."""
        return self.asked.suggestions

    @property
    def history(self) -> tuple[Exchange, ...]:
        """The turns that the question follows up, oldest first."""
        return self.asked.history

    @property
    def each(self) -> bool:
        """Whether each image gets a run of its own."""
        return self.asked.each

    @property
    def images_of_runs(self) -> tuple[tuple[StoredImage, ...], ...]:
        """The images of each run that the question makes; none without an image."""
        if self.each:
            return tuple((image,) for image in self.images)
        return (self.images,) if self.images else ()

    # --------------------------------------------------------------- what is no step of the user
    def show(
        self, images: Iterable[StoredImage], prompt: str, history: Iterable[Exchange] = ()
    ) -> None:
        """Show the question of a run."""
        self._apply(Asked(tuple(images), (), tuple(history)))
        self.set_prompt(prompt)

    def set_prompt(self, prompt: str) -> None:
        """Take another question."""
        if prompt != self.prompt:
            self.prompt = prompt
            self.prompt_changed.emit()

    # ------------------------------------------------------------------------------- the user
    def set_images(
        self,
        images: Iterable[StoredImage],
        suggestions: tuple[str, ...] = (),
        prompt: str | None = None,
    ) -> None:
        """Ask about these images instead, with questions that suit them; `prompt`: and this.

        Of several each is asked about alone, until `set_each` says that they belong together.
        """
        chosen = tuple(images)
        asked = Asked(chosen, suggestions, each=len(chosen) > 1)
        self._push(asked, "change of image", prompt)

    def set_image(self, image: StoredImage | None, suggestions: tuple[str, ...] = ()) -> None:
        """Ask about one image."""
        self.set_images(() if image is None else (image,), suggestions)

    def add_images(self, images: Iterable[StoredImage]) -> None:
        """Ask about these images too: in the same question, or alone where each one is."""
        self._push(Asked((*self.images, *images), each=self.each), "added image")

    def remove_image(self, number: int) -> None:
        """Ask about one image less."""
        images = self.images[:number] + self.images[number + 1 :]
        self._push(Asked(images, each=self.each and len(images) > 1), "removal of image")

    def move_image(self, number: int, place: int) -> None:
        """Put an image at another place in the order."""
        images = list(self.images)
        images.insert(min(max(place, 0), len(images) - 1), images.pop(number))
        moved = Asked(tuple(images), self.suggestions, each=self.each)
        self._push(moved, "order of images")

    def set_each(self, each: bool) -> None:
        """Ask about each image alone, or about all of them in one question."""
        each = each and len(self.images) > 1
        text = "one run for each image" if each else "one question about all images"
        self._push(replace(self.asked, each=each), text)

    def follow_up(self, images: Iterable[StoredImage], history: Iterable[Exchange]) -> None:
        """Ask on, after these turns, about the images that they were about."""
        self._push(Asked(tuple(images), (), tuple(history)), "follow-up", "")

    def start_over(self) -> None:
        """No follow-up: ask about the images as if nothing had been said."""
        self._push(Asked(self.images), "end of the follow-up")

    # ------------------------------------------------------------------------------ plumbing
    def _push(self, after: Asked, text: str, prompt: str | None = None) -> None:
        prompts = (self.prompt, self.prompt if prompt is None else prompt)
        if after != self.asked or prompts[0] != prompts[1]:
            self.undo_stack.push(_Change(self, (self.asked, after), prompts, text))

    def _apply(self, asked: Asked) -> None:
        self.asked = asked
        self.image_changed.emit()


class _Change(QUndoCommand):
    """`asked` and `prompts`: before and after. The prompt is put back only by a step that changed
    it."""

    def __init__(
        self,
        model: QuestionModel,
        asked: tuple[Asked, Asked],
        prompts: tuple[str, str],
        text: str,
    ) -> None:
        super().__init__(text)
        self._model, self._asked, self._prompts = model, asked, prompts

    def redo(self) -> None:
        self._show(1)

    def undo(self) -> None:
        self._show(0)

    def _show(self, which: int) -> None:
        self._model._apply(self._asked[which])
        if self._prompts[0] != self._prompts[1]:
            self._model.set_prompt(self._prompts[which])


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
