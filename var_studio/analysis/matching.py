"""Whether two runs answer the same question, so that they may be laid beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from var_studio.recording.failures import clipped

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording


def mismatch(one: Recording, other: Recording) -> str:
    """Why two runs cannot be compared, as the end of a sentence; empty where they can.

    The model, the pictures, the tokens given and the way the pictures were cut must be the same:
    otherwise tokens and cells at the same place would be different things.
    """
    if _model(one) != _model(other) or _shape(one) != _shape(other):
        return f"they come from different models ({_model_name(one)} and {_model_name(other)})"
    if _pictures(one) != _pictures(other):
        return "they were asked about different pictures"
    if _given(one) != _given(other):
        return "they were asked different questions"
    ours, theirs = one.layout, other.layout
    if ours is not theirs and not (
        np.array_equal(ours.positions, theirs.positions)
        and np.allclose(ours.boxes, theirs.boxes, equal_nan=True)
    ):
        return "the picture was cut into cells in different ways"
    return ""


def _model(run: Recording) -> tuple[object, ...]:
    found = run.provenance
    weights = found.get("fingerprint") or found.get("checkpoint")
    return weights, found.get("quantization") or "none"


def _model_name(run: Recording) -> str:
    name = run.provenance.get("model") or run.provenance.get("checkpoint") or "unknown"
    quantization = run.provenance.get("quantization") or "none"
    return clipped(str(name) if quantization == "none" else f"{name}, {quantization}")


def _shape(run: Recording) -> tuple[int, int, int]:
    return run.n_layers, run.n_heads, run.hidden_size


def _pictures(run: Recording) -> list[str]:
    return [entry.sha256 for entry in run.image_entries]


def _given(run: Recording) -> list[int]:
    return [token.id for token in run.tokens if token.role != "generated"]
