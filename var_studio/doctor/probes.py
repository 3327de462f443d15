"""Looking at what may crash, from processes of their own: torch, Qt, fonts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from var_studio.errors import LIBRARIES

PROBES: Final = {
    "torch": "var_studio.models.probe",
    "qt": "var_studio.gui.probe",
    "fonts": "var_studio.figures.probe",
    "packages": "var_studio.doctor.imports",
}
"""Modules with a function `probe`, which returns plain JSON."""

SECONDS: Final = 30.0
"""How long a probe may take; the first import of torch on a cold disk takes most of it."""

_MARK = "var-studio-probe:"
_STEP = "var-studio-step:"


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found, or in `failure` why it found nothing, and what it wrote to stderr. `at`:
    the module that is to blame for a failure, or that it had come to; empty: not known."""

    found: dict[str, Any]
    failure: str = ""
    stderr: str = ""
    at: str = ""


def answer(name: str) -> int:
    """Inside the process of a probe: look, and print what was found. Returns the exit code."""
    try:
        found: dict[str, Any] = import_module(PROBES[name]).probe()
    except BaseException as error:
        found = {"error": one_line(error), "blame": blamed(error)}
    sys.stdout.flush()
    # Libraries may have written whatever they like before.
    os.write(1, f"\n{_MARK}{json.dumps(found)}\n".encode())
    # What a library does when it is taken down is of no interest, and may hang.
    os._exit(0)


def step(name: str) -> None:
    """Inside the process of a probe: tell which module comes next, should it hang or crash."""
    sys.stdout.flush()
    os.write(1, f"\n{_STEP}{name}\n".encode())


def blamed(error: BaseException) -> str:
    """The library in which an error arose, or that is not there; empty where it is none we know."""
    name = (getattr(error, "name", None) or "") if isinstance(error, ModuleNotFoundError) else ""
    found = [name.partition(".")[0]]
    trace = error.__traceback__
    while trace is not None:
        found.insert(1, str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    return next((each for each in found if each in LIBRARIES), "")


def run_all(seconds: float = SECONDS) -> dict[str, Probed]:
    """Every probe, side by side."""
    began = time.monotonic()
    started = {name: _start(name) for name in PROBES}
    found = {}
    try:
        for name, process in started.items():
            left = max(0.1, seconds - (time.monotonic() - began))
            if isinstance(process, Probed):
                found[name] = process
            else:
                found[name] = _finish(process, left, seconds)
    finally:
        # After Ctrl-C, none goes on alone.
        for process in started.values():
            if not isinstance(process, Probed) and process.poll() is None:
                process.kill()
    return found


def own_command(*arguments: str) -> list[str]:
    """What starts `var-studio` with these arguments again, as it runs now."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]  # made into one folder, it is its own interpreter
    return [sys.executable, "-m", "var_studio", *arguments]


def one_line(error: BaseException) -> str:
    """An error with its kind, short."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:300]}"


def _start(name: str) -> subprocess.Popen[str] | Probed:
    try:
        return subprocess.Popen(
            own_command("doctor", "--probe", name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return Probed({}, f"it could not be started ({one_line(error)})")


def _finish(process: subprocess.Popen[str], left: float, whole: float) -> Probed:
    try:
        out, err = process.communicate(timeout=left)
    except subprocess.TimeoutExpired:
        process.kill()
        out = ""
        try:
            out, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            pass  # in a system call that does not end; it is no child to wait for
        return Probed({}, f"no answer within {whole:g} seconds", at=_last_step(out))
    tail = " ".join(err.split())[-500:]
    for line in reversed(out.splitlines()):
        if line.startswith(_MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            failure, blame = str(found.pop("error", "")), str(found.pop("blame", ""))
            return Probed(found, failure, tail, blame or (failure and _last_step(out)))
    died = f"the process died ({_death(process.returncode)})"
    return Probed({}, died, tail, _last_step(out))


def _last_step(out: str) -> str:
    steps = [line for line in out.splitlines() if line.startswith(_STEP)]
    return steps[-1].removeprefix(_STEP) if steps else ""


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
