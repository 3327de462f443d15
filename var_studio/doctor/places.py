"""Folders, files, the screen, fonts and the hub, as checks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from var_studio import assets
from var_studio.doctor.check import Check, State
from var_studio.doctor.imports import reinstall
from var_studio.doctor.libraries import install_command, missing_libraries, named_in
from var_studio.doctor.probes import Probed, one_line
from var_studio.doctor.versions import installed
from var_studio.errors import LIBRARIES, VarStudioError

_MUCH, _LITTLE = 5 << 30, 200 << 20
"""Bytes: a long answer of a 7B model takes some GiB, a short one a few hundred MiB."""
_WEIGHTS = 20 << 30
_HUB_SECONDS = 5.0


def check_window(probed: Probed) -> list[Check]:
    """Whether Qt opens a window, and which libraries of the system it lacks."""
    version = installed("PySide6-Essentials")
    if version is None and probed.failure.startswith("ModuleNotFoundError"):
        said = "Qt is not installed: there is no window; the library and the commands work."
        return [Check("window", "warn", said, "pip install PySide6-Essentials pyqtgraph")]
    if probed.failure and probed.at not in ("", "PySide6", "shiboken6"):
        return [_without_library(probed)]
    wanted = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not probed.failure:
        found = probed.found
        where = f"on {found['platform']}, screens: {', '.join(found['screens']) or 'none'}"
        said = f"The window opens: Qt {found['qt']} {where}."
        if found["platform"] in ("offscreen", "minimal"):
            said = f"Qt {found['qt']} works, but draws on {found['platform']}: no window is seen."
        return [Check("window", "ok", said, facts=dict(found))]
    platform = wanted or ("wayland" if os.environ.get("WAYLAND_DISPLAY") else "xcb")
    said_by_qt = f"{probed.failure} {probed.stderr}"
    missing = named_in(said_by_qt) or missing_libraries(platform)
    facts = {
        "version": version,
        "platform": platform,
        "missing_libraries": missing,
        "failure": probed.failure,
        "stderr": probed.stderr,
    }
    headless = sys.platform == "linux" and not display and not wanted
    if missing:
        said = f"Qt lacks libraries of the system: {', '.join(missing)}."
        # Where no window can be seen, none is needed.
        state: State = "warn" if headless else "bad"
        return [Check("window", state, said, install_command(missing), facts)]
    if headless and "Error" not in probed.failure:
        said = "There is no display: no window; the library and the commands work."
        fix = "Log in with a display (ssh -X), or use var-studio demo."
        return [Check("window", "warn", said, fix, facts)]
    fix = f"pip install --force-reinstall PySide6-Essentials=={version}" if version else ""
    said = f"The window cannot open: {probed.failure}."
    return [Check("window", "bad", said, fix or "pip install PySide6-Essentials", facts)]


def _without_library(probed: Probed) -> Check:
    """What is wrong with a library that the window needs beside Qt."""
    package = LIBRARIES.get(probed.at, probed.at)
    version = installed(package)
    facts = {"version": version, "failure": probed.failure, "stderr": probed.stderr}
    if version is None and probed.failure.startswith("ModuleNotFoundError"):
        said = f"{package} is not installed: there is no window; the library and the commands work."
        return Check("window", "warn", said, f"pip install {package}", facts)
    said = f"The window cannot open: {package} does not load ({probed.failure})."
    return Check("window", "bad", said, reinstall(package), facts)


def check_fonts(probed: Probed) -> Check:
    """Whether figures can be drawn, and in which scripts."""
    if probed.failure:
        package = LIBRARIES.get(probed.at, "matplotlib")
        said = f"Figures cannot be drawn: {package} does not work ({probed.failure})."
        facts = {"failure": probed.failure, "stderr": probed.stderr}
        return Check("fonts", "bad", said, reinstall(package), facts)
    scripts: dict[str, bool] = probed.found["scripts"]
    lacking = [name for name, there in scripts.items() if not there]
    if lacking:
        said = f"Figures have no letters for {', '.join(lacking)}: such words show as boxes."
        fix = "Install fonts, such as the Debian packages fonts-noto-core and fonts-noto-cjk."
        return Check("fonts", "warn", said, fix, dict(probed.found))
    return Check("fonts", "ok", f"Fonts for {', '.join(scripts)}.", facts=dict(probed.found))


def check_folders() -> list[Check]:
    """Whether the user's folders can be written, and how much room they have."""
    kinds: tuple[Literal["cache", "config", "data"], ...] = ("cache", "config", "data")
    checks = []
    for kind in kinds:
        try:
            checks.append(_folder(kind, assets.user_folder(kind)))
        except Exception as error:  # platformdirs may be broken as anything else
            said = f"The folder for {kind} is not known: {one_line(error)}."
            fix = "pip install --force-reinstall platformdirs, or set VAR_STUDIO_HOME"
            checks.append(Check(f"folder.{kind}", "bad", said, fix))
    downloads = _folder("hub", _hub_folder())
    if downloads.state == "bad":
        downloads = replace(downloads, state="warn")  # models in folders load all the same
    return [*checks, downloads]


def _hub_folder() -> Path:
    """Where huggingface_hub keeps what it downloads."""
    given = os.environ.get("HF_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def _folder(kind: str, folder: Path) -> Check:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    facts = {"path": str(folder)}
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        said = f"Nothing can be written in {folder}: {error.strerror or error}."
        fix = "Set VAR_STUDIO_HOME to a folder of yours, or change the rights of this one."
        return Check(f"folder.{kind}", "bad", said, fix, facts)
    room = {**facts, "free": free}
    said = f"{folder} can be written; {free / 2**30:.1f} GiB free."
    if kind == "hub" and free < _WEIGHTS:
        fix = "Free some space, or set HF_HOME to a larger disk: a 7B model takes 14 GB."
        return Check("folder.hub", "warn", said, fix, room)
    if kind == "cache" and free < _LITTLE:
        return Check("folder.cache", "bad", said, "Free some space: recordings go there.", room)
    if kind == "cache" and free < _MUCH:
        fix = "Free some space: a recording of a large model may take some GiB."
        return Check("folder.cache", "warn", said, fix, room)
    return Check(f"folder.{kind}", "ok", said, facts=room)


def check_resources() -> Check:
    """Whether the demo model came with the program."""
    try:
        folder = assets.resource("demo-model", "model.safetensors").parent
    except VarStudioError as error:
        return Check("resources", "bad", error.what, error.next_step)
    return Check("resources", "ok", "The demo model is there.", facts={"path": str(folder)})


def check_hub() -> Check:
    """Whether models can be fetched. Asks the network."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        said = "HF_HUB_OFFLINE is set: models come from folders and the hub's cache alone."
        return Check("hub", "ok", said, facts={"address": address})
    began = time.monotonic()
    try:
        with urlopen(Request(address, method="HEAD"), timeout=_HUB_SECONDS):
            pass
    except HTTPError:
        pass  # it answered
    except (URLError, OSError, ValueError) as error:
        said = f"{address} cannot be reached: {one_line(error)}."
        fix = "Check the network and the proxy (HTTPS_PROXY), or load models from a folder."
        return Check("hub", "warn", said, fix, {"address": address})
    seconds = round(time.monotonic() - began, 2)
    facts = {"address": address, "seconds": seconds}
    return Check("hub", "ok", f"{address} answers in {seconds} s.", facts=facts)
