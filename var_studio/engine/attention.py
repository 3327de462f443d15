"""The attention function that records: the fast kernel for the block, explicit rows beside it.

`transformers` looks attention up by name. The function registered here runs its SDPA kernel as
usual, so every hidden state is that of the plain model, and then hands queries, keys and values
to whoever listens at that module (`taps`). Explicit softmax weights are computed for the few rows
that are wanted, never for the whole prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import torch

NAME: Final = "var_studio"
"""No "sdpa" and no "flex" in it: transformers picks a mask format by such substrings."""

KERNEL: Final = "sdpa"

Tap: TypeAlias = (
    "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, float, torch.Tensor],"
    " torch.Tensor]"
)
"""(query, key, value, mask, scaling, kernel output) -> output that the model goes on with."""

_TAPS: dict[Any, Tap] = {}
_kernel: Any = None


def register() -> None:
    """Make attention and mask known under NAME. Without the mask's, it is silently left out."""
    global _kernel
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    _kernel = sdpa_attention_forward
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention_forward(
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
    output, _ = _kernel(module, query, key, value, attention_mask, scaling=scaling, **options)
    tap = _TAPS.get(module)
    if tap is not None:
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        output = tap(query, key, value, attention_mask, scaling, output)
    return output, None


@contextmanager
def tapped(hf_model: Any, taps: Mapping[Any, Tap]) -> Iterator[None]:
    """Switch the language model to the registered function and listen at attention modules.

    The vision tower keeps its kernel. The former implementations come back in any case.
    """
    register()
    config = hf_model.config
    text = config.get_text_config()
    sub_configs = [name for name in config.sub_configs if getattr(config, name, None) is not None]
    former = {name: getattr(config, name)._attn_implementation for name in sub_configs}
    switched = {
        name: NAME if getattr(config, name) is text else implementation
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


def rows_of(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    rows: torch.Tensor | None,
    first: int,
) -> torch.Tensor:
    """Explicit softmax weights of some queries, in float32.

    `query` (H, Q, d), `key` (Hkv, K, d); `rows` (R,) int64 are the queries wanted, None for all.
    `mask` (1 or H, Q, K) is bool (True = sees) or additive, None for causal; `first` is the index
    of query 0 among the keys. Returns (H, R, K). Heads that share keys are multiplied together,
    so that keys are never repeated.
    """
    import torch

    if rows is not None:
        query = query[:, rows]
    n_heads, n_rows, size = query.shape
    n_kv, n_keys, _ = key.shape
    grouped = query.reshape(n_kv, n_heads // n_kv * n_rows, size).float()
    scores = torch.matmul(grouped * scaling, key.float().transpose(1, 2))
    scores = scores.view(n_heads, n_rows, n_keys)
    if mask is not None:
        mask = mask[..., :n_keys] if rows is None else mask[:, rows, :n_keys]
        if mask.dtype == torch.bool:
            scores.masked_fill_(~mask, float("-inf"))
        else:
            scores += mask
    elif n_rows > 1 or rows is not None:
        if rows is None:
            rows = torch.arange(n_rows, device=query.device)
        later = torch.arange(n_keys, device=query.device) > (rows + first)[:, None]
        scores.masked_fill_(later, float("-inf"))
    return torch.softmax(scores, dim=-1)


def row_of(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """`rows_of` for a decode step: `query` (H, 1, d) -> (H, 1, K), in as few calls as can be."""
    import torch

    if mask is not None or len(query) != len(key):
        return rows_of(query, key, mask, scaling, None, 0)
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
    """Add `mixed` of a decode step to the kernel's `output` (1, 1, H, d), in place.

    `weights` (H, 1, K). Heads whose weights are all zero keep their bits.
    """
    if len(weights) == len(value):
        output[0].transpose(0, 1).baddbmm_(weights.to(value.dtype), value)
    else:
        output += mixed(weights.to(value.dtype), value)
