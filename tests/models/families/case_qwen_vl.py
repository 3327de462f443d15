"""Qwen2-VL, Qwen2.5-VL (windows in its vision part), Qwen3-VL (features added in between)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.models.families.kit import Case
from tests.models.families.patch_rows import SIZES, means, save_processor

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMED = {
    "image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>",
}  # fmt: skip
OWNERS = {
    "qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL",
    "qwen3_vl_moe": "Qwen3VL",
}  # fmt: skip
SPECIAL = ("<|im_start|>", "<|im_end|>")


def _save(kind: str, patch: int, *, fine: bool = False) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import torch
        import transformers

        tokenizer = save_processor(
            folder,
            owner=OWNERS[kind],
            image_processor="Qwen2VLImageProcessor",
            patch=patch,
            cells=(4, 1280 if fine else 24),
            template=TEMPLATE,
            named=NAMED,
            special=SPECIAL,
        )
        ids = {f"{key}_id": tokenizer.convert_tokens_to_ids(token) for key, token in NAMED.items()}
        text: dict[str, Any] = {
            "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 1 if fine else 4, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 4096, "initializer_range": 0.15,
            "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3],
            },
        }  # fmt: skip
        vision: dict[str, Any] = {
            "depth": 1 if fine else 2, "num_heads": 2, "patch_size": patch,
            "initializer_range": 0.1,
        }  # fmt: skip
        if kind == "qwen2_vl":
            # The last layers have a window, as the first checkpoints' configs could ask for.
            text |= {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 2}
            vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
        else:
            vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
        if kind == "qwen2_5_vl":
            # Windows of two by two cells: most images end in cut ones.
            vision |= {"window_size": 4 * patch, "fullatt_block_indexes": [0]}
        if kind.startswith("qwen3_vl"):
            text |= {"head_dim": 24}
            text["rope_parameters"]["mrope_section"] = [4, 4, 4]
            vision |= {"num_position_embeddings": 36, "deepstack_visual_indexes": [0]}
        if kind == "qwen3_vl_moe":
            text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        config = transformers.AutoConfig.for_model(
            kind, text_config=text, vision_config=vision, **ids
        )
        torch.manual_seed(0)
        model = transformers.AutoModelForImageTextToText.from_config(config).eval()
        model.save_pretrained(folder)
        return folder

    return save


def _one_view(lmm: Any, size: tuple[int, int]) -> int:
    return 1


def _case(name: str, kind: str, patch: int) -> Case:
    save = _save(kind, patch)
    if kind.endswith("_moe"):
        # The vision part is that of the model without experts.
        return Case(name, save, views=_one_view)
    fine = _save(kind, patch, fine=True)
    return Case(name, save, fine, coordinate_sizes=SIZES, means=means, views=_one_view)


CASES = [
    _case("qwen2-vl", "qwen2_vl", 14),
    _case("qwen2.5-vl", "qwen2_5_vl", 14),
    _case("qwen3-vl", "qwen3_vl", 16),
    _case("qwen3-vl-moe", "qwen3_vl_moe", 16),
]
