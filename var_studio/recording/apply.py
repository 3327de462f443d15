"""The method under a run's settings: the one place where a Redistribution meets recorded rows.

Arrays are NumPy. `phi` and `sinks` are (L, T), `rows` (L, H, Q, T), `visual` (T,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.method import conventions, heads, redistribution
from var_studio.method import sinks as sinks_method
from var_studio.recording.failures import SettingsError
from var_studio.recording.settings import Convention, Redistribution

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


def unwarned() -> np.errstate:
    """A row that a model made of NaN or infinities stays that; nobody needs a warning."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore")


def sink_masks(
    phi: Floats, tau: float, *, prompt_length: int, convention: Convention = "paper"
) -> Bools:
    """Sinks of every layer, (L, T) bool: the threshold and what the convention never looks for."""
    mask = sinks_method.sink_mask(phi, tau, convention)
    return np.asarray(
        sinks_method.restrict_sinks(
            mask, layers=range(len(phi)), prompt_length=prompt_length, convention=convention
        )
    )


def check_layers(settings: Redistribution, n_layers: int) -> None:
    """Raise SettingsError where the settings name a layer that the model does not have."""
    named = max(settings.first_layer, settings.last_layer or 0)
    if named >= n_layers:
        raise SettingsError(
            f"The model has layers 0 to {n_layers - 1}; the settings name layer {named}.",
            "Choose a layer range within the model.",
        )


def active_layers(settings: Redistribution, n_layers: int) -> Bools:
    """Which layers are redistributed, (L,) bool (Sec. 6.1).

    An empty last layer means all but the model's last; a last layer that is named is meant.
    """
    return np.array(
        [
            conventions.layer_active(
                layer,
                n_layers,
                settings.convention,
                first=settings.first_layer,
                last=settings.last_layer,
                exempt_last=settings.last_layer is None,
            )
            for layer in range(n_layers)
        ],
        dtype=bool,
    )


def image_centric_heads(
    rows: Floats, visual: Bools, sinks: Bools, settings: Redistribution
) -> Bools:
    """Heads that pass the test, (L, H, Q) bool, in all layers, active or not (Sec. 5.1)."""
    with unwarned():
        found = heads.image_centric(
            rows,
            visual,
            sinks,
            rho=settings.rho,
            mass_min=settings.mass_min,
            convention=settings.convention,
        )
    return np.asarray(found)


def selected_heads(rows: Floats, visual: Bools, sinks: Bools, settings: Redistribution) -> Bools:
    """Heads that the settings redistribute, (L, H, Q) bool: none in an inactive layer."""
    active = active_layers(settings, rows.shape[0])[:, None, None]
    if settings.heads == "all":
        return np.broadcast_to(active, rows.shape[:3]).copy()
    return image_centric_heads(rows, visual, sinks, settings) & active


def redistribute_rows(
    rows: Floats,
    visual: Bools,
    sinks: Bools,
    settings: Redistribution,
    n_layers: int,
    selected: Bools | None = None,
) -> Floats:
    """Rows after redistribution, (L, H, Q, T) in the dtype given (Sec. 5.2, Eq. 4).

    `rows` are of all `n_layers`. `selected` (L, H, Q), where it is known already, spares
    choosing the heads again.
    """
    if rows.shape[0] != n_layers:
        raise ValueError(f"rows of {rows.shape[0]} layers, not {n_layers}")
    if selected is None:
        selected = selected_heads(rows, visual, sinks, settings)
    with unwarned():
        moved = redistribution.redistribute(
            rows,
            visual,
            sinks,
            selected,
            p=settings.p,
            target=settings.target,
            convention=settings.convention,
        )
    return np.asarray(moved)
