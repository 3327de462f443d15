"""InternVL2-8B and its like: from the original repository to the class that transformers has.

The original is an `InternVLChatModel` around InternLM2, which only its own code can load. The same
numbers are an `InternVLForConditionalGeneration` around Llama: InternLM2 packs query, key and
value of each key head into one matrix `wqkv`, laid out as (key heads, queries of a group + key +
value, head size); its tower packs them as three blocks. Nothing of the repository's code is run.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio.errors import VarStudioError
from var_studio.models.checkpoints import Checkpoint, inspect_folder, resolve
from var_studio.models.errors import (
    CheckpointError,
    HubUnreachableError,
    ModelNameError,
    UnsupportedModelError,
)
from var_studio.models.internvl2_processor import write_processor
from var_studio.models.shard_copy import Part, Rows, Stored, read_header, write_shard

OnBytes = Callable[[int, int], None]

_CONVERTIBLE = "an original InternVL2 with InternLM2, such as OpenGVLab/InternVL2-8B"
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_LAYER = r"(?P<layer>\d+)"
_TOWER, _DECODER = "model.vision_tower", "model.language_model"
_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (rf"{old}(?P<end>\.weight|\.bias|)", new)
    for old, new in [
        (r"vision_model\.embeddings\.class_embedding", (f"{_TOWER}.embeddings.cls_token",)),
        (
            r"vision_model\.embeddings\.position_embedding",
            (f"{_TOWER}.embeddings.position_embeddings",),
        ),
        (
            r"vision_model\.embeddings\.patch_embedding",
            (f"{_TOWER}.embeddings.patch_embeddings.projection",),
        ),
        *(
            (
                rf"vision_model\.encoder\.layers\.{_LAYER}\.{old}",
                tuple(f"{_TOWER}.encoder.layer.{{layer}}.{name}" for name in new.split()),
            )
            for old, new in [
                (r"attn\.qkv", "attention.q_proj attention.k_proj attention.v_proj"),
                (r"attn\.proj", "attention.projection_layer"),
                (r"attn\.q_norm", "attention.q_norm"),
                (r"attn\.k_norm", "attention.k_norm"),
                (r"norm1", "layernorm_before"),
                (r"norm2", "layernorm_after"),
                (r"ls1", "lambda_1"),
                (r"ls2", "lambda_2"),
                (r"mlp\.fc1", "mlp.fc1"),
                (r"mlp\.fc2", "mlp.fc2"),
            ]
        ),
        *(
            (
                rf"language_model\.model\.layers\.{_LAYER}\.{old}",
                tuple(f"{_DECODER}.layers.{{layer}}.{name}" for name in new.split()),
            )
            for old, new in [
                (r"attention\.wqkv", "self_attn.q_proj self_attn.k_proj self_attn.v_proj"),
                (r"attention\.wo", "self_attn.o_proj"),
                (r"feed_forward\.w1", "mlp.gate_proj"),
                (r"feed_forward\.w2", "mlp.down_proj"),
                (r"feed_forward\.w3", "mlp.up_proj"),
                (r"attention_norm", "input_layernorm"),
                (r"ffn_norm", "post_attention_layernorm"),
            ]
        ),
        (r"language_model\.model\.tok_embeddings", (f"{_DECODER}.embed_tokens",)),
        (r"language_model\.model\.norm", (f"{_DECODER}.norm",)),
        (r"language_model\.output", ("lm_head",)),
        (r"mlp1\.0", ("model.multi_modal_projector.layer_norm",)),
        (r"mlp1\.1", ("model.multi_modal_projector.linear_1",)),
        (r"mlp1\.3", ("model.multi_modal_projector.linear_2",)),
    ]
)
# Tables that some versions saved; they follow from the config.
_NOT_NEEDED = re.compile(r".*\.rotary_emb\.inv_freq")


class ConversionError(VarStudioError):
    """A conversion that cannot be written where it was asked for."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A finished conversion: its folder, its number of tensors, and bytes of weights."""

    folder: Path
    tensors: int
    bytes: int


def convert(
    source: str | Path, destination: str | Path, *, on_bytes: OnBytes | None = None
) -> Converted:
    """Convert an original InternVL2 checkpoint with InternLM2 (a folder or hub id) to a new folder.

    Weights are copied shard by shard through a buffer; the folder appears only once it is whole.
    `on_bytes(done, total)` follows the writing and may raise to stop it.

    Raises ModelNotFoundError or HubUnreachableError for a source that is not there, CheckpointError
    for a damaged one, UnsupportedModelError for another model, ConversionError for a destination
    that exists or cannot be written.
    """
    try:
        checkpoint = resolve(source)
    except ModelNameError as error:
        raise ModelNameError(error.what, f"Give the folder or hub id of {_CONVERTIBLE}.") from error
    except HubUnreachableError as error:
        next_step = f"Check the network, or give the folder of {_CONVERTIBLE}."
        raise HubUnreachableError(error.what, next_step) from error
    settings = checkpoint.config
    _check_source(checkpoint)
    target = Path(os.path.expanduser(destination)).absolute()
    if os.path.lexists(target):
        raise ConversionError(f"{target} exists.", "Name a folder that does not exist yet.")
    if not target.parent.is_dir():
        raise ConversionError(f"There is no folder {target.parent}.", "Make it first.")
    config = _native_config(checkpoint)
    shards = {
        shard: _parts(read_header(shard), settings["llm_config"]) for shard in checkpoint.shards
    }
    parts = [part for shard in shards.values() for part in shard]
    _check_parts(parts, config)
    config.dtype = _common_dtype(parts)
    total = sum(part.size for part in parts)
    _check_space(target.parent, total)
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        ids = write_processor(checkpoint, partial)
        config.image_token_id = ids.image
        _write_config(checkpoint, config, ids.end_of_turn, partial)
        _write_weights(shards, partial, total, on_bytes)
        inspect_folder(partial, name=target.name)
        partial.chmod(0o777 & ~_umask())
        partial.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Converted(target, len(parts), total)


