"""How fast the window answers: a click, a drag, and the first paint.

    python tests/benchmarks/bench_gui.py [--layers 32 --heads 32 --grid 24 --queries 100]
                                         [--platform offscreen|xcb] [--json FILE]

A synthetic recording of 32 layers × 32 heads × 576 visual tokens × 100 queries, in a window of
1400 × 900 with the Image, Heads, φ histogram and Ledger panels visible. Times go from the change
of the selection to the moment when every panel that it concerns has painted, through the real
event loop: zero timers, layout, paint events. Only ratios and percentiles of one run mean
something; the machine is printed beside them.
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


def open_panels(run: object):  # type: ignore[no-untyped-def]
    """A window with the four panels on a workspace that shows `run`."""
    from PySide6 import QtWidgets

    from var_studio.gui.models.workspace import Workspace
    from var_studio.gui.panels.heads import HeadsPanel
    from var_studio.gui.panels.image import ImagePanel
    from var_studio.gui.panels.ledger import LedgerPanel
    from var_studio.gui.panels.phi_histogram import PhiHistogramPanel

    workspace = Workspace()
    window = QtWidgets.QWidget()
    grid = QtWidgets.QGridLayout(window)
    panels = [ImagePanel(), HeadsPanel(), PhiHistogramPanel(), LedgerPanel()]
    for index, panel in enumerate(panels):
        box = QtWidgets.QVBoxLayout()
        box.addWidget(panel.header)
        box.addWidget(panel, 1)
        grid.addLayout(box, index // 2, index % 2)
        panel.set_workspace(workspace)
    grid.setRowStretch(0, 5)
    grid.setRowStretch(1, 2)
    window.resize(1400, 900)
    window.show()
    workspace.add_run(run)
    return window, workspace, panels


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All timings of the panels, in milliseconds and updates a second."""
    from PySide6 import QtCore, QtTest, QtWidgets

    from tests.synthetic import make_run
    from var_studio.gui import theme

    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    app.setStyle("Fusion")
    app.setPalette(theme.palette("light"))
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
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
        window, workspace, (image, heads, histogram, ledger) = open_panels(run)
        for _ in range(20):
            app.processEvents()
        painted = Painted(
            app,
            {
                "image": image.views["before"],
                "heads": heads.atlas,
                "histogram": histogram.histogram.viewport(),
                "ledger": ledger.ledger,
            },
        )
        token_panels = ["image", "heads", "ledger"]
        positions = list(workspace.selection.positions)
        rng = np.random.default_rng(0)

        def walk(count: int) -> list[Took]:
            times = []
            order = rng.permutation(positions)[: count + 1]
            workspace.selection.select_token(int(order[0]))
            app.processEvents()
            for position in order[1:]:
                change = lambda p=int(position): workspace.selection.select_token(p)  # noqa: E731
                times.append(painted.time_until(change, token_panels))
            return times

        for value in ("non_sink_ratio", "thumbnails"):
            workspace.view.set(thumbnails=value == "thumbnails")
            run.refresh()
            # Rows leave the cache only when others push them out: twice over a few stay in it.
            cold = walk(min(args.clicks, len(positions) - 1))
            few = positions[:: max(1, len(positions) // 12)]
            for position in few:
                workspace.selection.select_token(int(position))
                app.processEvents()
            warm = []
            for position in few * (1 + args.clicks // len(few)):
                if position == workspace.selection.position:
                    continue
                change = lambda p=int(position): workspace.selection.select_token(p)  # noqa: E731
                warm.append(painted.time_until(change, token_panels))
            results[f"token, row decoded before ({value})"] = spread(warm)
            results[f"token, row from disk ({value})"] = spread(cold)
        workspace.view.set(thumbnails=False)

        clicks = []
        for _ in range(args.clicks):
            layer, head = int(rng.integers(args.layers)), int(rng.integers(args.heads))
            if workspace.selection.heads == {(layer, head)}:
                continue
            point = heads.atlas.cell_rect(layer, head).center().toPoint()

            def click(where: QtCore.QPoint = point) -> None:
                QtTest.QTest.mouseClick(heads.atlas, QtCore.Qt.MouseButton.LeftButton, pos=where)

            # In the same layer φ stays what it was: its histogram has nothing to paint.
            other_layer = layer != workspace.selection.layer
            names = [*token_panels, "histogram"] if other_layer else token_panels
            clicks.append(painted.time_until(click, names))
        results["head (real mouse click)"] = spread(clicks)

        for shown in ("before", "all"):
            workspace.view.set(shown=shown)
            app.processEvents()
            for name, change in drags(workspace).items():
                names = ["image"] if name == "opacity" else token_panels
                times = [
                    painted.time_until(lambda c=change, s=step: c(s), names)
                    for step in np.linspace(0.1, 0.9, args.steps)
                ]
                results[f"drag {name}, {shown}"] = spread(times) | {
                    "per second": len(times) / sum(took.wall for took in times)
                }
        window.close()
        run.close()
    return results


def drags(workspace) -> dict[str, Callable[[float], None]]:  # type: ignore[no-untyped-def]
    """Sliders to drag, each over the shares 0 to 1 of its range."""
    method, view = workspace.method, workspace.view
    return {
        "τ": lambda share: method.set(drag=True, tau=round(share * method.tau_max, 2)),
        "ρ": lambda share: method.set(drag=True, rho=round(share, 3)),
        "p": lambda share: method.set(drag=True, p=round(share, 3)),
        "opacity": lambda share: view.set(opacity=round(share, 3)),
    }


def spread(times: list[Took]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds, by the clock and of processor time."""
    return {
        "p50": 1000 * float(np.quantile([took.wall for took in times], 0.5)),
        "p95": 1000 * float(np.quantile([took.wall for took in times], 0.95)),
        "cpu p95": 1000 * float(np.quantile([took.cpu for took in times], 0.95)),
        "n": len(times),
    }


def first_paint(repeats: int) -> dict[str, float]:
    """Seconds from process start to the first paint: ours, and a bare window, by turns."""
    ours, bare = [], []
    for _ in range(repeats):
        environment = os.environ | {"BENCH_START": repr(time.time())}
        done = subprocess.run(
            [sys.executable, "-c", BARE_WINDOW], env=environment, capture_output=True, text=True
        )
        bare.append(float(done.stdout.split()[-1]))
        command = [sys.executable, "-m", "var_studio", "gui", "--quit-after-first-paint"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            return {}
        ours.append(json.loads(done.stdout.splitlines()[-1])["seconds_to_first_paint"])
    return {
        "ours": statistics.median(ours),
        "bare": statistics.median(bare),
        "ratio": statistics.median(ours) / statistics.median(bare),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--grid", type=int, default=24, help="rows and columns of visual tokens")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--platform", default="offscreen", choices=["offscreen", "xcb"])
    parser.add_argument("--first-paint", type=int, default=5, help="repeats; 0: leave it out")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = args.platform
    results = measure(args)
    shape = f"{args.layers} × {args.heads} × {args.grid**2} × {args.queries}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{shape} · {args.platform} · {machine}")
    print(f"| {'change → all panels painted':44} | p50 ms | p95 ms | CPU p95 | per second |")
    print(f"|{'-' * 46}|-------:|-------:|--------:|-----------:|")
    for name, row in results.items():
        rate = f"{row['per second']:10.0f}" if "per second" in row else " " * 10
        times = f"{row['p50']:6.1f} | {row['p95']:6.1f} | {row['cpu p95']:7.1f}"
        print(f"| {name:44} | {times} | {rate} |")
    paint = first_paint(args.first_paint) if args.first_paint else {}
    if paint:
        print(
            f"first paint: {paint['ours']:.2f} s, bare PySide6 + pyqtgraph window "
            f"{paint['bare']:.2f} s, ratio {paint['ratio']:.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"panels": results, "first_paint": paint}, indent=1))


if __name__ == "__main__":
    main()
