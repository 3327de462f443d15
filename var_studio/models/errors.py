"""What can go wrong while a model is found, loaded or given a prompt."""

from __future__ import annotations

from var_studio.errors import VarStudioError


class ModelNotFoundError(VarStudioError):
    """No folder, shipped model or hub repository of that name."""


class ModelNameError(ModelNotFoundError):
    """A name that is that of no folder, and can be none on the hub."""


class CheckpointError(VarStudioError):
    """A folder that is no checkpoint, or one with missing or damaged files."""


class UnsupportedModelError(VarStudioError):
    """A checkpoint of a family, or with parts, that VAR Studio does not know yet."""


class RemoteCodeError(UnsupportedModelError):
    """A checkpoint that only its own Python code can load, which nobody has said yes to."""


class HubUnreachableError(VarStudioError):
    """A model that is not on this machine, and no way to the hub."""


class DeviceError(VarStudioError):
    """A device that this machine does not have."""


class ModelMemoryError(VarStudioError):
    """Not enough memory for the model or the run."""


class LoadCancelledError(VarStudioError):
    """The caller stopped the loading."""


class PromptError(VarStudioError):
    """A prompt that cannot be encoded: empty, too long, or with placeholders that do not fit."""


class ModelBusyError(VarStudioError):
    """A second run was started on a model that is in use."""


class NotLoadedError(VarStudioError):
    """No loaded model was given, or one that has been released."""


class MissingLibraryError(VarStudioError):
    """A library that models need is not installed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device, or the machine, ran out of memory."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "defaultcpuallocator" in text or "not enough memory" in text
    )


def one_line(error: BaseException) -> str:
    """Return what a foreign exception says, on one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
