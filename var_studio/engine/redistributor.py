"""Redistribution inside the running model: which tokens are sinks, and what a row gains.

The equations are `var_studio.method`'s; prompts go through its functions as they are. A decode
step has one row per head, where calling them would cost more than computing: `step_change` is the
same in a few operations, on masks kept as numbers; on the CPU they are NumPy's, whose calls cost a
third of torch's. Nothing is ever read back from a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from var_studio.method import conventions, redistribution, sinks
from var_studio.recording.apply import Where, active_layers, after, check_layers, marked_keys
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    import torch

# Rows of the mask block: visual keys, weights of the head test, keys that give, that receive.
_VISUAL, _TEST, _GIVES, _RECEIVES = range(4)
# Attention that no float32 row can move: a budget is never divided by less.
_LITTLE: Final = 1e-30
_TINY: Final = 1e-37


def steps_in_numpy(device: torch.device) -> bool:
    """Whether decode steps on this device are computed with NumPy."""
    return device.type == "cpu"


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
        visual_positions: Sequence[int],
        prompt_length: int,
        numpy_steps: bool | None = None,
    ) -> None:
        """`visual` (length_max,) bool lies on the model's device; `visual_positions` (V,) are
        those of the visual tokens. Raises SettingsError.

        `numpy_steps`: compute decode steps with NumPy (default: where the device is the CPU).
        """
        import torch

        check_layers(settings, n_layers)
        self._settings = settings
        self._rules = conventions.rules(settings.convention)
        self._tau = tau
        self._sink_dims = tuple(sink_dims)
        # A state of zeros has phi 0, which reaches a tau of 0 alone.
        self._least = _TINY if tau > 0 else 0.0
        self._prompt_length = prompt_length
        self._visual = visual
        self._region = marked_keys(settings, visual, visual, 0, visual_positions)
        self._taken = conventions.share_taken(settings.p, settings.convention)
        # With no sink dimension no token is a sink: nothing would ever move.
        works = self._taken > 0 and bool(self._sink_dims)
        self.active = [bool(active) and works for active in active_layers(settings, n_layers)]
        length, device = len(visual), visual.device
        self._sinks = torch.zeros((n_layers, length), dtype=torch.bool, device=device)
        self._masks = torch.zeros((n_layers, 4, length), device=device)
        self._may_select = torch.ones((n_layers, 1), dtype=torch.bool, device=device)
        if steps_in_numpy(device) if numpy_steps is None else numpy_steps:
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
            self._least_bound = torch.tensor(self._least, device=device)
            self._dims_index = torch.tensor(self._sink_dims, dtype=torch.int64, device=device)
        # Rounding of a sum of float32: a share of exactly rho passes, as it does by division.
        self._test_bound = -1e-7
        if self._rules.epsilon_per_visual_token:
            epsilon = self._rules.epsilon_per_visual_token * int(visual.sum())
            self._test_bound -= settings.rho * epsilon

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
        """phi >= tau for one token, as max x[d]^2 D >= tau^2 sum of x^2: no root, no division.

        With a tiny number on the right, or a state of zeros would pass every tau.
        """
        x: Any = hidden[0]
        masks = self._step_masks[layer]
        if self._xp is np:
            x = (x if x.element_size() == 4 else x.float()).numpy()
            largest: Any = max(float(x[d]) ** 2 for d in self._sink_dims)
            bound = x.dot(x) * self._tau**2 + self._least
        else:
            x = x.float()
            largest = x.index_select(0, self._dims_index).square().amax()
            bound = self._least_bound.add(x.dot(x), alpha=self._tau**2)
        is_sink = largest * len(x) >= bound
        if self._settings.source != "visual":
            masks[_GIVES, position] = is_sink
        if self._settings.target in ("text", "both"):
            masks[_RECEIVES, position] = 1.0 - 1.0 * is_sink

    def _fill_masks(self, layer: int) -> None:
        """Masks of a layer as numbers, from the sinks of the prompt; tokens to come are none."""
        visual, sink, masks = self._visual, self._sinks[layer], self._masks[layer]
        masks[_VISUAL] = visual
        masks[_TEST] = self._test_weights(visual, sink)
        masks[_GIVES] = redistribution.givers(visual, sink, self._settings.source)
        target = self._settings.target if self._region is None else self._region
        masks[_RECEIVES] = redistribution.receivers(visual, sink, target)
        if not self._rules.selects_without_visual_sink:
            self._may_select[layer] = (visual & sink).any()

    def _test_weights(self, visual: torch.Tensor, sink: torch.Tensor) -> torch.Tensor:
        """The head test as one weighted sum of a row that must not be negative (Sec. 5.1).

        Paper: non-sinks - rho · visual mass. Released code: rho · (mass + epsilon) - sinks, of
        which rho · epsilon, which is no part of a row, is added in `_selects`.
        """
        rho, mass = self._settings.rho, visual.float()
        if self._rules.rho_bounds_sink_share:
            return rho * mass - (visual & sink).float()
        return (visual & ~sink).float() - rho * mass

    def change(
        self,
        layer: int,
        rows: torch.Tensor,
        first_key: int = 0,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What redistribution adds to `rows` (H, R, K): zero in a row that is left as it is.

        `first_key` is the position of key 0 (beyond 0 in a layer with a sliding window).
        """
        keys = slice(first_key, first_key + rows.shape[-1])
        region = None if self._region is None else self._region[keys]
        where = Where(self._visual[keys], self._sinks[layer, keys], region, layer, positions)
        moved: torch.Tensor = after(rows, self._settings, where) - rows
        return moved

    def step_change(
        self, layer: int, rows: torch.Tensor, first_key: int = 0, position: int = 0
    ) -> torch.Tensor | None:
        """`change` for the rows (H, 1, K) of a decode step, in few operations.

        None where it is known for free (on the CPU) that no row changes.
        """
        import torch

        alpha: Any = rows[:, 0]
        n_keys = rows.shape[-1]
        masks = self._step_masks[layer]
        if first_key or n_keys < masks.shape[-1]:
            masks = masks[:, first_key : first_key + n_keys]
        if self._xp is np:
            alpha = alpha.numpy()
        mass, test, given, pool = (alpha @ masks.T).T
        selected = self._selects(layer, mass, test, pool)
        if self._xp is np and not selected.any():
            return None
        taken = selected * self._step_taken
        # Without a budget nothing is added either; without receivers the row is not selected.
        gained = taken * given / (pool + _TINY)
        if self._xp is np:
            change = np.array((-taken, gained)).T @ masks[_GIVES:] * alpha
            return torch.from_numpy(change)[:, None]
        factors = torch.stack((-taken, gained), -1)
        moved: torch.Tensor = factors @ masks[_GIVES:] * alpha
        return moved[:, None]

    def _selects(self, layer: int, mass: Any, test: Any, pool: Any) -> Any:
        """Rows to redistribute, (H,) bool: image-centric heads whose receivers have attention."""
        settings = self._settings
        some = pool > _LITTLE
        if settings.heads == "all":
            return some
        passes = (mass >= max(settings.mass_min, _LITTLE)) & (test >= self._test_bound) & some
        if self._rules.selects_without_visual_sink:
            return passes
        return passes & self._step_may_select[layer]
