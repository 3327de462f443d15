"""Any other image-text-to-text model of transformers: what it attends to, not where that is.

The visual tokens are the placeholders that its config names. Their place in the image is not
known, so they are shown as a strip, never over the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from var_studio.models.errors import (
    CheckpointError,
    PromptError,
    UnsupportedModelError,
    one_line,
)
from var_studio.models.families.base import Family, Message
from var_studio.models.families.geometry import unknown
from var_studio.recording.layout import VisualLayout

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_PLACEHOLDERS = ("image_token_id", "image_token_index")
# Ids of what stands around and between the tokens of an image, as configs name them.
_SEPARATORS = re.compile(r"(boi|eoi|image|img|vision|visual)\w*_token_(ids?|index)")


class Generic(Family):
    """A decoder that takes image features in place of placeholder tokens."""

    name = "generic"

    @classmethod
    def claims(cls, config: Mapping[str, Any]) -> bool:
        """Whether transformers has such a model, or code that comes with it might."""
        from transformers import CONFIG_MAPPING
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        )

        model_type = config.get("model_type")
        if model_type in CONFIG_MAPPING:
            return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        return bool(config.get("auto_map"))

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse, before its weights are read, what has no placeholders or no plain decoder."""
        import transformers

        model_type = str(config["model_type"])
        if model_type not in transformers.CONFIG_MAPPING:
            return
        try:
            full = transformers.CONFIG_MAPPING[model_type].from_dict(dict(config))
        except Exception as error:  # each config class has checks of its own
            raise CheckpointError(
                f"The config.json cannot be used: {one_line(error)}",
                "Copy or download the checkpoint again.",
            ) from error
        _check(full)

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Look at the loaded model for what its config does not tell."""
        _check(hf_model.config)
        layers = getattr(hf_model.get_decoder(), "layers", None)
        if not layers:
            raise _unsupported(hf_model.config, "keeps its decoder layers in another place")
        if not all(hasattr(layer, "self_attn") for layer in layers):
            raise _unsupported(hf_model.config, "has decoder layers without self-attention")
        if not hf_model.get_decoder()._supports_attention_backend:
            raise _unsupported(hf_model.config, "computes attention in code of its own")

    def placeholder(self, processor: Any) -> str:
        """The processor's own name for an image; a text nobody types where it has none."""
        owners = (processor, processor.tokenizer)
        names = (getattr(owner, "image_token", None) for owner in owners)
        return str(next((name for name in names if name), "<image>"))

    def image_token_id(self, hf_model: Any) -> int:
        """The id that the config names, wherever it does."""
        found = _placeholder_id(hf_model.config)
        assert found is not None  # `prepare` has looked
        return found

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """Ids that the processor counts to an image, or that the config names so."""
        found = set(getattr(processor, "image_token_ids", None) or ())
        for config in _configs(hf_model.config):
            for name, value in vars(config).items():
                if _SEPARATORS.fullmatch(name):
                    found.update(value if isinstance(value, list | tuple) else [value])
        return frozenset(i for i in found if isinstance(i, int)) - {self.image_token_id(hf_model)}

    def render(self, processor: Any, messages: Sequence[Message], *, ask: bool) -> str:
        """The checkpoint's template, which may name an image otherwise than the processor does."""
        owner = processor if getattr(processor, "chat_template", None) else processor.tokenizer
        if not getattr(owner, "chat_template", None):
            return self._rendered_plainly(processor, messages)
        return str(
            owner.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
        )

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """As other families; a processor that is called otherwise is told in our words."""
        try:
            return super().inputs(processor, images, text)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise PromptError(
                f"The processor of this model does not take this question: {one_line(error)}",
                "Ask about one image, or choose a model of a family that VAR Studio knows.",
            ) from error

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """No place for any token."""
        return unknown(sizes, positions)


def _configs(config: Any) -> Iterator[Any]:
    yield config
    for part in getattr(config, "sub_configs", ()):
        inner = getattr(config, part, None)
        if inner is not None:
            yield inner


def _placeholder_id(config: Any) -> int | None:
    for part in _configs(config):
        for name in _PLACEHOLDERS:
            value = getattr(part, name, None)
            if isinstance(value, int):
                return value
    return None


def _check(config: Any) -> None:
    text = config.get_text_config()
    if getattr(config, "is_encoder_decoder", False) or getattr(text, "is_encoder_decoder", False):
        raise _unsupported(config, "reads the image in an encoder of its own (encoder-decoder)")
    if _placeholder_id(config) is None:
        raise _unsupported(config, "has no placeholder token that stands for a visual token")


def _unsupported(config: Any, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Models of type {config.model_type!r} are not supported: this one {what}.",
        "Choose a model whose decoder attends to visual tokens among its own.",
    )
