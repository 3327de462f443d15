"""What the tiny checkpoints of several families have in common: sizes, and a processor's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

TOWER: Mapping[str, int] = MappingProxyType(
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
)
"""Sizes of a vision tower."""


def text_sizes(vocabulary: int, layers: int) -> dict[str, Any]:
    """Sizes, token ids and spread of a language model."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.15,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def write_processor(folder: Path, tokenizer: Any, template: str, **files: Any) -> None:
    """Write a processor by hand, one of `files` for each JSON file.

    For those whose own class needs torchvision, which is not there.
    """
    tokenizer.save_pretrained(folder)
    for name, settings in files.items():
        (folder / f"{name}.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(template)
