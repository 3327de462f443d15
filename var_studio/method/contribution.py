"""Attention contributions: what a key adds to a query's residual stream (Section 4.2, D.3).

norm(alpha · x_normed W_OV) = alpha · norm(v W_O), and the second factor does not depend on the
query: it is stored once per layer, head and key. ``value`` is the value vector as the model's
attention mixes it (with its bias if it has one); the bias of the output projection belongs to no
key and is left out.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from var_studio.method.arrays import Array, constant, widened


def contribution(attention: Array, value_norm: Array) -> Array:
    """Return the norm each key adds to each query: attention · value norm.

    ``attention`` (..., H, Q, T) and ``value_norm`` (..., H, T) -> (..., H, Q, T), float32 at
    least, in units of the residual stream.
    """
    return widened(attention) * widened(value_norm)[..., None, :]


def head_output_weights(weight: Array, n_heads: int) -> Array:
    """Return the output projection cut into heads.

    ``weight`` (D, H·d), as a torch ``Linear`` stores it -> (H, d, D), so that head h adds
    ``v[h] @ result[h]``. Raises ValueError if the columns do not divide into ``n_heads``.
    """
    xp = array_namespace(weight)
    size, columns = weight.shape
    if n_heads < 1 or columns % n_heads:
        raise ValueError(f"{columns} columns do not divide into {n_heads} heads")
    return xp.permute_dims(xp.reshape(weight, (size, n_heads, columns // n_heads)), (1, 2, 0))


def value_norm(value: Array, output_weight: Array) -> Array:
    """Return norm(v W_O) for each head and key, by its definition.

    ``value`` (..., Hkv, T, d) and ``output_weight`` (H, d, D) -> (..., H, T), float32 at least, in
    units of the residual stream. With grouped queries, head h reads value head h // (H / Hkv).

    Builds (..., H, T, D); inside a model use :func:`value_norm_from_gram`. Raises ValueError if
    Hkv does not divide H.
    """
    xp = array_namespace(value, output_weight)
    grouped = _grouped(widened(output_weight), value.shape[-3])
    norms = xp.linalg.vector_norm(xp.matmul(widened(value)[..., None, :, :], grouped), axis=-1)
    return _ungrouped(norms)


def output_gram(output_weight: Array) -> Array:
    """Return W_O W_Oᵀ per head: ``output_weight`` (H, d, D) -> (H, d, d), float32 at least.

    Computed once per layer and model.
    """
    xp = array_namespace(output_weight)
    weight = widened(output_weight)
    return xp.matmul(weight, xp.matrix_transpose(weight))


def value_norm_from_gram(value: Array, gram: Array) -> Array:
    """Return norm(v W_O) = sqrt(v G vᵀ), cheaper than :func:`value_norm` by about D / d.

    ``value`` (..., Hkv, T, d) and ``gram`` (H, d, d) from :func:`output_gram` -> (..., H, T),
    float32 at least. Rounding is relative to norm(v)·norm(W_O): a value that W_O all but cancels
    comes out less exact than by :func:`value_norm`, never NaN for it. Raises ValueError if Hkv
    does not divide H.
    """
    xp = array_namespace(value, gram)
    grouped = _grouped(widened(gram), value.shape[-3])
    v = widened(value)[..., None, :, :]
    squared = xp.sum(xp.matmul(v, grouped) * v, axis=-1)
    squared = xp.where(squared < 0, constant(squared, 0.0), squared)
    return _ungrouped(xp.sqrt(squared))


def _grouped(per_head: Array, n_value_heads: int) -> Array:
    """(H, a, b) as (Hkv, H / Hkv, a, b): the query heads that share a value head side by side."""
    xp = array_namespace(per_head)
    n_heads, rows, columns = per_head.shape
    if n_value_heads < 1 or n_heads % n_value_heads:
        raise ValueError(f"{n_heads} heads cannot share {n_value_heads} value heads")
    return xp.reshape(per_head, (n_value_heads, n_heads // n_value_heads, rows, columns))


def _ungrouped(norms: Array) -> Array:
    """(..., Hkv, H / Hkv, T) as (..., H, T)."""
    xp = array_namespace(norms)
    *leading, n_value_heads, group, n_keys = norms.shape
    return xp.reshape(norms, (*leading, n_value_heads * group, n_keys))
