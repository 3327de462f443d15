"""How fast the window answers: a click, a drag, and the first paint.

    python tests/benchmarks/bench_gui.py [--layers 32 --heads 32 --grid 24 --queries 200]
                                         [--platform offscreen|xcb] [--json FILE]
    xvfb-run -a -s "-screen 0 1600x1000x24" python tests/benchmarks/bench_gui.py --platform xcb

A synthetic recording of 32 layers × 32 heads × 576 visual tokens × 200 queries on disk, in the
program's own window of 1400 × 900 with the panels that it shows at first. Times go from the change
of the selection to the moment when every visible panel that it concerns has painted and nothing is
left to do, through the real event loop: zero timers, layout, paint events. On a machine that does
other work too only the least and the median mean something; its load is printed beside them.

The first paint is that of a second start: our program and the bare window both find their bytecode,
in a fresh folder that a first round has filled (PYTHONDONTWRITEBYTECODE is unset for both).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BARE_WINDOW = """
import time, os
start = float(os.environ["BENCH_START"])
from PySide6 import QtCore, QtWidgets
import pyqtgraph
class Bare(pyqtgraph.PlotWidget):
    def paintEvent(self, event):
        super().paintEvent(event)
        QtCore.QTimer.singleShot(0, QtWidgets.QApplication.quit)
app = QtWidgets.QApplication([])
window = Bare()
window.resize(1400, 900)
window.show()
app.exec()
print(time.time() - start)
"""


class Took(NamedTuple):
    """Seconds by the clock, and of this process on a processor (a busy machine differs)."""

    wall: float
    cpu: float


class Painted:
    """Counts the paint events of widgets, so that "painted" is seen, not assumed."""

    def __init__(self, app: object, widgets: dict[str, object]) -> None:
        from PySide6 import QtCore

        class Filter(QtCore.QObject):
            def eventFilter(filter_self, watched: object, event: object) -> bool:
                if event.type() == QtCore.QEvent.Type.Paint:  # type: ignore[attr-defined]
                    self.counts[id(watched)] += 1
                return False

        self.app = app
        self.widgets = widgets
        self.counts = {id(widget): 0 for widget in widgets.values()}
        self._filter = Filter()
        for widget in widgets.values():
            widget.installEventFilter(self._filter)  # type: ignore[attr-defined]

    def time_until(self, change: Callable[[], object], names: list[str]) -> Took:
        """From `change` until each named widget has painted and the loop is idle."""
        wanted = [id(self.widgets[name]) for name in names]
        before = {key: self.counts[key] for key in wanted}
        start, cpu = time.perf_counter(), time.process_time()
        change()
        while any(self.counts[key] == before[key] for key in wanted):
            self.app.processEvents()  # type: ignore[attr-defined]
            if time.perf_counter() - start > 10:
                raise RuntimeError(f"not painted within 10 s: {names}")
        # What the change has queued behind the paint belongs to it.
        self.app.processEvents()  # type: ignore[attr-defined]
        return Took(time.perf_counter() - start, time.process_time() - cpu)


def open_window(run: object):  # type: ignore[no-untyped-def]
    """The program's window in its first arrangement, on a run; no model is loaded."""
    from PySide6 import QtWidgets

    from var_studio.gui.appearance import Appearance
    from var_studio.gui.main_window import MainWindow

    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    app.setStyle("Fusion")
    appearance = Appearance()
    window = MainWindow(appearance)
    window.resize(1400, 900)
    window.show()
    for _ in range(20):
        app.processEvents()
    window.start(model=None)
    window.workspace.add_run(run)
    for _ in range(20):
        app.processEvents()
    return app, window


