"""`import var_studio` is the library, and costs nothing until a name is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import var_studio as vs


def test_importing_costs_no_heavy_package() -> None:
    code = (
        "import sys, var_studio as vs\n"
        "heavy = {'torch', 'transformers', 'PySide6', 'matplotlib', 'numpy', 'zarr'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "vs.Generation(), vs.Redistribution, vs.open_session, vs.Recording\n"
        "heavy -= {'numpy', 'zarr'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import var_studio.engine.events, var_studio.models.loading, var_studio.engine.generation\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"] * 3


def test_every_name_is_there() -> None:
    for name in vs.__all__:
        assert getattr(vs, name) is getattr(vs, name)
        assert name in dir(vs)
    assert issubclass(vs.VarStudioError, Exception)


def test_figures_and_comparisons_are_at_hand(tmp_path: Path) -> None:
    from tests.synthetic import make_run

    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=6)
    assert vs.compare(run, run).identical
    figure, *_ = vs.export_figure(run, "map", tmp_path / "map.svg")
    assert figure.read_text().lstrip().startswith("<?xml")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        _ = vs.recrod
