"""What families write around a question; what Qwen-VL, GLM-4V, DeepSeek-VL and Janus refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import var_studio as vs
from tests.models.families.cases import CASES
from tests.models.families.kit import QUESTION
from tests.models.tiny import noise

Get = Callable[[str], Any]
MERGING = ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "glm4v"]
SQUARE = ["deepseek-vl", "deepseek-vl-hybrid", "janus"]

# Of two images, "one" answered with "two", then "three", where there is no template.
_QWEN = (
    "<|im_start|>user\n"
    "<|vision_start|><|image_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>"
    "one<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
    "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n"
)
_DEEPSEEK = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language.\n\nUser: <image_placeholder><image_placeholder>one\n\nAssistant: two</s>"
    "User: three\n\nAssistant:"
)
_GEMMA = "{image}{image}one two</s>three"
_IDEFICS = (
    "User:<image><image>one<end_of_utterance>\nAssistant: two<end_of_utterance>\n"
    "User:three<end_of_utterance>\nAssistant:"
)
_MISTRAL = "[INST][IMG][IMG]one[/INST]two</s>[INST]three[/INST]"
FORMATS = {
    "qwen2-vl": _QWEN,
    "qwen2.5-vl": _QWEN,
    "qwen3-vl": _QWEN,
    "glm4v": (
        "[gMASK]<sop><|user|>\n<|begin_of_image|><|image|><|end_of_image|>"
        "<|begin_of_image|><|image|><|end_of_image|>one<|assistant|>\ntwo<|user|>\nthree"
        "<|assistant|>\n"
    ),
    "deepseek-vl": _DEEPSEEK,
    "deepseek-vl-hybrid": _DEEPSEEK,
    "janus": (
        "<|User|>: <image_placeholder>\n<image_placeholder>\none\n\n<|Assistant|>: two</s>"
        "<|User|>: three\n\n<|Assistant|>:"
    ),
    "gemma3": _GEMMA.replace("{image}", "<start_of_image>"),
    "gemma4": _GEMMA.replace("{image}", "<|image|>"),
    "paligemma": "<image><image><s>one\ntwo\nthree\n",
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "mistral3": _MISTRAL,
    "pixtral": _MISTRAL,
}


@pytest.mark.parametrize("name", FORMATS)
def test_without_a_template_the_documented_format_is_written(
    family: Get, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = family(name)
    image, words = {"type": "image"}, lambda text: {"type": "text", "text": text}
    messages = [
        {"role": "user", "content": [image, image, words("one")]},
        {"role": "assistant", "content": [words("two")]},
        {"role": "user", "content": [words("three")]},
    ]
    monkeypatch.setattr(lmm.processor, "chat_template", None)
    monkeypatch.setattr(lmm.processor.tokenizer, "chat_template", None)
    assert lmm.family.render(lmm.processor, messages, ask=True) == FORMATS[name]
    two = lmm.encode([noise(70, 90), noise(90, 70)], QUESTION)
    assert two.layout.known
    assert two.layout.mask(two.length).sum() == two.layout.count


@pytest.mark.parametrize("name", [*MERGING, "janus"])
def test_marks_of_an_image_are_no_patch_and_no_text(family: Get, name: str) -> None:
    lmm = family(name)
    encoded = lmm.encode([noise(80, 60), noise(60, 80)], QUESTION)
    patches = encoded.layout.mask(encoded.length)
    visual = np.array([token.role == "visual" for token in encoded.tokens])
    marks = [
        token.text for token in encoded.tokens if visual[token.position] > patches[token.position]
    ]
    assert len(marks) == 4 and marks[:2] == marks[2:] and marks[0] != marks[1]
    assert (patches <= visual).all()
    first, last = np.flatnonzero(visual)[[0, -1]]
    assert encoded.tokens[first].text == marks[0] and encoded.tokens[last].text == marks[1]


@pytest.mark.parametrize("name", MERGING)
def test_the_model_counts_rows_and_columns_as_the_layout_does(family: Get, name: str) -> None:
    """Its positions of patches; without the processor's token types there would be none."""
    lmm = family(name)
    encoded = lmm.encode([noise(112, 84), noise(60, 120)], QUESTION)
    inputs = {k: v for k, v in encoded.inputs.items() if k != "pixel_values"}
    positions, _ = lmm.hf_model.model.get_rope_index(**inputs)
    layout = encoded.layout
    for view in layout.views:
        rows, cols = positions[1:, 0, layout.positions[view.tokens]]
        assert (rows - rows[0, 0]).tolist() == [[r] * view.cols for r in range(view.rows)]
        assert (cols - cols[0, 0]).tolist() == [list(range(view.cols))] * view.rows
    assert {view.tokens.shape[0] != view.tokens.shape[1] for view in layout.views} == {True}


