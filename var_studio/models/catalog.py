"""Known checkpoints: sink dimensions, default tau and rho, and where each number comes from.

The dimensions belong to the base language model, so an entry is looked up by every name that a
checkpoint carries (hub id, folder, the names inside its config), and only counts if the hidden
size agrees. Anything else is discovered from the model itself (`engine.discovery`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from var_studio.models.errors import CheckpointError

if TYPE_CHECKING:
    from var_studio.models.checkpoints import Checkpoint

Origin = Literal[
    "verified by the paper",
    "reported",
    "measured for this checkpoint",
    "discovered",
    "none found",
    "not discovered yet",
]

SIDE_FILE: Final = "var_studio.json"
"""A checkpoint folder can carry its own numbers: {"sink_dims": [...], "tau": ..., "rho": ...}."""

PAPER: Final = "See What You Are Told (ICLR 2025), Sec. 4.1 and App. A.1"
REPORTED: Final = "reported elsewhere, not verified here"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a checkpoint. `pattern` is searched in its names, ignoring case."""

    pattern: str
    hidden_size: int
    sink_dims: tuple[int, ...]
    tau: float
    origin: Origin
    source: str
    rho: float = 0.8
    description: str = ""


def default_tau(hidden_size: int) -> float:
    """Return 20/64 of the bound sqrt(D) of phi: the paper's tau = 20 at D = 4096, scaled."""
    return 20.0 * (hidden_size / 4096) ** 0.5


def _paper(pattern: str, hidden_size: int, *sink_dims: int) -> Entry:
    return Entry(pattern, hidden_size, sink_dims, 20.0, "verified by the paper", PAPER)


def _reported(pattern: str, hidden_size: int, *sink_dims: int) -> Entry:
    tau = round(default_tau(hidden_size), 2)
    return Entry(pattern, hidden_size, sink_dims, tau, "reported", REPORTED)


# The first entry that fits wins: LMMs before the language models they are built on.
ENTRIES: Final[tuple[Entry, ...]] = (
    _paper(r"llava-(v?1\.5|1\.5-hd).*13b", 5120, 2100, 4743),
    _paper(r"vila.*13b", 5120, 2100, 4743),
    _paper(r"llava-v?1\.5.*7b", 4096, 1415, 2533),
    _paper(r"qwen2-vl-7b", 3584, 458, 2570),
    _paper(r"internvl2-8b", 4096, 3584),
    _reported(r"qwen2\.5-vl-7b", 3584, 458, 2570),
    _reported(r"qwen2-vl-2b", 1536, 1073, 534, 940),
    _reported(r"qwen2\.5-vl-3b", 2048, 318, 1874, 1819),
    _reported(r"qwen3-vl-2b", 2048, 1793, 1999, 1401),
    _reported(r"qwen3-vl-4b", 2560, 0),
    _reported(r"qwen3-vl-8b", 4096, 1838),
    _reported(r"internvl3\.5-8b", 4096, 2276, 233),
    _paper(r"vicuna-7b|llama-2-7b", 4096, 1415, 2533),
    _paper(r"vicuna-13b|llama-2-13b", 5120, 2100, 4743),
    _paper(r"qwen2-7b", 3584, 458, 2570),
    _paper(r"internlm2[._]5-7b", 4096, 3584),
    _reported(r"mistral-7b(-instruct)?-v0\.3", 4096, 2070, 3398),
    _reported(r"llama-3\.2-1b", 2048, 400, 698, 2029, 1159),
    _reported(r"llama-3\.2-3b", 3072, 588, 1016, 3046, 1731),
    _reported(r"phi-2\b", 2560, 743, 293),
    _reported(r"opt-6\.7b", 4096, 2394),
)


def look_up(names: Iterable[str], hidden_size: int) -> Entry | None:
    """Return the entry that fits one of a checkpoint's names and its hidden size, or None."""
    known = [name for name in names if name]
    for entry in ENTRIES:
        if entry.hidden_size == hidden_size and any(
            re.search(entry.pattern, name, re.IGNORECASE) for name in known
        ):
            return entry
    return None


def known_entry(checkpoint: Checkpoint, hidden_size: int) -> Entry | None:
    """Return what the folder itself says of its checkpoint, else what the catalogue knows."""
    return read_side_file(checkpoint.folder, hidden_size) or look_up(
        checkpoint.names(), hidden_size
    )


def read_side_file(folder: Path, hidden_size: int) -> Entry | None:
    """Return what a folder's `var_studio.json` says, None without one.

    Raises CheckpointError if the file is damaged or names a dimension the model does not have.
    """
    path = folder / SIDE_FILE
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        dims = tuple(dict.fromkeys(int(d) for d in document["sink_dims"]))
        tau = float(document.get("tau", default_tau(hidden_size)))
        rho = float(document.get("rho", 0.8))
        description = str(document.get("description", ""))
        if any(not 0 <= d < hidden_size for d in dims):
            raise ValueError(f"a dimension is outside 0 to {hidden_size - 1}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be used ({error}).",
            'It should read {"sink_dims": [numbers], "tau": number}; correct or remove it.',
        ) from error
    return Entry(
        pattern="",
        hidden_size=hidden_size,
        sink_dims=dims,
        tau=tau,
        origin="measured for this checkpoint",
        source=f"{SIDE_FILE} beside the checkpoint",
        rho=rho,
        description=description,
    )
