"""What recording costs: ratios within one run, as a table.

    python tests/benchmarks/bench_engine.py [NAME ...] [--repeat N] [--folder F]

    names: decode-demo, decode-300m, prefill-16, prefill-8, fidelity-demo, fidelity-prefill

Every measurement is a process of its own with one thread; the two sides of a ratio take turns,
and the median over the turns counts. CPU seconds decide where a ratio is of time, because other
programs on the machine do not change them; wall seconds stand beside them. Memory is the peak of
the resident set above what it was just before the pass. What the fidelity figures cost is the time
inside their calls, as a share of the run: less than two runs differ by.

Recordings go to a RAM disk where there is one: how fast a disk makes a file for each token is no
property of this program, and it differs tenfold between disks. `--folder /tmp` shows yours.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

QUESTION = "what is left of the red circle?"
RAM_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None
GOALS = {
    "decode-demo": ("recording + VAR ÷ generate, a token, demo model", 1.5),
    "decode-300m": ("recording + VAR ÷ generate, a token, 300M parameters", 1.25),
    "prefill-16-time": ("prefill, 2,304 visual tokens ÷ output_attentions, 16 heads: time", 0.25),
    "prefill-16-memory": ("prefill, as above, 16 heads: peak memory", 0.2),
    "prefill-8-time": ("prefill, 2,304 visual tokens ÷ output_attentions, 8 heads: time", 0.25),
    "prefill-8-memory": ("prefill, as above, 8 heads: peak memory", 0.2),
    "fidelity-demo": ("fidelity figures ÷ recording, 100 tokens, demo model", 0.02),
    "fidelity-prefill": ("fidelity figures ÷ recording, 2,304 visual tokens, 1 token", 0.02),
}
SHAPES: dict[str, dict[str, Any]] = {
    # 320M parameters with the embeddings; 576 visual tokens, as LLaVA-1.5.
    "decode-300m": {"side": 336, "patch": 14, "hidden": 1024, "layers": 20, "heads": 16,
                    "kv_heads": 16, "intermediate": 2816, "vocabulary": 32000},
    # The same width cut into 16 or 8 heads. Linear layers cost both sides the same; only what the
    # weights cost (heads x 2,304^2) can be saved, so the ratio of times depends on the shape.
    **{
        f"prefill-{heads}": {"side": 384, "patch": 8, "hidden": 512, "layers": 8, "heads": heads,
                             "kv_heads": heads, "intermediate": 1408, "vocabulary": 2000,
                             "context": 4096}
        for heads in (16, 8)
    },
}  # fmt: skip


def main() -> None:
    """Run the benchmarks that are named (default: all) and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "which",
        nargs="*",
        default=[
            "decode-demo", "decode-300m", "prefill-16", "prefill-8", "fidelity-demo",
            "fidelity-prefill",
        ],
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=0, help="turns of each side")
    parser.add_argument("--tokens", type=int, default=0, help="new tokens of a decode run")
    parser.add_argument("--folder", default=RAM_DISK, help="where recordings go")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        os.environ["TMPDIR"] = tempfile.tempdir = arguments.folder
    if arguments.child:
        print(json.dumps(child(json.loads(arguments.child))))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir="/tmp" if RAM_DISK else None) as folder:
        for which in arguments.which:
            rows += compare(which, Path(folder), arguments.repeat, arguments.tokens)
    print(f"\nrecordings in {tempfile.gettempdir()}")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread used")
    print(f"{'':68} {'ratio':>6} {'goal':>6}")
    for key, ratio, detail in rows:
        text, goal = GOALS[key]
        verdict = "met" if ratio <= goal else "MISSED"
        print(f"{text:68} {ratio:6.3f} {goal:6.2f}  {verdict}   {detail}")


