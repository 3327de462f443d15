"""The window while a model loads and runs in its thread: its stalls, and what following costs.

    python tests/benchmarks/bench_run_in_window.py [--model demo|large] [--tokens 64]
                                                   [--platform offscreen|xcb] [--json FILE]

The program's own window of 1400 × 900, with the collector that the program uses. A timer of 1 ms
beats in the window's thread: the time between two beats is a turn of the event loop. Of the longest
turns it is said where they went: computing in this thread, waiting for a processor (the machine's
doing, from /proc/self/task/*/schedstat: this thread, or meanwhile the model's, which then may hold
Python's lock without computing), waiting for something else (Python's lock, mostly). `idle` is the
same window with nothing to do: what this machine does by itself. The cost of a run is the processor
time of the window's thread while it goes on, without the beats; "following" is the part after the
first word and before the last.

`large`: a random LLaVA of 16 layers × 16 heads × 576 visual tokens, D = 1024, made on the spot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


class Turn(NamedTuple):
    """One turn of the event loop, in milliseconds."""

    took: float
    computed: float  # by this thread
    own_queue: float  # this thread could have run, and no processor was free
    model_queue: float  # the model's thread could have run, and no processor was free

    @property
    def queued(self) -> float:
        """For a free processor: this thread, or the model's while this one waited for it."""
        return self.own_queue + min(self.model_queue, self._lock)

    @property
    def waited(self) -> float:
        """For anything else: Python's lock, mostly."""
        return max(self._lock - self.model_queue, 0.0)

    @property
    def _lock(self) -> float:
        return max(self.took - self.computed - self.own_queue, 0.0)

    @property
    def own(self) -> float:
        """What is the program's doing, not the machine's."""
        return self.took - self.queued


class Heartbeat:
    """Notes how long each turn of the event loop takes."""

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.turns: list[Turn] = []
        self._last: tuple[float, ...] | None = None
        self._model = ""
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Forget what was noted, and beat."""
        self.turns, self._last = [], None
        self._model = _thread_named("model")
        self._timer.start()

    def stop(self) -> list[Turn]:
        """What was noted."""
        self._timer.stop()
        return self.turns

    def _beat(self) -> None:
        now = (
            time.perf_counter(),
            time.thread_time(),
            _queued("thread-self"),
            _queued(self._model),
        )
        if self._last is not None:
            self.turns.append(Turn(*(1000 * (a - b) for a, b in zip(now, self._last, strict=True))))
        self._last = now


def _queued(thread: str) -> float:
    """Seconds that a thread has waited for a processor; 0 where the kernel does not tell."""
    try:
        with open(f"/proc/{thread}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _thread_named(name: str) -> str:
    """The folder below /proc of this process's thread of that name; a wrong one for none."""
    for task in Path("/proc/self/task").glob("*/comm"):
        if task.read_text().strip() == name:
            return f"self/task/{task.parent.name}"
    return "none"


