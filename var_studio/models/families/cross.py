"""Visual tokens that are keys of cross-attention layers and no positions of the sequence.

A recording has one sequence for all layers. In it the keys of an image stand right after the
image's placeholder: rows of cross-attention layers live on them, rows of other layers are zero
there, and, since they have no state in the decoder, phi is undefined there. This is the one place
that maps positions of the model to those of the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from var_studio.recording.tokens import Token

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CrossKeys:
    """Where positions of the model stand in a recording.

    `layers` are the cross-attention layers. `keys` (K,): position of each of their keys in the
    recording, -1 for one that no token sees (tiles that only fill up a batch). `inputs`: position
    of each token up to the first one after all images; the others follow it.
    """

    layers: frozenset[int]
    keys: Positions
    inputs: Positions

    @classmethod
    def after(
        cls, layers: frozenset[int], placeholders: Sequence[int], seen: npt.NDArray[np.bool_]
    ) -> CrossKeys:
        """Put the keys of image i after the placeholder i; `seen` (images, keys of each) bool."""
        length = max(placeholders) + 1
        counts = seen.sum(-1)
        before = np.zeros(length + 1, dtype=np.int64)
        for position, count in zip(placeholders, counts, strict=True):
            before[position + 1] = count
        keys = np.full(seen.shape, -1, dtype=np.int64)
        shift = 0
        for image, position in enumerate(placeholders):
            keys[image, seen[image]] = position + 1 + shift + np.arange(counts[image])
            shift += int(counts[image])
        inputs = np.arange(length + 1) + before.cumsum()
        return cls(layers, keys.ravel(), inputs)

    @property
    def visual(self) -> Positions:
        """Positions in the recording of the keys that tokens see, (V,) ascending."""
        return np.sort(self.keys[self.keys >= 0])

    def recorded(self, positions: Sequence[int] | Positions) -> Positions:
        """Positions in the recording of positions of the model."""
        positions = np.asarray(positions, dtype=np.int64)
        last = len(self.inputs) - 1
        beyond = np.maximum(positions - last, 0)
        return np.asarray(self.inputs[np.minimum(positions, last)] + beyond)

    def of_model(self, positions: Sequence[int] | Positions) -> Positions:
        """Positions of the model of positions in the recording, which must be no visual keys."""
        positions = np.asarray(positions, dtype=np.int64)
        before = np.searchsorted(self.visual, positions)
        return np.asarray(positions - before)

    def inserted(self, tokens: Sequence[Token]) -> tuple[Token, ...]:
        """The prompt's tokens with the visual keys between them, named like their placeholder."""
        placed = {
            int(at): replace(token, position=int(at))
            for at, token in zip(self.recorded(range(len(tokens))), tokens, strict=True)
        }
        result: list[Token] = []
        for position in range(len(tokens) + len(self.visual)):
            known = placed.get(position)
            result.append(replace(result[-1], position=position) if known is None else known)
        return tuple(result)
