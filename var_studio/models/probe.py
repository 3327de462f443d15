"""What torch and transformers can do here; run in a process of its own by `doctor.probes`."""

from __future__ import annotations

from typing import Any

from var_studio.doctor.probes import one_line, step


def probe() -> dict[str, Any]:
    """Versions, devices with their memory in bytes, kernels, and what else loads."""
    step("torch")
    import torch

    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": _gpus(),
        "mps": bool(torch.backends.mps.is_available()),
        "kernels": _kernels(),
    }
    for name in ("torchvision", "bitsandbytes", "transformers", "accelerate"):
        found[name] = _loads(name)
    return found


def _gpus() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        found.append(
            {
                "name": properties.name,
                "total": int(total),
                "free": int(free),
                "capability": f"{properties.major}.{properties.minor}",
                "bfloat16": bool(torch.cuda.is_bf16_supported()),
            }
        )
    return found


def _kernels() -> dict[str, bool]:
    """Whether each way to attend works, tried on a small example."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = torch.float16 if device == "cuda" else torch.float32
    sample = torch.ones(1, 1, 8, 64, device=device, dtype=precision)
    attend = torch.nn.functional.scaled_dot_product_attention

    def works(backend: SDPBackend) -> bool:
        try:
            with sdpa_kernel(backend):
                attend(sample, sample, sample)
        except RuntimeError:
            return False
        return True

    return {
        "eager": bool(torch.isfinite(torch.softmax(sample @ sample.mT, dim=-1)).all()),
        "sdpa": bool(torch.isfinite(attend(sample, sample, sample)).all()),
        "sdpa_flash": works(SDPBackend.FLASH_ATTENTION),
        "sdpa_efficient": works(SDPBackend.EFFICIENT_ATTENTION),
        "sdpa_math": works(SDPBackend.MATH),
    }


def _loads(name: str) -> dict[str, Any]:
    """The version of a module; what went wrong where it is there and cannot be imported."""
    from importlib import import_module
    from importlib.util import find_spec

    step(name)
    try:
        if find_spec(name) is None:
            return {"version": None, "error": None}
        module = import_module(name)
        if name == "transformers":
            module.AutoProcessor  # noqa: B018  (the lazy parts are what breaks)
    except Exception as error:
        return {"version": None, "error": one_line(error)}
    return {"version": str(getattr(module, "__version__", "")), "error": None}
