"""The method under a run's settings: the one place where settings meet rows.

What takes or returns `Array` is for NumPy and for torch alike, so that the running model and the
recorded row go the same way; nothing there reads a value back from a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from var_studio.method import conventions, heads, knockout, redistribution
from var_studio.method import sinks as sinks_method
from var_studio.method.arrays import Array, over_rows
from var_studio.recording.failures import SettingsError
from var_studio.recording.interventions import on_attention
from var_studio.recording.settings import (
    AttentionIntervention,
    Convention,
    HeadAblation,
    Intervention,
    Knockout,
    Redistribution,
)

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Where:
    """What the keys and queries of rows (..., H, Q, T) are.

    `visual` (T,) bool. `sinks` (..., T) bool, under the settings that act. `marked`: what
    `marked_keys` gave, cut to these keys. `layers`: the layer, or the layers along the first
    axis. `queries` (Q,) int64: positions in the sequence.
    """

    visual: Array
    sinks: Array
    marked: Array | None
    layers: int | Sequence[int]
    queries: Array


def unwarned() -> np.errstate:
    """A row that a model made of NaN or infinities stays that; nobody needs a warning."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore")


def sink_masks(
    phi: Array,
    tau: float,
    *,
    prompt_length: int,
    convention: Convention = "paper",
    layer: int | None = None,
) -> Array:
    """Sinks of every layer, (L, T) bool, or of one `layer`, (T,), for `phi` of that shape.

    The threshold, and what the convention never looks for.
    """
    mask = sinks_method.sink_mask(phi, tau, convention)
    layers = range(len(phi)) if layer is None else layer
    return sinks_method.restrict_sinks(
        mask, layers=layers, prompt_length=prompt_length, convention=convention
    )


def check_layers(settings: AttentionIntervention, n_layers: int) -> None:
    """Raise SettingsError where the settings name a layer that the model does not have."""
    named = max(settings.first_layer, settings.last_layer or 0)
    if named >= n_layers:
        raise SettingsError(
            f"The model has layers 0 to {n_layers - 1}; the settings name layer {named}.",
            "Choose a layer range within the model.",
        )


def check_tokens(settings: AttentionIntervention, *, n_visual: int, length: int) -> None:
    """Raise SettingsError where the settings name a token that a question cannot have.

    `n_visual`: its visual tokens; `length`: its positions with the longest answer allowed.
    """
    # Only what names tokens has a region or positions.
    if isinstance(settings, Redistribution) and settings.region and settings.region[-1] >= n_visual:
        raise SettingsError(
            f"The region names visual token {settings.region[-1]}; this question has {n_visual}.",
            f"Choose from 0 to {n_visual - 1}.",
        )
    if isinstance(settings, Knockout) and settings.positions and settings.positions[-1] >= length:
        raise SettingsError(
            f"The knockout names position {settings.positions[-1]}; this run has at most "
            f"{length} tokens.",
            "Choose positions of the sequence.",
        )


def active_layers(settings: AttentionIntervention, n_layers: int) -> Bools:
    """Which layers are changed, (L,) bool.

    Redistribution with an empty last layer leaves out the model's last (Sec. 6.1); one that is
    named is meant. Redistribution and head ablation choose heads by their sinks, so they leave
    out layers in which the convention looks for none.
    """
    first, last = settings.first_layer, settings.last_layer
    if isinstance(settings, Knockout):
        layers = np.arange(n_layers)
        return np.asarray((layers >= first) & (layers <= (n_layers if last is None else last)))
    exempt_last = isinstance(settings, Redistribution) and last is None
    return np.array(
        [
            conventions.layer_active(
                layer,
                n_layers,
                settings.convention,
                first=first,
                last=last,
                exempt_last=exempt_last,
            )
            for layer in range(n_layers)
        ],
        dtype=bool,
    )


def image_centric_heads(
    rows: Array, visual: Array, sinks: Array, settings: Redistribution | HeadAblation
) -> Array:
    """Heads that pass the test, (..., H, Q) bool, whether or not a layer is active (Sec. 5.1)."""
    with unwarned():
        return heads.image_centric(
            rows,
            visual,
            sinks,
            rho=settings.rho,
            mass_min=settings.mass_min,
            convention=settings.convention,
        )


