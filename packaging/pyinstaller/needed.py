"""Packages that come as the plain files they are, and what these import, read from them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = (
    "PIL", "accelerate", "filelock", "fsspec", "httpx", "huggingface_hub", "jinja2", "mpmath",
    "num2words", "numpy", "packaging", "psutil", "regex", "requests", "safetensors", "sympy",
    "tokenizers", "tqdm", "typer", "typing_extensions", "yaml",
)  # fmt: skip
"""What they import beside the standard library."""

_BUILDING = (".a", ".cmake", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".lib", ".pyc", ".pyi")
_UNUSED = ("torch/include/", "torch/share/", "transformers/cli/")


def folder(package: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed.")
    return Path(spec.origin).parent


def files(package: str) -> Iterator[tuple[str, str, str]]:
    """The files of a package that running it needs: destination, source and PyInstaller's type."""
    top = folder(package)
    for path in sorted(top.rglob("*")):
        destination = (Path(package) / path.relative_to(top)).as_posix()
        if path.is_file() and not (
            path.suffix in _BUILDING
            or destination.startswith(_UNUSED)
            or "/tests/" in destination
            # Without it torch does not start; what else is there are tests and a compiler.
            or (destination.startswith("torch/bin/") and path.stem != "torch_shm_manager")
        ):
            yield destination, str(path), "DATA"


def imported_by(packages: Iterable[str]) -> list[str]:
    """Modules of the standard library and of PACKAGES that the files of these packages import."""
    found = set()
    for package in packages:
        for destination, source, _ in files(package):
            if not destination.endswith(".py"):
                continue
            for name in _names(Path(source)):
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top in PACKAGES:
                    found.add(name)
    return sorted(name for name in found if _exists(name))


def _names(source: Path) -> Iterator[str]:
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:  # a file for newer Pythons
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # A name that is imported from a package may be a module of it.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False
