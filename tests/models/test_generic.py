"""Models of no family: what is taken, what is refused and why, and that no place is claimed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import var_studio as vs
from tests.models.families import case_generic
from tests.models.tiny import noise
from var_studio.models.errors import CheckpointError, PromptError, UnsupportedModelError
from var_studio.models.families import Family, family_of


def stub(folder: Path, **config: Any) -> Path:
    """A folder whose config is looked at before its weights are."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    return folder


def test_visual_tokens_are_the_placeholders_and_have_no_place(tmp_path: Path) -> None:
    lmm = vs.load_model(case_generic.save_ovis(tmp_path / "ovis"))
    assert lmm.family.name == "generic"
    encoded = lmm.encode(noise(70, 40), "what is it?")
    layout = encoded.layout
    texts = [t.text for t in encoded.tokens]
    atoms = [i for i, text in enumerate(texts) if text == "<IMG_ATOM>"]
    assert layout.positions.tolist() == atoms and len(atoms) == 5 * 4
    assert not layout.known and layout.views == () and np.isnan(layout.boxes).all()
    assert np.flatnonzero(layout.mask(encoded.length)).tolist() == atoms
    # Start, grid, column, row and end marks belong to the image; they are neither patch nor text.
    marks = [t for t in encoded.tokens if t.role == "visual" and t.position not in atoms]
    said = ["START", "GRID", "COL", "ROW", "COL", "END"]
    assert [t.text for t in marks] == [f"<IMG_{name}>" for name in said]


def test_a_recording_says_that_the_geometry_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from var_studio.cli import main

    lmm = vs.load_model(case_generic.save_aya(tmp_path / "aya"))
    run = vs.record(
        lmm,
        noise(60, 40),
        "what?",
        generation=vs.Generation(max_new_tokens=2),
        directory=tmp_path / "r",
    )
    vs.save_session(tmp_path / "s.vars", run)
    assert main(["info", str(tmp_path / "s.vars")]) == 0
    assert "geometry unknown: shown as a strip" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "s.vars"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"][0]["geometry_known"] is False


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("florence2", "encoder-decoder"),
        ("pix2struct", "encoder-decoder"),
        ("kosmos-2.5", "no placeholder"),
        ("git", "no placeholder"),
        ("bert", "not supported"),
        ("no_such_type", "not supported"),
    ],
)
def test_what_has_no_visual_tokens_in_its_decoder_is_refused(
    tmp_path: Path, model_type: str, said: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=said):
        vs.load_model(stub(tmp_path / "m", model_type=model_type))


def test_an_original_internvl_is_told_how_to_convert(tmp_path: Path) -> None:
    """And its code is neither run nor asked for."""
    code = {"AutoModel": "modeling_internvl_chat.InternVLChatModel"}
    with pytest.raises(UnsupportedModelError, match="var-studio convert"):
        vs.load_model(stub(tmp_path / "m", model_type="internvl_chat", auto_map=code))


def test_layers_without_attention_are_refused(tmp_path: Path) -> None:
    """LFM2 mixes attention with convolutions: there would be no row to record."""
    from transformers import (
        Lfm2Config,
        Lfm2VlConfig,
        Lfm2VlForConditionalGeneration,
        Siglip2VisionConfig,
    )

    from tests.models.tiny import build_tokenizer
    from tests.models.video_slot import write

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    config = Lfm2VlConfig(
        vision_config=Siglip2VisionConfig(**small, num_attention_heads=2).to_dict(),
        text_config=Lfm2Config(
            **small, num_attention_heads=4, num_key_value_heads=2, vocab_size=400,
            layer_types=["conv", "full_attention"],
        ).to_dict(),
        projector_hidden_size=32,
    )  # fmt: skip
    folder = tmp_path / "lfm2"
    Lfm2VlForConditionalGeneration(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    write(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "image_processor": {"image_processor_type": "CLIPImageProcessor"},
        },
    )
    with pytest.raises(UnsupportedModelError, match="without self-attention"):
        vs.load_model(folder)


def test_a_config_that_transformers_does_not_take_is_said(tmp_path: Path) -> None:
    folder = stub(tmp_path / "m", model_type="aya_vision", vision_feature_select_strategy="some")
    with pytest.raises(CheckpointError, match="config"):
        vs.load_model(folder)


def test_a_processor_that_wants_another_question_is_said(tmp_path: Path) -> None:
    lmm = vs.load_model(case_generic.save_ovis(tmp_path / "ovis"))
    own = lmm.processor

    class Other:
        image_token = "<image>"
        tokenizer = own.tokenizer
        chat_template = own.chat_template

        def apply_chat_template(self, *args: Any, **options: Any) -> str:
            return str(own.apply_chat_template(*args, **options))

        def __call__(self, **_: Any) -> None:
            raise ValueError("needs boxes")

    lmm.processor = Other()
    with pytest.raises(PromptError, match="needs boxes"):
        lmm.encode(noise(70, 40), "what is it?")


def test_every_type_of_transformers_is_taken_or_refused_in_words() -> None:
    """No type ends in an error of Python's or of transformers'."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    taken = 0
    for model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        try:
            taken += isinstance(family_of({"model_type": model_type}), Family)
        except (UnsupportedModelError, CheckpointError):
            pass
    assert taken > 40
