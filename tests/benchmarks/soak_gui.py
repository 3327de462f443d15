"""What the window leaves behind after hours of use: threads, hooks, files, objects, memory.

    python tests/benchmarks/soak_gui.py [--runs 1000] [--sessions 200] [--loads 20]
                                        [--platform offscreen|xcb]

The program's own window with the demo model. `--runs` times a run is started and stopped, at
another moment each time: before its first token, among its tokens, or not at all; every other
one redistributes. `--sessions` times a session file is opened in place of another and tokens of
it are looked at. `--loads` times the model is released and loaded again. It fails (exit code 1)
if anything that `Left` counts is more at the end than after the first fifth, if memory or the
number of Python's objects goes on growing, or if the model is not as plain as it was loaded. To
be run by hand: it takes some minutes.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import shiboken6

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

GROWTH = {"megabytes": 0.02, "objects": 5.0}
"""What one cycle may leave behind, on average after the first fifth: noise of the allocator, and
caches that fill up. One run or session kept in memory is hundreds of objects."""


@dataclass(frozen=True)
class Left:
    """What there is of everything that could be left behind.

    `hooks` are ours on the model: hooks of any kind, taps of its attention, sub-models that are
    not back at the kernel they were loaded with. `others` are hooks of transformers. `mapped` are
    files in the address space, which need no descriptor. `folders` are those of recordings on
    disk. `qobjects` are all of Qt's, whoever made them; `recordings` and `readings` Python's;
    `objects` all that Python's collector knows.
    """

    threads: int
    hooks: int
    others: int
    files: int
    mapped: int
    folders: int
    widgets: int
    qobjects: int
    timers: int
    recordings: int
    readings: int
    objects: int
    megabytes: float

    def __str__(self) -> str:
        counts = [f"{getattr(self, name)} {name}" for name in COUNTED]
        return ", ".join([*counts, f"{self.objects} objects", f"{self.megabytes:.1f} MB"])


COUNTED = tuple(f.name for f in fields(Left) if f.name not in GROWTH)


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
        self.window = MainWindow(appearance)
        self.window.controller.state_changed.connect(self.collector.follow)
        self.window.resize(1400, 900)
        self.window.show()
        self.spin(0.1)
        self.window.start()
        self.wait(lambda: self.window.controller.model is not None)

    def spin(self, seconds: float) -> None:
        """Let the event loop run."""
        end = time.perf_counter() + seconds
        while True:
            self.app.processEvents()
            if time.perf_counter() >= end:
                return
            time.sleep(0.0005)

    def wait(self, until: Callable[[], bool], seconds: float = 600) -> None:
        """Let the event loop run until something is so. If it never is: where every thread is."""
        end = time.perf_counter() + seconds
        while not until():
            self.app.processEvents()
            time.sleep(0.0005)
            if time.perf_counter() > end:
                faulthandler.dump_traceback()
                raise RuntimeError(
                    f"waited in vain; the controller: {self.window.controller.state}"
                )

    def left(self) -> Left:
        """Count everything, after all that is due has been cleaned up."""
        from PySide6 import QtCore

        from var_studio.analysis.reading import Reading
        from var_studio.recording.paths import kept_runs
        from var_studio.recording.recording import Recording
        from var_studio.recording.unsaved import windows_folder

        self.wait(lambda: not self.window.rows_ahead.busy)
        self.wait(lambda: not self.window.files.autosave.busy)
        self.window.workspace.undo_stack.clear()  # it holds a thousand steps, and no more
        for _ in range(3):
            self.spin(0.01)
            self.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            gc.collect()
        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        objects = gc.get_objects()
        roots = [*self.app.topLevelWidgets(), self.app]
        below = [child for root in roots for child in root.findChildren(QtCore.QObject)]
        # Those with a parent are below a root, or below one that Python holds.
        alone = [o for o in objects if isinstance(o, QtCore.QObject) and shiboken6.isValid(o)]
        everything = {shiboken6.getCppPointer(o)[0]: o for o in [*below, *alone]}
        model = self.window.controller._worker._lmm.hf_model
        return Left(
            threads=len(os.listdir("/proc/self/task")),
            hooks=_ours_on(model),
            others=len(_hooks(model)),
            files=len(os.listdir("/proc/self/fd")),
            mapped=len({line.split(maxsplit=5)[5] for line in maps if " /" in line}),
            folders=len(kept_runs()) + len(list(windows_folder().glob("*/*/zarr.json"))),
            widgets=len(self.app.allWidgets()),
            qobjects=len(everything),
            timers=sum(isinstance(o, QtCore.QTimer) and o.isActive() for o in everything.values()),
            recordings=sum(isinstance(o, Recording) for o in objects),
            readings=sum(isinstance(o, Reading) for o in objects),
            objects=len(objects),
            megabytes=int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        )

    # ------------------------------------------------------------------------------- the cycles
    def run_and_stop(self, cycle: int) -> None:
        """One run, stopped before its first token, after some, or never; then removed."""
        window, workspace = self.window, self.window.workspace
        tokens = (cycle % 5) * 2  # 0: at once
        known = set(map(id, workspace.runs))
        (window.run_with_var if cycle % 2 else window.run)()
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

    def load_again(self) -> None:
        """Give the model's memory back and load it anew."""
        controller = self.window.controller
        self.window.release_model()
        self.wait(lambda: controller.idle and controller.model is None)
        self.window.load_demo()
        self.wait(lambda: controller.idle and controller.model is not None)

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


def _hooks(model: Any) -> list[Any]:
    """The hooks on a torch model, of all kinds."""
    return [
        hook
        for module in model.modules()
        for name, hooks in vars(module).items()
        if name.endswith("_hooks")
        for hook in hooks.values()
    ]


def _ours_on(model: Any) -> int:
    """How many things of ours are on a model. transformers' own hooks, which it puts there at a
    model's first pass and leaves, are none of them."""
    from var_studio.engine import attention

    hooks = [hook for hook in _hooks(model) if not hook.__module__.startswith("transformers.")]
    config = model.config
    configs = [config, *(getattr(config, name) for name in config.sub_configs)]
    switched = [c for c in configs if c._attn_implementation in attention.NAMES.values()]
    replaced = [module for module in model.modules() if "forward" in vars(module)]
    return len(hooks) + len(attention._TAPS) + len(switched) + len(replaced)


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
    slopes = dict.fromkeys(GROWTH, 0.0)
    if len(seen) > 2:
        done = [number for number, _ in seen]
        for name in GROWTH:
            values = [getattr(left, name) for _, left in seen]
            slopes[name] = float(np.polyfit(done, values, 1)[0])
    seconds = time.perf_counter() - start
    grown = ", ".join(f"{1000 * slope:+.2f} {name}" for name, slope in slopes.items())
    print(f"{what}: {count} in {seconds:.0f} s, {grown} in 1,000 cycles", flush=True)
    complaints = [
        f"{what}: {name} went from {getattr(base, name)} to {getattr(last, name)}"
        for name in COUNTED
        if getattr(last, name) > getattr(base, name)
    ]
    if last.hooks:
        complaints.append(f"{what}: {last.hooks} hooks are left on the model")
    complaints += [
        f"{what}: {name} grow by {slope:.3f} a cycle"
        for name, slope in slopes.items()
        if slope > GROWTH[name]
    ]
    return complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--loads", type=int, default=20)
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
        if args.loads:
            complaints += repeat(soak, "load", args.loads, lambda _: soak.load_again())
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
