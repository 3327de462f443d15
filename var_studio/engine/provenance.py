"""What a recording says about how it came to be."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from var_studio.recording.interventions import on_attention, without_effect

if TYPE_CHECKING:
    from var_studio.engine.fidelity import Fidelity
    from var_studio.models.loaded import Encoded, LoadedModel
    from var_studio.recording.settings import Generation, Interventions

_PACKAGES = ("var-studio", "torch", "transformers", "tokenizers", "numpy", "zarr", "pillow")


def provenance(
    lmm: LoadedModel,
    encoded: Encoded,
    prompt: str,
    generation: Generation,
    interventions: Interventions,
) -> dict[str, Any]:
    """Everything known before the run, as plain JSON values."""
    acting = on_attention(interventions)
    given = any(each.sink_dims is not None for each in acting)
    # None: discovery was stopped.
    sinkless = not (given or lmm.sink_dims is None or lmm.sink_dims)
    return {
        "model": lmm.name,
        "checkpoint": lmm.checkpoint,
        "revision": lmm.revision,
        "fingerprint": lmm.fingerprint,
        "family": lmm.family.name,
        "dtype": str(lmm.dtype).removeprefix("torch."),
        "quantization": lmm.quantization,
        "device": device_name(lmm),
        "kernel": lmm.kernel,
        "sink_dims_origin": "given by the user" if given else lmm.sink_dims_origin,
        "sink_dims_source": "" if given else lmm.sink_dims_source,
        "phi_undefined": lmm.family.phi_undefined,
        "prompt": prompt,
        "prompt_length": encoded.length,
        "images": [image.sha256 for image in encoded.images],
        "generation": generation.model_dump(mode="json"),
        "seed": generation.seed,
        "interventions": [each.model_dump(mode="json") for each in interventions],
        "without_effect": without_effect(interventions) if sinkless else "",
        "convention": acting[0].convention if acting else "paper",
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def fidelity_json(fidelity: Fidelity, lmm: LoadedModel) -> dict[str, Any]:
    """The measured parity of the recorded rows with the model: see `engine.fidelity`."""
    return {
        **asdict(fidelity),
        "kernel": lmm.kernel,
        "dtype": str(lmm.dtype).removeprefix("torch."),
        "device": device_name(lmm),
    }


def device_name(lmm: LoadedModel) -> str:
    """The device in words, e.g. "cpu" or "cuda:0 (NVIDIA H200)"."""
    if lmm.device.type != "cuda":
        return str(lmm.device)
    import torch

    return f"{lmm.device} ({torch.cuda.get_device_name(lmm.device)})"


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that a run's numbers depend on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
