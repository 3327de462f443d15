"""Saving a session beside copying its directory; ratios of speeds, as a table.

    python -m tests.benchmarks.bench_sessions [--folder DIR] [--large 500]

Two runs: one of large chunks (`--large` MB: 32 × 32 heads, 576 visual tokens) and one of many
small ones (`--small` rows of 6 × 6 heads). Copies and saves take turns, to fresh names. A save
waits until the disk has everything, which copying does not: so both are timed twice, waiting for
the disk and not. With both waiting the goal is half the speed of copying. CPU time is less
disturbed by other work on the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest import mock

from tests.synthetic import make_run
from var_studio.recording.content import Content, size_in_words
from var_studio.recording.recording import Recording
from var_studio.recording.session import save_session, session_size

MB_A_ROW = 1.35
"""Of 32 × 32 heads and about 900 keys, compressed."""


def copied(source: Path, target: Path, wait: bool) -> None:
    shutil.copytree(source, target)
    if wait:
        os.sync()


def saved(run: Recording, target: Path, wait: bool) -> None:
    if wait:
        save_session(target, run)
        return
    with mock.patch("os.fsync"):
        save_session(target, run)


def timed(work: Callable[..., None], *given: object) -> tuple[float, float]:
    """Seconds by the clock and of CPU, beginning with nothing left to write."""
    os.sync()
    clock, cpu = time.perf_counter(), time.process_time()
    work(*given)
    return time.perf_counter() - clock, time.process_time() - cpu


def compare(name: str, run: Recording, folder: Path, times: int) -> None:
    files = [path for path in run.path.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.read_bytes()  # both read from memory
    print(f"\n{name}: {size_in_words(size)} in {len(files)} files")
    print(f"{'':26}{'copy':>9}{'save':>9}{'ratio':>9}{'CPU':>9}{'CPU':>9}{'ratio':>9}")
    for wait in (True, False):
        taken: dict[str, list[tuple[float, float]]] = {"copy": [], "save": []}
        for _ in range(times):
            copy, file = folder / "copy", folder / "saved.vars"
            taken["copy"].append(timed(copied, run.path, copy, wait))
            taken["save"].append(timed(saved, run, file, wait))
            shutil.rmtree(copy)
            file.unlink()
        line = "waiting for the disk" if wait else "not waiting"
        for part in (0, 1):
            copy_s, save_s = (median(each[part] for each in taken[k]) for k in ("copy", "save"))
            if part == 0:
                line = f"{line:26}"
            line += f"{copy_s:8.2f}s{save_s:8.2f}s{copy_s / save_s:9.2f}"
        print(line, flush=True)
    start = time.perf_counter()
    whole = session_size(run)
    between = time.perf_counter()
    maps = session_size(run, content=Content(maps=True))
    print(
        f"telling sizes: {size_in_words(whole)} in {1e3 * (between - start):.0f} ms, maps only "
        f"{size_in_words(maps)} in {1e3 * (time.perf_counter() - between):.0f} ms"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--large", type=int, default=500, help="MB")
    parser.add_argument("--small", type=int, default=2500, help="rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        rows = round(given.large / MB_A_ROW)
        shape = {"layers": 32, "heads": 32, "rows": 24, "cols": 24, "queries": rows}
        run = make_run(folder / "large", **shape)
        compare("Large chunks", run, folder, given.times)
        run.discard()
        shape = {"layers": 6, "heads": 6, "rows": 10, "cols": 10, "queries": given.small}
        run = make_run(folder / "small", **shape)
        compare("Many small chunks", run, folder, given.times)


if __name__ == "__main__":
    main()
