"""A program that writes runs as a window does, to be killed; started by test_killed.py.

For each line "SEED" on its standard input it forks a child and says "pid PID". The child makes a
window's folder, records run after run there with the document beside it, and says after each
token that is finished: "token RUN POSITION ROW", ROW -1 for none.
"""

import os
import sys

import numpy as np

from tests.synthetic import make_image, make_layout
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region
from var_studio.recording.session import Session
from var_studio.recording.store import RunWriter
from var_studio.recording.tokens import Token
from var_studio.recording.unsaved import UnsavedFolder

LAYERS, HEADS, SIDE, ANSWER = 3, 2, 4, 12
VISUAL = SIDE * SIDE
PROMPT = VISUAL + 3


def row_of(seed: int, run: int, position: int) -> np.ndarray:
    """What is recorded for a token, (L, H, position + 1)."""
    rng = np.random.default_rng([seed, run, position])
    return rng.random((LAYERS, HEADS, position + 1)).astype(np.float16)


def token_of(run: int, position: int) -> Token:
    role = "visual" if position < VISUAL else "prompt" if position < PROMPT else "generated"
    return Token(position, 100 * run + position, f" {run}.{position}", role)


def regions_of(n_runs: int) -> dict[str, tuple[Region, ...]]:
    """One more region with each run."""
    return {"picture": tuple(Region(f"r{i}", (i,)) for i in range(n_runs))}


def record(seed: int, number: int, folder: UnsavedFolder, say) -> Recording:
    directory = folder.new_run()
    writer = RunWriter.create(
        directory,
        name=f"run {number}",
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_size=8,
        length_max=PROMPT + ANSWER,
        sink_dims=(1,),
        tau_default=2.0,
        images=[make_image((40, 30), seed)],
    )
    writer.put_prompt([token_of(number, p) for p in range(PROMPT)], make_layout(SIDE, SIDE))
    for position in range(VISUAL, PROMPT + ANSWER):
        if position >= PROMPT:
            writer.append_token(token_of(number, position))
        start = 0 if position == VISUAL else position
        n = position + 1 - start
        writer.append_keys(
            start,
            np.full((LAYERS, n, 1), position),
            np.zeros((LAYERS, n, 16)),
            np.zeros((LAYERS, n, 16)),
            np.ones((LAYERS, HEADS, n)),
        )
        writer.append_query(position, row_of(seed, number, position))
        say(f"token {number} {position} {position - VISUAL}")
    writer.finish("length")
    return Recording.open(directory)


def work(seed: int) -> None:
    """Until it is killed."""

    def say(line: str) -> None:
        os.write(1, f"{line}\n".encode())  # a line a write: it arrives whole or not at all

    folder = UnsavedFolder()
    runs: list[Recording] = []
    while True:
        runs.append(record(seed, len(runs), folder, say))
        session = Session(runs, notes=f"{len(runs)} runs", regions=regions_of(len(runs)))
        folder.write(folder.describe(session))
        say(f"state {len(runs)}")


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(int(line))
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
