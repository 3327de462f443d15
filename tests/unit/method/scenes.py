"""Random layers for the property tests: attention rows with their visual and sink keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@dataclass(frozen=True)
class Scene:
    """One layer: attention (H, Q, T) float64 with rows that sum to 1, and masks over keys."""

    attention: np.ndarray
    visual: np.ndarray
    sink: np.ndarray
    selected: np.ndarray


@st.composite
def scenes(draw: st.DrawFn, max_keys: int = 9) -> Scene:
    """Draw a layer; zero weights (the future of a query) and empty masks included."""
    n_heads, n_queries = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n_keys = draw(st.integers(1, max_keys))
    shape = (n_heads, n_queries, n_keys)
    weight = st.one_of(st.just(0.0), st.floats(1e-3, 1.0))
    raw = draw(hnp.arrays(np.float64, shape, elements=weight))
    raw[..., 0] += raw.sum(axis=-1) == 0
    mask = hnp.arrays(np.bool_, (n_keys,))
    return Scene(
        attention=raw / raw.sum(axis=-1, keepdims=True),
        visual=draw(mask),
        sink=draw(mask),
        selected=draw(hnp.arrays(np.bool_, shape[:2])),
    )


shares = st.one_of(st.sampled_from([0.0, 0.6, 1.0]), st.floats(0.0, 1.0, allow_subnormal=False))
conventions = st.sampled_from(["paper", "released-code"])
targets = st.sampled_from(["visual", "text", "both"])
sources = st.sampled_from(["all", "visual", "text"])
