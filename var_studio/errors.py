"""The base of every error a user of VAR Studio can cause or meet."""

from __future__ import annotations

LIBRARIES = {
    "accelerate": "accelerate",
    "array_api_compat": "array-api-compat",
    "matplotlib": "matplotlib",
    "numcodecs": "numcodecs",
    "numpy": "numpy",
    "PIL": "pillow",
    "platformdirs": "platformdirs",
    "pydantic": "pydantic",
    "pyqtgraph": "pyqtgraph",
    "PySide6": "PySide6-Essentials",
    "shiboken6": "PySide6-Essentials",
    "torch": "torch",
    "transformers": "transformers",
    "typer": "typer",
    "xarray": "xarray",
    "zarr": "zarr",
}
"""Modules that may be missing while the others do their work, and the package of each."""


_LONGEST = 1000


def _bounded(text: str) -> str:
    """A message that quotes a file can still be read."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]}…."


class VarStudioError(Exception):
    """Something a caller can expect; the window and the command line show ``str()`` of it.

    ``what`` says what happened and ``next_step`` what to do next, each a sentence.
    Chain the cause with ``raise ... from``: details views show it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        what, next_step = _bounded(what), _bounded(next_step)
        # Both go to Exception so that the error survives pickling between processes.
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}".strip()


def missing_library(error: BaseException) -> VarStudioError | None:
    """What to install where a library that we need is not there or broken; None: another error."""
    if not isinstance(error, ImportError):
        return None
    name = (error.name or "").split(".")[0]
    package = LIBRARIES.get(name)
    if package is None:
        return None
    if isinstance(error, ModuleNotFoundError):
        return VarStudioError(
            f"This needs {name}, which is not installed.", f"Install it: pip install {package}"
        )
    why = " ".join(str(error).split())
    return VarStudioError(
        f"This needs {name}, which cannot be loaded ({why}).", f"Reinstall {package}."
    )
