"""The system libraries that Qt needs on Linux, and the Debian packages that have them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

_SONAME = re.compile(r"(lib[\w+.-]+?)\.so\.(\d+)")
_NAMED = {"libglib-2.0": "libglib2.0-0", "libgthread-2.0": "libglib2.0-0"}


def missing_libraries(platform: str) -> list[str]:
    """Sonames that Qt's plug-in for a platform (xcb, wayland, offscreen) asks for in vain."""
    folder = qt_plugins()
    ldd = shutil.which("ldd")
    if sys.platform != "linux" or folder is None or ldd is None:
        return []
    plugins = sorted(folder.glob(f"libq{platform}*.so"))
    missing: dict[str, None] = {}
    for plugin in plugins:
        try:
            said = subprocess.run(
                [ldd, str(plugin)], capture_output=True, text=True, timeout=10, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        for line in said.splitlines():
            if "not found" in line:
                missing[line.split()[0]] = None
    return list(missing)


def qt_plugins() -> Path | None:
    """The folder of Qt's platform plug-ins; Qt is not imported."""
    try:
        spec = find_spec("PySide6")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(place) / "Qt" / "plugins" / "platforms"
        if folder.is_dir():
            return folder
    return None


def named_in(text: str) -> list[str]:
    """Sonames in a message such as "libEGL.so.1: cannot open shared object file"."""
    if "cannot open shared object" not in text and "not found" not in text:
        return []
    return [match[0] for match in _SONAME.finditer(text)]


def packages(sonames: Iterable[str]) -> list[str]:
    """The Debian and Ubuntu packages of libraries: their names follow from the sonames."""
    found = []
    for soname in sonames:
        match = _SONAME.match(soname)
        if match is None:
            continue
        name, number = match[1], match[2]
        dash = "-" if name[-1].isdigit() else ""
        found.append(_NAMED.get(name, f"{name}{dash}{number}".lower().replace("_", "-")))
    return list(dict.fromkeys(found))


def install_command(sonames: Iterable[str]) -> str:
    """What installs them on Debian and Ubuntu; empty for none."""
    named = packages(sonames)
    return f"sudo apt-get install {' '.join(named)}" if named else ""
