"""Checkpoints that cannot be used and sessions of tomorrow: a notice with the next step."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, notices, press, settle, wait_idle
from tests.synthetic import make_run
from var_studio.assets import resource
from var_studio.gui.main_window import MainWindow
from var_studio.recording.session import save_session

pytestmark = IGNORE_QT


def try_to_load(qtbot: QtBot, window: MainWindow, folder: Path) -> str:
    """Load a model that cannot be: returns the notice, after checking that it is the only one."""
    with qtbot.waitSignal(window.controller.model_failed, timeout=PATIENCE):
        window.load_model(str(folder))
    settle(qtbot)
    (said,) = notices(window)
    window.notices.clear()
    assert window.controller.idle
    return said


def test_folders_that_are_no_model_of_ours(demo: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    family = tmp_path / "unknown family"
    family.mkdir()
    (family / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    shutil.copy(resource("demo-model", "model.safetensors"), family)
    said = try_to_load(qtbot, demo, family)
    assert "gpt2" in said and said.endswith("."), said

    code = tmp_path / "own code"
    code.mkdir()
    config = {"model_type": "strange_lmm", "auto_map": {"AutoModel": "modeling.Strange"}}
    (code / "config.json").write_text(json.dumps(config))
    shutil.copy(resource("demo-model", "model.safetensors"), code)
    (code / "modeling.py").write_text("raise SystemExit('remote code was run')")
    said = try_to_load(qtbot, demo, code)
    assert "code" in said, said

    # None of them took the loaded model away: it answers.
    assert demo.controller.model is not None
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    assert demo.workspace.run is not None and demo.workspace.run.text


@pytest.mark.torch
def test_a_device_that_this_machine_has_not(window: MainWindow, qtbot: QtBot) -> None:
    window.workspace.loading.set(device="cuda:77")
    with qtbot.waitSignal(window.controller.model_failed, timeout=PATIENCE):
        window.load_model("demo")
    settle(qtbot)
    (said,) = notices(window)
    assert "cuda:77" in said and "cpu" in said, said
    window.workspace.loading.set(device="cpu")
    window.load_model("demo")
    qtbot.waitUntil(lambda: window.controller.model is not None, timeout=PATIENCE)
    assert notices(window) == []


def test_truncated_weights_and_then_the_demo(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated"
    shutil.copytree(resource("demo-model"), truncated)
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    said = try_to_load(qtbot, demo, truncated)
    assert "truncated" in said or "weights" in said, said
    # Whether the old model had made room by then or not: what is shown is so, and works.
    model = demo.controller.model
    facts = demo.status.facts.text()
    assert facts.startswith("demo") if model is not None else facts == ""
    assert (demo.controller._worker._lmm is None) == (model is None)
    demo.load_model("demo")
    qtbot.waitUntil(lambda: demo.controller.model is not None, timeout=PATIENCE)
    assert notices(demo) == []
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    assert demo.workspace.run is not None and demo.workspace.run.text


@pytest.mark.torch
def test_a_checkpoint_whose_prompt_has_no_place_for_the_image(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "no image token"
    shutil.copytree(resource("demo-model"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["image_token_index"] = config["image_token_id"] = 7  # an id that no image gets
    (folder / "config.json").write_text(json.dumps(config))
    window.start(model=None)
    window.load_model(str(folder))
    qtbot.waitUntil(lambda: window.controller.idle, timeout=PATIENCE)
    if window.controller.model is not None:
        press(qtbot, window.setup.run_button)
        wait_idle(qtbot, window)
    settle(qtbot)
    (said,) = notices(window)
    assert "no visual token" in said and "check its files" in said, said
    assert all(not run.finished for run in window.workspace.runs)


@pytest.mark.parametrize("schema", [99])
def test_a_session_of_a_newer_version(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, schema: int
) -> None:
    present = make_run(tmp_path / "present")
    whole = save_session(tmp_path / "whole.vars", runs=[make_run(tmp_path / "run", seed=2)])
    newer = tmp_path / "newer.vars"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "zarr.json":
                document = json.loads(content)
                document["attributes"]["schema"] = schema
                content = json.dumps(document).encode()
            new.writestr(name, content)
    window.workspace.add_run(present)
    window.workspace.modified = False
    assert not window.files.open(newer)
    settle(qtbot)
    (said,) = notices(window)
    assert "newer.vars" in said and "newer version" in said.replace("\n", " "), said
    assert window.workspace.run is present and window.workspace.reading is not None
    assert newer.exists()
