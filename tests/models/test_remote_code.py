"""Code that comes with a checkpoint: named first, run only after a yes, and only where needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

import var_studio as vs
from var_studio.models.errors import RemoteCodeError, UnsupportedModelError
from var_studio.models.families.llava import Llava

CODE = """
from pathlib import Path
from transformers import LlavaConfig, LlavaForConditionalGeneration

Path(__file__).parent.joinpath("ran").touch()
Path({marker!r}).touch()


class OwnConfig(LlavaConfig):
    model_type = "own_vl"


class OwnModel(LlavaForConditionalGeneration):
    config_class = OwnConfig
"""
AUTO_MAP = {
    "AutoConfig": "modeling_own.OwnConfig",
    "AutoModelForImageTextToText": "modeling_own.OwnModel",
}


@pytest.fixture
def own(checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkpoint of an unknown type with code, and the file that this code leaves."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = Path(shutil.copytree(checkpoint("crop"), tmp_path / "own"))
    marker = tmp_path / "this code was run"
    (folder / "modeling_own.py").write_text(CODE.format(marker=str(marker)))
    edit(folder, model_type="own_vl", architectures=["OwnModel"], auto_map=AUTO_MAP)
    return folder, marker


def edit(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_code_is_named_and_not_run(own: tuple[Path, Path]) -> None:
    folder, marker = own
    with pytest.raises(RemoteCodeError, match=r"\(modeling_own\.py\).*all your rights.*trust_rem"):
        vs.load_model(folder)
    assert not marker.exists()


def test_code_of_another_repository_is_named(own: tuple[Path, Path]) -> None:
    folder, marker = own
    edit(folder, auto_map={"AutoModel": "org/code--modeling_it.Model"})
    with pytest.raises(RemoteCodeError, match=r"modeling_it\.py of org/code"):
        vs.load_model(folder)
    with pytest.raises(UnsupportedModelError, match="no AutoModelForImageTextToText class"):
        vs.load_model(folder, trust_remote_code=True)
    assert not marker.exists()


def test_code_runs_after_a_yes(
    checkpoint: Any, own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, marker = own
    # A class that transformers does not know finds its tensors by its own names only.
    plain = vs.load_model(checkpoint("crop")).hf_model.state_dict()
    held = {name: tensor.clone() for name, tensor in plain.items()}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr("var_studio.models.loading.family_of", lambda config: Llava())
    lmm = vs.load_model(folder, trust_remote_code=True)
    assert marker.exists() and type(lmm.hf_model).__name__ == "OwnModel"
    assert lmm.n_layers == 4


def test_a_yes_runs_nothing_where_transformers_knows_the_model(own: tuple[Path, Path]) -> None:
    folder, marker = own
    edit(folder, model_type="llava", architectures=["LlavaForConditionalGeneration"])
    lmm = vs.load_model(folder, trust_remote_code=True)
    assert type(lmm.hf_model).__name__ == "LlavaForConditionalGeneration"
    assert not marker.exists()
