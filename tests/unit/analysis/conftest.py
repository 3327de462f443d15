"""A run small enough for loops in plain Python, without a file behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import Token


@dataclass
class SmallRun:
    """What a Reading asks of a recording. Token 0 is BOS, then text, image, text, answer."""

    rows: np.ndarray  # (Q, L, H, T)
    values: np.ndarray  # (L, T)
    tokens: tuple[Token, ...]
    layout: VisualLayout
    query_positions: np.ndarray
    tau_default: float = 4.0
    sink_dims: tuple[int, ...] = (0,)
    finished: bool = True
    calls: list[int] = field(default_factory=list)

    @property
    def n_layers(self) -> int:
        return self.rows.shape[1]

    @property
    def n_heads(self) -> int:
        return self.rows.shape[2]

    @property
    def visual(self) -> np.ndarray:
        return self.layout.mask(len(self.tokens))

    @property
    def generated_positions(self) -> np.ndarray:
        return np.array([t.position for t in self.tokens if t.role == "generated"])

    @property
    def prompt_length(self) -> int:
        return next((t.position for t in self.tokens if t.role == "generated"), len(self.tokens))

    def attention(self, query: int) -> np.ndarray:
        self.calls.append(query)
        return self.rows[query]

    def unknown_keys(self, query: int) -> None:
        """Every weight is there."""

    def phi(self, sink_dims: tuple[int, ...] | None = None) -> np.ndarray:
        return self.values

    def phi_bound(self, sink_dims: tuple[int, ...] | None = None) -> np.ndarray:
        return self.values

    def sinks_under(self, settings: Redistribution) -> np.ndarray:
        tau = self.tau_default if settings.tau is None else settings.tau
        sinks = self.values > tau if settings.convention == "released-code" else self.values >= tau
        if settings.convention == "released-code":
            sinks[:2] = sinks[:, self.prompt_length :] = False
        return sinks

    def value_norm(self) -> np.ndarray:
        """(L, H, T), another number for each."""
        shape = self.rows.shape[1:]
        return (1.0 + np.arange(np.prod(shape)) % 17).reshape(shape).astype(np.float32)


def small_run(
    seed: int = 0,
    layers: int = 5,
    heads: int = 4,
    side: int = 3,
    separators: bool = False,
    system: int = 3,
) -> SmallRun:
    """Random rows with sinks; with `separators` a non-patch ends each row of the image. `system`:
    how many tokens come before the image."""
    rng = np.random.default_rng(seed)
    width = side + int(separators)
    roles = ["system"] * system + ["visual"] * (side * width) + ["prompt"] * 3 + ["generated"] * 3
    length = len(roles)
    positions = np.array([i for i, role in enumerate(roles) if role == "visual"])
    tokens = np.arange(side * width).reshape(side, width)[:, :side]
    boxes = np.full((side * width, 4), np.nan)
    for row in range(side):
        for col in range(side):
            boxes[tokens[row, col]] = (col * 10, row * 10, col * 10 + 10, row * 10 + 10)
    layout = VisualLayout(
        image_sizes=((10 * side, 10 * side),),
        positions=positions,
        views=(View("image", 0, (0.0, 0.0, 10.0 * side, 10.0 * side), tokens),),
        boxes=boxes,
    )
    queries = np.array([i for i, role in enumerate(roles) if role in ("prompt", "generated")])
    logits = rng.normal(size=(len(queries), layers, heads, length)) * 1.5
    phi = rng.uniform(0, 3, size=(layers, length))
    phi[1:, 0] = 9
    phi[1:, positions[1]] = 8
    phi[2:, positions[-2]] = 4.0  # exactly the default tau
    phi[3:, length - 2] = 7  # a generated sink
    logits += np.where(phi > 3.5, 1.5, 0)[None, :, None]
    logits[
        np.broadcast_to(np.arange(length) > queries[:, None, None, None], logits.shape)
    ] = -np.inf
    rows = np.exp(logits - logits.max(-1, keepdims=True))
    rows = (rows / rows.sum(-1, keepdims=True)).astype(np.float32)
    return SmallRun(
        rows=rows,
        values=phi.astype(np.float32),
        tokens=tuple(Token(i, i + 100, f"t{i}", role) for i, role in enumerate(roles)),
        layout=layout,
        query_positions=queries,
    )


@pytest.fixture
def make_small_run() -> Callable[..., SmallRun]:
    return small_run
