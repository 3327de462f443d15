"""The same figures from two processes, where sets and dicts of names go in another order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def drawn_alike(script: str, folder: Path, *arguments: object) -> list[Path]:
    """Run `script` with a folder to fill and the arguments, twice; the files, of equal bytes."""
    folders = [folder / "a", folder / "b"]
    for seed, place in enumerate(folders, start=1):
        place.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script, str(place), *map(str, arguments)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    first, second = (sorted(place.iterdir()) for place in folders)
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    return first
