"""Turns what torch raises during a run into errors that say what to do next."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from var_studio.engine.errors import NonFiniteError
from var_studio.errors import VarStudioError
from var_studio.models.errors import ModelMemoryError, is_out_of_memory

if TYPE_CHECKING:
    from var_studio.models.loaded import LoadedModel


def non_finite(lmm: LoadedModel) -> NonFiniteError:
    """Logits are NaN or infinite."""
    dtype = str(lmm.dtype).removeprefix("torch.")
    if dtype == "float16":
        return NonFiniteError(
            "The model's logits are NaN: its massive values overflow float16.",
            "Load the model with dtype bfloat16 or float32.",
        )
    return NonFiniteError(
        f"The model's logits are NaN or infinite (dtype {dtype}).",
        "Load it with dtype bfloat16 or float32; if that changes nothing, its weights are damaged.",
    )


def explained(error: Exception, lmm: LoadedModel, produced: int = 0) -> VarStudioError | None:
    """Return the error to raise instead of `error`; None for one that is a bug of ours.

    `produced`: new tokens that the run came to.
    """
    if isinstance(error, VarStudioError):
        return error
    if is_out_of_memory(error):
        # The error is kept to be shown: what the failed pass had in memory shall not be, with it.
        traceback.clear_frames(error.__traceback__)
        _free_cache(lmm)
        fits = "1 new token" if produced == 1 else f"{produced} new tokens"
        return ModelMemoryError(
            f"The run needs more memory than {lmm.device} has.",
            f"{fits} did fit: ask for no more, or load a smaller model or one in 16 bits, and run "
            "again."
            if produced
            else "The question alone does not fit: use fewer or smaller images, a smaller model, "
            "or one in 16 bits, and run again.",
        )
    if "probability tensor contains" in str(error):
        return non_finite(lmm)
    return None


def _free_cache(lmm: LoadedModel) -> None:
    if lmm.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
