"""Every test that takes ``library`` runs once on NumPy and once on torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


class Library:
    """Turns NumPy arrays into those of one library, and back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, array: Any) -> Any:
        """Return the array in this library, made read-only where it can be."""
        array = np.array(array)
        if self.name == "torch":
            import torch

            return torch.from_numpy(array)
        array.flags.writeable = False
        return array

    @staticmethod
    def numpy(array: Any) -> np.ndarray:
        """Return the array as a NumPy array (bfloat16 as float32)."""
        if hasattr(array, "detach"):
            import torch

            array = array.float() if array.dtype == torch.bfloat16 else array
            return array.detach().numpy()
        return np.asarray(array)


@pytest.fixture(scope="session", params=["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)
