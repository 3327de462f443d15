"""A model without its weights: every module and shape, on the meta device, from the config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.models import vila_assembly

if TYPE_CHECKING:
    import torch


def build_skeleton(folder: Path, dtype: torch.dtype, *, trust_remote_code: bool = False) -> Any:
    """Return the checkpoint's model with all parameters on the meta device, in `dtype`.

    Reads the config only; takes no memory to speak of, whatever the model's size.
    """
    import torch
    import transformers

    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        if vila_assembly.is_vila(stored):
            config = vila_assembly.read_config(folder, stored)
            skeleton = vila_assembly.model_class()._from_config(config, dtype=dtype)
        else:
            config = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
            skeleton = transformers.AutoModelForImageTextToText.from_config(
                config, dtype=dtype, trust_remote_code=trust_remote_code
            )
    skeleton.tie_weights()
    return skeleton


def decoder_layers_path(model: Any) -> str:
    """Where the decoder layers are, e.g. "model.language_model.layers"."""
    layers = model.get_decoder().layers
    return str(next(path for path, module in model.named_modules() if module is layers))
