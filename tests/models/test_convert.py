"""An original InternVL2 becomes a checkpoint that transformers loads, and computes the same."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import var_studio as vs
from tests.models import internvl2_original as original
from tests.models.tiny import noise
from var_studio.cli import main
from var_studio.models import convert_internvl2, shard_copy
from var_studio.models.convert_internvl2 import ConversionError
from var_studio.models.errors import CheckpointError, UnsupportedModelError
from var_studio.models.sentencepiece import build_tokenizer, read_piece_model

EXPECTED = json.loads((original.PIECES / "expected.json").read_text(encoding="utf-8"))
QUESTION = "what is left of the red circle?"


def source(folder: Path, **llm: Any) -> tuple[Path, dict[str, Any], original.Tensors]:
    settings = original.config(**llm)
    weights = original.tensors(settings)
    return original.save(folder / "InternVL2-8B", settings, weights), settings, weights


def compared(
    lmm: Any, settings: Any, weights: Any, image: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the converted model and of the plain forward pass over the original tensors."""
    encoded = lmm.encode(image, QUESTION)
    with torch.inference_mode():
        ours = lmm.hf_model(**encoded.inputs).logits[0]
        ids, pixels = encoded.inputs["input_ids"][0], encoded.inputs["pixel_values"]
        token = lmm.processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        theirs = original.logits(settings, weights, ids, pixels, token)
    return ours, theirs


@pytest.mark.parametrize(
    "llm",
    [
        {},
        {"bias": True, "rope_scaling": {"type": "linear", "factor": 3.0}, "rope_theta": 10000},
        {"num_key_value_heads": 8, "rope_scaling": None},
        {"tower": original.SIX_BILLION},
    ],
    ids=["as InternVL2-8B", "biases, linear scaling", "as many keys as queries", "the 6B tower"],
)
def test_logits_are_those_of_the_original(tmp_path: Path, llm: dict[str, Any]) -> None:
    folder, settings, weights = source(tmp_path, **llm)
    told: list[tuple[int, int]] = []
    done = vs.convert(folder, tmp_path / "new", on_bytes=lambda *n: told.append(n))
    assert done.bytes == sum(w.numel() * w.element_size() for w in weights.values())
    assert told[-1] == (done.bytes, done.bytes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["InternVL2-8B", "new"]
    lmm = vs.load_model(tmp_path / "new")
    assert type(lmm.hf_model).__name__ == "InternVLForConditionalGeneration"
    for image in (noise(150, 100), noise(30, 29)):
        ours, theirs = compared(lmm, settings, weights, image)
        assert len(ours) > 20 and float(theirs.std()) > 0.3
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=0)


def test_positions_beyond_the_context_are_rotated_as_the_original_does(tmp_path: Path) -> None:
    """Dynamic scaling acts only there; the converted model keeps that."""
    folder, settings, weights = source(tmp_path)
    vs.convert(folder, tmp_path / "new")
    model = vs.load_model(tmp_path / "new").hf_model
    ids = torch.randint(3, 300, (700,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = model(input_ids=ids[None]).logits[0]
        theirs = original.logits(settings, weights, ids)
        settings["llm_config"]["rope_scaling"] = None
        unscaled = original.logits(settings, weights, ids)
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=0)
    assert float((unscaled - theirs).abs().max()) > 0.1


@pytest.mark.parametrize("packed", ["wqkv", "qkv"])
def test_another_order_of_the_packed_rows_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str
) -> None:
    """Negative control: the comparison above fails if a packed matrix is cut otherwise."""
    if packed == "wqkv":  # all queries, then all keys, then all values
        monkeypatch.setattr(
            convert_internvl2, "_wqkv_rows",
            lambda stored, llm: (((0, 64),), ((64, 80),), ((80, 96),)),
        )  # fmt: skip
    else:
        monkeypatch.setattr(
            convert_internvl2, "_thirds",
            lambda stored: (((24, 48),), ((0, 24),), ((48, 72),)),
        )  # fmt: skip
    folder, settings, weights = source(tmp_path)
    vs.convert(folder, tmp_path / "new")
    ours, theirs = compared(vs.load_model(tmp_path / "new"), settings, weights, noise(60, 60))
    assert float((ours - theirs).abs().max()) > 0.1


