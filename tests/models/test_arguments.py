"""What `record` and `discover` take, and what they say of anything else."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.tiny import QUESTION, noise
from var_studio.engine import events
from var_studio.models.errors import NotLoadedError, PromptError
from var_studio.recording.failures import SettingsError, StorageError
from var_studio.recording.images import ImageError

ONE = vs.Generation(max_new_tokens=1)


@pytest.fixture
def lmm(loaded: Any) -> Any:
    return loaded("gqa")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("demo", r"'demo' is the name of a model.*lmm = vs.load_model\('demo'\)"),
        (Path("models/x"), r"'models/x' is the name"),
        (None, "not NoneType.*vs.load_model"),
        (torch.nn.Linear(1, 1), "not Linear"),
    ],
)
def test_a_model_that_is_not_loaded(model: Any, said: str) -> None:
    seen: list[Any] = []
    with pytest.raises(NotLoadedError, match=said):
        vs.record(model, noise(9, 9), QUESTION, on_event=seen.append)
    assert [type(event) for event in seen] == [events.RunFailed]
    with pytest.raises(NotLoadedError, match=said):
        vs.discover(model, noise(9, 9), QUESTION)


def test_settings_as_dicts(lmm: Any, tmp_path: Path) -> None:
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation={"max_new_tokens": 2},
        intervention={"sink_dims": [5, 17], "tau": 1.6},
        options={"precision": "float16"},
        directory=tmp_path / "run",
    )
    assert run.generation == vs.Generation(max_new_tokens=2)
    assert run.interventions == (vs.Redistribution(sink_dims=(5, 17), tau=1.6),)
    assert run.precision == "float16"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"generation": {"max_new_tokens": 0}}, "whole number from 1 to 8192"),
        ({"generation": {"tokens": 5}}, "no setting 'tokens'"),
        ({"generation": 5}, "generation takes a Generation, not int"),
        ({"generation": vs.Redistribution()}, "not Redistribution"),
        ({"intervention": True}, "intervention takes a Redistribution, not bool"),
        ({"intervention": vs.Redistribution(sink_dims=())}, "no sink dimension"),
        ({"intervention": vs.Redistribution(sink_dims=(64,))}, "go from 0 to 63"),
        ({"intervention": vs.Redistribution(first_layer=4)}, "layers 0 to 3.*name layer 4"),
        ({"intervention": vs.Redistribution(last_layer=9)}, "layers 0 to 3.*name layer 9"),
        (
            {"intervention": vs.Redistribution().model_copy(update={"tau": math.inf})},
            "tau.*is inf",
        ),
        ({"options": {"top": 0}}, "from 1 to 100"),
        ({"name": 5}, "a text, not int"),
        ({"name": " "}, "empty, too long"),
        ({"name": "a\nb"}, "holds signs"),
        ({"name": "\ud83d"}, "holds signs"),
        ({"name": "n" * 201}, "at most 200"),
    ],
)
def test_settings_that_are_refused_leave_nothing(
    lmm: Any, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "run", **given)
    str(caught.value).encode()
    assert not (tmp_path / "run").exists()
    assert not lmm._lock.locked()


def test_prompts_and_images_that_are_refused(lmm: Any, tmp_path: Path) -> None:
    for image, prompt, kind in [
        (noise(9, 9), None, PromptError),
        (noise(9, 9), "\ud83d", PromptError),
        (noise(9, 9), "what is </s>?", PromptError),
        (torch.zeros(3, 9, 9), QUESTION, ImageError),
        (5, QUESTION, ImageError),
        ("https://example.org/a.png", QUESTION, ImageError),
    ]:
        with pytest.raises(kind):
            vs.record(lmm, image, prompt, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_buffer_is_an_image(lmm: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise(60, 60).save(buffer, "PNG")
    run = vs.record(lmm, buffer, QUESTION, generation=ONE, directory=tmp_path / "run")
    assert np.array_equal(np.asarray(run.image()), np.asarray(noise(60, 60)))


def test_a_directory_that_cannot_hold_the_run(lmm: Any, tmp_path: Path) -> None:
    """Nothing was recorded then, and nobody says that something is kept."""
    first = vs.record(lmm, noise(60, 60), QUESTION, generation=ONE, directory=tmp_path / "run")
    file = tmp_path / "file"
    file.write_text("in the way")
    for directory, said in [
        (tmp_path / "run", "already holds a run"),
        (file, "is a file"),
        (file / "run", "Making .* failed"),
    ]:
        with pytest.raises(StorageError, match=f"{said}.*othing was recorded") as caught:
            vs.record(lmm, noise(60, 60), QUESTION, generation=ONE, directory=directory)
        assert "kept" not in str(caught.value)
    assert vs.Recording.open(tmp_path / "run").tokens == first.tokens
    with pytest.raises(StorageError, match="a path, not int"):
        vs.record(lmm, noise(60, 60), QUESTION, generation=ONE, directory=5)  # type: ignore[arg-type]


def test_the_origin_of_sink_dimensions_that_the_user_gave(lmm: Any, tmp_path: Path) -> None:
    given = vs.Redistribution(sink_dims=(5, 17), tau=1.6)
    own = vs.Redistribution(tau=1.6)
    origins = [
        vs.record(
            lmm, noise(60, 60), QUESTION,
            generation=ONE, intervention=settings, directory=tmp_path / str(number),
        ).provenance["sink_dims_origin"]
        for number, settings in enumerate([given, own, None])
    ]  # fmt: skip
    assert origins == ["given by the user", lmm.sink_dims_origin, lmm.sink_dims_origin]
