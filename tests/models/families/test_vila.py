"""VILA-1.5 against its published pipeline, written out; and folders that are no VILA-1.5."""

from __future__ import annotations

import json
import shutil
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
from var_studio.models.checkpoints import resolve
from var_studio.models.skeleton import build_skeleton


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return CASES["vila-1.5"].save(tmp_path / "VILA1.5-13b")


def _projected(features: kit.Array, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """`mlp_downsample`, token by token: a column of blocks of two by two patches, then the next."""
    side = int(len(features) ** 0.5)
    n = (side + 1) // 2
    grid = np.zeros((2 * n, 2 * n, features.shape[1]), dtype=np.float32)
    grid[:side, :side] = features.reshape(side, side, -1)
    tokens = []
    for col in range(0, 2 * n, 2):
        for row in range(0, 2 * n, 2):
            top = grid[row, col], grid[row, col + 1]
            bottom = grid[row + 1, col], grid[row + 1, col + 1]
            tokens.append(np.concatenate([*top, *bottom]))
    x = torch.from_numpy(np.stack(tokens))
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = x * weights["layers.1.weight"] + weights["layers.1.bias"]
    x = x @ weights["layers.2.weight"].T + weights["layers.2.bias"]
    x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    return x @ weights["layers.4.weight"].T + weights["layers.4.bias"]


@torch.inference_mode()
def test_logits_are_those_of_the_published_pipeline(folder: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    picture = Image.fromarray(kit.noise(150, 100))
    lmm = vs.load_model(folder)
    encoded = lmm.encode(picture, QUESTION)
    ours = lmm.hf_model(**encoded.inputs).logits[0]

    tower = AutoModel.from_pretrained(folder / "vision_tower").eval()
    pixels = np.asarray(picture.resize((56, 56)), dtype=np.float32) / 255 * 2 - 1
    seen = tower(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], output_hidden_states=True
    ).hidden_states[-2][0]
    weights = load_file(folder / "mm_projector" / "model.safetensors")
    visual = _projected(seen.numpy(), weights)

    llm = AutoModelForCausalLM.from_pretrained(folder / "llm").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "llm")
    before = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: "
    )
    after = f"\n{QUESTION} ASSISTANT:"
    table = llm.get_input_embeddings()
    first, last = (torch.tensor(tokenizer(text).input_ids) for text in (before, after))
    assert first[0] == last[0] == tokenizer.bos_token_id
    embeddings = torch.cat([table(first), visual, table(last[1:])])
    theirs = llm(inputs_embeds=embeddings[None]).logits[0]

    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (ours[: len(first)] - ours[-len(first) :]).abs().max() > 1e-2
    assert encoded.layout.positions.tolist() == list(range(len(first), len(first) + len(visual)))


def test_its_dtype_and_size_are_known_and_it_answers(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_dtype"] = "torch.bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    checkpoint = resolve(folder)
    assert checkpoint.dtype_name == "bfloat16"
    assert checkpoint.weight_bytes == sum(f.stat().st_size for f in folder.glob("*/*.safetensors"))
    lmm = vs.load_model(folder, dtype="bfloat16")
    assert lmm.hf_model.lm_head.weight.dtype == torch.bfloat16
    run = vs.record(
        lmm,
        Image.new("RGB", (30, 40)),
        "?",
        generation=vs.Generation(max_new_tokens=3),
        directory=tmp_path / "run",
    )
    assert len(run.generated_positions) == 3


def test_its_shapes_are_known_before_its_weights_are_read(folder: Path) -> None:
    skeleton = build_skeleton(folder, torch.float32).state_dict()
    weights = vs.load_model(folder).hf_model.state_dict()
    assert {k: v.shape for k, v in skeleton.items()} == {k: v.shape for k, v in weights.items()}


@pytest.mark.parametrize("part", ["llm", "vision_tower", "mm_projector"])
def test_a_missing_part_is_told(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(vs.VarStudioError, match=part):
        vs.load_model(folder)


def test_a_missing_tensor_is_told(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "mm_projector" / "model.safetensors"
    weights = load_file(path)
    del weights["layers.2.bias"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(vs.VarStudioError, match=r"layers\.2\.bias"):
        vs.load_model(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"s2": True}, "s2"),
        ({"image_aspect_ratio": "dynamic"}, "dynamic"),
        ({"mm_projector_cfg": {"mm_projector_type": "mlp2x_gelu"}}, "mlp2x_gelu"),
        ({"vision_tower_cfg": {"model_type": "intern_vit_6b"}}, "intern_vit_6b"),
    ],
)
def test_other_models_of_the_type_are_refused(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(vs.VarStudioError, match=said):
        vs.load_model(folder)


def test_a_checkpoint_of_the_original_llava_code_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llava_llama"}))
    shutil.copy(folder / "mm_projector" / "model.safetensors", folder)
    with pytest.raises(vs.VarStudioError, match="original LLaVA code"):
        vs.load_model(folder)
