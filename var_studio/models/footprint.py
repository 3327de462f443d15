"""How many bytes a model and a run take, from shapes alone. Nothing is read but the config.

A model here may be a skeleton (`models.skeleton`) or a loaded one: only its shapes are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from var_studio.models.families import Family
from var_studio.models.quantization import Quantization
from var_studio.models.skeleton import decoder_layers_path
from var_studio.models.value_grams import output_projection

if TYPE_CHECKING:
    import torch

ROWS_CHUNK: Final = 64 << 20
"""Attention rows of a prompt are made in pieces of so many bytes, in float32."""
TOP_DIMS: Final = 16
"""Largest hidden dimensions kept of each layer and token, with their values."""
STORED: Final = {2: 0.8, 4: 0.85}
"""What lz4 leaves of attention rows, by bytes a weight. Flat rows of random models leave 0.76 and
0.81, rows in float16 of a trained 7B model 0.85."""

_FOUR_BIT_BLOCK: Final = 64
_TOKEN_BYTES: Final = 60
_ALTERNATIVE_BYTES: Final = 34
_KEY_BLOCK: Final = 256


def weight_bytes(model: Any, quantization: Quantization | None = None) -> int:
    """Bytes of all parameters and buffers, each counted once; decoder layers packed if asked."""
    import torch

    packed = set()
    if quantization is not None:
        layers = model.get_submodule(decoder_layers_path(model))
        packed = {id(m.weight) for m in layers.modules() if isinstance(m, torch.nn.Linear)}
    seen: set[int] = set()
    total = 0
    for tensor in _tensors(model):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in packed:
            total += _packed_bytes(tensor, quantization)
        else:
            total += tensor.numel() * tensor.element_size()
    return total


def _tensors(model: Any) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _packed_bytes(weight: torch.Tensor, quantization: Quantization | None) -> int:
    """bitsandbytes keeps a float32 scale for each row (8-bit) or each block of 64 (4-bit)."""
    if quantization == "8bit":
        return weight.numel() + 4 * weight.shape[0]
    return weight.numel() // 2 + 4 * -(-weight.numel() // _FOUR_BIT_BLOCK)


def cache_bytes(model: Any, family: Family, length: int, itemsize: int) -> int:
    """Bytes of the keys and values of `length` positions: grouped heads, sliding windows, layers
    that share another's keys, as transformers' own cache lays them out."""
    import transformers

    config = model.config.get_text_config()
    kept = transformers.DynamicCache(config=config).layers
    total = 0
    for index, layer in enumerate(model.get_decoder().layers):
        attention = family.attention_module(layer)
        if index >= len(kept) > 0 or getattr(attention, "is_kv_shared_layer", False):
            continue  # shares the keys of an earlier layer
        window = getattr(kept[index], "sliding_window", None) if kept else None
        positions = length if not window else min(length, window - 1)
        total += positions * _key_and_value_width(attention, config)
    return total * itemsize


def _key_and_value_width(attention: Any, config: Any) -> int:
    keys = getattr(getattr(attention, "k_proj", None), "out_features", None)
    if isinstance(keys, int):
        # Where there is no projection of its own for them, the keys are the values too.
        values = getattr(getattr(attention, "v_proj", None), "out_features", keys)
        return keys + int(values)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * int(heads) * int(head)


def value_gram_bytes(model: Any, family: Family) -> int:
    """W_O W_Oᵀ of every layer and head, float32, kept from the first run on."""
    heads = int(model.config.get_text_config().num_attention_heads)
    total = 0
    for layer in model.get_decoder().layers:
        # Layers may have heads of different sizes.
        head = output_projection(family.attention_module(layer)).in_features // heads
        total += heads * head**2 * 4
    return total


def prompt_block_bytes(model: Any, rows: int, length: int, n_dims: int, itemsize: int) -> int:
    """What a prompt leaves behind until it is written: `rows` attention rows of `length` keys, and
    of each key its largest dimensions, its sink dimensions and its value norms."""
    n_layers, heads = _layers(model), model.config.get_text_config().num_attention_heads
    attention = n_layers * heads * rows * length * itemsize
    per_key = 4 * n_dims + 8 * TOP_DIMS
    return int(attention + n_layers * length * per_key + 4 * n_layers * heads * length)


def row_bytes(model: Any, length: int, itemsize: int) -> int:
    """One token's attention in all layers and heads."""
    heads = model.config.get_text_config().num_attention_heads
    return int(_layers(model) * heads * length * itemsize)


def prefill_bytes(model: Any, length: int, rows: int, itemsize: int) -> int:
    """What one layer of a prompt needs while it is computed and measured, about.

    Both parts are counted: what one has given back is seldom of the sizes that the other asks for.
    """
    config = model.config.get_text_config()
    wide = int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    # The residual stream and its norm; gate, up and their product.
    computed = length * (2 * config.hidden_size + 3 * wide) * itemsize
    # Scores of some rows and their softmax; float32 copies of the stream.
    chunk = min(ROWS_CHUNK, 4 * config.num_attention_heads * rows * length)
    measured = 2 * chunk + 12 * length * config.hidden_size
    return int(computed + measured)


def vision_bytes(model: Any, inputs: Mapping[str, torch.Tensor], itemsize: int) -> int:
    """What the vision tower needs while it encodes: every layer's output is kept by many."""
    config = getattr(model.config, "vision_config", None)
    pixels = inputs.get("pixel_values")
    if config is None or pixels is None:
        return 0
    patch = getattr(config, "patch_size", None) or 14
    side = patch if isinstance(patch, int) else patch[0]
    patches = pixels.numel() // (3 * side * side * (getattr(config, "temporal_patch_size", 1) or 1))
    size = int(getattr(config, "hidden_size", 0) or getattr(config, "embed_dim", 0))
    depth = int(getattr(config, "num_hidden_layers", 0) or getattr(config, "depth", 0))
    wide = int(getattr(config, "intermediate_size", None) or 4 * size)
    return int(patches * (size * (depth + 1) + 2 * wide) * itemsize)


def recording_bytes(
    model: Any,
    *,
    queries: list[int],
    length: int,
    n_dims: int,
    itemsize: int,
    new_tokens: int,
    alternatives: int,
) -> int:
    """Bytes on disk of a run over `length` positions with rows for the positions `queries`.

    Rows are compressed: taken to shrink to `STORED` of their size, and the keys after a query,
    which it does not see, to nothing. Everything else is stored as it is.
    """
    n_layers, heads = _layers(model), model.config.get_text_config().num_attention_heads
    seen = sum(query + 1 for query in queries)
    attention = n_layers * heads * itemsize * seen * STORED[itemsize]
    block = min(length, _KEY_BLOCK)
    keys = -(-length // block) * block
    per_key = n_layers * keys * (4 * n_dims + 8 * TOP_DIMS + 2 * heads)
    tokens = _TOKEN_BYTES * length + _ALTERNATIVE_BYTES * alternatives * new_tokens
    return int(attention + per_key + tokens)


def _layers(model: Any) -> int:
    return len(model.get_decoder().layers)
