"""What is read off a forward pass: layer inputs, value norms, text rows; and how it is sent over.

A pass is one call of the model: the prefill, a decode step, or the closing step. During a pass
everything stays on the device; `collect` brings one packed block to the host at its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from var_studio.engine.attention import add_mixed, mixed, row_of, rows_of, tapped
from var_studio.engine.errors import RunCancelled
from var_studio.method import contribution, sinks

if TYPE_CHECKING:
    import torch

    from var_studio.engine.interventions import Redistributor
    from var_studio.models.loaded import LoadedModel

TOP_DIMS: Final = 16
_CHUNK_BYTES: Final = 64 << 20
_SAMPLED_ROWS: Final = 4
_SAMPLED_STEPS: Final = 32

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class Pass:
    """What one pass over positions start .. start + n - 1 left behind, on the host.

    `signed_values` (L, n, S), `top_dims` and `top_values` (L, n, 16), `value_norm` (L, H, n),
    `rows` (L, H, R, K) of the queries at `positions` (R,).
    """

    start: int
    signed_values: Floats
    top_dims: npt.NDArray[np.int32]
    top_values: Floats
    value_norm: Floats
    positions: tuple[int, ...]
    rows: npt.NDArray[np.floating[Any]]


@dataclass(slots=True)
class Fidelity:
    """How close explicit rows come to the kernel: worst |row @ v - output| over sampled rows."""

    worst_difference: float = 0.0
    largest_output: float = 0.0
    rows: int = 0


class Capture:
    """Listens to one model during one run. Batch size 1."""

    def __init__(
        self,
        lmm: LoadedModel,
        *,
        sink_dims: Sequence[int],
        query_positions: Sequence[int] = (),
        prompt_length: int,
        half: bool = False,
        redistributor: Redistributor | None = None,
        cancel: threading.Event | None = None,
        on_layer: Callable[[int], None] | None = None,
        rows_wanted: bool = True,
    ) -> None:
        """`query_positions` are the prompt's; later positions are all recorded. With `half`,
        rows are float16. `on_layer(layer)` is called as each layer of the prefill begins."""
        import torch

        self.fidelity = Fidelity()
        self.fed = 0
        self._lmm = lmm
        self._n_layers, self._n_heads = lmm.n_layers, lmm.n_heads
        self._sink_dims = tuple(sink_dims)
        self._dims_index = torch.tensor(self._sink_dims, dtype=torch.int64, device=lmm.device)
        self._query_positions = np.asarray(query_positions, dtype=np.int64)
        self._prompt_length = prompt_length
        self._half = half
        self._redistributor = redistributor
        self._cancel = cancel
        self._on_layer = on_layer
        self._rows_wanted = rows_wanted
        self._muted = False
        self._steps = 0
        self._clear()

    def _clear(self) -> None:
        self._start = self._n = 0
        self._hidden: list[torch.Tensor] = []
        self._signed: list[torch.Tensor] = []
        self._top: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._values: list[torch.Tensor] = []
        self._norms: list[torch.Tensor] = []
        self._rows: list[torch.Tensor] = []
        self._row_block: torch.Tensor | None = None
        self._positions: tuple[int, ...] = ()
        self._local: torch.Tensor | None = None
        self._sampled: list[tuple[torch.Tensor, torch.Tensor]] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Listen while the block runs; hooks, taps and attention are as before in any case."""
        layers = self._lmm.decoder_layers
        with ExitStack() as stack:
            for index, layer in enumerate(layers):
                handle = layer.register_forward_pre_hook(self._hook(index), with_kwargs=True)
                stack.callback(handle.remove)
            taps = {layer.self_attn: self._tap(i) for i, layer in enumerate(layers)}
            stack.enter_context(tapped(self._lmm.hf_model, taps))
            stack.callback(self._clear)
            yield

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Let passes go by unseen and unchanged while the block runs; `cancel` still stops them."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    # ------------------------------------------------------------------- during a pass

    def _hook(self, layer: int) -> Callable[[Any, Any, Any], None]:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            self._layer_begins(layer, hidden[0])

        return hook

    def _layer_begins(self, layer: int, hidden: torch.Tensor) -> None:
        """Read phi's inputs off the layer's input `hidden` (n, D)."""
        if self._cancel is not None and self._cancel.is_set():
            raise RunCancelled
        if self._muted:
            return
        if layer == 0:
            self._pass_begins(hidden)
        if self._on_layer is not None and self._start == 0:
            self._on_layer(layer)
        if self._redistributor is not None:
            self._redistributor.observe(layer, self._start, hidden)
        if self._n == 1:
            # A step has little to compute: all layers together at its end.
            self._hidden.append(hidden)
        else:
            signed, top = self._measure(hidden)
            self._signed.append(signed)
            self._top.append(top)

    def _pass_begins(self, hidden: torch.Tensor) -> None:
        import torch

        self._clear()
        self._start, self._n = self.fed, hidden.shape[0]
        end = self._start + self._n
        if self._n == 1 and self._start >= self._prompt_length:
            self._positions = (self._start,)
            return
        prompt = self._query_positions
        wanted = prompt[(prompt >= self._start) & (prompt < end)]
        generated = np.arange(max(self._start, self._prompt_length), end)
        self._positions = tuple(int(i) for i in np.concatenate([wanted, generated]))
        if self._n > 1:
            local = np.asarray(self._positions, dtype=np.int64) - self._start
            self._local = torch.from_numpy(local).to(hidden.device)

    def _measure(
        self, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Signed x[d]/rms of the sink dimensions and of the 16 largest, for (..., n, D)."""
        import torch

        x = hidden.float()
        rms = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        dims = x.abs().topk(min(TOP_DIMS, x.shape[-1]), dim=-1).indices
        values = torch.gather(x, -1, dims) / rms
        if self._n > 1:
            return sinks.signed_values(x, self._sink_dims), (dims, values)
        # The same for the few tokens of a step, in fewer calls.
        return x[..., self._dims_index] / rms, (dims, values)

    def _tap(self, layer: int) -> Any:
        def tap(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            mask: torch.Tensor | None,
            scaling: float,
            output: torch.Tensor,
        ) -> torch.Tensor:
            if self._muted or not self._rows_wanted:
                return output
            if self._n == 1:
                self._values.append(value[0, :, -1:])
            else:
                gram = self._lmm.value_grams()[layer]
                new = value[0, :, -self._n :]
                self._norms.append(contribution.value_norm_from_gram(new, gram))
            if self._n == 1 and self._positions:
                return self._step_row(layer, query, key, value, mask, scaling, output)
            return self._prompt_rows(layer, query, key, value, mask, scaling, output)

        return tap

    def _step_row(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
        output: torch.Tensor,
    ) -> torch.Tensor:
        """Record the one row of a decode step, and redistribute it."""
        rows = row_of(query[0], key[0], None if mask is None else mask[0], scaling)
        self._rows.append(rows)
        if self._steps % _SAMPLED_STEPS == 0:
            self._sample(rows, value[0], output[0])
        acts = self._redistributor
        if acts is None or not acts.active[layer]:
            return output
        first_key = self._start + 1 - rows.shape[-1]
        change = acts.step_change(layer, rows, first_key, self._start)
        if change is not None:
            add_mixed(output, change, value[0])
        return output

    def _prompt_rows(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
        output: torch.Tensor,
    ) -> torch.Tensor:
        """Record the text rows of a prompt in chunks, and redistribute them."""
        import torch

        assert self._local is not None
        n_heads, n_keys = query.shape[1], key.shape[2]
        n_layers, n_rows = self._n_layers, len(self._local)
        if n_rows == 0:
            return output
        end = self._start + self._n
        if self._row_block is None:
            dtype = torch.float16 if self._half else torch.float32
            self._row_block = query.new_zeros((n_layers, n_heads, n_rows, end), dtype=dtype)
        step = max(1, _CHUNK_BYTES // (4 * n_heads * n_keys))
        sampled = set(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLED_ROWS)).astype(int).tolist())
        acts = self._redistributor
        first_key = end - n_keys
        for at in range(0, n_rows, step):
            chosen = self._local[at : at + step]
            rows = rows_of(
                query[0],
                key[0],
                None if mask is None else mask[0],
                scaling,
                chosen,
                self._start - first_key,
            )
            self._row_block[layer, :, at : at + step, first_key:] = rows
            picked = sorted(i - at for i in sampled if at <= i < at + step)
            if picked:
                self._sample(rows[:, picked], value[0], output[0][chosen[picked]])
            if acts is not None and acts.active[layer]:
                change = acts.change(layer, rows, first_key, chosen + self._start)
                output[0].index_add_(0, chosen, mixed(change.to(value.dtype), value[0]))
        return output

    def _sample(self, rows: torch.Tensor, value: torch.Tensor, output: torch.Tensor) -> None:
        """Compare explicit rows (H, R, K) with what the kernel made of them (R, H, d)."""
        expected = mixed(rows, value.float())
        worst = (expected - output.float()).abs().amax()
        self._sampled.append((worst, output.abs().amax().float()))
        self.fidelity.rows += rows.shape[0] * rows.shape[1]

    # --------------------------------------------------------------- at the end of one

    def collect(self, *more: torch.Tensor) -> tuple[Pass, list[npt.NDArray[Any]]]:
        """End a pass: everything it left, and the tensors `more`, in one transfer."""
        import torch

        if self._n == 1:
            signed, (dims, values) = self._measure(torch.stack(self._hidden))
            norms = self._step_norms() if self._values else None
            rows = self._step_rows() if self._rows else None
        else:
            signed = torch.stack(self._signed)
            dims = torch.stack([top[0] for top in self._top])
            values = torch.stack([top[1] for top in self._top])
            norms = torch.stack(self._norms) if self._norms else None
            rows = self._row_block
        n_layers, n_heads = self._n_layers, self._n_heads
        if norms is None:
            norms = torch.zeros((n_layers, n_heads, 0), device=signed.device)
        if rows is None:
            rows = torch.zeros((n_layers, n_heads, 0, 0), device=signed.device)
        results = [signed, dims.int(), values, norms, rows, *more]
        if self._sampled:
            results.append(torch.stack([torch.stack(pair) for pair in self._sampled]).amax(0))
        host = to_host(results)
        if self._sampled:
            worst, largest = (float(x) for x in host.pop())
            self.fidelity.worst_difference = max(self.fidelity.worst_difference, worst)
            self.fidelity.largest_output = max(self.fidelity.largest_output, largest)
        record = Pass(self._start, host[0], host[1], host[2], host[3], self._positions, host[4])
        self.fed = self._start + self._n
        self._steps += self._n == 1
        self._clear()
        return record, host[5:]

    def _step_norms(self) -> torch.Tensor:
        """Value norms (L, H, 1) of the step's token."""
        import torch

        v = torch.stack(self._values).float()
        n_layers, n_kv, _, size = v.shape
        gram = self._lmm.value_grams()
        gram = gram.view(n_layers, n_kv, -1, size, size)
        v = v[:, :, None]
        squared = (torch.matmul(v, gram) * v).sum(-1).clamp_(min=0)
        return squared.sqrt_().view(n_layers, -1, 1)

    def _step_rows(self) -> torch.Tensor:
        """The step's rows of all layers, (L, H, 1, K); a short window is padded on the left."""
        import torch

        end = self._start + 1
        rows = [
            row if row.shape[-1] == end else torch.nn.functional.pad(row, (end - row.shape[-1], 0))
            for row in self._rows
        ]
        stacked = torch.stack(rows)
        return stacked.half() if self._half else stacked


def to_host(tensors: Sequence[torch.Tensor]) -> list[npt.NDArray[Any]]:
    """Bring tensors to NumPy, all in one transfer when they lie on a device."""
    import torch

    if all(tensor.device.type == "cpu" for tensor in tensors):
        return [tensor.numpy() for tensor in tensors]
    # Widest first: each block then starts where its type may.
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())
    packed = torch.cat([tensors[i].contiguous().view(-1).view(torch.uint8) for i in order]).cpu()
    arrays: list[npt.NDArray[Any]] = [np.empty(0)] * len(tensors)
    at = 0
    for i in order:
        size = tensors[i].numel() * tensors[i].element_size()
        flat = packed[at : at + size].view(tensors[i].dtype)
        arrays[i] = flat.view(tensors[i].shape).numpy()
        at += size
    return arrays
