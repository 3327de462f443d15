"""packaging/bootstrap meets bad situations with one line that says what to do next."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "packaging" / "bootstrap"

pytestmark = pytest.mark.skipif(
    shutil.which("sh") is None or os.name == "nt", reason="needs a POSIX shell"
)


def bootstrap(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(BOOTSTRAP), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_help_names_every_command(tmp_path: Path) -> None:
    result = bootstrap(tmp_path, "--help")
    assert result.returncode == 0
    for word in ("run", "test", "setup", "--env", "--python"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "unknown command fly; choose"),
        (["--fly", "run"], "unknown option --fly; see"),
        (["--env"], "--env needs a folder"),
        (["--python", "no-such-python", "--env", "new", "setup"], "name a Python 3.11 or newer"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = bootstrap(tmp_path, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_old_python(tmp_path: Path) -> None:
    # Runs an empty program, but fails the question whether it is new enough.
    old = program(tmp_path / "old-python", '[ -z "$2" ]')
    result = bootstrap(tmp_path, "--python", old, "--env", "new", "setup")
    assert result.returncode == 2
    assert result.stderr == (
        f"bootstrap: {old} is older than 3.11; name a newer one with --python.\n"
    )
    assert not (tmp_path / "new").exists()


def test_python_without_venv(tmp_path: Path) -> None:
    bare = program(tmp_path / "bare-python", "case $2 in *venv*) exit 1 ;; *) exit 0 ;; esac")
    apt = tmp_path / "bin"
    apt.mkdir()
    program(apt / "id", "echo 1000")  # Not root: nothing is installed.
    result = subprocess.run(
        ["sh", str(BOOTSTRAP), "--python", bare, "--env", "new", "setup"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{apt}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "has no venv module; install it" in result.stderr


def test_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of it", encoding="utf-8")
    result = bootstrap(tmp_path, "--env", "work", "setup")
    assert result.returncode == 2
    assert "is no virtual environment; choose another folder with --env" in result.stderr
    assert thesis.read_text(encoding="utf-8") == "years of it"
