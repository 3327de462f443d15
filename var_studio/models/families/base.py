"""What every model family declares: how to ask, which tokens are visual, where they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from var_studio.models.errors import PromptError
from var_studio.models.pieces import PieceDecoder
from var_studio.recording.layout import VisualLayout
from var_studio.recording.tokens import Role, Token

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from var_studio.recording.images import StoredImage


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt, ready for the model.

    `inputs` go to `hf_model` or `hf_model.generate` as they are, on the model's device; batch 1.
    `tokens` has one entry per position of `inputs["input_ids"]`.
    """

    inputs: dict[str, torch.Tensor]
    tokens: tuple[Token, ...]
    layout: VisualLayout
    images: tuple[StoredImage, ...]

    @property
    def length(self) -> int:
        """Number T of positions."""
        return len(self.tokens)


class Family(Protocol):
    """One model family. Its file reads top to bottom; nothing of it is known elsewhere."""

    name: str

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Fill what old checkpoints leave out of their processor. Raises UnsupportedModelError."""

    def image_token_id(self, hf_model: Any) -> int:
        """Id of the placeholder that stands for one visual token."""

    def question(self, processor: Any, prompt: str, n_images: int) -> str:
        """The prompt in the model's chat format, an image placeholder for each image."""

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """Place each visual token in the original images; `sizes` are their (width, height)."""


def check_prompt(processor: Any, prompt: Any) -> None:
    """Refuse a prompt that is empty, no text, or that holds a special token. Raises PromptError.

    The tokenizer would take the text of a special token for the token itself, e.g. `</s>` for the
    end of the sequence.
    """
    if not isinstance(prompt, str):
        raise PromptError(
            f"The prompt is a text, not {type(prompt).__name__}.", "Pass the question as a string."
        )
    if not prompt.strip():
        raise PromptError("The prompt is empty.", "Type a question about the image.")
    halves = [character for character in prompt if "\ud800" <= character <= "\udfff"]
    if halves:
        raise PromptError(
            f"The prompt holds half of a character (U+{ord(halves[0]):04X}).",
            "Remove it, or type the question again.",
        )
    tokenizer = processor.tokenizer
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
    # The family has a word to say about its placeholder.
    special.discard(getattr(processor, "image_token", ""))
    # Some tokenizers pad with a letter or a sign of ordinary text.
    found = [token for token in special if len(token) > 1 and token in prompt]
    if found:
        first = min(found, key=lambda token: (prompt.index(token), -len(token)))
        raise PromptError(
            f"The prompt holds {first}, which the model reads as a special token, not as text.",
            "Remove it, or break it with a space.",
        )


def encode(
    family: Family,
    hf_model: Any,
    processor: Any,
    images: Sequence[Image],
    prompt: str,
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...], VisualLayout]:
    """Tokenise a question about images and lay its visual tokens out. Inputs stay on the CPU.

    Raises PromptError if the prompt's own text holds image placeholders.
    """
    import torch

    text = family.question(processor, prompt, len(images))
    tokenizer = processor.tokenizer
    bos = tokenizer.bos_token
    batch = processor(
        images=list(images),
        text=text,
        return_tensors="pt",
        # Some templates write BOS themselves; a second one would shift the first-token sink.
        add_special_tokens=not (bos and text.startswith(bos)),
        # A prompt that is too long for the model is refused in our own words.
        text_kwargs={"verbose": False},
    )
    inputs = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    ids = [int(i) for i in inputs["input_ids"][0]]
    placeholder = family.image_token_id(hf_model)
    positions = [i for i, token_id in enumerate(ids) if token_id == placeholder]
    if not positions:
        raise PromptError(
            "The encoded prompt holds no visual token.",
            "The processor and the model of this checkpoint do not fit: check its files.",
        )
    layout = family.layout(hf_model, processor, [i.size for i in images], inputs, positions)
    return inputs, _tokens(tokenizer, ids, set(positions)), layout


def _tokens(tokenizer: Any, ids: Sequence[int], visual: set[int]) -> tuple[Token, ...]:
    """Name each position of a prompt. Roles as in `recording.tokens`."""
    decoder = PieceDecoder(tokenizer)
    first = min(visual)
    tokens = []
    for position, token_id in enumerate(ids):
        role: Role = "visual" if position in visual else "system" if position < first else "prompt"
        special = decoder.is_special(token_id) or role == "visual"
        tokens.append(Token(position, token_id, decoder.push(token_id), role, special))
    return tuple(tokens)
