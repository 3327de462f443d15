"""Interventions in attention inside the running model.

What a run's settings mean for rows is said in `recording.apply`, for recorded rows and for these.
Here is what a run adds: the sinks are found as the layers go by, and nothing is ever read back
from a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from var_studio.engine.redistributor import Redistributor, steps_in_numpy
from var_studio.method import sinks
from var_studio.recording.apply import (
    Where,
    active_layers,
    after,
    check_layers,
    marked_keys,
    sink_masks,
)
from var_studio.recording.interventions import on_attention
from var_studio.recording.settings import HeadAblation, Intervention, Knockout, Redistribution

if TYPE_CHECKING:
    import torch


class Acts(Protocol):
    """What changes the rows of text queries, in every layer for which `active` is True."""

    active: list[bool]

    def observe(self, layer: int, start: int, hidden: torch.Tensor) -> None:
        """Note the layer's input `hidden` (n, D) of the tokens from position `start` on."""

    def change(
        self, layer: int, rows: torch.Tensor, first_key: int, positions: torch.Tensor
    ) -> torch.Tensor:
        """What is added to `rows` (H, R, K) float32 of the queries at `positions` (R,) int64.

        Zero in a row that is left as it is. `first_key` is the position of key 0 (beyond 0 in a
        layer with a sliding window).
        """

    def step_change(
        self, layer: int, rows: torch.Tensor, first_key: int, position: int
    ) -> torch.Tensor | None:
        """`change` for the row (H, 1, K) of a decode step; None where it is known for free that
        nothing changes."""


def build(
    interventions: Sequence[Intervention],
    *,
    tau_default: float,
    sink_dims: Sequence[int],
    n_layers: int,
    visual: torch.Tensor,
    visual_positions: Sequence[int],
    prompt_length: int,
) -> Acts | None:
    """What acts on attention in one run; None if nothing does.

    `visual` (length_max,) bool lies on the model's device; `visual_positions` (V,) are those of
    the visual tokens. `tau_default` is for settings that name no τ. Raises SettingsError for a
    layer or a token that there is not.
    """
    parts: list[Acts] = []
    for settings in on_attention(interventions):
        kind: Any = Redistributor if isinstance(settings, Redistribution) else Masker
        parts.append(
            kind(
                settings,
                tau=tau_default if settings.tau is None else settings.tau,
                sink_dims=sink_dims,
                n_layers=n_layers,
                visual=visual,
                visual_positions=visual_positions,
                prompt_length=prompt_length,
            )
        )
    if len(parts) < 2:
        return parts[0] if parts else None
    return OneAfterAnother(parts)


class Masker:
    """Hides keys from text queries: a `Knockout`, or a `HeadAblation`."""

    def __init__(
        self,
        settings: Knockout | HeadAblation,
        *,
        tau: float,
        sink_dims: Sequence[int],
        n_layers: int,
        visual: torch.Tensor,
        visual_positions: Sequence[int],
        prompt_length: int,
    ) -> None:
        """As `build`."""
        check_layers(settings, n_layers)
        self._settings = settings
        self._tau = tau
        self._sink_dims = tuple(sink_dims)
        self._visual = visual
        self._visual_positions = visual_positions
        self._prompt_length = prompt_length
        self._sinks = visual.new_zeros((n_layers, len(visual)))
        self._needs_sinks = isinstance(settings, HeadAblation) or settings.tokens != "chosen"
        # Chosen tokens are the same in all layers: their mask goes to the device once.
        marked = None if self._needs_sinks else self._mark(0)
        self._marked = [marked] * n_layers
        # With no sink dimension no token is a sink, and none would be knocked out.
        works = not isinstance(settings, Knockout) or not self._needs_sinks or bool(sink_dims)
        self.active = [bool(active) and works for active in active_layers(settings, n_layers)]

    def observe(self, layer: int, start: int, hidden: torch.Tensor) -> None:
        """Find the sinks of the prompt: visual ones are all that matters, and they lie there."""
        if not (self.active[layer] and self._needs_sinks) or start >= self._prompt_length:
            return
        found = sink_masks(
            sinks.phi(hidden, self._sink_dims),
            self._tau,
            prompt_length=self._prompt_length,
            convention=self._settings.convention,
            layer=layer,
        )
        self._sinks[layer, start : start + len(found)] = found
        self._marked[layer] = self._mark(layer)

    def _mark(self, layer: int) -> torch.Tensor | None:
        marked: torch.Tensor | None = marked_keys(
            self._settings, self._visual, self._sinks[layer], layer, self._visual_positions
        )
        return marked

    def change(
        self, layer: int, rows: torch.Tensor, first_key: int, positions: torch.Tensor
    ) -> torch.Tensor:
        """As `Acts.change`."""
        where = self._where(layer, first_key, rows.shape[-1], positions)
        changed: torch.Tensor = after(rows, self._settings, where) - rows
        return changed

    def step_change(
        self, layer: int, rows: torch.Tensor, first_key: int, position: int
    ) -> torch.Tensor:
        """As `Acts.step_change`."""
        import torch

        if not steps_in_numpy(rows.device):
            positions = torch.full((1,), position, dtype=torch.int64, device=rows.device)
            return self.change(layer, rows, first_key, positions)
        found = self._where(layer, first_key, rows.shape[-1], torch.tensor([position]))
        # The same memory, seen by NumPy, whose calls cost less.
        where = Where(
            found.visual.numpy(),
            found.sinks.numpy(),
            None if found.marked is None else found.marked.numpy(),
            layer,
            found.queries.numpy(),
        )
        row = rows.numpy()
        return torch.from_numpy(after(row, self._settings, where) - row)

    def _where(self, layer: int, first_key: int, n_keys: int, positions: torch.Tensor) -> Where:
        keys, marked = slice(first_key, first_key + n_keys), self._marked[layer]
        return Where(
            self._visual[keys],
            self._sinks[layer, keys],
            None if marked is None else marked[keys],
            layer,
            positions,
        )


class OneAfterAnother:
    """Several interventions, each on the rows that the one before it left."""

    def __init__(self, parts: Sequence[Acts]) -> None:
        self._parts = tuple(parts)
        self.active = [any(layer) for layer in zip(*(p.active for p in parts), strict=True)]

    def observe(self, layer: int, start: int, hidden: torch.Tensor) -> None:
        """As `Acts.observe`."""
        for part in self._parts:
            part.observe(layer, start, hidden)

    def change(
        self, layer: int, rows: torch.Tensor, first_key: int, positions: torch.Tensor
    ) -> torch.Tensor:
        """As `Acts.change`."""
        changed = rows
        for part in self._parts:
            if part.active[layer]:
                changed = changed + part.change(layer, changed, first_key, positions)
        return changed - rows

    def step_change(
        self, layer: int, rows: torch.Tensor, first_key: int, position: int
    ) -> torch.Tensor | None:
        """As `Acts.step_change`."""
        changed = rows
        for part in self._parts:
            if part.active[layer]:
                more = part.step_change(layer, changed, first_key, position)
                changed = changed if more is None else changed + more
        return None if changed is rows else changed - rows