def compare(which: str, folder: Path, repeat: int, tokens: int) -> list[tuple[str, float, str]]:
    """Measure both sides of a benchmark in turns."""
    shape = "prefill-8" if which == "fidelity-prefill" else which
    model = "demo" if which.endswith("-demo") else str(save(folder / which, SHAPES[shape]))
    if which.startswith("fidelity"):
        tokens = tokens or (100 if model == "demo" else 1)
        job = {"model": model, "what": "fidelity", "tokens": tokens}
        found = [measured(job) for _ in range(repeat or 3)]
        share, detail = ratio_of(found, found, "checks", "run")
        return [(which, share, f"CPU seconds {detail}")]
    if which.startswith("prefill"):
        repeat = repeat or 3
        sides: dict[str, list[Any]] = {
            side: [] for side in ("record", "output_attentions", "plain")
        }
        for _ in range(repeat):
            for side, results in sides.items():
                results.append(measured({"model": model, "what": "prefill", "side": side}))
        time_ratio, detail = ratio_of(sides["record"], sides["output_attentions"], "cpu")
        wall, _ = ratio_of(sides["record"], sides["output_attentions"], "wall")
        floor, _ = ratio_of(sides["plain"], sides["output_attentions"], "cpu")
        memory, bytes_ = ratio_of(sides["record"], sides["output_attentions"], "peak_mb")
        return [
            (
                f"{which}-time",
                time_ratio,
                f"CPU seconds {detail}; wall {wall:.3f}; of which the plain model {floor:.3f}",
            ),
            (f"{which}-memory", memory, f"MB {bytes_}"),
        ]
    repeat = repeat or (5 if which == "decode-demo" else 3)
    tokens = tokens or (100 if which == "decode-demo" else 16)
    results = [
        measured({"model": model, "what": "decode", "tokens": tokens, "turns": 4 if model == "demo"
                  else 1})
        for _ in range(repeat)
    ]  # fmt: skip
    pairs = [pair for result in results for pair in result["pairs"]]
    ratios = {
        clock: statistics.median(p["record"][clock] / p["plain"][clock] for p in pairs)
        for clock in ("cpu", "wall")
    }
    plain = 1e3 * statistics.median(p["plain"]["cpu"] for p in pairs)
    ours = 1e3 * statistics.median(p["record"]["cpu"] for p in pairs)
    bare = statistics.median(p["record"]["cpu"] / p["bare"]["cpu"] for p in pairs)
    detail = f"CPU ms {ours:.2f} / {plain:.2f}; wall {ratios['wall']:.3f}"
    return [(which, ratios["cpu"], f"{detail}; ÷ generate in inference_mode {bare:.3f}")]


def ratio_of(
    ours: list[Any], theirs: list[Any], key: str, other: str | None = None
) -> tuple[float, str]:
    """Ratio of the medians of `key` (`other`: in the second list), and both in words."""
    a = statistics.median(result[key] for result in ours)
    b = statistics.median(result[other or key] for result in theirs)
    return a / b, f"{a:.2f} / {b:.2f}"


def measured(job: dict[str, Any]) -> Any:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(job)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def save(folder: Path, shape: dict[str, Any]) -> Path:
    """Write a random LLaVA of a shape."""
    from tests.models.tiny import save_checkpoint

    shape = dict(shape)
    return save_checkpoint(
        folder,
        intermediate_size=shape.pop("intermediate"),
        vocab_size=shape.pop("vocabulary"),
        spread=0.02,
        **shape,
    )


# ----------------------------------------------------------------------- in the child


def child(job: dict[str, Any]) -> Any:
    """One measurement."""
    import torch

    import var_studio as vs

    torch.set_num_threads(1)
    lmm = vs.load_model(job["model"])
    if lmm.sink_dims is None:
        lmm.sink_dims = (5, 17)  # a random model has none, and would have nothing to redistribute
        lmm.tau_default = 1.0
    if job["what"] == "decode":
        return {"pairs": [decode_pair(lmm, job["tokens"]) for _ in range(job["turns"] + 1)][1:]}
    if job["what"] == "fidelity":
        return fidelity(lmm, job["tokens"])
    return prefill(lmm, job["side"])


def picture() -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype="uint8"))


