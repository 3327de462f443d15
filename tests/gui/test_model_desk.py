"""The model in Setup: loaded, given back, forecast, and asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    choose,
    notices,
    press,
    settle,
    wait_idle,
)
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


def test_release_gives_the_model_back_and_load_brings_it_again(
    demo: MainWindow, qtbot: QtBot
) -> None:
    section = demo.setup.model_section
    press(qtbot, section.unfold)
    lmm = demo.controller._worker._lmm
    press(qtbot, section.release_button)
    qtbot.waitUntil(lambda: demo.controller.model is None, timeout=PATIENCE)
    settle(qtbot)
    assert lmm.hf_model is None, "the weights are still held"
    assert "No model is loaded" in section.note.text() and not section.release_button.isEnabled()
    qtbot.keyClick(demo, Key.Key_R)
    assert any("No model is loaded" in text for text in notices(demo))
    assert section.load_button.text() == "Load"
    press(qtbot, section.load_button)
    qtbot.waitUntil(lambda: demo.controller.model is not None, timeout=PATIENCE)
    demo.notices.clear()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    assert demo.workspace.runs[0].text and notices(demo) == []


def test_device_and_precision_hold_for_the_next_load(demo: MainWindow, qtbot: QtBot) -> None:
    section = demo.setup.model_section
    press(qtbot, section.unfold)
    dtype = section.more_options.controls["dtype"]
    assert isinstance(dtype, QtWidgets.QComboBox)
    choose(qtbot, dtype, "bfloat16")
    assert section.device.findData("cpu") >= 0 and demo.controller.model is not None
    assert demo.controller.model.dtype == "float32", "nothing is loaded behind the user's back"
    with qtbot.waitSignal(demo.controller.model_loaded, timeout=PATIENCE):
        press(qtbot, section.load_button)
    assert demo.controller.model.dtype == "bfloat16"
    assert "bfloat16" in section.facts.text()
    for _ in range(2):  # the keyboard passed float32
        demo.workspace.undo_stack.undo()
    assert dtype.currentData() == "auto"


def test_the_forecast_says_what_a_run_takes(demo: MainWindow, qtbot: QtBot) -> None:
    line = demo.setup.forecast
    qtbot.waitUntil(lambda: "A run takes" in line.text(), timeout=PATIENCE)
    assert "memory" in line.text() and "disk" in line.text() and "are free" in line.toolTip()
    told = line.text()
    demo.workspace.generation.set(max_new_tokens=300)
    qtbot.waitUntil(lambda: line.text() != told, timeout=PATIENCE)
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    demo.workspace.question.set_prompt("")
    qtbot.waitUntil(lambda: not line.isVisible(), timeout=PATIENCE)


def test_a_run_that_will_not_fit_is_said_before(
    demo: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.models import room

    monkeypatch.setattr(room, "free_disk", lambda: 1000)
    demo.workspace.question.set_prompt("what color is the star?")
    line = demo.setup.forecast
    qtbot.waitUntil(lambda: "Will not fit" in line.text(), timeout=PATIENCE)
    assert "disk" in line.text() and line.objectName() == "wrong"


def test_a_model_that_does_not_fit_is_asked_about_before_it_is_loaded(
    demo: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.assets import resource
    from var_studio.models import room

    folder = str(resource("demo-model"))
    with monkeypatch.context() as patch:
        patch.setattr(room, "free_memory", lambda device: 0)
        patch.setattr(room, "fit", _without_replacing(room.fit))
        with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
            demo.load_model(folder)
        settle(qtbot)
        (told,) = notices(demo)
        assert "does not fit" in told and "are free" in told and "8-bit" in told
        assert demo.controller.model is not None and demo.controller.model_name == "demo"
        (button,) = demo.notices.notices[0].findChildren(QtWidgets.QPushButton)
        with qtbot.waitSignal(demo.controller.model_loaded, timeout=PATIENCE):
            press(qtbot, button)
    settle(qtbot)
    assert demo.controller.model_name == folder and notices(demo) == []


def _without_replacing(fit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda forecast, **kwargs: fit(forecast, **{**kwargs, "replacing": None})


def test_code_of_a_checkpoint_runs_only_after_a_yes(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    import json

    folder = tmp_path / "odd"
    folder.mkdir()
    ran = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "never-heard-of",
                "auto_map": {
                    "AutoConfig": "modeling.C",
                    "AutoModelForImageTextToText": "modeling.M",
                },
            }
        )
    )
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.load_model(str(folder))
    settle(qtbot)
    (told,) = notices(demo)
    assert "modeling.py" in told and "trust" in told and not ran.exists()
    (button,) = demo.notices.notices[0].findChildren(QtWidgets.QPushButton)
    assert button.text() == "Run its code"
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        press(qtbot, button)
    assert demo.controller.wanted.trust
    assert demo.controller.model is not None, "the loaded model stays"
