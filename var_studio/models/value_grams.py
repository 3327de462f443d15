"""What the output projection makes of each head's values, as far as norms go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from var_studio.method.contribution import head_output_weights, output_gram
from var_studio.models.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch

_NAMES: Final = ("o_proj", "out_proj", "wo", "dense", "c_proj", "proj")
_CHUNK: Final = 1024


class Group(NamedTuple):
    """Layers whose heads have the same size, and their `grams` (len(layers), H, d, d) float32."""

    layers: tuple[int, ...]
    grams: torch.Tensor


class ValueGrams:
    """W_O W_Oᵀ per layer and head: see `method.contribution`. 64 MiB for a 7B model."""

    def __init__(self, modules: Sequence[Any], n_heads: int, device: torch.device) -> None:
        """`modules` are the layers' attention modules. Raises UnsupportedModelError."""
        import torch

        by_size: dict[int, list[int]] = defaultdict(list)
        grams: list[torch.Tensor] = []
        with torch.inference_mode():
            for layer, module in enumerate(modules):
                weight = output_weight(output_projection(module))
                gram = output_gram(head_output_weights(weight, n_heads)).to(device, torch.float32)
                grams.append(gram)
                by_size[gram.shape[-1]].append(layer)
            self.groups = tuple(
                Group(tuple(layers), torch.stack([grams[layer] for layer in layers]))
                for layers in by_size.values()
            )
        place = {
            layer: group.grams[i] for group in self.groups for i, layer in enumerate(group.layers)
        }
        self._by_layer = [place[layer] for layer in range(len(modules))]

    def of(self, layer: int) -> torch.Tensor:
        """The grams (H, d, d) of one layer."""
        return self._by_layer[layer]


def output_projection(attention: Any) -> Any:
    """The linear layer that follows attention, under any of its usual names."""
    for name in _NAMES:
        module = getattr(attention, name, None)
        if module is not None:
            return module
    raise UnsupportedModelError(
        f"{type(attention).__name__} has no output projection that is known here.",
        "Use a model of a supported family.",
    )


def output_weight(projection: Any) -> torch.Tensor:
    """The weight (D, H·d) of a linear layer: as it acts, whatever form it is stored in.

    Plain weights are taken as they are. Of quantised, adapted or offloaded ones, whose storage
    differs from library to library, the layer itself is asked what it makes of each unit vector.
    """
    import torch

    weight = getattr(projection, "weight", None)
    plain = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    if (
        isinstance(projection, torch.nn.Linear)
        and isinstance(weight, torch.Tensor)
        and type(weight.data) is torch.Tensor
        and weight.device.type != "meta"
        and weight.dtype in plain
    ):
        return weight
    size = getattr(projection, "in_features", None) or weight.shape[0]  # type: ignore[union-attr]
    places = [p for p in projection.parameters() if p.device.type != "meta"]
    device = places[0].device if places else "cpu"
    dtype = next((p.dtype for p in places if p.dtype in plain), torch.get_default_dtype())
    columns = []
    bias = projection(torch.zeros(1, size, device=device, dtype=dtype)).float()
    for at in range(0, size, _CHUNK):
        unit = torch.zeros(min(_CHUNK, size - at), size, device=device, dtype=dtype)
        unit.diagonal(at).fill_(1)
        columns.append(projection(unit).float() - bias)
    return torch.cat(columns).T
