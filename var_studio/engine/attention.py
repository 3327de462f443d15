"""The attention function that records: the model's kernel for the block, explicit rows beside it.

`transformers` looks attention up by name. The functions registered here run the model's own kernel
as usual, so every hidden state is that of the plain model, and then hand queries, keys and values
to whoever listens at that module (`taps`). Explicit softmax weights are computed for the few rows
that are wanted, never for the whole prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import torch

    from var_studio.models.families.base import Kernel

NAMES: Final[Mapping[Kernel, str]] = {"sdpa": "var_studio", "eager": "var_studio_explicit"}
"""Registered name by kernel. No "sdpa" and no "flex" in them: transformers picks a mask format by
such substrings."""


class Call(NamedTuple):
    """One call of a layer's attention, its only batch entry.

    `query` (H, Q, d), `key` (Hkv, K, d), `value` (Hkv, K, dv); `output` (Q, H, dv) is the kernel's.
    `mask` (1 or H, Q, K) is bool (True = sees) or additive; None: with `causal` query i sees keys
    up to i, else every key. `options` are the others that the model gave, of which two change the
    weights: `softcap` turns scores s into softcap · tanh(s / softcap), before the mask; `s_aux`
    (H,) is a score that takes part in the softmax and belongs to no key (gpt-oss).
    """

    module: Any
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scaling: float
    causal: bool
    options: Mapping[str, Any]
    output: torch.Tensor


Tap: TypeAlias = Callable[[Call], None]
"""Sees a call after the kernel; what it adds to `output`, in place, the model goes on with."""

_TAPS: dict[Any, Tap] = {}
_sdpa: Any = None


def register() -> None:
    """Make attention and masks known by name. Without the mask's, it is silently left out."""
    global _sdpa
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import eager_mask, sdpa_mask

    _sdpa = sdpa_attention_forward
    AttentionInterface.register(NAMES["sdpa"], _sdpa_forward)
    AttentionMaskInterface.register(NAMES["sdpa"], sdpa_mask)
    AttentionInterface.register(NAMES["eager"], _eager_forward)
    AttentionMaskInterface.register(NAMES["eager"], eager_mask)


def eager_function(module: Any) -> Any:
    """The explicit attention of the file that a module's class is from; None if it has none."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def _sdpa_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA attention, then the module's tap if there is one.

    `query` (B, H, Q, d), `key` and `value` (B, Hkv, K, d) -> (B, Q, H, d). With no tap, or one
    that changes nothing, this is the kernel's own output, bit for bit.
    """
    output, _ = _sdpa(module, query, key, value, attention_mask, scaling=scaling, **options)
    tap = _TAPS.get(module)
    if tap is not None:
        if scaling is None:
            scaling = query.shape[-1] ** -0.5
        mask, causal = None, False
        if attention_mask is not None:
            mask = attention_mask[0]
        elif query.shape[2] > 1:
            asked = options.get("is_causal")
            causal = bool(getattr(module, "is_causal", True) if asked is None else asked)
        tap(Call(module, query[0], key[0], value[0], mask, scaling, causal, options, output[0]))
    return output, None


def _eager_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The model's own explicit attention, for what SDPA cannot do; else as `_sdpa_forward`."""
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    explicit = eager_function(module)
    output, _ = explicit(module, query, key, value, attention_mask, scaling=scaling, **options)
    tap = _TAPS.get(module)
    if tap is not None:
        mask = None if attention_mask is None else attention_mask[0]
        tap(Call(module, query[0], key[0], value[0], mask, scaling, False, options, output[0]))
    return output, None


@contextmanager
def tapped(hf_model: Any, taps: Mapping[Any, Tap], kernel: Kernel) -> Iterator[None]:
    """Switch the language model to the registered function and listen at attention modules.

    The vision tower keeps its kernel. The former implementations come back in any case.
    """
    register()
    config = hf_model.config
    text = config.get_text_config()
    sub_configs = [name for name in config.sub_configs if getattr(config, name, None) is not None]
    former = {name: getattr(config, name)._attn_implementation for name in sub_configs}
    switched = {
        name: NAMES[kernel] if getattr(config, name) is text else implementation
        for name, implementation in former.items()
    }
    try:
        hf_model.set_attn_implementation(switched)
        _TAPS.update(taps)
        yield
    finally:
        for module in taps:
            _TAPS.pop(module, None)
        hf_model.set_attn_implementation(former)


def rows_of(call: Call, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Explicit softmax weights of some queries of a call, in float32.

    `rows` (R,) int64 are the queries wanted, None for all. Returns (H, R, K). Heads that share
    keys are multiplied together, so that keys are never repeated.
    """
    import torch

    query, key, mask = call.query, call.key, call.mask
    if rows is not None:
        query = query[:, rows]
    n_heads, n_rows, size = query.shape
    n_kv, n_keys, _ = key.shape
    grouped = query.reshape(n_kv, n_heads // n_kv * n_rows, size).float()
    scores = torch.matmul(grouped * call.scaling, key.float().transpose(1, 2))
    scores = scores.view(n_heads, n_rows, n_keys)
    softcap, apart = call.options.get("softcap"), call.options.get("s_aux")
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    if mask is not None:
        mask = mask[..., :n_keys] if rows is None else mask[:, rows, :n_keys]
        if mask.dtype == torch.bool:
            scores.masked_fill_(~mask, float("-inf"))
        else:
            scores += mask
    elif call.causal:
        if rows is None:
            rows = torch.arange(n_rows, device=query.device)
        later = torch.arange(n_keys, device=query.device) > rows[:, None]
        scores.masked_fill_(later, float("-inf"))
    if apart is None:
        return torch.softmax(scores, dim=-1)
    apart = apart.float().view(-1, 1, 1).expand(-1, n_rows, 1)
    return torch.softmax(torch.cat((scores, apart), dim=-1), dim=-1)[..., :-1]


def row_of(call: Call) -> torch.Tensor:
    """`rows_of` for a decode step: `query` (H, 1, d) -> (H, 1, K), in as few calls as can be."""
    import torch

    _, query, key, _, mask, scaling, _, options, _ = call
    if mask is not None or len(query) != len(key):
        return rows_of(call)
    if options.get("softcap") is not None or options.get("s_aux") is not None:
        return rows_of(call)
    if key.element_size() < 4:
        query, key = query.float(), key.float()
    # The first argument is what is added, times beta = 0: any tensor of a fitting shape.
    scores = torch.baddbmm(query[:, :, :1], query, key.mT, beta=0, alpha=scaling)
    return torch.softmax(scores, dim=-1)


def mixed(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Weighted sum of values: `weights` (H, R, K), `value` (Hkv, K, d) -> (R, H, d)."""
    import torch

    n_heads, n_rows, n_keys = weights.shape
    n_kv, _, size = value.shape
    grouped = weights.reshape(n_kv, n_heads // n_kv * n_rows, n_keys)
    return torch.matmul(grouped, value).view(n_heads, n_rows, size).transpose(0, 1)


def add_mixed(output: torch.Tensor, weights: torch.Tensor, value: torch.Tensor) -> None:
    """Add `mixed` of a decode step to the kernel's `output` (1, H, d), in place.

    `weights` (H, 1, K). Heads whose weights are all zero keep their bits.
    """
    if len(weights) == len(value):
        output.transpose(0, 1).baddbmm_(weights.to(value.dtype), value)
    else:
        output += mixed(weights.to(value.dtype), value)
