"""What this program holds of the machine's memory now."""

from __future__ import annotations

import sys


def ram_in_use() -> int:
    """Bytes of RAM that the process holds (its resident set, shared libraries included)."""
    import psutil  # what accelerate needs too

    return int(psutil.Process().memory_info().rss)


def device_memory_in_use(device: str) -> int | None:
    """Bytes that PyTorch holds on "cuda", "cuda:1" or "balanced" (all GPUs together), what it
    keeps for later included; None for a device whose memory is RAM, or while torch is not loaded.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cuda", "balanced") or "torch" not in sys.modules:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    every = range(torch.cuda.device_count())
    places = every if kind == "balanced" else [int(index or torch.cuda.current_device())]
    return sum(int(torch.cuda.memory_reserved(place)) for place in places)
