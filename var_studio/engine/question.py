"""What a run is asked: what was said before, and an answer that it shall score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from var_studio.engine.arguments import check_interventions, check_named_tokens
from var_studio.recording.failures import SettingsError
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import Exchange

if TYPE_CHECKING:
    from var_studio.models.loaded import Encoded, LoadedModel
    from var_studio.recording.settings import Generation, Interventions


def earlier_exchanges(history: Any) -> tuple[Exchange, ...]:
    """The exchanges before a question, of a list or of the recording that it follows up.

    Raises SettingsError for anything else, and for a recording that holds no answer.
    """
    if isinstance(history, Recording):
        if not history.text.strip():
            raise SettingsError(
                f"{history.name} holds no answer that a question could follow.",
                "Choose a run that was answered.",
            )
        return history.exchanges
    if isinstance(history, Sequence) and all(isinstance(item, Exchange) for item in history):
        return tuple(history)
    raise SettingsError(
        f"history takes a recording or a list of Exchange, not {type(history).__name__}.",
        "Write history=run, or history=[vs.Exchange(question, answer)].",
    )


def images_in_question(image: Any, history: Any) -> Any:
    """The image that was given; without one, those of the recording that is followed up."""
    if image is None and isinstance(history, Recording):
        return [history.stored_image(index) for index in range(len(history.image_entries))]
    return image


def check_question(
    lmm: LoadedModel,
    image: Any,
    prompt: str,
    interventions: Interventions,
    *,
    history: Sequence[Exchange] | Recording = (),
    generation: Generation,
) -> None:
    """Raise what `record` would for interventions that do not fit a question. Nothing is run."""
    check_interventions(interventions, lmm)
    image, history = images_in_question(image, history), earlier_exchanges(history)
    encoded = lmm.encode(image, prompt, history)
    check_named_tokens(interventions, lmm, encoded, generation.max_new_tokens)


def check_teacher(teacher: Any) -> None:
    """Raise SettingsError for anything but a recording with an answer."""
    if not isinstance(teacher, Recording):
        raise SettingsError(
            f"teacher takes a recording, not {type(teacher).__name__}.",
            "Pass the run whose answer is to be scored.",
        )
    if not len(teacher.generated_positions):
        raise SettingsError(
            f"{teacher.name} holds no generated token to score.", "Choose a run with an answer."
        )


def answer_of(teacher: Recording, encoded: Encoded) -> list[int]:
    """Ids of the teacher's answer. Raises SettingsError if it was asked something else."""
    asked = [token.id for token in teacher.tokens[: teacher.prompt_length]]
    same_images = [e.sha256 for e in teacher.image_entries] == [i.sha256 for i in encoded.images]
    if asked != [token.id for token in encoded.tokens] or not same_images:
        what = "another prompt" if same_images else "another image"
        raise SettingsError(
            f"{teacher.name} answers {what}: its tokens cannot be scored here.",
            "Ask the same question about the same image.",
        )
    return [token.id for token in teacher.tokens[teacher.prompt_length :]]
