"""What Gemma, PaliGemma, Idefics3 and Mistral see of an image, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.families import case_gemma3
from tests.models.families.kit import QUESTION
from tests.models.tiny import noise
from var_studio.models.families import family_of

Get = Callable[[str], Any]


def pieces(encoded: Any) -> list[tuple[str, str]]:
    """Runs of tokens of one role, with patches as dots."""
    patches = encoded.layout.mask(encoded.length)
    runs: list[tuple[str, str]] = []
    for token in encoded.tokens:
        text = "." if patches[token.position] else token.text
        if runs and runs[-1][0] == token.role:
            text = runs.pop()[1] + text
        runs.append((token.role, text))
    return runs


def test_what_belongs_to_an_image_is_no_text(family: Get) -> None:
    """Marks, names of tiles and white space between them; the words around them are text."""
    dots = "." * 16
    sixteen = f"<start_of_image>{dots}<end_of_image>"
    assert pieces(family("gemma3-crops").encode(noise(150, 70), "ok?")) == [
        ("system", "<s><start_of_turn>user\nHere is the original image \n\n"),
        ("visual", sixteen),
        ("prompt", "\n\n and here are some crops to help you see better \n\n"),
        ("visual", f"{sixteen}\n\n \n\n{sixteen}"),
        ("prompt", "\n\nok?<end_of_turn>\n<start_of_turn>model\n"),
    ]
    fake = "<fake_token_around_image>"
    rows = [
        "".join(f"{fake}<row_{row}_col_{col}>{dots}" for col in (1, 2, 3)) + "\n" for row in (1, 2)
    ]
    for name in ("idefics3", "smolvlm"):
        assert pieces(family(name).encode(noise(150, 90), "ok?")) == [
            ("system", "<s>User:"),
            ("visual", f"{rows[0]}{rows[1]}\n{fake}<global-img>{dots}{fake}"),
            ("prompt", "ok?<end_of_utterance>\nAssistant:"),
        ]
    assert pieces(family("mistral3").encode(noise(48, 32), "ok?")) == [
        ("system", "<s>[INST]"),
        ("visual", "...[IMG_BREAK]...[IMG_END]"),
        ("prompt", "ok?[/INST]"),
    ]


def test_views_have_plain_names(family: Get) -> None:
    def names(name: str, size: tuple[int, int]) -> list[str]:
        return [view.name for view in family(name).encode(noise(*size), "?").layout.views]

    assert names("gemma3-crops", (150, 70)) == ["whole image", "crop 1", "crop 2"]
    assert names("gemma3-crops", (100, 100)) == ["image"]
    assert names("idefics3", (200, 60)) == ["tile 1,1", "tile 1,2", "tile 1,3", "whole image"]
    assert names("idefics3", (60, 200)) == ["tile 1,1", "tile 2,1", "tile 3,1", "whole image"]
    assert names("idefics3-whole", (200, 60)) == ["image"]


def test_pan_and_scan_is_on_where_the_checkpoint_says_so(family: Get, tmp_path: Path) -> None:
    """The processor has defaults of its own, which the image processor's settings come before."""
    long = noise(280, 70)
    assert len(family("gemma3-crops").encode(long, "?").layout.views) == 5
    assert len(family("gemma3").encode(long, "?").layout.views) == 1
    lmm = vs.load_model(case_gemma3.save(tmp_path, pan_and_scan=True, layers=1))
    lmm.processor.images_kwargs["pan_and_scan_max_num_crops"] = 3
    boxes = [view.box for view in lmm.encode(long, "?").layout.views]
    assert boxes[1:] == [(0, 0, 94, 70), (94, 0, 188, 70), (188, 0, 280, 70)]


def test_a_border_that_no_patch_covers_is_unseen(family: Get) -> None:
    """SmolVLM's tiles have 34 pixels here, its patches 32 of them."""
    lmm = family("smolvlm")
    layout = lmm.encode(noise(102, 102), "?").layout
    assert layout.unseen == (((0, 100, 102, 102), (100, 0, 102, 100)),)
    assert not layout.token_at(0, 101, 50)
    seam = layout.token_at(0, 33, 10)  # between two tiles: only the whole image shows it
    assert [layout.views[layout.cell_of(k)[0]].name for k in seam] == ["whole image"]


@pytest.mark.parametrize(
    "name", ["gemma3", "gemma3-crops", "idefics3", "smolvlm", "paligemma", "gemma4"]
)
@pytest.mark.parametrize("size", [(1, 1), (2, 1000), (9000, 30)])
def test_extreme_images_are_taken(family: Get, name: str, size: tuple[int, int]) -> None:
    lmm = family(name)
    encoded = lmm.encode(noise(*size), "?")
    assert encoded.layout.known and not np.isnan(encoded.layout.boxes).any()
    with torch.inference_mode():
        assert torch.isfinite(lmm.hf_model(**encoded.inputs).logits).all()


@pytest.mark.parametrize("name", ["mistral3", "pixtral"])
def test_images_that_come_to_nothing_are_refused(family: Get, name: str) -> None:
    lmm = family(name)
    assert lmm.encode(noise(30, 3600), "?").layout.known
    with pytest.raises(vs.VarStudioError, match=r"long and thin.*30 × 3601"):
        lmm.encode(noise(30, 3601), "?")


def test_one_cell_alone_is_refused_where_the_model_fails(family: Get) -> None:
    lmm = family("mistral3")
    with pytest.raises(vs.VarStudioError, match="too small"):
        lmm.encode(noise(16, 16), "?")
    with torch.inference_mode():
        lmm.hf_model(**lmm.encode([noise(16, 16)] * 2, "?").inputs)
        lmm.hf_model(**lmm.encode(noise(17, 16), "?").inputs)
        lmm = family("pixtral")
        lmm.hf_model(**lmm.encode(noise(8, 8), "?").inputs)


@pytest.mark.parametrize(
    ("name", "owner", "setting", "other"),
    [
        ("gemma3", "processor", "full_image_sequence", "<image_soft_token>" * 15),
        ("idefics3", "processor", "image_seq_len", 15),
        ("smolvlm", "processor", "image_seq_len", 15),
        ("paligemma", "processor", "image_seq_length", 35),
        ("mistral3", "processor", "patch_size", 7),
        ("pixtral", "processor", "spatial_merge_size", 2),
        ("gemma4", "image_processor", "pooling_kernel_size", 2),
    ],
)
def test_a_processor_of_another_model_is_told(
    family: Get, name: str, owner: str, setting: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = family(name)
    holder = lmm.processor if owner == "processor" else lmm.processor.image_processor
    monkeypatch.setattr(holder, setting, other)
    with pytest.raises(vs.VarStudioError, match="do not fit"):
        lmm.encode(noise(120, 90), QUESTION)


def test_a_llava_checkpoint_goes_to_the_family_of_its_tower() -> None:
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
    towers = {"pixtral": "pixtral", "clip_vision_model": "llava", "siglip_vision_model": "llava"}
    for tower, name in towers.items():
        assert family_of({**config, "vision_config": {"model_type": tower}}).name == name
    assert family_of(config).name == "llava"


def test_gemma4_without_a_vision_part_is_refused() -> None:
    with pytest.raises(vs.VarStudioError, match="no vision part"):
        family_of({"model_type": "gemma4", "vision_config": None})
