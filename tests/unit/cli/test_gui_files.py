"""The files that `var-studio gui` is given, by path or by URL, as desktops pass them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import var_studio.cli
from var_studio.cli import named_file
from var_studio.errors import VarStudioError

AWKWARD = ("a b.vars", "Größe 図 %20.vars", "#1?.vars", "-o.vars")


@pytest.mark.parametrize("name", AWKWARD)
def test_a_path_and_its_url_name_the_same_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert named_file(str(path)) == path
    assert named_file(path.as_uri()) == path
    assert named_file(path.as_uri().replace("file://", "file://localhost")) == path
    assert named_file(path.as_uri().replace("file://", "FILE:")) == path


def test_a_file_whose_name_looks_like_a_url_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file:a%20b.vars").touch()
    assert named_file("file:a%20b.vars") == Path("file:a%20b.vars")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/gone.vars", "no file /nowhere/gone.vars"),
        ("file:///nowhere/a%20b.vars", "no file /nowhere/a b.vars"),
        ("file://elsewhere/home/s.vars", "another machine"),
        ("a\0b.vars", "no file"),
        ("x" * 5000, "no file"),
        ("file:///%00", "no file"),
    ],
)
def test_what_is_no_file_is_said(name: str, said: str) -> None:
    with pytest.raises(VarStudioError, match=said):
        named_file(name)


def test_several_files_reach_the_window(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without an option that needs the parser: there are two ways to the window."""
    paths = [tmp_path / name for name in AWKWARD]
    for path in paths:
        path.touch()
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(var_studio.cli, "_window", lambda: lambda *given: asked.append(given) or 7)
    names = [str(paths[0]), paths[1].as_uri()]
    assert cli("gui", *names, "--demo").code == 7
    assert cli("gui", "--no-quit-after-first-paint", "--demo", "--", *names).code == 7
    assert asked == [(paths[:2], True, False)] * 2
    assert cli("gui").code == 7 and asked[-1] == ([], False, False)
    gone = cli("gui", names[0], tmp_path / "gone.vars")
    assert gone.code == 2 and "gone.vars" in gone.err and len(asked) == 3
