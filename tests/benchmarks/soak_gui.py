"""What the window leaves behind after hours of use: threads, hooks, files, widgets, memory.

    python tests/benchmarks/soak_gui.py [--runs 1000] [--sessions 200] [--platform offscreen|xcb]

The program's own window with the demo model. `--runs` times a run is started and stopped, at
another moment each time: before its first token, among its tokens, or not at all. `--sessions`
times a session file is opened in place of another and tokens of it are looked at. It fails (exit
code 1) if a thread, a hook, a file descriptor or a widget is left, or if memory goes on growing
after the first fifth. To be run by hand: it takes some minutes.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

GROWTH = 0.02
"""MB that one cycle may leave behind, on average after the first fifth: noise of the allocator."""


@dataclass(frozen=True)
class Left:
    """What there is of everything that could be left behind."""

    threads: int
    hooks: int
    files: int
    widgets: int
    timers: int
    megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.threads} threads, {self.hooks} hooks, {self.files} files, "
            f"{self.widgets} widgets, {self.timers} timers, {self.megabytes:.1f} MB"
        )


class Soak:
    """A window with the demo model, and the loop that drives it."""

    def __init__(self) -> None:
        from PySide6 import QtWidgets

        from var_studio.gui.appearance import Appearance
        from var_studio.gui.collector import Collector
        from var_studio.gui.main_window import MainWindow

        self.app = QtWidgets.QApplication([])
        self.app.setStyle("Fusion")
        self.collector = Collector()
        self.collector.start()
        appearance = Appearance()
        appearance.apply()
        self.window = MainWindow(appearance)
        self.window.resize(1400, 900)
        self.window.show()
        self.spin(0.1)
        self.window.start()
        self.wait(lambda: self.window.controller.model is not None, 120)
        self.collector.freeze()

    def spin(self, seconds: float) -> None:
        """Let the event loop run."""
        end = time.perf_counter() + seconds
        while True:
            self.app.processEvents()
            if time.perf_counter() >= end:
                return
            time.sleep(0.0005)

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        """Let the event loop run until something is so."""
        end = time.perf_counter() + seconds
        while not until():
            self.app.processEvents()
            time.sleep(0.0005)
            if time.perf_counter() > end:
                raise RuntimeError("waited in vain")

    def left(self) -> Left:
        """Count everything, after all that is due has been cleaned up."""
        from PySide6 import QtCore

        self.wait(lambda: not self.window.rows_ahead.busy)
        for _ in range(3):
            self.spin(0.01)
            self.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            gc.collect()
        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        timers = self.window.findChildren(QtCore.QTimer)
        return Left(
            threads=len(os.listdir("/proc/self/task")) if _LINUX else threading.active_count(),
            hooks=_hooks(self.window.controller._worker._lmm.hf_model),
            files=len(os.listdir("/proc/self/fd")),
            widgets=len(self.app.allWidgets()),
            timers=sum(timer.isActive() for timer in timers),
            megabytes=int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        )

    # ------------------------------------------------------------------------------- the cycles
    def run_and_stop(self, cycle: int) -> None:
        """One run, stopped before its first token, after some, or never; then removed."""
        window, workspace = self.window, self.window.workspace
        tokens = (cycle % 5) * 2  # 0: at once
        known = set(map(id, workspace.runs))
        window.run()
        if tokens:
            self.wait(
                lambda: (
                    window.controller.idle
                    or (
                        workspace.growing is not None
                        and len(workspace.growing.generated_positions) >= tokens
                    )
                )
            )
        if cycle % 5 != 4:
            window.stop()
        self.wait(lambda: window.controller.idle)
        self.spin(0.002)
        workspace.selection.step_token(1)
        self.spin(0.002)
        for run in [run for run in workspace.runs if id(run) not in known]:
            workspace.remove_run(run)
            run.discard()

    def make_sessions(self, folder: Path) -> list[Path]:
        """Two session files of one finished run each."""
        paths = []
        for name in ("one.vars", "other.vars"):
            self.window.run()
            self.wait(lambda: self.window.controller.idle)
            self.spin(0.05)
            path = folder / name
            self.window.files.save_to(path)
            self.wait(lambda: not self.window.files.saving)
            self.spin(0.05)
            paths.append(path)
        return paths

    def open_and_look(self, path: Path) -> None:
        """Open a session in place of the present one; walk along its tokens and heads."""
        window, workspace = self.window, self.window.workspace
        workspace.modified = False
        if not window.files.open(path):
            raise RuntimeError(f"{path} does not open")
        self.spin(0.002)
        for _ in range(3):
            workspace.selection.step_token(1)
            workspace.selection.step_head(1)
            self.spin(0.002)

    def close(self) -> list[str]:
        """End as the program does; returns the threads that Python then still has."""
        self.window.workspace.modified = False
        self.window.close()
        self.collector.stop()
        # A dummy stands for a thread that Qt has ended.
        return [
            thread.name
            for thread in threading.enumerate()
            if thread is not threading.main_thread()
            and not isinstance(thread, threading._DummyThread)
        ]


_LINUX = sys.platform.startswith("linux")


def _hooks(model: Any) -> int:
    """Forward hooks on a torch model, all kinds together, but those that transformers puts there
    itself at a model's first pass, and leaves."""
    return sum(
        not hook.__module__.startswith("transformers.")
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    )


def repeat(soak: Soak, what: str, count: int, cycle: Callable[[int], None]) -> list[str]:
    """Do it `count` times; the complaints. What is there after the first fifth is the measure."""
    first, seen = max(1, count // 5), []
    base = None
    start = time.perf_counter()
    for number in range(count):
        cycle(number)
        done = number + 1
        if done in (first, count) or (done > first and done % max(1, count // 20) == 0):
            left = soak.left()
            base = base or left
            seen.append((done, left))
            print(f"{what} {done}/{count}: {left}", flush=True)
    assert base is not None
    last = seen[-1][1]
    slope = 0.0
    if len(seen) > 2:
        slope = float(np.polyfit([n for n, _ in seen], [s.megabytes for _, s in seen], 1)[0])
    seconds = time.perf_counter() - start
    print(f"{what}: {count} in {seconds:.0f} s, {1000 * slope:+.2f} MB in 1,000 cycles", flush=True)
    complaints = [
        f"{what}: {name} went from {getattr(base, name)} to {getattr(last, name)}"
        for name in ("threads", "hooks", "files", "widgets", "timers")
        if getattr(last, name) > getattr(base, name)
    ]
    if last.hooks:
        complaints.append(f"{what}: {last.hooks} hooks are left on the model")
    if slope > GROWTH:
        complaints.append(f"{what}: memory grows by {slope:.3f} MB a cycle")
    return complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--platform", default="offscreen", choices=["offscreen", "xcb"])
    args = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = args.platform
    with tempfile.TemporaryDirectory() as folder:
        # The recordings, layout and recent files of this machine's user are left alone.
        os.environ["VAR_STUDIO_HOME"] = folder
        soak = Soak()
        complaints: list[str] = []
        if args.runs:
            complaints += repeat(soak, "run", args.runs, soak.run_and_stop)
        if args.sessions:
            paths = soak.make_sessions(Path(folder))
            complaints += repeat(
                soak, "session", args.sessions, lambda n: soak.open_and_look(paths[n % 2])
            )
        complaints += [f"after the end a thread runs: {name}" for name in soak.close()]
    print("\n".join(complaints) if complaints else "nothing is left behind")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
