"""Finding a model's sink dimensions: the few that are massive at the first token.

From what one pass leaves behind: for each layer and token, the 16 hidden dimensions with the
largest magnitude and their values x[d] / rms(x). NumPy only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording

MASSIVE_RATIO: Final = 20.0
"""Massive: this many times the ordinary magnitude of the same token ("tens of times")."""
SHARE_OF_LARGEST: Final = 0.25
"""... and at least this part of the token's largest dimension."""
LAYERS_SHARE: Final = 0.5
"""... in at least this share of the middle layers."""
_MEDIAN_OF_NORMAL: Final = 0.6745


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a dimension was found. Magnitudes are |x[d]| / rms(x); medians over middle layers.

    `first_token` at position 0; `ratio` to the ordinary magnitude there; `layers_share` of the
    middle layers in which it is massive; `carriers` the positions (besides 0) where it reaches
    half of `first_token` in most middle layers.
    """

    dim: int
    first_token: float
    ratio: float
    layers_share: float
    carriers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Discovery:
    """Sink dimensions found, the strongest first. No dimension is a valid answer."""

    dims: tuple[int, ...]
    evidence: tuple[Evidence, ...]
    layers: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for a run's provenance."""
        return {
            "dims": list(self.dims),
            "layers": list(self.layers),
            "evidence": [
                {
                    "dim": e.dim,
                    "first_token": round(e.first_token, 4),
                    "ratio": round(e.ratio, 2),
                    "layers_share": round(e.layers_share, 4),
                    "carriers": list(e.carriers),
                }
                for e in self.evidence
            ],
        }


def find_sink_dims(
    top_dims: npt.NDArray[np.integer[Any]],
    top_values: npt.NDArray[np.floating[Any]],
    hidden_size: int,
) -> Discovery:
    """Find the dimensions that are massive at the first token over most middle layers.

    `top_dims` and `top_values` (L, T, n): dimensions with the largest magnitude and x[d] / rms(x).
    Sec. 4.1 and Appendix A.1 of the paper; Fig. 2 shows the same values as a profile.
    """
    magnitude = np.abs(np.nan_to_num(np.asarray(top_values, dtype=np.float64)))
    layers = middle_layers(len(top_dims))
    first = magnitude[:, 0]
    ordinary = ordinary_magnitude(first, hidden_size)
    massive = (first >= MASSIVE_RATIO * ordinary[:, None]) & (
        first >= SHARE_OF_LARGEST * first.max(axis=-1, keepdims=True)
    )
    counts = Counter(
        int(dim) for layer in layers for dim in top_dims[layer, 0][massive[layer]].tolist()
    )
    evidence = [
        _evidence(dim, count / len(layers), top_dims, magnitude, ordinary, layers)
        for dim, count in counts.items()
        if count / len(layers) >= LAYERS_SHARE
    ]
    evidence.sort(key=lambda e: -e.first_token)
    return Discovery(tuple(e.dim for e in evidence), tuple(evidence), tuple(layers))


def discover_from(recordings: Recording | Sequence[Recording]) -> Discovery:
    """Find a model's sink dimensions in one or several finished recordings of it.

    Of several, a dimension counts that is found in more than half of them; its evidence is the
    median over those, its carriers are the positions that they share.
    Raises RecordingError for no recordings, or recordings of different models.
    """
    runs = [recordings] if isinstance(recordings, Recording) else list(recordings)
    models = {(run.n_layers, run.hidden_size, run.provenance.get("fingerprint")) for run in runs}
    if len(models) != 1:
        raise RecordingError(
            "There is nothing to look in." if not runs else "The recordings are of several models.",
            "Pass one or more recordings of the same model.",
        )
    for run in runs:
        if run.top_dims()[0].shape[1] == 0:
            raise RecordingError(f"{run.name} holds no token yet.", "Let its prompt be read.")
    found = [find_sink_dims(*run.top_dims(), run.hidden_size) for run in runs]
    seen: dict[int, list[Evidence]] = {}
    for one in found:
        for evidence in one.evidence:
            seen.setdefault(evidence.dim, []).append(evidence)
    merged = [_merged(each) for each in seen.values() if 2 * len(each) > len(runs)]
    merged.sort(key=lambda e: -e.first_token)
    return Discovery(tuple(e.dim for e in merged), tuple(merged), found[0].layers)


def _merged(evidence: Sequence[Evidence]) -> Evidence:
    shared = set.intersection(*(set(e.carriers) for e in evidence))
    return Evidence(
        dim=evidence[0].dim,
        first_token=float(np.median([e.first_token for e in evidence])),
        ratio=float(np.median([e.ratio for e in evidence])),
        layers_share=float(np.median([e.layers_share for e in evidence])),
        carriers=tuple(sorted(shared)),
    )


def middle_layers(n_layers: int) -> list[int]:
    """Layers from a quarter to three quarters of the depth: massive values begin after the first
    blocks and are often undone in the last ones."""
    first, last = n_layers // 4, max(n_layers // 4 + 1, (3 * n_layers + 3) // 4)
    return list(range(first, min(last, n_layers)))


def ordinary_magnitude(
    largest: npt.NDArray[np.floating[Any]], hidden_size: int
) -> npt.NDArray[np.float64]:
    """Estimate the median |x[d]| / rms(x) of a token from its largest ones, (..., n) -> (...).

    The squares of all D values sum to D, so the largest ones tell the mean square of the rest;
    the median of a normal distribution follows from that.
    """
    rest = hidden_size - np.square(largest, dtype=np.float64).sum(axis=-1)
    count = max(hidden_size - largest.shape[-1], 1)
    # Rounding may leave nothing for the rest; a tenth of a percent of the energy is little enough.
    mean_square = np.maximum(rest, 1e-3 * hidden_size) / count
    return np.asarray(_MEDIAN_OF_NORMAL * np.sqrt(mean_square))


def _evidence(
    dim: int,
    share: float,
    top_dims: npt.NDArray[np.integer[Any]],
    magnitude: npt.NDArray[np.float64],
    ordinary: npt.NDArray[np.float64],
    layers: list[int],
) -> Evidence:
    """Median magnitudes of one dimension; where it is not among the largest it counts as 0."""
    of_dim = np.where(top_dims[layers] == dim, magnitude[layers], 0.0).max(axis=-1)
    typical = np.median(of_dim, axis=0)
    carriers = np.flatnonzero(typical >= 0.5 * typical[0])
    return Evidence(
        dim=dim,
        first_token=float(typical[0]),
        ratio=float(np.median(of_dim[:, 0] / ordinary[layers])),
        layers_share=share,
        carriers=tuple(int(i) for i in carriers if i != 0),
    )
