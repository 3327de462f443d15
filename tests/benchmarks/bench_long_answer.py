"""A long answer at LLaVA-1.5-7B's recording sizes: is memory flat, and what lies on the disk?

32 layers × 32 heads × 576 visual tokens, rows in float16 as for a 7B model in half precision; the
layers themselves are narrow, so that the run takes minutes. Random weights: attention is spread
wider than a trained model's, and so is compressed less.

    python tests/benchmarks/bench_long_answer.py [--tokens 2000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

import var_studio as vs
from tests.models.tiny import QUESTION, noise, save_checkpoint
from var_studio.engine.events import TokenProduced

MIB = 1 << 20


def main() -> None:
    """Record one long answer and print resident memory and disk as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2000)
    tokens = parser.parse_args().tokens
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_checkpoint(
            Path(scratch) / "model", side=336, patch=14, layers=32, heads=32, kv_heads=32,
            hidden=256, context=8192,
        )  # fmt: skip
        lmm = vs.load_model(folder)
        lmm.sink_dims = (5, 17)
        lmm.hf_model.generation_config.eos_token_id = None
        cache = 2 * 32 * 256 * 4  # bytes a token: what plain `generate` keeps too
        run_folder = Path(scratch) / "run"
        marks: list[tuple[int, float, float]] = []

        def on_event(event: Any) -> None:
            produced = event.query if isinstance(event, TokenProduced) else None
            if produced is not None and (len(marks) == 0 or produced % (tokens // 10) == 0):
                marks.append((event.token.position, _resident(process), _disk(run_folder)))

        run = vs.record(
            lmm, noise(336, 336), QUESTION, directory=run_folder, on_event=on_event,
            generation=vs.Generation(max_new_tokens=tokens),
            options=vs.RecordingOptions(precision="float16"),
        )  # fmt: skip
        print("position  resident MiB  of it cache MiB  disk MiB")
        for position, resident, disk in marks:
            print(f"{position:8}  {resident:12.0f}  {position * cache / MIB:15.1f}  {disk:8.0f}")
        first, last = marks[1], marks[-1]
        said = last[0] - first[0]
        growth = last[1] - first[1] - said * cache / MIB
        print(
            f"{len(run.generated_positions)} tokens; beside the cache, memory grew by "
            f"{growth:.0f} MiB over {said} tokens"
        )
        print(f"disk: {last[2] / last[0]:.2f} MiB a token of the sequence at {last[0]}")
        for low, high in ((marks[0], marks[1]), (marks[-2], marks[-1])):
            rate = (high[2] - low[2]) / max(1, high[0] - low[0])
            print(f"disk from {low[0]} to {high[0]}: {rate:.2f} MiB a token")


def _resident(process: Any) -> float:
    return float(process.memory_info().rss) / MIB


def _disk(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB


if __name__ == "__main__":
    main()
