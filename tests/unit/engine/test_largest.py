"""The largest entries of rows: those of torch, whichever way they are found."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from var_studio.engine.largest import largest  # noqa: E402


@pytest.mark.parametrize("size", [8, 16, 17, 64, 200, 1023, 1024, 1500])
def test_places_and_order_are_those_of_topk(size: int) -> None:
    values = torch.randn(40, size, generator=torch.Generator().manual_seed(size)).abs()
    expected = values.topk(min(16, size), dim=-1).indices
    assert torch.equal(largest(values, 16), expected)


def test_equal_values_are_all_found() -> None:
    values = torch.zeros(3, 100)
    values[1, :30] = 2.0
    values[2] = torch.arange(100)
    found = torch.gather(values, 1, largest(values, 16))
    assert torch.equal(found, values.topk(16).values)


def test_nan_does_not_get_lost() -> None:
    values = torch.rand(2, 100)
    values[0, 7] = float("nan")
    assert 7 in largest(values, 16)[0].tolist()
    assert torch.equal(largest(values, 16)[1], values.topk(16).indices[1])


def test_rows_are_told_apart_when_counts_only_agree_in_sum() -> None:
    """A tie in one row and a NaN in another: as many entries pass as if nothing were wrong."""
    values = torch.rand(2, 100)
    values[0] = torch.cat([torch.full((17,), 2.0), torch.zeros(83)])
    values[1, 5] = float("nan")
    found = torch.gather(values, 1, largest(values, 16))
    assert (found[0] == 2).all()
    assert found[1].isnan().any()
