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
