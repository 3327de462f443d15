"""How long a large session takes to open, and to show its first row; torch cannot be imported.

    python -m tests.benchmarks.bench_open [--megabytes 500] [--file SESSION.vars] [--times 5]

Each time is that of a new process: `open` is open_session, `row` the first row with its sinks,
`panels` all that the panels show of it; imports are told apart. In brackets: seconds of computing,
which say more where other work runs. The file was just written or read before, so that it is in
the system's memory, as after a download or a save.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.synthetic import make_run
from var_studio.recording.session import save_session

CHILD = """
import sys, time
for name in ("torch", "transformers", "accelerate"):
    sys.modules[name] = None
def now():
    return time.perf_counter(), time.process_time()
at = [now()]
from var_studio.recording.session import open_session
from var_studio.analysis.choice import read
import resource
at.append(now())
session = open_session(sys.argv[1])
at.append(now())
run = session.runs[-1]
run.attention(len(run.query_positions) - 1), run.sinks()
at.append(now())
reading = read(run)
for name in ("masses", "image_centric", "map_before", "map_after", "ledger"):
    getattr(reading, name)
reading.phi_histogram(), run.image()
at.append(now())
for (wall, cpu), (wall_end, cpu_end) in zip(at, at[1:]):
    print(f"{wall_end - wall:.3f}({cpu_end - cpu:.3f})")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def make_session(folder: Path, megabytes: int) -> Path:
    """Runs of 32 layers x 32 heads over 576 visual tokens, until the file is that large."""
    runs, size = [], 0.0
    while size < megabytes:
        place = folder / f"run-{len(runs)}"
        runs.append(
            make_run(place, layers=32, heads=32, rows=24, cols=24, queries=60, seed=len(runs))
        )
        size += sum(f.stat().st_size for f in place.rglob("*") if f.is_file()) / 1e6
    return save_session(folder / "large.vars", runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or make_session(Path(folder), given.megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB")
        heads = ("imports s", "open s", "row s", "panels s", "peak MB", "load")
        print("".join(f"{head:>15}" for head in heads))
        for _ in range(given.times):
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True
            )
            load = Path("/proc/loadavg").read_text().split()[0]
            print("".join(f"{word:>15}" for word in [*done.stdout.split(), load]))


if __name__ == "__main__":
    main()
