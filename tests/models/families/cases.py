"""Every family's cases. One line each."""

from __future__ import annotations

from tests.models.families import (
    case_deepseek_vl,
    case_gemma3,
    case_gemma4,
    case_generic,
    case_glm4v,
    case_idefics3,
    case_internvl,
    case_llava,
    case_llava_next,
    case_llava_onevision,
    case_mistral3,
    case_mllama,
    case_paligemma,
    case_qwen_vl,
    case_vila,
)
from tests.models.families.kit import Case

CASES: dict[str, Case] = {
    case.name: case
    for module in [
        case_gemma4,
        case_mistral3,
        case_deepseek_vl,
        case_gemma3,
        case_generic,
        case_glm4v,
        case_idefics3,
        case_internvl,
        case_llava,
        case_llava_next,
        case_llava_onevision,
        case_mllama,
        case_paligemma,
        case_qwen_vl,
        case_vila,
    ]
    for case in module.CASES
}
