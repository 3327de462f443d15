"""Each case's checkpoint is made and loaded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import var_studio as vs
from tests.models.families.cases import CASES
from tests.models.families.kit import DIMS


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A loaded model by the name of its case. Leave it as you found it."""

    @cache
    def get(name: str) -> Any:
        lmm = vs.load_model(CASES[name].save(tmp_path_factory.mktemp(name)))
        lmm.sink_dims = DIMS  # a random model has none to discover
        return lmm

    return get
