"""The README's Python runs as it stands there, from the root of the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_library_section_runs(tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## The library\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) >= 2
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks) + "\nprint(named.dims, grid.shape)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "('layer', 'head', 'key')" in done.stdout
    assert (tmp_path / "circle.vars").is_file()
