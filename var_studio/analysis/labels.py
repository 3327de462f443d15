"""What is said of an array with named axes: its keys and queries, its unit, the run it is of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.focus import RowOf
from var_studio.analysis.labelled import Labelled
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Intervention, Redistribution

_MEANING: dict[str, tuple[str, str, str]] = {
    "attention": ("attention before any redistribution", "1", "softmax weights of the model"),
    "redistributed": ("attention after redistribution", "1", "Eq. 4"),
    "intervened": ("attention after the interventions", "1", "Sec. 4.2, 5; App. A.3"),
    "contribution": ("attention times norm(v W_O)", "residual stream", "Sec. 4.2"),
    "phi": ("sink-dimension value", "1", "Sec. 4.1"),
    "sinks": ("whether the token is a sink", "1", "Sec. 4.1"),
    "value_norm": ("norm(v W_O)", "residual stream", "App. D.3"),
    "image_contribution": ("image's part of all keys' contributions", "1", "Sec. 4.2"),
    "image_centric": ("whether the head is image-centric", "1", "Sec. 5.1"),
    "non_sink_ratio": ("visual non-sink ratio r", "1", "Eq. 3"),
    "visual_mass": ("attention on the image", "1", "Sec. 5.1"),
    "sink_mass": ("attention on sinks, visual and text", "1", "Sec. 4.1"),
    "entropy": ("entropy of the row", "nat", "over all keys"),
    "image_centric_share": ("image-centric heads / all heads", "1", "App. A.3, Fig. 10"),
}
"""What a quantity is, its unit, and where it is defined."""

_OF_HEADS = ("redistributed", "image_centric", "image_centric_share")
"""Quantities that rho, p and the least visual mass decide about."""


def coordinates(
    run: Recording,
    dims: Sequence[str],
    queries: npt.NDArray[np.int64] | None,
    part: Labelled | None = None,
    settings: Redistribution | None = None,
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """What is said of each query and key."""
    found: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {}
    if "query" in dims and queries is not None:
        found["query"] = (("query",), np.asarray(queries))
        found["query_token"] = (("query",), _said([run.tokens[p].text for p in queries]))
    if "key" not in dims:
        return found
    found["key"] = (("key",), np.arange(run.length))
    found["token"] = (("key",), _said([token.text for token in run.tokens]))
    found["role"] = (("key",), _said([token.role for token in run.tokens]))
    found["visual"] = (("key",), np.asarray(run.visual))
    if part is not None and "layer" not in part.means:
        chosen = settings or Redistribution()
        sinks = run.sinks_under(chosen)[part.index["layer"]]
        of_layers = "layer" in part.dims
        axes = ("layer", "key") if of_layers else ("key",)
        found["sink"] = (axes, sinks if of_layers else sinks[0])
    return found


def _said(texts: Sequence[str]) -> npt.NDArray[np.str_]:
    return np.array(texts, dtype=np.str_)


def described(run: Recording, name: str, settings: Redistribution | None) -> dict[str, Any]:
    """A quantity by its name in `_MEANING`, and the run it is of."""
    meaning = dict(zip(("long_name", "units", "source"), _MEANING[name], strict=True))
    return {**meaning, **of_run(run, settings, heads=name in _OF_HEADS)}


def of_run(
    run: Recording, settings: Redistribution | None, *, heads: bool = True
) -> dict[str, Any]:
    """The run, and what decides about sinks and heads, as values that files can hold."""
    chosen = settings or Redistribution()
    dims = run.sink_dims if chosen.sink_dims is None else chosen.sink_dims
    found: dict[str, Any] = {
        "run": run.name,
        "run_id": run.id,
        "model": str(run.provenance.get("model") or checkpoint_name(run) or ""),
        "tau": float(run.tau_default if chosen.tau is None else chosen.tau),
        "convention": chosen.convention,
        "sink_dims": ", ".join(map(str, dims)) or "none",
    }
    if settings is not None and heads:
        found |= {"rho": settings.rho, "p": settings.p, "mass_min": settings.mass_min}
    return found


def checkpoint_name(run: Recording) -> str | None:
    """The checkpoint by its hub id, or of a folder by the folder's name: where it lies on the disk
    of who recorded it is in the session alone."""
    told = run.provenance.get("checkpoint")
    if told is None:
        return None
    for path in (PurePosixPath(str(told)), PureWindowsPath(str(told))):
        if path.is_absolute():
            return path.name or None
    return str(told)


def of_token(run: Recording, position: int, row_of: RowOf = "query") -> dict[str, Any]:
    """Whose row it is; `row_of` "produced": it was chosen for the token after, as in `Focus`."""
    found = {"query": position, "query_token": run.tokens[position].text}
    return found if row_of == "query" else found | {"row_of": row_of}


def acting(interventions: Iterable[Intervention]) -> dict[str, str]:
    """What was done to a row, with all its settings, as JSON."""
    listed = [each.model_dump(mode="json") for each in interventions]
    return {"interventions": json.dumps(listed, sort_keys=True)}
