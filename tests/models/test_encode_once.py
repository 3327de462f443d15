"""The vision tower runs once for an image, and what comes out of a run is the same bit for bit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import var_studio as vs
from tests.models.test_redistribution import TINY
from tests.models.tiny import QUESTION, noise
from var_studio.engine.pairs import record_pair

FOUR = vs.Generation(max_new_tokens=4)


@contextmanager
def tower_calls(lmm: Any) -> Iterator[list[int]]:
    calls: list[int] = []
    tower = lmm.hf_model.model.vision_tower
    handle = tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def logits_of(lmm: Any) -> Iterator[list[Any]]:
    seen: list[Any] = []
    handle = lmm.hf_model.register_forward_hook(
        lambda module, args, output: seen.append(output.logits[0, -1].clone())
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("model", ["crop", "pad", "full", "mistral"])
def test_another_intervention_does_not_encode_again(
    loaded: Any, tmp_path: Path, model: str
) -> None:
    lmm, image = loaded(model), noise(60, 60, seed=3)
    lmm.encoded_images.clear()
    with tower_calls(lmm) as calls:
        settings = vs.Redistribution(**TINY)
        vs.record(lmm, image, QUESTION, generation=FOUR, directory=tmp_path / "a")
        assert len(calls) == 1, "also with a discovery before the run"
        for number, intervention in enumerate([settings, {**TINY, "p": 0.9}, None]):
            vs.record(
                lmm, image, QUESTION, generation=FOUR, intervention=intervention,
                directory=tmp_path / f"b{number}",
            )  # fmt: skip
        # Another question about the same image, too.
        vs.record(lmm, image, "is it red?", generation=FOUR, directory=tmp_path / "c")
        assert len(calls) == 1
        vs.record(lmm, noise(60, 60, seed=4), QUESTION, generation=FOUR, directory=tmp_path / "d")
        assert len(calls) == 2
        vs.record(lmm, [image, image], QUESTION, generation=FOUR, directory=tmp_path / "e")
        assert len(calls) == 3
        vs.record(lmm, image, QUESTION, generation=FOUR, directory=tmp_path / "f")
        assert len(calls) == 4, "only the last images are kept"


def test_a_pair_encodes_once(loaded: Any, tmp_path: Path) -> None:
    lmm = loaded("gqa")
    lmm.encoded_images.clear()
    with tower_calls(lmm) as calls:
        record_pair(
            lmm, noise(70, 50), QUESTION, intervention=vs.Redistribution(**TINY),
            generation=FOUR, directory=tmp_path,
        )  # fmt: skip
    assert len(calls) == 1


@pytest.mark.parametrize("model", ["crop", "gqa", "full"])
@pytest.mark.parametrize("n_images", [1, 2])
def test_reuse_changes_no_bit(loaded: Any, tmp_path: Path, model: str, n_images: int) -> None:
    """Fresh features, kept features, and plain `generate` with pixels: the same logits."""
    lmm = loaded(model)
    images = [noise(60, 60, seed=5), noise(50, 80, seed=6)][:n_images]
    lmm.encoded_images.clear()
    found = []
    for number in range(2):
        with logits_of(lmm) as seen:
            vs.record(lmm, images, QUESTION, generation=FOUR, directory=tmp_path / str(number))
        found.append(torch.stack(seen[-5:-1]))
    inputs = lmm.encode(images, QUESTION).inputs
    assert "pixel_values" in inputs
    with logits_of(lmm) as seen:
        lmm.hf_model.generate(**inputs, max_new_tokens=4, do_sample=False)
    plain = torch.stack(seen)
    assert torch.equal(found[0], plain) and torch.equal(found[1], plain)


def test_changed_pixels_are_noticed(loaded: Any) -> None:
    """One pixel of one channel, in place: the kept features are no longer those of the inputs."""
    lmm = loaded("crop")
    inputs = lmm.encode(noise(60, 60), QUESTION).inputs
    lmm.encoded_images.clear()
    with torch.inference_mode(), tower_calls(lmm) as calls:
        first = lmm.encoded_images.inputs(lmm.hf_model, inputs)
        kept = first["mm_encoder_outputs"]["image"]
        assert kept.hidden_states is None, "the tower's layers are not kept"
        again = lmm.encoded_images.inputs(lmm.hf_model, {**inputs})
        assert again["mm_encoder_outputs"]["image"] is kept
        changed = inputs["pixel_values"].clone()
        changed[0, 1, 7, 9] += 0.01
        lmm.encoded_images.inputs(lmm.hf_model, {**inputs, "pixel_values": changed})
    assert len(calls) == 2


def test_a_model_that_takes_no_features_encodes_each_time(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the forward pass has no `mm_encoder_outputs` and no vision model is known."""
    lmm = loaded("crop")
    forward = type(lmm.hf_model).forward

    def without(self: Any, input_ids: Any = None, pixel_values: Any = None,
                attention_mask: Any = None, past_key_values: Any = None, position_ids: Any = None,
                logits_to_keep: Any = 0, use_cache: Any = None, **rest: Any) -> Any:  # fmt: skip
        return forward(
            self, input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask,
            past_key_values=past_key_values, position_ids=position_ids,
            logits_to_keep=logits_to_keep, use_cache=use_cache, **rest,
        )  # fmt: skip

    before = vs.record(
        lmm, noise(60, 60), QUESTION, generation=FOUR, directory=tmp_path / "a"
    ).tokens
    monkeypatch.setattr(type(lmm.hf_model), "forward", without)
    with tower_calls(lmm) as calls:
        for number in range(2):
            run = vs.record(
                lmm, noise(60, 60), QUESTION, generation=FOUR, directory=tmp_path / str(number)
            )
            assert run.tokens == before
    assert len(calls) == 2


def test_release_lets_go_of_the_features(checkpoint: Any, tmp_path: Path) -> None:
    lmm = vs.load_model(checkpoint("crop"))
    vs.record(lmm, noise(60, 60), QUESTION, generation=FOUR, directory=tmp_path / "a")
    with torch.inference_mode():
        inputs = lmm.encoded_images.inputs(lmm.hf_model, lmm.encode(noise(60, 60), QUESTION).inputs)
    features = weakref.ref(inputs["mm_encoder_outputs"]["image"].pooler_output[0])
    del inputs
    assert features() is not None
    lmm.release()
    gc.collect()
    assert features() is None
