"""Tiny processors of families that own a video slot, saved as their repositories on the hub are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.models.tiny import build_tokenizer

TOKENS = {
    "qwen2_vl": {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    "internvl": {
        "context_image_token": "<IMG_CONTEXT>", "start_image_token": "<img>",
        "end_image_token": "</img>", "video_token": "<video>",
    },
    "llava_onevision": {"image_token": "<image>", "video_token": "<video>"},
    "smolvlm": {
        "image_token": "<image>", "video_token": "<video>",
        "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    },
}  # fmt: skip
FAMILIES = {
    "qwen2_vl": ("Qwen2VL", "Qwen2VLImageProcessor"),
    "internvl": ("InternVL", "GotOcr2ImageProcessor"),
    "llava_onevision": ("LlavaOnevision", "LlavaOnevisionImageProcessor"),
    "smolvlm": ("SmolVLM", "SmolVLMImageProcessor"),
}
IMAGE = {
    "qwen2_vl": {"min_pixels": 56 * 56, "max_pixels": 112 * 112},
    "internvl": {"size": {"height": 28, "width": 28}, "crop_to_patches": True, "max_patches": 4},
    "llava_onevision": {"size": {"height": 28, "width": 28}, "image_grid_pinpoints": [[28, 56]]},
    "smolvlm": {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "qwen2_vl": {},
    "internvl": {"image_seq_length": 4},
    "llava_onevision": {
        "num_image_tokens": 4, "vision_feature_select_strategy": "full", "patch_size": 14,
    },
    "smolvlm": {"image_seq_len": 4},
}  # fmt: skip


def save(folder: Path, family: str, *, nested: bool) -> Path:
    """Write the processor's files. `nested`: all in processor_config.json, as transformers 5 does;
    else a preprocessor_config.json as most repositories on the hub have."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(family).save_pretrained(folder)
    prefix, image_processor = FAMILIES[family]
    settings = {"processor_class": f"{prefix}Processor", **SETTINGS[family]}
    image = {"image_processor_type": image_processor, **IMAGE[family]}
    video = {"video_processor_type": f"{prefix}VideoProcessor"}
    if nested:
        settings |= {"image_processor": image, "video_processor": video}
    else:
        write(folder / "preprocessor_config.json", {**settings, **image})
        write(folder / "video_preprocessor_config.json", video)
    write(folder / "processor_config.json", settings)
    write(folder / "config.json", {"model_type": family})
    return folder


def _tokenizer(family: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer().backend_tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens=TOKENS[family],
        chat_template="{{ messages[0]['content'] }}",
    )


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))
