"""Run as a program: what a model and a run of it really take, as JSON. Linux only.

Arguments: folder of the checkpoint, of a small one to warm up with, a folder to record in, dtype.
"""

from __future__ import annotations

import gc
import json
import re
import sys
from pathlib import Path

import var_studio as vs
from tests.models.tiny import noise

QUESTION = "what is left of the red circle? " * 70
SIZE = (300, 200)
NEW = 8


def memory(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main(folder: str, small: str, directory: Path, dtype: str) -> None:
    generation = vs.Generation(max_new_tokens=NEW)
    # Libraries take memory at their first use.
    warm = vs.load_model(small, dtype=dtype)
    vs.record(warm, noise(60, 60), "warm up", generation=generation, directory=directory / "warm")
    warm.release()
    gc.collect()
    before = memory("VmRSS")
    lmm = vs.load_model(folder, dtype=dtype)
    for parameter in lmm.hf_model.parameters():
        parameter.sum()  # pages of a file count once they are read
    gc.collect()
    weights = memory("VmRSS") - before
    Path("/proc/self/clear_refs").write_text("5")
    started = memory("VmRSS")
    run = vs.record(lmm, noise(*SIZE), QUESTION, generation=generation, directory=directory / "run")
    files = [p for p in run.path.rglob("*") if p.is_file() and "images" not in p.parts]
    measured = {
        "weights": weights,
        "run": memory("VmHWM") - started,
        "disk": sum(file.stat().st_size for file in files),
        "n_new": len(run.generated_positions),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
