"""Redistribution seen through four groups of keys: visual or text, sink or not. Where a region
receives the budget its visual non-sinks are a fifth.

What the method does to a key depends only on its group, so the sums over the groups decide the
image-centric heads, the budget and the ledger, and one factor for each group turns a row into the
redistributed row. That makes thresholds cheap to move: one matrix product over (L, H, T), and
everything else on (L, H, 4 or 5). The rules are those of `var_studio.method`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.method import conventions, redistribution
from var_studio.recording.apply import active_layers
from var_studio.recording.settings import Redistribution

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

VISUAL_SINK, VISUAL, TEXT_SINK, TEXT, REGION = range(5)

_IS_VISUAL = np.array([True, True, False, False, True])
_IS_SINK = np.array([True, False, True, False, False])
_IS_REGION = np.array([False, False, False, False, True])


@dataclass(frozen=True, slots=True)
class GroupMasses:
    """Attention of each row (L, H) on each group of keys.

    `masses` (L, H, 4) float32 in the order VISUAL_SINK, VISUAL, TEXT_SINK, TEXT; with a region as
    target (L, H, 5), the last REGION, and VISUAL the other visual non-sinks. `filled` (L, 4 or 5)
    bool: whether the layer has a key in that group. `n_visual`: number of visual keys. A mass is
    NaN where it is over keys whose weights are not known.
    """

    masses: Floats
    filled: Bools
    n_visual: int

    @property
    def visual_mass(self) -> Floats:
        """(L, H) float32: attention on the image."""
        return self.masses[..., VISUAL_SINK] + visual_non_sinks(self.masses)

    @property
    def sink_mass(self) -> Floats:
        """(L, H) float32: attention on all sinks, visual and text."""
        return self.masses[..., VISUAL_SINK] + self.masses[..., TEXT_SINK]

    @property
    def non_sink_ratio(self) -> Floats:
        """(L, H) float32: r of Eq. 3; 0 where the head does not look at the image."""
        mass = self.visual_mass
        ratio = visual_non_sinks(self.masses) / np.where(mass > 0, mass, np.float32(1))
        return np.asarray(ratio, dtype=np.float32)

    def image_centric(self, settings: Redistribution) -> Bools:
        """(L, H) bool: image-centric heads by the rules of `method.heads.image_centric`."""
        rule = conventions.rules(settings.convention)
        mass = self.visual_mass
        selected = (mass >= settings.mass_min) & (mass > 0)
        if rule.rho_bounds_sink_share:
            padded = mass + np.float32(rule.epsilon_per_visual_token * self.n_visual)
            share = self.masses[..., VISUAL_SINK] / np.where(padded > 0, padded, np.float32(1))
            selected &= share <= settings.rho
        else:
            selected &= self.non_sink_ratio >= settings.rho
        if not rule.selects_without_visual_sink:
            selected &= self.filled[:, None, VISUAL_SINK]
        return selected

    def selected(self, settings: Redistribution, image_centric: Bools) -> Bools:
        """(L, H) bool: heads that the settings touch, active layers only."""
        active = active_layers(settings, len(self.masses))
        chosen = image_centric if settings.heads == "selected" else np.ones_like(image_centric)
        return np.asarray(chosen & active[:, None], dtype=bool)

    def moved(self, settings: Redistribution, selected: Bools) -> Floats:
        """(L, H, 4 or 5) float32: the masses after redistribution (Eq. 4); NaN in a head where
        what is given or received is not known."""
        groups = self.masses.shape[-1]
        visual, sink = _IS_VISUAL[:groups], _IS_SINK[:groups]
        target = _IS_REGION[:groups] if settings.target == "region" else settings.target
        after = redistribution.redistribute(
            self.masses[:, :, None, :],
            visual,
            sink,
            selected[:, :, None],
            p=settings.p,
            target=target,
            convention=settings.convention,
            source=settings.source,
        )
        masses = np.array(after[:, :, 0, :], dtype=np.float32)
        moved = redistribution.givers(visual, sink, settings.source)
        moved = moved | redistribution.receivers(visual, sink, target)
        masses[selected & np.isnan(self.masses[..., moved]).any(axis=-1)] = np.nan
        return masses


def visual_non_sinks(masses: Floats) -> Floats:
    """(L, H) float32: what lies on them all, from (L, H, 4) or, with a region, (L, H, 5)."""
    if masses.shape[-1] == REGION:
        return masses[..., VISUAL]
    return masses[..., VISUAL] + masses[..., REGION]


def group_weights(visual: Bools, sinks: Bools, region: Bools | None = None) -> Floats:
    """(L, T, 4 or 5) float32 of 0 and 1: the group of each key, from (T,), (L, T), (T,) masks."""
    weights = np.empty((*sinks.shape, 4 if region is None else 5), dtype=np.float32)
    weights[..., VISUAL_SINK] = visual & sinks
    weights[..., VISUAL] = (visual if region is None else visual & ~region) & ~sinks
    weights[..., TEXT_SINK] = ~visual & sinks
    weights[..., TEXT] = ~(visual | sinks)
    if region is not None:
        weights[..., REGION] = region & ~sinks
    return weights


def group_of(
    visual: bool | np.bool_, sink: Bools, region: bool | np.bool_ = False
) -> npt.NDArray[np.intp]:
    """(L,) index of a key's group in each layer, from whether it is a sink there, (L,)."""
    if visual:
        return np.where(sink, VISUAL_SINK, REGION if region else VISUAL)
    return np.where(sink, TEXT_SINK, TEXT)


