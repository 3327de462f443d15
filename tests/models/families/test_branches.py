"""In every family: images encoded once, forced answers, and the noised branch of contrast."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import var_studio as vs
from tests.models.families import kit
from tests.models.families.cases import CASES
from tests.models.families.kit import QUESTION
from tests.models.test_contrast import noised_pixels
from var_studio.engine.decoding import Forced
from var_studio.recording.settings import Contrast

Get = Callable[[str], Any]
PICTURE = Image.fromarray(kit.noise(130, 90, seed=6))
THREE = vs.Generation(max_new_tokens=3)

every_case = pytest.mark.parametrize("name", CASES)


def plain_logits(lmm: Any, inputs: dict[str, Any], answer: list[int]) -> np.ndarray:
    """Logits (steps, V) float64 of plain `generate` on these inputs, forced to an answer."""
    length = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        output = lmm.hf_model.generate(
            **inputs, max_new_tokens=len(answer), do_sample=False, return_dict_in_generate=True,
            output_logits=True, logits_processor=[Forced(answer, length)],
        )  # fmt: skip
    assert output.sequences[0, length:].tolist() == answer
    return torch.stack(output.logits)[:, 0].double().numpy()


@every_case
def test_an_image_is_encoded_once(
    family: Get, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm, calls = family(name), []
    lmm.encoded_images.clear()
    body, encoder = lmm.hf_model.base_model, "get_image_features"
    if "mm_encoder_outputs" not in inspect.signature(lmm.hf_model.forward).parameters:
        assert CASES[name].cross is not None, "only cross-attention takes no features"
        body, encoder = body.vision_model, "forward"
    encode = getattr(body, encoder)

    @functools.wraps(encode)
    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return encode(*given, **named)

    monkeypatch.setattr(body, encoder, counted)
    runs = [
        vs.record(lmm, PICTURE, QUESTION, generation=THREE, directory=tmp_path / str(number))
        for number in range(2)
    ]
    assert len(calls) == 1
    assert runs[0].tokens == runs[1].tokens
    forced = vs.record(lmm, PICTURE, QUESTION, teacher=runs[0], directory=tmp_path / "forced")
    assert forced.tokens == runs[0].tokens and len(calls) == 1
    assert getattr(body, encoder) is counted, "a run leaves the model as it was"
    other = Image.fromarray(kit.noise(130, 90, seed=7))
    run = vs.record(lmm, other, QUESTION, generation=THREE, directory=tmp_path / "other")
    assert len(calls) == 2 and run.tokens != runs[0].tokens


def test_a_tower_that_answers_from_memory_changes_no_bit(family: Get, tmp_path: Path) -> None:
    """Mllama: fresh, kept, and plain `generate` on pixels; a noised branch has its own."""
    lmm = family("mllama")
    lmm.encoded_images.clear()
    tower = lmm.hf_model.base_model.vision_model
    seen: list[torch.Tensor] = []
    hook = lmm.hf_model.register_forward_hook(
        lambda module, args, output: seen.append(output.logits[0, -1].clone())
    )
    try:
        for number, intervention in enumerate([None, None, Contrast(), None]):
            seen.clear()
            vs.record(
                lmm, PICTURE, QUESTION, generation=THREE, intervention=intervention,
                directory=tmp_path / str(number),
            )  # fmt: skip
            assert "forward" not in vars(tower)
            if intervention is not None:
                continue
            found = torch.stack(seen[:3])
            seen.clear()
            kit.plain_generate(lmm, lmm.encode(PICTURE, QUESTION), 3)
            assert torch.equal(found, torch.stack(seen[:3]))
    finally:
        hook.remove()


@every_case
def test_contrast_is_that_of_two_plain_generations(family: Get, tmp_path: Path, name: str) -> None:
    lmm = family(name)
    contrast = Contrast(strength=1.0, cutoff=0.0, seed=3)
    run = vs.record(
        lmm, PICTURE, QUESTION, generation=THREE, intervention=contrast, directory=tmp_path / "run"
    )
    answer = [run.tokens[i].id for i in run.generated_positions]
    inputs = lmm.encode(PICTURE, QUESTION).inputs
    # Whatever is floating among the inputs is the image, once or at several resolutions.
    images = sorted(name for name, value in inputs.items() if value.is_floating_point())
    draw = torch.Generator().manual_seed(3)
    noised = {name: noised_pixels(inputs[name], 500, draw) for name in images}
    own = plain_logits(lmm, inputs, answer)
    other = plain_logits(lmm, {**inputs, **noised}, answer)
    logits = 2 * own - other
    expected = logits - logits.max(-1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(-1, keepdims=True))
    assert np.abs(own - other).max() > 1e-2, "the noise changes nothing: the test shows nothing"
    for step, position in enumerate(run.generated_positions):
        token = run.tokens[position]
        assert token.id == int(expected[step].argmax())
        for candidate in token.top:
            assert candidate.logprob == pytest.approx(expected[step, candidate.id], abs=3e-5)
