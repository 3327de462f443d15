"""Norms of values after the output projection, whatever the projection is called or stored as."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from var_studio.method.contribution import value_norm, value_norm_from_gram
from var_studio.models.errors import UnsupportedModelError
from var_studio.models.value_grams import ValueGrams, output_projection, output_weight

CPU = torch.device("cpu")


def direct(weight: torch.Tensor, value: torch.Tensor, n_heads: int) -> torch.Tensor:
    """norm(v W_O) head by head."""
    size = weight.shape[1] // n_heads
    return torch.stack(
        [(value[h] @ weight[:, h * size : (h + 1) * size].T).norm(dim=-1) for h in range(n_heads)]
    )


@pytest.mark.parametrize("name", ["o_proj", "out_proj", "wo", "dense"])
def test_any_usual_name_will_do(name: str) -> None:
    layer = torch.nn.Linear(24, 10)
    assert output_projection(SimpleNamespace(**{name: layer})) is layer


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="output projection"):
        output_projection(SimpleNamespace(last=torch.nn.Linear(4, 4)))


def test_heads_of_two_sizes_in_one_model() -> None:
    layers = [torch.nn.Linear(4 * d, 12, bias=False) for d in (3, 5, 3)]
    grams = ValueGrams([SimpleNamespace(o_proj=layer) for layer in layers], 4, CPU)
    assert [group.layers for group in grams.groups] == [(0, 2), (1,)]
    for index, layer in enumerate(layers):
        value = torch.randn(4, 7, layer.in_features // 4)
        found = value_norm_from_gram(value, grams.of(index))
        torch.testing.assert_close(found, direct(layer.weight, value, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_weight_is_what_the_layer_does_with_it() -> None:
    plain = torch.nn.Linear(2048, 12)
    layer = torch.ao.nn.quantized.dynamic.Linear(2048, 12)
    packed = torch.quantize_per_tensor(plain.weight.detach(), 0.0005, 0, torch.qint8)
    layer.set_weight_bias(packed, plain.bias.detach())
    stored = packed.dequantize()
    assert (stored - plain.weight).abs().max() > 1e-5, "quantised for certain"
    torch.testing.assert_close(output_weight(layer), stored, atol=1e-6, rtol=1e-5)
    grams = ValueGrams([SimpleNamespace(out_proj=layer)], 4, CPU)
    value = torch.randn(4, 5, 512)
    torch.testing.assert_close(
        value_norm_from_gram(value, grams.of(0)), direct(stored, value, 4), atol=1e-3, rtol=1e-4
    )


def test_an_adapted_layer_counts_with_its_adapter() -> None:
    class Adapted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_features = 8
            self.base, self.down, self.up = (
                torch.nn.Linear(8, 6), torch.nn.Linear(8, 2, bias=False),
                torch.nn.Linear(2, 6, bias=False),
            )  # fmt: skip

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.up(self.down(x))

    layer = Adapted()
    with torch.inference_mode():
        expected = layer.base.weight + layer.up.weight @ layer.down.weight
        torch.testing.assert_close(output_weight(layer), expected)
        plain = value_norm(
            torch.ones(2, 1, 4), expected.reshape(6, 2, 4).permute(1, 2, 0).contiguous()
        )
        gram = ValueGrams([SimpleNamespace(proj=layer)], 2, CPU).of(0)
        torch.testing.assert_close(value_norm_from_gram(torch.ones(2, 1, 4), gram), plain)