def _check_source(checkpoint: Checkpoint) -> None:
    """Refuse whatever the native class would compute otherwise."""
    config = checkpoint.config
    if config["model_type"] != "internvl_chat":
        raise UnsupportedModelError(
            f"{checkpoint.name} is of type {config['model_type']!r}, not an original InternVL "
            "repository (internvl_chat).",
            f"Give the folder or hub id of {_CONVERTIBLE}.",
        )
    llm, vision = config.get("llm_config") or {}, config.get("vision_config") or {}
    if (llm.get("architectures") or [None])[0] != "InternLM2ForCausalLM":
        raise UnsupportedModelError(
            f"The language model of {checkpoint.name} is {llm.get('architectures')}, "
            "not InternLM2.",
            "Choose an InternVL2 with InternLM2 (2B, 8B, 20B, 26B), or a checkpoint on the hub "
            "whose name ends in -hf.",
        )
    scaling = llm.get("rope_scaling") or {}
    unlike = {
        "ps_version (it has transposed tokens)": config.get("ps_version", "v1") == "v2",
        "select_layer": config.get("select_layer", -1) == -1,
        "pad2square": not config.get("pad2square", False),
        "use_thumbnail": bool(config.get("use_thumbnail", False))
        or not config.get("dynamic_image_size", False),
        "rope_pos_id_version": llm.get("rope_pos_id_version", "default") == "default",
        "rope_scaling": scaling.get("type", "linear") in ("linear", "dynamic"),
        "layer_norm_eps": not vision.get("qk_normalization", True)
        or vision.get("layer_norm_eps", 1e-6) == 1e-6,
    }
    wrong = [name for name, fits in unlike.items() if not fits]
    if wrong:
        raise UnsupportedModelError(
            f"{checkpoint.name} has a {wrong[0]} that the class of transformers does not know.",
            "Convert an InternVL2 as it was published.",
        )


