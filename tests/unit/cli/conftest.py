from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.synthetic import make_run
from var_studio.cli import main
from var_studio.recording.session import save_session
from var_studio.recording.settings import Redistribution


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process, file descriptors and all."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of 3 × 4 cells; 8 rows, the last 4 generated; the second with redistribution."""
    folder = tmp_path_factory.mktemp("cli")
    shape = {"layers": 4, "heads": 3, "rows": 3, "cols": 4, "queries": 8, "hidden": 96}
    runs = [
        make_run(folder / "a", **shape, name="baseline"),
        make_run(folder / "b", **shape, seed=1, name="VAR", intervention=Redistribution(rho=0.35)),
    ]
    return save_session(folder / "s.vars", runs=runs)
