"""Finding and loading models, and what is said when that fails."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import var_studio as vs
from var_studio.models import loading
from var_studio.models.errors import (
    CheckpointError,
    DeviceError,
    HubUnreachableError,
    LoadCancelledError,
    MissingLibraryError,
    ModelMemoryError,
    ModelNotFoundError,
    UnsupportedModelError,
)


@pytest.fixture
def copy(checkpoint: Any, tmp_path: Path) -> Path:
    """A checkpoint folder to be damaged."""
    return Path(shutil.copytree(checkpoint("crop"), tmp_path / "copy"))


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_demo_model_names_its_own_dimensions() -> None:
    lmm = vs.load_model("demo")
    side = json.loads((Path(lmm.checkpoint) / "var_studio.json").read_text())
    assert lmm.sink_dims == tuple(side["sink_dims"]) and lmm.tau_default == side["tau"]
    assert lmm.sink_dims_origin == "measured for this checkpoint"
    assert (lmm.device.type, lmm.dtype) == ("cpu", torch.float32)
    assert next(lmm.hf_model.parameters()).dtype == torch.float32
    lmm.release()
    with pytest.raises(vs.VarStudioError, match="released"):
        vs.record(lmm, None, "?")


def test_a_folder_loads_with_progress(checkpoint: Any) -> None:
    seen: list[Any] = []
    lmm = vs.load_model(checkpoint("gqa"), dtype="bfloat16", on_event=seen.append)
    assert lmm.dtype == torch.bfloat16 == next(lmm.hf_model.parameters()).dtype
    assert (lmm.n_layers, lmm.n_heads, lmm.hidden_size) == (4, 4, 64)
    assert lmm.sink_dims is None and lmm.sink_dims_origin == "not discovered yet"
    assert seen[0].stage == "download" and seen[-1].stage == "ready"
    weights = [e for e in seen if e.stage == "weights" and e.total]
    assert weights[-1].done == weights[-1].total > 50
    assert not lmm.hf_model.training


def test_a_fingerprint_follows_the_weights(checkpoint: Any, copy: Path) -> None:
    same, other = vs.load_model(copy), vs.load_model(checkpoint("pad"))
    assert same.fingerprint == vs.load_model(checkpoint("crop")).fingerprint
    assert same.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", ["no/such/folder", "./nowhere", "nonsense", "", "a b/c"])
def test_a_name_of_nothing(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no model folder"):
        vs.load_model(name or "nothing")


def test_the_hub_cannot_be_reached() -> None:
    with pytest.raises(HubUnreachableError, match=r"hub cannot be reached.*demo"):
        vs.load_model("some-org/some-model")


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        vs.load_model(tmp_path)
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is a file"):
        vs.load_model(file)


def test_a_damaged_config(copy: Path) -> None:
    (copy / "config.json").write_text("{ not json")
    with pytest.raises(CheckpointError, match="cannot be read"):
        vs.load_model(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="model_type"):
        vs.load_model(copy)


@pytest.mark.parametrize("model_type", ["llama", "bert", "made_up"])
def test_an_unsupported_family(copy: Path, model_type: str) -> None:
    edit(copy / "config.json", model_type=model_type)
    with pytest.raises(UnsupportedModelError, match=f"'{model_type}'.*Choose"):
        vs.load_model(copy)


def test_another_llava_class(copy: Path) -> None:
    edit(copy / "config.json", architectures=["LlavaLlamaForCausalLM"])
    with pytest.raises(UnsupportedModelError, match="llava-hf"):
        vs.load_model(copy)


def test_a_tower_that_is_not_supported(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["vision_config"]["model_type"] = "pixtral"
    edit(copy / "config.json", vision_config=config["vision_config"])
    with pytest.raises(vs.VarStudioError):
        vs.load_model(copy)


def test_weights_that_are_missing(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        vs.load_model(copy)
    (copy / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickled"):
        vs.load_model(copy)


def test_a_shard_that_is_missing(copy: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model.safetensors").rename(copy / "model-1.safetensors")
    with pytest.raises(CheckpointError, match=r"1 of 2 weight files are missing.*model-2"):
        vs.load_model(copy)


def test_a_truncated_shard(copy: Path) -> None:
    shard = copy / "model.safetensors"
    whole = shard.read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 100, 3, 0):
        shard.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match=r"truncated|damaged"):
            vs.load_model(copy)
    shard.write_bytes(struct.pack("<Q", 4) + b"nope")
    with pytest.raises(CheckpointError, match="damaged"):
        vs.load_model(copy)
    shard.write_bytes(whole)
    assert vs.load_model(copy).n_layers == 4


def test_tensors_that_are_missing_are_not_drawn_at_random(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    name = next(key for key in tensors if "q_proj" in key and "language" in key)
    del tensors[name]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"does not hold the whole model.*q_proj"):
        vs.load_model(copy)


def test_a_folder_without_a_processor(copy: Path) -> None:
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(CheckpointError, match="processor"):
        vs.load_model(copy)


def test_a_damaged_side_file(copy: Path) -> None:
    side = copy / "var_studio.json"
    for text in ("nope", '{"tau": 3}', '{"sink_dims": [64]}', '{"sink_dims": ["a"]}'):
        side.write_text(text)
        with pytest.raises(CheckpointError, match=r"var_studio\.json.*correct or remove"):
            vs.load_model(copy)
    side.write_text('{"sink_dims": [3, 7], "tau": 2.5, "rho": 0.7}')
    lmm = vs.load_model(copy)
    assert (lmm.sink_dims, lmm.tau_default, lmm.rho_default) == ((3, 7), 2.5, 0.7)


def test_devices_and_precisions_that_do_not_exist(checkpoint: Any) -> None:
    with pytest.raises(DeviceError, match="Use auto, cuda"):
        vs.load_model(checkpoint("crop"), device="gpu please")
    with pytest.raises(DeviceError, match="no precision"):
        vs.load_model(checkpoint("crop"), dtype="int3")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no device"):
            vs.load_model(checkpoint("crop"), device="cuda")


def test_auto_precision_off_the_cpu_is_the_checkpoints(checkpoint: Any) -> None:
    found = loading.resolve(checkpoint("crop"))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert loading.choose_dtype("auto", found, cpu) == torch.float32
    found.config["dtype"] = "float16"
    assert loading.choose_dtype("auto", found, gpu) == torch.float16
    assert loading.choose_dtype("auto", found, cpu) == torch.float32


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_while_loading(
    checkpoint: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import transformers

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", fail)
    with pytest.raises(ModelMemoryError, match=r"GiB of weights.*16-bit"):
        vs.load_model(checkpoint("crop"))


def test_loading_can_be_stopped(checkpoint: Any) -> None:
    cancel = threading.Event()

    def stop_midway(event: Any) -> None:
        if event.stage == "weights" and event.done > 20:
            cancel.set()

    with pytest.raises(LoadCancelledError):
        vs.load_model(checkpoint("crop"), on_event=stop_midway, cancel=cancel)
    import transformers

    hook = transformers.utils.logging.set_tqdm_hook(None)
    transformers.utils.logging.set_tqdm_hook(hook)
    assert hook is None, "the progress hook is taken off"
    assert vs.load_model(checkpoint("crop")).n_layers == 4


def test_the_catalogue_needs_the_name_and_the_size() -> None:
    from var_studio.models.catalog import look_up

    for name, size, dims in [
        ("llava-hf/llava-1.5-7b-hf", 4096, (1415, 2533)),
        ("llava-hf/llava-1.5-13b-hf", 5120, (2100, 4743)),
        ("Qwen/Qwen2-VL-7B-Instruct", 3584, (458, 2570)),
        ("OpenGVLab/InternVL2-8B", 4096, (3584,)),
        ("lmsys/vicuna-7b-v1.5", 4096, (1415, 2533)),
        ("llava-1.5-hd-13b", 5120, (2100, 4743)),
        ("Efficient-Large-Model/VILA1.5-13b", 5120, (2100, 4743)),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", 3584, (458, 2570)),
    ]:
        entry = look_up([name], size)
        assert entry is not None and entry.sink_dims == dims
        assert (entry.tau, entry.origin) == (20.0, "verified by the paper")
        assert look_up([name], size // 2) is None
    reported = look_up(["Qwen/Qwen3-VL-2B-Instruct"], 2048)
    assert reported is not None and reported.origin == "reported" and reported.tau < 20
    assert look_up(["my-own-model", ""], 4096) is None


@pytest.mark.parametrize("name", [None, 5, "", " ", "n" * 5000, "a\0b", "~nobody-of-this-name"])
def test_a_name_that_is_none(name: Any) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        vs.load_model(name)
    assert len(str(caught.value)) < 300


def without(*libraries: str, ask: str) -> str:
    """What `load_model` says in a Python where some libraries are missing."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({libraries!r}))\n"
        "import var_studio as vs\n"
        f"try: vs.load_model({ask!r})\n"
        "except vs.VarStudioError as error: print(type(error).__name__, error)\n"
        f"print('torch' in sys.modules and sys.modules['torch'] is not None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("library", ["torch", "transformers", "huggingface_hub"])
def test_a_library_that_is_not_installed(library: str) -> None:
    said = without(library, ask="some-org/some-model")
    assert said.startswith(f"MissingLibraryError Models need {library}, which is not installed.")
    assert f"pip install {library}" in said


def test_names_are_looked_at_before_anything_slow() -> None:
    for ask in ("./nowhere", "tests"):
        assert without(ask=ask).splitlines()[-1] == "False"


def test_a_processor_that_needs_another_library(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def fail(*_: Any, **__: Any) -> None:
        raise ImportError("This image processor requires torchvision", name="torchvision")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", fail)
    with pytest.raises(MissingLibraryError, match=r"requires torchvision.*Install it"):
        vs.load_model(copy)
