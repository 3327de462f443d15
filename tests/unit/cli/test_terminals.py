"""What stands between a command and its reader: letters, a full disk, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.processes import COMMAND, ROOT, started


@pytest.mark.parametrize(
    "terminal",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_terminal_without_the_letters_shows_codes(
    session: Path, terminal: dict[str, str]
) -> None:
    for arguments in (["info", session], ["info", "--help"], ["export", session, "--out", "ρ.x"]):
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env={**os.environ, **terminal},
            capture_output=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert b"bug" not in said and b"Traceback" not in said
        assert done.returncode == (2 if arguments[0] == "export" else 0)
        if arguments == ["info", session] and terminal.get("PYTHONIOENCODING") != "latin-1":
            assert rb"\xd7" in said and "×".encode() not in said


def test_bytes_that_are_no_letters_come_out_as_they_were(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.vars"
    terminal = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*map(os.fsencode, COMMAND), b"info", name],
        cwd=ROOT,
        env={**os.environ, **terminal},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"bug" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("flags", [[], ["-u"]])
@pytest.mark.parametrize("arguments", [["--json"], ["--help"], []])
def test_a_full_disk_is_no_bug(session: Path, arguments: list[str], flags: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *flags, "-m", "var_studio", "info", session, *arguments],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("var-studio: The output cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stdout_is_no_bug(session: Path) -> None:
    line = f"exec {sys.executable} -m var_studio info {session} --json >&-"
    done = subprocess.run(
        ["sh", "-c", line], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == ""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Libraries whose import takes for ever, minds no interrupt, and tells that it goes on.

    In short sleeps: a signal that comes just before a sleep is seen only after it.
    """
    for module in ("typer", "torch"):
        (tmp_path / f"{module}.py").write_text(
            "import time\n"
            f"open({str(tmp_path / module)!r} + '.there', 'w').close()\n"
            "until = time.monotonic() + 60\n"
            "while time.monotonic() < until:\n"
            "    try:\n"
            "        time.sleep(0.05)\n"
            "    except BaseException:\n"
            "        pass\n"
        )
    return tmp_path


def _interrupted(slow: Path, module: str, *arguments: object) -> tuple[int, str, float]:
    process = started(slow, *arguments, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (slow / f"{module}.there").exists() and time.monotonic() < until:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=50)
    return process.returncode, err, time.monotonic() - began


def test_ctrl_c_while_a_command_starts(slow: Path, session: Path) -> None:
    code, err, seconds = _interrupted(slow, "typer", "info", session)
    assert (code, err) == (130, "var-studio: Stopped.\n") and seconds < 20


@pytest.mark.torch
def test_ctrl_c_while_the_libraries_of_a_model_load(slow: Path) -> None:
    (slow / "typer.py").unlink()
    picture = ROOT / "resources" / "samples" / "house.png"
    asked = ("--model", "demo", "--image", picture, "--prompt", "what?")
    code, err, seconds = _interrupted(slow, "torch", "record", *asked, "--out", slow / "o.vars")
    assert code == 130 and "Traceback" not in err and seconds < 20
    stopping, nothing = err.splitlines()[-2:]
    assert stopping.startswith("var-studio: Stopping…")
    assert nothing == "var-studio: Stopped before anything was recorded."
