"""The wheel holds the resources, and the code in it finds them there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FIND = """
import var_studio.assets as assets
print(assets.resource("demo-model", "config.json"))
print(assets.resource("demo-model", "model.safetensors").stat().st_size)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_resources_are_in_the_wheel(unpacked: Path) -> None:
    shipped = {
        path.relative_to(ROOT / "resources").as_posix()
        for path in (ROOT / "resources").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = unpacked / "var_studio" / "resources"
    assert shipped
    assert {p.relative_to(packed).as_posix() for p in packed.rglob("*") if p.is_file()} == shipped
    assert not (unpacked / "tests").exists()


def test_installed_code_finds_them_there(unpacked: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    found = subprocess.run(
        [sys.executable, "-P", "-c", FIND],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert Path(found[0]).is_relative_to(unpacked)
    assert int(found[1]) == (ROOT / "resources/demo-model/model.safetensors").stat().st_size
