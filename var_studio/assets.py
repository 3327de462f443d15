"""Where files are: those that ship with VAR Studio, and the user's own folder.

Shipped: demo model, samples, icons, styles. The user's: settings, caches, crash logs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from var_studio.errors import VarStudioError

_PACKAGE = Path(__file__).resolve().parent
# An installed wheel has the folder inside the package; a checkout has it beside the package.
_ROOTS = (_PACKAGE / "resources", _PACKAGE.parent / "resources")


class ResourceMissingError(VarStudioError):
    """A file or folder that should ship with VAR Studio is not there."""


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, e.g. ``resource("demo-model")``.

    Raises ResourceMissingError when neither the installed package nor the checkout has it.
    """
    for root in _ROOTS:
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    name = "/".join(("resources", *parts))
    raise ResourceMissingError(
        f"{name} is missing from this installation of VAR Studio.",
        "Reinstall the package, or restore the folder from the repository.",
    )


def user_folder(kind: Literal["config", "cache", "data", "log"]) -> Path:
    """Return the user's folder of that kind, not created yet.

    It is the platform's usual place, or ``$VAR_STUDIO_HOME/<kind>`` when that variable is set:
    tests, portable installs and shared machines keep everything in one folder with it.
    """
    home = os.environ.get("VAR_STUDIO_HOME")
    if home:
        return Path(home).expanduser() / kind
    import platformdirs

    places = platformdirs.PlatformDirs("var-studio", appauthor=False)
    paths = {
        "config": places.user_config_path,
        "cache": places.user_cache_path,
        "data": places.user_data_path,
        "log": places.user_log_path,
    }
    return paths[kind]
