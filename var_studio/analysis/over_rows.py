"""What visual sinks and other visual tokens add, over every text row of a run (Fig. 3c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import Floats
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerContributions:
    """Mean of alpha · norm(v W_O) of one visual token in each layer, (L,) float64 each.

    The mean is over rows, heads and tokens, in units of the residual stream; NaN in a layer
    without such tokens. `sinks`, `others`: visual sinks and non-sinks of the layer. `every`: all
    visual tokens, the paper's baseline. `mean_sinks` and so on: over the layers `compared` (L,)
    together, those that have visual sinks, so that like is compared with like; without any, all.
    """

    sinks: Doubles
    others: Doubles
    every: Doubles
    mean_sinks: float
    mean_others: float
    mean_every: float
    compared: npt.NDArray[np.bool_]
    n_rows: int


def layer_contributions(run: Recording, settings: Redistribution) -> LayerContributions:
    """Contributions of visual tokens to the text rows of a run (Sec. 4.2, App. D.3).

    Reads all rows. Raises RecordingError for a row that cannot be read.
    """
    visual = np.flatnonzero(run.visual)
    sinks = run.sinks_under(settings)[:, visual]
    norm: Floats = run.value_norm()[..., visual]
    masks = np.stack([sinks, ~sinks], axis=-1).astype(np.float32)  # (L, V, 2)
    total = np.zeros((run.n_layers, 2))
    queries = range(len(run.query_positions))
    for query in queries:
        added = run.attention(query, keep=False)[..., visual] * norm
        total += np.matmul(added, masks).sum(axis=1, dtype=np.float64)
    times = len(queries) * run.n_heads * masks.sum(axis=1, dtype=np.float64)
    compared = np.asarray(sinks.any(axis=1))
    if not compared.any():
        compared = np.ones_like(compared)
    some, often = total[compared], times[compared]
    return LayerContributions(
        sinks=_mean(total[:, 0], times[:, 0]),
        others=_mean(total[:, 1], times[:, 1]),
        every=_mean(total.sum(axis=1), times.sum(axis=1)),
        mean_sinks=float(_mean(some[:, 0].sum(), often[:, 0].sum())),
        mean_others=float(_mean(some[:, 1].sum(), often[:, 1].sum())),
        mean_every=float(_mean(some.sum(), often.sum())),
        compared=compared,
        n_rows=len(queries),
    )


def _mean(total: npt.ArrayLike, times: npt.ArrayLike) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.true_divide(total, times), dtype=np.float64)
