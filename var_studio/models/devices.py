"""Where a model goes, and in which precision: one device, or its layers over several GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from var_studio.models.checkpoints import Checkpoint
from var_studio.models.errors import DeviceError, ModelMemoryError

if TYPE_CHECKING:
    import torch

BALANCED: Final = "balanced"
"""The layers spread evenly over all GPUs, none left to the CPU or the disk."""
DTYPES: Final = ("float32", "bfloat16", "float16")

_ROOM: Final = 0.85
"""Part of a GPU that weights may take where `auto` decides: the rest is for the run."""


def choose_device(device: str, weight_bytes: int = 0) -> torch.device | str:
    """Return the torch device meant, or BALANCED. Raises DeviceError if there is none such.

    "auto" is CUDA, then MPS, then the CPU; all GPUs where `weight_bytes` do not fit on one.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            current = torch.cuda.current_device()
            if torch.cuda.device_count() > 1:
                free, _ = torch.cuda.mem_get_info(current)
                if weight_bytes > _ROOM * free:
                    return BALANCED
            return torch.device("cuda", current)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if device == BALANCED:
        if not torch.cuda.is_available():
            raise DeviceError(
                "Nothing can be balanced: this machine has no GPU that PyTorch can use.",
                'Use device "auto" or "cpu".',
            )
        return BALANCED
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(
            f"There is no device {device!r}.", "Use auto, cuda, cuda:1, balanced, mps or cpu."
        ) from error
    missing = (
        (place.type == "cuda" and not torch.cuda.is_available())
        or (place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count())
        or (place.type == "mps" and not torch.backends.mps.is_available())
        or place.type not in ("cuda", "mps", "cpu")
    )
    if missing:
        raise DeviceError(
            f"This machine has no device {device!r} that PyTorch can use.",
            'Use device "auto" or "cpu".',
        )
    return place


def choose_dtype(dtype: str, checkpoint: Checkpoint, place: torch.device | str) -> torch.dtype:
    """Return the precision to compute in: "auto" is float32 on the CPU, elsewhere the
    checkpoint's own. Raises DeviceError for none of DTYPES."""
    import torch

    if dtype == "auto":
        if place == torch.device("cpu"):
            return torch.float32
        dtype = checkpoint.dtype_name if checkpoint.dtype_name in DTYPES else "float32"
    if dtype not in DTYPES:
        raise DeviceError(
            f"There is no precision {dtype!r}.", f"Use auto or one of {', '.join(DTYPES)}."
        )
    precision: torch.dtype = getattr(torch, dtype)
    return precision


def spread(
    skeleton: Any, max_memory: dict[int | str, int] | None = None, quantizer: Any = None
) -> dict[str, int | str]:
    """Return a device map that spreads a model over all GPUs: module path -> device.

    `skeleton` has its parameters on the meta device, in the precision they will have.
    `max_memory` is bytes by device, by default what is free; `quantizer` is transformers' own.
    Raises ModelMemoryError rather than leave a part to the CPU or the disk: such a part is moved
    to a GPU for each token, which takes minutes an answer.
    """
    from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

    whole = skeleton._no_split_modules
    memory = get_balanced_memory(
        skeleton, max_memory=max_memory, no_split_module_classes=whole, hf_quantizer=quantizer
    )
    if quantizer is not None:
        memory = quantizer.adjust_max_memory(memory)
    placed: dict[str, int | str] = infer_auto_device_map(
        skeleton, max_memory=memory, no_split_module_classes=whole, hf_quantizer=quantizer
    )
    left = sorted(module for module, where in placed.items() if where in ("cpu", "disk"))
    if left:
        raise ModelMemoryError(
            f"The GPUs together have too little free memory: {len(left)} parts of the model would "
            f"be left to the CPU or the disk, e.g. {left[0]}.",
            'Choose 8-bit or 4-bit, a smaller model, or device "cpu".',
        )
    return placed
