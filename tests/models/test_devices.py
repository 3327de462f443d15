"""Several GPUs, planned on machines that have none: who gets which layers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import var_studio as vs
from var_studio.models.devices import BALANCED, choose_device, spread
from var_studio.models.errors import DeviceError, ModelMemoryError
from var_studio.models.skeleton import build_skeleton


def size_of(skeleton: Any) -> int:
    return sum(p.numel() * p.element_size() for p in skeleton.parameters())


def test_layers_are_spread_evenly_and_whole(checkpoint: Any) -> None:
    skeleton = build_skeleton(checkpoint("gqa"), torch.float32)
    whole = size_of(skeleton)
    placed = spread(skeleton, {0: whole, 1: whole, "cpu": 10 * whole})
    assert set(placed.values()) == {0, 1}

    def device_of(name: str) -> int | str:
        return next(d for path, d in placed.items() if f"{name}.".startswith(f"{path}."))

    sizes = {0: 0, 1: 0}
    for name, parameter in skeleton.named_parameters():
        sizes[device_of(name)] += parameter.numel() * parameter.element_size()
    assert min(sizes.values()) > whole / 5, "each has its part"
    for index in range(4):
        layer = f"model.language_model.layers.{index}"
        inside = {device_of(n) for n, _ in skeleton.named_parameters() if n.startswith(f"{layer}.")}
        assert len(inside) == 1, "no layer is split"


def test_nothing_is_left_to_the_cpu(checkpoint: Any) -> None:
    skeleton = build_skeleton(checkpoint("gqa"), torch.float32)
    whole = size_of(skeleton)
    with pytest.raises(ModelMemoryError, match=r"parts of the model.*CPU or the disk.*8-bit"):
        spread(skeleton, {0: whole // 4, 1: whole // 4, "cpu": 10 * whole})


def test_auto_takes_all_gpus_only_where_one_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 200))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", 80) == torch.device("cuda", 1)
    assert choose_device("auto", 90) == BALANCED == choose_device("balanced")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto", 90) == torch.device("cuda", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_nothing_can_be_balanced_without_a_gpu(checkpoint: Any) -> None:
    with pytest.raises(DeviceError, match=r"no GPU.*auto"):
        vs.load_model(checkpoint("crop"), device="balanced")
