"""Hidden states of single tokens over the dimensions (Fig. 2 and 7), as far as recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import Floats
from var_studio.analysis.reading import Reading

Kind = Literal["first", "sink", "ordinary", "chosen"]

MOST_CHOSEN = 3
"""So many selected cells are shown beside the other three."""


@dataclass(frozen=True, slots=True)
class TokenProfile:
    """abs(x[d]) / rms(x) of one token at the input of one layer, as far as it was recorded.

    `dims` (n,) and `magnitudes` (n,): the largest ones, descending. `floor`: the least of them; of
    every other dimension no more is known than that it lies below. `sink_dims` (m,) with
    `sink_magnitudes` (m,): those of the settings; NaN for one that lies below and was not recorded
    on its own. `token`: index among the visual tokens, -1 for text.
    """

    kind: Kind
    position: int
    token: int
    dims: npt.NDArray[np.int32]
    magnitudes: Floats
    sink_dims: tuple[int, ...]
    sink_magnitudes: Floats

    @property
    def floor(self) -> float:
        """Where the recorded dimensions end; 0 where none was recorded."""
        return float(self.magnitudes[-1]) if len(self.magnitudes) else 0.0


def profile(reading: Reading, position: int, kind: Kind, token: int = -1) -> TokenProfile:
    """The profile of the token at a position, in the layer in focus."""
    run, layer = reading.run, reading.focus.layer
    dims, values = (array[layer, position] for array in run.top_dims())
    known = np.isfinite(values)
    sizes = np.abs(values[known])
    order = np.argsort(-sizes, kind="stable")
    dims, sizes = dims[known][order], sizes[order]
    own = np.abs(run.signed_values[layer, position])
    asked = run.sink_dims if reading.settings.sink_dims is None else reading.settings.sink_dims
    of_sinks = np.full(len(asked), np.nan, dtype=np.float32)
    for index, dim in enumerate(asked):
        if dim in run.sink_dims:
            of_sinks[index] = own[run.sink_dims.index(dim)]
        elif dim in dims:
            of_sinks[index] = sizes[int(np.flatnonzero(dims == dim)[0])]
    return TokenProfile(kind, position, token, dims, sizes, tuple(asked), of_sinks)


def profiles(reading: Reading, cells: Iterable[int] = ()) -> tuple[TokenProfile, ...]:
    """The tokens that Fig. 2 compares, in the layer in focus, then the chosen visual tokens.

    The first token; the visual sink with the largest phi; and the visual token that is no sink
    and gets the most attention from the heads in focus. What a layer does not have is left out.
    `cells`: visual tokens by index, the first `MOST_CHOSEN` of them.
    """
    found = [profile(reading, 0, "first")]
    patches = reading.visual[reading.positions]
    sinks = reading.visual_sinks
    phi = reading.phi[reading.focus.layer, reading.positions]
    for kind, mask, by in (
        ("sink", sinks, phi),
        ("ordinary", patches & ~sinks, reading.map_before),
    ):
        here = np.flatnonzero(mask)
        if len(here):
            token = int(here[np.argmax(by[here])])
            found.append(_of_visual(reading, token, "sink" if kind == "sink" else "ordinary"))
    shown = {p.token for p in found}
    there = set(range(len(reading.positions)))
    chosen = sorted(token for token in set(cells) & there if token not in shown)
    return (*found, *(_of_visual(reading, token, "chosen") for token in chosen[:MOST_CHOSEN]))


def _of_visual(reading: Reading, token: int, kind: Kind) -> TokenProfile:
    return profile(reading, int(reading.positions[token]), kind, token)