class Bench:
    """One window on one run, and what is measured with it."""

    def __init__(self, args: argparse.Namespace, run: object) -> None:
        self.args, self.run = args, run
        self.app, self.window = open_window(run)
        self.workspace = self.window.workspace
        self.positions = list(self.workspace.selection.positions)
        self.heads = self.window.area.panel("heads")
        image = self.window.area.panel("image")
        histogram = self.window.area.panel("phi_histogram")
        self.painted = Painted(
            self.app,
            {
                "image": image.views["before"],
                "grid": self.heads.atlas,
                "line": self.heads.strip,
                "answer": self.window.transcript.answer.viewport(),
                "histogram": histogram.histogram.viewport(),
            },
        )
        self.results: dict[str, dict[str, float]] = {}
        visible = [panel.title for panel in self.window.panels() if panel.isVisible()]
        print("visible panels: " + ", ".join(visible), file=sys.stderr)

    def rest(self) -> None:
        """As long as a person looks: the neighbours' rows are read ahead meanwhile."""
        self.app.processEvents()
        while self.window.rows_ahead.busy:
            self.app.processEvents()
            time.sleep(0.001)

    def go(self, position: int, names: list[str]) -> Took:
        """Select a token; the time until the named widgets have painted."""
        took = self.painted.time_until(
            lambda: self.workspace.selection.select_token(position), names
        )
        self.rest()
        return took

    def tokens(self, how: str) -> None:
        """Clicks on tokens whose rows are on disk, those of neighbours, those seen before."""
        names = ["image", "line" if how == "line" else "grid"]
        # Steps of five: beyond what was read ahead of the one before.
        far = [p for start in (0, 3) for p in self.positions[start::5]]
        far = far[: self.args.clicks + 1] if len(far) > 20 else self.positions[::3]
        self.rest()
        cold = [self.go(position, names) for position in far if self._is_other(position)]
        near = self.positions[1 : self.args.clicks + 2]
        self.go(self.positions[0], names)
        walk = [self.go(position, names) for position in near if self._is_other(position)]
        few = self.positions[:4]
        for position in few:
            self.go(position, names) if self._is_other(position) else None
        seen = []
        for position in few * (1 + self.args.clicks // len(few)):
            if self._is_other(position):
                seen.append(self.go(position, names))
        self.results[f"token, row from disk ({how})"] = spread(cold)
        self.results[f"next token, row read ahead ({how})"] = spread(walk)
        self.results[f"token, row seen before ({how})"] = spread(seen)

    def _is_other(self, position: int) -> bool:
        return bool(position != self.workspace.selection.position)

    def head_clicks(self) -> None:
        """Real mouse clicks on heads, mostly of another layer, so that φ changes too."""
        from PySide6 import QtCore, QtTest

        rng = np.random.default_rng(0)
        clicks = []
        for _ in range(self.args.clicks):
            layer, head = int(rng.integers(self.args.layers)), int(rng.integers(self.args.heads))
            if self.workspace.selection.heads == {(layer, head)}:
                continue
            point = self.heads.atlas.cell_rect(layer, head).center().toPoint()

            def click(where: QtCore.QPoint = point) -> None:
                left = QtCore.Qt.MouseButton.LeftButton
                QtTest.QTest.mouseClick(self.heads.atlas, left, pos=where)

            # In the same layer φ stays what it was: its histogram has nothing to paint.
            other = layer != self.workspace.selection.layer
            names = ["image", "grid", "histogram"] if other else ["image", "grid"]
            clicks.append(self.painted.time_until(click, names))
        self.results["head (real mouse click)"] = spread(clicks)

    def all_drags(self) -> None:
        """τ, ρ, p and the opacity, one update after the other; τ also to a region."""
        for shown in ("before", "all"):
            self.workspace.view.set(shown=shown)
            for name, change in drags(self.workspace).items():
                # The grid shows r, which follows τ; ρ alters it only where it outlines others.
                names = ["image", "grid"] if name == "τ" else ["image"]
                self._drag(f"drag {name}, {shown}", change, names)
        self.workspace.regions.add(range(0, self.run.layout.count, 4))
        self.workspace.method.set_target("region")
        self._drag("drag τ to a region, all", drags(self.workspace)["τ"], ["image", "grid"])
        self.workspace.method.set_target("visual")
        self.workspace.view.set(shown="before")

    def _drag(self, title: str, change: Callable[[float], None], names: list[str]) -> None:
        self.rest()
        times = [
            self.painted.time_until(lambda s=step: change(s), names)
            for step in np.linspace(0.1, 0.9, self.args.steps)
        ]
        self.results[title] = spread(times) | {
            "per second": len(times) / sum(took.wall for took in times)
        }

    def close(self) -> None:
        """Close as a person would who wants to save nothing."""
        self.workspace.modified = False
        self.window.close()


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All timings of the window, in milliseconds and updates a second."""
    from tests.synthetic import make_run

    with tempfile.TemporaryDirectory() as folder:
        # The layout and recent files of this machine's user are left alone.
        os.environ["VAR_STUDIO_HOME"] = folder
        start = time.perf_counter()
        run = make_run(
            Path(folder) / "run",
            layers=args.layers,
            heads=args.heads,
            rows=args.grid,
            cols=args.grid,
            queries=args.queries,
            hidden=4096,
        )
        print(f"recording made in {time.perf_counter() - start:.1f} s", file=sys.stderr)
        bench = Bench(args, run)
        bench.tokens("values")
        bench.head_clicks()
        bench.workspace.selection.select_all()
        bench.all_drags()
        bench.workspace.view.set(thumbnails=True)
        bench.tokens("thumbnails")
        bench.workspace.view.set(thumbnails=False, head_order="sorted")
        bench.tokens("line")
        bench.close()
    return bench.results


def drags(workspace) -> dict[str, Callable[[float], None]]:  # type: ignore[no-untyped-def]
    """Sliders to drag, each over the shares 0 to 1 of its range."""
    method, view = workspace.method, workspace.view
    return {
        "τ": lambda share: method.set(drag=True, tau=round(share * method.shown.tau_max, 2)),
        "ρ": lambda share: method.set(drag=True, rho=round(share, 3)),
        "p": lambda share: method.set(drag=True, p=round(share, 3)),
        "opacity": lambda share: view.set(opacity=round(share, 3)),
    }


def spread(times: list[Took]) -> dict[str, float]:
    """Least, median and 95th percentile in milliseconds, by the clock and of processor time."""
    return {
        "least": 1000 * min(took.wall for took in times),
        "p50": 1000 * float(np.quantile([took.wall for took in times], 0.5)),
        "p95": 1000 * float(np.quantile([took.wall for took in times], 0.95)),
        "cpu p95": 1000 * float(np.quantile([took.cpu for took in times], 0.95)),
        "n": len(times),
    }


def first_paint(repeats: int) -> dict[str, dict[str, float]]:
    """Seconds from process start to the first paint: ours, and a bare window, by turns.

    As at a user's second start, both find the bytecode of all their modules: it is written to a
    folder of its own, in a first round that does not count.
    """
    ours = [sys.executable, "-m", "var_studio", "gui", "--quit-after-first-paint"]
    bare = [sys.executable, "-c", BARE_WINDOW]
    noted: dict[str, list[Took]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode"),
            "VAR_STUDIO_HOME": str(Path(folder) / "home"),
        }
        for counts in [False, *[True] * repeats]:
            for name, command in (("bare", bare), ("ours", ours)):
                before = os.times()
                environment["BENCH_START"] = repr(time.time())
                done = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True
                )
                if done.returncode:
                    print(done.stderr, file=sys.stderr)
                    return {}
                after = os.times()
                cpu = after.children_user + after.children_system
                cpu -= before.children_user + before.children_system
                line = done.stdout.splitlines()[-1]
                wall = json.loads(line)["seconds_to_first_paint"] if name == "ours" else float(line)
                if counts:
                    noted[name].append(Took(wall, cpu))
    return {
        how: {name: of([getattr(took, clock) for took in noted[name]]) for name in ("ours", "bare")}
        for how, clock, of in (
            ("median", "wall", statistics.median),
            ("least", "wall", min),
            ("least of processor time until the end", "cpu", min),
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--grid", type=int, default=24, help="rows and columns of visual tokens")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--platform", default="offscreen", choices=["offscreen", "xcb"])
    parser.add_argument("--first-paint", type=int, default=5, help="repeats; 0: leave it out")
    parser.add_argument("--only-first-paint", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = args.platform
    results = {} if args.only_first_paint else measure(args)
    shape = f"{args.layers} × {args.heads} × {args.grid**2} × {args.queries} · "
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{shape if results else ''}{args.platform} · {machine}")
    if results:
        print(f"| {'change → all panels painted':40} | least ms |   p50 |   p95 | CPU p95 | /s |")
        print(f"|{'-' * 42}|---------:|------:|------:|--------:|---:|")
    for name, row in results.items():
        rate = f"{row['per second']:2.0f}" if "per second" in row else "  "
        times = f"{row['least']:8.1f} | {row['p50']:5.1f} | {row['p95']:5.1f}"
        print(f"| {name:40} | {times} | {row['cpu p95']:7.1f} | {rate} |")
    paint = first_paint(args.first_paint) if args.first_paint else {}
    if paint:
        print(f"first paint, bytecode at hand for both (second start), {args.first_paint} by turns")
    for how, row in paint.items():
        print(
            f"    {how}: {row['ours']:.2f} s, bare PySide6 + pyqtgraph window "
            f"{row['bare']:.2f} s, ratio {row['ours'] / row['bare']:.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"panels": results, "first_paint": paint}, indent=1))


if __name__ == "__main__":
    main()