def marked_keys(
    settings: AttentionIntervention,
    visual: Array,
    sinks: Array,
    layers: int | Sequence[int],
    visual_positions: Sequence[int],
) -> Array | None:
    """Keys that the settings name or draw, (T,) or (..., T) bool; None where they need none.

    Of a knockout: those it hides. Of a redistribution to a region: the region. `visual` (T,) and
    `sinks` (..., T) are those of the whole sequence, `visual_positions` (V,) where its visual
    tokens lie. Chosen positions may lie beyond the end of an answer that was shorter. Raises
    SettingsError for a visual token that there is not.
    """
    if isinstance(settings, Redistribution) and settings.target == "region":
        check_tokens(settings, n_visual=len(visual_positions), length=len(visual))
        return _mask([visual_positions[k] for k in settings.region], visual)
    if not isinstance(settings, Knockout):
        return None
    if settings.tokens == "chosen":
        return _mask([p for p in settings.positions if p < len(visual)], visual)
    if settings.tokens == "visual-sinks":
        return knockout.visual_sinks(visual, sinks)
    scores = _scores(len(visual), settings.seed, layers, visual)
    return knockout.random_visual(visual, sinks, scores)


def after(rows: Array, settings: AttentionIntervention, where: Where) -> Array:
    """Rows (..., H, Q, T) as one intervention leaves them, in the dtype given, in any layer.

    Eq. 4, Eq. 6-7, App. A.3.
    """
    visual, sinks = where.visual, where.sinks
    with unwarned():
        if isinstance(settings, Knockout):
            return knockout.apply(rows, over_rows(where.marked))
        if isinstance(settings, HeadAblation):
            return knockout.ablate_heads(rows, visual, _ablated_heads(rows, settings, where))
        if settings.heads == "all":
            selected = _all_of(rows)
        else:
            selected = image_centric_heads(rows, visual, sinks, settings)
        return redistribution.redistribute(
            rows,
            visual,
            sinks,
            selected,
            p=settings.p,
            target=settings.target if settings.target != "region" else where.marked,
            convention=settings.convention,
            source=settings.source,
        )


def rows_after(
    rows: Floats,
    interventions: Sequence[Intervention],
    *,
    visual: Bools,
    sinks: Callable[[AttentionIntervention], Bools],
    visual_positions: Sequence[int],
    queries: Sequence[int],
    unknown: Bools | None = None,
) -> Floats:
    """Recorded rows as the model went on with them, (L, H, Q, T), of all its layers.

    `visual` (T,); `sinks(settings)` (L, T) under settings; `queries` (Q,) the rows' positions.
    `unknown` (T,): keys whose weights are not known, and NaN in the rows; what depends on them
    is NaN too.
    Raises SettingsError for a layer or a token that there is not.
    """
    n_layers = len(rows)
    for settings in on_attention(interventions):
        check_layers(settings, n_layers)
        found = sinks(settings)
        layers = range(n_layers)
        where = Where(
            visual,
            found,
            marked_keys(settings, visual, found, layers, visual_positions),
            layers,
            np.asarray(queries, dtype=np.int64),
        )
        active = active_layers(settings, n_layers)[:, None, None, None]
        changed = after(rows, settings, where)
        if unknown is not None and isinstance(settings, Redistribution):
            # A budget that is not known moves nothing; after the others a sum of NaN is left.
            moved = _moved_keys(settings, where)
            open_layers = (moved & unknown).any(axis=-1)
            changed = np.where(open_layers[:, None, None, None], np.nan, changed)
        rows = np.where(active, changed, rows)
    return rows


def _moved_keys(settings: Redistribution, where: Where) -> Array:
    """Keys that give or receive under a redistribution, (..., T) bool."""
    target = settings.target if settings.target != "region" else where.marked
    gives = redistribution.givers(where.visual, where.sinks, settings.source)
    return gives | redistribution.receivers(where.visual, where.sinks, target)


def _ablated_heads(rows: Array, settings: HeadAblation, where: Where) -> Array:
    """(..., H, Q) bool: the heads from which the image is hidden."""
    centric = image_centric_heads(rows, where.visual, where.sinks, settings)
    if settings.heads == "image-centric":
        return centric
    if settings.heads == "complement":
        return ~centric
    scores = _scores(rows.shape[-3], settings.seed, where.layers, rows, where.queries)
    return knockout.random_heads(centric, scores)


def _scores(
    n: int,
    seed: int,
    layers: int | Sequence[int],
    like: Array,
    queries: Array | None = None,
) -> Array:
    """Uniform numbers (n,) or (n, Q) of a layer, or of each layer, (L, ...)."""
    if isinstance(layers, int):
        return knockout.uniform_scores(n, seed=seed, layer=layers, like=like, queries=queries)
    xp = array_namespace(like)
    return xp.stack([_scores(n, seed, layer, like, queries) for layer in layers])


def _all_of(rows: Array) -> Array:
    """(..., H, Q) bool, all True."""
    xp = array_namespace(rows)
    return xp.ones_like(rows[..., 0], dtype=xp.bool)


def _mask(positions: Sequence[int], like: Array) -> Array:
    """(T,) bool, True at these positions, beside an array (T,) of the same library."""
    xp = array_namespace(like)
    host = np.zeros(len(like), dtype=bool)
    host[list(positions)] = True
    return xp.asarray(host, device=device(like))
