"""GLM-4V: patches merged by a convolution, keys shared by four heads; with experts; 4.6."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.models.families.kit import Case
from tests.models.families.patch_rows import SIZES, means, save_processor

TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% else %}<|assistant|>\n{{ m['content'][0]['text'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NAMED = {
    "image_token": "<|image|>", "video_token": "<|video|>",
    "image_start_token": "<|begin_of_image|>", "image_end_token": "<|end_of_image|>",
    "video_start_token": "<|begin_of_video|>", "video_end_token": "<|end_of_video|>",
}  # fmt: skip
SPECIAL = ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>")


def _save(kind: str, *, fine: bool = False) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import torch
        import transformers

        owner = "Glm46V" if kind == "glm46v" else "Glm4v"
        tokenizer = save_processor(
            folder,
            owner=owner,
            image_processor=f"{owner}ImageProcessor",
            patch=14,
            cells=(16, 15_000 if fine else 48),
            template=TEMPLATE,
            named=NAMED,
            special=SPECIAL,
        )
        experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        config = transformers.AutoConfig.for_model(
            kind,
            text_config={
                **(experts if kind == "glm4v_moe" else {}),
                "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128,
                "num_hidden_layers": 1 if fine else 4, "num_attention_heads": 4,
                "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 4096,
                "initializer_range": 0.15, "pad_token_id": 0, "eos_token_id": 2,
                "rope_parameters": {
                    "rope_type": "default", "rope_theta": 10_000.0,
                    "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2],
                },
            },
            vision_config={
                "depth": 1 if fine else 2, "hidden_size": 32, "num_heads": 2, "image_size": 84,
                "out_hidden_size": 64, "intermediate_size": 48, "initializer_range": 0.1,
            },
            **{f"{key}_id": tokenizer.convert_tokens_to_ids(t) for key, t in NAMED.items()},
        )  # fmt: skip
        torch.manual_seed(0)
        transformers.AutoModelForImageTextToText.from_config(config).eval().save_pretrained(folder)
        return folder

    return save


CASES = [
    Case(
        "glm4v",
        _save("glm4v"),
        _save("glm4v", fine=True),
        coordinate_sizes=SIZES,
        means=means,
        views=lambda lmm, size: 1,
    ),
    Case("glm4v-moe", _save("glm4v_moe"), views=lambda lmm, size: 1),
    Case("glm46v", _save("glm46v"), views=lambda lmm, size: 1),
]
