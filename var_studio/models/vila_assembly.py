"""VILA-1.5: a model put together from the three folders of its repository.

`transformers` has no class for it. The parts are a LLaVA's: a SigLIP tower in `vision_tower/`, a
language model in `llm/`, and between them `mm_projector/`, which makes one token of two by two
patches. Behaviour follows the published code (github.com/NVlabs/VILA: `base_projector.py`,
`llava_arch.py`, `mm_utils.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from var_studio.models.checkpoints import Checkpoint

MODEL_TYPE: Final = "llava_llama"
PARTS: Final = ("llm", "vision_tower", "mm_projector")

_PREFIXES: Final = {
    "llm": {"model.": "model.language_model.", "lm_head.": "lm_head."},
    "vision_tower": {"": "model.vision_tower."},
    "mm_projector": {"": "model.multi_modal_projector."},
}
"""What the names of a part's weights begin with, and begin with in the whole."""


def is_vila(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a repository of three folders."""
    named = all(isinstance(config.get(f"{part}_cfg"), Mapping) for part in PARTS)
    return config.get("model_type") == MODEL_TYPE and named


def read_config(folder: Path, config: Mapping[str, Any]) -> Any:
    """Return the LlavaConfig of the whole; the parts' own files win over what config.json says."""
    import transformers

    text, vision = (
        transformers.AutoConfig.from_pretrained(folder / part, local_files_only=True)
        for part in ("llm", "vision_tower")
    )
    # Nothing reads the tower's pooled output.
    vision.vision_use_head = False
    return transformers.LlavaConfig(
        text_config=text,
        vision_config=vision,
        vision_feature_layer=config["mm_vision_select_layer"],
        vision_feature_select_strategy="full",
        tie_word_embeddings=text.tie_word_embeddings,
        architectures=["VilaForConditionalGeneration"],
    )


def load_vila(checkpoint: Checkpoint, **options: Any) -> Any:
    """`from_pretrained` of the whole: the same options, and the same result."""
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = {}
    for shard in checkpoint.shards:
        for name, tensor in load_file(shard).items():
            for before, after in _PREFIXES[shard.parent.name].items():
                if name.startswith(before):
                    weights[after + name.removeprefix(before)] = tensor
    config = read_config(checkpoint.folder, checkpoint.config)
    return model_class().from_pretrained(None, config=config, state_dict=weights, **options)


def load_vila_processor(folder: Path) -> Any:
    """Return a LlavaProcessor of the tower's image processor and the language model's tokenizer."""
    import transformers

    return transformers.LlavaProcessor(
        transformers.AutoImageProcessor.from_pretrained(
            folder / "vision_tower", local_files_only=True
        ),
        transformers.AutoTokenizer.from_pretrained(folder / "llm", local_files_only=True),
    )


@cache
def model_class() -> Any:
    """`LlavaForConditionalGeneration` with VILA's projector. A function, as torch loads late."""
    import torch
    import transformers

    class Downsample(torch.nn.Module):
        """Two by two patches side by side in the channels; columns before rows."""

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            n, patches, channels = features.shape
            side = int(patches**0.5)
            grid = features.reshape(n, side, side, channels)
            odd = side % 2
            grid = torch.nn.functional.pad(grid, (0, 0, 0, odd, 0, odd))
            half = (side + odd) // 2
            grid = grid.reshape(n, half, 2, half, 2, channels)
            return grid.permute(0, 3, 1, 2, 4, 5).reshape(n, half * half, 4 * channels)

    class MlpDownsample(torch.nn.Module):
        """VILA's projector "mlp_downsample"; its layers are numbered as in its checkpoints."""

        def __init__(self, config: Any) -> None:
            super().__init__()
            wide, hidden = 4 * config.vision_config.hidden_size, config.text_config.hidden_size
            self.layers = torch.nn.Sequential(
                Downsample(),
                torch.nn.LayerNorm(wide),
                torch.nn.Linear(wide, hidden),
                torch.nn.GELU(),
                torch.nn.Linear(hidden, hidden),
            )

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            projected: torch.Tensor = self.layers(features)
            return projected

    class VilaForConditionalGeneration(transformers.LlavaForConditionalGeneration):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model.multi_modal_projector = MlpDownsample(config)

    return VilaForConditionalGeneration
