"""One file per model family: prompt, visual spans and their place in the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.base import Encoded, Family, check_prompt, encode
from var_studio.models.families.deepseek_vl import DeepseekVL
from var_studio.models.families.gemma3 import Gemma3
from var_studio.models.families.gemma4 import Gemma4
from var_studio.models.families.generic import Generic
from var_studio.models.families.glm4v import Glm4v
from var_studio.models.families.idefics3 import Idefics3
from var_studio.models.families.internvl import InternVL
from var_studio.models.families.janus import Janus
from var_studio.models.families.llava import Llava
from var_studio.models.families.llava_next import LlavaNext
from var_studio.models.families.llava_onevision import LlavaOnevision
from var_studio.models.families.mistral3 import Mistral3, Pixtral
from var_studio.models.families.mllama import Mllama
from var_studio.models.families.paligemma import PaliGemma
from var_studio.models.families.qwen_vl import QwenVL
from var_studio.models.families.vila import Vila

__all__ = ["FAMILIES", "Encoded", "Family", "check_prompt", "encode", "family_of"]

FAMILIES: Final[tuple[type[Family], ...]] = (
    # One line each.
    Gemma4,
    Pixtral,
    Mistral3,
    DeepseekVL,
    Gemma3,
    Glm4v,
    Idefics3,
    InternVL,
    Janus,
    Llava,
    LlavaNext,
    LlavaOnevision,
    Mllama,
    PaliGemma,
    QwenVL,
    Vila,
    # Whatever the others do not claim.
    Generic,
)


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the family of a checkpoint's config. Raises UnsupportedModelError."""
    model_type = str(config.get("model_type"))
    for family in FAMILIES:
        if family.claims(config):
            found = family()
            found.check_config(config)
            return found
    known = ", ".join(sorted({t for family in FAMILIES for t in family.model_types}))
    raise UnsupportedModelError(
        f"Models of type {model_type!r} are not supported.",
        f"Choose a checkpoint of one of these types: {known}; or another that transformers "
        "loads as image-text-to-text.",
    )
