"""Whether the packages that everything needs can be imported; run by `doctor.probes`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from var_studio.doctor.check import Check
from var_studio.doctor.probes import Probed, blamed, one_line, step
from var_studio.doctor.versions import installed
from var_studio.errors import LIBRARIES

NEEDED: Final = {
    "numpy": "numpy",
    "array_api_compat": "array_api_compat",
    "PIL": "PIL.Image",
    "platformdirs": "platformdirs",
    "pydantic": "pydantic.main",
    "typer": "typer",
    "numcodecs": "numcodecs",
    "zarr": "zarr",
    "num2words": "num2words",
}
"""Modules, each after those that it needs, and what of them to import."""

SPARED: Final = {"num2words": "SmolVLM does not load"}
"""What is left without a module that not everything needs."""


def probe() -> dict[str, Any]:
    """What is wrong with each module that cannot be imported though it is there."""
    broken: dict[str, str] = {}
    for name, module in NEEDED.items():
        step(name)
        try:
            import_module(module)
        except Exception as error:
            culprit = blamed(error)
            # A module that fails because of one before it is sound itself.
            broken.setdefault(culprit if culprit in NEEDED else name, one_line(error))
    return {"broken": broken}


def check_imports(probed: Probed) -> list[Check]:
    """A check for each broken package; one that says that all load."""
    broken: dict[str, str] = dict(probed.found.get("broken", {}))
    if probed.failure:
        broken[probed.at] = probed.failure
    checks = []
    for name, why in broken.items():
        package = LIBRARIES.get(name, name)
        version = installed(package)
        if version is None and why.startswith("ModuleNotFoundError"):
            continue  # told with the versions of the packages
        facts = {"version": version, "failure": why, "stderr": probed.stderr}
        left = f": {SPARED[name]}" if name in SPARED else ""
        said = f"{package or 'A package'} cannot be imported ({why}){left}."
        state = "warn" if name in SPARED else "bad"
        fix = reinstall(package) if package else "Reinstall VAR Studio in a new environment."
        checks.append(Check(f"loads.{package or 'packages'}", state, said, fix, facts))  # type: ignore[arg-type]
    return checks or [Check("loads.packages", "ok", f"{len(NEEDED)} packages load.")]


def reinstall(package: str) -> str:
    """What mends a package: the version that is there, whole."""
    version = (installed(package) or "").partition("+")[0]
    return f"pip install --force-reinstall {package}{f'=={version}' if version else ''}"
