"""Whether what a forecast says fits into what is free: device memory, RAM, disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from var_studio.models.forecast import Forecast
    from var_studio.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that are taken of one thing, and bytes of it that are free (None: not known)."""

    of: str
    taken: int
    free: int | None

    @property
    def fits(self) -> bool:
        return self.free is None or self.taken <= self.free


@dataclass(frozen=True, slots=True)
class Fit:
    """A forecast beside what is free. `needs` in the order: the device's memory, RAM (only beside
    another device), the disk (only of a run; of all `runs` of one kind)."""

    forecast: Forecast
    needs: tuple[Need, ...]
    runs: int = 1

    @property
    def shortages(self) -> tuple[str, ...]:
        """What does not fit, in words; empty where all does."""
        return tuple(
            f"it takes {in_words(need.taken)} of {need.of}, and {in_words(need.free or 0)} are free"
            for need in self.needs
            if not need.fits
        )


def fit(
    forecast: Forecast,
    *,
    loaded: bool = False,
    twice: bool = False,
    runs: int = 1,
    replacing: LoadedModel | None = None,
) -> Fit:
    """Compare a forecast with this machine.

    `loaded`: its model is in memory already, so that only the run counts. `twice`: the run keeps
    keys and values of two images (contrastive decoding). `runs`: so many, one after another, share
    the disk. `replacing`: a loaded model that gives
    its memory back first.
    """
    device = forecast.device
    second = forecast.kv_cache + forecast.image_features if twice else 0
    taken = (forecast.run if loaded else forecast.device_memory) + second
    free = free_memory(device)
    if free is not None and replacing is not None and replacing.device.type == device:
        from var_studio.models.footprint import weight_bytes

        free += weight_bytes(replacing.hf_model)
    needs = [Need("memory" if device == "cpu" else f"memory of {device}", taken, free)]
    if device != "cpu" and forecast.ram:
        needs.append(Need("RAM", forecast.ram, free_memory("cpu")))
    if forecast.disk:
        needs.append(Need("disk", runs * forecast.disk, free_disk()))
    return Fit(forecast, tuple(needs), runs)


def free_memory(device: str) -> int | None:
    """Bytes free on a kind of device ("cpu": RAM); of several GPUs together. None: not known."""
    if device == "cpu":
        import psutil  # what accelerate needs too

        return int(psutil.virtual_memory().available)
    import torch

    if device in ("cuda", "balanced") and torch.cuda.is_available():
        count = torch.cuda.device_count() if device == "balanced" else 1
        return sum(int(torch.cuda.mem_get_info(index)[0]) for index in range(count))
    return None


def free_disk() -> int | None:
    """Bytes free where recordings grow; None if that cannot be told."""
    from var_studio.recording.paths import runs_folder

    folder = runs_folder()
    for place in (folder, *folder.parents):
        if place.exists():
            return shutil.disk_usage(place).free
    return None


def devices() -> tuple[str, ...]:
    """What `load_model` takes as a device on this machine, "auto" first."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = ["auto", *(f"cuda:{index}" for index in range(gpus))]
    if gpus > 1:
        found.append("balanced")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def in_words(size: int) -> str:
    """A number of bytes as a person says it: "380 KB", "41 MB", "13.2 GB" (powers of 1000)."""
    amount = float(size)
    for unit in ("bytes", "KB", "MB"):
        if amount < 999.5:
            digits = 1 if unit == "MB" and amount < 10 else 0
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