class Bench:
    """One window, one model."""

    def __init__(self, model: str, tokens: int) -> None:
        from PySide6 import QtWidgets

        from var_studio.gui.app import application
        from var_studio.gui.appearance import Appearance
        from var_studio.gui.collector import Collector
        from var_studio.gui.main_window import MainWindow

        self.app = application()
        appearance = Appearance(self.app)
        self.collector = Collector(self.app)
        self.collector.start()
        self.window = MainWindow(appearance)
        assert isinstance(self.window, QtWidgets.QMainWindow)
        self.controller = self.window.controller
        self.controller.state_changed.connect(self.collector.follow)
        self.window.resize(1400, 900)
        self.window.show()
        self.turn_until(lambda: self.window._painted)
        self.model, self.tokens = model, tokens
        self.beat = Heartbeat()
        self.words: list[tuple[float, float]] = []  # when each came: clock, this thread's time
        self.controller.happened.connect(self._happened)
        self.results: dict[str, Any] = {}

    def turn_until(self, done: Callable[[], bool], at_most: float = 600) -> None:
        """Run the event loop as the program does, until `done`."""
        from PySide6.QtCore import QEventLoop, QTimer

        loop, end = QEventLoop(), time.monotonic() + at_most
        timer = QTimer()
        timer.timeout.connect(lambda: loop.quit() if done() or time.monotonic() > end else None)
        timer.start(20)
        loop.exec()
        if not done():
            raise RuntimeError("it takes too long")

    def rest(self, seconds: float = 1.0) -> None:
        """Let what goes on behind a change come to its end."""
        end = time.monotonic() + seconds
        self.turn_until(lambda: time.monotonic() > end and self.controller.idle)

    def measure(self) -> None:
        """Loading, an idle window, runs."""
        self.beat.start()
        self.window.start(self.model)
        self.turn_until(lambda: self.controller.model is not None)
        self.results["loading, the libraries too"] = turns(self.beat.stop())
        self.rest(2)
        self.beat.start()
        self.window.load_model(self.model)
        self.turn_until(lambda: self.controller.idle)
        self.results["loading again"] = turns(self.beat.stop())
        self.rest()
        self.beat.start()
        self.rest(3)
        self.results["idle"] = turns(self.beat.stop())
        self.window.workspace.generation.set(max_new_tokens=self.tokens)
        for number, name in enumerate(("first run", "second run")):
            self.beat.start()
            self.run(number)
            self.results[name] = turns(self.beat.stop())
            self.rest()
        for number, panel in enumerate(("phi_histogram", "ledger", "shares"), 2):
            self.window.area.reveal(panel)
            self.rest(0.5)
            self.words.clear()
            cpu, start = time.thread_time(), time.perf_counter()
            self.run(number)
            wall, cpu = time.perf_counter() - start, time.thread_time() - cpu
            self.results[f"whole run, {panel} shown"] = {"run s": wall, "window s": cpu}
            wall, cpu = (b - a for a, b in zip(self.words[0], self.words[-1], strict=True))
            if wall > 0.5:
                self.results[f"following, {panel} shown"] = {"run s": wall, "window s": cpu}
            self.rest()

    def _happened(self, event: object) -> None:
        if type(event).__name__ == "TokenProduced":
            self.words.append((time.perf_counter(), time.thread_time()))

    def run(self, number: int) -> None:
        """Ask another question, and wait for the end of the answer."""
        before = len(self.window.workspace.runs)
        self.window.workspace.question.set_prompt(f"{_QUESTION} ({number})")
        self.window.run()
        self.turn_until(lambda: self.controller.idle and len(self.window.workspace.runs) > before)

    def close(self) -> None:
        """Close as a person would who wants to save nothing."""
        self.window.workspace.modified = False
        self.window.close()
        self.collector.stop()


_QUESTION = "what color is the circle?"


def turns(noted: list[Turn]) -> dict[str, Any]:
    """Longest and 99th percentile of the turns, and where the longest ones went."""
    took = [turn.took for turn in noted]
    longest = sorted(noted, key=lambda turn: -turn.own)[:3]
    return {
        "turns": len(noted),
        "p99": float(np.quantile(took, 0.99)),
        "worst": max(took),
        "worst of its own": max(turn.own for turn in noted),
        "over 100 ms": sum(turn.took > 100 for turn in noted),
        "over 100 ms of its own": sum(turn.own > 100 for turn in noted),
        "longest": [
            {"took": t.took, "computed": t.computed, "queued": t.queued, "waited": t.waited}
            for t in longest
        ],
    }


def make_large(folder: Path) -> Path:
    """A random LLaVA that computes long enough for the window to be heard meanwhile."""
    # In a process of its own: this one is to load torch in the window.
    sizes = "side=336, patch=14, layers=16, heads=16, kv_heads=16, hidden=1024, spread=0.03"
    code = (
        "import pathlib, sys; from tests.models.tiny import save_checkpoint; "
        f"save_checkpoint(pathlib.Path(sys.argv[1]), {sizes})"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo", choices=["demo", "large"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--platform", default="offscreen", choices=["offscreen", "xcb"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = args.platform
    with tempfile.TemporaryDirectory() as folder:
        # The layout and recent files of this machine's user are left alone.
        os.environ["VAR_STUDIO_HOME"] = folder
        model = "demo" if args.model == "demo" else str(make_large(Path(folder) / "large"))
        bench = Bench(model, args.tokens)
        try:
            bench.measure()
        finally:
            bench.close()
    print(
        f"{args.model} · {args.platform} · {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for name, row in bench.results.items():
        if "window s" in row:
            share = row["window s"] / row["run s"]
            print(f"{name}: {row['window s']:.2f} s of {row['run s']:.2f} s ({share:.0%})")
            continue
        print(
            f"{name}: {row['turns']} turns, p99 {row['p99']:.0f} ms, worst {row['worst']:.0f} ms, "
            f"without waiting for a processor {row['worst of its own']:.0f} ms; over 100 ms: "
            f"{row['over 100 ms']}, of them its own {row['over 100 ms of its own']}"
        )
        for t in row["longest"]:
            print(
                f"    {t['took']:.0f} ms: computing {t['computed']:.0f}, no processor free "
                f"{t['queued']:.0f}, other waiting {t['waited']:.0f}"
            )
    if args.json:
        args.json.write_text(json.dumps(bench.results, indent=1))


if __name__ == "__main__":
    main()
