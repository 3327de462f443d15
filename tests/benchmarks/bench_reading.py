"""What one change costs: a click on another token, a drag of τ, ρ or p; as a table.

    python -m tests.benchmarks.bench_reading [--layers 32 --heads 32 --side 24 --queries 100]

Every line is the time until all that the window shows of a row is there: sinks, ratios,
image-centric heads, maps before / after / difference, ledger, φ histogram. The last column
divides it by computing the same from nothing, with the method's own functions on whole rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.synthetic import make_run
from var_studio.analysis.reading import Focus, Reading
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


def everything(reading: Reading) -> None:
    """Ask for all that the panels show."""
    for name in (
        "sinks",
        "n_sinks",
        "visual_mass",
        "non_sink_ratio",
        "image_centric",
        "changed",
        "map_before",
        "map_after",
        "map_difference",
        "ledger",
    ):
        getattr(reading, name)
    reading.phi_histogram()


def from_nothing(run: Recording, query: int, settings: Redistribution) -> None:
    """The same without memory, on whole rows."""
    run.image_centric(query, settings)
    for block in (run.attention(query), run.redistributed(query, settings)):
        block[..., run.layout.positions].mean(axis=(0, 1))


def timed(change: Callable[[int], object], times: int) -> np.ndarray:
    taken = np.empty(times)
    for index in range(times):
        start = time.perf_counter()
        change(index)
        taken[index] = time.perf_counter() - start
    return taken * 1e3


def measure(run: Recording, times: int) -> list[tuple[str, np.ndarray]]:
    """Milliseconds of each kind of change, for one head and for the mean over all."""
    found = _changes(run, "one head", ((1, 1),), times) + _changes(run, "all heads", (), times)
    settings = Redistribution()
    found.append(("from nothing", timed(lambda i: from_nothing(run, 0, settings), times // 5 + 1)))
    return found


def _changes(
    run: Recording, name: str, heads: tuple[tuple[int, int], ...], times: int
) -> list[tuple[str, np.ndarray]]:
    first = Focus(0, 1, heads)
    reading = Reading(run, first, Redistribution())
    everything(reading)

    def follow(focus: Focus, settings: Redistribution) -> None:
        nonlocal reading
        reading = Reading(run, focus, settings, reading)
        everything(reading)

    def drag(setting: str, low: float, high: float, **others: Any) -> np.ndarray:
        values = np.linspace(low, high, times)
        return timed(
            lambda i: follow(first, Redistribution(**{setting: float(values[i])}, **others)), times
        )

    def click(i: int) -> None:
        follow(Focus((i * 37 + 1) % len(run.query_positions), 1, heads), Redistribution())

    def step(i: int) -> None:
        follow(Focus(0, i % run.n_layers, heads), Redistribution())

    top = run.hidden_size**0.5
    tokens = tuple(range(0, run.layout.count, 4))
    return [
        (f"{name}: drag τ", drag("tau", 0.2 * top, 0.8 * top)),
        (
            f"{name}: drag τ, to a region",
            drag("tau", 0.2 * top, 0.8 * top, target="region", region=tokens),
        ),
        (f"{name}: drag ρ", drag("rho", 0.0, 1.0)),
        (f"{name}: drag p", drag("p", 0.0, 1.0)),
        (f"{name}: another token", timed(click, times)),
        (f"{name}: another layer", timed(step, times)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("layers", 32), ("heads", 32), ("side", 24), ("queries", 100)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(
            Path(folder) / "run",
            layers=options.layers,
            heads=options.heads,
            rows=options.side,
            cols=options.side,
            queries=options.queries,
            hidden=options.heads * 128,
        )
        found = measure(run, options.times)
    base = float(np.median(found[-1][1]))
    print(f"{options.layers} layers × {options.heads} heads × {run.length} keys, milliseconds")
    print(f"{'':34}{'median':>9}{'p95':>9}{'÷ from nothing':>17}")
    for name, taken in found:
        median, p95 = float(np.median(taken)), float(np.quantile(taken, 0.95))
        print(f"{name:34}{median:9.2f}{p95:9.2f}{median / base:17.3f}")


if __name__ == "__main__":
    main()
