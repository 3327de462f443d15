"""Thousands of damaged and forged session files, each read in every way there is.

    python -m tests.benchmarks.fuzz_sessions --cases 5000 [--seed 0] [--out FOLDER]
    python -m tests.benchmarks.fuzz_sessions --seed 0 --only 1234   # one case again, in the open

A case is its seed and its number: the same file each time. It ends well when the session opens
and all of it can be read, or when what cannot be read is refused with a VarStudioError. Anything
else is a finding: another exception, more memory or time than a small file may ask for, a dead
process. Findings are saved with what went wrong, each kind once, and counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.fuzzing.exercise import exercise
from tests.fuzzing.mutations import mutate
from tests.fuzzing.seeds import make_seeds

MEMORY = 1 << 30
"""Bytes that a case may take beyond what the program has when it starts."""
SECONDS = 10.0
"""Seconds of computing for one case, which takes about 0.05."""
HANGS = 120.0
"""Seconds after which a process that says nothing counts as hung."""


class OutOfTime(BaseException):
    """Not an Exception, so that no handler swallows it."""


def file_of(seeds: list[bytes], seed: int, case: int) -> tuple[bytes, np.random.Generator]:
    """The mutated file of a case, and the generator for what is done with it."""
    rng = np.random.default_rng([seed, case])
    return mutate(seeds[int(rng.integers(len(seeds)))], rng), rng


def run_case(seeds: list[bytes], seed: int, case: int, folder: Path) -> str:
    content, rng = file_of(seeds, seed, case)
    path = folder / "case.vars"
    path.write_bytes(content)
    return exercise(path, rng, folder)


def work(seeds: list[bytes], seed: int, cases: range, folder: Path, tell: Connection) -> None:
    """Child: one case after the other; tells (case, outcome, what went wrong)."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")

    def out_of_time(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGPROF, out_of_time)
    for case in cases:
        tell.send((case, "begun", ""))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcome, why = run_case(seeds, seed, case, folder), ""
        except (Exception, OutOfTime) as error:
            outcome, why = _kind(error), traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        tell.send((case, outcome, why))
    tell.close()


def _kind(error: BaseException) -> str:
    """The error and the place in the program where it came up: one finding, however often."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "var_studio" in f.filename] or frames
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


def fuzz(seed: int, first: int, cases: int, out: Path, quiet: bool = False) -> Counter[str]:
    """Run the cases, one child at a time; findings into `out`. Returns how often each outcome."""
    found: Counter[str] = Counter()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seeds = make_seeds(folder)
        at, end, start = first, first + cases, time.monotonic()
        while at < end:
            hear, tell = context.Pipe(duplex=False)
            batch = range(at, min(end, at + 500))
            child = context.Process(target=work, args=(seeds, seed, batch, folder, tell))
            child.start()
            tell.close()
            running, at = at, batch.stop
            try:
                while hear.poll(HANGS):
                    running, outcome, why = hear.recv()
                    if outcome == "begun":
                        continue
                    found[outcome] += 1
                    if why and found[outcome] == 1:
                        _keep(out, seeds, seed, running, outcome, why)
                else:
                    child.kill()
                    raise EOFError("hung")
            except EOFError as error:
                child.join()
                if child.exitcode != 0:
                    outcome = f"process ended with {child.exitcode} {error}".strip()
                    found[outcome] += 1
                    _keep(out, seeds, seed, running, outcome, outcome)
                    at = running + 1
            if not quiet:
                done, took = at - first, time.monotonic() - start
                print(f"{done} cases, {took:.0f} s: {dict(found)}", file=sys.stderr, flush=True)
    return found


def _keep(out: Path, seeds: list[bytes], seed: int, case: int, outcome: str, why: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{seed}-{case}.vars").write_bytes(file_of(seeds, seed, case)[0])
    (out / f"{seed}-{case}.txt").write_text(f"{outcome}\n{why}", errors="backslashreplace")
    print(f"FOUND {seed}/{case}: {outcome}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this case here, and let its error through")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-sessions")
    given = parser.parse_args()
    if given.only is not None:
        with tempfile.TemporaryDirectory() as scratch:
            print(run_case(make_seeds(Path(scratch)), given.seed, given.only, Path(scratch)))
        return 0
    found = fuzz(given.seed, given.first, given.cases, given.out)
    print("\n".join(f"{count:7d}  {outcome}" for outcome, count in found.most_common()))
    return int(bool(set(found) - {"opened", "refused"}))


if __name__ == "__main__":
    sys.exit(main())
