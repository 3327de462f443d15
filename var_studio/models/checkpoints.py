"""From a name to a checked checkpoint folder: shipped model, local folder or hub repository.

Files are looked at before torch is imported or memory is taken, so that a half-copied folder is
told apart from an unsupported one, and both within a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio.assets import resource
from var_studio.models.errors import CheckpointError, ModelNameError
from var_studio.models.hub import OnBytes, download
from var_studio.models.vila_assembly import PARTS, is_vila

DEMO = "demo"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_EDGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds a config and whole weight files.

    `revision` is the commit on the hub where known; `config` is its config.json as it stands.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    shards: tuple[Path, ...]
    revision: str | None = None

    @property
    def weight_bytes(self) -> int:
        """Size of all weight files."""
        return sum(shard.stat().st_size for shard in self.shards)

    @property
    def dtype_name(self) -> str:
        """Precision that the config names for the weights, e.g. "bfloat16"; "" where it does not.

        Older configs say "torch_dtype", VILA's "model_dtype", and some name it for the language
        model only.
        """
        text = self.config.get("text_config") or {}
        for config in (self.config, text if isinstance(text, dict) else {}):
            for key in ("dtype", "torch_dtype", "model_dtype"):
                if config.get(key):
                    return str(config[key]).removeprefix("torch.")
        return ""

    def names(self) -> list[str]:
        """Every name the checkpoint goes by: the catalogue is searched for each."""
        text = self.config.get("text_config") or {}
        return [
            self.name,
            self.folder.name,
            str(self.config.get("_name_or_path", "")),
            str(text.get("_name_or_path", "") if isinstance(text, dict) else ""),
        ]

    def fingerprint(self) -> str:
        """SHA-256 over the config and each weight file's size, header and both ends.

        The ends (1 MiB each) stand for the whole: hashing 14 GB would take longer than loading it.
        """
        digest = hashlib.sha256((self.folder / "config.json").read_bytes())
        for shard in self.shards:
            size = shard.stat().st_size
            digest.update(f"{shard.name}:{size}".encode())
            with shard.open("rb") as file:
                length = struct.unpack("<Q", file.read(8))[0]
                digest.update(file.read(length + _EDGE))
                file.seek(max(0, size - _EDGE))
                digest.update(file.read())
        return digest.hexdigest()


def resolve(
    name_or_path: str | Path,
    on_bytes: OnBytes | None = None,
    *,
    weights: bool = True,
    code: bool = False,
) -> Checkpoint:
    """Find and check a checkpoint: "demo", a folder, or a hub id such as "org/name".

    `on_bytes(done, total)` follows a download and may raise to stop it; with `code` a repository's
    Python files are downloaded too. Without `weights` they are not looked at. Raises
    ModelNotFoundError, HubUnreachableError or CheckpointError.
    """
    name = str(name_or_path).strip() if isinstance(name_or_path, str | os.PathLike) else ""
    if name == DEMO:
        return inspect_folder(resource("demo-model"), name=DEMO, weights=weights)
    path = Path(os.path.expanduser(name))
    if name and os.path.isdir(path):
        return inspect_folder(path.resolve(), name=path.resolve().name, weights=weights)
    if os.path.isfile(path):
        raise CheckpointError(
            f"{path} is a file, not a checkpoint folder.",
            "Choose the folder that holds config.json and the .safetensors files.",
        )
    if not _HUB_ID.fullmatch(name) or name.startswith(("./", "../", "~")):
        raise ModelNameError(
            f"There is no model folder {_short(name or name_or_path)}.",
            'Give "demo", an existing folder, or a hub id such as llava-hf/llava-1.5-7b-hf.',
        )
    return _from_hub(name, on_bytes, weights, code)


def _short(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 100 else text[:99] + "…"


def inspect_folder(
    folder: Path, *, name: str, revision: str | None = None, weights: bool = True
) -> Checkpoint:
    """Check a folder's config and, with `weights`, its weight files. Raises CheckpointError."""
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise CheckpointError(
            f"{folder} is not a checkpoint: it has no config.json.",
            "Choose the folder that holds config.json and the .safetensors files.",
        )
    config = _read_json(config_path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise CheckpointError(
            f"{config_path} does not name a model_type.",
            "It is not a transformers checkpoint: convert it, or choose another folder.",
        )
    shards: tuple[Path, ...] = ()
    if weights:
        shards = _shards_of_parts(folder) if is_vila(config) else _shards(folder)
    for shard in shards:
        _check_shard(shard)
    return Checkpoint(name, folder, config, shards, revision)


def _shards(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        document = _read_json(index)
        try:
            names = sorted(set(document["weight_map"].values()))
        except (KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(
                f"{index} has no weight_map.", "Copy or download the checkpoint again."
            ) from error
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{len(missing)} of {len(names)} weight files are missing from {folder}: "
                f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}.",
                "Copy or download the checkpoint again.",
            )
        return tuple(folder / name for name in names)
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    if any(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(
            f"{folder} holds pickled weights (.bin) only, which can run code when opened.",
            "Save the checkpoint as safetensors first.",
        )
    raise CheckpointError(
        f"{folder} has a config.json but no weights (model.safetensors is missing).",
        "Copy or download the checkpoint again.",
    )


def _shards_of_parts(folder: Path) -> tuple[Path, ...]:
    """The weight files of VILA's three folders."""
    missing = [part for part in PARTS if not (folder / part / "config.json").is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} does not hold the whole model: {missing[0]}/config.json is missing.",
            "Copy or download the checkpoint again.",
        )
    return tuple(shard for part in PARTS for shard in _shards(folder / part))


def _check_shard(shard: Path) -> None:
    """Compare a safetensors file's length with what its header promises; reads the header only."""
    size = shard.stat().st_size
    try:
        with shard.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > size:
                raise ValueError("its header is cut off")
            header = json.loads(file.read(length))
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{shard} is damaged: {error}.", "Copy or download this file again."
        ) from error
    if size != expected:
        raise CheckpointError(
            f"{shard} is truncated: {size:,} bytes of {expected:,}.",
            "Copy or download this file again.",
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}).", "Copy or download the checkpoint again."
        ) from error


def _from_hub(name: str, on_bytes: OnBytes | None, weights: bool, code: bool) -> Checkpoint:
    """Return a hub repository as a folder of the local cache, downloaded if it is not there."""
    folder = download(name, on_bytes, weights=weights, code=code)
    try:
        return inspect_folder(folder, name=name, revision=folder.name, weights=weights)
    except CheckpointError as error:
        # With no network the hub client returns whatever part of a repository is cached.
        raise CheckpointError(
            f"The downloaded copy of {name} is not whole: {error.what}",
            "Load it again while the hub can be reached.",
        ) from error
