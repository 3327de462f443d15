"""Janus and Janus-Pro (`JanusForConditionalGeneration`), asked for text.

Images are seen as DeepSeek-VL sees them. What the model has for drawing images is not used.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from var_studio.models.families.deepseek_vl import DeepseekVL


class Janus(DeepseekVL):
    """As DeepSeek-VL, with a mark before and after each image."""

    name = "janus"
    model_types = ("janus",)
    fallback_start = ""  # the processor writes the system prompt itself, if it is to have one
    fallback_image = "{image}\n"
    fallback = "<|User|>: {images}{prompt}\n\n<|Assistant|>:"

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Let `generate` be the ordinary one.

        Janus' own hands text on to it, but drops logits processors on the way. The guidance scale
        in its checkpoints is meant for images.
        """
        from transformers import GenerationMixin

        hf_model.generate = partial(GenerationMixin.generate, hf_model, guidance_scale=None)

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """The marks before and after each image."""
        marks = [processor.image_start_token, processor.image_end_token]
        return frozenset(processor.tokenizer.convert_tokens_to_ids(marks))