@pytest.mark.parametrize("name", MERGING)
def test_an_image_too_long_and_thin_is_refused(family: Get, name: str) -> None:
    lmm = family(name)
    with pytest.raises(vs.VarStudioError, match=r"long and thin.*9000 × 30"):
        lmm.encode(noise(9000, 30), QUESTION)
    assert lmm.encode(noise(5000, 30), QUESTION).layout.known
    assert lmm.encode(noise(1, 1), QUESTION).layout.known


@pytest.mark.parametrize("name", MERGING)
@pytest.mark.parametrize("setting", ["patch_size", "temporal_patch_size", "merge_size"])
def test_a_processor_of_another_model_is_told(
    family: Get, name: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = family(name)
    own = getattr(lmm.processor.image_processor, setting)
    monkeypatch.setattr(lmm.processor.image_processor, setting, own - 1)
    with pytest.raises(vs.VarStudioError, match="do not fit"):
        lmm.encode(noise(120, 90), QUESTION)


@pytest.mark.parametrize("name", SQUARE)
def test_a_processor_with_another_number_of_tokens_is_told(
    family: Get, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = family(name)
    monkeypatch.setattr(lmm.processor, "num_image_tokens", 25)
    with pytest.raises(vs.VarStudioError, match=r"25 visual tokens; the model makes 36"):
        lmm.encode(noise(120, 90), QUESTION)


@pytest.mark.parametrize("name", ["deepseek-vl", "janus"])
def test_cells_in_the_padding_have_no_box(family: Get, name: str) -> None:
    """An image three times as wide as high fills two of six rows of a square."""
    lmm = family(name)
    layout = lmm.encode(noise(150, 50), QUESTION).layout
    seen = ~np.isnan(layout.boxes[:, 0]).reshape(6, 6)
    assert seen.tolist() == [[row in (2, 3)] * 6 for row in range(6)]
    assert layout.views[0].box == pytest.approx((0, -50, 150, 100))
    assert layout.unseen == ((),)


@pytest.mark.parametrize("name", SQUARE)
def test_a_square_that_is_made_otherwise_is_a_strip(
    family: Get, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = family(name)
    monkeypatch.setattr(lmm.processor.image_processor, "do_resize", False)
    side = lmm.processor.image_processor.size["height"]
    assert not lmm.encode(noise(side, side), QUESTION).layout.known


def test_janus_can_be_made_to_say_a_given_answer(family: Get, tmp_path: Path) -> None:
    """Its class drops logits processors when asked for text."""
    lmm = family("janus")
    options: dict[str, Any] = {"generation": vs.Generation(max_new_tokens=4)}
    image, change = noise(90, 60), vs.Redistribution(**CASES["janus"].var)
    run = vs.record(lmm, image, QUESTION, directory=tmp_path / "one", **options)
    other = vs.record(
        lmm, image, QUESTION, intervention=change, directory=tmp_path / "two", **options
    )
    forced = vs.record(lmm, image, QUESTION, teacher=other, directory=tmp_path / "three", **options)

    def said(recording: Any) -> list[int]:
        return [recording.tokens[p].id for p in recording.generated_positions]

    assert said(run) != said(other), "the test would show nothing"
    assert said(forced) == said(other)
