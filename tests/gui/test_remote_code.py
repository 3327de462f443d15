"""A checkpoint with code of its own, in the window: asked about, loaded after a yes, and run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, notices, press, settle, wait_idle
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT

CODE = """
from pathlib import Path
from transformers import LlavaConfig, LlavaForConditionalGeneration

Path({marker!r}).touch()


class OwnConfig(LlavaConfig):
    model_type = "own_vl"


class OwnModel(LlavaForConditionalGeneration):
    config_class = OwnConfig
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A tiny checkpoint of a type that its own code alone knows; the file that this code leaves."""
    from safetensors.torch import save_file
    from transformers import LlavaForConditionalGeneration

    from tests.models.tiny import save_checkpoint

    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    plain = save_checkpoint(tmp_path / "plain")
    folder = Path(shutil.copytree(plain, tmp_path / "own"))
    # A class that transformers does not know finds its tensors by its own names only.
    held = LlavaForConditionalGeneration.from_pretrained(plain).state_dict()
    copies = {name: tensor.clone() for name, tensor in held.items()}
    save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})
    marker = tmp_path / "this code was run"
    (folder / "modeling_own.py").write_text(CODE.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_vl",
        "architectures": ["OwnModel"],
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForImageTextToText": "modeling_own.OwnModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder, marker


def test_its_code_is_run_after_a_yes_and_it_answers(
    demo: MainWindow, qtbot: QtBot, own: tuple[Path, Path]
) -> None:
    folder, marker = own
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.load_model(str(folder))
    settle(qtbot)
    (told,) = notices(demo)
    assert "modeling_own.py" in told and "trust" in told
    assert not marker.exists() and demo.controller.model_name == "demo"
    # Closing the question is a no.
    press(qtbot, demo.notices.notices[0].close_button)
    settle(qtbot)
    assert notices(demo) == [] and not marker.exists()
    # Asked for again, it asks again; a yes loads it.
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.load_model(str(folder))
    settle(qtbot)
    (notice,) = demo.notices.notices
    (button,) = notice.findChildren(QtWidgets.QPushButton)
    assert button.text() == "Run its code" and not marker.exists()
    with qtbot.waitSignal(demo.controller.model_loaded, timeout=PATIENCE):
        press(qtbot, button)
    settle(qtbot)
    assert marker.exists() and notices(demo) == []
    model = demo.controller.model
    assert model is not None and demo.controller.model_name == str(folder)
    assert (model.n_layers, model.n_heads, model.hidden_size) == (4, 4, 64)
    assert demo.setup.model_section.model.currentText() == "own"
    assert "4 layers × 4 heads" in demo.setup.model_section.facts.text()
    assert type(demo.controller._worker._lmm.hf_model).__name__ == "OwnModel"
    demo.workspace.question.set_prompt("what is left?")
    demo.workspace.generation.set(max_new_tokens=4)
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    (run,) = demo.workspace.runs
    assert len(run.generated_positions) and run.n_layers == 4
    assert notices(demo) == []
    # With “Load again” the yes still has to be said.
    marker.unlink()
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.desk.load_again()
    settle(qtbot)
    assert len(notices(demo)) == 1 and not marker.exists()
