"""``var-studio doctor``: what this machine can do. Imports nothing that may be broken here."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from var_studio.cli.stopping import begun


def doctor(as_json: bool, online: bool) -> int:
    """Look, print, and return the exit code: 1 where something needed is bad."""
    from var_studio.doctor.report import as_json as written
    from var_studio.doctor.report import examine

    begun()
    # The window ends it so: the probes then end with it, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.stderr.isatty():
        print("Looking at torch, Qt and fonts …", end="\r", file=sys.stderr, flush=True)
    report = examine(online=online)
    if sys.stderr.isatty():
        print("\033[K", end="", file=sys.stderr, flush=True)
    print(written(report) if as_json else report.to_text())
    return 0 if report.ok else 1


def plain_doctor(arguments: Sequence[str]) -> int | None:
    """Run `doctor` where nothing unusual is asked, without the libraries of the command line.

    They may be what is broken. None: another command, or options for the command line to refuse.
    """
    if list(arguments[:1]) != ["doctor"]:
        return None
    rest = list(arguments[1:])
    if len(rest) == 2 and rest[0] == "--probe":
        from var_studio.doctor.probes import PROBES, answer

        return answer(rest[1]) if rest[1] in PROBES else None
    if not set(rest) <= {"--json", "--online"}:
        return None
    return doctor("--json" in rest, "--online" in rest)
