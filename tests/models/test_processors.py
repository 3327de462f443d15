"""Processors of families that own a video slot, without torchvision and with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.utils import is_torchvision_available

from tests.models import video_slot
from tests.models.tiny import noise
from var_studio.models.checkpoints import Checkpoint
from var_studio.models.errors import CheckpointError
from var_studio.models.processors import load_processor

# Of an image of 90 x 60 pixels, worked out by hand from the settings in `video_slot`:
# Qwen2-VL 84 x 56 in cells of 28; InternVL 2 x 2 tiles and a thumbnail of 4; OneVision a base view
# of 2 x 2, then 2 rows of 4 and a newline; SmolVLM 2 x 2 tiles and the whole, of 4.
VISUAL = {"qwen2_vl": 6, "internvl": 20, "llava_onevision": 14, "smolvlm": 20}


def found(folder: Path) -> Checkpoint:
    config = json.loads((folder / "config.json").read_text())
    return Checkpoint(folder.name, folder, config, ())


@pytest.mark.parametrize("nested", [True, False], ids=["nested", "as on the hub"])
@pytest.mark.parametrize("family", video_slot.FAMILIES)
def test_images_work_whether_torchvision_is_there_or_not(
    family: str, nested: bool, tmp_path: Path
) -> None:
    folder = video_slot.save(tmp_path, family, nested=nested)
    if not is_torchvision_available():
        with pytest.raises((ImportError, ValueError), match=r"(?i)torchvision"):
            transformers.AutoProcessor.from_pretrained(folder)
    processor = load_processor(found(folder))
    assert type(processor).__name__ == f"{video_slot.FAMILIES[family][0]}Processor"
    assert processor.chat_template == "{{ messages[0]['content'] }}"
    message = {"role": "user", "content": f"look {processor.image_token} now"}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    assert text == message["content"]
    batch = processor(images=[noise(90, 60)], text=text, return_tensors="pt")
    placeholder = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    assert int((batch["input_ids"] == placeholder).sum()) == VISUAL[family]
    assert batch["pixel_values"].shape[0] > 0


def test_a_class_is_found_by_the_models_type_where_no_file_names_it(tmp_path: Path) -> None:
    folder = video_slot.save(tmp_path, "qwen2_vl", nested=False)
    for name in ("processor_config.json", "preprocessor_config.json"):
        settings = json.loads((folder / name).read_text())
        del settings["processor_class"]
        (folder / name).write_text(json.dumps(settings))
    assert type(load_processor(found(folder))).__name__ == "Qwen2VLProcessor"


def test_other_parts_of_a_wrong_class_are_still_refused(tmp_path: Path) -> None:
    if is_torchvision_available():
        pytest.skip("the ordinary way")
    owner = type(load_processor(found(video_slot.save(tmp_path, "qwen2_vl", nested=True))))
    with pytest.raises((TypeError, ValueError, AttributeError)):
        owner("no image processor", object(), None)


def test_with_torchvision_the_ordinary_way_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = video_slot.save(tmp_path, "qwen2_vl", nested=True)
    asked: list[Any] = []

    def from_pretrained(where: Path, **options: Any) -> Any:
        asked.append((where, options))
        return type("Processor", (), {"image_processor": object()})()

    monkeypatch.setattr("transformers.utils.is_torchvision_available", lambda: True)
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", from_pretrained)
    load_processor(found(folder))
    assert asked == [(folder, {"local_files_only": True, "trust_remote_code": False})]


@pytest.mark.parametrize("damage", ["preprocessor_config.json", "tokenizer.json"])
def test_a_missing_or_damaged_part_is_named(tmp_path: Path, damage: str) -> None:
    folder = video_slot.save(tmp_path, "qwen2_vl", nested=False)
    (folder / damage).write_text("{ not json")
    with pytest.raises(CheckpointError, match=r"processor of .* cannot be loaded.*copy"):
        load_processor(found(folder))
