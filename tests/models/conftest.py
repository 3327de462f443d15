"""Checkpoints on disk, each made once a session and loaded the ordinary way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import var_studio as vs
from tests.models.tiny import save_checkpoint

VARIANTS: dict[str, dict[str, Any]] = {
    "crop": {"kind": "crop"},
    "gqa": {"kind": "crop", "kv_heads": 2, "seed": 1},
    "pad": {"kind": "pad", "seed": 2},
    "squash": {"kind": "squash", "seed": 3},
    "oversize": {"kind": "oversize", "seed": 4},
    "full": {"kind": "crop", "strategy": "full", "seed": 5},
    "mistral": {"text": "mistral", "kv_heads": 2, "seed": 6, "sliding_window": 24},
    # Scores are capped, every second layer has a window, values are not hidden / heads wide.
    "softcap": {
        "text": "gemma2", "kv_heads": 2, "seed": 7, "sliding_window": 24, "head_dim": 24,
        "query_pre_attn_scalar": 24, "attn_logit_softcapping": 2.0,
    },
    # A score beside the keys in each head (`s_aux`).
    "gpt-oss": {
        "text": "gpt_oss", "kv_heads": 2, "seed": 8, "sliding_window": 24, "head_dim": 16,
        "num_local_experts": 2, "num_experts_per_tok": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint by the name of its variant. Do not write into it."""

    @cache
    def get(name: str) -> Path:
        return save_checkpoint(tmp_path_factory.mktemp(f"tiny-{name}"), **VARIANTS[name])

    return get


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """A loaded model by variant, or "demo". Leave it as you found it."""

    @cache
    def get(name: str) -> Any:
        return vs.load_model("demo" if name == "demo" else checkpoint(name))

    return get
