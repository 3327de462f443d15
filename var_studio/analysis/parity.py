"""The fidelity figures of a run in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parity(provenance: Mapping[str, Any]) -> tuple[str, str] | None:
    """The worst figure of a run, short and explained; None for a run that states none.

    The worst |Δα| against the model's explicit attention where it was measured, else the worst
    difference of rows times values from the kernel's output (see `engine.fidelity`).
    """
    found = provenance.get("fidelity")
    if not isinstance(found, Mapping):
        return None
    rows, outputs = found.get("worst_attention_difference"), found.get("worst_difference")
    explained = []
    if isinstance(rows, int | float):
        explained.append(f"recorded rows differ from explicit attention by at most {rows:.1e}")
    if isinstance(outputs, int | float):
        explained.append(
            f"rows times values differ from the {found.get('kernel', '')} kernel's output by at "
            f"most {outputs:.1e} (largest output {found.get('largest_output') or 0:.2g})"
        )
    if not explained:
        return None
    worst = rows if isinstance(rows, int | float) else outputs
    return f"parity {worst:.0e}", "; ".join(explained)