class Clock:
    """Time from the first token to the last, for each token."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def tick(self) -> None:
        self.marks.append((time.process_time(), time.perf_counter()))

    def per_token(self) -> dict[str, float]:
        first, last = self.marks[0], self.marks[-1]
        steps = len(self.marks) - 1
        return {"cpu": (last[0] - first[0]) / steps, "wall": (last[1] - first[1]) / steps}


def decode_pair(lmm: Any, tokens: int) -> dict[str, Any]:
    """A plain run and a recorded one, both of exactly so many tokens."""
    import torch

    import var_studio as vs
    from var_studio.engine.events import TokenProduced

    lmm.hf_model.generation_config.eos_token_id = None
    image = picture()
    clocks = {"plain": Clock(), "bare": Clock(), "record": Clock()}
    inputs = lmm.encode(image, QUESTION).inputs

    def generate(clock: Clock) -> None:
        def watch(ids: Any, scores: Any, **_: Any) -> Any:
            clock.tick()
            return torch.zeros(len(ids), dtype=torch.bool)

        lmm.hf_model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, stopping_criteria=[watch],
            pad_token_id=0,
        )  # fmt: skip

    generate(clocks["plain"])
    with torch.inference_mode():  # what recording uses too: the same advantage for both
        generate(clocks["bare"])
    with tempfile.TemporaryDirectory() as folder:
        vs.record(
            lmm,
            image,
            QUESTION,
            generation=vs.Generation(max_new_tokens=tokens),
            intervention=vs.Redistribution(),
            directory=Path(folder) / "run",
            on_event=lambda e: clocks["record"].tick() if isinstance(e, TokenProduced) else None,
        )
    return {name: clock.per_token() for name, clock in clocks.items()}


def fidelity(lmm: Any, tokens: int) -> dict[str, float]:
    """CPU seconds inside the comparisons of rows, and of the whole run around them."""
    import var_studio as vs
    from var_studio.engine.fidelity import Sampler

    spent = 0.0

    def timed(call: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            nonlocal spent
            started = time.process_time()
            result = call(*arguments)
            spent += time.process_time() - started
            return result

        return wrapper

    for name in ("compare_output", "compare_weights", "pending", "take"):
        setattr(Sampler, name, timed(getattr(Sampler, name)))
    lmm.hf_model.generation_config.eos_token_id = None
    for _ in range(2):  # the first warms up
        spent, started = 0.0, time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            vs.record(
                lmm,
                picture(),
                QUESTION,
                generation=vs.Generation(max_new_tokens=tokens),
                directory=Path(folder) / "run",
            )
        whole = time.process_time() - started
    return {"checks": spent, "run": whole}


def prefill(lmm: Any, side: str) -> dict[str, float]:
    """Time and peak memory of the prefill, up to the first token."""
    import torch

    import var_studio as vs
    from var_studio.engine.events import PromptEncoded, TokenProduced

    marks: list[tuple[float, float, float]] = []

    def mark() -> None:
        marks.append((time.process_time(), time.perf_counter(), resident("VmHWM")))

    def begin() -> float:
        reset_peak()
        before = resident("VmRSS")
        mark()
        return before

    image = picture()
    before = 0.0
    if side == "record":

        def on_event(event: Any) -> None:
            nonlocal before
            if isinstance(event, PromptEncoded):
                before = begin()
            elif isinstance(event, TokenProduced):
                mark()

        with tempfile.TemporaryDirectory() as folder:
            vs.record(
                lmm,
                image,
                QUESTION,
                generation=vs.Generation(max_new_tokens=1),
                intervention=vs.Redistribution(),
                directory=Path(folder) / "run",
                on_event=on_event,
            )
    else:
        inputs = lmm.encode(image, QUESTION).inputs
        if side == "output_attentions":
            lmm.hf_model.set_attn_implementation("eager")
        before = begin()
        with torch.inference_mode():
            output = lmm.hf_model(
                **inputs, output_attentions=side == "output_attentions", logits_to_keep=1
            )
        mark()
        assert (side == "plain") or output.attentions[-1].shape[-1] > 2304
    (cpu, wall, _), (cpu_end, wall_end, peak) = marks[:2]
    return {"cpu": cpu_end - cpu, "wall": wall_end - wall, "peak_mb": (peak - before) / 1024}


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (highest since the last reset) in KiB. Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return float(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def reset_peak() -> None:
    """Start the resident set's high-water mark anew. Linux."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
