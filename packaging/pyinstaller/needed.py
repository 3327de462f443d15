"""What transformers imports, read from its files: it imports by name, where nobody can follow."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "PIL", "accelerate", "filelock", "httpx", "huggingface_hub", "jinja2", "numpy", "packaging",
    "regex", "requests", "safetensors", "sentencepiece", "tokenizers", "tqdm", "typer", "yaml",
)  # fmt: skip
"""Of these it uses parts; torch is taken whole."""


def folder(package: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed.")
    return Path(spec.origin).parent


def imported_by(package: str) -> list[str]:
    """Modules of the standard library and of PACKAGES that the files of a package import."""
    found = set()
    for path in sorted(folder(package).rglob("*.py")):
        for name in _names(ast.parse(path.read_bytes())):
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                found.add(name)
    return sorted(name for name in found if _exists(name))


def _names(tree: ast.Module) -> Iterator[str]:
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
