"""PaliGemma 1 and 2: a squashed image as one raster, then a plain prompt without any chat.

All of the prompt attends in both directions (a prefix); the answer attends causally. PaliGemma 2
has Gemma 2 for its language model: softcap, and windows in every other layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.families.base import Family, Message
from var_studio.models.families.llava import rasters
from var_studio.recording.layout import VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class PaliGemma(Family):
    """`PaliGemmaForConditionalGeneration` with a Gemma or Gemma 2 language model."""

    name = "paligemma"
    model_types = ("paligemma",)

    def render(self, processor: Any, messages: Sequence[Message], *, ask: bool) -> str:
        """Images, BOS, and each question and answer on a line: what the tokenizer gets."""
        parts = [part for message in messages for part in message["content"]]
        images = sum(part["type"] == "image" for part in parts)
        lines = "".join(f"{part['text']}\n" for part in parts if part["type"] == "text")
        return f"{self.placeholder(processor) * images}{processor.tokenizer.bos_token}{lines}"

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """The model's inputs, without the labels that the processor adds for training."""
        import torch

        # The processor writes BOS and the last newline itself.
        batch = processor(
            images=list(images),
            text=text.replace(processor.tokenizer.bos_token, "", 1).removesuffix("\n"),
            add_special_tokens=False,
            text_kwargs={"verbose": False},
        ).convert_to_tensors("pt")
        wanted = {key: value for key, value in batch.items() if key != "labels"}
        return {key: value for key, value in wanted.items() if isinstance(value, torch.Tensor)}

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """One raster of patches per image."""
        return rasters(hf_model, processor, sizes, inputs, positions)
