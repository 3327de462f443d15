"""8-bit and 4-bit weights through bitsandbytes: the decoder layers only.

The vision tower, the projector and the output head keep their precision: they are small, and what
is drawn is measured on what they make.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from var_studio.models.errors import DeviceError, MissingLibraryError, UnsupportedModelError
from var_studio.models.skeleton import decoder_layers_path

if TYPE_CHECKING:
    import torch

Quantization = Literal["8bit", "4bit"]
QUANTIZATIONS: Final[tuple[Quantization, ...]] = ("8bit", "4bit")


def check_quantization(wanted: str | None, config: Mapping[str, Any]) -> Quantization | None:
    """Return how the weights will be held: as wanted, or as they are stored in the checkpoint.

    Raises DeviceError for an unknown name, MissingLibraryError without bitsandbytes, and
    UnsupportedModelError for weights that are stored quantised in another way.
    """
    if wanted is not None and wanted not in QUANTIZATIONS:
        raise DeviceError(
            f"There is no quantisation {wanted!r}.", f"Use {' or '.join(QUANTIZATIONS)}, or none."
        )
    stored = _stored(config)
    if stored is not None and wanted not in (None, stored):
        raise UnsupportedModelError(
            f"The weights of this checkpoint are {stored} already, and cannot be made {wanted}.",
            "Leave the quantisation out, or choose the original checkpoint.",
        )
    chosen = stored or wanted
    if chosen is not None and find_spec("bitsandbytes") is None:
        raise MissingLibraryError(
            f"{chosen} weights need bitsandbytes, which is not installed.",
            "Install it: pip install bitsandbytes",
        )
    return chosen


def _stored(config: Mapping[str, Any]) -> Quantization | None:
    stored = config.get("quantization_config")
    if not isinstance(stored, Mapping):
        return None
    if stored.get("load_in_8bit"):
        return "8bit"
    if stored.get("load_in_4bit"):
        return "4bit"
    raise UnsupportedModelError(
        f"The weights of this checkpoint are quantised with {stored.get('quant_method')!r}.",
        "Choose the original checkpoint; load it as 8-bit or 4-bit if it is too large.",
    )


def quantization_config(wanted: Quantization, skeleton: Any, dtype: torch.dtype) -> Any:
    """Return transformers' BitsAndBytesConfig for one model; `skeleton` tells its modules."""
    import transformers

    # 8-bit products are made in float16 whatever comes in, and the library says so each time.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    skip = modules_to_leave(skeleton)
    if wanted == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        llm_int8_skip_modules=skip,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
    )


def quantizer_of(config: Any, skeleton: Any, *, stored: bool) -> Any:
    """Return transformers' quantizer, with the modules of `skeleton` replaced as it will do."""
    from transformers.quantizers import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=stored)
    quantizer.preprocess_model(skeleton, device_map=None)
    return quantizer


def modules_to_leave(model: Any) -> list[str]:
    """Full paths of all modules beside the decoder layers, e.g. "model.vision_tower", "lm_head".

    Full paths, since bitsandbytes compares the end of a module's path too: "projector" alone could
    mean more than one.
    """
    leave = []
    path = ""
    for step in decoder_layers_path(model).split("."):
        parent = model.get_submodule(path)
        leave += [
            f"{path}.{name}".strip(".") for name, _ in parent.named_children() if name != step
        ]
        path = f"{path}.{step}".strip(".")
    return leave
