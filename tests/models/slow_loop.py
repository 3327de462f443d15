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
class Hide:
    """Knockout: tokens that no text query sees, by a mask of -inf before the softmax (D.3)."""

    tau: float
    tokens: str = "visual-sinks"  # or "random-visual", "chosen"
    positions: tuple[int, ...] = ()
    seed: int = 0
    released: bool = False
    first_layer: int = 0
    last_layer: int | None = None


@dataclass
class Ablate:
    """Head ablation: no text query sees the image in the chosen heads (App. A.3)."""

    tau: float
    rho: float
    mass_min: float = 0.2
    heads: str = "image-centric"  # or "random", "complement"
    seed: int = 0
    released: bool = False
    first_layer: int = 0
    last_layer: int | None = None


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
    source: str = "all"
    region: tuple[int, ...] = ()  # positions, for the target "region"
    all_heads: bool = False
    first_layer: int = 0
    last_layer: int | None = None
    redistributes: bool = True
    hide: Hide | None = None
    ablate: Ablate | None = None
    hidden: dict[int, Any] = field(default_factory=dict)
    rows_changed: int = 0
    rows_kept: int = 0
    keys_hidden: int = 0


def phi(x: Any, sink_dims: tuple[int, ...]) -> float:
    mean_square = sum(float(v) ** 2 for v in x) / len(x)
    return max(abs(float(x[d])) for d in sink_dims) / mean_square**0.5


def sinks_of(layer: int, method: Method, rule: Any) -> list[int]:
    """`rule` says tau, and whether to go by the released code."""
    found = []
    for position, x in enumerate(method.hidden[layer]):
        value = phi(x, method.sink_dims)
        if rule.released:
            if layer >= 2 and position < method.prompt_length and value > rule.tau:
                found.append(position)
        elif value >= rule.tau:
            found.append(position)
    return found


def layer_is_changed(layer: int, method: Method) -> bool:
    if not method.redistributes or (method.released and layer < 2):
        return False
    if layer < method.first_layer:
        return False
    if method.last_layer is not None:
        return layer <= method.last_layer
    return method.released or layer != method.n_layers - 1


def in_range(layer: int, rule: Any) -> bool:
    return layer >= rule.first_layer and (rule.last_layer is None or layer <= rule.last_layer)


def head_is_selected(row: Any, sinks: list[int], method: Method, rule: Any) -> bool:
    mass = sum(row[j] for j in method.visual)
    if mass < rule.mass_min or mass == 0:
        return False
    sink_part = sum(row[j] for j in method.visual if j in sinks)
    if rule.released:
        if not any(j in sinks for j in method.visual):
            return False
        return sink_part / sum(row[j] + 1e-6 for j in method.visual) <= rule.rho
    return (mass - sink_part) / mass >= rule.rho


def redistributed(row: Any, sinks: list[int], method: Method) -> Any:
    """Eq. 3 and 4 on one row (keys,)."""
    if not (method.all_heads or head_is_selected(row, sinks, method, method)):
        return row
    givers = sinks
    if method.source != "all":
        givers = [j for j in sinks if (j in method.visual) == (method.source == "visual")]
    lost = 1 - method.p if method.released else method.p
    budget = lost * sum(row[j] for j in givers)
    receivers = []
    for j in range(len(row)):
        if j in sinks:
            continue
        is_visual = j in method.visual
        if method.target == "region":
            takes = j in method.region
        else:
            takes = method.target == "both" or (method.target == "visual") == is_visual
        if takes:
            receivers.append(j)
    pool = sum(row[j] for j in receivers)
    if pool == 0 or budget == 0:
        return row
    new = row.copy()
    for j in givers:
        new[j] = row[j] * (1 - lost)
    for j in receivers:
        new[j] = row[j] + budget * row[j] / pool
    return new


def drawn(place: int, seed: int, layer: int, query: int | None = None) -> int:
    """The 24-bit number that a place draws in a layer: the 32-bit hash "lowbias32", chained."""

    def mix(x: int) -> int:
        x &= 0xFFFFFFFF
        x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
        x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
        return x ^ (x >> 16)

    start = mix(mix(mix(seed) ^ (seed >> 32)) ^ layer)
    if query is not None:
        start = mix(query ^ start)
    return mix(place + start) >> 8


