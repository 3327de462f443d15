"""How close the recorded rows come to what the model computed, measured on a few rows of each run.

Two figures. The rows times the values against the kernel's own output: whether the rows are those
of the kernel. The rows against the explicit attention of the model's own file: whether they are
those that `output_attentions` would show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from var_studio.engine.attention import Call, eager_function, mixed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch


@dataclass(slots=True)
class Fidelity:
    """Worst differences over sampled rows.

    `worst_difference`: |row @ v - output|, in units of the output, whose largest is
    `largest_output`, over `rows` rows. `worst_attention_difference`: |Δα| over
    `attention_rows` rows; None where the model has no explicit attention to compare with.
    """

    worst_difference: float = 0.0
    largest_output: float = 0.0
    rows: int = 0
    worst_attention_difference: float | None = None
    attention_rows: int = 0


class Sampler:
    """Compares rows with the kernel and with explicit attention during a pass.

    Everything stays on the device until `pending` is brought over with the rest of the pass.
    """

    def __init__(self, device: torch.device) -> None:
        self.fidelity = Fidelity()
        self._device = device
        self._outputs: list[torch.Tensor] = []
        self._weights: list[torch.Tensor] = []

    def clear(self) -> None:
        """Forget what a pass left that was not collected."""
        self._outputs, self._weights = [], []

    def compare_output(
        self, call: Call, rows: torch.Tensor, queries: torch.Tensor | None = None
    ) -> None:
        """Compare explicit `rows` (H, R, K) with what the kernel made of them.

        `queries` (R,) int64 are their places in the call; None: its only one.
        """
        import torch

        output = call.output if queries is None else call.output[queries]
        worst = (mixed(rows, call.value.float()) - output.float()).abs().amax()
        self._outputs.append(torch.stack((worst, output.abs().amax().float())).to(self._device))
        self.fidelity.rows += rows.shape[0] * rows.shape[1]

    def compare_weights(
        self, call: Call, rows: torch.Tensor, queries: torch.Tensor | None = None
    ) -> None:
        """Compare explicit `rows` with those of the model's own explicit attention."""
        weights = explicit_weights(call, queries)
        if weights is None:
            return
        worst = (weights.float() - rows).abs().amax()
        self._weights.append(worst.to(self._device))
        self.fidelity.attention_rows += rows.shape[0] * rows.shape[1]

    def pending(self) -> torch.Tensor | None:
        """What this pass found, on the device: (2,) or (3,) float32."""
        import torch

        if not self._outputs:
            return None
        found = torch.stack(self._outputs).amax(0)
        if self._weights:
            found = torch.cat((found, torch.stack(self._weights).amax().view(1)))
        return found

    def take(self, found: npt.NDArray[np.float32]) -> None:
        """Count in what `pending` gave, brought to the host."""
        worst, largest, *weights = (float(x) for x in found)
        fidelity = self.fidelity
        fidelity.worst_difference = max(fidelity.worst_difference, worst)
        fidelity.largest_output = max(fidelity.largest_output, largest)
        if weights:
            former = fidelity.worst_attention_difference or 0.0
            fidelity.worst_attention_difference = max(former, weights[0])


def explicit_weights(call: Call, queries: torch.Tensor | None = None) -> torch.Tensor | None:
    """Weights (H, R, K) by `eager_attention_forward` of the module's own file; None without one.

    Run on the queries wanted alone, in the model's precision, under the call's own mask.
    """
    import torch

    explicit = eager_function(call.module)
    if explicit is None:
        return None
    query = call.query if queries is None else call.query[:, queries]
    n_keys, mask = call.key.shape[1], call.mask
    if mask is not None:
        mask = mask[..., :n_keys] if queries is None else mask[:, queries, :n_keys]
    elif call.causal:
        at = torch.arange(query.shape[1], device=query.device) if queries is None else queries
        mask = (torch.arange(n_keys, device=query.device) <= at[:, None])[None]
    if mask is not None and mask.dtype == torch.bool:
        lowest = torch.finfo(query.dtype).min
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, lowest)
    _, weights = explicit(
        call.module,
        query[None],
        call.key[None],
        call.value[None],
        None if mask is None else mask[None],
        scaling=call.scaling,
        **call.options,
    )
    return None if weights is None else weights[0]
