"""Damaged checkpoints, odd pictures, no memory: a clear error, and the model works afterwards.

What each family makes of bad prompts and shapes is in `families/test_bad_input.py`; what a run
keeps when it fails, in `test_stopping.py`; what becomes of a file's bytes, in
`unit/recording/test_images.py`.
"""

from __future__ import annotations

import io
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import var_studio as vs
from tests.models.tiny import QUESTION, noise
from var_studio.models.errors import CheckpointError, ModelMemoryError, UnsupportedModelError
from var_studio.recording.images import ImageError


@pytest.fixture
def sharded(checkpoint: Any, tmp_path: Path) -> Path:
    """A checkpoint in three shards, to be damaged."""
    folder = Path(shutil.copytree(checkpoint("crop"), tmp_path / "sharded"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {}
    for number, names in enumerate(np.array_split(sorted(tensors), 3), 1):
        file = f"model-{number:05}-of-00003.safetensors"
        held = {str(name): tensors[str(name)] for name in names}
        save_file(held, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(held, file)
    document = {"metadata": {"total_size": 0}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document))
    return folder


def logits(lmm: Any) -> torch.Tensor:
    with torch.inference_mode():
        return lmm.hf_model(**lmm.encode(noise(60, 60), QUESTION).inputs).logits


def test_shards_hold_the_same_model(sharded: Path, loaded: Any) -> None:
    assert torch.equal(logits(vs.load_model(sharded)), logits(loaded("crop")))


def missing(shard: Path) -> None:
    shard.unlink()


def truncated(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-100])


def cut_in_the_header(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:20])


def overwritten(shard: Path) -> None:
    shard.write_bytes(b"<!DOCTYPE html> the page of a server that was asked too often")


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("damage", [missing, truncated, cut_in_the_header, overwritten])
def test_a_damaged_shard_is_named_and_its_repair_is_enough(
    sharded: Path, damage: Callable[[Path], None], number: int
) -> None:
    shard = sharded / f"model-{number:05}-of-00003.safetensors"
    whole = shard.read_bytes()
    damage(shard)
    with pytest.raises(CheckpointError, match=rf"(?i){shard.name}.*(copy or download)"):
        vs.load_model(sharded)
    shard.write_bytes(whole)
    assert vs.load_model(sharded).n_layers == 4


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"model_type": "made_up", "architectures": ["MadeUp"]}, UnsupportedModelError, "made_up"),
        ({"model_type": "bert"}, UnsupportedModelError, "bert"),
        ({"text_config": {"model_type": "made_up"}}, CheckpointError, "cannot be loaded"),
        ({"text_config": 5}, CheckpointError, "text_config"),
        ({"model_type": ["llava"]}, CheckpointError, "does not name a model_type"),
    ],
)
def test_configs_of_nothing_we_know(
    checkpoint: Any, tmp_path: Path, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    folder = Path(shutil.copytree(checkpoint("crop"), tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    for use in (vs.load_model, vs.forecast):
        with pytest.raises(error, match=said) as caught:
            use(folder)
        assert caught.value.next_step, "says what to do"  # type: ignore[attr-defined]


@pytest.mark.parametrize("when", ["weights", "moving them"])
def test_no_memory_at_load_leaves_the_next_load_alone(
    checkpoint: Any, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    import transformers

    place = transformers.LlavaForConditionalGeneration
    with monkeypatch.context() as patch:

        def fail(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

        patch.setattr(place, "__init__" if when == "weights" else "eval", fail)
        with pytest.raises(ModelMemoryError, match=r"Not enough memory.*GiB of weights"):
            vs.load_model(checkpoint("crop"))
    assert logits(vs.load_model(checkpoint("crop"))).isfinite().all()


# ------------------------------------------------------------------------------ pictures

BASE = np.asarray(noise(64, 48, seed=5))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated() -> tuple[bytes, Image.Image]:
    """Lies on its side in the file, with a tag that says so."""
    image = Image.fromarray(BASE)
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif), image


def grey() -> tuple[bytes, Image.Image]:
    image = Image.fromarray(BASE[:, :, 0])
    return encoded(image, "PNG"), Image.fromarray(np.repeat(BASE[:, :, :1], 3, axis=2))


def transparent() -> tuple[bytes, Image.Image]:
    """The left half shows the white beneath it."""
    alpha = np.full(BASE.shape[:2], 255, np.uint8)
    alpha[:, :32] = 0
    seen = BASE.copy()
    seen[:, :32] = 255
    return encoded(Image.fromarray(np.dstack([BASE, alpha])), "PNG"), Image.fromarray(seen)


def sixteen_bits() -> tuple[bytes, Image.Image]:
    """Every level of eight bits, 257 times as large."""
    wide = Image.fromarray(BASE[:, :, 0].astype(np.uint16) * 257)
    return encoded(wide, "PNG"), Image.fromarray(np.repeat(BASE[:, :, :1], 3, axis=2))


def cmyk() -> tuple[bytes, Image.Image]:
    """Without black, ink is what is missing of the light."""
    inks = np.dstack([255 - BASE, np.zeros(BASE.shape[:2], np.uint8)])
    return encoded(Image.fromarray(inks, "CMYK"), "TIFF"), Image.fromarray(BASE)


def animated() -> tuple[bytes, Image.Image]:
    frames = [Image.fromarray(BASE), noise(64, 48, seed=6)]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), frames[0]


@pytest.mark.parametrize("kind", [rotated, grey, transparent, sixteen_bits, cmyk, animated])
def test_odd_pictures_reach_the_model_as_they_look(
    loaded: Any, kind: Callable[[], tuple[bytes, Image.Image]]
) -> None:
    given, looks = kind()
    lmm = loaded("crop")
    ours, plain = lmm.encode(given, QUESTION), lmm.encode(looks, QUESTION)
    assert ours.layout.image_sizes == plain.layout.image_sizes == ((64, 48),)
    assert torch.equal(ours.inputs["pixel_values"], plain.inputs["pixel_values"])
    other = lmm.encode(noise(64, 48, seed=9), QUESTION).inputs["pixel_values"]
    assert not torch.equal(ours.inputs["pixel_values"], other)


def test_corrupt_pictures_keep_the_model_and_the_recordings(loaded: Any, tmp_path: Path) -> None:
    lmm = loaded("gqa")
    before = logits(lmm)
    options = {"generation": vs.Generation(max_new_tokens=2)}
    run = vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "run", **options)
    whole = encoded(noise(200, 200), "PNG")
    header = whole[:33]
    bomb = header[:16] + (20_000).to_bytes(4, "big") * 2 + header[24:29]
    bomb += zlib.crc32(bomb[12:29]).to_bytes(4, "big") + whole[33:]
    for damaged, said in [
        (whole[: len(whole) // 2], "damaged or cut short"),
        (b"not a picture at all", "not an image"),
        (b"", "empty"),
        (bomb, "too large"),
    ]:
        with pytest.raises(ImageError, match=said):
            vs.record(lmm, damaged, QUESTION, directory=tmp_path / "none", **options)
    assert not (tmp_path / "none").exists() or not any((tmp_path / "none").iterdir())
    assert vs.record(
        lmm, noise(60, 60), QUESTION, directory=tmp_path / "again", **options
    ).text == run.text  # fmt: skip
    assert torch.equal(logits(lmm), before)
    assert len(run.attention(query=0)) == lmm.n_layers, "what was recorded is still read"
