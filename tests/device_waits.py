"""Which operations of torch would make the host wait for an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WAITS = (
    "_local_scalar_dense",  # .item(), bool(), float()
    "lift_fresh",  # a Python number or list made a tensor: a copy from host memory
    "index.Tensor",  # boolean masks
    "masked_select",
    "nonzero",
    "_unique",
)


def waiting(call: Callable[[], Any]) -> list[str]:
    """The operations of a call that wait, by name."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Operations() as operations:
        call()
    assert operations.names
    return [name for name in operations.names if any(wait in name for wait in WAITS)]
