"""The command line in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "var_studio"]


def started(modules: Path, *arguments: object, **pipes: Any) -> subprocess.Popen[str]:
    """Start the command where modules of a folder stand in for libraries; Ctrl-C reaches it."""
    if os.name != "nt":
        # A process started in the background may ignore SIGINT, and hands that on.
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(modules), str(ROOT)))},
        stderr=subprocess.PIPE,
        text=True,
        **pipes,
    )
