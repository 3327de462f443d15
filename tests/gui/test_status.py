"""The status line: everything it says is so."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Gate,
    demo,  # noqa: F401
    gate,  # noqa: F401
    press,
    wait_idle,
    window,  # noqa: F401
)
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


def test_the_line_after_a_real_run(
    demo: MainWindow,  # noqa: F811
    qtbot: QtBot,
    gate: Gate,  # noqa: F811
) -> None:
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
    assert told[5] == f"{speed:.0f} tokens/s" and speed > 0
    # A session of another machine: its facts, not ours.
    status.show_facts(SimpleNamespace(provenance={"device": "cuda:3"}), model)  # type: ignore[arg-type]
    assert status.facts.text() == "cuda:3"


def test_memory_is_what_the_system_says(window: MainWindow, qtbot: QtBot) -> None:  # noqa: F811
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


def _bytes(window: MainWindow) -> float:  # noqa: F811
    told = re.fullmatch(r"([\d.]+) (GB|MB) RAM", window.status.memory.text())
    assert told is not None
    return float(told[1]) * {"GB": 1e9, "MB": 1e6}[told[2]]
