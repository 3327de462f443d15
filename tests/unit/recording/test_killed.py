"""kill -9 at random moments: every token that was reported as finished comes back, exactly."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording.killed_writer import (
    HEADS,
    LAYERS,
    PROMPT,
    regions_of,
    row_of,
    token_of,
)
from var_studio.recording.unsaved import UnsavedFolder, left_over, windows_folder

KILLS = 50


@pytest.fixture
def nursery(private_home):
    """A program whose children are killed."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.recording.killed_writer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    yield program
    program.stdin.close()
    program.wait(60)
    program.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork, no signal that kills")
def test_every_finished_token_survives_kill_9(nursery):
    rng = random.Random(20)
    total, cut_off, several = 0, 0, 0
    for seed in range(KILLS):
        reported, n_listed = reports_until_killed(nursery, seed, rng)
        found = left_over()
        if not reported:
            assert found == [], "no token was finished, and something is offered"
            continue
        (left,) = found
        taken = UnsavedFolder.take(left.folder)
        session = taken.recover().session
        runs = list(session.runs)
        assert left.n_runs == len(runs)
        assert [run.name for run in runs] == [f"run {i}" for i in range(len(runs))]
        for number, position, row in reported:
            run = runs[number]
            assert run.tokens[position] == token_of(number, position)
            assert run.query_positions[row] == position
            there = run.attention(row)
            expected = row_of(seed, number, position)
            np.testing.assert_array_equal(there[:, :, : position + 1], expected)
            assert there.shape[:2] == (LAYERS, HEADS) and not there[:, :, position + 1 :].any()
        for run in runs:
            # Keys before the last row are all there: phi has no hole. Without a row the prompt may
            # be written, and none of its keys.
            seen = int(run.query_positions[-1]) if len(run.query_positions) else -1
            assert np.isfinite(run.phi()[:, : seen + 1]).all()
            assert run.length >= PROMPT
        # The document is that of the last run but, at most, the one that had just ended.
        n_noted = int((session.notes or "0").split()[0])
        assert n_noted in (n_listed, n_listed + 1)
        assert session.regions == (regions_of(n_noted) if n_noted else {})
        total, several = total + len(reported), several + (len(runs) > 1)
        cut_off += not runs[-1].finished
        taken.discard()
        assert not windows_folder().exists()
    # Else the kills came at moments that prove nothing. How they fall depends on the machine.
    assert total > 10 * KILLS and cut_off > KILLS // 5 and several > KILLS // 5


def reports_until_killed(nursery, seed, rng):
    """Tokens (run, position, row) that a child reported before it was killed, and of how many runs
    it said that the document was written."""
    nursery.stdin.write(f"{seed}\n".encode())
    nursery.stdin.flush()
    lines = iter(nursery.stdout.readline, b"")
    reported, n_listed, child = [], 0, None
    last = rng.randrange(0, 80)
    for told, line in enumerate(lines):
        word, *numbers = line.split()
        if word == b"pid":
            child = int(numbers[0])
        elif word == b"token":
            reported.append(tuple(map(int, numbers)))
        elif word == b"state":
            n_listed = int(numbers[0])
        elif word == b"dead":
            return reported, n_listed
        else:
            raise AssertionError(line)
        if child is not None and told >= last:
            time.sleep(rng.uniform(0, 0.005))  # it goes on meanwhile
            os.kill(child, signal.SIGKILL)
            child = None
    raise AssertionError("the program that is to be killed ended by itself")
