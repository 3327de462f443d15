"""A model from a hub, at the window: progress in words, stopped half-way, gone on with, asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.fake_hub import FakeHub, serving
from var_studio.assets import resource

REPO = "some-org/toy"

# The client reads the hub's address when it is imported: a Python of its own.
STORY = """
import json, sys, time
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from var_studio.gui.app import application
from var_studio.gui.main_window import MainWindow

app = application()
window = MainWindow()
window.show()
window.start(model=None)
section = window.setup.model_section
section.unfold.setChecked(True)
seen = []

def until(reached):
    end = time.monotonic() + 60
    while not reached():
        app.processEvents()
        if section.note.text() not in seen:
            seen.append(section.note.text())
        assert time.monotonic() < end, seen
        time.sleep(0.005)

def notices():
    return [notice.text() for notice in window.notices.notices]

combo = section.model
combo.setCurrentIndex(combo.count() - 1)
combo.activated.emit(combo.count() - 1)
QTest.keyClicks(section.hub, sys.argv[1])
QTest.keyClick(section.hub, Qt.Key.Key_Return)
until(lambda: "toy, " in section.note.text())
stop = section.load_button.text()
QTest.mouseClick(section.load_button, Qt.MouseButton.LeftButton)
until(lambda: window.controller.idle)
stopped = {"seen": list(seen), "stop": stop, "said": notices(), "load": section.load_button.text()}
print(json.dumps(stopped), flush=True)
sys.stdin.readline()
window.notices.clear()
section.hub.show()
QTest.keyClick(section.hub, Qt.Key.Key_Return)
until(lambda: window.controller.model is not None)
QTest.mouseClick(window.setup.run_button, Qt.MouseButton.LeftButton)
until(lambda: window.controller.idle and window.workspace.runs)
run = window.workspace.runs[0]
loaded = {"said": notices(), "text": run.text, "chosen": combo.currentData(),
          "checkpoint": run.provenance["checkpoint"]}
print(json.dumps(loaded), flush=True)
window.workspace.modified = False
window.close()
"""


@pytest.mark.torch
def test_a_download_is_followed_stopped_and_gone_on_with(tmp_path: Path) -> None:
    with serving(REPO, _padded(tmp_path / "repository")) as hub:
        hub.pause = 0.01  # about six seconds
        process = _start(hub, tmp_path)
        assert process.stdout is not None and process.stdin is not None
        stopped = json.loads(process.stdout.readline())
        told = [text for text in stopped["seen"] if text.startswith("Downloading: toy")]
        assert any(" of 32 MB" in text for text in told), stopped["seen"]
        assert any("It takes 14 MB of memory" in text for text in told), "the forecast comes first"
        assert stopped["stop"] == "Stop loading" and stopped["load"] == "Load"
        (said,) = stopped["said"]
        assert "stopped" in said and "go on" in said
        hub.pause = 0.0
        process.stdin.write("\n")
        process.stdin.flush()
        loaded = json.loads(process.stdout.readline())
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert loaded["said"] == [] and loaded["text"]
    assert loaded["checkpoint"] == loaded["chosen"] == REPO


def _padded(folder: Path) -> Path:
    """The demo model with a tensor of 24 MiB more: the client tells every 10 MiB."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(resource("demo-model"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["a_tensor_that_no_module_has"] = torch.zeros(24 << 20, dtype=torch.uint8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _start(hub: FakeHub, home: Path) -> subprocess.Popen[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.Popen(
        [sys.executable, "-c", STORY, REPO],
        env={
            **plain,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(home / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "VAR_STUDIO_HOME": str(home / "studio"),
            "QT_QPA_PLATFORM": "offscreen",
        },
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
