"""Layers on another device than the first ones, on a machine that has one.

Queries, keys, values and hidden states of the upper layers pretend to lie elsewhere: any operation
that takes tensors of both places fails, as it would between two GPUs. What is recorded and what
the model says must be that of one device, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import var_studio as vs
from tests.models.tiny import QUESTION, noise
from var_studio.engine.capture import Capture

OTHER = torch.device("cuda:1")
FIRST_AWAY = 2
DIMS = (5, 17)


class Elsewhere(torch.Tensor):
    """A tensor that pretends to be on OTHER."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def away(value: Any) -> Any:
    return value.as_subclass(Elsewhere) if isinstance(value, torch.Tensor) else value


def here(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, Elsewhere) else value


def flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in flat(value)]
    return [values]


def mapped(change: Any, values: Any) -> Any:
    if isinstance(values, list | tuple):
        return type(values)(mapped(change, value) for value in values)
    return change(values)


class TwoPlaces(TorchFunctionMode):
    """Refuses what two devices refuse; lets tensors go from one to the other by copies alone."""

    moves = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [t for t in flat([args, list(kwargs.values())]) if isinstance(t, torch.Tensor)]
        gone = [isinstance(t, Elsewhere) for t in tensors]
        if func == torch.Tensor.device.__get__:
            return OTHER if gone[0] else func(here(args[0]))
        if func is torch.Tensor.to:
            return self._moved(here(args[0]), gone[0], args[1:], kwargs)
        if func is torch.Tensor.numpy and gone[0]:
            raise TypeError("can't convert a tensor elsewhere to numpy")
        copies = func in (torch.Tensor.__setitem__, torch.Tensor.copy_)
        # An index may lie on the CPU.
        indexes = func is torch.Tensor.__getitem__ and gone[0]
        if any(gone) and not all(gone) and not copies and not indexes:
            raise RuntimeError(f"{func} takes tensors of two devices")
        is_away = bool(gone) and gone[0]
        if kwargs.get("device") is not None:
            is_away = kwargs["device"] == OTHER
            kwargs["device"] = "cpu"
        result = func(*mapped(here, args), **kwargs)
        return mapped(away, result) if is_away and func is not torch.Tensor.__setitem__ else result

    def _moved(self, tensor: Any, is_away: bool, args: Any, kwargs: Any) -> Any:
        devices = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.device)]
        dtypes = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        if dtypes:
            tensor = tensor.to(dtypes[0])
        target = devices[0] == OTHER if devices else is_away
        TwoPlaces.moves += target != is_away
        # A move is a copy: what is written into it stays there.
        tensor = tensor.clone() if target != is_away else tensor
        return away(tensor) if target else tensor


def put_upper_layers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    tap, begins, collect = Capture._tap, Capture._layer_begins, Capture.collect

    def tap_elsewhere(self: Any, layer: int) -> Any:
        inner = tap(self, layer)

        def call(c: Any) -> None:
            with TwoPlaces():
                inner(c._make(map(away, c)) if layer >= FIRST_AWAY else c)

        return call

    def begins_elsewhere(self: Any, layer: int, hidden: torch.Tensor) -> None:
        with TwoPlaces():
            begins(self, layer, away(hidden) if layer >= FIRST_AWAY else hidden)

    def collect_elsewhere(self: Any, *more: torch.Tensor) -> Any:
        with TwoPlaces():
            return collect(self, *map(away, more))

    monkeypatch.setattr(Capture, "_tap", tap_elsewhere)
    monkeypatch.setattr(Capture, "_layer_begins", begins_elsewhere)
    monkeypatch.setattr(Capture, "collect", collect_elsewhere)


def test_the_two_places_cannot_be_mixed() -> None:
    """Negative control."""
    with TwoPlaces():
        a, b = torch.ones(2), away(torch.ones(2))
        assert (a.device, b.device, (b + b).device) == (torch.device("cpu"), OTHER, OTHER)
        assert type(b.to(a.device) + a) is torch.Tensor and (a.to(OTHER) + b).device == OTHER
        for mix in (lambda: a + b, lambda: torch.stack([a, b]), lambda: b.add_(a), b.numpy):
            with pytest.raises((RuntimeError, TypeError)):
                mix()


@pytest.mark.parametrize("name", ["gqa", "softcap"])
@pytest.mark.parametrize("intervention", [None, {"p": 0.6, "tau": 1.6, "rho": 0.4}], ids=str)
def test_a_run_over_two_devices_is_that_of_one(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, intervention: Any
) -> None:
    lmm = loaded(name)
    settings = None if intervention is None else {**intervention, "sink_dims": DIMS}

    def record(folder: str) -> Any:
        return vs.record(
            lmm,
            noise(80, 60),
            QUESTION,
            generation=vs.Generation(max_new_tokens=5),
            intervention=settings,
            directory=tmp_path / folder,
        )

    one = record("one")
    TwoPlaces.moves = 0
    put_upper_layers_elsewhere(monkeypatch)
    two = record("two")
    assert TwoPlaces.moves > 0
    assert [t.id for t in two.tokens] == [t.id for t in one.tokens]
    assert [t.logprob for t in two.tokens] == [t.logprob for t in one.tokens]
    for query in range(len(one.query_positions)):
        np.testing.assert_array_equal(two.attention(query), one.attention(query))
    np.testing.assert_array_equal(two.signed_values, one.signed_values)
    for layer in range(lmm.n_layers):
        np.testing.assert_array_equal(two.value_norm(layer, 0), one.value_norm(layer, 0))
    assert two.provenance["fidelity"] == one.provenance["fidelity"]
