"""What is put before a model of each family and must not break it: a clear error or an answer.

After each, the model answers as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models.families.cases import CASES
from tests.models.families.kit import noise
from var_studio.errors import VarStudioError
from var_studio.models.errors import PromptError
from var_studio.recording.images import ImageError

Get = Callable[[str], Any]
every_case = pytest.mark.parametrize("name", CASES)
QUESTION = "what is it?"


@pytest.fixture
def lmm(name: str, family: Get) -> Any:
    return family(name)


@pytest.fixture(autouse=True)
def still_usable(lmm: Any) -> Any:
    """The same question gives the same logits before and after."""
    picture = noise(120, 90)

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return lmm.hf_model(**lmm.encode(picture, QUESTION).inputs).logits

    before = logits()
    yield
    assert torch.equal(logits(), before)


@every_case
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 900), (2500, 10)])
def test_an_image_is_taken_or_refused_whatever_its_shape(
    lmm: Any, name: str, size: tuple[int, int]
) -> None:
    try:
        encoded = lmm.encode(noise(*size), QUESTION)
    except (PromptError, ImageError) as error:
        assert error.next_step and len(str(error)) < 400
        return
    boxes = encoded.layout.boxes[~np.isnan(encoded.layout.boxes).any(axis=1)]
    assert encoded.layout.count > 0
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= np.array(size) + 1e-6).all()
    with torch.inference_mode():
        assert lmm.hf_model(**encoded.inputs).logits.isfinite().all()


@every_case
def test_an_image_of_twenty_thousand_pixels_a_side_is_refused(lmm: Any, name: str) -> None:
    huge = Image.new("1", (20_000, 20_000))  # 50 MB; as RGB it would take 1.2 GB
    with pytest.raises(ImageError, match=r"too large \(20000 × 20000.*Scale it down"):
        lmm.encode(huge, QUESTION)


@every_case
def test_placeholders_in_the_prompt_are_refused(lmm: Any, name: str) -> None:
    mark = lmm.family.placeholder(lmm.processor)
    for prompt in (f"{mark} and {mark}?", f"what{mark}is"):
        with pytest.raises(PromptError, match=r"placeholder|special token"):
            lmm.encode(noise(60, 60), prompt)


@every_case
def test_a_template_that_places_too_few_or_too_many_images_is_not_used(
    lmm: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented fallback is: the visual tokens stay as many as the model makes."""
    wanted = lmm.encode(noise(60, 60), QUESTION).layout.count
    mark = lmm.family.placeholder(lmm.processor)
    for template in ("no image here", mark * 3):
        with monkeypatch.context() as patch:
            patch.setattr(lmm.processor, "chat_template", template)
            try:
                encoded = lmm.encode(noise(60, 60), QUESTION)
            except PromptError:
                assert not CASES[name].known, "no fallback where the format is not known"
                continue
        assert encoded.layout.count == wanted
        assert "what is it?" in "".join(token.text for token in encoded.tokens)


@every_case
def test_a_prompt_longer_than_the_context_is_refused(lmm: Any, name: str) -> None:
    with pytest.raises(PromptError, match=rf"the model takes {lmm.context_length}"):
        lmm.encode(noise(60, 60), "circle " * (lmm.context_length + 10))


@every_case
def test_a_corrupt_image_among_good_ones(lmm: Any, name: str) -> None:
    with pytest.raises(ImageError):
        lmm.encode([noise(60, 60), b"\x89PNG\r\n\x1a\n and nothing more"], QUESTION)
    with pytest.raises(VarStudioError, match=r"no image|There is no"):
        lmm.encode([], QUESTION)
