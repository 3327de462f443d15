"""The status line: everything it says is so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, Gate, press, wait_idle
from var_studio.gui.main_window import MainWindow
from var_studio.gui.status import facts_of_run

pytestmark = IGNORE_QT


def test_facts_are_those_of_the_run_and_no_others() -> None:
    facts, tip = facts_of_run({"model": "m", "device": "cuda:0", "dtype": "bfloat16", "kernel": ""})
    assert facts == ["m", "cuda:0", "bfloat16"], "a fact that the run does not state was shown"
    assert "kernel" not in tip and "parity" not in tip
    measured = {"worst_attention_difference": 3.2e-6, "worst_difference": 0.5, "kernel": "sdpa"}
    facts, tip = facts_of_run({"fidelity": measured, "tokens_per_second": 12.4})
    assert facts == ["parity 3e-06", "12 tokens/s"]
    assert "3.2e-06" in tip and "5.0e-01" in tip


@pytest.mark.parametrize(
    ("speed", "said"), [(0.04, "0.04"), (0.8, "0.8"), (1.33, "1.3"), (27.6, "28"), (145.2, "145")]
)
def test_a_slow_model_is_not_said_to_stand_still(speed: float, said: str) -> None:
    assert facts_of_run({"tokens_per_second": speed})[0] == [f"{said} tokens/s"]


def test_the_line_after_a_real_run(demo: MainWindow, qtbot: QtBot, gate: Gate) -> None:
    status, model = demo.status, demo.controller.model
    assert model is not None
    assert status.facts.text().split("  ·  ") == [model.name, "cpu", "float32"]
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(lambda: "token 1" in status.activity.text(), timeout=PATIENCE)
    gate.open()
    wait_idle(qtbot, demo)
    run = demo.workspace.run
    assert run is not None
    told = status.facts.text().split("  ·  ")
    hf_model = demo.controller._worker._lmm.hf_model
    weights = next(hf_model.parameters())
    fidelity = run.provenance["fidelity"]
    assert told[:4] == [
        model.name,
        str(weights.device),
        fidelity["kernel"],
        str(weights.dtype).removeprefix("torch."),
    ]
    worst = fidelity.get("worst_attention_difference", fidelity["worst_difference"])
    assert float(told[4].removeprefix("parity ")) == pytest.approx(worst, rel=0.5, abs=1e-12)
    speed = run.provenance["tokens_per_second"]
    assert float(told[5].removesuffix(" tokens/s")) == pytest.approx(speed, rel=0.05) and speed > 0
    # A session of another machine: its facts, not ours.
    status.show_facts(SimpleNamespace(provenance={"device": "cuda:3"}), model)  # type: ignore[arg-type]
    assert status.facts.text() == "cuda:3"


def test_kernel_parity_and_speed_are_what_is_measured_beside_it(
    demo: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the model's own configuration, its own explicit attention, and a clock of ours."""
    import torch

    from var_studio.engine import generation

    clock: list[tuple[str, float, float]] = []
    record = generation.record

    def timed(*args: Any, on_event: Callable[[Any], None], **kwargs: Any) -> Any:
        def tell(event: Any) -> None:
            told = time.perf_counter()
            on_event(event)
            clock.append((type(event).__name__, told, time.perf_counter()))

        return record(*args, on_event=tell, **kwargs)

    monkeypatch.setattr(generation, "record", timed)
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    run = demo.workspace.run
    assert run is not None
    *_, kernel, _, worst, speed = demo.status.facts.text().split("  ·  ")
    lmm = demo.controller._worker._lmm
    assert kernel == lmm.hf_model.config.get_text_config()._attn_implementation
    # The model's explicit attention to the same tokens, computed by transformers alone.
    encoded = lmm.encode(run.stored_image(0), str(run.provenance["prompt"]))
    answer = [token.id for token in run.tokens if token.role == "generated"]
    inputs = dict(encoded.inputs)
    grown = torch.tensor([answer], dtype=inputs["input_ids"].dtype)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], grown], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    lmm.hf_model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            output = lmm.hf_model(**inputs, output_attentions=True)
    finally:
        lmm.hf_model.set_attn_implementation(kernel)
    explicit = torch.stack(output.attentions)[:, 0].float().numpy()
    differences = []
    for query, position in enumerate(run.query_positions):
        row, seen = run.attention(query), int(position) + 1
        assert not row[:, :, seen:].any()
        differences.append(np.abs(row[:, :, :seen] - explicit[:, :, position, :seen]).max())
    stored = 2**-11  # rows are kept in half precision
    measured = float(worst.removeprefix("parity "))
    assert len(differences) > 5 and max(differences) < measured + stored
    assert 0 < measured < 1e-4
    # All tokens over the time from the encoded prompt: to the last of them, or to the end. Telling
    # of the prompt may take a while on a busy machine; the engine's clock starts after it.
    (encoded_at,) = (times for name, *times in clock if name == "PromptEncoded")
    tokens = [told for name, told, _ in clock if name == "TokenProduced"]
    (ended,) = (told for name, told, _ in clock if name == "RunFinished")
    shown = float(speed.removesuffix(" tokens/s"))
    assert len(tokens) == len(answer)
    assert len(tokens) / (ended - encoded_at[0]) - 0.5 <= shown
    assert shown <= 1.02 * len(tokens) / (tokens[-1] - encoded_at[1]) + 0.5


def test_memory_is_what_psutil_says(window: MainWindow) -> None:
    window.status.show_memory("cpu")
    assert _bytes(window) == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


def test_memory_is_what_the_system_says(window: MainWindow, qtbot: QtBot) -> None:
    window.status.show_memory("cpu")
    shown = _bytes(window)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert shown == pytest.approx(pages * 4096, rel=0.2)
    window.status.memory.setText("measured a moment ago")
    window.status.show_memory("cpu", often=True)
    assert window.status.memory.text() == "measured a moment ago", "measured at every token"
    ballast = np.ones(400_000_000 // 8)
    window.status.show_memory("cpu")
    assert _bytes(window) - shown > 200e6
    del ballast


def _bytes(window: MainWindow) -> float:
    told = re.fullmatch(r"([\d.]+) (GB|MB) RAM", window.status.memory.text())
    assert told is not None
    return float(told[1]) * {"GB": 1e9, "MB": 1e6}[told[2]]