def _native_config(checkpoint: Checkpoint) -> Any:
    from transformers import InternVLConfig, InternVLVisionConfig, LlamaConfig

    config = checkpoint.config
    llm, vision = config["llm_config"], config["vision_config"]
    scaling = llm.get("rope_scaling") or {}
    rope = {"rope_type": scaling.get("type", "default"), "rope_theta": llm.get("rope_theta", 1e4)}
    if scaling:
        rope["factor"] = float(scaling["factor"])
    try:
        text = LlamaConfig(
            **_given(
                llm,
                "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                "num_attention_heads", "hidden_act", "max_position_embeddings",
                "initializer_range", "rms_norm_eps",
            ),
            num_key_value_heads=_key_heads(llm),
            attention_bias=bool(llm.get("bias", True)),
            mlp_bias=False,
            rope_parameters=rope,
            bos_token_id=llm.get("bos_token_id", 1),
            eos_token_id=llm.get("eos_token_id", 2),
            pad_token_id=llm.get("pad_token_id", 0),
            tie_word_embeddings=bool(llm.get("tie_word_embeddings", False)),
        )  # fmt: skip
        tower = InternVLVisionConfig(
            **_given(
                vision,
                "num_channels", "patch_size", "image_size", "hidden_size", "num_attention_heads",
                "intermediate_size", "num_hidden_layers", "hidden_act", "initializer_range",
            ),
            attention_bias=bool(vision.get("qkv_bias", False)),
            use_qk_norm=bool(vision.get("qk_normalization", True)),
            norm_type=vision.get("norm_type", "rms_norm"),
            layer_norm_eps=vision.get("layer_norm_eps", 1e-6),
            use_absolute_position_embeddings=True,
        )  # fmt: skip
        native = InternVLConfig(
            vision_config=tower,
            text_config=text,
            downsample_ratio=config.get("downsample_ratio", 0.5),
            tie_word_embeddings=text.tie_word_embeddings,
            architectures=["InternVLForConditionalGeneration"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The config.json of {checkpoint.name} cannot be used ({error}).",
            "Copy or download it again.",
        ) from error
    return native


def _given(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: config[name] for name in names if name in config}


def _key_heads(llm: Mapping[str, Any]) -> int:
    return int(llm.get("num_key_value_heads") or llm["num_attention_heads"])


def _parts(tensors: list[Stored], llm: Mapping[str, Any]) -> list[Part]:
    """What each tensor of a weight file becomes. Raises CheckpointError for an unknown one."""
    parts: list[Part] = []
    for stored in tensors:
        if _NOT_NEEDED.fullmatch(stored.name):
            continue
        names = _new_names(stored.name)
        if len(names) == 1:
            parts.append(Part(names[0], stored))
            continue
        packed = ".wqkv." in stored.name
        rows = _wqkv_rows(stored, llm) if packed else _thirds(stored)
        parts += [Part(name, stored, cut) for name, cut in zip(names, rows, strict=True)]
    return parts


def _new_names(old: str) -> list[str]:
    for pattern, new in _NAMES:
        match = re.fullmatch(pattern, old)
        if match is not None:
            layer = match.groupdict().get("layer", "")
            return [name.format(layer=layer) + match["end"] for name in new]
    raise CheckpointError(
        f"The checkpoint holds a tensor {old}, which no InternVL2 with InternLM2 has.",
        "Convert an InternVL2 as it was published, not a fine-tuned adapter.",
    )


def _wqkv_rows(stored: Stored, llm: Mapping[str, Any]) -> tuple[Rows, Rows, Rows]:
    """Rows of query, key and value in (key heads, queries of a group + key + value, head size)."""
    heads, keys = int(llm["num_attention_heads"]), _key_heads(llm)
    size = int(llm["hidden_size"]) // heads
    group = heads // keys
    if stored.shape[0] != keys * (group + 2) * size:
        raise _wrong_shape(stored.name, stored.shape)
    block = (group + 2) * size
    starts = range(0, stored.shape[0], block)
    return (
        tuple((start, start + group * size) for start in starts),
        tuple((start + group * size, start + (group + 1) * size) for start in starts),
        tuple((start + (group + 1) * size, start + block) for start in starts),
    )


def _thirds(stored: Stored) -> tuple[Rows, Rows, Rows]:
    if stored.shape[0] % 3:
        raise _wrong_shape(stored.name, stored.shape)
    third = stored.shape[0] // 3
    return ((0, third),), ((third, 2 * third),), ((2 * third, 3 * third),)


def _check_parts(parts: list[Part], config: Any) -> None:
    """Compare names and shapes with those of the class itself, before a byte is written."""
    import torch
    from transformers import InternVLForConditionalGeneration

    with torch.device("meta"):
        skeleton = InternVLForConditionalGeneration(config)
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    if config.tie_word_embeddings:
        expected.pop("lm_head.weight", None)
    for part in parts:
        shape = expected.pop(part.name, None)
        if shape is None:
            raise CheckpointError(
                f"The checkpoint holds {part.source.name}, which does not go with its config.json.",
                "Copy or download the checkpoint again.",
            )
        if shape != part.shape:
            raise _wrong_shape(part.source.name, part.source.shape)
    if expected:
        raise CheckpointError(
            f"The checkpoint is not whole: {len(expected)} tensors are missing, e.g. that for "
            f"{min(expected)}.",
            "Copy or download the checkpoint again.",
        )


def _wrong_shape(name: str, shape: tuple[int, ...]) -> CheckpointError:
    return CheckpointError(
        f"{name} is of shape {shape}, which does not go with config.json.",
        "Copy or download the checkpoint again.",
    )


def _common_dtype(parts: list[Part]) -> str:
    dtype, _ = Counter(part.source.dtype for part in parts).most_common(1)[0]
    return _DTYPES.get(dtype, "float32")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConversionError(
            f"The weights take {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free in "
            f"{folder}.",
            "Free some space, or name a folder on another disk.",
        )


def _write_config(checkpoint: Checkpoint, config: Any, end_of_turn: int, folder: Path) -> None:
    from transformers import GenerationConfig

    config.save_pretrained(folder)
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    # The name of a checkpoint tells its sink dimensions.
    document["_name_or_path"] = checkpoint.config.get("_name_or_path") or checkpoint.name
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    text = config.text_config
    # Answers end with <|im_end|>; </s> is the end of a text.
    GenerationConfig(
        bos_token_id=text.bos_token_id,
        eos_token_id=[end_of_turn, text.eos_token_id],
        pad_token_id=text.pad_token_id,
    ).save_pretrained(folder)


def _write_weights(
    shards: Mapping[Path, list[Part]], folder: Path, total: int, on_bytes: OnBytes | None
) -> None:
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if on_bytes is not None:
            on_bytes(done, total)

    many = len(shards) > 1
    where: dict[str, str] = {}
    for number, (source, parts) in enumerate(shards.items(), 1):
        name = (
            f"model-{number:05d}-of-{len(shards):05d}.safetensors" if many else "model.safetensors"
        )
        write_shard(source, folder / name, parts, tell)
        where |= {part.name: name for part in parts}
    if many:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _unwritable(target: Path, error: OSError) -> ConversionError:
    if error.errno == errno.ENOSPC:
        return ConversionError(
            f"The disk is full: {target} was not written.",
            "Free some space, or name a folder on another disk.",
        )
    return ConversionError(
        f"{target} cannot be written ({error.strerror or error}).",
        "Name a folder that you may write to.",
    )
