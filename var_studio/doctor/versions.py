"""The packages that are installed, against the ranges that VAR Studio declares."""

from __future__ import annotations

import platform
import sys
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from var_studio.doctor.check import Check, State

LEAVES: Mapping[str, str] = {
    "accelerate": "no model runs; sessions open",
    "torch": "no model runs; sessions open",
    "transformers": "no model runs; sessions open",
    "num2words": "SmolVLM does not load",
    "pyside6-essentials": "there is no window; the library and the commands work",
    "pyqtgraph": "there is no window; the library and the commands work",
}
"""What is left without a package that not everything needs."""

EXTRAS = ("quant", "xarray")
"""Extras that a user may want."""

KNOWN_BAD = (
    (
        "pyside6-essentials",
        ("6.11.0", "6.11.1"),
        (0, 0),
        "known to break the window",
    ),
    (
        "pyside6-essentials",
        ("6.12.0",),
        (3, 12),
        "it kills the process after about 570 signals on Python before 3.12",
    ),
)
"""Package, versions, on Python before this (0, 0: on any), why."""


def declared() -> tuple[list[str], dict[str, list[str]]]:
    """The requirements of VAR Studio, and those of its extras: from the checkout's pyproject.toml,
    else as they were installed. Empty where neither is there."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        try:
            table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
            if table["name"] == "var-studio":
                extras = table.get("optional-dependencies", {})
                return list(table["dependencies"]), {key: list(extras[key]) for key in extras}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # what is installed then says it
    try:
        lines = metadata.requires("var-studio") or []
    except metadata.PackageNotFoundError:
        return [], {}
    needed, extras = [], {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        if "extra ==" not in marker:
            needed.append(line)
            continue
        name = marker.partition("extra ==")[2].strip().strip("\"'").strip(")\"'")
        extras.setdefault(name, []).append(requirement.strip())
    return needed, extras


def installed(name: str) -> str | None:
    """The version of a package; None where it is not installed, or its metadata are broken."""
    try:
        version: str | None = metadata.version(name)
    except (metadata.PackageNotFoundError, KeyError, ValueError, OSError):
        return None
    return version


def check_python() -> Check:
    """Which Python this is."""
    version = platform.python_version()
    facts = {"version": version, "executable": sys.executable, "platform": platform.platform()}
    return Check("python", "ok", f"Python {version} on {platform.platform()}.", facts=facts)


def check_packages() -> list[Check]:
    """A check for each package that VAR Studio declares, and for those of its extras."""
    if getattr(sys, "frozen", False):
        return [Check("packages", "ok", "The packages are those that this program was built with.")]
    try:
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return [
            Check(
                "packages",
                "warn",
                "Versions cannot be compared: the package packaging is not installed.",
                "pip install packaging",
            )
        ]
    needed, extras = declared()
    if not needed:
        return [
            Check(
                "packages",
                "warn",
                "VAR Studio is not installed as a package: what it needs is not known.",
                "pip install .",
            )
        ]
    ranges: dict[str, tuple[str, list[Any]]] = {}
    for line in needed:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            key = canonicalize_name(requirement.name)
            ranges.setdefault(key, (requirement.name, []))[1].append(requirement.specifier)
    checks = [_needed(key, name, specifiers) for key, (name, specifiers) in ranges.items()]
    checks += _halves_of_qt()
    for extra in EXTRAS:
        for line in extras.get(extra, []):
            checks.append(_optional(extra, Requirement(line)))
    return checks


def _needed(key: str, name: str, specifiers: list[Any]) -> Check:
    version = installed(name)
    wanted = ",".join(filter(None, (str(specifier) for specifier in specifiers)))
    facts = {"package": name, "version": version, "wanted": wanted, "optional": False}
    # A shell would take < and > for files.
    command = f'pip install "{name}{wanted}"'
    if version is None:
        left = LEAVES.get(key)
        state: State = "warn" if left else "bad"
        without = f": {left}" if left else ""
        return Check(f"package.{key}", state, f"{name} is not installed{without}.", command, facts)
    reason = known_bad(key, version)
    if reason:
        said = f"{name} {version} must not be used: {reason}."
        return Check(f"package.{key}", "bad", said, command, facts)
    if not all(specifier.contains(version, prereleases=True) for specifier in specifiers):
        said = f"{name} {version} is outside of what VAR Studio is made for ({wanted})."
        return Check(f"package.{key}", "bad", said, command, facts)
    return Check(f"package.{key}", "ok", f"{name} {version}.", facts=facts)


def _halves_of_qt() -> list[Check]:
    """PySide6 and shiboken6 come in pairs; one updated without the other crashes."""
    whole, half = installed("PySide6-Essentials"), installed("shiboken6")
    if whole is None or half is None or whole == half:
        return []
    said = f"PySide6-Essentials is {whole} and shiboken6 {half}: they must be of one version."
    fix = f"pip install --force-reinstall PySide6-Essentials=={whole} shiboken6=={whole}"
    return [Check("package.shiboken6", "bad", said, fix, {"version": half, "wanted": whole})]


def _optional(extra: str, requirement: Any) -> Check:
    name = requirement.name
    version = installed(name)
    wanted = str(requirement.specifier)
    facts = {"package": name, "version": version, "wanted": wanted, "optional": True}
    identity = f"package.{name.lower()}"
    if version is None:
        said = f"{name} is not installed; only the extra {extra} needs it."
        return Check(identity, "ok", said, f"pip install 'var-studio[{extra}]'", facts)
    if not requirement.specifier.contains(version, prereleases=True):
        said = f"{name} {version} is outside of what VAR Studio is made for ({wanted})."
        return Check(identity, "warn", said, f'pip install "{name}{wanted}"', facts)
    return Check(identity, "ok", f"{name} {version} (extra {extra}).", facts=facts)


def known_bad(key: str, version: str, python: tuple[int, int] | None = None) -> str:
    """Why a version must not be used with this Python; empty where nothing is known."""
    python = python or sys.version_info[:2]
    for name, versions, before, why in KNOWN_BAD:
        if name == key and version in versions and (before == (0, 0) or python < before):
            return why
    return ""