def lowest(places: list[int], count: int, *draw: Any) -> list[int]:
    return sorted(places, key=lambda place: (drawn(place, *draw), place))[:count]


def hidden_from_all(layer: int, method: Method) -> list[int]:
    """Positions that a knockout hides in this layer."""
    hide = method.hide
    if hide is None or not in_range(layer, hide):
        return []
    if hide.tokens == "chosen":
        return list(hide.positions)
    sinks = [j for j in sinks_of(layer, method, hide) if j in method.visual]
    if hide.tokens == "visual-sinks":
        return sinks
    return lowest(method.visual, len(sinks), hide.seed, layer)


def ablated_heads(rows: list[Any], layer: int, query: int, method: Method) -> list[int]:
    """Heads from which the image is hidden, from the rows (keys,) of all of them."""
    ablate = method.ablate
    if ablate is None or not in_range(layer, ablate) or (ablate.released and layer < 2):
        return []
    sinks = sinks_of(layer, method, ablate)
    heads = list(range(len(rows)))
    centric = [h for h in heads if head_is_selected(rows[h], sinks, method, ablate)]
    if ablate.heads == "image-centric":
        return centric
    if ablate.heads == "complement":
        return [h for h in heads if h not in centric]
    return lowest(heads, len(centric), ablate.seed, layer, query)


def softmax(scores: Any, seen: list[int], hidden: list[int], length: int) -> Any:
    """A row (length,) over the keys seen; -inf for hidden ones. Zero where all are hidden."""
    left = [i for i, j in enumerate(seen) if j not in hidden]
    row = np.zeros(length)
    if left:
        weights = np.exp(scores[left] - scores[left].max())
        row[[seen[i] for i in left]] = weights / weights.sum()
    return row


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
        sinks = sinks_of(layer, method, method) if changes else []
        hidden = hidden_from_all(layer, method)
        out = np.zeros((n_queries, n_heads, v.shape[-1]))
        for i in range(n_queries):
            position = first_query + i
            keys = seen_keys(mask, i, position, first_key, k.shape[1])
            seen = [first_key + j for j in keys]
            scores = np.stack([k[h // shared, keys] @ q[h, i] * scaling for h in range(n_heads)])
            if softcap is not None:
                scores = softcap * np.tanh(scores / softcap)
            rows = [softmax(scores[h], seen, [], length) for h in range(n_heads)]
            if position in method.text:
                without = [hidden] * n_heads
                for head in ablated_heads(rows, layer, position, method):
                    without[head] = method.visual
                for head in range(n_heads):
                    if without[head]:
                        rows[head] = softmax(scores[head], seen, without[head], length)
                        method.keys_hidden += len(set(without[head]) & set(seen))
                    if changes:
                        here = [j for j in sinks if j in seen]
                        new = redistributed(rows[head], here, method)
                        method.rows_changed += new is not rows[head]
                        method.rows_kept += new is rows[head]
                        rows[head] = new
                    assert abs(rows[head].sum() - 1) < 1e-12
            for head in range(n_heads):
                out[i, head] = rows[head][seen] @ v[head // shared, keys]
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
def every_query(hf_model: Any) -> Iterator[None]:
    """Run all of a prompt through layers that share keys (Gemma 4), not its last token alone."""

    def hook(_: Any, args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "logits_to_keep": 0}

    if not getattr(hf_model.config.get_text_config(), "num_kv_shared_layers", 0):
        yield
        return
    handle = hf_model.get_decoder().register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


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
    config = hf_model.config
    parts = [name for name in config.sub_configs if getattr(config, name, None) is not None]
    former = {name: getattr(config, name)._attn_implementation for name in parts}
    hf_model.set_attn_implementation({**former, "text_config": NAME})
    try:
        with every_query(hf_model):
            yield
    finally:
        hf_model.set_attn_implementation(former)
        for handle in handles:
            handle.remove()
