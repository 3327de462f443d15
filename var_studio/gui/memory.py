"""What the window remembers between starts: an ini file in the user's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import QSettings

from var_studio.assets import user_folder

_MOST = 8


def settings() -> QSettings:
    """Layout, theme, recent files. Read anew each time, so that two windows do not disagree."""
    return QSettings(str(user_folder("config") / "window.ini"), QSettings.Format.IniFormat)


def recent(kind: str) -> list[str]:
    """The latest names of a kind ("models", "sessions"), the newest first."""
    value = settings().value(f"recent_{kind}") or []
    # An ini file gives a list of one back as a string.
    return [value] if isinstance(value, str) else [str(v) for v in cast(list[Any], value)]


def remember_recent(kind: str, name: str) -> list[str]:
    """Put a name first; return the new list."""
    names = [name, *(n for n in recent(kind) if n != name)][:_MOST]
    settings().setValue(f"recent_{kind}", names)
    return names


def last_folder(kind: str) -> str:
    """Where the last file of a kind was; the home folder at first."""
    return str(settings().value(f"folder/{kind}") or Path.home())


def remember_folder(kind: str, path: str | Path) -> None:
    """Start the next file dialog of this kind where `path` is."""
    settings().setValue(f"folder/{kind}", str(Path(path).parent))


def figure_style() -> str:
    """The style file of the last figure that was exported, if it is still there; else empty."""
    style = str(settings().value("figure_style") or "")
    return style if Path(style).is_file() else ""


def remember_figure_style(path: Path | None) -> None:
    """Propose this style file for the next figure; None: ours alone."""
    settings().setValue("figure_style", "" if path is None else str(path))
