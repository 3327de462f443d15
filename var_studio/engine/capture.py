"""What is read off a forward pass: layer inputs, value norms, text rows; and how it is sent over.

A pass is one call of the model: the prefill, a decode step, or the closing step. During a pass
everything stays on the device; `collect` brings one packed block to the host at its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from var_studio.engine.attention import Call, Tap, add_mixed, mixed, row_of, rows_of, tapped
from var_studio.engine.cross_attention import expanded
from var_studio.engine.errors import RunCancelled
from var_studio.engine.fidelity import Fidelity, Sampler
from var_studio.engine.largest import largest
from var_studio.method import contribution, sinks

if TYPE_CHECKING:
    import torch

    from var_studio.engine.interventions import Acts
    from var_studio.models.families.cross import CrossKeys
    from var_studio.models.loaded import LoadedModel

TOP_DIMS: Final = 16
_CHUNK_BYTES: Final = 64 << 20
# How sparsely rows are compared (`engine.fidelity`): rows of a prompt; one step in so many; and of
# such a step one layer in so many with explicit attention, another one each time.
_SAMPLED_ROWS: Final = 4
_SAMPLED_STEPS: Final = 32
_SAMPLED_LAYERS: Final = 4

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


class _Prompt(NamedTuple):
    """What a prompt of n tokens leaves behind, on the device; shapes as in `Pass`.

    `local` (R,) int64 are the places of the recorded queries in the pass.
    """

    local: torch.Tensor
    signed: torch.Tensor
    dims: torch.Tensor
    values: torch.Tensor
    norms: torch.Tensor
    rows: torch.Tensor


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
        acts: Acts | None = None,
        cancel: threading.Event | None = None,
        on_layer: Callable[[int], None] | None = None,
        rows_wanted: bool = True,
        cross: CrossKeys | None = None,
    ) -> None:
        """`query_positions` are the prompt's; later positions are all recorded. With `half`,
        rows are float16. `on_layer(layer)` is called as each layer of the prefill begins.
        With `cross`, positions and passes are those of the recording, not of the model."""
        import torch

        self.fed = 0
        self._lmm = lmm
        self._n_layers, self._n_heads = lmm.n_layers, lmm.n_heads
        self._sink_dims = tuple(sink_dims)
        self._dims_index = torch.tensor(self._sink_dims, dtype=torch.int64, device=lmm.device)
        self._query_positions = np.asarray(query_positions, dtype=np.int64)
        self._prompt_length = prompt_length
        self._cross = cross
        if cross is not None:
            self._query_positions = cross.of_model(query_positions)
            self._prompt_length = int(cross.of_model([prompt_length])[0])
        self._half = half
        self._acts = acts
        self._cancel = cancel
        self._on_layer = on_layer
        self._rows_wanted = rows_wanted
        self._muted = False
        self._steps = 0
        self._device = lmm.device
        self._several_devices = False
        self._sampler = Sampler(lmm.device)
        self._clear()

    @property
    def fidelity(self) -> Fidelity:
        """How close the rows of this run came to the model's own so far."""
        return self._sampler.fidelity

    def _clear(self) -> None:
        self._start = self._n = 0
        self._hidden: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._rows: list[torch.Tensor] = []
        self._prompt: _Prompt | None = None
        self._positions: tuple[int, ...] = ()
        self._sampler.clear()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Listen while the block runs; hooks, taps and attention are as before in any case."""
        lmm = self._lmm
        layers = lmm.decoder_layers
        with ExitStack() as stack:
            decoder = lmm.hf_model.get_decoder()
            handle = decoder.register_forward_pre_hook(_keep_all_queries, with_kwargs=True)
            stack.callback(handle.remove)
            for index, layer in enumerate(layers):
                handle = layer.register_forward_pre_hook(self._hook(index), with_kwargs=True)
                stack.callback(handle.remove)
            modules = [lmm.family.attention_module(layer) for layer in layers]
            taps = {module: self._tap(i) for i, module in enumerate(modules)}
            stack.enter_context(tapped(lmm.hf_model, taps, lmm.kernel))
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
        if hidden.device != self._device:
            hidden, self._several_devices = hidden.to(self._device), True
        if self._acts is not None:
            self._acts.observe(layer, self._start, hidden)
        if self._n == 1:
            # A step has little to compute: all layers together at its end.
            self._hidden.append(hidden)
        else:
            assert self._prompt is not None
            self._prompt.signed[layer], self._prompt.dims[layer], self._prompt.values[layer] = (
                self._measure(hidden)
            )

    def _pass_begins(self, hidden: torch.Tensor) -> None:
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
            self._prompt = self._room(hidden.shape[-1])

    def _room(self, size: int) -> _Prompt:
        """Where a prompt leaves what it shows: small pieces kept between large blocks would cost
        the allocator a fresh block for each."""
        import torch

        n_layers, n_heads, n, device = self._n_layers, self._n_heads, self._n, self._device
        top = min(TOP_DIMS, size)
        local = np.asarray(self._positions, dtype=np.int64) - self._start
        n_rows, n_keys, width = len(local), n, self._start + n
        if not self._rows_wanted:
            n_rows = n_keys = width = 0
        elif self._cross is not None:
            n_keys = width = max(width, len(self._cross.keys))
        half = torch.float16 if self._half else torch.float32
        return _Prompt(
            local=torch.from_numpy(local).to(device),
            signed=torch.empty((n_layers, n, len(self._sink_dims)), device=device),
            dims=torch.empty((n_layers, n, top), dtype=torch.int32, device=device),
            values=torch.empty((n_layers, n, top), device=device),
            norms=torch.zeros((n_layers, n_heads, n_keys), device=device),
            rows=torch.zeros((n_layers, n_heads, n_rows, width), dtype=half, device=device),
        )

    def _measure(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Signed x[d]/rms of the sink dimensions; the 16 largest dimensions and their x[d]/rms.

        For (..., n, D).
        """
        import torch

        x = hidden.float()
        rms = sinks.rms(x)[..., None]
        if self._n > 1:
            dims = largest(x.abs(), TOP_DIMS)
            signed: torch.Tensor = sinks.signed_values(x, self._sink_dims)
        else:
            # The same for the few tokens of a step, in fewer calls.
            dims = x.abs().topk(min(TOP_DIMS, x.shape[-1]), dim=-1).indices
            signed = x[..., self._dims_index] / rms
        return signed, dims, torch.gather(x, -1, dims) / rms

    def _tap(self, layer: int) -> Tap:
        is_cross = self._cross is not None and layer in self._cross.layers

        def tap(call: Call) -> None:
            if self._muted or not self._rows_wanted:
                return
            if self._prompt is not None:
                new = call.value if is_cross else call.value[:, -self._n :]
                gram = self._lmm.value_grams().of(layer)
                norms = contribution.value_norm_from_gram(new.to(self._device), gram)
                self._prompt.norms[layer, :, : norms.shape[-1]] = norms
                self._prompt_rows(layer, call, self._prompt)
                return
            self._values.append(call.value[:, -1:])
            if self._positions:
                self._step_row(layer, call)

        return tap

    def _step_row(self, layer: int, call: Call) -> None:
        """Record the one row of a decode step, and redistribute it."""
        rows = row_of(call)
        if self._steps % _SAMPLED_STEPS == 0:
            self._sampler.compare_output(call, rows)
            if (layer - self._steps // _SAMPLED_STEPS) % _SAMPLED_LAYERS == 0:
                self._sampler.compare_weights(call, rows)
        if self._several_devices:
            rows = rows.to(self._device)
        self._rows.append(rows)
        acts = self._acts
        if acts is None or not acts.active[layer]:
            return
        first_key = self._start + 1 - rows.shape[-1]
        change = acts.step_change(layer, rows, first_key, self._start)
        if change is None:
            return
        if self._several_devices:
            change = change.to(call.output.device)
        add_mixed(call.output, change, call.value)

    def _prompt_rows(self, layer: int, call: Call, prompt: _Prompt) -> None:
        """Record the text rows of a prompt in chunks, and redistribute them."""
        n_heads, n_keys = call.query.shape[0], call.key.shape[1]
        n_rows, device = len(prompt.local), call.output.device
        step = max(1, _CHUNK_BYTES // (4 * n_heads * n_keys))
        sampled = set(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLED_ROWS)).astype(int).tolist())
        acts = self._acts
        first_key = 0 if self._cross is not None else self._start + self._n - n_keys
        local = prompt.local.to(device)
        for at in range(0, n_rows, step):
            chosen = local[at : at + step]
            rows = rows_of(call, chosen)
            prompt.rows[layer, :, at : at + step, first_key : first_key + n_keys] = rows
            picked = sorted(i - at for i in sampled if at <= i < at + step)
            if picked:
                self._sampler.compare_output(call, rows[:, picked], chosen[picked])
                self._sampler.compare_weights(call, rows[:, picked[-1:]], chosen[picked[-1:]])
            if acts is not None and acts.active[layer]:
                here = prompt.local[at : at + step] + self._start
                change = acts.change(layer, rows.to(self._device), first_key, here)
                change = change.to(device, call.value.dtype)
                call.output.index_add_(0, chosen, mixed(change, call.value))

    # --------------------------------------------------------------- at the end of one

    def collect(self, *more: torch.Tensor) -> tuple[Pass, list[npt.NDArray[Any]]]:
        """End a pass: everything it left, and the tensors `more`, in one transfer."""
        import torch

        if self._prompt is not None:
            _, signed, dims, values, norms, rows = self._prompt
        else:
            signed, dims, values = self._measure(torch.stack(self._hidden))
            dims = dims.int()
            norms, rows = self._step_norms(), self._step_rows()
        results = [signed, dims, values, norms, rows, *(t.to(self._device) for t in more)]
        parity = self._sampler.pending()
        if parity is not None:
            results.append(parity)
        host = to_host(results)
        if parity is not None:
            self._sampler.take(host.pop())
        record = Pass(self._start, host[0], host[1], host[2], host[3], self._positions, host[4])
        if self._cross is not None:
            record = expanded(record, self._cross)
        self.fed = self._start + self._n
        self._steps += self._n == 1
        self._clear()
        return record, host[5:]

    def _step_norms(self) -> torch.Tensor:
        """Value norms (L, H, 1) of the step's token."""
        import torch

        values = self._values
        if not values:
            return torch.zeros((self._n_layers, self._n_heads, 0), device=self._device)
        if self._several_devices:
            values = [value.to(self._device) for value in values]
        groups = self._lmm.value_grams().groups
        if len(groups) == 1 and len({len(value) for value in values}) == 1:
            return _norms(torch.stack(values), groups[0].grams)
        norms = torch.empty((self._n_layers, self._n_heads, 1), device=self._device)
        for layer, value in enumerate(values):
            norms[layer] = _norms(value[None], self._lmm.value_grams().of(layer)[None])[0]
        return norms

    def _step_rows(self) -> torch.Tensor:
        """The step's rows of all layers, (L, H, 1, K); a short window is padded on the left, in
        models with cross-attention a short row on the right."""
        import torch

        if not self._rows:
            return torch.zeros((self._n_layers, self._n_heads, 0, 0), device=self._device)
        pad, end, rows = torch.nn.functional.pad, self._start + 1, self._rows
        if self._cross is not None:
            end = max(end, len(self._cross.keys))
            rows = [pad(row, (0, end - row.shape[-1])) for row in rows]
        rows = [row if row.shape[-1] == end else pad(row, (end - row.shape[-1], 0)) for row in rows]
        stacked = torch.stack(rows)
        return stacked.half() if self._half else stacked


def _norms(value: torch.Tensor, grams: torch.Tensor) -> torch.Tensor:
    """sqrt(v G vᵀ) of one token: `value` (L, Hkv, 1, d) and `grams` (L, H, d, d) -> (L, H, 1)."""
    import torch

    n_layers, n_kv, _, size = value.shape
    v = value.float()[:, :, None]
    squared = (torch.matmul(v, grams.view(n_layers, n_kv, -1, size, size)) * v).sum(-1)
    return squared.clamp_(min=0).sqrt_().view(n_layers, -1, 1)


def _keep_all_queries(
    _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Decoders with layers that share keys (Gemma 4) run a prompt's last query alone through
    these when no other logits are asked for; rows of the text and phi need all of them."""
    if kwargs.get("logits_to_keep"):
        return args, {**kwargs, "logits_to_keep": 0}
    return None


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
