"""One file per model family: prompt, visual spans and their place in the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Encoded, Family, check_prompt, encode
from var_studio.models.families.llava import Llava

__all__ = ["Encoded", "Family", "check_prompt", "encode", "family_of"]

_BY_MODEL_TYPE: dict[str, type[Llava]] = {"llava": Llava}


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the family of a checkpoint's config. Raises UnsupportedModelError."""
    model_type = str(config.get("model_type"))
    if model_type not in _BY_MODEL_TYPE:
        known = ", ".join(sorted(_BY_MODEL_TYPE))
        raise UnsupportedModelError(
            f"Models of type {model_type!r} are not supported.",
            f"Choose a checkpoint of one of these types: {known}.",
        )
    architectures = config.get("architectures") or []
    if model_type == "llava" and not any("LlavaForConditional" in a for a in architectures):
        raise UnsupportedModelError(
            f"This is not a LlavaForConditionalGeneration checkpoint ({architectures or 'none'}).",
            "Use the transformers conversion of the model (for LLaVA-1.5: llava-hf on the hub).",
        )
    return _BY_MODEL_TYPE[model_type]()