def test_what_it_writes_is_asked_as_the_original(tmp_path: Path) -> None:
    """Chat format, special tokens, ends of an answer, tiles, sink dimensions of the name."""
    folder, settings, _ = source(tmp_path)
    vs.convert(folder, tmp_path / "new")
    lmm = vs.load_model(tmp_path / "new")
    encoded = lmm.encode(noise(150, 100), QUESTION)
    tokenizer = lmm.processor.tokenizer
    # 150 x 100 pixels: 3 x 2 tiles and a thumbnail, of 2 x 2 tokens.
    assert [view.name for view in encoded.layout.views][-2:] == ["tile 2,3", "thumbnail"]
    assert encoded.layout.count == 7 * 4
    ids = [token.id for token in encoded.tokens]
    system = (
        "<|im_start|>system\n你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，"
        "英文名叫InternVL, 是一个有用无害的人工智能助手。<|im_end|>"
    )
    images = "<img>" + "<IMG_CONTEXT>" * 28 + "</img>"
    text = f"<s>{system}<|im_start|>user\n{images}\n{QUESTION}<|im_end|><|im_start|>assistant\n"
    assert tokenizer.decode(ids) == text
    assert ids[0] == 1
    # Special tokens keep the ids that the embeddings have.
    first = 360 - len(original.SPECIAL)
    for index, token in enumerate([*original.SPECIAL, *original.BEYOND], first):
        assert tokenizer.convert_tokens_to_ids(token) == index
    ends = lmm.hf_model.generation_config.eos_token_id
    assert tokenizer.convert_ids_to_tokens(ends) == ["<|im_end|>", "</s>"]
    saved = json.loads((tmp_path / "new" / "config.json").read_text())
    assert saved["_name_or_path"] == settings["_name_or_path"]
    separators = [t.text for t in encoded.tokens if t.role == "visual"]
    assert separators[0] == "<img>" and separators[-1] == "</img>"


@pytest.mark.parametrize("name", ["plain", "prefixed"])
def test_texts_are_cut_as_sentencepiece_cuts_them(name: str) -> None:
    """Ids made once by sentencepiece itself, for two model files trained for this test."""
    model = read_piece_model(original.PIECES / f"{name}.model")
    tokenizer = build_tokenizer(model, {})
    assert tokenizer.get_vocab_size() == EXPECTED[name]["size"]
    for case in EXPECTED[name]["texts"]:
        assert tokenizer.encode(case["text"]).ids == case["ids"], case["text"]


def test_precision_is_kept(tmp_path: Path) -> None:
    settings = original.config()
    weights = {k: v.to(torch.bfloat16) for k, v in original.tensors(settings).items()}
    folder = original.save(tmp_path / "old", settings, weights)
    vs.convert(folder, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["dtype"] == "bfloat16"
    lmm = vs.load_model(tmp_path / "new", dtype="bfloat16")
    theirs = weights["mlp1.1.weight"]
    assert torch.equal(lmm.hf_model.model.multi_modal_projector.linear_1.weight, theirs)


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "config.json").read_text())
    change(document)
    original.write(folder / "config.json", document)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda c: c.update(model_type="llava"), UnsupportedModelError, "'llava'"),
        (
            lambda c: c["llm_config"].update(architectures=["Qwen2ForCausalLM"]),
            UnsupportedModelError,
            "Qwen2ForCausalLM",
        ),
        (lambda c: c.update(ps_version="v1"), UnsupportedModelError, "ps_version"),
        (lambda c: c.update(template="vicuna"), UnsupportedModelError, "'vicuna'"),
        (lambda c: c["llm_config"].update(num_hidden_layers=3), CheckpointError, "missing"),
        (lambda c: c["llm_config"].update(num_hidden_layers=1), CheckpointError, "does not go"),
        (lambda c: c["llm_config"].update(num_key_value_heads=4), CheckpointError, "wqkv"),
        (lambda c: c["llm_config"].update(vocab_size=400), CheckpointError, "tok_embeddings"),
    ],
)
def test_a_wrong_source_is_refused_and_leaves_nothing(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], error: type, said: str
) -> None:
    folder, _, _ = source(tmp_path)
    _edit(folder, change)
    with pytest.raises(error, match=said):
        vs.convert(folder, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    folder, _, _ = source(tmp_path)
    data = (folder / "tokenizer.model").read_bytes()
    (folder / "tokenizer.model").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        vs.convert(folder, tmp_path / "new")


def test_a_full_disk_or_a_stop_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = source(tmp_path)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vs.convert(folder, tmp_path / "new", on_bytes=stop)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shard_copy, "_copy", full)
        with pytest.raises(ConversionError, match="disk is full"):
            vs.convert(folder, tmp_path / "new")
    little = SimpleNamespace(free=1000)
    monkeypatch.setattr(convert_internvl2.shutil, "disk_usage", lambda path: little)
    with pytest.raises(ConversionError, match="are free"):
        vs.convert(folder, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _, _ = source(tmp_path)
    assert main(["convert", str(folder), str(tmp_path / "new"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["folder"] == str(tmp_path / "new")
    assert said.err.splitlines() == ["Reading the checkpoint", "Writing weights"]
    assert main(["convert", str(folder), str(tmp_path / "new")]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "b")]) == 2
    assert main(["convert", str(folder), str(tmp_path / "no" / "b")]) == 2
    assert main(["convert", "demo", str(tmp_path / "b")]) == 2
    assert "InternVL2" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nosuch", "none/such"])
def test_a_source_that_is_not_there_is_answered_with_what_can_be_converted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """Not with the built-in model, which is no InternVL2. A hub id: where there is no hub."""
    monkeypatch.chdir(tmp_path)
    assert main(["convert", name, "x"]) == 2
    said = capsys.readouterr().err
    assert name in said and "InternVL2 with InternLM2, such as OpenGVLab/InternVL2-8B" in said
    assert "demo" not in said
    assert list(tmp_path.iterdir()) == []
