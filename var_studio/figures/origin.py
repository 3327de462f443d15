"""What a figure's own file says about where its numbers come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from var_studio.analysis.labels import checkpoint_name
from var_studio.analysis.reading import Reading
from var_studio.recording.recording import Recording


def origin(figure: str, reading: Reading) -> dict[str, Any]:
    """All a reader needs to find the numbers again, as plain JSON. `redistribution` loads back."""
    run, token = reading.run, reading.run.tokens[reading.chosen]
    index = np.searchsorted(run.generated_positions, reading.chosen)
    return {
        "figure": figure,
        "run": run.name,
        "run_id": run.id,
        **model_of(run),
        "text": run.text,
        "images": images_of(run),
        "token": {
            "position": reading.chosen,
            "text": token.text,
            "role": token.role,
            "generated": int(index) if token.role == "generated" else None,
        },
        "row_of": reading.focus.row_of,
        "row_position": reading.position,
        "query": reading.focus.query,
        "layer": reading.focus.layer,
        "heads": [list(pair) for pair in reading.focus.heads] or "all",
        "aggregate": reading.focus.aggregate,
        "convention": reading.settings.convention,
        "tau": tau_of(reading),
        "rho": reading.settings.rho,
        "p": reading.settings.p,
        "sink_dims": list(reading.settings.sink_dims or run.sink_dims),
        "redistribution": reading.settings.model_dump(mode="json"),
        "interventions": [each.model_dump(mode="json") for each in reading.acts],
    }


def model_of(run: Recording) -> dict[str, str | None]:
    """The model, and what it was asked. The checkpoint goes by its name and the hash of its
    weights: a figure is for sharing, and a path would tell of a home folder."""
    told = dict(run.provenance) | {"checkpoint": checkpoint_name(run)}
    known = {name: told.get(name) for name in _MODEL}
    return {name: None if value is None else str(value) for name, value in known.items()}


_MODEL = ("model", "checkpoint", "revision", "fingerprint", "prompt")


def images_of(run: Recording) -> list[dict[str, str]]:
    """Names and hashes of the pictures of a run."""
    return [{"name": entry.name, "sha256": entry.sha256} for entry in run.image_entries]


def tau_of(reading: Reading) -> float:
    """Tau in force."""
    tau = reading.settings.tau
    return reading.run.tau_default if tau is None else tau


def dims_of(reading: Reading) -> str:
    """The sink dimensions in force, in words."""
    dims = reading.settings.sink_dims or reading.run.sink_dims
    return ", ".join(map(str, dims)) or "unknown"
