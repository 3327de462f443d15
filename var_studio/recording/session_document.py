"""What a session file says of itself at its root, and the images that its runs share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from var_studio.recording.arrays import FormatError, parse
from var_studio.recording.content import FULL, Content
from var_studio.recording.document import ImageEntry, PlainValues, RunId
from var_studio.recording.failures import LeftOutError, SessionError
from var_studio.recording.files import Files, ZipFiles
from var_studio.recording.images import StoredImage
from var_studio.recording.migrations import SESSION_SCHEMA, NewerSchemaError, migrate_session
from var_studio.recording.regions import Region
from var_studio.recording.store import GROUP


class SavedImage(ImageEntry):
    """An image of a session; where it is left out, there are no bytes of it in the file."""

    left_out: bool = False

    @classmethod
    def of(cls, image: StoredImage | ImageEntry) -> SavedImage:
        """What is said of an image; one without its bytes is left out."""
        return cls(
            sha256=image.sha256,
            media_type=image.media_type,
            name=image.name,
            note=image.note,
            left_out=isinstance(image, ImageEntry),
        )


class SessionDocument(BaseModel):
    """The attributes of a session's root group. Fields that a later version adds are ignored."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["var-studio-session"] = "var-studio-session"
    schema_version: int = Field(SESSION_SCHEMA, alias="schema")
    notes: str = ""
    view: PlainValues = {}
    content: Content = FULL
    images: tuple[SavedImage, ...] = ()
    runs: tuple[RunId, ...] = ()
    regions: dict[str, tuple[Region, ...]] = {}


def read_document(files: ZipFiles) -> SessionDocument:
    """The attributes of a session file. Raises SessionError."""
    encoded = files.read(GROUP)
    if encoded is None:
        raise SessionError(f"{files.place} is not a session of VAR Studio.", "Choose a .vars file.")
    try:
        attributes = parse(encoded).get("attributes")
        if not isinstance(attributes, dict) or attributes.get("kind") != "var-studio-session":
            raise SessionError(
                f"{files.place} is not a session of VAR Studio.", "Choose a .vars file."
            )
        document = SessionDocument.model_validate(migrate_session(attributes))
    except NewerSchemaError as error:
        raise files.too_new(str(error)) from error
    except FormatError as error:
        raise files.damaged(str(error)) from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise files.damaged(f"its description is wrong at {where or 'its start'}") from error
    if len(set(document.runs)) != len(document.runs):
        raise files.damaged("it lists a run twice")
    return document


class ImageFinder:
    """Finds the bytes of a run's image among the images of the session, by hash."""

    def __init__(self, files: Files, images: Sequence[SavedImage]) -> None:
        self._files = files
        self._images = {image.sha256: (number, image) for number, image in enumerate(images)}

    def knows(self, entry: ImageEntry) -> bool:
        """Whether the session names that image."""
        return entry.sha256 in self._images

    def __call__(self, index: int, entry: ImageEntry) -> bytes | None:
        number, image = self._images.get(entry.sha256, (-1, None))
        if image is not None and image.left_out:
            raise LeftOutError(
                f"The picture {entry.name} was left out when this session was saved.",
                f"What the run saw has the SHA-256 {entry.sha256}.",
            )
        return self._files.read(f"images/{number}/c.0")
