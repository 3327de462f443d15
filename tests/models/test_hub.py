"""A model from a hub: fetched with progress, stopped half-way, gone on with, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.models.fake_hub import COMMIT, FakeHub, serving

REPO = "some-org/tiny-llava"

# The client reads the hub's address when it is imported: each test is a Python of its own.
STORY = """
import json, sys, threading, time
import var_studio as vs

def load(name, stop_at=None):
    cancel, seen, threads = threading.Event(), [], set()
    def tell(event):
        threads.add(threading.current_thread().name)
        if event.stage == "download" and event.total:
            seen.append((event.done, event.total))
            if stop_at is not None and event.done >= stop_at:
                cancel.set()
    began = time.perf_counter()
    try:
        lmm = vs.load_model(name, on_event=tell, cancel=cancel)
        said = {"layers": lmm.n_layers, "checkpoint": lmm.checkpoint, "revision": lmm.revision}
    except vs.VarStudioError as error:
        said = {"error": type(error).__name__, "text": str(error)}
    took = time.perf_counter() - began
    print(json.dumps(said | {"seen": seen, "threads": sorted(threads), "took": took}), flush=True)
    sys.stdin.readline()

for step in json.loads(sys.argv[1]):
    load(*step)
"""


@pytest.fixture
def hub(checkpoint: Any, tmp_path: Path) -> Iterator[FakeHub]:
    """The tiny checkpoint in two shards, padded so that a download takes a while."""
    import torch

    folder = Path(shutil.copytree(checkpoint("crop"), tmp_path / "repository"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-00001-of-00002.safetensors": names[:40]}
    halves["model-00002-of-00002.safetensors"] = names[40:]
    index = {}
    for file, part in halves.items():
        held = {name: tensors[name].contiguous() for name in part}
        if file.startswith("model-00002"):
            held["a_tensor_that_no_module_has"] = torch.zeros(24 << 20, dtype=torch.uint8)
        save_file(held, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(held, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    (folder / "consolidated.safetensors").write_bytes(b"the same once more")
    (folder / "modeling_own.py").write_text("raise SystemExit('this code was run')")
    with serving(REPO, folder) as hub:
        yield hub


def start(hub: FakeHub | str, home: Path, steps: list[list[Any]]) -> subprocess.Popen[str]:
    address = hub if isinstance(hub, str) else hub.address
    plain = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.Popen(
        [sys.executable, "-c", STORY, json.dumps(steps)],
        env={**plain, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def next_answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_a_model_from_the_hub_and_without_it(hub: FakeHub, tmp_path: Path) -> None:
    hub.pause = 0.02  # 24 MiB in about eight seconds; it is to stop half-way
    steps = [["some-org/nothing"], [REPO, 10 << 20], [REPO], [REPO], ["org/other"]]
    process = start(hub, tmp_path / "home", steps)
    missing = next_answer(process)
    assert missing["error"] == "ModelNotFoundError" and "no model" in missing["text"]
    go_on(process)
    stopped = next_answer(process)
    assert stopped["error"] == "LoadCancelledError"
    done, total = stopped["seen"][-1]
    assert 0 < done < total and done >= 10 << 20
    assert stopped["threads"] == ["MainThread"]
    first, second = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    sizes = {path.name: path.stat().st_size for path in hub.files()}
    assert hub.sent[first] == sizes[first]
    sent_before = hub.sent[second]
    assert sent_before < sizes[second], "the transfer ended with the stop"

    hub.pause = 0.0
    go_on(process)
    loaded = next_answer(process)
    assert "error" not in loaded, loaded
    assert (loaded["layers"], loaded["checkpoint"], loaded["revision"]) == (4, REPO, COMMIT)
    dones = [done for done, _ in loaded["seen"]]
    assert dones == sorted(dones) and loaded["seen"][-1][0] == loaded["seen"][-1][1]
    # What was whole is not fetched again; weights in another layout and code are never fetched.
    assert hub.sent[first] == sizes[first]
    assert hub.sent[second] == sent_before + sizes[second]
    assert "consolidated.safetensors" not in hub.sent and "modeling_own.py" not in hub.sent

    hub.stop()
    go_on(process)
    assert next_answer(process)["layers"] == 4, "from the cache"
    go_on(process)
    other = next_answer(process)
    end(process)
    assert other["error"] == "HubUnreachableError" and "demo" in other["text"]


def test_a_hub_that_stalls_does_not_hold_up_the_stop(hub: FakeHub, tmp_path: Path) -> None:
    hub.pause = 60.0
    process = start(hub, tmp_path / "home", [[REPO, 1]])
    stopped = next_answer(process)
    process.kill()
    process.communicate()
    assert stopped["error"] == "LoadCancelledError" and stopped["took"] < 20
