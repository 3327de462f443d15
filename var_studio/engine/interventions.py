"""Redistribution inside the running model: which tokens are sinks, and what each row becomes.

The equations are `var_studio.method`'s. Here is only the state they need while a sequence grows:
the sinks of every layer so far. Nothing is read back from the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from var_studio.engine.errors import SettingsError
from var_studio.method import conventions, heads, redistribution, sinks
from var_studio.recording.apply import active_layers
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    import torch


class Redistributor:
    """Applies one `Redistribution` in every active layer and step of a run."""

    def __init__(
        self,
        settings: Redistribution,
        *,
        tau: float,
        sink_dims: Sequence[int],
        n_layers: int,
        visual: torch.Tensor,
        prompt_length: int,
    ) -> None:
        """`visual` (length_max,) bool lies on the model's device. Raises SettingsError."""
        import torch

        if settings.first_layer >= n_layers or (settings.last_layer or 0) >= n_layers:
            raise SettingsError(
                f"The model has layers 0 to {n_layers - 1}; the settings name layer "
                f"{max(settings.first_layer, settings.last_layer or 0)}.",
                "Choose a layer range within the model.",
            )
        self._settings = settings
        self._tau = tau
        self._sink_dims = tuple(sink_dims)
        self._prompt_length = prompt_length
        self._grows = conventions.generated_tokens_can_be_sinks(settings.convention)
        self._visual = visual
        takes = conventions.share_taken(settings.p, settings.convention) > 0
        # With no sink dimension no token is a sink: nothing would ever move.
        works = takes and bool(self._sink_dims)
        self.active = [bool(active) and works for active in active_layers(settings, n_layers)]
        self._sinks = torch.zeros(n_layers, len(visual), dtype=torch.bool, device=visual.device)

    def observe(self, layer: int, start: int, hidden: torch.Tensor) -> None:
        """Note which of the tokens `hidden` (n, D), from position `start` on, are sinks."""
        if not self.active[layer] or (start >= self._prompt_length and not self._grows):
            return
        phi = sinks.phi(hidden, self._sink_dims)
        found = sinks.sink_mask(phi, self._tau, self._settings.convention)
        self._sinks[layer, start : start + len(found)] = found

    def change(self, layer: int, rows: torch.Tensor, first_key: int = 0) -> torch.Tensor:
        """What redistribution adds to `rows` (H, R, K): zero in a row that is left as it is.

        `first_key` is the position of key 0 (beyond 0 in a layer with a sliding window).
        """
        import torch

        keys = slice(first_key, first_key + rows.shape[-1])
        visual, sink = self._visual[keys], self._sinks[layer, keys]
        settings = self._settings
        if settings.heads == "all":
            selected = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        else:
            selected = heads.image_centric(
                rows,
                visual,
                sink,
                rho=settings.rho,
                mass_min=settings.mass_min,
                convention=settings.convention,
            )
        after: torch.Tensor = redistribution.redistribute(
            rows,
            visual,
            sink,
            selected,
            p=settings.p,
            target=settings.target,
            convention=settings.convention,
        )
        return after - rows
