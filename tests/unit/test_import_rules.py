"""The import rule holds, and the checks that say so notice each kind of breach."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "var_studio"
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"


def qt_widgets_imports(folder: Path) -> list[str]:
    """Return "FILE:LINE" of each import of QtWidgets; import-linter sees only "PySide6"."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            if any("QtWidgets" in name for name in names):
                found.append(f"{path.name}:{node.lineno}")
    return found


def test_gui_models_know_no_widgets() -> None:
    folder = PACKAGE / "gui" / "models"
    assert list(folder.glob("*.py"))
    assert qt_widgets_imports(folder) == []


@pytest.mark.parametrize(
    "line",
    [
        "from PySide6 import QtCore, QtWidgets",
        "from PySide6.QtWidgets import QLabel",
        "import PySide6.QtWidgets",
    ],
)
def test_widgets_in_gui_models_would_be_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "token_list.py").write_text(f"def late():\n    {line}\n", encoding="utf-8")
    assert qt_widgets_imports(tmp_path) == ["token_list.py:2"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    return subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    """Our package's modules, emptied, under our own contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("", encoding="utf-8")
        (copy.parent / "__init__.py").touch()
    (tmp_path / "var_studio" / "__init__.py").touch()
    return tmp_path


def test_contracts_are_kept_by_empty_modules(package_copy: Path) -> None:
    result = lint_imports(package_copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("method", "import var_studio.recording", "Imports go downward only"),
        ("recording", "import var_studio.analysis", "Imports go downward only"),
        ("analysis", "import var_studio.models", "Imports go downward only"),
        ("figures", "import var_studio.engine", "Imports go downward only"),
        ("engine", "import var_studio.gui", "Imports go downward only"),
        ("errors", "import var_studio.assets", "Imports go downward only"),
        ("figures", "from PySide6 import QtCore", "Qt only in the window"),
        ("recording", "import pyqtgraph", "Qt only in the window"),
        ("gui", "import torch", "torch and transformers only in"),
        ("gui.models", "import transformers", "torch and transformers only in"),
        ("analysis", "def late():\n    import torch", "torch and transformers only in"),
        ("gui.models", "import var_studio.gui.panels", "The window's models know no panel"),
    ],
)
def test_breach_is_noticed(package_copy: Path, module: str, line: str, contract: str) -> None:
    folder = package_copy / "var_studio" / module.replace(".", "/")
    target = folder / "breach.py" if folder.is_dir() else folder.with_suffix(".py")
    target.write_text(f"{line}\n", encoding="utf-8")
    result = lint_imports(package_copy)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN")]
    assert len(broken) == 1
    assert broken[0].startswith(contract)


@pytest.mark.parametrize("module", ["accelerate", "matplotlib", "torch", "transformers"])
def test_expensive_module_level_import_is_noticed(module: str) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")

    def codes(source: str) -> str:
        command = [ruff, "check", "--select", "TID253", "--stdin-filename", "var_studio/x.py", "-"]
        return subprocess.run(
            command, cwd=ROOT, input=source, capture_output=True, text=True, check=False
        ).stdout

    assert "TID253" in codes(f"import {module}\n")
    assert "TID253" not in codes(f"def late():\n    import {module}\n")
