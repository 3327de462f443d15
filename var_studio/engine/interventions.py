"""Redistribution inside the running model: which tokens are sinks, and what each row becomes.

The equations are `var_studio.method`'s; prompts go through its functions as they are. A decode
step has one row per head, where calling them would cost more than computing: `step_change` is the
same in a few operations, on masks kept as numbers; on the CPU they are NumPy's, whose calls cost a
third of torch's. Nothing is ever read back from a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from var_studio.engine.errors import SettingsError
from var_studio.method import conventions, heads, redistribution, sinks
from var_studio.recording.apply import active_layers
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    import torch

# Rows of the mask block: keys that are visual, that the head test counts, that give, that receive.
_VISUAL, _TESTED, _GIVES, _RECEIVES = range(4)
_TINY: Final = 1.2e-38  # the smallest normal float32: a budget over it is still finite


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
        self._rules = conventions.rules(settings.convention)
        self._tau = tau
        self._sink_dims = tuple(sink_dims)
        self._prompt_length = prompt_length
        self._visual = visual
        self._taken = conventions.share_taken(settings.p, settings.convention)
        # With no sink dimension no token is a sink: nothing would ever move.
        works = self._taken > 0 and bool(self._sink_dims)
        self.active = [bool(active) and works for active in active_layers(settings, n_layers)]
        length, device = len(visual), visual.device
        self._sinks = torch.zeros((n_layers, length), dtype=torch.bool, device=device)
        self._masks = torch.zeros((n_layers, 4, length), device=device)
        self._may_select = torch.ones((n_layers, 1), dtype=torch.bool, device=device)
        self._dims = list(self._sink_dims)
        if device.type == "cpu":
            # The same memory, seen by NumPy.
            self._xp: Any = np
            # A Python float would make NumPy's products with bool float64.
            self._step_taken: Any = np.float32(self._taken)
            self._step_masks: list[Any] = list(self._masks.numpy())
            self._step_may_select: list[Any] = list(self._may_select.numpy())
        else:
            self._xp = torch
            self._step_taken = self._taken
            self._step_masks = list(self._masks)
            self._step_may_select = list(self._may_select)
            self._dims = torch.tensor(self._dims, dtype=torch.int64, device=device)
        self._epsilon = 0.0
        if self._rules.epsilon_per_visual_token:
            self._epsilon = self._rules.epsilon_per_visual_token * int(visual.sum())

    def observe(self, layer: int, start: int, hidden: torch.Tensor) -> None:
        """Note which of the tokens `hidden` (n, D), from position `start` on, are sinks."""
        if not self.active[layer]:
            return
        if start >= self._prompt_length:
            if self._rules.generated_sinks:
                self._observe_step(layer, start, hidden)
            return
        phi = sinks.phi(hidden, self._sink_dims)
        found = sinks.sink_mask(phi, self._tau, self._settings.convention)
        self._sinks[layer, start : start + len(found)] = found
        self._fill_masks(layer)

    def _observe_step(self, layer: int, position: int, hidden: torch.Tensor) -> None:
        """phi >= tau for one token, as max x[d]^2 D >= tau^2 sum of x^2: no root, no division."""
        x: Any = hidden[0].float()
        if self._xp is np:
            x = x.numpy()
        largest = x[self._dims]
        is_sink = (largest * largest).max() * len(x) >= x.dot(x) * self._tau**2
        masks = self._step_masks[layer]
        masks[_GIVES, position] = is_sink
        if self._settings.target != "visual":
            masks[_RECEIVES, position] = ~is_sink

    def _fill_masks(self, layer: int) -> None:
        """Masks of a layer as numbers, from the sinks of the prompt; tokens to come are none."""
        visual, sink, masks = self._visual, self._sinks[layer], self._masks[layer]
        masks[_VISUAL] = visual
        # The head test asks for the non-sinks' part of the visual mass, or for the sinks' part.
        shares_sinks = self._rules.rho_bounds_sink_share
        masks[_TESTED] = visual & (sink if shares_sinks else ~sink)
        masks[_GIVES] = sink
        masks[_RECEIVES] = redistribution.receivers(visual, sink, self._settings.target)
        if not self._rules.selects_without_visual_sink:
            self._may_select[layer] = (visual & sink).any()

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

    def step_change(self, layer: int, rows: torch.Tensor, first_key: int = 0) -> torch.Tensor:
        """`change` for the rows (H, 1, K) of a decode step, in few operations."""
        import torch

        xp = self._xp
        alpha: Any = rows[:, 0]
        if xp is np:
            alpha = alpha.numpy()
        masks = self._step_masks[layer][:, first_key : first_key + alpha.shape[-1]]
        sums = (alpha @ masks.T).T
        given, pool = sums[_GIVES], sums[_RECEIVES]
        moves = (given > 0) & (pool >= _TINY)
        if self._settings.heads != "all":
            moves = moves & self._selects(layer, sums[_VISUAL], sums[_TESTED])
        taken = moves * self._step_taken
        gained = taken * given / (pool + ~moves)
        change = xp.stack([-taken, gained], -1) @ masks[_GIVES:] * alpha
        return (torch.from_numpy(change) if xp is np else change)[:, None]

    def _selects(self, layer: int, mass: Any, tested: Any) -> Any:
        """Whether a head is image-centric (Sec. 5.1): the test without its division."""
        settings = self._settings
        looks = (mass >= settings.mass_min) & (mass > 0)
        if self._rules.rho_bounds_sink_share:
            looks = looks & (tested <= settings.rho * (mass + self._epsilon))
        else:
            looks = looks & (tested >= settings.rho * mass)
        if not self._rules.selects_without_visual_sink:
            looks = looks & self._step_may_select[layer]
        return looks
