"""The forecast and the options of loading on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.tiny import noise
from var_studio.cli import main


def test_a_forecast_in_words_and_as_json(
    checkpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(90, 60).save(tmp_path / "cup.png")
    asked = ["forecast", str(checkpoint("crop")), "--device", "cpu"]
    assert main(asked) == 0
    assert "Weights: 0.9 MiB" in capsys.readouterr().out
    run = [*asked, "--max-new-tokens", "16", "--image"]
    assert main([*run, str(tmp_path / "cup.png"), "--json"]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert main([*run, "90x60", "--json"]) == 0
    assert of_file == json.loads(capsys.readouterr().out)
    assert (of_file["n_new"], of_file["n_visual"]) == (16, 36)
    assert of_file["device_memory"] == of_file["ram"] > of_file["weights"] > 0 < of_file["disk"]
    assert main([*run, "90x60"]) == 0
    words = capsys.readouterr().out
    assert "36 of them visual" in words and "compress to 85%" in words
    assert "Disk: about" in words and "if all 16 new tokens are used" in words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./nowhere"], "no model folder"),
        (["demo", "--image", "nowhere.png"], "There is no file"),
        (["demo", "--image", "0x7"], "No image has the size"),
        (["demo", "--device", "cuda:99"], "no device"),
        (["demo", "--max-new-tokens", "0"], "--max-new-tokens is 0"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1


def test_loading_options_reach_the_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from var_studio.models import loading
    from var_studio.models.errors import DeviceError

    asked: dict[str, Any] = {}

    def load_model(name: str, **options: Any) -> None:
        asked.update(options)
        raise DeviceError("Enough.", "")

    monkeypatch.setattr(loading, "load_model", load_model)
    noise(60, 60).save(tmp_path / "cup.png")
    code = main([
        "record", "--image", str(tmp_path / "cup.png"), "--prompt", "What?",
        "--out", str(tmp_path / "cup.vars"), "--device", "balanced", "--quantization", "4bit",
        "--trust-remote-code",
    ])  # fmt: skip
    assert code == 2 and "Enough." in capsys.readouterr().err
    assert asked["device"] == "balanced" and asked["quantization"] == "4bit"
    assert asked["trust_remote_code"] is True
