"""What the probe of torch found, as checks: devices, kernels, and what else must load."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from var_studio.doctor.check import Check
from var_studio.doctor.imports import reinstall
from var_studio.doctor.probes import Probed
from var_studio.doctor.versions import installed
from var_studio.errors import LIBRARIES

_REINSTALL = "pip install --force-reinstall"


def check_torch(probed: Probed) -> list[Check]:
    """Checks of torch, its devices and kernels, and of what must load beside it."""
    version = installed("torch")
    if version is None and probed.failure.startswith("ModuleNotFoundError"):
        said = "torch is not installed: no model runs here; sessions open, and figures are drawn."
        return [Check("torch", "warn", said, "pip install 'torch>=2.11'")]
    if probed.failure and probed.at not in ("", "torch"):
        return [_beside(probed)]
    if probed.failure:
        facts = {"version": version, "failure": probed.failure, "stderr": probed.stderr}
        fix = f"{_REINSTALL} {'torch' if version is None else f'torch=={_public(version)}'}"
        return [Check("torch", "bad", f"torch does not work: {probed.failure}.", fix, facts)]
    found = probed.found
    checks = [_devices(found), _kernels(found)]
    checks += [_loads(name, found[name]) for name in ("transformers", "accelerate")]
    return [*checks, _torchvision(found["torchvision"]), _bitsandbytes(found)]


def _beside(probed: Probed) -> Check:
    """What hangs or crashes beside torch, which loads."""
    name = probed.at
    facts = {"failure": probed.failure, "stderr": probed.stderr}
    if name == "bitsandbytes":
        said = f"bitsandbytes does not load ({probed.failure}): no 8-bit and 4-bit weights."
        fix = "pip install --upgrade bitsandbytes, or uninstall it"
        return Check(name, "warn", said, fix, facts)
    said = f"{name} cannot be imported: {probed.failure}."
    return Check(f"loads.{name}", "bad", said, reinstall(LIBRARIES.get(name, name)), facts)


def _devices(found: dict[str, Any]) -> Check:
    gpus = found["gpus"]
    facts = {key: found[key] for key in ("torch", "cuda_build", "gpus", "mps", "threads")}
    if gpus:
        named = "; ".join(
            f"cuda:{index} {gpu['name']}, {_gib(gpu['free'])} of {_gib(gpu['total'])} free"
            for index, gpu in enumerate(gpus)
        )
        return Check("device", "ok", f"Models run on {named}.", facts=facts)
    if found["mps"]:
        return Check("device", "ok", "Models run on mps, Apple's GPU.", facts=facts)
    seen = _nvidia_gpus()
    facts["nvidia_smi"] = seen
    if seen and found["cuda_build"] is None:
        said = f"{', '.join(seen)} is there, but this torch has no CUDA: models run on the CPU."
        fix = f"{_REINSTALL} torch=={_public(found['torch'])} (from PyPI, not a CPU index)"
        return Check("device", "warn", said, fix, facts)
    if seen:
        said = f"{', '.join(seen)} is there, but torch cannot use it: models run on the CPU."
        fix = f"Update the NVIDIA driver: this torch was built for CUDA {found['cuda_build']}."
        return Check("device", "warn", said, fix, facts)
    said = f"No GPU: models run on the CPU, with {found['threads']} threads."
    return Check("device", "ok", said, facts=facts)


def _kernels(found: dict[str, Any]) -> Check:
    kernels: dict[str, bool] = found["kernels"]
    if not kernels["sdpa"] or not kernels["eager"]:
        said = "torch computes no attention that can be used."
        fix = f"{_REINSTALL} torch=={_public(found['torch'])}"
        return Check("kernels", "bad", said, fix, kernels)
    inside = [
        name.removeprefix("sdpa_")
        for name, works in kernels.items()
        if works and name.startswith("sdpa_")
    ]
    said = f"Attention kernels: sdpa ({', '.join(inside)}) and eager."
    return Check("kernels", "ok", said, facts=kernels)


def _loads(name: str, loaded: dict[str, Any]) -> Check:
    if loaded["error"]:
        said = f"{name} cannot be imported: {loaded['error']}."
        return Check(f"loads.{name}", "bad", said, f"{_REINSTALL} {name}", dict(loaded))
    if loaded["version"] is None:
        said = f"{name} is not installed: no model runs here."
        return Check(f"loads.{name}", "warn", said, f"pip install {name}", dict(loaded))
    return Check(f"loads.{name}", "ok", f"{name} {loaded['version']} loads.", facts=dict(loaded))


def _torchvision(loaded: dict[str, Any]) -> Check:
    if loaded["error"]:
        # transformers takes it as soon as it is there: a broken one breaks every processor.
        said = f"torchvision does not fit this torch: {loaded['error']}."
        fix = "pip uninstall torchvision (it is not needed), or install the one for this torch"
        return Check("torchvision", "bad", said, fix, dict(loaded))
    if loaded["version"] is None:
        said = "torchvision is not installed: images are prepared by Pillow, which will do."
        return Check("torchvision", "ok", said, facts=dict(loaded))
    return Check("torchvision", "ok", f"torchvision {loaded['version']} loads.", facts=dict(loaded))


def _bitsandbytes(found: dict[str, Any]) -> Check:
    loaded = found["bitsandbytes"]
    if loaded["error"]:
        said = f"bitsandbytes does not load ({loaded['error']}): no 8-bit and 4-bit weights."
        fix = "pip install --upgrade bitsandbytes, or uninstall it"
        return Check("bitsandbytes", "warn", said, fix, dict(loaded))
    if loaded["version"] is None:
        said = "bitsandbytes is not installed: no 8-bit and 4-bit weights."
        return Check("bitsandbytes", "ok", said, "pip install 'var-studio[quant]'", dict(loaded))
    said = f"bitsandbytes {loaded['version']} loads: 8-bit and 4-bit weights."
    return Check("bitsandbytes", "ok", said, facts=dict(loaded))


def _nvidia_gpus() -> list[str]:
    """Names of the GPUs that the driver tells of."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        said = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in said.splitlines() if line.strip()]


def _public(version: str) -> str:
    """2.13.0 of 2.13.0+cpu."""
    return version.partition("+")[0]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