def group_masses(
    attention: Floats,
    visual: Bools,
    sinks: Bools,
    region: Bools | None = None,
    unknown: Bools | None = None,
) -> GroupMasses:
    """Sum `attention` (L, H, T) over the groups that `visual` (T,) and `sinks` (L, T) make, and
    `region` (T,), the image patches that receive the budget, if given. `unknown` (T,): keys
    whose weights are not known."""
    weights = group_weights(visual, sinks, region)
    return GroupMasses(
        masses=sums_over(attention, weights, unknown),
        filled=np.asarray(weights.any(axis=1), dtype=bool),
        n_visual=int(visual.sum()),
    )


def sums_over(rows: Floats, weights: Floats, unknown: Bools | None) -> Floats:
    """(..., H, n) float32: rows (..., H, T) summed over n groups of keys, (..., T, n) of 0 and 1;
    NaN where a group holds a key whose weights are not known, by `unknown` (T,)."""
    if unknown is None:
        return np.asarray(np.matmul(rows, weights))
    sums = np.matmul(np.where(unknown, np.float32(0), rows), weights)
    hidden = np.asarray(weights[..., unknown, :].any(axis=-2))
    return np.where(hidden[..., None, :], np.float32(np.nan), sums)


def growth(before: Floats, after: Floats) -> Floats:
    """(L, H, 4 or 5) float32: what a key of each group is multiplied by, minus 1.

    Zero where nothing moves, exactly, so that unchanged heads stay bit for bit; so, too, of a
    group whose mass is not known while the others' are after, since it took no part.
    """
    wide = before.astype(np.float64)
    change = (after.astype(np.float64) - wide) / np.where(wide > 0, wide, 1.0)
    apart = np.isnan(wide)
    if apart.any():
        change[apart & ~np.isnan(after).all(axis=-1, keepdims=True)] = 0.0
    top = np.finfo(np.float32).max
    return np.clip(change, -1.0, top).astype(np.float32)


def per_key(
    growth_of_row: Floats, visual: Bools, sinks: Bools, region: Bools | None = None
) -> Floats:
    """(n, K) float32: growth of every key, from (n, 4 or 5), (K,), (n, K) and (K,)."""
    others = growth_of_row[:, None, VISUAL]
    if region is not None:
        others = np.where(region, growth_of_row[:, None, REGION], others)
    of_patch = np.where(sinks, growth_of_row[:, None, VISUAL_SINK], others)
    if visual.all():
        return of_patch
    of_text = np.where(sinks, growth_of_row[:, None, TEXT_SINK], growth_of_row[:, None, TEXT])
    return np.where(visual, of_patch, of_text)
