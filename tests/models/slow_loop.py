"""The method once more, from the paper's equations: plain loops in float64 over a plain forward.

Nothing of `var_studio` is imported here. A forward pass over the whole sequence without a cache, or
`generate` with one, runs its attention through `attention`, which visits one head and one query
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NAME = "slow_loop"


@dataclass
class Method:
    """Settings, and the facts about the sequence that the equations speak of."""

    visual: list[int]
    text: list[int]  # txt: instruction after the image, and every generated token
    prompt_length: int
    n_layers: int
    sink_dims: tuple[int, ...]
    tau: float
    rho: float
    p: float
    mass_min: float = 0.2
    released: bool = False
    target: str = "visual"
    all_heads: bool = False
    first_layer: int = 0
    last_layer: int | None = None
    hidden: dict[int, Any] = field(default_factory=dict)
    rows_changed: int = 0
    rows_kept: int = 0


def phi(x: Any, sink_dims: tuple[int, ...]) -> float:
    mean_square = sum(float(v) ** 2 for v in x) / len(x)
    return max(abs(float(x[d])) for d in sink_dims) / mean_square**0.5


def sinks_of(layer: int, method: Method) -> list[int]:
    found = []
    for position, x in enumerate(method.hidden[layer]):
        value = phi(x, method.sink_dims)
        if method.released:
            if layer >= 2 and position < method.prompt_length and value > method.tau:
                found.append(position)
        elif value >= method.tau:
            found.append(position)
    return found


def layer_is_changed(layer: int, method: Method) -> bool:
    if method.released and layer < 2:
        return False
    if layer < method.first_layer:
        return False
    if method.last_layer is not None:
        return layer <= method.last_layer
    return method.released or layer != method.n_layers - 1


def head_is_selected(row: Any, sinks: list[int], method: Method) -> bool:
    mass = sum(row[j] for j in method.visual)
    if mass < method.mass_min or mass == 0:
        return False
    sink_part = sum(row[j] for j in method.visual if j in sinks)
    if method.released:
        if not any(j in sinks for j in method.visual):
            return False
        return sink_part / sum(row[j] + 1e-6 for j in method.visual) <= method.rho
    return (mass - sink_part) / mass >= method.rho


def redistributed(row: Any, sinks: list[int], method: Method) -> Any:
    """Eq. 3 and 4 on one row (keys,)."""
    if not (method.all_heads or head_is_selected(row, sinks, method)):
        return row
    lost = 1 - method.p if method.released else method.p
    budget = lost * sum(row[j] for j in sinks)
    receivers = []
    for j in range(len(row)):
        if j in sinks:
            continue
        is_visual = j in method.visual
        if method.target == "both" or (method.target == "visual") == is_visual:
            receivers.append(j)
    pool = sum(row[j] for j in receivers)
    if pool == 0 or budget == 0:
        return row
    new = row.copy()
    for j in sinks:
        new[j] = row[j] * (1 - lost)
    for j in receivers:
        new[j] = row[j] + budget * row[j] / pool
    return new


def seen_keys(mask: Any, query: int, position: int, first_key: int, n_keys: int) -> list[int]:
    """Which of the keys a query sees: what the model's mask says, or all up to itself."""
    if mask is None:
        return [j for j in range(n_keys) if first_key + j <= position]
    row = mask[0, 0, query, :n_keys]
    return [j for j in range(n_keys) if (row[j] >= 0 if row.is_floating_point() else row[j])]


def attention(method: Method) -> Any:
    """An attention function for `AttentionInterface`: softmax, then the method, query by query."""
    import torch

    def forward(
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        mask: Any,
        scaling: float,
        softcap: float | None = None,
        **_: Any,
    ) -> Any:
        q, k, v = (t[0].double().numpy() for t in (query, key, value))
        n_heads, n_queries, _ = q.shape
        shared = n_heads // len(k)
        layer = module.layer_idx
        length = len(method.hidden[layer])
        # A window keeps the last keys only.
        first_query, first_key = length - n_queries, length - k.shape[1]
        changes = layer_is_changed(layer, method)
        sinks = sinks_of(layer, method) if changes else []
        out = np.zeros((n_queries, n_heads, v.shape[-1]))
        for i in range(n_queries):
            position = first_query + i
            keys = seen_keys(mask, i, position, first_key, k.shape[1])
            for head in range(n_heads):
                scores = k[head // shared, keys] @ q[head, i] * scaling
                if softcap is not None:
                    scores = softcap * np.tanh(scores / softcap)
                row = np.zeros(length)
                seen = [first_key + j for j in keys]
                row[seen] = np.exp(scores - scores.max())
                row = row / row.sum()
                if changes and position in method.text:
                    new = redistributed(row, [j for j in sinks if j in seen], method)
                    assert abs(new.sum() - 1) < 1e-12
                    method.rows_changed += new is not row
                    method.rows_kept += new is row
                    row = new
                out[i, head] = row[seen] @ v[head // shared, keys]
        return torch.from_numpy(out).to(query.dtype)[None], None

    return forward


def logits_after(hf_model: Any, inputs: dict[str, Any], method: Method) -> Any:
    """Logits (T, V) of one pass over a whole sequence, with the method at work."""
    import torch

    with _at_work(hf_model, method), torch.inference_mode():
        return hf_model(**inputs, use_cache=False).logits[0]


def logits_of_steps(
    hf_model: Any, inputs: dict[str, Any], method: Method, said: list[int], **options: Any
) -> Any:
    """Logits (steps, V) of `generate` with a cache, made to say `said`, with the method at work."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    class Say(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            forced = torch.full_like(scores, float("-inf"))
            forced[:, said[input_ids.shape[1] - method.prompt_length]] = 0.0
            return forced

    with _at_work(hf_model, method), torch.inference_mode():
        output = hf_model.generate(
            **inputs,
            **options,
            max_new_tokens=len(said),
            do_sample=False,
            logits_processor=LogitsProcessorList([Say()]),
            output_logits=True,
            return_dict_in_generate=True,
        )
    return torch.cat(output.logits)


@contextmanager
def _at_work(hf_model: Any, method: Method) -> Iterator[None]:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention(method))
    AttentionMaskInterface.register(NAME, sdpa_mask)

    def keep(index: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            x = args[0] if args else kwargs["hidden_states"]
            earlier = method.hidden.get(index)
            new = x[0].double().numpy()
            method.hidden[index] = new if earlier is None else np.concatenate([earlier, new])

        return hook

    layers = hf_model.get_decoder().layers
    handles = [
        layer.register_forward_pre_hook(keep(i), with_kwargs=True) for i, layer in enumerate(layers)
    ]
    hf_model.set_attn_implementation({"text_config": NAME, "vision_config": "sdpa"})
    try:
        yield
    finally:
        hf_model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
        for handle in handles:
            handle.remove()
